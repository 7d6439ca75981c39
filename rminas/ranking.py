"""How well evaluators rank random architectures: a list evaluated by each of them, beside the true accuracies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from common.errors import InputError
from common.evaluators.base import Evaluator, Outcome
from common.execution.base import Executor
from common.metrics import kendall_tau, spearman, tau_interval
from common.search import Evaluation, History, Proposal, Strategy, run_search
from common.spaces import SearchSpace, SpaceExhausted
from rminas.accuracy import AccuracyTable
from rminas.rng import rng_for

RANK = "rank"
STEPS = (10, 30, 60, 100, 150)  # updates after which a training is judged, beside the last
LARGEST = np.finfo(np.float64).max
TITLES = {"rmi": "RMI loss", "flops": "FLOPs"}  # of evaluators in tables, where it is not their name


def draw_archs(space: SearchSpace, seed: int, count: int, accuracies: AccuracyTable) -> list[Any]:
    """`count` random architectures to be ranked, no two isomorphic, all with a way from input to output.

    They are drawn from the space where the table knows all of it, else from those that the table has an accuracy of. A
    larger count begins with the architectures of a smaller one, so that a ranking can be extended.
    Raises: InputError when there are not so many.
    """
    if not accuracies:
        raise InputError(f"--rank {count}: there is {accuracies.table.source.title} to compare with")
    if accuracies.whole:
        return _from_space(space, seed, count, accuracies)
    return _from_table(space, seed, count, accuracies)


def _from_space(space: SearchSpace, seed: int, count: int, accuracies: AccuracyTable) -> list[Any]:
    archs: list[Any] = []
    asked = count
    while len(archs) < count:  # unreachable cells are few; ask for a few more until enough others are there
        try:
            drawn = space.sample_distinct(asked, rng_for(seed, "rank"))
        except SpaceExhausted as error:
            raise InputError(f"--rank {count}: {error}") from None
        known = ~np.isnan(accuracies.accuracies(drawn))  # all of a table, not all that a predictor can be asked for
        archs = [arch for arch, there in zip(drawn, known, strict=True) if there and space.reaches_output(arch)]
        asked += count - len(archs)
    return archs[:count]


def _from_table(space: SearchSpace, seed: int, count: int, accuracies: AccuracyTable) -> list[Any]:
    table = accuracies.table
    archs: list[Any] = []
    seen: set[Any] = set()
    for row in rng_for(seed, "rank").permutation(len(table)):
        arch, key = table.arch(int(row)), table.key(int(row))
        if key not in seen and space.reaches_output(arch) and not math.isnan(accuracies.accuracy(arch)):
            seen.add(key)
            archs.append(arch)
        if len(archs) == count:
            return archs
    raise InputError(
        f"--rank {count}: {table.source.path or table.source.title} holds {len(archs)} distinct architectures with "
        f"{accuracies.column.name}"
    )


@dataclass(frozen=True)
class GivenList(Strategy):
    """Proposes the architectures of a list, all in one round."""

    archs: Sequence[Any]
    name = "list"

    def propose(self, history: History, room: int) -> Proposal:
        return Proposal(self.archs[len(history) : len(history) + room], RANK)


def evaluate_list(
    archs: Sequence[Any],
    evaluator: Evaluator,
    executor: Executor | None = None,
    past: Mapping[int, Evaluation] | None = None,
    on_evaluation: Callable[[Evaluation, History], object] = lambda evaluation, history: None,
) -> History:
    """The evaluations of `archs`, in order; those that `past` holds are not made again.

    Raises: InputError when `past` holds others.
    """
    return run_search(GivenList(archs), evaluator, len(archs), executor, None, past, on_evaluation).history


def joined(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The evaluation by `Several` evaluators of the evaluations of one architecture by each of them."""
    first, values = evaluations[0], np.array([evaluation.value for evaluation in evaluations])
    evaluate_s, propose_s = (sum(getattr(e, key) for e in evaluations) for key in ("evaluate_s", "propose_s"))
    return replace(first, outcome=Outcome(first.value, values), evaluate_s=evaluate_s, propose_s=propose_s)


def split(evaluation: Evaluation) -> list[Evaluation]:
    """Of an evaluation by `Several` evaluators those by each of them, which took an equal share of its time."""
    values = evaluation.outcome.trajectory.tolist()
    times = {key: getattr(evaluation, key) / len(values) for key in ("evaluate_s", "propose_s")}
    return [replace(evaluation, outcome=Outcome(value), **times) for value in values]


def summarize_ranking(
    seed: int,
    archs: Sequence[Any],
    histories: Mapping[str, History],
    accuracies: AccuracyTable,
    zero_cost: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Kendall and Spearman of every score against the true accuracy; `rows` in the order they are to be read.

    Scores that lack some of the cells are judged on those they have (`n`); where there are such, every other score is
    judged on the cells that all have as well (`common`, NaN where nothing is left out). A score that has none of the
    cells does not count there. `finite`: cells whose score is a finite number.

    Args: histories: of the architectures, by evaluator.
    """
    assert accuracies.table.space is not None
    accuracy = accuracies.accuracies([*archs])
    scores: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}  # a cell
    for name, history in histories.items():
        made = _by_step(name, history) or {TITLES.get(name, name): _ranked(history.values)}
        scores |= made
        seconds |= dict.fromkeys(made, float(np.mean([e.evaluate_s for e in history])))
    texts = [accuracies.table.space.format(arch) for arch in archs]
    scores |= {
        f"{name} (file)": np.array([column.get(text, math.nan) for text in texts]) for name, column in zero_cost.items()
    }
    known = ~np.isnan(accuracy)
    there = [~np.isnan(values) for values in scores.values()]
    common = known & np.all([cells for cells in there if (cells & known).any()], axis=0)
    rows = []
    for name, values in scores.items():
        own = known & ~np.isnan(values)
        rows.append(
            {
                "score": name,
                "n": int(own.sum()),
                "finite": int((np.abs(values) < LARGEST).sum()),
                "kendall_tau": kendall_tau(values[own], accuracy[own]),
                "kendall_tau_interval": tau_interval(values[own], accuracy[own]),
                "spearman": spearman(values[own], accuracy[own]),
                "kendall_tau_common": kendall_tau(values[common], accuracy[common]),
                "spearman_common": spearman(values[common], accuracy[common]),
                "evaluate_s": seconds.get(name),
            }
        )
    return {
        "seed": seed,
        "n": int(known.sum()),
        "n_common": int(common.sum()),
        "rows": rows,
        "kendall_tau_by_step": _by_update(histories, accuracy, known, kendall_tau),
        "kendall_tau_interval_by_step": _by_update(histories, accuracy, known, tau_interval),
        "evaluate_s": float(sum(e.evaluate_s for history in histories.values() for e in history)),
    }


def _ranked(values: np.ndarray) -> np.ndarray:
    """With -inf as the lowest of numbers; what is not known (NaN) stays so."""
    return np.nan_to_num(values, nan=np.nan, neginf=-LARGEST, posinf=LARGEST)


def _trajectories(history: History) -> np.ndarray | None:
    """(n, steps + 1) of an evaluator that trains; None for others."""
    rows = [evaluation.outcome.trajectory for evaluation in history]
    return np.stack(rows) if rows and len(rows[0]) and len({len(row) for row in rows}) == 1 else None


def _by_step(name: str, history: History) -> dict[str, np.ndarray]:
    trajectories = _trajectories(history)
    if trajectories is None:
        return {}
    last = trajectories.shape[1] - 1
    steps = sorted({*(step for step in STEPS if step < last), last})
    return {f"{TITLES.get(name, name)}, step {step}": _ranked(trajectories[:, step]) for step in steps}


def _by_update(
    histories: Mapping[str, History],
    accuracy: np.ndarray,
    known: np.ndarray,
    judge: Callable[[np.ndarray, np.ndarray], Any],
) -> list[Any]:
    """Of the first evaluator that trains, after each number of updates; empty where none does."""
    trained = [found for history in histories.values() if (found := _trajectories(history)) is not None]
    return [judge(_ranked(column)[known], accuracy[known]) for column in trained[0].T] if trained else []
