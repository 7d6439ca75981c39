"""Every training-free score against accuracy, in one figure: docs/results/scores.png and .pdf."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.cli import OneLineParser, run_command
from common.drawing import save_figure
from common.drawing.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from report_scores import Measured

PROG = "python scripts/draw_scores.py"
SHOWN = "nb201"
ACROSS = 6  # panels in a row
TICKS = (94, 92, 90, 80, 50, 10)  # accuracies, in percent


def draw(measured: Measured, column: str) -> Figure:
    """A panel a score, best order first: error by rank, on a logarithmic scale so that good ones are told apart."""
    from matplotlib.ticker import NullLocator
    from report_scores import tau

    accuracy = measured.accuracy[column]
    taus = {name: tau(values, accuracy) for name, values in measured.scores.items()}
    names = sorted(taus, key=lambda name: -taus[name])
    down = -(-len(names) // ACROSS)
    figure = new_figure(2.0 * ACROSS, 2.0 * down, "constrained")
    panels = figure.subplots(down, ACROSS, sharex=True, sharey=True).ravel()
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    for panel, name in zip(panels, names, strict=False):
        places = np.argsort(np.argsort(measured.scores[name], kind="stable"), kind="stable") + 1
        panel.plot(places, 100 - accuracy, ".", color="#2f5d8a", markersize=3, alpha=0.6, markeredgewidth=0)
        panel.set_title(f"{name}  {taus[name]:.2f}", fontsize=9)
    panels[0].set_yscale("log")
    panels[0].invert_yaxis()
    panels[0].set_yticks([100 - tick for tick in TICKS], [str(tick) for tick in TICKS])
    panels[0].yaxis.set_minor_locator(NullLocator())
    figure.supxlabel(f"rank by score, highest last, of {len(accuracy)} {measured.set.title} cells", fontsize=10)
    figure.supylabel("test accuracy, %", fontsize=10)
    return figure


def main() -> None:
    from report_scores import Measured
    from study_scores import RESULTS

    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--out", type=Path, default=RESULTS, help="files to write, without their endings")
    args = parser.parse_args()
    measured = Measured(SHOWN, args.results)
    save_figure(draw(measured, measured.set.columns[0]), args.out)


if __name__ == "__main__":
    run_command(PROG, main)
