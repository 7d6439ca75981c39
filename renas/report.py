"""What a run says at its end: summary, plots and the report on the terminal, all made from its records."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from common.metrics import mean_std
from common.runs import write_atomic
from renas.experiment import Experiment

AVERAGED = ("kendall_tau", "kendall_tau_labelled", "spearman", "proposed_acc", "train_s", "score_s", "search_s")
AVERAGED_FOUND = ("valid_acc", "test_acc", "rank", "rank_percent", "regret")
HEXBIN_FROM = 5000  # points from which a scatter plot becomes a blot


def summarize(experiment: Experiment, records: list[dict[str, Any]], environment: dict[str, Any]) -> dict[str, Any]:
    """The run's summary: accuracies in percent, times in seconds, mean and sample standard deviation over the seeds."""
    table, columns = experiment.table, experiment.columns
    short = [{k: v for k, v in r.items() if k not in ("loss", "train_tau", "trained", "candidates")} for r in records]
    series = {key: [_number(r[key]) for r in records] for key in AVERAGED}
    series |= {key: [_number(r["found"][key]) for r in records] for key in AVERAGED_FOUND}
    stats = {key: mean_std(values) for key, values in series.items()}
    return {
        "method": "ReNAS",
        "space": table.space.name if table.space else "tensors",
        "dataset": columns.report.dataset,
        "protocol": experiment.protocol,
        "label": columns.label.name,
        "report": columns.report.name,
        "note": columns.note,
        "n_train": experiment.n_train,
        "n_test": records[0]["n_test"],
        "n": len(records),
        "source": {k: getattr(table.source, k) for k in ("kind", "title", "path", "bytes", "sha256")},
        "runs": short,
        "mean": {key: mean for key, (mean, _) in stats.items()},
        "std": {key: std for key, (_, std) in stats.items()},
        "environment": environment,
    }


def terminal_report(experiment: Experiment, summary: dict[str, Any], folder: Path) -> str:
    """The report for people; its last line is the demo's."""
    table, columns = experiment.table, experiment.columns
    chosen_from = f"the predictor's {experiment.count}"
    if experiment.protocol == "honest":
        chosen_from += " and these"
    title = table.space.title if table.space else "prepared feature tensors"
    lines = [
        f"ReNAS on {title}, {summary['dataset']}: {len(table):,} architectures from {table.source.title}",
        f"protocol {experiment.protocol}: trained on {columns.label.name} of {experiment.n_train:,} architectures; "
        f"the best by {columns.label.name} of {chosen_from}; its {columns.report.name} is reported",
    ]
    if columns.note:
        lines.append(f"note: {columns.note}")
    lines += [
        f"Kendall tau and Spearman over the {summary['n_test']:,} architectures not trained on",
        "",
        "  seed     tau  spearman    found %    rank  regret  best trained %  train s  score s",
    ]
    for run in summary["runs"]:
        found, trained = run["found"], run["best_trained"]
        lines.append(
            f"{run['seed']:6d}  {_number(run['kendall_tau']):6.3f}  {_number(run['spearman']):8.3f}  "
            f"{found['test_acc']:9.2f}  {found['rank']:6d}  {found['regret']:6.2f}  "
            f"{trained['test_acc'] if trained else float('nan'):14.2f}  {run['train_s']:7.1f}  {run['score_s']:7.1f}"
        )
        if math.isnan(_number(run["kendall_tau"])):
            lines.append(f"{'':8s}no ranking: training diverged or the scores are all the same; try a lower --lr")
    mean, std = summary["mean"], summary["std"]
    best = max(summary["runs"], key=lambda run: _number(run["found"]["valid_acc"], run["found"]["test_acc"]))["found"]
    lines += [
        "",
        f"tau {mean['kendall_tau']:.3f} +- {std['kendall_tau']:.3f}, found {mean['test_acc']:.2f} +- "
        f"{std['test_acc']:.2f} %, regret {mean['regret']:.2f} +- {std['regret']:.2f} (n = {summary['n']})",
        f"found: {best['arch']} (row {best['index']}, rank {best['rank']} of {len(table):,})",
        f"files: {folder}",
        f"search model acc: {mean['test_acc']:.2f}",
    ]
    return "\n".join(lines)


def write_plots(experiment: Experiment, records: list[dict[str, Any]], scores: np.ndarray, folder: Path) -> None:
    """`predicted_vs_true.png` (the first seed's scores) and `search.png` (accuracy by evaluations, all seeds)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    report = experiment.columns.report
    first = records[0]
    tested = ~np.isnan(report.values)
    tested[first["trained"]] = False
    figure, axes = plt.subplots(figsize=(5.5, 4.5), layout="constrained")
    truth = report.values
    # A few degenerate architectures at chance level must not squeeze all others into a corner.
    low, top = np.percentile(truth[tested], [5, 100]) if tested.any() else (0.0, 0.0)
    shown = tested & (truth >= low)
    if shown.sum() > HEXBIN_FROM:
        bins = axes.hexbin(truth[shown], scores[shown], gridsize=70, bins="log", mincnt=1, cmap="viridis")
        figure.colorbar(bins, label="architectures")
    else:
        axes.plot(truth[shown], scores[shown], ".", markersize=3, alpha=0.5, color="tab:blue")
    axes.plot(first["found"]["test_acc"], scores[first["found"]["index"]], "r*", markersize=12, label="found")
    if low < top:
        axes.set_xlim(low - 0.05 * (top - low), top + 0.05 * (top - low))
    axes.set_xlabel(f"{report.name} (%), best 95 %")
    axes.set_ylabel("predicted score")
    axes.set_title(f"seed {first['seed']}: tau {_number(first['kendall_tau']):.3f}, {first['n_test']:,} not trained on")
    axes.legend(loc="upper left")
    write_atomic(folder / "predicted_vs_true.png", lambda file: figure.savefig(file, format="png", dpi=120))
    plt.close(figure)

    figure, axes = plt.subplots(figsize=(5.5, 4.5), layout="constrained")
    curves = np.array([_best_so_far(experiment, record) for record in records])
    steps = np.arange(1, curves.shape[1] + 1)
    for curve in curves:
        axes.step(steps, curve, where="post", color="tab:blue", alpha=0.25, linewidth=1)
    axes.step(steps, curves.mean(0), where="post", color="tab:blue", linewidth=2, label=f"mean of {len(records)} seeds")
    axes.axvline(experiment.n_train + 0.5, color="gray", linestyle=":", label="random sample | predictor's choice")
    axes.axhline(float(np.nanmax(truth)), color="tab:green", linewidth=1, label="best of the table")
    # From the eleventh evaluation on: the first few would squeeze all that follows.
    top, start = float(np.nanmax(truth)), float(np.nanmin(curves.mean(0)[min(10, curves.shape[1] - 1) :]))
    axes.set_ylim(start - 0.2 * (top - start), top + 0.1 * (top - start) + 1e-3)
    axes.set_xlabel("architectures evaluated")
    axes.set_ylabel(f"{report.name} (%) of the best by {experiment.columns.label.name}")
    axes.legend(loc="lower right")
    write_atomic(folder / "search.png", lambda file: figure.savefig(file, format="png", dpi=120))
    plt.close(figure)


def _best_so_far(experiment: Experiment, record: dict[str, Any]) -> np.ndarray:
    """Reported accuracy of the best-by-label architecture after each evaluation, padded to n_train + count."""
    label, report = experiment.columns.label.values, experiment.columns.report.values
    # The record holds the sample by row; a table in order of quality would draw a climb that is not there.
    sample = np.random.default_rng(record["seed"]).permutation(record["trained"]).tolist()
    rows = [*sample, *(candidate["index"] for candidate in record["candidates"])]
    curve = np.full(experiment.n_train + experiment.count, np.nan)
    best, value = -np.inf, np.nan
    for step in range(len(curve)):
        row = rows[step] if step < len(rows) else rows[-1]
        if label[row] > best and not np.isnan(report[row]):
            best, value = label[row], report[row]
        curve[step] = value
    return curve


def _number(value: float | None, fallback: float = float("nan")) -> float:
    """A JSON number back as a float: null stands for NaN."""
    return fallback if value is None else float(value)
