"""Scores that others have computed, training-free proxies for example, from a CSV `arch,score,...`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.benchmarks import CSV, load_benchmark
from common.errors import InputError
from common.spaces.base import SearchSpace


def load_scores(path: str | Path, space: SearchSpace | str | None = None) -> dict[str, dict[str, float]]:
    """{score: {architecture's text, as the space formats it: value}}, empty fields left out.

    Every column of numbers is a score but those that are accuracies by their names (`cifar10_valid_108`).

    Args: space: of the architectures; None to recognise it (see `load_benchmark`).
    Raises: InputError naming the file and the line, or that there is no score in it.
    """
    table = load_benchmark(path, kind=CSV, space=space)
    if not table.metrics:
        raise InputError(f"{table.source.path}: has accuracies but no scores: {', '.join(table.columns)}")
    texts = [table.arch_text(row) for row in range(len(table))]
    scores = {}
    for name in table.metrics:
        values = table.values(name)
        scores[name] = {texts[row]: float(values[row]) for row in np.flatnonzero(~np.isnan(values))}
    return scores
