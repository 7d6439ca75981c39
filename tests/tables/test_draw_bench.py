"""The figure of the bench of RMI-NAS: every repetition of every executor, none hidden."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import bench_rminas


@pytest.mark.parametrize(("fast", "scale"), [(3.0, "linear"), (300.0, "log")])
def test_every_repetition_and_the_median_of_every_way_are_drawn(fast: float, scale: str):
    rates = {"one at a time": [1.0, 2.0, 4.0], "processes": [2.0, fast, 4.0]}
    ways = [SimpleNamespace(name=name, width=1, rates=np.array(made)) for name, made in rates.items()]
    (axes,) = bench_rminas.draw(ways, "here").axes  # type: ignore[arg-type]
    repetitions, medians = ([*line.get_xdata()] for line in axes.lines)  # type: ignore[arg-type]
    assert repetitions == [1.0, 2.0, 4.0, 2.0, fast, 4.0]
    assert medians == [np.median(made) for made in rates.values()]
    assert axes.get_xscale() == scale
    low, high = axes.get_xlim()
    assert low < 1
    assert high > max(4.0, fast)


def test_a_ratio_is_told_only_where_it_is_larger_than_its_spread():
    assert bench_rminas.is_clear(np.array([1.9, 2.0, 2.3]))
    assert not bench_rminas.is_clear(np.array([0.9, 6.0, 11.0]))
    assert not bench_rminas.is_clear(np.array([0.95, 1.0, 1.05]))
