"""One thread for torch, a tiny NAS-Bench-201 space, and a made batch with a made teacher's features."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from common.networks import build_network
from common.spaces import SearchSpace, make_space


class MadeBatch(NamedTuple):
    """Images (B, 3, 8, 8) and labels (B,) with the taps of an untrained network as the teacher's."""

    x: Tensor
    y: Tensor
    teacher_taps: tuple[Tensor, ...]


@pytest.fixture(scope="session", autouse=True)
def _one_thread(one_thread: None) -> None:
    """See `one_thread`."""


@pytest.fixture(scope="session")
def tiny_space() -> SearchSpace:
    return make_space("nasbench201", channels=4, cells_per_stage=1, image_size=8)


@pytest.fixture(scope="session")
def made_batch(tiny_space: SearchSpace) -> MadeBatch:
    """Float64, 12 images."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        x = torch.randn(12, 3, 8, 8, dtype=torch.float64)
        teacher = build_network(
            make_space("nasbench201", channels=6, cells_per_stage=1, image_size=8),
            tiny_space.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|"),
        )
        with torch.no_grad():
            taps = teacher.double().forward_taps(x)[1]
        return MadeBatch(x, torch.randint(10, (12,)), taps)
