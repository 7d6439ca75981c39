"""What the size of a network says beside its loss: Kendall tau and what the model chooses, by the weight of the size.

Reads run folders of searches and rankings; nothing is trained. Prints Markdown.
"""

from __future__ import annotations

import numpy as np
from studies import Run, run_study

from common.cli import run_command
from common.evaluators.costs import CostEvaluator
from common.metrics import kendall_tau, mean_std
from common.search import History
from rminas.cheap import CheapScore
from rminas.elections import FinishedSearch, choose_by_model
from rminas.forest import FOREST, Judgement

PROG = "python scripts/study_size.py"
ALONE = 1e6  # a weight beside which the loss is nothing
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, ALONE)


def main() -> None:
    run_study(PROG, __doc__ or "", _study)


def _study(run: Run) -> str:
    steps, seeds = run.config.rminas.observe, [*run.histories]
    taus: dict[float, list[float]] = {weight: [] for weight in WEIGHTS}
    chosen: dict[float, list[float]] = {weight: [] for weight in WEIGHTS}
    counts: list[int] = []
    size = CostEvaluator(run.space, "params")
    for seed, history in run.histories.items():
        random = History(tuple(e for e in history if e.phase != FOREST and e.outcome.usable))
        accuracy = run.accuracies.accuracies(random.archs)
        counts.append(len(random))
        for weight in WEIGHTS:
            weighing = CheapScore(size, weight).learn(random)
            logs = np.zeros(len(random)) if weight == ALONE else np.log(-random.values)  # nor is it to break ties
            taus[weight].append(kendall_tau(-logs - weighing.penalties(random.archs), accuracy))
            none = np.zeros(len(history), dtype=bool)
            judged = Judgement(weighing.scores(history.values, history.archs), -np.inf, none, weighing)
            best = choose_by_model(FinishedSearch(run.space, seed, history, judged))
            chosen[weight].append(run.accuracies.accuracy(best))
    lines = [
        f"## {run.path.name}: {len(seeds)} seeds, {steps} updates",
        "",
        f"| weight of the size | Kendall tau, {np.mean(counts):.0f} random networks | chosen by the model, test % |",
        "|---|---|---|",
    ]
    for weight in WEIGHTS:
        name = "size alone" if weight == ALONE else f"{weight:g}"
        (tau, tau_std), (acc, acc_std) = mean_std(taus[weight]), mean_std(chosen[weight])
        spread = (f" ± {tau_std:.3f}", f" ± {acc_std:.2f}") if len(seeds) > 1 else ("", "")
        lines.append(f"| {name} | {tau:.3f}{spread[0]} | {acc:.2f}{spread[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(PROG, main)
