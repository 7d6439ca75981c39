"""The RMI evaluator under every executor: candidates in company get the losses they get alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from common.evaluators.base import Bounds, Request
from common.evaluators.costs import CostEvaluator
from common.execution import Resources
from common.execution.base import Executor
from common.execution.serial import Serial
from common.execution.together import Together
from common.networks import build_network
from common.networks.base import TappedNetwork
from common.spaces import SPACES, SearchSpace, make_space
from common.spaces.darts import OPS
from common.training.fused import CONVOLUTIONS, fuse
from common.training.population import CandidateSettings, train_candidate, train_population
from common.training.tape import NotRecordable, record
from rminas.api import make_executor
from rminas.loss import RmiLoss
from rminas.rmi import RmiEvaluator

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


def evaluator(space: SearchSpace, settings: CandidateSettings, dtype: torch.dtype = torch.float64) -> RmiEvaluator:
    rng = torch.Generator().manual_seed(0)
    side = SMALL[space.name]["image_size"]
    x = torch.randn(10, 3, side, side, dtype=dtype, generator=rng)
    teacher = [torch.randn(10, 24, dtype=dtype, generator=rng) for _ in range(3)]
    return RmiEvaluator(space, 5, x, RmiLoss.of(teacher, torch.randint(10, (10,), generator=rng)), settings)


def alone(task: RmiEvaluator, archs: Sequence[Any], bounds: Sequence[Bounds] = ()) -> dict[int, np.ndarray]:
    """Losses by position, one candidate after the other."""
    return losses_of(Serial(), task, archs, bounds)


def together(
    task: RmiEvaluator, archs: Sequence[Any], bounds: Sequence[Bounds] = (), width: int = 0
) -> dict[int, np.ndarray]:
    return losses_of(Together(), replace(task, width=width), archs, bounds)


def losses_of(
    executor: Executor, task: RmiEvaluator, archs: Sequence[Any], bounds: Sequence[Bounds] = ()
) -> dict[int, np.ndarray]:
    requests = [Request(arch, limits) for arch, limits in zip(archs, bounds or [{}] * len(archs), strict=True)]
    return {position: -outcome.trajectory for position, outcome in executor.run(task, requests)}


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
    expected = alone(task, archs)
    for width in (0, (count + 1) // 2):
        found = together(task, archs, (), width)
        assert set(found) == set(range(count))
        for position, losses in expected.items():
            assert losses.shape == (steps + 1,)
            assert np.isfinite(losses).all()
            np.testing.assert_allclose(found[position], losses, rtol=1e-6)
    assert len({float(losses[steps]) for losses in expected.values()}) == count


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
        losses = task.loss.each(*population.forward(task.x))
        population.zero_grad()
        losses.sum().backward()
        population.sgd_step(0.1, 0.9, 5e-4)
    found = losses.detach()
    for which, network in enumerate(networks):
        assert train_candidate(network, task.x, task.loss, CandidateSettings(steps=2))[2] == pytest.approx(
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
    found = dict(train_population(builders, task.x, task.loss, task.training))
    for position, build in enumerate(builders):
        expected = train_candidate(build(), task.x, task.loss, task.training)
        assert np.isfinite(expected).all() == (position != 1)
        np.testing.assert_allclose(found[position], expected, rtol=1e-6)
        assert expected.shape == found[position].shape == (26,)


@pytest.mark.parametrize("width", [2, 5])
def test_stopped_candidates_leave_the_others_as_they_are_and_their_slots_to_the_next(width: int):
    space = make_space("nasbench201", **SMALL["nasbench201"])
    task = evaluator(space, CandidateSettings(steps=12, lr=0.05))
    archs = [*reachable(space, 7), space.parse(UNREACHABLE)]
    whole = alone(task, archs)
    bounds = {
        4: float(np.median([losses[4] for losses in whole.values()])),
        7: float(np.quantile([losses[7] for losses in whole.values()], 0.3)),
    }
    limits = [{step: -loss for step, loss in bounds.items()}] * len(archs)
    bounded = (alone(task, archs, limits), together(task, archs, limits, width))
    stops = []
    for position, losses in whole.items():
        over = [step for step in bounds if losses[step] > bounds[step]]
        stops.append(over[0] if over and np.isfinite(losses[0]) else 12)
        for found in bounded:
            assert len(found[position]) == stops[-1] + 1
            np.testing.assert_allclose(found[position], losses[: stops[-1] + 1], rtol=1e-6)
    assert {4, 7, 12} == set(stops)
    assert np.isinf(bounded[1][7]).all()


def test_an_outcome_is_the_negative_loss_and_says_whether_it_was_stopped():
    space = make_space("nasbench201", **SMALL["nasbench201"])
    task = evaluator(space, CandidateSettings(steps=4, lr=0.05))
    (arch,) = reachable(space, 1)
    whole = task.evaluate(arch)
    assert (whole.value, len(whole.trajectory), whole.stopped) == (whole.trajectory[-1], 5, False)
    assert whole.value < 0
    stopped = task.evaluate(arch, {2: float(whole.trajectory[2]) + 1e-6})
    assert (stopped.value, len(stopped.trajectory), stopped.stopped) == (-np.inf, 3, True)
    kept = task.evaluate(arch, {2: float(whole.trajectory[2]) - 1e-6})
    assert kept.value == pytest.approx(whole.value)
    none = task.evaluate(space.parse(UNREACHABLE), {2: 0.0})
    assert (none.value, len(none.trajectory), none.stopped) == (-np.inf, 5, False)


def test_worker_processes_give_the_very_same_losses():
    space = make_space("nasbench201", **SMALL["nasbench201"])
    task = evaluator(space, CandidateSettings(steps=3), torch.float32)
    archs = [*reachable(space, 3), space.parse(UNREACHABLE)]
    with make_executor("processes", Resources(2), task, archs[0], task.x.device) as executor:
        found = losses_of(executor, task, archs)
    for position, losses in alone(task, archs).items():
        assert found[position].tolist() == losses.tolist()


@pytest.mark.parametrize(("count", "device", "cosine", "chosen"), [
    (2, "cpu", False, "processes (2)"), (1, "cpu", False, "one at a time"),
    (2, "cuda", False, "together"), (2, "cuda", True, "one at a time"),
])  # fmt: skip
def test_candidates_are_trained_in_the_fastest_way_of_the_device(count: int, device: str, cosine: bool, chosen: str):
    space = make_space("nasbench201", **SMALL["nasbench201"])
    task = evaluator(space, CandidateSettings(steps=3, cosine=cosine))
    (arch,) = reachable(space, 1)
    assert make_executor("auto", Resources(count), task, arch, torch.device(device)).name == chosen
    assert make_executor("auto", Resources(2), CostEvaluator(space), arch, torch.device(device)).name == "one at a time"


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
        next(train_population([], changing.x, changing.loss, changing.training))
    archs = reachable(space, 2)
    expected = alone(changing, archs)
    for position, losses in together(changing, archs).items():
        assert losses.tolist() == expected[position].tolist()


def test_a_population_trains_what_cannot_be_fused_by_itself():
    task = evaluator(make_space("nasbench201", **SMALL["nasbench201"]), CandidateSettings(steps=5, lr=0.05))
    kinds = (Dying, Strange, Dying, Strange)

    def builder(kind: type[Dying]) -> Callable[[], Dying]:
        def build() -> Dying:
            torch.manual_seed(0)
            return kind(1.0)

        return build

    found = dict(train_population([builder(kind) for kind in kinds], task.x, task.loss, task.training, width=2))
    for position, kind in enumerate(kinds):
        expected = train_candidate(builder(kind)(), task.x, task.loss, task.training)
        np.testing.assert_allclose(found[position], expected, rtol=1e-6)
    assert found[0][-1] != pytest.approx(found[1][-1])


def test_a_cosine_rate_and_clipped_gradients_are_as_their_definitions():
    settings = CandidateSettings(steps=8, lr=0.4, cosine=True)
    assert [settings.rate(step) for step in (0, 4, 8)] == pytest.approx([0.4, 0.2, 0.0])
    space = make_space("nasbench201", **SMALL["nasbench201"])
    task = evaluator(space, CandidateSettings(steps=1, lr=0.05, weight_decay=0.0, grad_clip=1e-3))
    arch = reachable(space, 1)[0]
    network, start = task.build(arch), task.build(arch)
    train_candidate(network, task.x, task.loss, task.training)
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
    low = replace(task, training=replace(task.training, bf16=True))
    archs = reachable(space, 3)
    exact = alone(task, archs)
    for run in (alone, together):
        for position, losses in run(low, archs).items():
            assert losses[0] == pytest.approx(exact[position][0], rel=2e-2)
            assert losses[0] != exact[position][0]
            assert losses[6] < losses[0] - 0.05
