"""Pareto fronts and hypervolumes, against counting by hand and a slow reference."""

from __future__ import annotations

import numpy as np
import pytest

from common.metrics import hypervolume, pareto_front
from common.search.pareto import expected_gain

VALUES, COSTS = np.array([1.0, 3.0, 2.0, 3.0, 5.0, np.nan]), np.array([1.0, 2.0, 3.0, 2.0, 4.0, 0.5])


def test_the_front_is_cheapest_first_and_has_equals_once() -> None:
    assert pareto_front(VALUES, COSTS).tolist() == [0, 1, 4]
    assert pareto_front(np.array([]), np.array([])).tolist() == []
    assert pareto_front(np.array([-np.inf, np.nan]), np.array([1.0, 2.0])).tolist() == []


def test_the_hypervolume_of_three_steps_is_counted_by_hand() -> None:
    # from 1 to 2: 1 high; from 2 to 4: 3 high; from 4 to 6: 5 high
    assert hypervolume(VALUES, COSTS, 0.0, 6.0) == 1 + 6 + 10
    assert hypervolume(VALUES, COSTS, 2.0, 3.0) == 1  # the second alone is beyond this reference
    assert hypervolume(VALUES, COSTS, 5.0, 6.0) == 0


def test_the_hypervolume_is_the_share_of_random_points_that_are_dominated() -> None:
    rng = np.random.default_rng(0)
    values, costs = rng.random(30), rng.random(30)
    spots = rng.random((100_000, 2))
    dominated = ((values > spots[:, :1]) & (costs < spots[:, 1:])).any(1).mean()
    assert hypervolume(values, costs, 0.0, 1.0) == pytest.approx(dominated, abs=0.005)


def test_the_expected_gain_is_the_mean_gain_of_many_draws() -> None:
    rng = np.random.default_rng(1)
    values, spent = rng.random(8), rng.random(8)
    mean, std, costs = rng.random(6), np.array([0.0, 0.1, 0.3, 0.5, 0.2, 0.4]), rng.random(6)
    gains = expected_gain(mean, std, costs, values, spent, 0.3, 1.0)
    before = hypervolume(values, spent, 0.3, 1.0)
    for place in range(6):
        drawn = rng.normal(mean[place], std[place], 4000)
        after = [hypervolume(np.append(values, x), np.append(spent, costs[place]), 0.3, 1.0) for x in drawn]
        assert gains[place] == pytest.approx(np.mean(after) - before, abs=0.012)


def test_nothing_gains_beyond_the_reference() -> None:
    gains = expected_gain(
        np.array([9.0, 1.0]), np.zeros(2), np.array([7.0, 1.0]), np.array([2.0]), np.array([3.0]), 1, 6
    )
    assert gains.tolist() == [0.0, 0.0]
