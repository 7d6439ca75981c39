"""What is particular to each strategy, in cases small enough to be worked out by hand."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from bowl import Bowl

from common.evaluators.base import Outcome
from common.search import Evaluation, History, Pool, WholeSpace, make_strategy, run_search
from common.search.evolution import Evolution, EvolutionSettings
from common.search.local_search import LocalSearch, LocalSearchSettings
from common.search.reinforce import Controller, ReinforceSettings
from common.spaces import make_space

MACRO = make_space("macro")


def macro(text: str) -> Any:
    return MACRO.parse(text)


def history_of(*pairs: tuple[Any, float], phase: str = "initial") -> History:
    return History(tuple(Evaluation(i, phase, arch, Outcome(value)) for i, (arch, value) in enumerate(pairs)))


# evolution ---------------------------------------------------------------------------------------------------------


def test_evolution_keeps_the_youngest_not_the_best() -> None:
    archs = MACRO.sample_distinct(6, np.random.default_rng(0))
    values = [9.0, 1.0, 2.0, 3.0, 8.0, 4.0]  # the best, 9.0, is too old to be in a population of four
    history = history_of(*zip(archs, values, strict=True))
    evolution = Evolution(MACRO, 0, EvolutionSettings(population=4, tournament=40))
    parents = {evolution.parent(history, np.random.default_rng(seed)).index for seed in range(20)}
    assert parents == {4}


def test_the_tournament_is_drawn_with_replacement_and_won_by_the_best() -> None:
    history = history_of(*((arch, i) for i, arch in enumerate(MACRO.sample_distinct(4, np.random.default_rng(0)))))
    evolution = Evolution(MACRO, 0, EvolutionSettings(population=4, tournament=2))
    rng = np.random.default_rng(1)
    wins = Counter(evolution.parent(history, rng).index for _ in range(4000))
    # P(best of two draws of four = i) = ((i + 1)^2 - i^2) / 16
    for index, expected in enumerate((1 / 16, 3 / 16, 5 / 16, 7 / 16)):
        assert wins[index] / 4000 == pytest.approx(expected, abs=0.03)


def test_a_child_is_one_mutation_from_its_parent() -> None:
    evolution = Evolution(MACRO, 0, EvolutionSettings(population=5, tournament=200))
    history = run_search(evolution, Bowl(MACRO), 5).history
    child = evolution.propose(history, 1).archs[0]
    assert int((MACRO.to_codes([child]) != MACRO.to_codes([history.best.arch])).sum()) == 1


def test_children_of_one_round_are_distinct() -> None:
    settings = EvolutionSettings(population=5, tournament=3, batch=12)
    history = run_search(Evolution(MACRO, 0, settings), Bowl(MACRO), 5).history
    proposal = Evolution(MACRO, 0, settings).propose(history, 100)
    assert len(set(proposal.archs)) == 12
    assert not set(proposal.archs) & set(history.archs)


# local search ------------------------------------------------------------------------------------------------------


def test_local_search_moves_to_a_better_neighbour_and_starts_again_where_there_is_none() -> None:
    pool = [macro(text) for text in ("00000000", "00000001", "00000011", "22222222", "22222221")]
    values = dict(zip(pool, (1.0, 2.0, 3.0, 0.0, 0.5), strict=True))
    search = LocalSearch(MACRO, 0, LocalSearchSettings(initial=1), pool=WithoutFilling(MACRO, pool))
    history = history_of((pool[0], 1.0))
    moves: list[tuple[str, Any]] = []
    while (proposal := search.propose(history, 10)).archs:
        (arch,) = proposal.archs
        moves.append((proposal.phase, arch))
        history = history.extended([Evaluation(len(history), proposal.phase, arch, Outcome(values[arch]))])
    assert moves[:2] == [("neighbour", pool[1]), ("neighbour", pool[2])]  # uphill, one edit at a time
    assert moves[2][0] == "restart"
    assert moves[2][1] in pool[3:]
    assert moves[3] == ("neighbour", pool[7 - pool.index(moves[2][1])])  # the other of the two
    assert proposal.ended


class WithoutFilling(Pool):
    """A pool whose neighbours are the true ones alone."""

    def neighbours(self, arch: Any) -> list[Any]:
        return [self.arch(index) for index in map(self.index, self.space.neighbours(arch)) if index is not None]


def test_a_whole_neighbourhood_is_evaluated_at_once_if_asked() -> None:
    search = LocalSearch(MACRO, 0, LocalSearchSettings(initial=1, batch=0))
    history = history_of((macro("00000000"), 1.0))
    proposal = search.propose(history, 100)
    assert set(proposal.archs) == set(MACRO.neighbours(macro("00000000")))
    assert len(search.propose(history, 5).archs) == 5


def test_local_search_ends_in_a_local_optimum_before_it_starts_again() -> None:
    history = run_search(LocalSearch(MACRO, 4), Bowl(MACRO), 300).history
    restarts = [e.index for e in history if e.phase == "restart"]
    assert restarts
    before = history[: restarts[0]]
    values = {MACRO.canonical_key(e.arch): e.value for e in before}
    assert all(values[MACRO.canonical_key(n)] < before.best.value for n in MACRO.neighbours(before.best.arch))


# REINFORCE ---------------------------------------------------------------------------------------------------------


def test_the_controller_takes_adams_step_up_the_gradient_of_the_log_probability() -> None:
    import torch

    settings = ReinforceSettings(lr=0.1, momentum=0.9)
    controller = Controller.fresh(np.ones((2, 3), dtype=bool))
    logits = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.1)
    above = below = 0.0
    rng = np.random.default_rng(0)
    for _ in range(20):
        code, reward = rng.integers(3, size=2), float(rng.normal(90, 3))
        above, below = 0.9 * above + 0.1 * reward, 0.9 * below + 0.1
        log_p = torch.distributions.Categorical(logits=logits).log_prob(torch.from_numpy(code)).sum()
        optimiser.zero_grad()
        (-log_p * (reward - above / below)).backward()
        optimiser.step()
        controller.learn(code, np.exp(controller.log_probabilities()), reward, settings)
    np.testing.assert_allclose(controller.logits, logits.detach().numpy(), rtol=1e-6)


def test_impossible_choices_stay_impossible() -> None:
    controller = Controller.fresh(np.array([[True, True, False]]))
    for reward in (1.0, 5.0, 2.0):
        controller.learn(np.array([1]), np.exp(controller.log_probabilities()), reward, ReinforceSettings(lr=0.5))
    assert np.exp(controller.log_probabilities())[0, 2] == 0
    assert np.isfinite(controller.logits[0, :2]).all()


def test_in_a_pool_the_controller_learns_by_the_gradient_of_the_restricted_distribution() -> None:
    """Against the gradient of log(p_i / sum of p over the pool) by autograd."""
    import torch

    pool = Pool(MACRO, MACRO.sample_distinct(20, np.random.default_rng(0)))
    strategy = make_strategy("reinforce", MACRO, 0, pool=pool)
    logits = torch.randn(pool.codes.shape[1], MACRO.choices, dtype=torch.float64, requires_grad=True)
    logs = torch.log_softmax(logits, 1)[torch.arange(logits.shape[0]), torch.from_numpy(pool.codes).long()].sum(1)
    torch.log_softmax(logs, 0)[3].backward()
    controller = Controller.fresh(np.ones(logits.shape, dtype=bool))
    controller.logits = logits.detach().numpy().copy()
    shares = strategy._shares(controller)
    np.testing.assert_allclose(shares, torch.softmax(logs, 0).detach().numpy(), atol=1e-6)
    gradient = np.eye(MACRO.choices)[pool.codes[3]] - strategy._expected(controller, shares)
    np.testing.assert_allclose(gradient, logits.grad.numpy(), atol=1e-6)


def test_reinforce_learns_from_an_architecture_that_it_draws_again() -> None:
    """Two members, one of them evaluated: the repeats must not be lost, nor be evaluated."""
    pool = [macro("00000000"), macro("11111111")]
    strategy = make_strategy("reinforce", MACRO, 0, pool=pool)
    history = run_search(strategy, Bowl(MACRO), 9).history
    assert sorted(map(MACRO.format, history.archs)) == ["00000000", "11111111"]


# candidates --------------------------------------------------------------------------------------------------------


def test_the_mutant_of_an_exhausted_neighbourhood_comes_from_further_away() -> None:
    whole = WholeSpace(MACRO)
    parent = macro("00000000")
    seen = {MACRO.canonical_key(arch) for arch in (parent, *MACRO.neighbours(parent))}
    mutant = whole.mutant(parent, np.random.default_rng(0), seen)
    assert int((MACRO.to_codes([mutant]) != MACRO.to_codes([parent])).sum()) == 2


def test_a_pool_without_mutants_gives_the_nearest_member_instead() -> None:
    parent = macro("00000000")
    pool = Pool(MACRO, [parent, macro("00002222"), macro("22222222"), macro("22222221")])
    mutants = [pool.mutant(parent, np.random.default_rng(i), {MACRO.canonical_key(parent)}) for i in range(10)]
    assert set(mutants) == {macro("00002222")}
    assert pool.mutant(parent, np.random.default_rng(0), {MACRO.canonical_key(pool.arch(i)) for i in range(4)}) is None


def test_neighbours_in_a_pool_are_the_true_ones_first_then_the_nearest() -> None:
    parent = macro("00000000")
    pool = Pool(MACRO, [macro("22222222"), macro("00000222"), macro("00000001"), parent])
    assert pool.neighbours(parent) == [macro("00000001"), macro("00000222"), macro("22222222")]


def test_a_pool_of_the_whole_space_has_the_neighbours_of_the_space() -> None:
    space = make_space("nasbench201")
    codes = np.stack(np.meshgrid(*[np.arange(5, dtype=np.uint8)] * 6, indexing="ij"), -1).reshape(-1, 6)
    pool = Pool(space, codes=codes)
    arch = space.sample(np.random.default_rng(3))
    key = space.canonical_key
    assert sorted(map(key, pool.neighbours(arch))) == sorted(map(key, space.neighbours(arch)))


def test_random_candidates_keep_their_order_when_some_are_seen() -> None:
    whole = WholeSpace(MACRO)
    first = whole.random(10, np.random.default_rng(0))
    seen = {MACRO.canonical_key(arch) for arch in first[:4]}
    assert whole.random(6, np.random.default_rng(0), seen) == first[4:]


def test_the_best_of_a_history_is_the_first_of_equals_and_never_unknown() -> None:
    a, b, c = MACRO.sample_distinct(3, np.random.default_rng(0))
    assert history_of((a, math.nan), (b, 2.0), (c, 2.0)).best.arch == b
