"""The figure of all scores: a panel each, the best order first, and every architecture in it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from matplotlib.axes import Axes

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from draw_scores import draw


def test_panels_are_ordered_by_tau_and_show_every_architecture():
    accuracy = np.array([10.0, 50.0, 90.0, 94.37])
    scores = {"poor": -accuracy, "perfect": np.array([-np.inf, 0.0, 3.0, 1e30]), "fair": np.array([1.0, 0.0, 2.0, 3.0])}
    measured = SimpleNamespace(accuracy={"test": accuracy}, scores=scores, set=SimpleNamespace(title="four"))
    panels = [axes for axes in draw(measured, "test").axes if axes.get_title()]  # type: ignore[arg-type]
    assert [axes.get_title() for axes in panels] == ["perfect  1.00", "fair  0.67", "poor  -1.00"]
    assert points(panels[0]) == [(1, 90.0), (2, 50.0), (3, 10.0), (4, 5.63)]
    low, high = sorted(panels[0].get_ylim())
    assert low < 5.63
    assert high > 90


def points(axes: Axes) -> list[tuple[int, float]]:
    x, y = axes.lines[0].get_data()
    return [(int(rank), round(float(error), 2)) for rank, error in zip(x, y, strict=True)]
