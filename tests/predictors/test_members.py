"""What predictors of flat features promise beyond the contract: against scikit-learn, by hand, invariances."""

from __future__ import annotations

import pickle
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.stats import kendalltau, norm

from common.errors import InputError
from common.metrics import normal_scores
from common.predictors import Predictor, make_predictor
from common.predictors import gp as gp_module
from common.predictors import scikit as scikit_module
from common.predictors.blocks import by_blocks
from common.predictors.gp import GaussianProcess, GaussianProcessSettings

FAST: dict[str, dict[str, Any]] = {
    "boosting": {"max_iter": 60},
    "extra_trees": {"trees": 40},
    "ensemble": {"members": "extra_trees*0.5,gp*1.5"},
}
FLAT = ["boosting", "extra_trees", "gp", "svr", "ensemble"]
members = pytest.mark.parametrize("name", FLAT)


def made(count: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features as graphs have them: small numbers, some constant, one far larger than the others; and values."""
    rng = np.random.default_rng(seed)
    features = rng.integers(0, 4, size=(count, 8)).astype(np.float32)
    features[:, 6] = 3
    features[:, 7] *= 1e6
    values = features[:, 0] * features[:, 1] - features[:, 2] + features[:, 7] / 1e6 + rng.normal(0, 0.1, count)
    return features, values


def fitted(name: str, features: np.ndarray, values: np.ndarray, seed: int = 0) -> Predictor:
    predictor = make_predictor(name, **FAST.get(name, {})).predictor
    predictor.fit(features, values, np.random.default_rng(seed))
    return predictor


# labels ------------------------------------------------------------------------------------------------------------


def test_normal_scores_by_hand():
    quarters = norm.ppf([1 / 8, 3 / 8, 5 / 8, 7 / 8])
    assert normal_scores(np.array([30.0, 1.0, 2.0, 1000.0])) == pytest.approx(quarters[[2, 0, 1, 3]])
    assert normal_scores(np.array([5.0, 7.0, 7.0])) == pytest.approx(norm.ppf([1 / 6, 2 / 3, 2 / 3]))


@members
def test_only_the_order_of_values_matters(name):
    features, values = made()
    plain = fitted(name, features, values).predict(features)
    assert np.array_equal(plain, fitted(name, features, np.exp(values / 3)).predict(features))


# all flat members --------------------------------------------------------------------------------------------------


@members
def test_what_was_not_seen_is_ordered_well(name):
    features, values = made(300)
    scores = fitted(name, features[:100], values[:100]).predict(features[100:])
    assert kendalltau(scores, values[100:]).statistic > {"extra_trees": 0.55}.get(name, 0.7)


@members
def test_scores_do_not_depend_on_what_they_are_computed_with(name):
    """So that a space may be scored in chunks."""
    features, values = made()
    predictor = fitted(name, features, values)
    whole, std = predictor.predict_with_std(features)
    assert predictor.predict(features[30:40]) == pytest.approx(whole[30:40], abs=1e-5)
    assert predictor.predict_with_std(features[30:40])[1] == pytest.approx(std[30:40], abs=2e-3)


@members
def test_two_architectures_are_enough_and_constant_values_are_borne(name):
    features, values = made(2)
    better = int(values[1] > values[0])
    scores = fitted(name, features, values).predict(features)
    assert scores[better] >= scores[1 - better]
    assert np.isfinite(fitted(name, features, np.ones(2)).predict(features)).all()


@pytest.mark.parametrize("name", ["extra_trees", "gp", "ensemble"])
def test_unsure_where_nothing_alike_was_seen(name):
    """Trained on half of a line, asked on all of it; known points are surer than those between the halves."""
    line = np.linspace(-1, 1, 81)[:, None]
    features = np.concatenate([line, line**2], axis=1).astype(np.float32)
    known = np.abs(line[:, 0]) > 0.5
    mean, std = fitted(name, features[known], np.sin(5 * line[known, 0])).predict_with_std(features)
    assert mean.shape == std.shape == (81,)
    assert std[~known].mean() > 1.5 * std[known].mean() > 0


def test_blocks_are_scored_at_the_same_time_and_stay_in_order(monkeypatch):
    both = Barrier(2, timeout=20)

    def double(part: np.ndarray) -> np.ndarray:
        both.wait()  # passes only where two blocks are scored at once
        return 2 * part[:, 0]

    features = np.arange(20.0).reshape(10, 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert by_blocks(double, features, block=3).tolist() == (2 * features[:, 0]).tolist()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert by_blocks(lambda part: part[:, 1], features, block=3).tolist() == features[:, 1].tolist()
    assert by_blocks(lambda part: part[:, 1], features[:0]).shape == (0,)


@pytest.mark.parametrize("name", ["boosting", "extra_trees"])
@pytest.mark.parametrize("threads", [1, 2])
def test_trees_score_by_blocks_as_their_model_does(name, threads, monkeypatch):
    monkeypatch.setattr(scikit_module, "BLOCK", 50)
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    features, values = made()
    predictor = fitted(name, features, values)
    assert np.array_equal(predictor.predict(features.astype(np.float64)), predictor.model.predict(features))


@pytest.mark.parametrize("depth", [1, 3, 8, 9])
def test_trees_of_any_depth_score_as_scikit_learns(depth):
    """Also where a float32 lies right beside a split, which is a float64, and where the labels are all the same."""
    rng = np.random.default_rng(depth)
    features = np.concatenate([rng.normal(size=(200, 3)), rng.integers(0, 3, (200, 3))], axis=1).astype(np.float32)
    predictor = make_predictor("boosting", models=2, max_iter=5, max_depth=depth).predictor
    for values in (features.sum(1), np.ones(200)):
        predictor.fit(features, values, rng)
        trees = [tree.tree_ for model in predictor.model.estimators_ for tree in model.estimators_[:, 0]]
        assert max(tree.max_depth for tree in trees) == (depth if np.ptp(values) else 0)
        splits = np.concatenate([tree.threshold for tree in trees]).astype(np.float32)
        near = np.repeat(np.concatenate([splits, np.nextafter(splits, np.float32(9))])[:, None], 6, axis=1)
        for some in (features, near, features[:1]):
            assert np.array_equal(predictor.predict(some), predictor.model.predict(some))


@pytest.mark.parametrize("name", ["boosting", "extra_trees"])
def test_trees_know_nothing_of_features_that_are_not_finite(name):
    features, values = made()
    predictor = fitted(name, features, values)
    whole, broken = predictor.predict(features), features.astype(np.float64)
    broken[3, 0], broken[5, 1], broken[6, 2] = np.nan, np.inf, 1e300
    scores = predictor.predict(broken)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [3, 5, 6]
    assert np.array_equal(np.delete(scores, [3, 5, 6]), np.delete(whole, [3, 5, 6]))


# one by one ----------------------------------------------------------------------------------------------------------


def grouped(features: np.ndarray, values: np.ndarray) -> GaussianProcess:
    process = GaussianProcess()
    process.groups = np.array([5, 5, 5, 2, 2, 2, 9, 2])  # the only column of group 9 is constant
    process.fit(features, values, np.random.default_rng(0))
    return process


def sklearn_process(ours: GaussianProcess, theta: np.ndarray) -> Any:
    """scikit-learn's with the same kernel, its scales by column."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

    height, slope, noise = np.exp(theta[-3:])
    scales = np.exp(theta[:-3])[ours.kinds]
    kernel = ConstantKernel(height) * Matern(scales, nu=1.5) + ConstantKernel(slope) * DotProduct(1e-8)
    return GaussianProcessRegressor(kernel + WhiteKernel(noise), optimizer=None, alpha=gp_module.JITTER)


@pytest.mark.parametrize("fit", [grouped, lambda *data: fitted("gp", *data)], ids=["groups", "one group"])
def test_gaussian_process_is_scikit_learns_with_the_same_kernel(fit):
    features, values = made(60)
    ours = fit(features[:40], values[:40])
    theirs = sklearn_process(ours, ours.theta).fit(ours.points, normal_scores(values[:40]))
    mean, std = ours.predict_with_std(features)
    points = np.clip((features - ours.mean) * ours.weight, -4, 4) / ours.norm
    expected, with_noise = theirs.predict(points, return_std=True)
    assert mean == pytest.approx(expected, abs=1e-4)  # ours are computed in float32
    assert std**2 + np.exp(ours.theta[-1]) == pytest.approx(with_noise**2, abs=1e-4)


@pytest.mark.parametrize("fit", [grouped, lambda *data: fitted("gp", *data)], ids=["groups", "one group"])
def test_gaussian_process_has_the_most_likely_kernel(fit):
    """By finite differences, and by scikit-learn's marginal likelihood nearby."""
    features, values = made(60)
    ours = fit(features, values)
    targets = normal_scores(values)
    groups = len(ours.theta) - 3
    start = np.concatenate([np.zeros(groups), gp_module.START])
    spread = np.array([gp_module.SCALE_STD] * groups + [gp_module.PRIOR_STD] * 3)

    def density(theta: np.ndarray) -> float:
        model = sklearn_process(ours, theta).fit(ours.points, targets)
        return model.log_marginal_likelihood_value_ - 0.5 * np.sum(((theta - start) / spread) ** 2)

    best = density(ours.theta)
    assert best > density(start)
    for place in range(len(start)):
        for step in (-0.3, 0.3):
            assert density(ours.theta + step * np.eye(len(start))[place]) < best + 1e-3
    slope = check_grad(lambda t: -density(t), lambda t: np.zeros(len(start)), ours.theta)
    assert slope < 0.2  # flat there


def test_groups_of_features_weigh_the_same_and_what_tells_nothing_is_far():
    features, _ = made(200)
    ours = grouped(features, features[:, 0] * features[:, 1])
    assert ours.kinds.tolist() == [1, 1, 1, 0, 0, 0, 1, 0]
    assert [np.mean((ours.points[:, ours.kinds == kind] ** 2).sum(1)) for kind in (0, 1)] == pytest.approx([0.5, 0.5])
    assert ours.theta[0] > ours.theta[1] + 1  # only columns of group 5 matter: the other's scale is long
    assert len(ours.theta) == 2 + 3


def test_gaussian_process_learns_from_a_sample_of_too_many():
    features, values = made(300)
    predictor = GaussianProcess(GaussianProcessSettings(points=80, tuned_on=40))
    predictor.fit(features, values, np.random.default_rng(0))
    assert len(predictor.points) == 80
    assert kendalltau(predictor.predict(features), values).statistic > 0.7


def test_an_ensemble_is_the_mean_of_its_members_and_as_unsure_as_they_are():
    features, values = made()
    ensemble = make_predictor("ensemble", members="extra_trees, gp").predictor
    ensemble.fit(features, values, np.random.default_rng(3))
    alone = []
    for name, rng in zip(("extra_trees", "gp"), np.random.default_rng(3).spawn(2), strict=True):
        member = make_predictor(name).predictor
        member.fit(features, values, rng)
        alone.append(member.predict_with_std(features))
    (trees, trees_std), (process, process_std) = alone
    mean, std = ensemble.predict_with_std(features)
    assert mean == pytest.approx((trees + process) / 2)
    between = ((trees - process) / 2) ** 2
    assert std**2 == pytest.approx(between + (trees_std**2 + process_std**2) / 2)
    weighed = make_predictor("ensemble", members="extra_trees, gp*3").predictor
    weighed.fit(features, values, np.random.default_rng(3))
    mean, std = weighed.predict_with_std(features)
    assert mean == pytest.approx((trees + 3 * process) / 4)
    assert std**2 == pytest.approx(between * 3 / 4 + (trees_std**2 + 3 * process_std**2) / 4)


def test_support_vectors_are_scikit_learns_on_standardised_features():
    from sklearn.svm import SVR

    features, values = made()
    scores = fitted("svr", features, values).predict(features)
    spread = features.std(0)
    points = np.clip((features - features.mean(0)) / np.where(spread > 0, spread, 1), -4, 4)
    expected = SVR(gamma=1 / (3 * 7)).fit(points, normal_scores(values)).predict(points)  # 7 columns are not constant
    assert scores == pytest.approx(expected, abs=1e-3)


def test_boosting_is_the_mean_of_models_that_draw_differently():
    from sklearn.ensemble import GradientBoostingRegressor

    features, values = made()
    model = fitted("boosting", features, values).model
    alone = [one.predict(features) for one in model.estimators_]
    assert len(alone) == 4
    assert all(isinstance(one, GradientBoostingRegressor) for one in model.estimators_)
    assert not np.array_equal(*alone[:2])
    assert model.predict(features) == pytest.approx(np.mean(alone, axis=0))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("gp,oracle", "unknown predictor"),
        ("gp,ensemble", "ensemble itself"),
        ("gp*much", "weights are numbers"),
        ("gp*-1", "weights are numbers"),
    ],
)
def test_impossible_ensembles_are_refused(names, said):
    with pytest.raises(InputError, match=said):
        make_predictor("ensemble", members=names)


@pytest.mark.parametrize("name", ["boosting", "extra_trees"])
def test_trees_that_are_fitted_anew_or_sent_elsewhere_score_as_fresh_ones(name: str):
    features = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    first, fresh = make_predictor(name).predictor, make_predictor(name).predictor
    first.fit(features, features[:, 0], np.random.default_rng(1))
    first.predict(features)
    first.fit(features, -features[:, 1], np.random.default_rng(2))
    fresh.fit(features, -features[:, 1], np.random.default_rng(2))
    expected = fresh.predict(features)
    np.testing.assert_array_equal(first.predict(features), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(first)).predict(features), expected)
