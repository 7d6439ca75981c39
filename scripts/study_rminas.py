"""What cheaper settings would have done, from recorded losses: steps, number of cells, racing, positives that vote.

Reads run folders of rankings and of searches without racing; nothing is trained. Prints Markdown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from studies import Run, run_study

from common.cli import run_command
from common.errors import InputError
from common.metrics import kendall_tau, mean_std
from common.spaces import SearchSpace
from rminas.accuracy import AccuracyTable
from rminas.config import Rminas
from rminas.forest import FOREST, freeze_threshold
from rminas.model import LossModel
from rminas.race import loss_bounds
from rminas.vote import vote_sum

PROG = "python scripts/study_rminas.py"
STEPS = (5, 10, 20, 30, 40, 60, 80, 100, 150)
DRAWS = 30  # random subsets of the cells


def main() -> None:
    run_study(PROG, __doc__ or "", _study)


def _study(run: Run) -> str:
    config, space, accuracies = run.config, run.space, run.accuracies
    if len(run.histories) != 1:
        raise InputError(f"{run.path}: a ranking of one seed is needed, it has {len(run.histories)}")
    (history,) = run.histories.values()
    if any(evaluation.outcome.stopped for evaluation in history):
        raise InputError(f"{run.path}: candidates raced, so their losses after the last update are not known")
    archs, losses = history.archs, np.stack([-evaluation.outcome.trajectory for evaluation in history])
    accuracy = accuracies.accuracies(archs)
    source = f"{accuracies.column.name} of {accuracies.table.source.title}"
    if any(evaluation.phase == FOREST for evaluation in history):
        title = f"## {run.path.name}: a search of {len(archs)} {space.title} networks, {source}"
        return "\n".join([title, "", *_votes(config.rminas, space, archs, losses, accuracy, accuracies)])
    kept = np.isfinite(losses).all(1)
    archs, losses, accuracy = (
        [arch for arch, keep in zip(archs, kept, strict=True) if keep],
        losses[kept],
        accuracy[kept],
    )
    title = f"## {run.path.name}: {len(archs)} random {space.title} networks, {source}"
    return "\n".join([title, "", *_steps(space, archs, losses, accuracy, accuracies), "", *_racing(losses)])


def _votes(
    settings: Rminas,
    space: SearchSpace,
    archs: Sequence[Any],
    losses: np.ndarray,
    accuracy: np.ndarray,
    accuracies: AccuracyTable,
) -> list[str]:
    """What would have been voted for after fewer updates, and after fewer evaluations, of the same networks."""
    codes = space.to_codes(archs)

    def vote(losses: np.ndarray) -> tuple[int, float]:
        """Positives and the accuracy of what they vote for, from the losses of the first networks."""
        threshold = -freeze_threshold(-losses[: settings.rf_warmup], settings.rf_thresrate)
        positive = np.flatnonzero(losses < threshold)
        voters = positive[np.argsort(losses[positive], kind="stable")][: settings.top]
        return len(positive), accuracies.accuracy(space.most_voted(vote_sum(codes[voters], space.choices)))

    lines = ["| updates | Kendall tau of -loss | positives | voted for, test % |", "|---|---|---|---|"]
    for step in [step for step in STEPS if step < losses.shape[1]]:
        positives, found = vote(losses[:, step])
        tau = kendall_tau(-np.nan_to_num(losses[:, step], posinf=np.finfo(np.float64).max), accuracy)
        lines.append(f"| {step} | {tau:.3f} | {positives} | {found:.2f} |")
    lines += ["", "| evaluations | positives | voted for, test % |", "|---|---|---|"]
    for count in [*range(settings.rf_warmup + 20, len(archs), 20), len(archs)]:
        positives, found = vote(losses[:count, -1])
        lines.append(f"| {count} | {positives} | {found:.2f} |")
    return [*lines, "", "The networks are those that the search with all its updates proposed."]


def _steps(
    space: SearchSpace, archs: Sequence[Any], losses: np.ndarray, accuracy: np.ndarray, accuracies: AccuracyTable
) -> list[str]:
    """Ranking, and what is chosen, after fewer updates."""
    count = max(2, 3 * len(archs) // 4)
    subsets = [np.random.default_rng(draw).permutation(len(archs))[:count] for draw in range(DRAWS)]
    lines = [
        f"| updates | Kendall tau of -loss | lowest loss of {count}, test % "
        f"| chosen by the model from {count}, test % |",
        "|---|---|---|---|",
    ]
    for step in [step for step in STEPS if step < losses.shape[1]]:
        logs = np.log(losses[:, step])
        lowest = mean_std(accuracy[subset[np.argmin(logs[subset])]] for subset in subsets)
        chosen = []
        for draw, subset in enumerate(subsets):
            some = [archs[i] for i in subset]
            arch = LossModel.fit(space, some, logs[subset]).least(some, np.random.default_rng(draw))
            chosen.append(accuracies.accuracy(arch))
        model = mean_std(chosen)
        lines.append(
            f"| {step} | {kendall_tau(-logs, accuracy):.3f} | {lowest[0]:.2f} ± {lowest[1]:.2f} "
            f"| {model[0]:.2f} ± {model[1]:.2f} |"
        )
    return [*lines, "", f"± over {DRAWS} random subsets of {count}, which overlap."]


def _racing(losses: np.ndarray) -> list[str]:
    """What stopping early saves, and how many of the best tenth it stops."""
    steps, full = losses.shape[1] - 1, min(20, len(losses) // 2)
    best = losses[:, -1] <= np.quantile(losses[:, -1], 0.1)
    lines = [f"| racing, z | mean updates of {steps} | of the best tenth stopped |", "|---|---|---|"]
    for z in (1.0, 1.5, 2.0, 2.5, 3.0):
        made, lost = [], []
        for draw in range(DRAWS):
            order = np.random.default_rng(draw).permutation(len(losses))
            bounds = loss_bounds([losses[i] for i in order[:full]], z, full, None, 0.05)
            for i in order[full:]:
                stop = next((step for step in sorted(bounds) if losses[i, step] > bounds[step]), steps)
                made.append(stop)
                if best[i]:
                    lost.append(stop < steps)
        lines.append(f"| {z:g} | {np.mean(made):.0f} | {100 * np.mean(lost):.0f} % |")
    return [*lines, "", f"Bounds learnt from {full} random cells, judged on the others; {DRAWS} draws."]


if __name__ == "__main__":
    run_command(PROG, main)
