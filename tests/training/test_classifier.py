"""Training a classifier: it learns, it goes on where it was killed, and its accuracy is counted right."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from common.datasets.images import ImageSet, load_images
from common.datasets.record import Augmentation
from common.errors import InputError
from common.networks.base import TappedNetwork
from common.training import classifier
from common.training.classifier import ClassifierSettings, evaluate, learning_rate, train_classifier

SETTINGS = ClassifierSettings(epochs=4, batch_size=50, lr=0.1)


class Small(TappedNetwork):
    """Convolution - batch norm - ReLU - linear."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.linear = nn.Linear(width * 64, 10)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = self.body(x)
        return self.linear(x.flatten(1)), (x,)


def small(seed: int = 0, width: int = 16) -> Small:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Small(width)


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    images = load_images("digits")
    return dataclasses.replace(images, x_train=images.x_train[:400], y_train=images.y_train[:400])


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_training_learns_and_reports_every_epoch(digits: ImageSet) -> None:
    network, seen = small(), []
    history = train_classifier(
        network, digits, SETTINGS, np.random.default_rng(0), on_epoch=lambda *args: seen.append(args)
    )
    assert evaluate(network, digits) > 80
    assert not network.training
    assert history.loss[-1] < history.loss[0] / 2
    assert seen == [(i + 1, history.loss[i], history.train_acc[i]) for i in range(4)]
    assert all(0 <= acc <= 100 for acc in history.train_acc)


def test_training_follows_its_generator(digits: ImageSet) -> None:
    networks = [small() for _ in range(3)]
    for network, seed in zip(networks, (0, 0, 1), strict=True):
        train_classifier(network, digits, dataclasses.replace(SETTINGS, epochs=1), np.random.default_rng(seed))
    assert same_weights(networks[0], networks[1])
    assert not same_weights(networks[0], networks[2])


def test_one_step_is_sgd_with_weight_decay_at_the_scheduled_rate(digits: ImageSet) -> None:
    images = dataclasses.replace(
        digits, x_train=digits.x_train[:50], y_train=digits.y_train[:50], augmentation=Augmentation()
    )
    settings = ClassifierSettings(epochs=1, batch_size=50, lr=0.2, weight_decay=0.1)
    trained, reference = small(), small()
    train_classifier(trained, images, settings, np.random.default_rng(0))
    order = np.random.default_rng(0).permutation(50)
    x = classifier.normalised(images, order, "train")
    nn.functional.cross_entropy(reference(x), torch.from_numpy(images.y_train[order])).backward()
    for new, old in zip(trained.parameters(), reference.parameters(), strict=True):
        assert old.grad is not None
        torch.testing.assert_close(new, old - 0.2 * (old.grad + 0.1 * old), rtol=1e-4, atol=1e-6)


def test_the_learning_rate_warms_up_then_falls_as_a_cosine() -> None:
    settings = ClassifierSettings(epochs=10, lr=0.4, warmup_epochs=2)
    rates = [learning_rate(settings, step, 5) for step in range(50)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) * 0.04)
    assert rates[10] == 0.4
    assert rates[30] == pytest.approx(0.2)  # half of the cosine
    assert 0 < rates[-1] < 0.001
    assert np.all(np.diff(rates[10:]) < 0)


class KilledError(Exception):
    pass


def kill_at(epoch: int) -> Any:
    def on_epoch(done: int, loss: float, acc: float) -> None:
        if done == epoch:
            raise KilledError

    return on_epoch


def test_a_killed_training_goes_on_and_ends_like_one_that_was_not(
    digits: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "SAVE_EVERY_S", -1.0)
    whole, killed, resumed = small(), small(), small(seed=5)
    history = train_classifier(whole, digits, SETTINGS, np.random.default_rng(0))
    with pytest.raises(KilledError):
        train_classifier(killed, digits, SETTINGS, np.random.default_rng(0), "cpu", tmp_path / "c", kill_at(2))
    seen: list[int] = []
    again = train_classifier(
        resumed, digits, SETTINGS, np.random.default_rng(0), "cpu", tmp_path / "c", lambda epoch, *_: seen.append(epoch)
    )
    assert seen == [3, 4]
    assert same_weights(whole, resumed)
    assert (again.loss, again.train_acc) == (history.loss, history.train_acc)
    finished = small(seed=6)
    train_classifier(finished, digits, SETTINGS, np.random.default_rng(0), "cpu", tmp_path / "c", kill_at(4))
    assert same_weights(whole, finished)  # nothing left to do: no epoch ran


def test_a_checkpoint_of_another_training_is_refused(digits: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "c"
    settings = dataclasses.replace(SETTINGS, epochs=1)

    def train(network: nn.Module, images: ImageSet, changed: ClassifierSettings, seed: int = 0) -> None:
        train_classifier(network, images, changed, np.random.default_rng(seed), "cpu", path)

    train(small(), digits, settings)
    with pytest.raises(InputError, match=r"of another training \(lr is 0.1 there, 0.2 here\)"):
        train(small(), digits, dataclasses.replace(settings, lr=0.2))
    with pytest.raises(InputError, match=r"of another training \(images is"):
        train(small(), dataclasses.replace(digits, sha256="other"), settings)
    with pytest.raises(InputError, match=r"of another training \(random state"):
        train(small(), digits, settings, seed=1)
    with pytest.raises(InputError, match="of another network, or damaged") as caught:
        train(small(width=8), digits, settings)
    assert "\n" not in str(caught.value)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="not a PyTorch checkpoint"):
        train(small(), digits, settings)


def test_a_training_that_diverges_says_so(digits: ImageSet) -> None:
    with pytest.raises(InputError, match=r"training loss is (nan|inf) in epoch 1: lower the learning rate"):
        train_classifier(small(), digits, dataclasses.replace(SETTINGS, lr=1e30), np.random.default_rng(0))


def test_bfloat16_learns_too(digits: ImageSet) -> None:
    network = small()
    train_classifier(network, digits, dataclasses.replace(SETTINGS, bf16=True), np.random.default_rng(0))
    assert evaluate(network, digits) > 80
    assert all(p.dtype == torch.float32 for p in network.parameters())


class Always(TappedNetwork):
    """Says one class; its batch norm shows whether statistics were moved."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label, self.norm = label, nn.BatchNorm2d(3)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        self.norm(x)
        return nn.functional.one_hot(torch.full((len(x),), self.label), 10).float(), ()


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("training", [False, True])
def test_accuracy_is_the_percentage_of_right_answers_and_leaves_the_network_as_it_was(
    digits: ImageSet, mode: str, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "EVALUATION_BATCH", 77)  # a last batch that is not full
    network = Always(3).train(training)
    assert evaluate(network, digits, mode=mode) == pytest.approx(100 * np.mean(digits.y_test == 3))
    assert evaluate(network, digits, mode=mode, split="train") == pytest.approx(100 * np.mean(digits.y_train == 3))
    assert network.training == training
    assert torch.equal(network.norm.running_mean, torch.zeros(3))  # type: ignore[arg-type]
