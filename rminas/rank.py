"""How well the loss ranks random cells, at several steps, beside what costs nothing to compute."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import InputError
from common.metrics import kendall_tau, spearman
from common.spaces import SearchSpace, SpaceExhausted
from rminas.draws import rng_for
from rminas.search import Evaluate, Evaluation, evaluate_round
from rminas.task import Truth

RANK = "rank"
STEPS = (10, 30, 60, 100, 150)  # updates after which the ranking is judged, beside the last
ROWS_PER_STEP = "RMI loss, step {}"


def draw_cells(space: SearchSpace, seed: int, count: int, truth: Truth) -> list[Any]:
    """`count` random architectures to be ranked, no two isomorphic, all with a way from input to output.

    They are drawn from the space where the table knows all of it, else from those that the table has an accuracy of. A
    larger count begins with the architectures of a smaller one, so that a ranking can be extended.
    Raises: InputError when there are not so many.
    """
    if not len(truth.table):
        raise InputError(f"--rank {count}: there is {truth.table.source.title} to compare with")
    return _from_space(space, seed, count) if len(truth.table) == space.size else _from_table(space, seed, count, truth)


def rank_cells(
    archs: Sequence[Any],
    evaluate: Evaluate,
    steps: int,
    past: Mapping[int, Evaluation] | None = None,
    on_evaluation: Callable[[Evaluation], object] = lambda evaluation: None,
) -> list[Evaluation]:
    """The evaluations of `archs`, in order; those that `past` holds are not made again.

    Raises: InputError when `past` holds others.
    """
    return evaluate_round(0, RANK, archs, 0.0, past or {}, evaluate, (), steps, on_evaluation)


def _from_space(space: SearchSpace, seed: int, count: int) -> list[Any]:
    archs: list[Any] = []
    asked = count
    while len(archs) < count:  # unreachable cells are few; ask for a few more until enough others are there
        try:
            drawn = space.sample_distinct(asked, rng_for(seed, "rank"))
        except SpaceExhausted as error:
            raise InputError(f"--rank {count}: {error}") from None
        archs = [arch for arch in drawn if space.reaches_output(arch)]
        asked += count - len(archs)
    return archs[:count]


def _from_table(space: SearchSpace, seed: int, count: int, truth: Truth) -> list[Any]:
    table = truth.table
    archs: list[Any] = []
    seen: set[Any] = set()
    for row in rng_for(seed, "rank").permutation(len(table)):
        arch, key = table.arch(int(row)), table.key(int(row))
        if key not in seen and space.reaches_output(arch) and not math.isnan(truth.accuracy(arch)):
            seen.add(key)
            archs.append(arch)
        if len(archs) == count:
            return archs
    raise InputError(
        f"--rank {count}: {table.source.path or table.source.title} holds {len(archs)} distinct architectures with "
        f"{truth.column.name}"
    )


def summarize_ranking(
    evaluations: Sequence[Evaluation], truth: Truth, seed: int, zero_cost: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """Kendall and Spearman of every score against the true accuracy; `rows` in the order they are to be read.

    Scores that lack some of the cells are judged on those they have (`n`); where there are such, every other score is
    judged on the cells that all have as well (`common`, NaN where nothing is left out).
    """
    table = truth.table
    assert table.space is not None
    archs = [evaluation.arch for evaluation in evaluations]
    accuracy = np.array([truth.accuracy(arch) for arch in archs])
    losses = np.stack([evaluation.losses for evaluation in evaluations])
    last = losses.shape[1] - 1
    scores = {
        ROWS_PER_STEP.format(step): -np.nan_to_num(losses[:, step], posinf=np.finfo(np.float64).max)
        for step in sorted({*(s for s in STEPS if s < last), last})
    }
    flops, params = table.space.total_costs(table.space.to_codes(archs))
    scores |= {"params": params.astype(np.float64), "FLOPs": flops.astype(np.float64)}
    texts = [table.space.format(arch) for arch in archs]
    scores |= {
        f"{name} (file)": np.array([column.get(text, math.nan) for text in texts]) for name, column in zero_cost.items()
    }
    known = ~np.isnan(accuracy)
    common = known & np.all([~np.isnan(values) for values in scores.values()], axis=0)
    rows = []
    for name, values in scores.items():
        own = known & ~np.isnan(values)
        rows.append(
            {
                "score": name,
                "n": int(own.sum()),
                "kendall_tau": kendall_tau(values[own], accuracy[own]),
                "spearman": spearman(values[own], accuracy[own]),
                "kendall_tau_common": kendall_tau(values[common], accuracy[common]),
                "spearman_common": spearman(values[common], accuracy[common]),
            }
        )
    by_step = [kendall_tau(-np.nan_to_num(column, posinf=1e300)[known], accuracy[known]) for column in losses.T]
    return {
        "seed": seed,
        "n": int(known.sum()),
        "n_common": int(common.sum()),
        "rows": rows,
        "kendall_tau_by_step": by_step,
        "train_s": float(sum(evaluation.train_s for evaluation in evaluations)),
    }
