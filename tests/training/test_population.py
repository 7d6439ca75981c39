"""The layout in which one candidate is trained on a CPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from common.networks import build_network
from common.networks.base import TappedNetwork
from common.seeds import rng_for
from common.spaces import SPACES, make_space
from common.training import population

CPU, LAST = torch.device("cpu"), torch.channels_last


@pytest.mark.parametrize("name", sorted(SPACES))
def test_networks_of_every_space_are_safe_in_channels_last(name: str):
    space = make_space(name)
    for arch in space.sample_distinct(5, rng_for(0, "layout")):
        assert population._safe_in_channels_last(build_network(space, arch), CPU)


def test_a_strided_1x1_convolution_is_not_safe_on_a_cpu():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 1, 2))
    assert not population._safe_in_channels_last(network, CPU)
    assert population._safe_in_channels_last(network[:1], CPU)
    assert population._safe_in_channels_last(network, torch.device("cuda"))


class Joined(TappedNetwork):
    """Two batch norms side by side, whose gradients are parts of that of both; notes how these are laid out."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(2))
        self.dense: list[bool] = []

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        made = [norm(x) for norm in self.norms]
        for y in made:  # hooks are called in the order of their coming
            y.register_hook(lambda gradient: self.dense.append(gradient.is_contiguous(memory_format=LAST)))
        return torch.cat(made, dim=1), ()


@pytest.mark.parametrize(("prepare", "dense"), [(nn.Module.float, False), (population._in_channels_last, True)])
def test_the_gradients_of_joined_features_are_laid_out_as_these_are(
    prepare: Callable[[TappedNetwork], TappedNetwork], dense: bool
):
    network = prepare(Joined())
    joined, _ = network.forward_taps(torch.randn(2, 3, 4, 4).contiguous(memory_format=LAST))
    (joined * torch.randn_like(joined)).sum().backward()
    assert network.dense == [dense] * 2
