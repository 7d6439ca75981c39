"""What a run says at its end: summaries, plots and the reports on the terminal, all made from its records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.metrics import mean_std
from common.runs import write_atomic

if TYPE_CHECKING:
    from rminas.search import Evaluation, Searched
    from rminas.task import Truth

AVERAGED = ("kendall_tau", "kendall_tau_trained", "spearman", "evaluations", "positives", "search_s")
AVERAGED_FOUND = ("test_acc", "rank", "regret")


def summarize(runs: list[dict[str, Any]], shared: dict[str, Any]) -> dict[str, Any]:
    """A search's summary: what its seeds share, each seed's finding, mean and sample standard deviation over them."""
    series = {key: [float(run[key]) for run in runs] for key in AVERAGED}
    series |= {key: [_number(run["found"][key]) for run in runs] for key in AVERAGED_FOUND}
    stats = {key: mean_std(values) for key, values in series.items()}
    return {
        **shared,
        "n": len(runs),
        "runs": runs,
        "mean": {key: mean for key, (mean, _) in stats.items()},
        "std": {key: std for key, (_, std) in stats.items()},
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def terminal_report(summary: dict[str, Any], folder: Path) -> str:
    """The report of a search for people; its last line is like that of the ReNAS demo."""
    lines = [
        *_head(summary),
        f"candidates trained: {summary['engine']}",
        "tau is Kendall's between -loss and accuracy over the evaluated cells, stopped ones below all others",
        "",
        "  seed  evaluations  positives  voters     tau    found %    rank  regret  lowest loss %  search s",
    ]
    for run in summary["runs"]:
        found = run["found"]
        rank = _number(found["rank"])
        lines.append(
            f"{run['seed']:6d}  {run['evaluations']:11d}  {run['positives']:9d}  {run['voters']:6d}  "
            f"{run['kendall_tau']:6.3f}  {found['test_acc']:9.2f}  {rank:6.0f}  {found['regret']:6.2f}  "
            f"{run['lowest_loss']['test_acc']:13.2f}  {run['search_s']:8.1f}"
        )
    lines += ["", *(f"seed {run['seed']} gave up: {run['gave_up']}" for run in summary["runs"] if run["gave_up"])]
    mean, std = summary["mean"], summary["std"]
    known = not math.isnan(mean["test_acc"])
    rules = summary["runs"][0]["elected"] if known else {}
    for rule in rules:
        acc, spread = mean_std(_number(run["elected"][rule]["test_acc"]) for run in summary["runs"])
        lines.append(f"elected by {rule:6} {acc:6.2f} +- {spread:.2f} %")
    cost = f"{mean['search_s']:.1f} s (n = {summary['n']})"
    lines.append(
        f"found {mean['test_acc']:.2f} +- {std['test_acc']:.2f} %, regret {mean['regret']:.2f} +- {std['regret']:.2f}, "
        f"tau {mean['kendall_tau']:.3f} +- {std['kendall_tau']:.3f}, {cost}"
        if known
        else f"nobody has trained what was found: its accuracy is not known; {cost}"
    )
    where = [f" (row {run['found']['index']})" if known else "" for run in summary["runs"]]
    lines += [
        f"found by seed {run['seed']}: {run['found']['arch']}{row}"
        for run, row in zip(summary["runs"], where, strict=True)
    ]
    lines.append(f"files: {folder}")
    return "\n".join([*lines, f"search model acc: {mean['test_acc']:.2f}"] if known else lines)


def rank_report(summary: dict[str, Any], folder: Path) -> str:
    """The report of a ranking for people: every score's taus, one seed below the other."""
    lines = _head(summary)
    for run in summary["runs"]:
        partial = run["n_common"] < run["n"]
        header = f"{'score':24}  {'n':>5}  {'kendall':>8}  {'spearman':>8}"
        lines += [
            "",
            f"seed {run['seed']}: {run['n']} random cells, no two isomorphic, trained in {run['train_s']:.1f} s",
        ]
        lines.append(header + (f"   on the {run['n_common']} cells that all scores have" if partial else ""))
        for row in run["rows"]:
            line = f"{row['score']:24}  {row['n']:5d}  {row['kendall_tau']:8.3f}  {row['spearman']:8.3f}"
            if partial:
                line += f"   {row['kendall_tau_common']:8.3f}  {row['spearman_common']:8.3f}"
            lines.append(line)
    return "\n".join([*lines, "", f"files: {folder}"])


def _head(summary: dict[str, Any]) -> list[str]:
    teacher, images, truth = summary["teacher"], summary["images"], summary["benchmark"]
    known = f"{truth['column']} of {truth['title']}, best {truth['best']:.2f} %"
    return [
        f"RMI-NAS on {summary['space']}, {summary['dataset']}: images from {images['source']}",
        f"teacher {teacher['name']} ({teacher['weights']}), {teacher['test_acc']:.2f} % on "
        f"{teacher['test_images']:,} test images in {teacher['mode']} mode",
        f"accuracies: {truth['title'] if math.isnan(truth['best']) else known}",
    ]


def write_search_plot(searches: Sequence[tuple[int, Searched]], truth: Truth, folder: Path) -> None:
    """`search.png`: loss by evaluation (first seed), and loss against true accuracy of all evaluated cells."""
    from matplotlib import pyplot as plt

    figure, (left, right) = _figure(2)
    seed, searched = searches[0]
    loss = np.array([evaluation.loss for evaluation in searched.evaluations])
    index = np.arange(len(loss))
    for mask, color, label in ((~searched.positive, "tab:gray", "other"), (searched.positive, "tab:red", "positive")):
        left.plot(index[mask], loss[mask], ".", color=color, markersize=4, label=label)
    left.axhline(searched.threshold, color="tab:red", linewidth=1)
    warmup = sum(evaluation.phase == "warmup" for evaluation in searched.evaluations)
    left.axvline(warmup - 0.5, color="black", linestyle=":", label="random | the forest's choice")
    left.set(xlabel="evaluation", ylabel="loss", title=f"seed {seed}")
    left.legend()
    known = []
    for seed, searched in searches:
        accuracy = np.array([truth.accuracy(evaluation.arch) for evaluation in searched.evaluations])
        loss = np.array([evaluation.loss for evaluation in searched.evaluations])
        right.plot(loss, accuracy, ".", markersize=4, alpha=0.6, label=f"seed {seed}" if len(searches) <= 8 else None)
        right.axhline(truth.accuracy(searched.found), linewidth=1, color="tab:red")
        known.append(accuracy)
    _limit(right, known, truth.best)
    right.set(xlabel="loss", ylabel=f"{truth.column.name} (%), best 95 %", title="red line: found")
    if len(searches) <= 8:
        right.legend()
    _save(figure, folder / "search.png")
    plt.close(figure)


def write_rank_plot(
    rankings: Sequence[list[Evaluation]], summaries: list[dict[str, Any]], truth: Truth, folder: Path
) -> None:
    """`rank.png`: tau by number of steps (all seeds), and final loss against true accuracy (first seed)."""
    from matplotlib import pyplot as plt

    figure, (left, right) = _figure(2)
    for summary in summaries:
        left.plot(summary["kendall_tau_by_step"], label=f"seed {summary['seed']}")
    for row in summaries[0]["rows"]:
        if row["score"] in ("params", "FLOPs"):
            style = {"params": ":", "FLOPs": "--"}[row["score"]]
            left.axhline(row["kendall_tau"], color="gray", linestyle=style, linewidth=1, label=row["score"])
    left.set(xlabel="updates", ylabel="Kendall tau of -loss")
    left.legend()
    accuracy = np.array([truth.accuracy(evaluation.arch) for evaluation in rankings[0]])
    right.plot([evaluation.loss for evaluation in rankings[0]], accuracy, ".", markersize=4)
    _limit(right, [accuracy], float(np.nanmax(accuracy, initial=-np.inf)))
    right.set(xlabel="loss", ylabel=f"{truth.column.name} (%), best 95 %")
    _save(figure, folder / "rank.png")
    plt.close(figure)


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

    return plt.subplots(1, columns, figsize=(5.5 * columns, 4.5), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    write_atomic(path, lambda file: figure.savefig(file, format="png", dpi=120))
