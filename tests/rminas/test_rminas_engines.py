"""The engines against each other: candidates in company get the losses they get alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from common.networks import build_network
from common.networks.base import TappedNetwork
from common.spaces import SPACES, SearchSpace, make_space
from common.spaces.darts import OPS
from common.training.fused import CONVOLUTIONS, fuse
from common.training.population import CandidateSettings, train_candidate, train_population
from common.training.tape import NotRecordable, record
from rminas.evaluator import Evaluator, choose_engine, fused, one_by_one
from rminas.objective import Objective

SMALL: dict[str, dict[str, Any]] = {
    "darts": {"channels": 2, "layers": 3, "image_size": 8},
    "macro": {"channels": 2, "image_size": 8},
    "mobilenet": {"width": 0.1, "num_classes": 10, "image_size": 32},
    "nasbench101": {"channels": 8, "image_size": 8},
    "nasbench201": {"channels": 4, "cells_per_stage": 2, "image_size": 8},
    "proxyless": {"width": 0.1, "num_classes": 10, "image_size": 32},
}
# Candidates, and updates: in deep chains that end in features of one pixel, rounding errors grow tenfold an update, and
# in one of the NAS-Bench-101 cells nearly so (1e-15 after the first, 1e-8 after six, 1e-4 after ten).
COMPARED = {"darts": (3, 6), "mobilenet": (3, 3), "nasbench101": (6, 6), "proxyless": (3, 3)}
UNREACHABLE = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|"


def evaluator(space: SearchSpace, settings: CandidateSettings, dtype: torch.dtype = torch.float64) -> Evaluator:
    rng = torch.Generator().manual_seed(0)
    side = SMALL[space.name]["image_size"]
    x = torch.randn(10, 3, side, side, dtype=dtype, generator=rng)
    teacher = [torch.randn(10, 24, dtype=dtype, generator=rng) for _ in range(3)]
    return Evaluator(space, 5, x, Objective.of(teacher, torch.randint(10, (10,), generator=rng)), settings)


def reachable(space: SearchSpace, count: int, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    archs: list[Any] = []
    while len(archs) < count:
        if space.reaches_output(arch := space.sample(rng)):
            archs.append(arch)
    return archs


@pytest.mark.parametrize("name", sorted(SMALL))
def test_fused_losses_are_those_of_separate_runs_in_float64(name: str):
    space = make_space(name, **SMALL[name])
    count, steps = COMPARED.get(name, (6, 20))
    task = evaluator(space, CandidateSettings(steps=steps, lr=0.05))
    archs = reachable(space, count)
    alone = dict(one_by_one(task, archs, ()))
    for width in (0, (count + 1) // 2):
        together = dict(fused(task, archs, (), width))
        assert set(together) == set(range(count))
        for position, losses in alone.items():
            assert losses.shape == (steps + 1,)
            assert np.isfinite(losses).all()
            np.testing.assert_allclose(together[position], losses, rtol=1e-6)
    assert len({float(losses[steps]) for losses in alone.values()}) == count


@pytest.mark.parametrize("op", range(1, 5))
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_every_operation_by_itself_is_fused_exactly(op: int, convolution: str):
    space = make_space("nasbench201", **SMALL["nasbench201"])
    codes = np.array([[op, 0, 0, 0, op, other] for other in (0, 1, op)], dtype=np.uint8)
    assert_fused_exactly(space, [*map(space.from_code, codes)], convolution)


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_every_operation_of_darts_is_fused_exactly(convolution: str):
    space = make_space("darts", **SMALL["darts"])
    cells = [[(op, source) for source in (0, 1, 0, 2, 1, 3, 2, 4)] for op in OPS[1:]]
    texts = [f"Genotype(normal={c}, normal_concat=[2, 3, 4, 5], reduce={c}, reduce_concat=[2, 3, 4, 5])" for c in cells]
    assert_fused_exactly(space, [*map(space.parse, texts)], convolution)


def assert_fused_exactly(space: SearchSpace, archs: list[Any], convolution: str) -> None:
    task = evaluator(space, CandidateSettings())
    networks = [task.build(arch) for arch in archs]
    programs = [record(network, tuple(task.x.shape)) for network in networks]
    states = [{p: (p.detach(), None) for p in network.parameters()} for network in networks]
    population = fuse(programs, states, tuple(task.x.shape), CONVOLUTIONS[convolution])  # type: ignore[arg-type]
    for _ in range(3):
        losses = task.objective.each(*population.forward(task.x))
        population.zero_grad()
        losses.sum().backward()
        population.sgd_step(0.1, 0.9, 5e-4)
    found = losses.detach()
    for which, network in enumerate(networks):
        assert train_candidate(network, task.x, task.objective, CandidateSettings(steps=2))[2] == pytest.approx(
            float(found[which]), rel=1e-9
        )


class Dying(TappedNetwork):
    """Finite for its first update, infinite after it."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, dtype=torch.float64)
        self.conv.weight.data *= scale
        self.head = nn.Linear(4, 10, dtype=torch.float64)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        y = torch.relu(self.conv(x))
        return self.head(y.mean((2, 3))), (y, y, y)


def test_a_candidate_that_diverges_touches_no_other_and_stays_infinite():
    task = evaluator(make_space("nasbench201", **SMALL["nasbench201"]), CandidateSettings(steps=25, lr=0.05))

    def builder(scale: float) -> Callable[[], Dying]:
        def build() -> Dying:
            torch.manual_seed(0)
            return Dying(scale)

        return build

    builders = [builder(scale) for scale in (1.0, 1e200, 0.5)]
    together = dict(train_population(builders, task.x, task.objective, task.settings))
    for position, build in enumerate(builders):
        alone = train_candidate(build(), task.x, task.objective, task.settings)
        assert np.isfinite(alone).all() == (position != 1)
        np.testing.assert_allclose(together[position], alone, rtol=1e-6)
        assert alone.shape == together[position].shape == (26,)


@pytest.mark.parametrize("width", [2, 5])
def test_stopped_candidates_leave_the_others_as_they_are_and_their_slots_to_the_next(width: int):
    space = make_space("nasbench201", **SMALL["nasbench201"])
    task = evaluator(space, CandidateSettings(steps=12, lr=0.05))
    archs = [*reachable(space, 7), space.parse(UNREACHABLE)]
    whole = dict(one_by_one(task, archs, ()))
    bounds = {
        4: float(np.median([losses[4] for losses in whole.values()])),
        7: float(np.quantile([losses[7] for losses in whole.values()], 0.3)),
    }
    alone, together = (
        dict(run(task, archs, [bounds] * len(archs))) for run in (one_by_one, partial(fused, width=width))
    )
    stops = []
    for position, losses in whole.items():
        over = [step for step in bounds if losses[step] > bounds[step]]
        stops.append(over[0] if over and np.isfinite(losses[0]) else 12)
        for found in (alone[position], together[position]):
            assert len(found) == stops[-1] + 1
            np.testing.assert_allclose(found, losses[: len(found)], rtol=1e-6)
    assert {4, 7, 12} == set(stops)
    assert np.isinf(together[7]).all()


def test_worker_processes_give_the_very_same_losses():
    space = make_space("nasbench201", **SMALL["nasbench201"])
    task = evaluator(space, CandidateSettings(steps=3), torch.float32)
    archs = [*reachable(space, 3), space.parse(UNREACHABLE)]
    engine = choose_engine("workers", 2, task, archs[0])
    try:
        found = dict(engine(task, archs, ()))
    finally:
        engine.close()
    for position, losses in one_by_one(task, archs, ()):
        assert found[position].tolist() == losses.tolist()


class Strange(Dying):
    """Uses a function that no instruction stands for."""

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return super().forward_taps(torch.cumsum(x, 2))


def test_what_cannot_be_fused_is_said_and_run_by_itself():
    with pytest.raises(NotRecordable, match="cumsum cannot be recorded"):
        record(Strange(1.0), (2, 3, 8, 8))
    space = make_space("nasbench201", **SMALL["nasbench201"])
    changing = evaluator(space, CandidateSettings(steps=3, cosine=True))
    with pytest.raises(ValueError, match="one candidate at a time"):
        dict(fused(changing, reachable(space, 2), {}))


def test_a_cosine_rate_and_clipped_gradients_are_as_their_definitions():
    settings = CandidateSettings(steps=8, lr=0.4, cosine=True)
    assert [settings.rate(step) for step in (0, 4, 8)] == pytest.approx([0.4, 0.2, 0.0])
    space = make_space("nasbench201", **SMALL["nasbench201"])
    task = evaluator(space, CandidateSettings(steps=1, lr=0.05, weight_decay=0.0, grad_clip=1e-3))
    arch = reachable(space, 1)[0]
    network, start = task.build(arch), task.build(arch)
    train_candidate(network, task.x, task.objective, task.settings)
    pairs = zip(network.parameters(), start.parameters(), strict=True)
    moved = sum(float((a - b).detach().square().sum()) for a, b in pairs)
    assert moved**0.5 == pytest.approx(0.05 * 1e-3, rel=1e-2)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_every_spaces_networks_can_be_fused(name: str):
    space = make_space(name, image_size=32, num_classes=10)
    for arch in reachable(space, 2):
        program = record(build_network(space, arch), (2, 3, 32, 32))
        assert len(program.taps) == 3
        assert program.instructions[program.logits].shape == (2, 10)


def test_bf16_starts_where_float32_does_and_learns_alone_and_fused():
    space = make_space("nasbench201", **SMALL["nasbench201"])
    task = evaluator(space, CandidateSettings(steps=6, lr=0.05), torch.float32)
    low = replace(task, settings=replace(task.settings, bf16=True))
    archs = reachable(space, 3)
    exact = dict(one_by_one(task, archs, ()))
    for run in (one_by_one, fused):
        for position, losses in run(low, archs, ()):
            assert losses[0] == pytest.approx(exact[position][0], rel=2e-2)
            assert losses[0] != exact[position][0]
            assert losses[6] < losses[0] - 0.05
