"""The sampler, the threshold, the votes, the loop's bounds, and going on from any prefix of a search."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made import Backwards, MadeLosses, losses, same

from common.errors import InputError
from common.runs.files import plain
from common.search import Evaluation, History, Proposal, read_history
from common.spaces import make_space
from common.spaces.nasbench201 import CONV3, NONE, Cell201
from rminas.config import Rminas
from rminas.forest import ForestSearch, ForestSettings, freeze_threshold
from rminas.race import Race, loss_bounds
from rminas.rng import ROLES, rng_for
from rminas.search import check_reachable, expected_evaluations, make_search, make_stopping, search
from rminas.vote import vote_greedy, vote_index, vote_sum

SPACE = make_space("nasbench201")
SMALL = {
    "rf_warmup": 20,
    "rf_thresrate": 0.1,
    "rf_succ": 8,
    "top": 6,
    "candidates": 50,
    "max_evaluations": 120,
    "forest": 8,
}


def config(**changes: Any) -> Rminas:
    return replace(Rminas(), **{"observe": 2, **SMALL, **changes})


def few_convolutions(arch: Cell201) -> np.ndarray:
    """A made loss: lower with more 3x3 convolutions, distinct for distinct cells, +inf without a way to the output."""
    if not SPACE.reaches_output(arch):
        return np.full(3, np.inf)
    value = 1 - 0.1 * arch.ops.count(CONV3) + 1e-7 * int("".join(map(str, arch.ops)))
    return np.array([2.0, 1.5, value])


FEW = MadeLosses(few_convolutions)


def recorded(history: Sequence[Evaluation], seed: int) -> list[dict[str, Any]]:
    """As they come back from the records of a run."""
    return [json.loads(json.dumps(plain(evaluation.record(SPACE, seed)))) for evaluation in history]


def test_a_search_warms_up_then_proposes_until_enough_positives():
    done = search(config(), SPACE, FEW, seed=0)
    judged = done.search.judged
    phases = [e.phase for e in done.history]
    assert phases[:20] == ["warmup"] * 20
    assert set(phases[20:]) == {"forest"}
    assert done.gave_up == ""
    assert judged.positive[20:].sum() == 8
    assert judged.positive[-1]
    found = losses(done)
    assert judged.threshold == -(np.quantile(found[:20], 0.1) + 1e-9)
    assert judged.positive.tolist() == (found < -judged.threshold).tolist()
    assert np.array_equal(judged.scores, -found)
    assert len({e.arch for e in done.history}) == len(found)
    assert found[done.search.voters].tolist() == sorted(found[judged.positive])[:6]


def test_the_forest_finds_positives_more_often_than_chance():
    rates = []
    for seed in range(3):
        done = search(config(rf_warmup=60, rf_succ=30, max_evaluations=400), SPACE, FEW, seed)
        rates.append(done.search.judged.positive[60:].mean())
    assert np.mean(rates) > 0.4  # 10 % at random


@pytest.mark.parametrize("keep", [0, 7, 20, 21, 30])
def test_a_search_goes_on_from_any_prefix_through_its_records(keep: int):
    whole = search(config(), SPACE, FEW, seed=3)
    assert len(whole.history) > keep
    lines = recorded(whole.history[:keep], 3)
    others = [line | {"seed": 4} for line in lines]
    past = read_history([x for pair in zip(others, lines, strict=True) for x in pair], SPACE, 3)
    asked: list[Cell201] = []

    def counted(arch: Cell201) -> np.ndarray:
        asked.append(arch)
        return few_convolutions(arch)

    resumed = search(config(), SPACE, MadeLosses(counted), 3, past=past)
    assert same(resumed, whole)
    assert len(asked) == len(whole.history) - keep


@pytest.mark.parametrize("round_size", [1, 7])
@pytest.mark.parametrize("race", [0.0, 2.0])
def test_it_does_not_matter_in_which_order_a_round_finishes_nor_where_it_was_killed(round_size: int, race: float):
    settings = config(round=round_size, race=race, race_full=8)
    whole = search(settings, SPACE, FEW, seed=3)
    kept: list[Evaluation] = []

    def keep(evaluation: Evaluation, history: History) -> None:
        if len(kept) == 25:
            raise KeyboardInterrupt
        kept.append(evaluation)

    with pytest.raises(KeyboardInterrupt):
        search(settings, SPACE, FEW, 3, executor=Backwards(), on_evaluation=keep)
    past = read_history(recorded(kept, 3), SPACE, 3)
    assert len(past) == 25
    assert same(search(settings, SPACE, FEW, 3, past=past), whole)


def test_records_of_another_search_are_refused():
    past = {e.index: e for e in search(config(), SPACE, FEW, seed=3).history}
    with pytest.raises(InputError, match=r"evaluation 0 in the records is of another architecture"):
        search(config(), SPACE, FEW, 4, past=past)


def test_a_round_holds_distinct_cells_the_first_being_the_published_choice():
    evaluated = search(config(rf_warmup=60, rf_succ=20, max_evaluations=200), SPACE, FEW, seed=0).history
    strategy = ForestSearch(SPACE, 0, ForestSettings(20, 0.1, trees=8, candidates=300))
    seen = {SPACE.format(arch) for arch in evaluated.archs}
    positive = evaluated.values > np.median(evaluated.values)
    one, many = (strategy.likely_positive(evaluated, positive, count) for count in (1, 16))
    assert many[0] == one[0]
    assert len(set(many)) == 16
    assert not {SPACE.format(arch) for arch in many} & seen
    more = [arch.ops.count(CONV3) for arch in many]
    rng = rng_for(0, "candidates", len(evaluated))
    assert np.mean(more) > np.mean([SPACE.sample(rng).ops.count(CONV3) for _ in range(300)]) + 0.2


def test_seeds_differ_and_repeat():
    first, again, other = (search(config(), SPACE, FEW, seed) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize(
    "change",
    [{"index": 1}, {"trajectory": None}, {"value": "much"}, {"arch": "|x~0|"}, {"evaluate_s": None}],
)
def test_damaged_records_are_named(change: dict[str, Any]):
    lines = recorded(search(config(), SPACE, FEW, seed=0).history[:3], 0)
    with pytest.raises(InputError, match="records of seed 0 are damaged after 2 evaluations"):
        read_history([*lines[:2], lines[2] | change], SPACE, 0)


def test_the_loop_gives_up_at_the_bound_and_says_so():
    def never_again(arch: Cell201, count: list[int] = []) -> np.ndarray:  # noqa: B006
        count.append(1)
        return np.full(3, 1.0 + len(count))

    done = search(config(max_evaluations=30), SPACE, MadeLosses(never_again), seed=0)
    assert len(done.history) == 30
    assert done.gave_up == "0 of 8 positives after 30 evaluations (RMINAS.MAX_EVALUATIONS)"
    assert len(done.search.voters) == 2  # the warm-up's positives still vote


def test_the_loop_gives_up_when_the_space_is_exhausted():
    class Tiny(type(SPACE)):  # type: ignore[misc]
        def sample(self, rng: np.random.Generator) -> Cell201:
            return Cell201((*rng.integers(1, 5, size=2).tolist(), 1, 1, 1, 1))

    done = search(config(rf_warmup=10, rf_succ=20), Tiny(), FEW, seed=0)
    assert len(done.history) == 16
    assert "when no unevaluated cell turned up after 16 evaluations" in done.gave_up
    done = search(config(rf_warmup=17, rf_succ=20), Tiny(), FEW, seed=0)
    assert len(done.history) == 16
    assert done.gave_up


def test_isomorphic_cells_are_evaluated_once_only_when_asked():
    class Few(type(SPACE)):  # type: ignore[misc]
        def sample(self, rng: np.random.Generator) -> Cell201:
            return Cell201((NONE, NONE, int(rng.integers(5)), int(rng.integers(1, 5)), NONE, int(rng.integers(5))))

    def distinct(once: bool) -> tuple[int, int]:
        done = search(config(rf_warmup=4, rf_succ=90, candidates=1000, isomorphic_once=once), Few(), FEW, seed=0)
        return len(done.history), len({SPACE.canonical_key(e.arch) for e in done.history})

    assert distinct(once=True) == (4, 4)
    assert distinct(once=False) == (100, 4)


def test_a_warmup_without_a_finite_loss_is_an_error_naming_the_way_out():
    with pytest.raises(InputError, match=r"none of the 20 cells .* lower OPTIM\.BASE_LR"):
        search(config(), SPACE, MadeLosses(lambda arch: np.full(3, np.inf)), seed=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rf_succ": 101}, "RF_SUCC 101 can never be reached: RF_WARMUP 20 leaves 100 of MAX_EVALUATIONS 120"),
        ({"rf_warmup": 200}, "leaves 0 of MAX_EVALUATIONS 120"),
        ({"rf_succ": 16000, "max_evaluations": 99999}, "ask for 16020 cells, NAS-Bench-201 has 15625"),
    ],
)
def test_a_number_of_positives_out_of_reach_is_refused_before_the_start(changes: dict[str, int], said: str):
    check_reachable(config(), SPACE)
    check_reachable(config(rf_succ=100), SPACE)
    with pytest.raises(InputError) as caught:
        check_reachable(config(**changes), SPACE)
    assert said in str(caught.value)


def test_the_number_of_evaluations_is_expected_by_the_rate_of_positives_so_far():
    settings = config(rf_warmup=20, rf_succ=8, max_evaluations=120)
    assert [expected_evaluations(settings, done, 0) for done in (0, 20)] == [28, 28]  # at least
    assert expected_evaluations(settings, 30, 2) == 30 + 6 * 10 / 2
    assert expected_evaluations(settings, 31, 0) == 31 + 8 * 11  # the next may be the first
    assert expected_evaluations(settings, 60, 1) == 120  # and never more than may be
    assert expected_evaluations(settings, 50, 8) == 50


def test_the_threshold_is_the_quantile_and_a_little():
    assert freeze_threshold(-np.arange(101.0), 0.05) == -5 - 1e-9
    assert freeze_threshold(-np.array([3.0, np.inf]), 0.0) == -3 - 1e-9
    assert freeze_threshold(-np.array([3.0, 4.0, np.inf, np.inf]), 0.9) == -4 - 1e-9
    assert np.isnan(freeze_threshold(np.full(3, -np.inf), 0.05))
    assert np.isnan(freeze_threshold(np.zeros(0), 0.05))
    large = np.array([1.0, 5e9, 7e9])  # as numbers of FLOPs are: the margin is not lost in them
    assert (large > freeze_threshold(large, 0.5)).tolist() == [False, True, True]


def evaluated_by_few(archs: Sequence[Cell201]) -> History:
    return History(tuple(Evaluation(i, "warmup", arch, FEW.evaluate(arch)) for i, arch in enumerate(archs)))


def test_the_forest_takes_the_candidate_most_like_the_positives():
    strategy = ForestSearch(SPACE, 0, ForestSettings(candidates=300, trees=30))
    history = evaluated_by_few([SPACE.sample(np.random.default_rng(i)) for i in range(200)])
    chosen = strategy.likely_positive(history, np.array([arch.ops[3] == CONV3 for arch in history.archs]), 1)[0]
    assert chosen.ops[3] == CONV3
    chosen = strategy.likely_positive(history, np.array([arch.ops[3] != CONV3 for arch in history.archs]), 1)[0]
    assert chosen.ops[3] != CONV3


@pytest.mark.parametrize("positive", [True, False])
def test_without_two_kinds_of_evaluations_the_first_unseen_candidate_is_taken(positive: bool):
    strategy = ForestSearch(SPACE, 0, ForestSettings(candidates=5))

    def after(archs: list[Cell201]) -> list[Cell201]:
        return strategy.likely_positive(evaluated_by_few(archs), np.full(len(archs), positive), 1)

    rng = rng_for(0, "candidates", 5)
    drawn = [SPACE.sample(rng) for _ in range(5)]
    others = [SPACE.sample(np.random.default_rng(i)) for i in range(4)]
    assert not set(others) & set(drawn)
    assert after([drawn[0], *others]) == [drawn[1]]
    assert after(drawn) == []


def made_trajectory(rng: np.random.Generator, quality: float) -> np.ndarray:
    """Losses of 100 updates that fall as a power of the steps, the faster the better, with some noise."""
    return np.arange(1, 102) ** -quality * np.exp(0.05 * rng.standard_normal(101))


def test_a_race_stops_the_hopeless_early_and_hardly_a_positive():
    rng = np.random.default_rng(0)
    qualities = rng.uniform(0, 1, size=220)
    trajectories = [made_trajectory(rng, quality) for quality in qualities]
    goal = float(np.quantile([np.log(t[-1]) for t in trajectories], 0.1))
    bounds = loss_bounds(trajectories[:20], 2.0, 20, goal, 0.1)
    assert min(bounds) == 4
    assert max(bounds) < 100
    stops = [next((step for step in sorted(bounds) if t[step] > bounds[step]), None) for t in trajectories[20:]]
    positive = [np.log(t[-1]) < goal for t in trajectories[20:]]
    assert sum(positive) > 10
    assert np.mean([stop is None for stop, good in zip(stops, positive, strict=True) if good]) > 0.85
    assert np.mean([100 if stop is None else stop for stop in stops]) < 35
    bolder = loss_bounds(trajectories[:20], 1.0, 20, goal, 0.1)
    assert all(bolder[step] < bounds[step] for step in bounds)


def falling(arch: Cell201) -> np.ndarray:
    """Losses of which an early one tells the last, up to a little noise."""
    value = few_convolutions(arch)[-1]
    return (
        np.array([2.0, 1.2, 1.0, 1.0]) * value * (1 + 0.01 * np.sin(1e5 * value))
        if value < np.inf
        else np.full(4, np.inf)
    )


def test_nobody_is_stopped_without_a_race_or_before_there_is_anything_to_learn_from():
    rng = np.random.default_rng(0)
    trajectories = [made_trajectory(rng, 0.5) for _ in range(9)]
    assert loss_bounds(trajectories, 2.0, 20, None, 0.05) == {}
    assert loss_bounds([*trajectories, np.full(101, np.inf)], 2.0, 20, None, 0.05) == {}
    assert loss_bounds([*trajectories, made_trajectory(rng, 0.5)], 2.0, 20, None, 0.05)
    history = search(config(), SPACE, MadeLosses(falling), seed=0).history
    proposal = Proposal([SPACE.sample(rng) for _ in range(3)], "forest")
    for race, bounded in ((0.0, False), (2.0, True)):
        settings = config(race=race)
        policy = make_stopping(settings, make_search(settings, SPACE, 0))
        assert isinstance(policy, Race) == bounded
        assert policy.bounds(history[:0], proposal) == [{}, {}, {}]
        assert all(bool(bounds) == bounded for bounds in policy.bounds(history, proposal))


def test_what_is_no_loss_is_not_raced():
    gains = MadeLosses(lambda arch: -falling(arch))
    history = search(config(), SPACE, gains, seed=0).history
    proposal = Proposal(history.archs[:2], "forest")
    assert Race(ForestSearch(SPACE, 0, ForestSettings(20, 0.1)), 1.0, 8).bounds(history, proposal) == [{}, {}]


def test_stopped_candidates_are_not_positive_and_are_recorded_as_such():
    done = search(config(race=1.0, race_full=8, round=5, observe=3), SPACE, MadeLosses(falling), seed=0)
    stopped = [e for e in done.history if e.outcome.stopped]
    assert stopped
    for e in stopped:
        assert len(e.outcome.trajectory) < 4
        assert np.isinf(e.value)
        assert not done.search.judged.positive[e.index]
    again = read_history(recorded(done.history, 0), SPACE, 0)
    assert [e.outcome.stopped for e in again.values()] == [e.outcome.stopped for e in done.history]


def test_every_draw_is_its_own():
    values = {rng_for(s, r, *p).integers(2**62) for s in (0, 1) for r in ROLES for p in ((), (0,), (1,), (0, 1))}
    assert len(values) == 2 * len(ROLES) * 4


@pytest.mark.parametrize("vote", [vote_sum, vote_greedy])
def test_a_vote_of_one_or_of_all_alike_is_that_cell(vote: Callable[[np.ndarray, int], np.ndarray]):
    cell = SPACE.from_code(np.array([3, 1, 0, 4, 2, 3], dtype=np.uint8))
    codes = SPACE.to_codes([cell])
    assert SPACE.most_voted(vote(codes, 5)) == cell
    assert SPACE.most_voted(vote(np.repeat(codes, 5, axis=0), 5)) == cell


def test_sum_takes_each_edges_most_voted_operation():
    codes = np.array([[0, 3, 1], [0, 2, 1], [1, 3, 4], [1, 3, 4], [0, 2, 0]], dtype=np.uint8)
    assert vote_sum(codes, 5).argmax(1).tolist() == [0, 3, 1]


def test_the_archives_rule_weighs_a_winner_by_its_number():
    codes = np.array([[0, 2, 1], [0, 2, 3], [1, 4, 3]], dtype=np.uint8)
    assert vote_index(codes, 5).tolist() == [[0, 1, 0, 0, 0], [0, 0, 2, 0, 0], [0, 0, 0, 3, 0]]


def test_greedy_follows_the_transitions():
    # Edge 0: op 0. After 0 comes 2 most often, though 3 leads overall. After 2 on edge 1 comes 4.
    codes = np.array([[0, 2, 4], [0, 2, 4], [0, 3, 1], [1, 3, 1], [1, 3, 1], [0, 3, 1], [0, 2, 1]], dtype=np.uint8)
    assert vote_greedy(codes, 5).argmax(1).tolist() == [0, 2, 4]
    assert vote_sum(codes, 5).argmax(1).tolist() == [0, 3, 1]


def test_a_tie_of_the_greedy_vote_goes_to_the_operation_seen_more_often_there():
    codes = np.array([[0, 1, 0], [0, 2, 0], [0, 1, 3], [0, 2, 3], [1, 2, 3]], dtype=np.uint8)
    assert vote_greedy(codes, 5).argmax(1).tolist() == [0, 2, 3]
