"""The fast path of training against networks and method written out plainly, in the spaces besides NAS-Bench-201."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from reference import BETA, CHAINS, MOMENTUM, WEIGHT_DECAY, Outputs, Pairs, chain_forward, darts_forward, plain_losses
from torch import Tensor

from common.networks import build_network
from common.networks.base import TappedNetwork
from common.spaces import SearchSpace, make_space
from common.training.population import CandidateSettings, train_candidate
from rminas.loss import RmiLoss

STEPS = 5
# Every operation, into halved and unhalved nodes; both operations of a node from one source; a node that is only half.
MIXED: Pairs = [
    ("sep_conv_3x3", 0), ("skip_connect", 1), ("max_pool_3x3", 0), ("dil_conv_5x5", 2),
    ("avg_pool_3x3", 1), ("sep_conv_5x5", 3), ("dil_conv_3x3", 1), ("skip_connect", 4),
]  # fmt: skip
ODD: Pairs = [
    ("none", 0), ("dil_conv_3x3", 1), ("avg_pool_3x3", 2), ("max_pool_3x3", 2),
    ("skip_connect", 0), ("none", 3), ("sep_conv_3x3", 1), ("sep_conv_3x3", 1),
]  # fmt: skip
MACRO_LAYERS = {"0": "identity", "1": "k3e3", "2": "k5e6"}
CHAIN_TEXTS = {
    "macro": ("01020012", "20101200"),
    "mobilenet": (
        "k3e1,-,k5e3,-|k7e6,k3e6,-,-|k5e6,-,-,k3e3|k3e1,k7e3,-,-|k3e3,-,k5e3,k3e6",
        "k7e3,k3e3,-,-|k3e1,-,-,k5e6|k3e6,-,k7e3,-|k5e3,-,-,-|k3e1,k3e3,-,-",
    ),
    "proxyless": (
        "k3e3,-,-,-|k5e6,k3e3,-,-|k7e3,k3e6,k5e3,-|k3e3,-,-,-|k3e6,k7e6,-,-|k5e3",
        "k7e6,k3e3,-,-|k3e3,-,-,-|k5e3,k5e3,-,-|k3e6,k7e3,k3e3,k5e6|k3e3,-,-,-|k3e6",
    ),
}
SMALL = {
    "macro": {"channels": 2, "image_size": 16},
    "mobilenet": {"width": 0.1, "image_size": 32, "num_classes": 10},
    "proxyless": {"width": 0.1, "image_size": 32, "num_classes": 10},
}


def assert_same_losses(
    space: SearchSpace, text: str, plain: Callable[[TappedNetwork], Callable[[Tensor], Outputs]], cosine: bool = False
) -> None:
    """From the same weights; `plain` turns a network into its plain forward pass. Cosine rates come with clipping."""
    side = space.image_size  # type: ignore[attr-defined]
    lr, clip = (0.4, 1.5) if cosine else (0.05, 0.0)
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = build_network(space, space.parse(text)).double()
    x = torch.randn(8, 3, side, side, dtype=torch.float64, generator=rng)
    y = torch.randint(10, (8,), generator=rng)
    taps = [torch.randn(8, 5, 2, 2, dtype=torch.float64, generator=rng) for _ in range(3)]
    twin = copy.deepcopy(network)
    expected = plain_losses(twin, x, y, taps, STEPS, plain(twin), lr, cosine, clip)
    settings = CandidateSettings(STEPS, lr, MOMENTUM, WEIGHT_DECAY, cosine, clip, channels_last=True)
    ours = train_candidate(network, x, RmiLoss.of(taps, y, BETA), settings)
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    assert ours[STEPS] < ours[0] - 0.05  # it learns, so the comparison is not one of standing still


@pytest.mark.parametrize(
    ("normal", "reduce", "side", "layers"), [(MIXED, ODD, 8, 4), (ODD, MIXED, 8, 3), (MIXED, MIXED, 96, 3)]
)
def test_darts_losses_agree_in_float64(normal: Pairs, reduce: Pairs, side: int, layers: int):
    concat = "range(2, 6)"
    text = f"Genotype(normal={normal}, normal_concat={concat}, reduce={reduce}, reduce_concat={concat})"

    def plain(network: TappedNetwork) -> Callable[[Tensor], Outputs]:
        return partial(darts_forward, network, normal, reduce, side > 64)

    assert_same_losses(make_space("darts", channels=2, layers=layers, image_size=side), text, plain)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in CHAIN_TEXTS.items() for text in texts])
def test_losses_of_chains_agree_in_float64(name: str, text: str):
    if name == "macro":
        stages = [[MACRO_LAYERS[digit] for digit in part] for part in re.fullmatch("(..)(...)(...)", text).groups()]
    else:
        stages = [stage.split(",") for stage in text.split("|")]

    def plain(network: TappedNetwork) -> Callable[[Tensor], Outputs]:
        return partial(chain_forward, network, CHAINS[name], stages)

    # The published rate and clipping of each.
    assert_same_losses(make_space(name, **SMALL[name]), text, plain, cosine=name == "mobilenet")
