"""What every registered search strategy must fulfil, in whole spaces and in pools."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from bowl import Bowl, quick_strategy

from common.errors import InputError
from common.evaluators.base import NO_BOUNDS, Bounds, Outcome
from common.search import STRATEGIES, History, Pool, Proposal, Strategy, make_strategy, run_search
from common.search.time_limit import TimeLimit
from common.spaces import SearchSpace, make_space

# Those of other packages have parts and records of their own, and are tested there.
NAMES = sorted(name for name, path in STRATEGIES.items() if path.startswith("common."))
BUDGET = 40


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["nasbench201", "nasbench101", "darts", "macro"])
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return make_space(request.param)


def some_archs(space: SearchSpace, count: int) -> list[Any]:
    return space.sample_distinct(count, np.random.default_rng(7))


def keys(space: SearchSpace, archs: Any) -> list[str]:
    return [space.canonical_key(arch) for arch in archs]


def search(strategy: Strategy, budget: int = BUDGET) -> History:
    return run_search(strategy, Bowl(strategy.space), budget).history


def test_a_whole_space_is_searched_without_repeats_to_the_end_of_the_budget(name: str, space: SearchSpace) -> None:
    history = search(quick_strategy(name, space, 3))
    assert len(history) == BUDGET
    assert len(set(keys(space, history.archs))) == BUDGET
    assert all(space.parse(space.format(arch)) == arch for arch in history.archs)


def test_a_pool_is_never_left_and_ends_when_it_is_exhausted(name: str, space: SearchSpace) -> None:
    members = some_archs(space, 45)
    result = run_search(quick_strategy(name, space, 3, pool=members), Bowl(space), 100)
    assert sorted(keys(space, result.history.archs)) == sorted(keys(space, members))
    assert result.ended


def test_isomorphic_members_of_a_pool_are_evaluated_once(name: str) -> None:
    space = make_space("nasbench201")
    same = [  # x -> conv -> output, by way of node 1 or of node 2
        space.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"),
        space.parse("|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|"),
    ]
    assert len(set(keys(space, same))) == 1
    others = [arch for arch in some_archs(space, 30) if space.canonical_key(arch) != space.canonical_key(same[0])]
    assert len(search(quick_strategy(name, space, 0, pool=[*same, *others]), 100)) == len(others) + 1


def test_the_same_seed_is_the_same_search_and_another_is_not(name: str, space: SearchSpace) -> None:
    pool = Pool(space, some_archs(space, 200))
    first, again, other = (search(quick_strategy(name, space, seed, pool=pool)).archs for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_search_goes_on_from_the_records_of_any_round(name: str, space: SearchSpace) -> None:
    strategy = quick_strategy(name, space, 5)
    starts: list[int] = []

    class Watched(Strategy):
        def propose(self, history: History, room: int) -> Proposal:
            starts.append(len(history))
            return strategy.propose(history, room)

    whole = search(Watched(space, 5))
    for start in starts[:: max(1, len(starts) // 5)]:
        for resumed in (quick_strategy(name, space, 5), strategy):  # from nothing, and after having been further on
            proposal = resumed.propose(whole[:start], BUDGET - start)
            assert list(proposal.archs) == whole.archs[start : start + len(proposal.archs)]


def test_a_round_never_exceeds_what_is_left_of_the_budget(name: str, space: SearchSpace) -> None:
    strategy = quick_strategy(name, space, 0)
    history = search(strategy, 25)
    for length in (0, 25):
        assert 1 <= len(strategy.propose(history[:length], 3).archs) <= 3


def test_failures_and_unknown_values_do_not_stop_a_search(name: str) -> None:
    space = make_space("macro")

    class Failing(Bowl):
        def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
            outcome = super().evaluate(arch)
            return [outcome, Outcome(-math.inf), Outcome(math.nan)][int(abs(outcome.value) * 1000) % 3]

    result = run_search(quick_strategy(name, space, 0), Failing(space), BUDGET)
    assert len(result.history) == BUDGET
    assert {"-inf", "nan"} <= {str(value) for value in result.history.values}
    assert math.isfinite(result.history.best.value)


def test_whatever_learns_beats_random_search() -> None:
    space = make_space("macro")
    means = {
        name: np.mean([search(quick_strategy(name, space, seed), 150).best.value for seed in range(8)])
        for name in NAMES
    }
    assert all(mean > means["random"] for name, mean in means.items() if name != "random"), means


def test_an_unknown_name_and_a_part_that_is_not_taken_are_named() -> None:
    space = make_space("macro")
    with pytest.raises(InputError, match=r"unknown search strategy 'annealing'.*evolution"):
        make_strategy("annealing", space, 0)
    with pytest.raises(InputError, match="'random' takes no predictor"):
        make_strategy("random", space, 0, predictor="boosting")
    with pytest.raises(InputError, match="pool is empty"):
        make_strategy("random", space, 0, pool=[])


class OwnStrategy(Strategy):
    """The smallest strategy of one's own: the members of the pool in the order of their keys."""

    name = "own"

    def propose(self, history: History, room: int) -> Proposal:
        pool = self.candidates
        assert isinstance(pool, Pool)
        order = sorted((pool.arch(i) for i in range(len(pool))), key=self.space.canonical_key)
        return Proposal(order[len(history) : len(history) + room], "own")


def test_a_strategy_of_ones_own_is_reached_by_import_path() -> None:
    space = make_space("macro")
    members = some_archs(space, 5)
    strategy = make_strategy(f"{__file__}:OwnStrategy", space, 0, pool=members)
    found = keys(space, run_search(strategy, Bowl(space), 9).history.archs)
    assert found == sorted(keys(space, members))


# budgets in seconds ------------------------------------------------------------------------------------------------


def test_a_time_limit_changes_nothing_but_where_the_search_ends(name: str) -> None:
    """The same evaluations as without, up to the first that the seconds left do not pay for."""
    space = make_space("macro")

    def seconds(arch: Any) -> float:
        return 1.0 + float(space.to_codes([arch])[0].sum())

    free = search(quick_strategy(name, space, 3)).archs
    spent = np.cumsum([seconds(arch) for arch in free])
    for limit in (spent[0], spent[30], spent[30] + 0.5):
        made = run_search(TimeLimit(quick_strategy(name, space, 3), seconds, limit), Bowl(space), BUDGET)
        expected = int(np.sum(spent <= limit))
        # A strategy of rounds may be asked once more after a cut: what follows then must fit as well.
        assert made.history.archs[:expected] == free[:expected]
        assert sum(map(seconds, made.history.archs)) <= limit
        assert made.ended == ""
    nothing = run_search(TimeLimit(quick_strategy(name, space, 3), seconds, 0.5), Bowl(space), BUDGET)
    assert (len(nothing.history), nothing.ended) == (0, "no evaluation in 0.5 s")
