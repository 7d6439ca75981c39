"""The plots of a run, each as PNG and PDF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.benchmarks.table import PERCENT
from common.drawing import draw_front, save_figure
from common.drawing.figures import new_figure
from common.metrics import number
from common.search.pareto import code_costs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from renas.experiment import Experiment

HEXBIN_FROM = 5000  # points from which a scatter plot becomes a blot
POINTS = 40  # of a smooth curve
FLOOR = 1e-2  # regret below which all is the same in a plot, as a share of the table's best minus its median


def write_plots(experiment: Experiment, records: list[dict[str, Any]], scores: np.ndarray | None, folder: Path) -> None:
    """`search` (regret by evaluations, all seeds) and, where all rows have a score, `predicted_vs_true`.

    Args: scores: (N,) of the first record's seed, None where nothing was predicted.
    """
    if scores is not None:
        save_figure(draw_predictions(experiment, records[0], scores), folder / "predicted_vs_true")
    save_figure(draw_search(experiment, records), folder / "search")
    if "front" in records[0]:
        save_figure(_draw_front(experiment, records), folder / "front")


def _draw_front(experiment: Experiment, records: list[dict[str, Any]]) -> Figure:
    table, label, kind = experiment.table, experiment.columns.label, records[0]["front"]["cost"]
    assert table.space is not None  # there are fronts
    assert table.codes is not None
    costs = code_costs(table.space, table.codes, kind)
    seeds = [(label.values[record["evaluated"]], costs[record["evaluated"]]) for record in records]
    true = label.values[experiment.usable], costs[experiment.usable]
    return draw_front(seeds, kind, _name(label.name, label.unit), true)


def draw_predictions(experiment: Experiment, record: dict[str, Any], scores: np.ndarray) -> Figure:
    """Scores of one seed against the reported column, of all architectures that were not trained on."""
    figure, axes = _new_figure()
    report = experiment.columns.report
    tested = ~np.isnan(report.values)
    tested[record["trained"]] = False
    # A few degenerate architectures at chance level must not squeeze all others into a corner.
    low, top = np.percentile(report.values[tested], [5, 100]) if tested.any() else (0.0, 0.0)
    shown = tested & (report.values >= low) & np.isfinite(scores)  # a training that diverged has scores that are not
    if shown.sum() > HEXBIN_FROM:
        bins = axes.hexbin(
            report.values[shown], scores[shown], gridsize=70, bins="log", mincnt=1, cmap="viridis", rasterized=True
        )
        figure.colorbar(bins, label="architectures")
    else:
        axes.plot(report.values[shown], scores[shown], ".", markersize=3, alpha=0.5, color="tab:blue")
    found = record["found"]
    # What was trained on says nothing about predictions: its score was fitted.
    new = found["index"] not in set(record["trained"])
    axes.plot(
        found["test_acc"], scores[found["index"]], "*", markersize=12, markeredgecolor="red",
        markerfacecolor="red" if new else "none", label="found" if new else "found, but trained on",
    )  # fmt: skip
    if low < top:
        axes.set_xlim(low - 0.05 * (top - low), top + 0.05 * (top - low))
    axes.set_xlabel(f"{_name(report.name, report.unit)}, best 95 %")
    axes.set_ylabel("predicted score")
    tau = number(record["kendall_tau"])
    axes.set_title(f"seed {record['seed']}: tau {tau:.3f}, {record['n_test']:,} not trained on")
    axes.legend(loc="upper left")
    return figure


def draw_search(experiment: Experiment, records: list[dict[str, Any]]) -> Figure:
    """Regret of the best by label so far, against the evaluations: median and quartiles of the seeds, random search."""
    figure, axes = _new_figure()
    columns = experiment.columns
    report = columns.report.values
    best, spread = float(np.nanmax(report)), float(np.nanmax(report) - np.nanmedian(report))
    floor = FLOOR * spread or 1e-3
    length = experiment.budget
    if experiment.seconds is not None:  # the budget is not a number of evaluations
        length = max(len(record["evaluated"]) for record in records)
    curves = best - np.array([best_so_far(experiment, record, length) for record in records])
    steps = np.arange(1, curves.shape[1] + 1)
    low, median, high = np.nanpercentile(curves, [25, 50, 75], axis=0)
    label = f"median and quartiles of {len(records)} seeds" if len(records) > 1 else f"seed {records[0]['seed']}"
    axes.step(steps, median, where="post", color="tab:blue", linewidth=2, label=label)
    if len(records) > 1:
        axes.fill_between(steps, low, high, step="post", color="tab:blue", alpha=0.2, linewidth=0)
    points = np.unique(np.geomspace(1, len(steps), POINTS).round().astype(int))
    expected = best - random_search(columns.label.values, report, points)
    axes.plot(points, expected, color="tab:orange", linewidth=1.5, label="random search, expected")
    if experiment.predicts:
        axes.axvline(experiment.n_train + 0.5, color="gray", linestyle=":", label="random sample | predictor's choice")
    # Zero, the best of the table, has a place on this axis: it is linear below the floor.
    axes.set_yscale("symlog", linthresh=floor)
    axes.set_ylim(-0.3 * floor, float(np.nanmax([*curves[:, 0], expected[0], floor])) * 1.3)
    axes.set_xlim(0, len(steps) + 1)
    axes.axhline(0.0, color="tab:green", linewidth=1, label="best of the table")
    axes.set_xlabel("architectures evaluated")
    axes.set_ylabel(f"regret in {_name(columns.report.name, columns.report.unit)}")
    axes.set_title(f"the best by {columns.label.name} so far", fontsize="medium")
    axes.legend(loc="upper right")
    return figure


def best_so_far(experiment: Experiment, record: dict[str, Any], length: int) -> np.ndarray:
    """(length,) reported value of the best by label after each evaluation; NaN before the first that has both."""
    label, report = experiment.columns.label.values, experiment.columns.report.values
    rows = record["evaluated"]
    curve = np.full(length, np.nan)
    best, value = -np.inf, np.nan
    for step in range(len(curve)):
        row = rows[min(step, len(rows) - 1)]  # what ended early stays where it was
        if label[row] > best and not np.isnan(report[row]):
            best, value = label[row], report[row]
        curve[step] = value
    return curve


def random_search(label: np.ndarray, report: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Expected reported value of the best by label among n random architectures, no two the same, for n in `counts`.

    Exact: of N rows with both values, the one of rank i from the bottom is the best of n with probability
    C(i - 1, n - 1) / C(N, n).
    """
    usable = ~np.isnan(label) & ~np.isnan(report)
    values = report[usable][np.argsort(label[usable], kind="stable")]
    total = len(values)
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])  # logarithms of 0!, 1!, ...
    expected = np.empty(len(counts))
    for place, count in enumerate(np.minimum(counts, total)):
        ways = (
            factorial[count - 1 : total] - factorial[: total - count + 1] - factorial[count - 1]
        )  # of ranks from n on
        all_ways = factorial[total] - factorial[count] - factorial[total - count]
        expected[place] = np.exp(ways - all_ways) @ values[count - 1 :]
    return expected


def _new_figure() -> tuple[Figure, Axes]:
    figure = new_figure(5.5, 4.5, "constrained")
    return figure, figure.subplots()


def _name(column: str, unit: str) -> str:
    return f"{column} (%)" if unit == PERCENT else column
