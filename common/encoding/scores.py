"""Scores that were computed before, training-free ones say, as columns beside others: `graph+scores=FILE.csv`."""

from __future__ import annotations

import numpy as np

from common.encoding.base import Encoding
from common.errors import InputError
from common.metrics import normal_scores
from common.spaces.base import SearchSpace


class Scores(Encoding):
    """(N, S + 1) float32: the S scores of a CSV `arch,score,...` by rank, and whether the file has the architecture.

    A score enters as the quantile of the normal distribution at its rank in the file, because scores differ by powers
    of ten; what the file lacks is 0, the median. Isomorphic architectures share the mean over those in the file.
    """

    name = "scores"

    def __init__(self, path: str = "") -> None:
        """path: of a CSV as `common.benchmarks.load_scores` takes it; its accuracies are no scores."""
        if not path:
            raise InputError("encoding scores needs a file: scores=FILE.csv")
        self.path = path
        self._read: dict[str, tuple[list[str], dict[bytes, np.ndarray]]] = {}  # by space

    def check(self, space: SearchSpace) -> None:
        self._table(space)

    def encode(self, space: SearchSpace, codes: np.ndarray) -> np.ndarray:
        names, rows = self._table(space)
        missing = np.zeros(len(names) + 1, dtype=np.float32)
        found = [rows.get(code.tobytes(), missing) for code in space.canonical_codes(codes)]
        return np.array(found, dtype=np.float32).reshape(-1, len(missing))

    def columns(self, space: SearchSpace) -> list[str]:
        return [*self._table(space)[0], "scores known"]

    def describe(self) -> str:
        return f"{self.name}={self.path}"

    def _table(self, space: SearchSpace) -> tuple[list[str], dict[bytes, np.ndarray]]:
        """Names of the scores, and by canonical code their values and a 1."""
        if space.name not in self._read:
            from common.benchmarks import CSV, load_benchmark

            table = load_benchmark(self.path, kind=CSV, space=space)
            names = list(table.metrics)
            if not names or table.codes is None:
                raise InputError(f"{table.source.path}: has no scores: {', '.join(table.columns)}")
            values = np.zeros((len(table), len(names) + 1))
            values[:, -1] = 1
            for column, name in enumerate(names):
                given = table.values(name)
                known = ~np.isnan(given)
                values[known, column] = normal_scores(given[known])
            keys, group = np.unique(space.canonical_codes(table.codes), axis=0, return_inverse=True)
            sums = np.zeros((len(keys), values.shape[1]))
            np.add.at(sums, group.ravel(), values)
            means = sums / sums[:, -1:]
            self._read[space.name] = names, {key.tobytes(): row for key, row in zip(keys, means, strict=True)}
        return self._read[space.name]
