"""The simulation of many workers against cases that are worked out by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from simulate_cluster import searches, simulate


@pytest.mark.parametrize(
    ("rounds", "propose", "workers", "driver", "seconds"),
    [
        ([[10, 10, 10]], 0, 1, 2, 36),  # one after the other, the driver's 2 s with each
        ([[10, 10]], 0, 2, 2, 13),  # started at 1 and 2, back at 11 and 12, taken by 13
        ([[10], [10]], 5, 9, 0, 30),  # rounds wait for each other, however many workers there are
        ([[4, 1, 1, 1]], 0, 2, 0, 4),  # the short ones go by the long one
        ([[0] * 10], 0, 10, 1, 10),  # nothing but the driver
    ],
)
def test_seconds_of_a_search(rounds: list[list[float]], propose: float, workers: int, driver: float, seconds: float):
    made = simulate([np.array(tasks, float) for tasks in rounds], propose, workers, driver)
    assert made["seconds"] == pytest.approx(seconds)
    assert made["workers_busy"] == pytest.approx(sum(map(sum, rounds)) / (seconds * workers))


def test_the_searches_are_those_of_committed_runs():
    found = {name: rounds for name, rounds, _ in searches()}
    assert [len(tasks) for tasks in found["RMI-NAS, 60 updates, rounds of 8"]][:2] == [100, 8]
    assert all((tasks > 0).all() for rounds in found.values() for tasks in rounds)
