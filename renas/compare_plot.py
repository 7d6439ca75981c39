"""The plot of a comparison, made from its summary: regret and reported value against evaluations, all searches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.drawing import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SKIPPED = 10  # evaluations at the start that would squeeze all that follows
SQUEEZED = 1e-3  # share of the highest regret shown below which all that is not 0 is the same


def write_plot(summary: Mapping[str, Any], folder: Path) -> None:
    """`comparison.png` and .pdf in `folder`."""
    save_figure(draw_comparison(summary), folder / "comparison")


def draw_comparison(summary: Mapping[str, Any]) -> Figure:
    """Median (line) and quartiles (band) over the seeds, one colour a search.

    The curves have a point for every evaluation, or for each of the summary's `steps`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    unit = f" ({summary['unit']})" if summary["unit"] else ""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    steps = np.array(summary.get("steps") or range(1, summary["budget"] + 1))
    shown = steps > min(SKIPPED, summary["budget"] // 3)
    members = summary["members"]
    top = max(max(np.array(member["regret"]["high"])[shown]) for member in members.values())
    regrets = np.array([member["regret"][key] for member in members.values() for key in ("low", "median")], dtype=float)
    floor = max(top * SQUEEZED, 1e-4, min(regrets[:, shown][regrets[:, shown] > 0], default=0.0))
    none = floor / 2  # the axis is logarithmic: regret 0, the best there is, has a place of its own below
    for number, (name, member) in enumerate(members.items()):
        colour = f"C{number % 10}"
        for axes, what in ((left, "regret"), (right, "report")):
            low, middle, high = (np.array(member[what][key], dtype=float)[shown] for key in ("low", "median", "high"))
            if what == "regret":
                low, middle, high = (np.where(v > 0, np.maximum(v, floor), none) for v in (low, middle, high))
            axes.step(steps[shown], middle, where="post", color=colour, label=name, linewidth=1.8)
            axes.fill_between(steps[shown], low, high, step="post", color=colour, alpha=0.15, linewidth=0)
    left.set_yscale("log")
    left.set_ylim(none * 0.8, max(top, floor) * 1.3)
    left.axhspan(none * 0.8, none * 1.25, color="gray", alpha=0.12, linewidth=0, zorder=0)
    left.text(0.01, 0.012, "regret 0: the best was found", transform=left.transAxes, fontsize=8, color="gray")
    left.yaxis.set_major_formatter(lambda value, place: f"{value:g}" if value > none * 1.25 else "")
    left.yaxis.set_minor_formatter(lambda value, place: "")
    left.set_ylabel(f"regret{unit} by {summary['label']}")
    right.axhline(summary["report_of_best_label"], color="gray", linestyle=":", linewidth=1, label="of the best label")
    right.set_ylabel(f"{summary['report']}{unit} of the best so far")
    for axes in (left, right):
        axes.set_xlabel("architectures evaluated")
        axes.grid(alpha=0.3)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=7, fontsize=9)
    n = max(member["n"] for member in members.values())
    figure.suptitle(f"{summary['space']} {summary['dataset']}: median and quartiles of {n} seeds", fontsize=11)
    return figure
