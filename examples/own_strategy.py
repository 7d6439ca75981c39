"""A search strategy of one's own: mutate one of the five best architectures found so far.

python -m renas --search examples/own_strategy.py:BestFew
python examples/own_strategy.py
"""

from __future__ import annotations

import numpy as np

from common.search import History, Proposal, Strategy
from common.seeds import rng_for

START, BEST = 20, 5  # random architectures to begin with; parents


class BestFew(Strategy):
    """One mutant of one of the best at a time; every draw depends on the seed and the place in the history alone."""

    name = "best_few"

    def propose(self, history: History, room: int) -> Proposal:
        rng = rng_for(self.seed, "best few", len(history))
        seen = self.candidates.keys(history.archs)  # isomorphic architectures are one: none is proposed twice
        if len(history) < START:
            return Proposal(self.candidates.random(min(room, START), rng, seen), "initial")
        order = np.argsort(-np.nan_to_num(history.values, nan=-np.inf))
        parent = history[int(rng.choice(order[:BEST]))]
        child = self.candidates.mutant(parent.arch, rng, seen)
        return Proposal([] if child is None else [child], "mutation", ended="" if child else "nothing is left")


def main() -> None:
    from common.benchmarks import load_benchmark
    from common.evaluators.table import TableEvaluator
    from common.search import make_strategy, run_search

    table = load_benchmark()  # the one that pip installs: 15,625 trained cells
    look_up = TableEvaluator(table, table.default_column)
    for name in ("random", "evolution", "examples/own_strategy.py:BestFew"):
        best = run_search(make_strategy(name, table.space, seed=0), look_up, budget=150).history.best
        print(f"{name}: {best.value:.2f} after {best.index + 1} of 150 cells, {table.space.format(best.arch)}")


if __name__ == "__main__":
    main()
