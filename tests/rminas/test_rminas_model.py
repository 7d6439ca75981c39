"""The model of the losses: what it predicts, what it chooses, and that it is the ridge regression it says it is."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from common.spaces import SPACES, SearchSpace, make_space
from rminas.model import PAIR, PENALTY, LossModel
from rminas.race import predict_last_losses

SPACE = make_space("nasbench201")


def reachable(space: SearchSpace, count: int, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    drawn = (space.sample(rng) for _ in range(50 * count))
    return [arch for arch in drawn if space.reaches_output(arch)][:count]


def test_it_is_a_ridge_regression_on_choices_and_pairs_of_choices():
    archs, others = reachable(SPACE, 40), reachable(SPACE, 15, seed=1)
    logs = np.random.default_rng(2).standard_normal(40)

    def features(cells: list[Any]) -> np.ndarray:
        one_hot = SPACE.one_hot(SPACE.live_codes(SPACE.to_codes(cells)))
        pairs = [PAIR * one_hot[:, i] * one_hot[:, j] for i, j in combinations(range(30), 2)]
        return np.concatenate([one_hot, np.stack(pairs, axis=1)], axis=1).astype(np.float64)

    x = features(archs)
    mean = x.mean(0)
    x = x - mean
    weights = np.linalg.solve(x.T @ x + PENALTY * np.eye(x.shape[1]), x.T @ (logs - logs.mean()))
    expected = logs.mean() + (features(others) - mean) @ weights
    np.testing.assert_allclose(LossModel.fit(SPACE, archs, logs).predict(others), expected, rtol=1e-8)


def test_it_chooses_a_cell_nobody_evaluated_when_that_is_the_best():
    effect = np.random.default_rng(0).standard_normal(30)

    def made(cells: list[Any]) -> np.ndarray:
        return SPACE.one_hot(SPACE.live_codes(SPACE.to_codes(cells))) @ effect

    archs = reachable(SPACE, 100)
    chosen = LossModel.fit(SPACE, archs, made(archs)).least(archs, np.random.default_rng(1))
    everything = [cell for cell in map(SPACE.from_code, SPACE.all_codes()) if SPACE.reaches_output(cell)]  # type: ignore[attr-defined]
    assert chosen not in archs
    assert made([chosen])[0] < made(archs).min()
    assert np.mean(made(everything) < made([chosen])[0]) < 1e-3


@pytest.mark.parametrize("name", sorted(set(SPACES) - {"nasbench101"}))
def test_it_serves_every_space_and_repeats_with_its_seed(name: str):
    space = make_space(name)
    archs = reachable(space, 12)
    logs = np.random.default_rng(0).standard_normal(12)
    first, again = (LossModel.fit(space, archs, logs).least(archs, np.random.default_rng(3)) for _ in range(2))
    assert first == again
    assert space.reaches_output(first)
    assert (
        LossModel.fit(space, archs, logs).predict([first])[0] <= LossModel.fit(space, archs, logs).predict(archs).min()
    )


def test_the_losses_of_stopped_candidates_are_predicted_by_the_line_of_the_finished_ones():
    finished = [np.array([np.exp(a), np.exp(2 * a + 1)]) for a in (0.0, -0.5, -1.0, -2.0)]
    found = predict_last_losses([*finished, np.array([np.exp(-1.5)]), np.array([0.3, np.inf])])
    np.testing.assert_allclose(found[:5], [1.0, 0.0, -1.0, -3.0, -2.0], atol=1e-12)
    assert np.isinf(found[5])
