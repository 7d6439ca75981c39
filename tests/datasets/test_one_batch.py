"""Augmentation, held against a slow reference, and the selection of the one batch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from common.datasets import DATASETS, data_set
from common.datasets.batch import augmented, normalised, select_batch
from common.datasets.images import ImageSet, load_images
from common.datasets.record import Augmentation
from common.errors import InputError
from common.networks.base import TappedNetwork

UNCHANGED = Augmentation()


def image_set(count: int = 40, size: int = 8, augmentation: Augmentation = UNCHANGED, classes: int = 10) -> ImageSet:
    """Every pixel is positive, so that black can only come from outside; the first pixel numbers the image."""
    rng = np.random.default_rng(1)
    x = rng.integers(1, 256, size=(count, size, size, 3), dtype=np.uint8)
    x[:, 0, 0, 0] = np.arange(count) + 1
    y = np.arange(count) % classes
    return ImageSet(
        "toy", x, y, x[::-1].copy(), y[::-1].copy(), classes, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), augmentation, "test", ""
    )


def pixels(images: ImageSet, x: Tensor) -> np.ndarray:
    """Undoes the standardisation: (n, H, W, 3) uint8."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (images.mean, images.std))
    return ((x * std + mean) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def test_normalised_images_are_the_images_scaled_and_standardised() -> None:
    images = image_set()
    x = normalised(images, slice(2, 5), "test")
    assert x.shape == (3, 3, 8, 8)
    assert x.dtype == torch.float32
    expected = (images.x_test[3, 1, 2, 1] / 255 - 0.2) / 0.6
    assert float(x[1, 1, 1, 2]) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(pixels(images, x), images.x_test[2:5])


def test_without_augmentation_training_images_stay_as_they_are() -> None:
    images = image_set()
    rows = np.array([4, 1, 4])
    torch.testing.assert_close(
        augmented(images, rows, np.random.default_rng(0)), normalised(images, rows, "train"), rtol=0, atol=0
    )


def test_every_augmented_image_is_a_crop_of_the_bordered_image_or_its_mirror() -> None:
    images = image_set(augmentation=Augmentation(pad=2, flip=True))
    rows = np.arange(40).repeat(10)
    found = pixels(images, augmented(images, rows, np.random.default_rng(0)))
    seen = set()
    for row, image in zip(rows, found, strict=True):
        bordered = np.pad(images.x_train[row], ((2, 2), (2, 2), (0, 0)))
        matches = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if np.array_equal(image, bordered[top : top + 8, left : left + 8][:, :: -1 if mirrored else 1])
        ]
        assert len(matches) == 1
        seen.update(matches)
    assert len(seen) == 50  # all shifts with and without mirror do occur


class FixedTurn:
    """A generator that turns every image by the largest angle and moves none."""

    def integers(self, low: int, high: int, size: tuple[int, ...]) -> np.ndarray:
        return np.zeros(size, dtype=np.int64)

    def uniform(self, low: float, high: float, size: tuple[int, ...]) -> np.ndarray:
        return np.full(size, high)


def test_a_turn_by_a_right_angle_is_exact_and_one_of_45_degrees_leaves_black_corners() -> None:
    images = image_set(augmentation=Augmentation(degrees=90.0))
    turned = pixels(images, augmented(images, np.array([3]), FixedTurn()))[0]  # type: ignore[arg-type]
    np.testing.assert_array_equal(turned, np.rot90(images.x_train[3], k=-1))
    images = dataclasses.replace(images, augmentation=Augmentation(degrees=45.0))
    turned = pixels(images, augmented(images, np.array([3]), FixedTurn()))[0]  # type: ignore[arg-type]
    assert (turned[[0, 0, -1, -1], [0, -1, 0, -1]] == 0).all()
    assert (turned[3:5, 3:5] > 0).all()


@pytest.mark.parametrize("how", [Augmentation(), *(data_set(name).augmentation for name in DATASETS)])
def test_augmentation_follows_its_generator(how: Augmentation) -> None:
    images, rows = image_set(augmentation=how), np.arange(40)
    first, again, other = (augmented(images, rows, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (how == Augmentation())


# the one batch -----------------------------------------------------------------------------------------------------


class ByNumber(TappedNetwork):
    """Knows an image by its first pixel; `confidence[number]` is the logit of the right class."""

    def __init__(self, images: ImageSet, confidence: np.ndarray) -> None:
        super().__init__()
        self.images, self.confidence = images, torch.from_numpy(confidence).float()

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        rows = pixels(self.images, x)[:, 0, 0, 0].astype(int) - 1
        right = torch.from_numpy(self.images.y_train[rows])
        return nn.functional.one_hot(right, 10) * self.confidence[rows].unsqueeze(1), ()


def test_the_best_classified_of_the_drawn_images_are_kept() -> None:
    images = image_set()
    confidence = np.random.default_rng(3).permutation(40).astype(float) / 10
    chosen = select_batch(images, ByNumber(images, confidence), 5, np.random.default_rng(0), pool=4)
    drawn = np.random.default_rng(0).choice(40, size=20, replace=False)
    expected = drawn[np.argsort(-confidence[drawn])][:5]
    assert chosen.rows.tolist() == expected.tolist()
    assert chosen.y.tolist() == images.y_train[expected].tolist()
    np.testing.assert_array_equal(pixels(images, chosen.x), images.x_train[expected])
    np.testing.assert_allclose(
        chosen.losses, np.log(9 + np.exp(confidence[expected])) - confidence[expected], rtol=1e-5
    )


def test_equally_well_classified_images_are_kept_in_the_order_they_were_drawn() -> None:
    images = image_set()
    confidence = np.where(np.arange(40) % 2, 200.0, 1.0)  # every second has a cross-entropy of exactly 0
    chosen = select_batch(images, ByNumber(images, confidence), 5, np.random.default_rng(0), pool=8)
    drawn = np.random.default_rng(0).choice(40, size=40, replace=False)
    assert chosen.rows.tolist() == [row for row in drawn if row % 2][:5]
    assert chosen.losses.tolist() == [0.0] * 5


def test_a_batch_that_the_images_or_the_teacher_do_not_fit_is_refused() -> None:
    images = image_set()
    teacher = ByNumber(images, np.ones(40))
    with pytest.raises(InputError, match="16 x 5 training images, there are 40"):
        select_batch(images, teacher, 5, np.random.default_rng(0))
    with pytest.raises(InputError, match="the teacher has 10 classes, toy has 11"):
        select_batch(dataclasses.replace(images, num_classes=11), teacher, 5, np.random.default_rng(0), pool=2)


class Normed(TappedNetwork):
    """A batch norm before a linear layer; its running statistics are far from those of any batch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.linear = nn.Linear(3, 10)
        nn.init.constant_(self.norm.running_mean, 5.0)  # type: ignore[arg-type]

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = self.norm(x)
        return self.linear(x.mean((2, 3))), (x,)


def test_train_mode_uses_the_statistics_of_the_drawn_batch_and_leaves_the_teacher_as_it_was() -> None:
    torch.manual_seed(0)
    images, teacher = load_images("digits"), Normed().eval()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    by_mode = {m: select_batch(images, teacher, 64, np.random.default_rng(0), 1, m) for m in ("eval", "train")}
    x = by_mode["train"].x  # pool=1 keeps all that was drawn
    x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True, correction=0)
    with torch.inference_mode():
        logits = teacher.linear(x.mean((2, 3)))
    losses = nn.functional.cross_entropy(logits, by_mode["train"].y, reduction="none")
    np.testing.assert_allclose(by_mode["train"].losses, losses, atol=1e-4)
    assert not np.allclose(by_mode["eval"].losses, by_mode["train"].losses, atol=1e-2)
    assert not teacher.training
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    with pytest.raises(ValueError, match="unknown mode"):
        select_batch(images, teacher, 4, np.random.default_rng(0), teacher_mode="test")
