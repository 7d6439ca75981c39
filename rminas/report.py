"""What a run says at its end: summaries, plots and the reports on the terminal, all made from its records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.metrics import mean_std, number, summarize_series, with_spread
from common.runs import write_atomic
from rminas.forest import WARMUP

if TYPE_CHECKING:
    from common.search import History
    from rminas.accuracy import AccuracyTable
    from rminas.search import SearchOutcome

AVERAGED = ("kendall_tau", "kendall_tau_trained", "spearman", "evaluations", "positives", "search_s")
AVERAGED_FOUND = ("test_acc", "rank", "regret")
BUILT_IN_TITLE = "AnalogNAS-Bench"


def summarize(runs: list[dict[str, Any]], shared: dict[str, Any]) -> dict[str, Any]:
    """A search's summary: what its seeds share, each seed's finding, mean and sample standard deviation over them."""
    series = {key: [float(run[key]) for run in runs] for key in AVERAGED}
    series |= {key: [number(run["found"][key]) for run in runs] for key in AVERAGED_FOUND}
    stats = summarize_series(series)
    return {
        **shared,
        "n": len(runs),
        "runs": runs,
        **stats,
        "accuracy": accuracy_line(shared["benchmark"], stats["mean"]["test_acc"]),
    }


def accuracy_line(benchmark: Mapping[str, Any], accuracy: float) -> str:
    """The accuracy of what was found and what table it is of: 93.99 is much in one and little in another."""
    if math.isnan(accuracy):
        return ""
    of = f" of {benchmark['best']:.2f} at best in {BUILT_IN_TITLE}" if benchmark["built_in"] else ""
    return f"{accuracy:.2f}{of}"


def as_loss(evaluator: str, value: float) -> tuple[str, float]:
    """What people call an evaluator's value, and the number they know it by."""
    return ("loss", -value) if evaluator == "rmi" else (evaluator, value)


def terminal_report(summary: dict[str, Any], folder: Path) -> str:
    """The report of a search for people; its last line is like that of the ReNAS demo."""
    n, runs, mean, std = summary["n"], summary["runs"], summary["mean"], summary["std"]
    evaluator = summary["evaluator"]
    called, _ = as_loss(evaluator, 0.0)
    best = f"{'lowest' if called == 'loss' else 'highest'} {called}"
    lines = [
        *_head(summary),
        f"candidates evaluated: {summary['executor']}",
        f"tau is Kendall's between {'-' if called == 'loss' else ''}{called} and accuracy over the evaluated cells, "
        "stopped ones below all others",
        "",
        f"  seed  evaluations  positives  voters     tau    found %    rank  regret  {best + ' %':>{len(best) + 2}}  "
        "search s",
    ]
    for run in runs:
        found = run["found"]
        rank = number(found["rank"])
        lines.append(
            f"{run['seed']:6d}  {run['evaluations']:11d}  {run['positives']:9d}  {run['voters']:6d}  "
            f"{run['kendall_tau']:6.3f}  {found['test_acc']:9.2f}  {rank:6.0f}  {found['regret']:6.2f}  "
            f"{run['best_value']['test_acc']:{len(best) + 2}.2f}  {run['search_s']:8.1f}"
        )
    lines += ["", *(f"seed {run['seed']} gave up: {run['gave_up']}" for run in runs if run["gave_up"])]
    known = not math.isnan(mean["test_acc"])
    rules = [rule for rule in runs[0]["chosen_by"] if all(rule in run["chosen_by"] for run in runs)] if known else []
    for rule in rules:
        acc, spread = mean_std(number(run["chosen_by"][rule]["test_acc"]) for run in runs)
        lines.append(f"chosen by {rule:6} {with_spread(acc, spread, n, 2)} %")
    cost = f"{mean['search_s']:.1f} s (n = {n})"
    if known:
        lines.append(
            f"found {with_spread(mean['test_acc'], std['test_acc'], n, 2)} %, regret "
            f"{with_spread(mean['regret'], std['regret'], n, 2)}, tau "
            f"{with_spread(mean['kendall_tau'], std['kendall_tau'], n, 3)}, {cost}"
        )
    else:
        title = summary["benchmark"]["title"]
        why = f"there is {title}" if _unknown(summary) else f"{title} does not hold it"
        lines.append(f"found, without an accuracy: {why}; {cost}")
    rows = [f" (row {run['found']['index']})" if known else "" for run in runs]
    lines += [f"found by seed {run['seed']}: {run['found']['arch']}{row}" for run, row in zip(runs, rows, strict=True)]
    lines.append(f"files: {folder}")
    return "\n".join([*lines, f"search model acc: {summary['accuracy']}"] if known else lines)


def _unknown(summary: Mapping[str, Any]) -> bool:
    """Whether there is no table at all."""
    return math.isnan(number(summary["benchmark"]["best"]))


def rank_report(summary: dict[str, Any], folder: Path) -> str:
    """The report of a ranking for people: every score's taus, one seed below the other."""
    lines = _head(summary)
    for run in summary["runs"]:
        partial = run["n_common"] < run["n"]
        width = max(24, *(len(row["score"]) for row in run["rows"]))
        header = f"{'score':{width}}  {'n':>5}  {'kendall':>8}  {'spearman':>8}  {'s a cell':>9}"
        lines += [
            "",
            f"seed {run['seed']}: {run['n']} random cells, no two isomorphic, evaluated in {run['evaluate_s']:.1f} s",
        ]
        lines.append(header + (f"   on the {run['n_common']} cells that all scores have" if partial else ""))
        for row in run["rows"]:
            seconds = "" if row["evaluate_s"] is None else f"{row['evaluate_s']:.4f}"
            line = f"{row['score']:{width}}  {row['n']:5d}  {row['kendall_tau']:8.3f}  {row['spearman']:8.3f}"
            line += f"  {seconds:>9}"
            if partial:
                line += f"   {row['kendall_tau_common']:8.3f}  {row['spearman_common']:8.3f}"
            lines.append(line.rstrip())
    return "\n".join([*lines, "", f"files: {folder}"])


def _head(summary: dict[str, Any]) -> list[str]:
    teacher, images, benchmark = summary["teacher"], summary["images"], summary["benchmark"]
    known = f"{benchmark['column']} of {benchmark['title']}, best {number(benchmark['best']):.2f} %"
    source = f": images from {images['source']}" if images else ""
    lines = [f"RMI-NAS on {summary['space']}, {summary['dataset']}{source}"]
    if teacher:
        lines.append(
            f"teacher {teacher['name']} ({teacher['weights']}), {teacher['test_acc']:.2f} % on "
            f"{teacher['test_images']:,} test images in {teacher['mode']} mode"
        )
    return [*lines, f"accuracies: {benchmark['title'] if _unknown(summary) else known}"]


def write_search_plot(
    outcomes: Sequence[SearchOutcome], evaluator: str, accuracies: AccuracyTable, folder: Path
) -> None:
    """`search.png`: what the search went by, by evaluation (first seed), and against the true accuracy of all cells.

    Both panels show the scores that decide what is positive: losses, weighed by the cheap score where there is one. The
    second is left out where no accuracy is known.
    """
    from matplotlib import pyplot as plt

    known = [accuracies.accuracies(outcome.history.archs) for outcome in outcomes]
    some = any(np.isfinite(values).any() for values in known)
    figure, axes = _figure(2 if some else 1)
    name, sign = _axis(evaluator, weighed=outcomes[0].search.judged.weighing.slope != 0)
    first, judged, left = outcomes[0], outcomes[0].search.judged, axes[0]
    index = np.arange(len(judged.scores))
    for mask, color, label in ((~judged.positive, "tab:gray", "other"), (judged.positive, "tab:red", "positive")):
        left.plot(index[mask], sign * judged.scores[mask], ".", color=color, markersize=4, label=label)
    if np.isfinite(judged.threshold):
        left.axhline(sign * judged.threshold, color="tab:red", linewidth=1, label="threshold")
    warmup = sum(evaluation.phase == WARMUP for evaluation in first.history)
    if warmup:
        left.axvline(warmup - 0.5, color="black", linestyle=":", label="random | the forest's choice")
    left.set(xlabel="evaluation", ylabel=name, title=f"seed {first.search.seed}")
    left.legend()
    if some:
        right, few = axes[1], len(outcomes) <= 8
        for outcome, accuracy in zip(outcomes, known, strict=True):
            title = f"seed {outcome.search.seed}" if few else None
            right.plot(sign * outcome.search.judged.scores, accuracy, ".", markersize=4, alpha=0.6, label=title)
            if np.isfinite(found := accuracies.accuracy(outcome.found)):
                right.axhline(found, linewidth=1, color="tab:red")
        _limit(right, known, accuracies.best)
        right.set(xlabel=name, ylabel=f"{accuracies.column.name} (%), best 95 %", title="red line: found")
        if few:
            right.legend()
    _save(figure, folder / "search.png")
    plt.close(figure)


def write_rank_plot(
    histories: Mapping[str, History], summaries: list[dict[str, Any]], accuracies: AccuracyTable, folder: Path
) -> None:
    """`rank.png`: tau by number of updates (all seeds) where something trains, and the first evaluator's values.

    Args: histories: of the first seed, by evaluator.
    """
    from matplotlib import pyplot as plt

    stepped = bool(summaries[0]["kendall_tau_by_step"])
    figure, axes = _figure(2 if stepped else 1)
    name, history = next(iter(histories.items()))
    label, sign = _axis(name, weighed=False)
    if stepped:
        for summary in summaries:
            axes[0].plot(summary["kendall_tau_by_step"], label=f"seed {summary['seed']}")
        free = [row for row in summaries[0]["rows"] if row["score"] in ("params", "FLOPs")]
        for row, style in zip(free, (":", "--"), strict=False):
            axes[0].axhline(row["kendall_tau"], color="gray", linestyle=style, linewidth=1, label=row["score"])
        axes[0].set(xlabel="updates", ylabel="Kendall tau of the values on the way")
        axes[0].legend()
    accuracy = accuracies.accuracies(history.archs)
    axes[-1].plot(sign * history.values, accuracy, ".", markersize=4)
    _limit(axes[-1], [accuracy], float(np.nanmax(accuracy, initial=-np.inf)))
    axes[-1].set(xlabel=label, ylabel=f"{accuracies.column.name} (%), best 95 %")
    _save(figure, folder / "rank.png")
    plt.close(figure)


def _axis(evaluator: str, weighed: bool) -> tuple[str, float]:
    """How an axis of scores is called, and the sign they are shown with."""
    name, sign = as_loss(evaluator, 1.0)
    return name + (", weighed by the cheap score" if weighed else ""), sign


def _limit(axes: Any, accuracies: Sequence[np.ndarray], top: float) -> None:
    """Up to `top` from the 5th percentile: a few cells at chance level must not squeeze all others into a corner.

    Nothing is limited where the table knows none of them.
    """
    lows = [np.nanpercentile(values, 5) for values in accuracies if np.isfinite(values).any()]
    if lows:
        margin = 0.05 * (top - min(lows))
        axes.set_ylim(min(lows) - margin, top + margin + 1e-3)


def _figure(columns: int) -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, columns, figsize=(5.5 * columns, 4.5), layout="constrained", squeeze=False)
    return figure, list(axes[0])


def _save(figure: Any, path: Path) -> None:
    write_atomic(path, lambda file: figure.savefig(file, format="png", dpi=120))
