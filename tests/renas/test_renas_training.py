"""Training the predictor, step by step against a slow loop written from the paper's notes."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from common.encoding import encode
from common.seeds import torch_seeded
from common.spaces import make_space
from renas import training as training_module
from renas.fast import training as fast_training
from renas.fast.training import FastTraining
from renas.lenet import LeNet, Standardizer
from renas.losses import continuity_term, make_loss
from renas.predictor import LeNetPredictor
from renas.settings import LeNetSettings
from renas.training import TorchTraining

SHORT = LeNetSettings(num_epochs=4, batch_size=8)
PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "logistic": lambda z: torch.log(1 + torch.exp(-z)),
    "hinge": lambda z: torch.clamp(1 - z, min=0),
    "exponential": lambda z: torch.exp(-z),
}


@lru_cache
def sample(count: int, space_name: str = "nasbench201", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Feature tensors of random cells, and made accuracies that follow their FLOPs, two of them tied."""
    space = make_space(space_name)
    rng = np.random.default_rng(seed)
    codes = space.to_codes(space.sample_distinct(count, rng))
    flops = space.total_costs(codes)[0]
    labels = 60 + 30 * flops / flops.max() + rng.normal(0, 2, count)
    labels[1] = labels[0]
    return encode(space, codes), labels


def fit(data: tuple[np.ndarray, np.ndarray], settings: LeNetSettings, seed: int = 0) -> Any:
    predictor = LeNetPredictor(settings)
    predictor.device = "cpu"
    predictor.fit(*data, np.random.default_rng(seed))
    return predictor, predictor.curve


# the slow loop -----------------------------------------------------------------------------------------------------


class Demo(nn.Module):
    """The demo's network, layer by layer as the notes name them."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        width = max(38, 2 * channels)
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, 128, 3, padding=1), nn.BatchNorm2d(128)
        self.fc1, self.fc2, self.fc3 = nn.Linear(128 * side * side, 120), nn.Linear(120, 84), nn.Linear(84, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        x = torch.relu(self.fc1(x.reshape(len(x), -1)))
        return self.fc3(torch.relu(self.fc2(x)))[:, 0]


def slow_loss(settings: LeNetSettings, outputs: Tensor, labels: Tensor, x: Tensor) -> Tensor:
    n = len(outputs)
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    if settings.loss == "mse":
        total = sum((outputs[i] - labels[i]) ** 2 for i in range(n)) / n
    else:
        phi = PHI[settings.loss]
        total = sum(phi((outputs[i] - outputs[j]) * torch.sign(labels[i] - labels[j])) for i, j in pairs) / len(pairs)
    if settings.continuity:
        squares = torch.stack([((x[i] - x[j]) ** 2).sum() for i, j in pairs])
        near = torch.exp(-squares / squares.median())
        apart = torch.stack([(outputs[i] - outputs[j]) ** 2 for i, j in pairs])
        total = total + settings.continuity * (near * apart).sum() / len(pairs)
    return total


@dataclasses.dataclass
class Slow:
    losses: list[float]
    taus: list[float]
    best_epoch: int
    scores: np.ndarray  # of `others`, by the kept weights


def slow_fit(data: tuple[np.ndarray, np.ndarray], settings: LeNetSettings, seed: int, others: np.ndarray) -> Slow:
    """scikit-learn's scaler, min-max labels, Adam, the loss over a double loop, the epoch with the best tau.

    What `rng` decides, in this order: the initial weights (one LeNet under `torch_seeded`), then one permutation of the
    architectures for every epoch.
    """
    tensors, labels = data
    n = len(labels)
    scaler = StandardScaler().fit(tensors.reshape(n, -1).astype(np.float64))

    def standardised(raw: np.ndarray) -> Tensor:
        return torch.from_numpy(scaler.transform(raw.reshape(len(raw), -1).astype(np.float64))).reshape(raw.shape)

    inputs = standardised(tensors)
    targets = torch.from_numpy((labels - labels.min()) / (labels.max() - labels.min()))
    rng = np.random.default_rng(seed)
    with torch_seeded(rng):
        initial = LeNet(tensors.shape[1], tensors.shape[2])
    # Double precision: what is left between the two are the rounding errors of the one that is tested.
    network = Demo(tensors.shape[1], tensors.shape[2]).double()
    with torch.no_grad():
        for mine, theirs in zip(network.parameters(), initial.parameters(), strict=True):
            mine.copy_(theirs)
    adam = torch.optim.Adam(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    slow = Slow([], [], -1, np.zeros(0))
    for epoch in range(settings.num_epochs):
        network.train()
        order = rng.permutation(n).tolist()
        batches = [order[start : start + settings.batch_size] for start in range(0, n, settings.batch_size)]
        if len(batches[-1]) == 1 and len(batches) > 1:
            alone = batches.pop()
            batches[-1] += alone
        weighted = 0.0
        for batch in batches:
            loss = slow_loss(settings, network(inputs[batch]), targets[batch], inputs[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
            weighted += float(loss.detach()) * len(batch)
        slow.losses.append(weighted / n)
        network.eval()
        with torch.no_grad():
            slow.taus.append(float(stats.kendalltau(network(inputs).numpy(), labels).statistic))
            if slow.best_epoch < 0 or slow.taus[epoch] > slow.taus[slow.best_epoch]:
                slow.best_epoch = epoch
                slow.scores = network(standardised(others)).numpy()
    return slow


# Without decay, Adam makes steps of full size out of gradients that are zero but for rounding (of a bias before a batch
# norm, say). With decay nothing is left to chance, and two right implementations stay together.
DECAYING = dataclasses.replace(SHORT, weight_decay=0.1)
VARIANTS = {
    "logistic": DECAYING,
    "hinge": dataclasses.replace(DECAYING, loss="hinge"),
    "exponential": dataclasses.replace(DECAYING, loss="exponential"),
    "mse": dataclasses.replace(DECAYING, loss="mse"),
    "continuity": dataclasses.replace(DECAYING, continuity=0.5),
    "mse and continuity": dataclasses.replace(DECAYING, loss="mse", continuity=0.5),
    "other rates": dataclasses.replace(DECAYING, lr=3e-3, weight_decay=0.5),
    "a last batch of one": dataclasses.replace(DECAYING, batch_size=4),
    "more epochs": dataclasses.replace(DECAYING, num_epochs=8),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_is_the_slow_loop_step_by_step(variant: str):
    """13 cells, 8 steps of Adam or more; float32 against float64, to 1e-4 of the scores' spread."""
    settings, data = VARIANTS[variant], sample(13)
    others = sample(60, seed=1)[0]
    slow = slow_fit(data, settings, 3, others)
    predictor, history = fit(data, settings, 3)
    assert history.loss == pytest.approx(slow.losses, rel=1e-4)
    assert history.train_tau == pytest.approx(slow.taus, abs=1e-6)
    assert history.best_epoch == slow.best_epoch
    np.testing.assert_allclose(predictor.predict(others), slow.scores, atol=1e-4 * slow.scores.std(), rtol=0)


@pytest.mark.parametrize("space", ["nasbench101", "nasbench201"])
def test_training_with_the_demos_settings_is_the_slow_loop(space: str):
    """One batch, no decay: to 3 % of the spread, and to a shift of all scores, to which the ranking loss is blind."""
    data, others = sample(13, space), sample(40, space, seed=1)[0]
    # Within the range of the training cells: outside of it there are features without a scale, of a million and more,
    # and what they give depends on rounding.
    others = np.clip(others, data[0].min(0), data[0].max(0))
    settings = dataclasses.replace(SHORT, batch_size=1024)
    slow = slow_fit(data, settings, 2, others)
    predictor, history = fit(data, settings, 2)
    assert history.loss == pytest.approx(slow.losses, rel=3e-3)
    difference = predictor.predict(others) - slow.scores
    assert np.abs(difference - difference.mean()).max() < 0.03 * slow.scores.std()


# the written-out passes against autograd ----------------------------------------------------------------------------


def both_ways(
    tensors: np.ndarray, labels: np.ndarray, settings: LeNetSettings, dtype: torch.dtype = torch.float64
) -> list[list[Any]]:
    """Of FastTraining and TorchTraining, from the same weights and batches: losses, outputs, final weights."""
    inputs = torch.from_numpy(Standardizer.fit(tensors)(tensors)).to(dtype)
    targets = torch.from_numpy(labels - labels.min()).to(dtype) / np.ptp(labels)
    loss_of = make_loss(settings.loss)
    made = []
    for kind in (FastTraining, TorchTraining):
        torch.manual_seed(0)
        network = LeNet(*tensors.shape[1:3]).to(dtype)
        training = kind(network, inputs, settings.lr, settings.weight_decay)
        rng = np.random.default_rng(0)
        losses, outputs = [], []
        for _ in range(settings.num_epochs):
            for rows in torch.from_numpy(rng.permutation(len(labels))).split(settings.batch_size):

                def loss(scores: Tensor, rows: Tensor = rows) -> Tensor:
                    return loss_of(scores, targets[rows]) + settings.continuity * continuity_term(scores, inputs[rows])

                losses.append(float(training.step(rows, loss)))
            outputs.append(training.outputs())
        training.load(training.state())
        made.append([losses, np.array(outputs), {name: value.clone() for name, value in network.state_dict().items()}])
    return made


STEPS = dataclasses.replace(DECAYING, num_epochs=10, batch_size=1024)
DENSE = np.random.default_rng(0).normal(size=(26, 3, 5, 5))
PASSES: dict[str, tuple[np.ndarray, LeNetSettings]] = {
    "cells of NAS-Bench-101": (sample(26, "nasbench101")[0], STEPS),
    "cells of NAS-Bench-201": (sample(26)[0], STEPS),
    "types alone": (sample(26, "nasbench101")[0][:, :1], STEPS),
    "entries everywhere": (DENSE, STEPS),
    "a single entry": (np.triu(DENSE, 1)[:, :, :2, :2], STEPS),
    "one vertex": (DENSE[:, :, :1, :1], STEPS),
    "regression": (sample(26)[0], dataclasses.replace(STEPS, loss="mse")),
    "continuity": (sample(26)[0], dataclasses.replace(STEPS, continuity=0.5)),
    "several batches": (sample(26)[0], dataclasses.replace(STEPS, batch_size=8, num_epochs=3)),
    "gains that turn": (sample(26)[0], dataclasses.replace(STEPS, lr=0.2)),
}


@pytest.mark.parametrize(("case", "part"), [*((case, 256) for case in PASSES), ("one vertex", 3), ("types alone", 5)])
def test_the_passes_written_out_are_those_of_autograd(case: str, part: int, monkeypatch: pytest.MonkeyPatch):
    """In double precision, over ten steps of Adam, to the last digits; whatever the parts that a batch is cut into."""
    monkeypatch.setattr(fast_training, "PART", part)
    monkeypatch.setattr(fast_training, "EVALUATED", 25)  # one of the 26 comes alone
    tensors, settings = PASSES[case]
    (losses, outputs, weights), (its_losses, its_outputs, its_weights) = both_ways(tensors, sample(26)[1], settings)
    assert losses == pytest.approx(its_losses, rel=1e-10)
    np.testing.assert_allclose(outputs, its_outputs, rtol=1e-8, atol=1e-8 * np.abs(its_outputs).max())
    assert weights.keys() == its_weights.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value, its_weights[name], rtol=1e-8, atol=1e-8)


def test_without_decay_the_passes_differ_in_what_batch_norm_takes_away_only():
    """The gradient of a bias before it is zero, of which autograd makes steps of full size out of rounding."""
    settings = dataclasses.replace(STEPS, weight_decay=0.0)
    (losses, _, weights), (its_losses, _, its_weights) = both_ways(*sample(26), settings)
    assert losses == pytest.approx(its_losses, rel=1e-10)
    torch.manual_seed(0)
    initial = LeNet(*sample(26)[0].shape[1:3]).double().state_dict()
    for name in ("features.0.bias", "features.3.bias"):
        assert torch.equal(weights[name], initial[name])
    for name in ("features.0.weight", "features.3.weight", "features.4.running_var", "head.1.weight", "head.3.weight"):
        torch.testing.assert_close(weights[name], its_weights[name], rtol=1e-7, atol=1e-7)
        assert not torch.allclose(weights[name], initial[name], atol=1e-4)


def test_in_single_precision_both_ways_end_with_the_same_order():
    settings = LeNetSettings(num_epochs=30)
    tensors, labels = sample(60)
    (losses, outputs, _), (its_losses, its_outputs, _) = both_ways(tensors, labels, settings, torch.float32)
    assert outputs.dtype == np.float32
    assert losses[:10] == pytest.approx(its_losses[:10], rel=5e-3)  # training amplifies what rounding there is
    taus, its_taus = ([stats.kendalltau(scores, labels).statistic for scores in s] for s in (outputs, its_outputs))
    assert max(taus) == pytest.approx(max(its_taus), abs=0.02)


def test_the_number_of_threads_does_not_change_training():
    data, others = sample(20), sample(60, seed=1)[0]
    alone = fit(data, DECAYING)[0].predict(others)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        together, _ = fit(data, DECAYING)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(together.predict(others), alone, atol=1e-4 * alone.std(), rtol=0)


def test_training_on_the_cpu_does_not_import_the_compiler():
    """torch.optim's classes would, which takes longer than a second."""
    code = (
        "import sys, numpy as np\nfrom renas.predictor import LeNetPredictor\n"
        "from renas.settings import LeNetSettings\n"
        "x, y = np.random.default_rng(0).normal(size=(2, 6, 1, 3, 3)), np.arange(6.0)\n"
        "predictor = LeNetPredictor(LeNetSettings(num_epochs=2))\npredictor.device = 'cpu'\n"
        "predictor.fit(x[0], y, np.random.default_rng(0))\npredictor.predict(x[0])\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_defaults_are_the_demos():
    assert LeNetSettings() == LeNetSettings(
        lr=1e-3, weight_decay=0.0, num_epochs=200, batch_size=1024, loss="logistic", continuity=0.0
    )


# randomness --------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_predictor_and_another_one_does_not():
    data, others = sample(20), sample(60, seed=1)[0]
    (first, history), (again, its_history), (other, _) = (fit(data, SHORT, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.predict(others), again.predict(others))
    assert history == its_history
    assert not np.allclose(first.predict(others), other.predict(others), atol=0.01)


def test_training_neither_uses_nor_moves_the_global_generators():
    data, others = sample(20), sample(60, seed=1)[0]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    first = fit(data, SHORT)[0].predict(others)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    torch.manual_seed(2)
    assert np.array_equal(fit(data, SHORT)[0].predict(others), first)


def test_the_order_of_the_batches_comes_from_the_generator():
    """Weights alone do not decide: with one batch of all, training follows the slow loop without any order."""
    rng = np.random.default_rng(0)
    LeNetPredictor(SHORT).fit(*sample(20), rng)
    used = np.random.default_rng(0)
    used.integers(2**63)
    for _ in range(SHORT.num_epochs):
        used.permutation(20)
    assert rng.bit_generator.state == used.bit_generator.state


# the epoch that is kept --------------------------------------------------------------------------------------------

RESTLESS = LeNetSettings(num_epochs=10, batch_size=4, lr=3e-2)


@pytest.mark.parametrize(("count", "seed"), [(20, 5), (20, 7), (12, 3)])
def test_the_weights_of_the_first_epoch_with_the_best_training_tau_are_kept(count: int, seed: int):
    data = sample(count)
    predictor, history = fit(data, RESTLESS, seed)
    taus = history.train_tau
    assert len(history.loss) == len(taus) == 10
    assert history.best_epoch == int(np.argmax(taus)) < 9  # not simply the last one
    assert stats.kendalltau(predictor.predict(data[0]), data[1]).statistic == pytest.approx(max(taus), abs=1e-9)
    until_then = dataclasses.replace(RESTLESS, num_epochs=history.best_epoch + 1)
    others = sample(60, seed=1)[0]
    np.testing.assert_allclose(predictor.predict(others), fit(data, until_then, seed)[0].predict(others), rtol=1e-6)


@pytest.mark.parametrize(
    ("taus", "best"),
    [((math.nan, math.nan, -0.5, -0.25), 3), ((0.5, math.nan, 0.25, 0.5), 0), ((math.nan,) * 4, 3)],
)
def test_an_epoch_whose_tau_is_no_number_is_never_the_best(
    taus: tuple[float, ...], best: int, monkeypatch: pytest.MonkeyPatch
):
    left = iter(taus)
    monkeypatch.setattr(training_module, "kendall_tau", lambda *_: next(left))
    assert fit(sample(20), SHORT)[1].best_epoch == best


def test_every_epoch_reports_its_training_tau():
    seen: list[tuple[float, float]] = []
    predictor = LeNetPredictor(SHORT)
    predictor.fit(*sample(20), np.random.default_rng(0), on_step=lambda done, tau: seen.append((done, tau)))
    assert [done for done, _ in seen] == [0.25, 0.5, 0.75, 1]
    assert [tau for _, tau in seen] == predictor.curve.train_tau
    assert all(-1 <= tau <= 1 for _, tau in seen)


# small and odd samples ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "size"), [(2, 1024), (3, 2), (9, 4), (9, 8), (5, 2)])
def test_no_batch_is_left_with_a_single_architecture(count: int, size: int):
    """A batch of one has no pair: its loss would be 0/0."""
    tensors, labels = sample(20)
    settings = dataclasses.replace(SHORT, batch_size=size)
    predictor, history = fit((tensors[-count:], labels[-count:]), settings)
    assert np.isfinite(history.loss).all()
    assert np.isfinite(predictor.predict(tensors)).all()


def test_labels_that_are_all_equal_are_no_error():
    tensors, _ = sample(20)
    predictor, history = fit((tensors, np.full(20, 90.0)), SHORT)
    assert all(map(math.isnan, history.train_tau))
    assert history.loss == pytest.approx([math.log(2)] * 4)
    assert np.isfinite(predictor.predict(tensors)).all()


def test_a_diverged_training_ends():
    _, history = fit(sample(20), dataclasses.replace(SHORT, lr=1e30))
    assert len(history.train_tau) == 4
    assert math.isnan(history.train_tau[-1])


# invariances -------------------------------------------------------------------------------------------------------


def test_ranking_losses_see_only_the_order_of_the_labels():
    tensors, labels = sample(20)
    others = sample(60, seed=1)[0]
    first = fit((tensors, labels), SHORT)[0].predict(others)
    assert np.array_equal(fit((tensors, np.exp(labels / 9)), SHORT)[0].predict(others), first)
    assert not np.allclose(fit((tensors, -labels), SHORT)[0].predict(others), first, atol=0.01)


def test_regression_sees_the_labels_between_their_least_and_greatest():
    tensors, labels = sample(20)
    others = sample(60, seed=1)[0]
    settings = dataclasses.replace(SHORT, loss="mse")
    first = fit((tensors, labels), settings)[0].predict(others)
    assert np.array_equal(fit((tensors, 4 * labels), settings)[0].predict(others), first)
    np.testing.assert_allclose(fit((tensors, labels / 3 - 7), settings)[0].predict(others), first, atol=1e-3)
    assert not np.allclose(fit((tensors, np.exp(labels / 9)), settings)[0].predict(others), first, atol=0.01)


def test_the_unit_of_the_features_does_not_matter():
    tensors, labels = sample(20)
    others = sample(60, seed=1)[0]
    first = fit((tensors, labels), SHORT)[0].predict(others)
    units = 2.0 ** np.random.default_rng(0).integers(-3, 4, size=tensors.shape[1:]).astype(np.float32)
    assert np.array_equal(fit((tensors * units, labels), SHORT)[0].predict(others * units), first)
    wide = fit((tensors.astype(np.float64), labels), SHORT)[0]
    assert np.array_equal(wide.predict(others.astype(np.float64)), first)


def test_the_predictor_learns_the_order_of_its_training_sample():
    data, (others, truth) = sample(60), sample(300, seed=1)
    predictor, history = fit(data, LeNetSettings(num_epochs=30))
    assert history.loss[-1] < 0.7 * history.loss[0]
    assert max(history.train_tau) > 0.8
    assert stats.kendalltau(predictor.predict(others), truth).statistic > 0.35
