"""The predictor's losses: by hand, against a slow double loop, and what they push the outputs to do."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from common.errors import InputError
from renas.cli import LOSSES
from renas.losses import PHI, continuity_term, make_loss, pairwise_loss

SLOW_PHI: dict[str, Callable[[float], float]] = {
    "logistic": lambda z: math.log(1 + math.exp(-z)),
    "hinge": lambda z: max(0.0, 1 - z),
    "exponential": lambda z: math.exp(-z),
}


def slow_pairwise(outputs: list[float], labels: list[float], phi: Callable[[float], float]) -> float:
    """Mean over the ordered pairs i != j of phi((o_i - o_j) sign(y_i - y_j))."""
    n = len(outputs)
    total = 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                sign = (labels[i] > labels[j]) - (labels[i] < labels[j])
                total += phi((outputs[i] - outputs[j]) * sign)
    return total / (n * (n - 1))


def example(n: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Outputs, and labels with ties."""
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(0, 2, n)), torch.tensor(rng.integers(0, n // 2, n) / n)


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # margins: 0.5 (first above second, rightly), 0 (first and third tie), -1 (second above third, wrongly)
        ("logistic", (0.4740769842 + 0.6931471806 + 1.3132616875) / 3),
        ("hinge", (0.5 + 1 + 2) / 3),
        ("exponential", (0.6065306597 + 1 + 2.7182818285) / 3),
    ],
)
def test_three_architectures_by_hand(name: str, expected: float):
    loss = make_loss(name)(torch.tensor([0.5, 0.0, -1.0]), torch.tensor([0.9, 0.1, 0.9]))
    assert float(loss) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", PHI)
@pytest.mark.parametrize("n", [2, 3, 12])
def test_pairwise_losses_are_the_slow_double_loop(name: str, n: int):
    outputs, labels = example(n)
    expected = slow_pairwise(outputs.tolist(), labels.tolist(), SLOW_PHI[name])
    assert float(make_loss(name)(outputs, labels)) == pytest.approx(expected, rel=1e-12)
    assert float(make_loss(name)(outputs.float(), labels.float())) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", PHI)
def test_gradients_are_those_of_the_slow_double_loop(name: str):
    outputs, labels = example()
    outputs.requires_grad_()
    (gradient,) = torch.autograd.grad(make_loss(name)(outputs, labels), outputs)
    values, step = outputs.tolist(), 1e-6
    for i, value in enumerate(values):
        up, down = (
            slow_pairwise([*values[:i], value + s, *values[i + 1 :]], labels.tolist(), SLOW_PHI[name])
            for s in (step, -step)
        )
        assert float(gradient[i]) == pytest.approx((up - down) / (2 * step), abs=1e-7)


@pytest.mark.parametrize("name", PHI)
def test_the_better_architecture_is_pushed_up_and_a_tie_not_at_all(name: str):
    outputs = torch.tensor([0.0, 0.5, 0.25, 0.75], requires_grad=True)
    (gradient,) = torch.autograd.grad(make_loss(name)(outputs, torch.tensor([0.9, 0.1, 0.9, 0.1])), outputs)
    assert (gradient[[0, 2]] < 0).all()  # a step against the gradient raises them
    assert (gradient[[1, 3]] > 0).all()
    tied = torch.tensor([0.0, 3.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(make_loss(name)(tied, torch.tensor([0.5, 0.5])), tied)
    assert gradient.tolist() == [0, 0]


@pytest.mark.parametrize("name", PHI)
def test_only_differences_of_outputs_and_the_order_of_labels_count(name: str):
    outputs, labels = example()
    loss = make_loss(name)
    value = float(loss(outputs, labels))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert float(loss(outputs[order], labels[order])) == pytest.approx(value, rel=1e-12)
    assert float(loss(outputs + 7, labels)) == pytest.approx(value, rel=1e-12)
    assert float(loss(outputs, labels.exp() * 9)) == value
    assert float(loss(-outputs, -labels)) == pytest.approx(value, rel=1e-12)
    assert float(loss(-outputs, labels)) != pytest.approx(value, rel=1e-3)


def test_the_logistic_loss_bears_outputs_far_apart():
    loss = make_loss("logistic")(torch.tensor([-1000.0, 1000.0]), torch.tensor([1.0, 0.0]))
    assert float(loss) == pytest.approx(2000)


def test_another_phi_can_be_given():
    outputs, labels = example()
    expected = slow_pairwise(outputs.tolist(), labels.tolist(), lambda z: (z - 3) ** 2)
    assert float(pairwise_loss(outputs, labels, lambda z: (z - 3) ** 2)) == pytest.approx(expected, rel=1e-12)


def test_mse_is_the_mean_square():
    loss = make_loss("mse")(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 0.0, 1.0]))
    assert float(loss) == pytest.approx((0 + 4 + 9) / 3)


def test_an_unknown_loss_is_named_with_the_known_ones():
    with pytest.raises(InputError, match=r"'huber'.*mse, logistic, hinge, exponential"):
        make_loss("huber")


def test_the_command_line_offers_exactly_the_losses_there_are():
    assert set(LOSSES) == {"mse", *PHI}


# continuity --------------------------------------------------------------------------------------------------------


def slow_continuity(outputs: Tensor, features: Tensor) -> float:
    """Mean over i != j of exp(-d_ij^2 / median d^2) (o_i - o_j)^2."""
    n = len(outputs)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    squares = {(i, j): float(((features[i] - features[j]) ** 2).sum()) for i, j in pairs}
    median = statistics.median(squares.values())
    return sum(math.exp(-squares[i, j] / median) * float(outputs[i] - outputs[j]) ** 2 for i, j in pairs) / len(pairs)


def points(n: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    """n = 7 has an odd number of pairs, so that the median distance is one of them."""
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=n)), torch.tensor(rng.normal(size=(n, 2, 3, 3)))


@pytest.mark.parametrize("seed", range(3))
def test_continuity_is_the_slow_double_loop(seed: int):
    outputs, features = points(seed=seed)
    expected = slow_continuity(outputs, features)
    assert expected > 0.1
    assert float(continuity_term(outputs, features)) == pytest.approx(expected, rel=1e-9)
    assert float(continuity_term(outputs.float(), features.float())) == pytest.approx(expected, rel=1e-4)


def test_continuity_of_many_architectures_is_the_slow_double_loop_too():
    outputs, features = points(31)  # torch takes another way to distances from 26 on; 465 pairs
    assert float(continuity_term(outputs, features)) == pytest.approx(slow_continuity(outputs, features), rel=1e-6)


def test_continuity_is_zero_for_equal_outputs_and_grows_with_their_square():
    outputs, features = points()
    assert float(continuity_term(torch.full_like(outputs, 3.0), features)) == 0
    value = float(continuity_term(outputs, features))
    assert float(continuity_term(3 * outputs + 1, features)) == pytest.approx(9 * value, rel=1e-9)


def test_continuity_does_not_go_by_order_or_by_the_features_unit():
    outputs, features = points()
    value = float(continuity_term(outputs, features))
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    assert float(continuity_term(outputs[order], features[order])) == pytest.approx(value, rel=1e-12)
    assert float(continuity_term(outputs, 5 * features)) == pytest.approx(value, rel=1e-9)


def test_continuity_holds_similar_architectures_together_more_than_others():
    features = torch.tensor([0.0, 0.1, 5.0, 9.0]).reshape(4, 1, 1, 1)
    near = float(continuity_term(torch.tensor([0.0, 1.0, 0.5, 0.5]), features))
    far = float(continuity_term(torch.tensor([0.0, 0.5, 0.5, 1.0]), features))
    assert near > 1.3 * far
    outputs = torch.tensor([0.0, 1.0, 0.5, 0.5], requires_grad=True)
    (gradient,) = torch.autograd.grad(continuity_term(outputs, features), outputs)
    assert gradient[0] < 0 < gradient[1]


def test_continuity_bears_equal_architectures():
    outputs = torch.tensor([0.0, 1.0, 3.0], requires_grad=True)
    term = continuity_term(outputs, torch.zeros(3, 2, 4, 4))
    assert float(term.detach()) == pytest.approx((1 + 9 + 4) / 3)
    (gradient,) = torch.autograd.grad(term, outputs)
    assert gradient.isfinite().all()
