"""The sampler, the threshold, the votes, the loop's bounds, and going on from any prefix of a search."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.errors import InputError
from common.runs.files import plain
from common.spaces import make_space
from common.spaces.nasbench201 import CONV3, NONE, Cell201
from common.training.population import Bounds
from rminas.config import Config
from rminas.draws import ROLES, rng_for
from rminas.race import Race
from rminas.sampler import ForestSampler, SamplerSettings, freeze_threshold
from rminas.search import Evaluate, Evaluation, Searched, check_reachable, read_evaluations, search
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


def config(**changes: Any) -> Config:
    return replace(Config(), rminas=replace(Config().rminas, observe=2, **{**SMALL, **changes}))


def one_by_one(losses_of: Callable[[Cell201], np.ndarray]) -> Evaluate:
    def evaluate(archs: Sequence[Cell201], bounds: Sequence[Bounds]) -> Iterator[tuple[int, np.ndarray]]:
        for position, arch in enumerate(archs):
            yield position, losses_of(arch)

    return evaluate


@one_by_one
def few_convolutions(arch: Cell201) -> np.ndarray:
    """A made loss: lower with more 3x3 convolutions, distinct for distinct cells, +inf without a way to the output."""
    if not SPACE.reaches_output(arch):
        return np.full(3, np.inf)
    value = 1 - 0.1 * arch.ops.count(CONV3) + 1e-5 * int("".join(map(str, arch.ops)))
    return np.array([2.0, 1.5, value])


def same(a: Searched, b: Searched) -> bool:
    return (
        [(e.index, e.phase, e.arch, *e.losses) for e in a.evaluations]
        == [(e.index, e.phase, e.arch, *e.losses) for e in b.evaluations]
        and (a.threshold, a.voters, a.found, a.gave_up) == (b.threshold, b.voters, b.found, b.gave_up)
        and a.positive.tolist() == b.positive.tolist()
    )


def test_a_search_warms_up_then_proposes_until_enough_positives():
    done = search(config(), SPACE, few_convolutions, seed=0)
    phases = [e.phase for e in done.evaluations]
    assert phases[:20] == ["warmup"] * 20
    assert set(phases[20:]) == {"forest"}
    assert done.gave_up == ""
    assert done.positive[20:].sum() == 8
    assert done.positive[-1]
    losses = np.array([e.loss for e in done.evaluations])
    assert done.threshold == np.quantile(losses[:20], 0.1) + 1e-9
    assert done.positive.tolist() == (losses < done.threshold).tolist()
    assert len({e.arch for e in done.evaluations}) == len(losses)
    assert losses[done.voters].tolist() == sorted(losses[done.positive])[:6]


def test_the_forest_finds_positives_more_often_than_chance():
    rates = []
    for seed in range(3):
        done = search(config(rf_warmup=60, rf_succ=30, max_evaluations=400), SPACE, few_convolutions, seed)
        rates.append(done.positive[60:].mean())
    assert np.mean(rates) > 0.4  # 10 % at random


@pytest.mark.parametrize("keep", [0, 7, 20, 21, 30])
def test_a_search_goes_on_from_any_prefix_through_its_records(keep: int):
    whole = search(config(), SPACE, few_convolutions, seed=3)
    assert len(whole.evaluations) > keep
    lines = [json.loads(json.dumps(plain(e.record(SPACE, 3, None)))) for e in whole.evaluations[:keep]]
    others = [line | {"seed": 4} for line in lines]
    past = read_evaluations([x for pair in zip(others, lines, strict=True) for x in pair], SPACE, 3, steps=2)
    asked: list[Cell201] = []

    def counted(archs: Sequence[Cell201], bounds: Sequence[Bounds]) -> Iterator[tuple[int, np.ndarray]]:
        asked.extend(archs)
        return few_convolutions(archs, bounds)

    resumed = search(config(), SPACE, counted, 3, past)
    assert same(resumed, whole)
    assert len(asked) == len(whole.evaluations) - keep


@pytest.mark.parametrize("round_size", [1, 7])
@pytest.mark.parametrize("race", [0.0, 2.0])
def test_it_does_not_matter_in_which_order_a_round_finishes_nor_where_it_was_killed(round_size: int, race: float):
    settings = config(round=round_size, race=race, race_full=8)
    whole = search(settings, SPACE, few_convolutions, seed=3)
    kept: list[Evaluation] = []

    def backwards(archs: Sequence[Cell201], bounds: Sequence[Bounds]) -> Iterator[tuple[int, np.ndarray]]:
        for position, losses in reversed([*few_convolutions(archs, bounds)]):
            if len(kept) == 25:
                raise KeyboardInterrupt
            yield position, losses

    with pytest.raises(KeyboardInterrupt):
        search(settings, SPACE, backwards, 3, on_evaluation=lambda evaluation, _: kept.append(evaluation))
    past = read_evaluations([json.loads(json.dumps(plain(e.record(SPACE, 3, None)))) for e in kept], SPACE, 3, steps=2)
    assert len(past) == 25
    assert same(search(settings, SPACE, few_convolutions, 3, past), whole)


def test_records_of_another_search_are_refused():
    past = {e.index: e for e in search(config(), SPACE, few_convolutions, seed=3).evaluations}
    with pytest.raises(InputError, match=r"evaluation 0 in the records is of another cell"):
        search(config(), SPACE, few_convolutions, 4, past)


def test_a_round_holds_distinct_cells_the_first_being_the_published_choice():
    evaluated = search(config(), SPACE, few_convolutions, seed=0).evaluations
    sampler = ForestSampler(SPACE, SamplerSettings(20, 0.1, 8, 300), seed=0, identity=SPACE.format)
    seen = {SPACE.format(e.arch) for e in evaluated}
    positive = np.array([e.loss for e in evaluated]) < np.median([e.loss for e in evaluated])
    archs = [e.arch for e in evaluated]
    one, many = (sampler.propose(40, count, seen, archs, positive) for count in (1, 16))
    assert many[0] == one[0]
    assert len(set(many)) == 16
    assert not {SPACE.format(arch) for arch in many} & seen
    more = [arch.ops.count(CONV3) for arch in many]
    rng = rng_for(0, "candidates", 40)
    assert np.mean(more) > np.mean([SPACE.sample(rng).ops.count(CONV3) for _ in range(300)]) + 0.2


def test_seeds_differ_and_repeat():
    first, again, other = (search(config(), SPACE, few_convolutions, seed) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize(
    "change",
    [{"index": 1}, {"losses": []}, {"losses": [1.0] * 4}, {"arch": "|x~0|"}, {"losses": None}, {"train_s": None}],
)
def test_damaged_records_are_named(change: dict[str, Any]):
    done = search(config(), SPACE, few_convolutions, seed=0)
    lines = [e.record(SPACE, 0, None) for e in done.evaluations[:3]]
    with pytest.raises(InputError, match="records of seed 0 are damaged after 2 evaluations"):
        read_evaluations([*lines[:2], lines[2] | change], SPACE, 0, steps=2)


def test_the_loop_gives_up_at_the_bound_and_says_so():
    @one_by_one
    def never_again(arch: Cell201, count: list[int] = []) -> np.ndarray:  # noqa: B006
        count.append(1)
        return np.full(3, 1.0 + len(count))

    done = search(config(max_evaluations=30), SPACE, never_again, seed=0)
    assert len(done.evaluations) == 30
    assert done.gave_up == "0 of 8 positives after 30 evaluations (RMINAS.MAX_EVALUATIONS)"
    assert len(done.voters) == 2  # the warm-up's positives still vote


def test_the_loop_gives_up_when_the_space_is_exhausted():
    class Tiny(type(SPACE)):  # type: ignore[misc]
        def sample(self, rng: np.random.Generator) -> Cell201:
            return Cell201((*rng.integers(1, 5, size=2).tolist(), 1, 1, 1, 1))

    done = search(config(rf_warmup=10, rf_succ=20), Tiny(), few_convolutions, seed=0)
    assert len(done.evaluations) == 16
    assert "when no unevaluated cell turned up after 16 evaluations" in done.gave_up
    done = search(config(rf_warmup=17, rf_succ=20), Tiny(), few_convolutions, seed=0)
    assert len(done.evaluations) == 16
    assert done.gave_up


def test_isomorphic_cells_are_evaluated_once_only_when_asked():
    class Few(type(SPACE)):  # type: ignore[misc]
        def sample(self, rng: np.random.Generator) -> Cell201:
            return Cell201((NONE, NONE, int(rng.integers(5)), int(rng.integers(1, 5)), NONE, int(rng.integers(5))))

    def distinct(once: bool) -> tuple[int, int]:
        done = search(
            config(rf_warmup=4, rf_succ=90, candidates=1000, isomorphic_once=once), Few(), few_convolutions, seed=0
        )
        return len(done.evaluations), len({SPACE.canonical_key(e.arch) for e in done.evaluations})

    assert distinct(once=True) == (4, 4)
    assert distinct(once=False) == (100, 4)


def test_a_warmup_without_a_finite_loss_is_an_error_naming_the_way_out():
    with pytest.raises(InputError, match=r"none of the 20 cells .* lower OPTIM\.BASE_LR"):
        search(config(), SPACE, one_by_one(lambda arch: np.full(3, np.inf)), seed=0)


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


def test_the_threshold_is_the_quantile_and_a_little():
    assert freeze_threshold(np.arange(101.0), 0.05) == 5 + 1e-9
    assert freeze_threshold(np.array([3.0, np.inf]), 0.0) == 3 + 1e-9
    assert freeze_threshold(np.array([3.0, 4.0, np.inf, np.inf]), 0.9) == 4 + 1e-9
    assert np.isnan(freeze_threshold(np.full(3, np.inf), 0.05))


def test_the_forest_takes_the_candidate_most_like_the_positives():
    sampler = ForestSampler(SPACE, SamplerSettings(candidates=300, trees=30), seed=0, identity=SPACE.format)
    archs = [SPACE.sample(np.random.default_rng(i)) for i in range(200)]
    chosen = sampler.propose(0, 1, set(), archs, np.array([arch.ops[3] == CONV3 for arch in archs]))[0]
    assert chosen.ops[3] == CONV3
    chosen = sampler.propose(0, 1, set(), archs, np.array([arch.ops[3] != CONV3 for arch in archs]))[0]
    assert chosen.ops[3] != CONV3


@pytest.mark.parametrize("positive", [True, False])
def test_without_two_kinds_of_evaluations_the_first_unseen_candidate_is_taken(positive: bool):
    sampler = ForestSampler(SPACE, SamplerSettings(candidates=5), seed=0, identity=SPACE.format)
    archs = [SPACE.sample(np.random.default_rng(0))]
    rng = rng_for(0, "candidates", 9)
    drawn = [SPACE.sample(rng) for _ in range(5)]
    assert sampler.propose(9, 1, {SPACE.format(drawn[0])}, archs, np.array([positive])) == [drawn[1]]
    assert sampler.propose(9, 1, {SPACE.format(arch) for arch in drawn}, archs, np.array([positive])) == []


def foretold(rng: np.random.Generator, quality: float) -> np.ndarray:
    """A made trajectory of 100 updates that falls as a power of the steps, the faster the better, with some noise."""
    return np.arange(1, 102) ** -quality * np.exp(0.05 * rng.standard_normal(101))


def test_a_race_stops_the_hopeless_early_and_hardly_a_positive():
    rng = np.random.default_rng(0)
    qualities = rng.uniform(0, 1, size=220)
    trajectories = [foretold(rng, quality) for quality in qualities]
    goal = float(np.quantile([np.log(t[-1]) for t in trajectories], 0.1))
    bounds = Race(2.0, 20).bounds(trajectories[:20], goal, 0.1, 100)
    assert min(bounds) == 4
    assert max(bounds) < 100
    stops = [next((step for step in sorted(bounds) if t[step] > bounds[step]), None) for t in trajectories[20:]]
    positive = [np.log(t[-1]) < goal for t in trajectories[20:]]
    assert sum(positive) > 10
    assert np.mean([stop is None for stop, good in zip(stops, positive, strict=True) if good]) > 0.85
    assert np.mean([100 if stop is None else stop for stop in stops]) < 35
    bolder = Race(1.0, 20).bounds(trajectories[:20], goal, 0.1, 100)
    assert all(bolder[step] < bounds[step] for step in bounds)


def test_nobody_is_stopped_without_a_race_or_before_there_is_anything_to_learn_from():
    rng = np.random.default_rng(0)
    trajectories = [foretold(rng, 0.5) for _ in range(9)]
    assert Race(0.0, 20).bounds(trajectories * 5, None, 0.05, 100) == {}
    assert Race(2.0, 20).bounds(trajectories, None, 0.05, 100) == {}
    assert Race(2.0, 20).bounds([*trajectories, np.full(101, np.inf)], None, 0.05, 100) == {}


def test_stopped_candidates_are_not_positive_and_are_recorded_as_such():
    def stopping(archs: Sequence[Cell201], bounds: Sequence[Bounds]) -> Iterator[tuple[int, np.ndarray]]:
        for position, (_, _, value) in few_convolutions(archs, bounds):
            losses = np.array([2.0, 1.2 * value, value])
            its = bounds[position] if bounds else {}
            over = [s for s in sorted(its) if losses[s] > its[s]]
            yield position, losses[: over[0] + 1] if over else losses

    made = config(race=1.0, race_full=8, round=5)
    done = search(made, SPACE, stopping, seed=0)
    stopped = [e for e in done.evaluations if e.stopped]
    assert stopped
    assert all(len(e.losses) < 3 and np.isinf(e.loss) and not done.positive[e.index] for e in stopped)
    again = read_evaluations([e.record(SPACE, 0, None) for e in done.evaluations], SPACE, 0, steps=2)
    assert [e.stopped for e in again.values()] == [e.stopped for e in done.evaluations]


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
