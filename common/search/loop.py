"""The one search loop: a strategy asks, an executor has it evaluated, the history is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from common.errors import InputError
from common.evaluators.base import Evaluator, Request
from common.execution.base import Executor
from common.execution.serial import Serial
from common.search.base import Proposal, SearchResult, StoppingPolicy, Strategy
from common.search.history import Evaluation, History
from common.search.limits import Limits


def run_search(
    strategy: Strategy,
    evaluator: Evaluator,
    budget: int,
    executor: Executor | None = None,
    stopping: StoppingPolicy | None = None,
    past: Mapping[int, Evaluation] | None = None,
    on_evaluation: Callable[[Evaluation, History], object] = lambda evaluation, history: None,
    limits: Limits | None = None,
) -> SearchResult:
    """Searches until the strategy proposes nothing or `budget` architectures have been evaluated.

    The search goes in rounds. What a round holds depends on the rounds before it alone, so it does not matter in which
    order its evaluations finish, nor where a search was killed.

    Args:
        executor: where evaluations run; here, one after the other, if None. stopping: see StoppingPolicy.
        past: evaluations that a killed search has made, by index (`read_history`): they are not made again.
        on_evaluation: gets each new evaluation as it finishes, and the history before its round.
        limits: that the strategy was given to keep.
    Raises: InputError when `past` holds other architectures than are proposed, and for a strategy that proposes what
    is outside of the limits, or returns no Proposal.
    """
    executor, stopping, past = executor or Serial(), stopping or StoppingPolicy(), past or {}
    history = History()
    while len(history) < budget:
        started = time.perf_counter()
        proposal = strategy.propose(history, budget - len(history))
        if not isinstance(proposal, Proposal):
            said = type(proposal).__name__
            raise InputError(f"search strategy {strategy.name!r}: propose returns a {said}, expected a Proposal")
        if not proposal.archs:
            return SearchResult(history, proposal.ended)
        if limits is not None and not limits.admits(strategy.space.to_codes(proposal.archs)).all():
            raise InputError(f"search strategy {strategy.name!r} proposes what does not have {limits}: it does not "
                "choose from its candidates")  # fmt: skip
        bounds = stopping.bounds(history, proposal)
        propose_s = (time.perf_counter() - started) / len(proposal.archs)
        requests = [Request(arch, limits) for arch, limits in zip(proposal.archs, bounds, strict=True)]
        made = _evaluate(history, proposal, requests, propose_s, evaluator, executor, past, on_evaluation)
        history = history.extended(made)
    return SearchResult(history)


def _evaluate(
    history: History,
    proposal: Proposal,
    requests: list[Request],
    propose_s: float,
    evaluator: Evaluator,
    executor: Executor,
    past: Mapping[int, Evaluation],
    on_evaluation: Callable[[Evaluation, History], object],
) -> list[Evaluation]:
    """The evaluations of one round in order of their index; those that `past` holds are taken from there."""
    first = len(history)
    done = {index: past[index] for index in range(first, first + len(requests)) if index in past}
    for index, evaluation in done.items():
        if evaluation.arch != requests[index - first].arch:
            raise InputError(
                f"evaluation {index} in the records is of another architecture than this search evaluates there: "
                "another version or setting made them; choose another run folder"
            )
    missing = [index for index in range(first, first + len(requests)) if index not in done]
    last = time.perf_counter()
    for position, outcome in executor.run(evaluator, [requests[i - first] for i in missing]) if missing else ():
        index, now = missing[position], time.perf_counter()
        # From one finish to the next: these add up to the time the round has taken, however many ran at once.
        arch = requests[index - first].arch
        done[index] = Evaluation(index, proposal.phase, arch, outcome, now - last, propose_s)
        on_evaluation(done[index], history)
        last = time.perf_counter()
    return [done[index] for index in sorted(done)]
