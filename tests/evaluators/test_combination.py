"""Combinations of evaluators: sums of log ranks over a set, and against a fixed sample of the space."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

from common.errors import InputError
from common.evaluators import NO_BOUNDS, Bounds, Context, Evaluator, Outcome, make_evaluator
from common.evaluators.combination import Combination, agreement_weights, combine, log_ranks
from common.metrics import kendall_tau
from common.spaces import make_space

SPACE = make_space("nasbench201", channels=4, cells_per_stage=1, image_size=8)


class Counted(Evaluator):
    """The number of edges with an operation."""

    def __init__(self, op: int, sign: int = 1) -> None:
        self.name, self.op, self.sign, self.asked = f"op{op}", op, sign, 0

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        self.asked += 1
        return Outcome(float(self.sign * arch.ops.count(self.op)))


def sample(count: int, seed: int = 5) -> list[Any]:
    found = SPACE.sample_distinct(2 * count, np.random.default_rng(seed))
    return [arch for arch in found if SPACE.reaches_output(arch)][:count]


def test_log_ranks_by_hand():
    assert log_ranks(np.array([3.0, 1.0, 2.0, 2.0])) == pytest.approx(np.log([4 / 4, 1 / 4, 2.5 / 4, 2.5 / 4]))
    assert log_ranks(np.array([5.0, -np.inf])) == pytest.approx(np.log([1, 0.5]))
    assert log_ranks(np.array([5.0, np.nan, 7.0])) == pytest.approx(np.log([0.5, np.nan, 1]), nan_ok=True)


def test_a_sum_of_log_ranks_prefers_what_is_bad_in_nothing():
    best_and_worst, middling = 0, 1
    values = np.array([[4.0, 3.0, 2.0, 1.0], [1.0, 3.0, 2.0, 4.0]])
    combined = combine(values)
    assert combined[middling] > combined[best_and_worst]
    assert combined == pytest.approx(np.log([4 * 1 / 16, 3 * 3 / 16, 2 * 2 / 16, 1 * 4 / 16]))
    assert combine(np.exp(values)) == pytest.approx(combined)  # ranks know no units


def test_a_combination_is_nan_where_a_score_is():
    assert np.isnan(combine(np.array([[1.0, np.nan, 3.0], [1.0, 2.0, 3.0]]), "agreement")).tolist() == [
        False,
        True,
        False,
    ]


def test_a_score_that_disagrees_with_the_others_has_no_weight():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=200)
    alike = [truth + rng.normal(size=200) for _ in range(3)]
    weights = agreement_weights(np.array([*alike, -truth]))
    assert weights[-1] == 0
    assert weights[:3] == pytest.approx(4 / 3, rel=0.3)
    assert weights.mean() == pytest.approx(1)
    values = np.array([*alike, -truth])
    assert kendall_tau(combine(values, "agreement"), truth) > kendall_tau(combine(values), truth)


def test_agreement_by_hand():
    a, b, c = np.array([1.0, 2, 3]), np.array([1.0, 3, 2]), np.array([3.0, 2, 1])  # taus: ab 1/3, ac -1, bc -1/3
    assert agreement_weights(np.array([a, b, c])) == pytest.approx([1, 1, 1])  # a: -2/3, b: 0, c: -4/3: none agrees
    assert agreement_weights(np.array([a, b, a])) == pytest.approx(np.array([4, 2, 4]) * 3 / 10)
    assert agreement_weights(np.array([a, a, np.ones(3)])) == pytest.approx([1.5, 1.5, 0])


def test_weights_that_do_not_exist_are_named():
    for call in (lambda: combine(np.ones((2, 3)), "learnt"), lambda: Combination(SPACE, 0, (), "learnt")):
        with pytest.raises(InputError, match="unknown weights 'learnt'"):
            call()


def test_a_combination_orders_a_list_like_the_sum_of_its_log_ranks():
    parts = (make_evaluator("params", Context(SPACE)), Counted(1))
    combination = Combination(SPACE, 0, parts, size=200)
    archs = sample(150)
    values = np.array([[part.evaluate(arch).value for arch in archs] for part in parts])
    assert kendall_tau(np.array([combination.evaluate(arch).value for arch in archs]), combine(values)) > 0.85


def test_the_value_depends_on_no_company_and_the_sample_is_evaluated_once():
    part = Counted(3)
    combination = Combination(SPACE, 0, (part,), size=10)
    archs = sample(4)
    values = [combination.evaluate(arch).value for arch in archs]
    assert [combination.evaluate(arch).value for arch in reversed(archs)] == values[::-1]
    assert part.asked == 10 + 8
    sent = pickle.loads(pickle.dumps(Combination(SPACE, 0, (Counted(3),), size=10)))
    assert [sent.evaluate(arch).value for arch in archs] == values
    assert sent.parts[0].asked == 10 + 4  # of which 10 before it was sent
    assert Combination(SPACE, 1, (part,), size=10).evaluate(archs[0]).value != values[0]


def test_what_is_better_or_worse_than_all_of_the_sample_is_still_told_apart():
    class Given(Evaluator):
        name = "given"

        def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
            return Outcome(arch if isinstance(arch, float) else float(sum(arch.ops)))

    combination = Combination(SPACE, 0, (Given(),), size=30)
    values = [combination.evaluate(value).value for value in (-1000.0, -100.0, 0.0, 10.0, 24.0, 40.0, 80.0)]
    assert values == sorted(values)
    assert len({*values}) == len(values)
    assert values[-1] <= 0


def test_a_score_that_is_the_same_for_all_changes_nothing_and_an_unusable_one_is_the_worst():
    class Same(Evaluator):
        name = "same"
        value = 1.0

        def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
            return Outcome(self.value)

    (arch,) = sample(1)
    alone = Combination(SPACE, 0, (Counted(3),)).evaluate(arch).value
    combination = Combination(SPACE, 0, (Counted(3), same := Same()))
    assert combination.evaluate(arch).value == alone
    same.value = -math.inf
    assert combination.evaluate(arch).value == -math.inf
    same.value = math.nan
    assert math.isnan(combination.evaluate(arch).value)

    class Only(Evaluator):
        name = "only"

        def evaluate(self, other: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
            return Outcome(1.0 if other is arch else -math.inf)

    with pytest.raises(InputError, match="only: no architecture of a random sample has a value"):
        Combination(SPACE, 0, (Only(),)).evaluate(arch)


def test_names_joined_by_plus_make_a_combination():
    from common.datasets.images import load_images

    settings = {"params+naswot+jacov": {"weights": "agreement", "size": 5}}
    context = Context(SPACE, 0, load_images=lambda: load_images("digits"), settings=settings)
    made = make_evaluator("params+naswot+jacov", context)
    assert isinstance(made, Combination)
    assert (made.name, made.weights, made.size) == ("params+naswot+jacov", "agreement", 5)
    assert math.isfinite(made.evaluate(sample(1)[0]).value)
    with pytest.raises(InputError, match="unknown evaluator 'nothing'"):
        make_evaluator("params+nothing", context)
