"""The trade-off of value and cost as a figure: everything that was evaluated, the front of it, and the true one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.drawing.figures import new_figure
from common.metrics import pareto_front

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNITS = {"flops": "FLOPs (millions)", "params": "parameters (thousands)"}
SCALES = {"flops": 1e6, "params": 1e3}


def draw_front(
    seeds: Sequence[tuple[np.ndarray, np.ndarray]],
    cost: str,
    value_name: str,
    true: tuple[np.ndarray, np.ndarray] | None = None,
) -> Figure:
    """Values against costs.

    Args: seeds: values and costs (n,) of what each has evaluated. true: those of all that could have been. cost:
        "flops" or "params".
    """
    figure = new_figure(5.5, 4.0, "constrained")
    axes = figure.subplots()
    scale = SCALES[cost]
    every = np.concatenate([values for values, _ in seeds]), np.concatenate([costs for _, costs in seeds]) / scale
    axes.plot(every[1], every[0], ".", color="#b0b0b0", markersize=4, label="evaluated")
    right = float(max(every[1].max(), 0 if true is None else true[1].max() / scale)) * 1.03
    if true is not None:
        _steps(axes, true[0], true[1] / scale, right, color="black", linestyle="--", label="front of the table")
    for number, (values, costs) in enumerate(seeds):
        label = "front that was found" + (f", {len(seeds)} seeds" if len(seeds) > 1 else "")
        _steps(axes, values, costs / scale, right, color="#2f5d8a", label=label if not number else None,
               marker="o" if len(seeds) == 1 else None, alpha=1.0 if len(seeds) == 1 else 0.6)  # fmt: skip
    finite = every[0][np.isfinite(every[0])]
    low, high = np.percentile(finite, 10), finite.max()  # a few at chance level must not squeeze all others
    axes.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low) + 1e-9)
    axes.set_xlim(0, right)
    axes.set(xlabel=UNITS[cost], ylabel=value_name)
    axes.legend(loc="lower right")
    return figure


def _steps(axes: Axes, values: np.ndarray, costs: np.ndarray, right: float, **style: object) -> None:
    """What one gets for a cost, as a step function up to the right end."""
    front = pareto_front(values, costs)
    x, y = np.append(costs[front], right), np.append(values[front], values[front][-1:])
    marks = {"markevery": slice(0, len(front))} if style.get("marker") else {}
    axes.step(x, y, where="post", linewidth=1.4, markersize=4, **style, **marks)  # type: ignore[arg-type]
