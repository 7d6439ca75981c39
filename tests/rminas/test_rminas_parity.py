"""The fast path of the candidates' training against a plain reference, step by step from the same weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from reference import BETA, LR, MOMENTUM, WEIGHT_DECAY, plain_losses

from common.networks import build_network
from common.spaces import SearchSpace
from common.training.population import CandidateSettings, train_candidate
from rminas.loss import RmiLoss

CELLS = {
    "convolutions": "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|nor_conv_1x1~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "mixed": "|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|",
    "pools": "|avg_pool_3x3~0|+|none~0|avg_pool_3x3~1|+|none~0|none~1|avg_pool_3x3~2|",
    "none-heavy": "|none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|",
    "dead node": "|none~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|none~2|",
    "skip only": "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
    "degenerate": "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|",
}


def both(space: SearchSpace, batch, cell: str, steps: int, dtype: torch.dtype, channels_last: bool = False):
    """Losses of the fast path and of the reference, from the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = build_network(space, space.parse(CELLS[cell])).to(dtype)
    x, taps = batch.x.to(dtype), tuple(tap.to(dtype) for tap in batch.teacher_taps)
    expected = plain_losses(copy.deepcopy(network), x, batch.y, taps, steps)
    settings = CandidateSettings(steps, LR, MOMENTUM, WEIGHT_DECAY, channels_last=channels_last)
    return train_candidate(network, x, RmiLoss.of(taps, batch.y, BETA), settings), np.array(expected)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_losses_of_20_steps_agree_in_float64(tiny_space, made_batch, cell: str, channels_last: bool):
    ours, expected = both(tiny_space, made_batch, cell, 20, torch.float64, channels_last)
    assert ours.shape == (21,)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    if cell == "degenerate":
        assert np.isinf(ours).all()
    else:
        assert np.isfinite(ours).all()
        assert ours[20] < ours[0] - 0.1  # it learns, so the comparison is not one of standing still


@pytest.mark.parametrize("cell", ["convolutions", "mixed", "none-heavy"])
def test_the_first_two_losses_agree_in_float32(tiny_space, made_batch, cell: str):
    ours, expected = both(tiny_space, made_batch, cell, 1, torch.float32)
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], expected[1], rtol=1e-3)


def test_unreachable_cells_are_exactly_those_that_train_to_nothing(tiny_space, made_batch):
    for cell in CELLS:
        losses, _ = both(tiny_space, made_batch, cell, 0, torch.float64)
        assert np.isfinite(losses[0]) == tiny_space.reaches_output(tiny_space.parse(CELLS[cell])), cell
