"""Training to the end: the recipe's parts by hand, going on after a kill, and how several processes share the work."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from common.datasets.batch import augmented, cut_out
from common.datasets.images import ImageSet, load_images
from common.datasets.record import Augmentation
from common.errors import InputError
from common.networks.base import TappedNetwork
from common.training import classifier
from common.training.classifier import count_right
from common.training.processes import Processes
from common.training.retraining import Objective, RetrainSettings, retrain, shares_of_epoch

ALONE = Processes(torch.device("cpu"))
SETTINGS = RetrainSettings(epochs=4, batch_size=50, lr=0.1, cutout=2)


class Small(TappedNetwork):
    """Convolution - batch norm - ReLU - drop path - linear, and a second linear layer as the auxiliary head."""

    def __init__(self) -> None:
        super().__init__()
        self.drop_path = 0.0
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.linear, self.auxiliary = nn.Linear(16 * 64, 10), nn.Linear(16 * 64, 10)
        self.dropped: list[float] = []  # the drop path of every training step

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.forward_auxiliary(x)[0], ()

    def forward_auxiliary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(x)
        if self.training:
            self.dropped.append(self.drop_path)
            x = x * (torch.rand(len(x), 1, 1, 1) >= self.drop_path)
        return self.linear(x.flatten(1)), self.auxiliary(x.flatten(1))


def small(seed: int = 0) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Small()


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    images = load_images("digits")
    return dataclasses.replace(images, x_train=images.x_train[:320], y_train=images.y_train[:320])


def train(network: Any, images: ImageSet, settings: RetrainSettings = SETTINGS, seed: int = 0, **more: Any) -> Any:
    return retrain(network, images, settings, np.random.default_rng(seed), ALONE, **more)


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def untimed(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if not key.endswith("_s")} for record in records]


def test_training_learns_by_the_published_schedules_and_records_every_epoch(digits: ImageSet) -> None:
    network, steps, counts = small(), [], []
    records = train(
        network,
        digits,
        dataclasses.replace(SETTINGS, test_every=3),
        on_step=lambda *step: steps.append(step),
        on_epoch=lambda records: counts.append(len(records)),
    )
    assert not network.training
    assert records[-1]["test_error"] < 30
    assert records[-1]["test_acc"] == 100 - records[-1]["test_error"] == 100 * count_right(network, digits) / 360
    assert [record["test_acc"] is not None for record in records] == [False, False, True, True]
    assert records[-1]["loss"] < 0.7 * records[0]["loss"]
    assert [record["epoch"] for record in records] == counts == [1, 2, 3, 4]
    assert steps == [(step, 28) for step in range(1, 29)]  # 7 steps an epoch, the last of 20 images
    # Cosine from 0.1 to 0 over 28 steps; drop path in quarters of 0.2, constant within an epoch.
    last_steps = [6, 13, 20, 27]
    assert [record["lr"] for record in records] == pytest.approx(
        [0.05 * (1 + math.cos(math.pi * step / 28)) for step in last_steps]
    )
    expected = [0.0, 0.05, 0.1, 0.15]
    assert [record["drop_path"] for record in records] == pytest.approx(expected)
    assert network.dropped == pytest.approx([p for p in expected for _ in range(7)])


def test_loss_is_smoothed_cross_entropy_plus_the_weighted_auxiliary_one() -> None:
    network = small().eval()
    x, y = torch.randn(6, 3, 8, 8), torch.arange(6)

    def smoothed(logits: Tensor, smoothing: float) -> Tensor:
        target = torch.full_like(logits, smoothing / 10)
        target[torch.arange(6), y] += 1 - smoothing
        return -(target * logits.log_softmax(1)).sum(1).mean()

    logits, auxiliary = network.forward_auxiliary(x)
    for smoothing, weight in ((0.0, 0.4), (0.1, 0.4), (0.1, 0.0)):
        settings = RetrainSettings(label_smoothing=smoothing, auxiliary_weight=weight)
        loss, answered = Objective(network, settings)(x, y)
        torch.testing.assert_close(loss, smoothed(logits, smoothing) + weight * smoothed(auxiliary, smoothing))
        torch.testing.assert_close(answered, logits)


@pytest.mark.parametrize("clip", [0.0, 0.01, 1e3])
def test_one_step_follows_the_gradient_scaled_to_the_largest_norm(digits: ImageSet, clip: float) -> None:
    images = dataclasses.replace(
        digits, x_train=digits.x_train[:50], y_train=digits.y_train[:50], augmentation=Augmentation()
    )
    settings = dataclasses.replace(SETTINGS, epochs=1, lr=0.2, weight_decay=0.0, clip=clip, cutout=0)
    trained, reference = small(), small()
    train(trained, images, settings)
    order = np.random.default_rng(0).permutation(50)
    x, y = classifier.normalised(images, order, "train"), torch.from_numpy(images.y_train[order])
    Objective(reference, settings)(x, y)[0].backward()
    norm = torch.stack([p.grad.norm() for p in reference.parameters()]).norm()
    assert 0.01 < norm < 1e3
    scale = 0.01 / norm if clip == 0.01 else 1.0
    for new, old in zip(trained.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(new, old - 0.2 * scale * old.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("side", [1, 4, 5])
def test_cutout_zeroes_a_square_around_a_random_pixel_as_far_as_it_is_inside(side: int) -> None:
    cut = cut_out(torch.ones(40, 3, 8, 6), side, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(8, size=40), rng.integers(6, size=40)
    expected = torch.ones(40, 3, 8, 6)
    for image, row, column in zip(expected, rows, columns, strict=True):
        top, left = row - side // 2, column - side // 2
        image[:, max(top, 0) : top + side, max(left, 0) : left + side] = 0
    assert torch.equal(cut, expected)
    assert len({int(image.sum()) for image in cut}) > 1 or side == 1  # some squares reach over the border


def test_cutout_changes_nothing_else_and_follows_the_generator(digits: ImageSet) -> None:
    rows = np.arange(20)
    plain, cut, again = (augmented(digits, rows, np.random.default_rng(3), cutout=side) for side in (0, 4, 4))
    assert torch.equal(cut, again)
    kept = cut != 0
    assert torch.equal(cut[kept], plain[kept])
    zeros = (~kept).all(1).sum((1, 2))
    assert torch.all((zeros >= 4) & (zeros <= 16))


class KilledError(Exception):
    pass


def test_a_killed_training_goes_on_and_ends_like_one_that_was_not(
    digits: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "SAVE_EVERY_S", -1.0)

    def kill(done: int, total: int) -> None:
        if done == 2 * 7 + 3:
            raise KilledError

    whole, killed, resumed, other = small(), small(), small(seed=5), small()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    records = train(whole, digits)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(KilledError):
        train(killed, digits, checkpoint=tmp_path / "c", on_step=kill)
    torch.manual_seed(2)  # drop path follows the given generator alone
    steps: list[int] = []
    again = train(resumed, digits, checkpoint=tmp_path / "c", on_step=lambda done, total: steps.append(done))
    assert steps == list(range(15, 29))
    assert same_weights(whole, resumed)
    assert untimed(again) == untimed(records)
    train(other, digits, seed=1)
    assert not same_weights(whole, other)


def test_a_checkpoint_of_another_recipe_or_number_of_processes_is_refused(digits: ImageSet, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, epochs=1)
    train(small(), digits, settings, checkpoint=tmp_path / "c")
    with pytest.raises(InputError, match=r"another training \(cutout is 2 there, 3 here\)"):
        train(small(), digits, dataclasses.replace(settings, cutout=3), checkpoint=tmp_path / "c")
    two = Processes(torch.device("cpu"), rank=1, count=2)
    with pytest.raises(InputError, match=r"another training \(processes is 1 there, 2 here\)"):
        retrain(small(), digits, settings, np.random.default_rng(0), two, tmp_path / "c")


def test_a_training_that_diverges_says_so(digits: ImageSet) -> None:
    with pytest.raises(InputError, match=r"training loss is (nan|inf) in epoch 1: lower the learning rate"):
        train(small(), digits, dataclasses.replace(SETTINGS, lr=1e30, clip=0.0))


def test_bfloat16_learns_too(digits: ImageSet) -> None:
    network = small()
    records = train(network, digits, dataclasses.replace(SETTINGS, bf16=True))
    assert records[-1]["test_error"] < 30
    assert all(p.dtype == torch.float32 for p in network.parameters())


def test_processes_share_every_step_evenly_and_no_image_twice(digits: ImageSet) -> None:
    settings = RetrainSettings(batch_size=50)
    order = np.arange(320)
    of_rank = [
        [order[share] for share in shares_of_epoch(digits, settings, Processes(torch.device("cpu"), rank, 3))]
        for rank in range(3)
    ]
    assert [[len(rows) for rows in shares] for shares in of_rank] == [[50, 50, 6]] * 3  # 150, 150, 18 of the 20 left
    for step, start in enumerate((0, 150, 300)):
        together = np.concatenate([shares[step] for shares in of_rank])
        assert sorted(together) == list(range(start, start + len(together)))
    alone = shares_of_epoch(digits, dataclasses.replace(settings, batch_size=29), ALONE)
    assert len(alone) == 11  # 319 images; batch norm could do nothing with the one that is left
    with pytest.raises(InputError, match="320 training images are too few for 161 processes"):
        shares_of_epoch(digits, settings, Processes(torch.device("cpu"), 0, 161))


def test_the_right_answers_of_all_shares_add_up(digits: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "EVALUATION_BATCH", 70)
    network = small().eval()
    counts = [count_right(network, digits, first=first, stride=4) for first in range(4)]
    assert sum(counts) == count_right(network, digits)
    assert min(counts) > 0
