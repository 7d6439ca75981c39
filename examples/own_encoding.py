"""An encoding of one's own: which choices stand together, for predictors that see columns one by one.

python -m renas --predictor boosting --encoding examples/own_encoding.py:Pairs+costs
python examples/own_encoding.py
"""

from __future__ import annotations

import numpy as np

from common.encoding import Encoding
from common.spaces import SearchSpace


class Pairs(Encoding):
    """(N, D (D + 1) / 2) float32: the products of all pairs of the D one-hot columns, each with itself too."""

    name = "pairs"

    def encode(self, space: SearchSpace, codes: np.ndarray) -> np.ndarray:
        one_hot = space.one_hot(space.live_codes(codes))  # live: without what cannot influence the output
        first, second = np.triu_indices(one_hot.shape[1])
        return one_hot[:, first] * one_hot[:, second]


def main() -> None:
    from common.benchmarks import load_benchmark
    from common.metrics import kendall_tau
    from common.predictors import make_predictor

    table = load_benchmark()  # the one that pip installs: 15,625 trained cells
    for encoding in ("costs", "examples/own_encoding.py:Pairs+costs"):
        ranker = make_predictor("boosting", encoding).fit(table.sample(424, seed=0))
        print(f"{encoding}: Kendall tau {kendall_tau(ranker.predict(table), table.values()):.3f}")


if __name__ == "__main__":
    main()
