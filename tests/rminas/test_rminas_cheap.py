"""A cheap score beside the loss: by hand, without weight, and in a search, a race and the choice of the result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import MadeLosses, losses

from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome
from common.evaluators.costs import CostEvaluator
from common.metrics import kendall_tau
from common.runs.files import plain
from common.search import Evaluation, History, read_history
from common.spaces import SPACES, make_space
from rminas.cheap import NO_WEIGHING, CheapScore, Weighing
from rminas.config import Rminas
from rminas.forest import ForestSearch
from rminas.model import LossModel
from rminas.race import Race, loss_bounds
from rminas.search import SearchOutcome, make_search, search

ROOT = Path(__file__).resolve().parents[2]
SPACE = make_space("nasbench201")
SMALL = {
    "rf_warmup": 30,
    "rf_thresrate": 0.1,
    "rf_succ": 8,
    "candidates": 50,
    "forest": 8,
    "observe": 4,
    "race_full": 16,
}


def config(**changes: Any) -> Rminas:
    return replace(Rminas(), **{**SMALL, **changes})


SIZE = CostEvaluator(SPACE, "params")


def cells(count: int) -> list[Any]:
    rng = np.random.default_rng(0)
    drawn = (SPACE.sample(rng) for _ in range(50 * count))
    return [cell for cell in drawn if SPACE.reaches_output(cell)][:count]


def parameters(archs: Sequence[Any]) -> np.ndarray:
    return SPACE.total_costs(SPACE.to_codes(archs))[1].astype(float)


def trajectory(arch: Any) -> np.ndarray:
    """Made losses that fall, distinct for distinct cells, and know nothing of the size."""
    if not SPACE.reaches_output(arch):
        return np.full(5, np.inf)
    rng = np.random.default_rng(SPACE.to_codes([arch])[0].tolist())
    return (0.2 + rng.random()) * np.array([4.0, 3.0, 2.0, 1.5, 1.0]) * np.exp(0.2 * rng.standard_normal(5))


MADE = MadeLosses(trajectory)


def of_values(archs: Sequence[Any], values: Sequence[float]) -> History:
    return History(
        tuple(Evaluation(i, "warmup", a, Outcome(float(v))) for i, (a, v) in enumerate(zip(archs, values, strict=True)))
    )


def searched(settings: Rminas, seed: int, evaluator: Evaluator = MADE, **more: Any) -> SearchOutcome:
    return search(settings, SPACE, evaluator, seed, SIZE, **more)


def test_loss_and_size_count_in_their_own_spreads():
    archs, weight = cells(40), 0.6
    made = np.random.default_rng(1).uniform(0.1, 1, 40)
    weighing = CheapScore(SIZE, weight).learn(of_values(archs, -made))
    logs, sizes = np.log(made), np.log(parameters(archs))
    by_hand = logs / logs.std() - weight * sizes / sizes.std()
    found = np.log(-weighing.scores(-made, archs))
    np.testing.assert_allclose((found - found.mean()) / logs.std(), by_hand - by_hand.mean(), rtol=1e-10, atol=1e-10)
    assert weighing.penalties(archs).mean() == pytest.approx(0)
    assert weighing.penalties([]).shape == (0,)


@dataclass(frozen=True)
class Temperature(Evaluator):
    """A cheap score that is negative for some."""

    name = "temperature"

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        return Outcome(float(arch.ops.count(3) - arch.ops.count(1)))


def test_scores_of_both_signs_count_as_they_are():
    archs, weight = cells(30), 0.6
    values = np.random.default_rng(1).standard_normal(30)
    cheap = np.array([Temperature().evaluate(arch).value for arch in archs])
    assert cheap.min() < 0 < cheap.max()
    weighing = CheapScore(Temperature(), weight).learn(of_values(archs, values))
    by_hand = values / values.std() + weight * cheap / cheap.std()
    found = weighing.scores(values, archs) / values.std()
    np.testing.assert_allclose(found - found.mean(), by_hand - by_hand.mean(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("values", [[-1.0, -0.5, -0.25], [-1.0, 0.5, 2.0]])
def test_the_value_that_would_give_a_score_is_the_inverse_of_scoring(values: list[float]):
    archs = cells(3)
    weighing = CheapScore(SIZE, 1.0).learn(of_values(archs, values))
    assert weighing.slope > 0
    for i, score in enumerate(weighing.scores(np.array(values), archs)):
        assert weighing.values(float(score), archs)[i] == pytest.approx(values[i])


def test_every_architecture_is_scored_once():
    asked: list[Any] = []

    class Counted(Temperature):
        def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
            asked.append(arch)
            return super().evaluate(arch)

    archs = cells(10)
    cheap = CheapScore(Counted(), 1.0)
    assert np.array_equal(cheap.scores([*archs, archs[0]]), cheap.scores([*archs, archs[0]]))
    assert len(asked) == len(set(archs))


def test_without_weight_or_spread_the_value_is_alone():
    archs, values = cells(10), [-0.5, *-np.linspace(0.1, 1, 9)]
    assert CheapScore(SIZE, 0.0).learn(of_values(archs, values)) == NO_WEIGHING
    assert CheapScore(SIZE, 1.0).learn(of_values(archs[:1] * 3, values[:3])) == NO_WEIGHING
    assert CheapScore(SIZE, 1.0).learn(of_values(archs[:3], [-np.inf, -0.3, -np.inf])) == NO_WEIGHING
    assert CheapScore(SIZE, 1.0).learn(History()) == NO_WEIGHING
    assert not NO_WEIGHING.penalties(archs).any()


def test_values_that_are_not_finite_say_nothing_of_the_spread():
    archs, values = cells(13), [*-np.linspace(0.1, 1, 10), -np.inf, -np.inf, np.nan]
    found, expected = (CheapScore(SIZE, 1.0).learn(of_values(archs[:n], values[:n])) for n in (13, 10))
    assert (found.slope, found.centre) == (expected.slope, expected.centre)
    assert found.slope > 0


@pytest.mark.parametrize("name", sorted(set(SPACES) - {"nasbench101"}))
def test_every_space_has_sizes(name: str):
    space = make_space(name)
    archs = [space.sample(np.random.default_rng(seed)) for seed in range(20)]
    weighing = CheapScore(CostEvaluator(space), 1.0).learn(of_values(archs, -np.linspace(0.1, 1, 20)))
    assert weighing.slope > 0
    assert np.isfinite(weighing.penalties(archs)).all()
    assert np.std(weighing.penalties(archs)) > 0


def test_a_search_with_weight_goes_for_larger_networks_and_without_it_does_not():
    plain_one, sized = (searched(config(size=weight), 0) for weight in (0.0, 2.0))
    assert plain_one.history.archs[:30] == sized.history.archs[:30]
    assert np.array_equal(plain_one.search.judged.scores, plain_one.history.values)
    judged, archs = sized.search.judged, sized.history.archs
    np.testing.assert_allclose(judged.scores, -losses(sized) * np.exp(judged.weighing.penalties(archs)))
    assert np.array_equal(judged.positive, judged.scores > judged.threshold)
    means = [np.log(parameters(done.history.archs[30:])).mean() for done in (plain_one, sized)]
    assert means[1] > means[0] + 0.3
    finite = np.isfinite(judged.scores)
    assert kendall_tau(judged.scores[finite], parameters(archs)[finite]) > 0.5


def test_the_weight_is_learnt_from_the_first_round_and_stays():
    done = searched(config(size=1.0, race=1.0, round=5), 0)
    expected = CheapScore(SIZE, 1.0).learn(done.history[:16])
    found = done.search.judged.weighing
    assert (found.slope, found.centre) == (expected.slope, expected.centre)
    assert any(e.outcome.stopped for e in done.history)


def test_in_a_race_larger_networks_are_given_more_room():
    """Candidates are stopped by their loss times their factor, against a bound learnt from such products."""
    settings = config(size=1.5, race=1.0, round=6)
    strategy = make_search(settings, SPACE, 1, SIZE)
    assert isinstance(strategy, ForestSearch)
    history = searched(settings, 1).history[:-6]
    proposal = strategy.propose(history, 6)
    judged = strategy.judge(history)
    factors = np.exp(judged.weighing.penalties(history.archs))
    before = [-e.outcome.trajectory * factor for e, factor in zip(history, factors, strict=True)]
    expected = loss_bounds(before, 1.0, 16, np.log(-judged.threshold), 0.1)
    assert expected
    found = Race(strategy, 1.0, 16).bounds(history, proposal)
    for bounds, factor in zip(found, np.exp(judged.weighing.penalties(proposal.archs)), strict=True):
        assert bounds == {step: pytest.approx(-bound / factor) for step, bound in expected.items()}
    assert len({bounds[max(bounds)] for bounds in found}) > 1


def test_a_search_with_weight_goes_on_from_its_records():
    settings = config(size=1.0, race=1.5, round=4)
    whole = searched(settings, 2)
    lines = [json.loads(json.dumps(plain(e.record(SPACE, 2)))) for e in whole.history[:33]]
    again = searched(settings, 2, past=read_history(lines, SPACE, 2))
    assert again.history.archs == whole.history.archs
    assert np.array_equal(again.search.judged.scores, whole.search.judged.scores)
    assert again.found == whole.found


def test_the_model_chooses_by_loss_and_size():
    archs = cells(60)
    model = LossModel.fit(SPACE, archs, np.zeros(60))  # predicts the same of all
    weighing = Weighing(CheapScore(SIZE, 1.0), slope=1.0, centre=1e5)
    heaviest = model.least(archs, np.random.default_rng(0), weighing.penalties)
    everything = [cell for cell in map(SPACE.from_code, SPACE.all_codes()) if SPACE.reaches_output(cell)]  # type: ignore[attr-defined]
    assert parameters([heaviest])[0] == parameters(everything).max()
