"""What the size of a network says beside its loss: Kendall tau and what the model elects, by the weight of the size.

Reads run folders of searches and rankings; nothing is trained. Prints Markdown.
"""

from __future__ import annotations

import numpy as np
from studies import Run, run_study

from common.cli import run_command
from common.metrics import kendall_tau, mean_std
from rminas.search import FOREST, by_model, read_evaluations
from rminas.size import Size

PROG = "python scripts/study_size.py"
ALONE = 1e6  # a weight beside which the loss is nothing
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, ALONE)


def main() -> None:
    run_study(PROG, __doc__ or "", _study)


def _study(run: Run) -> str:
    config, space, truth, records = run.config, run.space, run.truth, run.records
    steps, seeds = config.rminas.observe, sorted({record["seed"] for record in records})
    taus: dict[float, list[float]] = {weight: [] for weight in WEIGHTS}
    elected: dict[float, list[float]] = {weight: [] for weight in WEIGHTS}
    counts: list[int] = []
    for seed in seeds:
        evaluations = [e for _, e in sorted(read_evaluations(records, space, seed, steps).items())]
        random = [e for e in evaluations if e.phase != FOREST and np.isfinite(e.loss)]
        archs, losses = [e.arch for e in random], np.array([e.loss for e in random])
        accuracy = np.array([truth.accuracy(arch) for arch in archs])
        counts.append(len(random))
        for weight in WEIGHTS:
            size = Size.learnt(space, weight, archs, losses.tolist())
            logs = np.zeros(len(archs)) if weight == ALONE else np.log(losses)  # nor is it to break ties
            taus[weight].append(kendall_tau(-logs - size.log_factors(archs), accuracy))
            elected[weight].append(truth.accuracy(by_model(size, evaluations, [], seed, steps)))
    lines = [
        f"## {run.path.name}: {len(seeds)} seeds, {steps} updates",
        "",
        f"| weight of the size | Kendall tau, {np.mean(counts):.0f} random networks | elected by the model, test % |",
        "|---|---|---|",
    ]
    for weight in WEIGHTS:
        name = "size alone" if weight == ALONE else f"{weight:g}"
        (tau, tau_std), (acc, acc_std) = mean_std(taus[weight]), mean_std(elected[weight])
        spread = (f" ± {tau_std:.3f}", f" ± {acc_std:.2f}") if len(seeds) > 1 else ("", "")
        lines.append(f"| {name} | {tau:.3f}{spread[0]} | {acc:.2f}{spread[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(PROG, main)
