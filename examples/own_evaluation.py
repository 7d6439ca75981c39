"""An evaluation of one's own and a space without a table: active search asks for 40 of 2,160 networks to be trained.

python examples/own_evaluation.py RUNS.jsonl

Every finished training is a line of the file; started again, the search goes on where it was.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome
from common.search import Evaluation, History, SearchResult, make_strategy, read_history, run_search
from common.spaces import CategoricalSpace

CHOICES = {
    **{f"width{number}": (4, 8, 16, 32, 64, 128) for number in (1, 2)},
    "activation": ("relu", "tanh", "logistic", "identity"),
    "rate": (0.0003, 0.001, 0.003, 0.01, 0.03),
    "batch": (16, 64, 256),
}
SPACE = CategoricalSpace.from_choices(CHOICES, "perceptrons")


class Training(Evaluator):
    """Validation accuracy (%) of a perceptron on digits after five epochs."""

    name = "training"

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        from sklearn.datasets import load_digits
        from sklearn.neural_network import MLPClassifier

        x, y = load_digits(return_X_y=True)
        widths = (arch["width1"], arch["width2"])
        options = {"activation": arch["activation"], "learning_rate_init": arch["rate"], "batch_size": arch["batch"]}
        with warnings.catch_warnings(action="ignore"):  # five epochs are not enough, says scikit-learn
            network = MLPClassifier(widths, max_iter=5, random_state=0, **options).fit(x[:1200] / 16, y[:1200])
        return Outcome(100 * float(network.score(x[1200:] / 16, y[1200:])))


def search(file: Path, strategy: str = "active", budget: int = 40, seed: int = 0) -> SearchResult:
    lines = file.read_text().splitlines() if file.exists() else []
    with file.open("a") as out:

        def keep(found: Evaluation, before: History) -> None:
            print(json.dumps(found.record(SPACE, seed), default=list), file=out, flush=True)

        past = read_history(map(json.loads, lines), SPACE, seed)
        return run_search(make_strategy(strategy, SPACE, seed), Training(), budget, past=past, on_evaluation=keep)


if __name__ == "__main__":
    found = search(Path(sys.argv[1])).history
    print(f"{found.best.value:.2f} after {found.best.index + 1} of {len(found)}: {SPACE.format(found.best.arch)}")
    print(f"best of the 20 random ones at the beginning: {found[:20].best.value:.2f}")
