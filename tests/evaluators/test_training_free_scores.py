"""Training-free scores against hand-computed and slow references, their invariances, and passes shared or not."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.errors import InputError
from common.evaluators import EVALUATORS, Context, Evaluator, Outcome, make_evaluator, training_free
from common.evaluators.composite import Several
from common.evaluators.context import build_seeded
from common.evaluators.passes import PATTERNS, SIGNS, Pass, PassScore, evaluate_scores, reads, unchanged
from common.evaluators.training_free import evaluate_each
from common.spaces import make_space

SCORES = (
    "combined",
    "receptive_field",
    "fisher",
    "grad_norm",
    "grasp",
    "jacov",
    "l2_norm",
    "mean_field",
    "naswot",
    "plain",
    "snip",
    "steady",
    "swap",
    "synflow",
    "zen",
    "zico",
    "counted_params",
    "counted_flops",
)
SPACE = make_space("nasbench201", channels=4, cells_per_stage=1, image_size=8)
CELL = SPACE.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|")
DEAD = SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|")


def score(name: str) -> Callable[[nn.Module, Tensor, Tensor], float]:
    return EVALUATORS.load(name)


def batch(size: int = 8, side: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(size, 3, side, side, generator=made), torch.randint(10, (size,), generator=made)


def network(arch: Any = CELL) -> nn.Module:
    return build_seeded(SPACE, arch, seed=0).train()


def digits(**settings: Any) -> Context:
    from common.datasets.images import load_images

    return Context(SPACE, 1, load_images=lambda: load_images("digits"), settings=settings)


class Tiny(nn.Module):
    """Two inputs, a rectified linear layer of three units, two classes; all weights stated, no biases."""

    first = ((1.0, 0.0), (0.0, 1.0), (1.0, -1.0))
    second = ((1.0, 2.0, 0.0), (0.0, -1.0, 3.0))

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.hidden.weight.copy_(torch.tensor(self.first))
            self.out.weight.copy_(torch.tensor(self.second))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.hidden(x)))


# What goes into the rectifiers: (2, 1, 1), (1, -1, 2), (-1, 3, -4). The units that are on: 111, 101, 010.
TINY_X = torch.tensor([[2.0, 1.0], [1.0, -1.0], [-1.0, 3.0]])
TINY_Y = torch.tensor([0, 1, 1])


def tiny_by_the_chain_rule() -> dict[str, Any]:
    """Weights, outputs of layers and the gradients of the mean cross-entropy; the Jacobian of the sum of the logits."""
    x, w1, w2 = TINY_X.numpy().astype(float), np.array(Tiny.first), np.array(Tiny.second)
    inputs = x @ w1.T
    hidden = np.maximum(inputs, 0)
    logits = hidden @ w2.T
    at_logits = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(2)[TINY_Y.numpy()]) / 3
    at_inputs = (at_logits @ w2) * (inputs > 0)
    return {
        "weights": [w1, w2],
        "gradients": [at_inputs.T @ x, at_logits.T @ hidden],
        "outputs": [inputs, logits],
        "output_gradients": [at_inputs, at_logits],
        "jacobian": ((inputs > 0) * w2.sum(0)) @ w1,
    }


def test_naswot_is_the_log_determinant_of_the_number_of_units_that_agree():
    kernel = np.array([[3, 2, 1], [2, 3, 0], [1, 0, 3]])  # equal digits of 111, 101, 010
    assert score("naswot")(Tiny(), TINY_X, TINY_Y) == pytest.approx(math.log(np.linalg.det(kernel)))
    assert score("naswot")(Tiny(), TINY_X[[0, 1, 1]], TINY_Y) == -math.inf  # two images alike


def test_swap_counts_the_different_ways_in_which_units_sort_the_images():
    assert score("swap")(Tiny(), TINY_X, TINY_Y) == 2  # the units are on in the images 110, 101, 110


def test_jacov_is_of_the_eigenvalues_of_the_correlations_of_the_input_gradients():
    # Gradients of two pixels are always correlated by 1 or -1: the eigenvalues of three are 3, 0, 0.
    assert np.abs(np.corrcoef(tiny_by_the_chain_rule()["jacobian"])) == pytest.approx(1)
    expected = -sum(math.log(v + 1e-5) + 1 / (v + 1e-5) for v in (3, 0, 0))
    assert score("jacov")(Tiny(), TINY_X, TINY_Y) == pytest.approx(expected, rel=1e-6)


def test_jacov_of_any_gradients_is_that_of_numpys_correlations():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 30), nn.ReLU(), nn.Linear(30, 10))
    x, y = batch(5, side=2)
    rows = [torch.autograd.functional.jacobian(lambda image: model(image[None]).sum(), image) for image in x]
    values = np.linalg.eigvals(np.corrcoef([row.flatten().numpy() for row in rows])).real + 1e-5
    assert score("jacov")(model, x, y) == pytest.approx(-np.sum(np.log(values) + 1 / values), rel=1e-4)


def test_scores_of_the_gradient_of_the_loss_against_the_chain_rule():
    by_hand = tiny_by_the_chain_rule()
    pairs = list(zip(by_hand["weights"], by_hand["gradients"], strict=True))
    expected = {
        "grad_norm": sum(np.linalg.norm(g) for _, g in pairs),
        "snip": sum(np.abs(w * g).sum() for w, g in pairs),
        "plain": sum((w * g).sum() for w, g in pairs),
        "l2_norm": sum(np.linalg.norm(w) for w, _ in pairs),
        "fisher": sum(
            ((a * g) ** 2).mean(0).sum() / 2 * w.shape[1]
            for w, a, g in zip(by_hand["weights"], by_hand["outputs"], by_hand["output_gradients"], strict=True)
        ),
    }
    found = evaluate_scores([score(name) for name in expected], Tiny(), TINY_X, TINY_Y)
    assert dict(zip(expected, found, strict=True)) == pytest.approx(expected, rel=1e-5)


def test_fisher_of_a_convolution_adds_up_the_pixels_of_a_channel_before_it_squares():
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 4, 3, padding=1)
    model = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    x, y = batch()
    kept = convolution(x)
    logits = model[-1](kept.relu().mean((2, 3)))
    gradients = torch.autograd.grad(F.cross_entropy(logits, y), [kept, logits])
    expected = 0.0
    for output, gradient, weights in zip((kept, logits), gradients, (27, 4), strict=True):
        for image, channel in product(range(8), range(output.shape[1])):
            expected += float((output[image, channel] * gradient[image, channel]).detach().sum()) ** 2 / 8 / 2 * weights
    assert score("fisher")(model, x, y) == pytest.approx(expected, rel=1e-4)


def test_grasp_is_the_weights_times_the_hessian_times_the_gradient():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).double()

    def loss(flat: Tensor) -> Tensor:
        return F.cross_entropy(TINY_X.double() @ flat.view(2, 2).T, TINY_Y)

    flat = model[1].weight.detach().flatten()
    gradient = torch.autograd.functional.jacobian(loss, flat)
    hessian = torch.autograd.functional.hessian(loss, flat)
    assert score("grasp")(model, TINY_X.double(), TINY_Y) == pytest.approx(-float(flat @ hessian @ gradient))


def test_synflow_is_the_log_of_the_sum_over_all_paths():
    # Of ones, by absolute weights: hidden (1, 1, 2), logits 1 + 2 + 0 and 0 + 1 + 6. A weight's |w dR/dw| is the sum of
    # the paths through it, so those of a layer add up to R = 10, and the two layers to 20.
    assert score("synflow")(Tiny(), TINY_X, TINY_Y) == pytest.approx(math.log(20))


def test_synflow_leaves_batch_norm_out_and_looks_at_no_image():
    model = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    x, y = batch(side=2)
    without = score("synflow")(nn.Sequential(model[0], *model[2:]), 0 * x, y)
    assert score("synflow")(model, x, y) == pytest.approx(without)


def test_zen_is_the_log_of_the_change_of_the_features_and_of_what_batch_norms_divide_by():
    norm = nn.BatchNorm2d(5)
    model = nn.Sequential(nn.Conv2d(3, 5, 1), norm, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 10))
    x, y = batch()
    found = evaluate_scores([score("zen")], model, x, y, seed=3)[0]

    drawn: list[Tensor] = []

    def same_draws(network: nn.Module, x: Tensor, y: Tensor) -> float:
        drawn.extend([torch.randn(5, 3), torch.randn(10, 5), torch.randn_like(x), torch.randn_like(x)])
        return 0.0

    same_draws.__name__ = "zen"
    evaluate_scores([same_draws], model, x, y, seed=3)
    weight, _, v, u = drawn

    def spread(a: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = a.mean((0, 2, 3), keepdim=True), a.var((0, 2, 3), correction=0, keepdim=True)
        return (a - mean) / (variance + norm.eps).sqrt(), variance

    (low, _), (high, variance) = (spread(torch.einsum("oi,bihw->bohw", weight, image)) for image in (v, v + 0.01 * u))
    change = (high - low).abs().sum((1, 2, 3)).mean()
    assert found == pytest.approx(float(change.log() + variance.mean().log() / 2), rel=1e-4)


def test_zico_is_the_mean_gradient_by_its_deviation_between_the_halves_of_the_batch():
    x, y = batch(side=1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 10, bias=False))
    halves = []
    for part in (slice(0, 4), slice(4, 8)):
        model.zero_grad()
        F.cross_entropy(model(x[part]), y[part]).backward()
        halves.append(model[1].weight.grad.numpy().copy())
    ratio = np.abs(halves).mean(0) / np.std(halves, axis=0)
    assert score("zico")(model, x, y) == pytest.approx(math.log(ratio.sum()), rel=1e-4)
    assert score("zico")(model, torch.cat([x[:4]] * 2), torch.cat([y[:4]] * 2)) == 0  # nothing differs


def test_counts_are_those_of_the_network():
    x, y = batch(side=2)
    model = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    assert score("counted_params")(model, x, y) == 6 + 4 + 24 + 3
    assert score("counted_flops")(model, x, y) == 2 * (4 * 6 + 24)


def test_every_way_of_calling_a_rectifier_is_seen_and_seen_once():
    class Model(nn.Module):
        def __init__(self, rectify: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.rectify = rectify

        def forward(self, x: Tensor) -> Tensor:
            return self.rectify(x).flatten(1)[:, :2]

    x, y = batch(5, side=4)
    ways = [nn.ReLU(), nn.ReLU(inplace=True), F.relu, torch.relu, Tensor.relu, lambda t: t.clone().relu_()]
    ways += [nn.ReLU6(), F.relu6, nn.Hardswish(), nn.SiLU(), nn.GELU(), nn.ELU(), nn.LeakyReLU()]
    on = (x > 0).flatten(1).double()
    kernel = on @ on.T + (1 - on) @ (1 - on).T
    for way in ways:
        run = Pass(Model(way), x.clone(), y, frozenset({SIGNS, PATTERNS}))
        assert torch.equal(run.sign_kernel, kernel), way
        assert run.patterns.numel() == on.shape[1]
    assert not Pass(Model(nn.Hardtanh()), x, y, frozenset({SIGNS})).sign_kernel.any()  # it is cut off on both sides


@pytest.mark.parametrize("size", [3, 21, 43, 63, 64, 130])
def test_patterns_are_told_apart_whatever_the_batch_size(size: int):
    made = torch.Generator().manual_seed(size)
    on = (torch.rand(size, 400, generator=made) > 0.5).float()
    on = torch.cat([on, on[:, :50], (on[:, :1] + torch.eye(size)) % 2], 1)  # some again; some one image away
    model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(on.shape[1], 2))
    found = score("swap")(model, (on - 0.5).view(size, 1, 1, -1), torch.zeros(size, dtype=torch.int64))
    assert found == len({tuple(column) for column in on.T.tolist()})


@pytest.mark.parametrize("name", SCORES)
def test_a_network_is_left_as_it_was_and_scored_alike_again(name: str):
    made, (x, y) = network().eval(), batch()
    first = next(made.parameters())
    first.grad = torch.ones_like(first)
    before, gradient, x_before = copy.deepcopy(made.state_dict()), first.grad, x.clone()
    values = [evaluate_scores([score(name)], made, x, y, seed=5)[0] for _ in range(2)]
    assert values[0] == values[1]
    assert math.isfinite(values[0])
    after = made.state_dict()
    assert all(torch.equal(before[key], after[key]) and before[key].dtype == after[key].dtype for key in before)
    assert not any(module.training for module in made.modules())
    assert first.grad is gradient
    assert all(parameter.requires_grad for parameter in made.parameters())
    assert torch.equal(x, x_before)
    assert not x.requires_grad


def test_scores_are_the_same_alone_and_together():
    made, (x, y) = network(), batch()
    functions = [score(name) for name in SCORES]
    together = evaluate_scores(functions, made, x, y, seed=1)
    alone = [evaluate_scores([function], made, x, y, seed=1)[0] for function in functions]
    assert together == pytest.approx(alone, rel=1e-6)


def test_what_can_be_shared_is_computed_once():
    made, (x, y) = network(), batch()
    calls: list[int] = []
    made.register_forward_hook(lambda *_: calls.append(1))
    shared = [name for name in SCORES if isinstance(score(name), PassScore)]
    assert {*SCORES} - {*shared} == {"grasp", "synflow", "zen", "counted_params", "counted_flops"}
    evaluate_scores([score(name) for name in shared], made, x, y)
    assert len(calls) == 1 + 2  # of the batch and of its halves
    for name, expected in (("jacov", 1), ("zico", 2), ("l2_norm", 0)):
        calls.clear()
        score(name)(made, x, y)
        assert len(calls) == expected, name


@pytest.mark.parametrize("name", [name for name in SCORES if name not in ("zen", "zico", "combined", "steady")])
def test_the_order_of_the_images_does_not_matter(name: str):
    made, (x, y) = network().double(), batch(seed=2)
    order = torch.tensor([5, 2, 7, 0, 1, 3, 6, 4])
    found = score(name)(made, x.double(), y)
    assert score(name)(made, x.double()[order], y[order]) == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize("name", [name for name in SCORES if name != "zen"])
def test_the_order_of_the_channels_does_not_matter(name: str):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()]
    layers += [nn.Conv2d(6, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 10)).double()
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    permuted = copy.deepcopy(model)
    with torch.no_grad():
        permuted[0].weight.copy_(model[0].weight[order])
        permuted[3].weight.copy_(model[3].weight[:, order])
    x, y = batch()
    assert score(name)(permuted, x.double(), y) == pytest.approx(score(name)(model, x.double(), y), rel=1e-6)


def test_the_order_of_the_channels_in_memory_does_not_matter():
    made, (x, y) = network(), batch()
    functions = [score(name) for name in SCORES if name not in ("zen", "grasp", "plain")]
    expected = evaluate_scores(functions, made, x, y)
    x = x.contiguous(memory_format=torch.channels_last)
    found = evaluate_scores(functions, made.to(memory_format=torch.channels_last), x, y)
    assert found == pytest.approx(expected, rel=1e-3)


def test_unchanged_puts_back_what_an_error_interrupts():
    made = network()
    before = copy.deepcopy(made.state_dict())

    def interrupted() -> None:
        with unchanged(made):
            made.double().eval()
            nn.init.zeros_(next(made.parameters()))
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        interrupted()
    assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())
    assert made.training


@pytest.mark.parametrize("name", SCORES)
def test_every_score_is_an_evaluator_by_name_that_survives_pickling(name: str):
    evaluator = make_evaluator(name, digits())
    value = evaluator.evaluate(CELL).value
    assert math.isfinite(value)
    assert evaluator.evaluate(CELL).value == value
    assert pickle.loads(pickle.dumps(evaluator)).evaluate(CELL).value == value
    assert evaluator.evaluate(DEAD).value == -math.inf
    assert evaluator.name == name


def test_evaluators_of_one_batch_share_their_network_and_say_the_same():
    context = digits(jacov={"batch_size": 16})
    evaluators = [make_evaluator(name, context) for name in ("naswot", "params", "zen", "swap", "jacov")]
    evaluators.append(make_evaluator("jacov", digits()))
    alone = [evaluator.evaluate(CELL).value for evaluator in evaluators]
    assert [outcome.value for outcome in evaluate_each(evaluators, CELL)] == alone
    assert alone[-1] != alone[-2]  # of another batch size
    assert [outcome.value for outcome in evaluate_each(evaluators, DEAD)][2:] == [-math.inf] * 4
    restored = pickle.loads(pickle.dumps(evaluators))  # as an executor sends them
    assert restored[0].x is restored[3].x


def test_composites_share_passes_with_each_other_and_with_what_is_beside_them(monkeypatch: pytest.MonkeyPatch):
    context = digits()
    asked = ["naswot+jacov", "snip", "jacov+params"]
    evaluators = [make_evaluator(name, context) for name in asked]
    evaluators.append(Several((evaluators[0], make_evaluator("zen", context))))  # composites of composites too
    alone = [evaluator.evaluate(CELL) for evaluator in evaluators]
    built: list[Any] = []
    monkeypatch.setattr(
        training_free,
        "build_seeded",
        lambda *args, build=training_free.build_seeded: built.append(args) or build(*args),
    )
    together = evaluate_each(evaluators, CELL)
    assert len(built) == 1
    assert [outcome.value for outcome in together] == pytest.approx([outcome.value for outcome in alone], rel=1e-6)
    assert together[-1].trajectory == pytest.approx(alone[-1].trajectory, rel=1e-6)
    assert together[-1].trajectory[0] == together[0].value
    assert evaluators[-1].name == "naswot+jacov,zen"


def test_values_depend_on_the_seed():
    one, two = (make_evaluator("jacov", digits().with_seed(seed)).evaluate(CELL).value for seed in (0, 1))
    assert one != two


def test_a_score_that_is_no_finite_number_is_the_worst():
    naswot = make_evaluator("naswot", digits())
    for value in (math.nan, math.inf, -math.inf):
        broken = type(naswot)("broken", lambda network, x, y, v=value: v, SPACE, 0, naswot.x, naswot.y)
        assert broken.evaluate(CELL).value == -math.inf


def test_a_users_own_score_can_read_a_pass_and_may_spoil_the_network():
    @reads(SIGNS)
    def mean_agreement(run: Pass) -> float:
        return float(run.sign_kernel.mean())

    def spoil(network: nn.Module, x: Tensor, y: Tensor) -> float:
        for parameter in network.parameters():
            nn.init.zeros_(parameter)
        return float(network(x).detach().abs().sum())

    made, (x, y) = network(), batch()
    agreement, zero, norm = evaluate_scores([mean_agreement, spoil, score("l2_norm")], made, x, y)
    assert agreement > 0
    assert zero == 0
    assert norm == score("l2_norm")(made, x, y) > 0


def test_networks_without_rectifiers_or_of_one_image_have_scores_that_say_so():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    x, y = batch(4, side=2)
    assert score("swap")(model, x, y % 2) == 0
    assert score("naswot")(model, x, y % 2) == -math.inf
    assert math.isnan(score("jacov")(model, x[:1], y[:1] % 2))


def test_gradients_that_are_all_zero_have_no_correlation():
    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(0 * x.mean((2, 3)))

    x, y = batch(4, side=2)
    assert math.isnan(score("jacov")(Deaf(), x, y % 2))


def test_any_evaluators_can_be_asked_together():
    class Seven(Evaluator):
        name = "seven"

        def evaluate(self, arch: Any, bounds: Any = None) -> Outcome:
            return Outcome(7.0)

    assert [outcome.value for outcome in evaluate_each([Seven(), Seven()], CELL)] == [7, 7]
    assert evaluate_each([], CELL) == []


def test_a_score_of_images_says_when_there_are_none():
    with pytest.raises(InputError, match="images"):
        make_evaluator("jacov", Context(SPACE))


def test_receptive_field_is_the_widest_patch_over_all_paths():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.wide = (
                nn.Conv2d(3, 4, 3, 2, padding=1),
                nn.Conv2d(4, 4, 3, padding=4, dilation=4, groups=4),
            )
            self.point, self.aside = nn.Conv2d(4, 4, 1), nn.Conv2d(3, 4, 5, 2, padding=2)
            self.last, self.out = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 10)

        def forward(self, x: Tensor) -> Tensor:
            before = self.first(x)
            constant = self.wide(self.wide(self.first(torch.ones_like(x))))  # not the image's
            y = before + self.point(F.relu(self.wide(before))) + self.aside(x) + constant
            return self.out(self.last(F.max_pool2d(y, 3, 2, 1)).mean((2, 3)))

    x, y = batch(2, side=16)
    # last: 3; pooling of stride 2: 5; wide: 13; first: 12 * 2 + 3
    assert score("receptive_field")(Model(), x, y) == 27
    # Past the wide layer: first: 4 * 2 + 3; aside: 4 * 2 + 5.
    assert score("mean_field")(Model(), x, y) == pytest.approx((27 + 11 + 13) / 3)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, (3, 1))]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    assert score("receptive_field")(model, x, y) == score("mean_field")(model, x, y) == 2 * 2 + 3
    assert score("receptive_field")(nn.Sequential(nn.Flatten(), nn.Linear(768, 10)), x, y) == 1


def test_the_mean_field_counts_every_path_of_a_network_of_more_paths_than_a_float_holds():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.wide = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
            self.out = nn.Linear(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            for _ in range(1100):
                x = x / 2 + x / 2
            return self.out((x + self.wide(x)).mean((2, 3)))

    x, y = batch(2)
    assert score("mean_field")(Model(), x, y % 3) == pytest.approx(4)


def halves_snip(made: nn.Module, x: Tensor, y: Tensor) -> float:
    """sum |w g| with g the mean of the gradients of the batch's halves, layer by layer."""
    halves = zip(x.chunk(2), y.chunk(2), strict=True)
    loss = sum(F.cross_entropy(made(half), labels) for half, labels in halves) / 2
    weights = [m.weight for m in made.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    gradients = torch.autograd.grad(loss, weights)
    return sum(float((w * g).abs().sum()) for w, g in zip(weights, gradients, strict=True))


def test_combined_is_the_sum_of_its_terms_in_logarithms():
    made, (x, y) = network(), batch()
    zico, field, jacov, naswot = (score(name)(made, x, y) for name in ("zico", "mean_field", "jacov", "naswot"))
    assert field > 15  # of 8 pixels: all of it is seen
    assert -jacov / 8 - 1 > 2 * 8 / (2 * 192)
    expected = 3 * math.log(zico) + math.log(15) - math.log(-jacov / 8 - 1) + naswot / 8
    expected -= math.log(halves_snip(made, x, y)) / 2
    assert score("combined")(made, x, y) == pytest.approx(expected, abs=1e-2)  # 1 is added to naswot's kernel


def test_combined_counts_no_correlation_below_twice_that_of_independent_gradients():
    independent = np.random.default_rng(0).normal(size=(16, 3072))
    values = np.linalg.eigvalsh(np.corrcoef(independent))
    chance = 16 / (2 * 3072)
    assert np.mean(np.log(values) + 1 / values) - 1 == pytest.approx(chance, rel=0.2)

    signs = torch.ones(1, 1)
    for _ in range(5):  # rows of a Hadamard matrix of 32: orthogonal, and all but the first of mean zero
        signs = torch.cat([torch.cat([signs, signs], 1), torch.cat([signs, -signs], 1)])
    x, y = signs[1:17].repeat(1, 96).view(16, 3, 32, 32), batch(16)[1]
    model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(3072, 10))
    nn.init.ones_(model[2].weight)  # an image's gradients are 10 where it is positive and 0 elsewhere
    assert score("jacov")(model, x, y) == pytest.approx(-16, rel=1e-4)
    # A field of one pixel; two images have equal signs at half of the pixels.
    kernel = np.linalg.slogdet(np.full((16, 16), 1536) + 1537 * np.eye(16))[1]
    expected = 3 * math.log(score("zico")(model, x, y)) - math.log(2 * chance) + kernel / 16
    expected -= math.log(halves_snip(model, x, y)) / 2
    assert score("combined")(model, x, y) == pytest.approx(expected)


def test_combined_is_a_number_for_networks_without_rectifiers_and_counts_nothing_for_them():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    x, y = batch()
    zico, jacov = (score(name)(model, x, y) for name in ("zico", "jacov"))
    expected = 3 * math.log(zico) + math.log(3) - math.log(-jacov / 8 - 1) - math.log(halves_snip(model, x, y)) / 2
    assert score("combined")(model, x, y) == pytest.approx(expected)


def test_steady_takes_half_the_logarithm_of_the_gradient_norm_off():
    made, (x, y) = network(), batch()
    norm = 0.0
    parts = [F.cross_entropy(made(half), labels) for half, labels in zip(x.chunk(2), y.chunk(2), strict=True)]
    for layer in (m for m in made.modules() if isinstance(m, (nn.Conv2d, nn.Linear))):
        (gradient,) = torch.autograd.grad(sum(parts) / 2, layer.weight, retain_graph=True)
        norm += float(gradient.norm())
    zico, field, jacov = (score(name)(made, x, y) for name in ("zico", "receptive_field", "jacov"))
    assert field > 15  # of 8 pixels: all of it is seen
    expected = 3 * math.log(zico) + math.log(15) - math.log(-jacov / 8 - 1) - math.log(norm) / 2
    assert score("steady")(made, x, y) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["steady", "combined"])
def test_a_network_without_a_gradient_has_no_value(name: str):
    made, (x, y) = network(), batch()
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    assert math.isnan(score(name)(made, x, y))


def test_steady_prefers_a_shortcut_around_a_deep_cell_and_zico_does_not():
    plain = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    around = plain.replace("+|nor_conv_3x3~0|nor_conv_3x3~1|nor", "+|skip_connect~0|nor_conv_3x3~1|nor")
    space = make_space("nasbench201", channels=8, cells_per_stage=3, image_size=16)
    x, y = batch(16, 16)

    def values(name: str) -> list[float]:
        return [score(name)(build_seeded(space, space.parse(t), 0).train(), x, y) for t in (plain, around)]

    assert np.subtract(*values("zico")) > 0 > np.subtract(*values("steady"))
