"""Batches for networks: normalised or augmented as published, and RMI-NAS's one batch of well-classified images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.datasets.images import ImageSet
from common.datasets.pictures import random_crops
from common.datasets.record import Augmentation
from common.errors import InputError
from common.networks.base import TappedNetwork, in_mode

PIXELS_AT_ONCE = 2**22  # 4,096 images of 32 x 32 pixels, 83 of 224 x 224


@dataclass(frozen=True)
class Batch:
    """The one batch on which candidates imitate the teacher, best classified first.

    x: (B, 3, H, W) float32, y: (B,) int64, on the device. rows: (B,) int64, of the training images. losses: (B,)
    float32, the teacher's cross-entropy.
    """

    x: Tensor
    y: Tensor
    rows: np.ndarray
    losses: np.ndarray


def images_at_once(size: int) -> int:
    """How many images of `size` x `size` pixels a network can be given where their number does not matter."""
    return max(1, PIXELS_AT_ONCE // size**2)


def normalised(images: ImageSet, rows: np.ndarray | slice, split: str, device: torch.device | str = "cpu") -> Tensor:
    """(n, 3, H, W) float32: rows of the split ("train" or "test") as they are, standardised by channel."""
    x = {"train": images.x_train, "test": images.x_test}[split]
    return _standardised(images, torch.from_numpy(x[rows]).to(device).permute(0, 3, 1, 2))


def shrunk(x: Tensor, size: int) -> Tensor:
    """(n, 3, size, size): means of the pixels of (n, 3, H, W) images, H = W >= size; the images themselves for 0."""
    if not size or size == x.shape[-1]:
        return x
    return torch.nn.functional.adaptive_avg_pool2d(x, size)


def augmented(
    images: ImageSet,
    rows: np.ndarray,
    rng: np.random.Generator,
    device: torch.device | str = "cpu",
    cutout: int = 0,
) -> Tensor:
    """(n, 3, H, W) float32: training images under the data set's published random augmentation, then standardised.

    The drawn numbers depend on `rng` alone: a batch is drawn alike on every device.

    Args: cutout: side in pixels of the square that is set to the mean colour around a random pixel of every image, as
        far as it lies inside (DeVries & Taylor 2017, as in DARTS); 0 for none.
    """
    how = images.augmentation
    if how.crop:
        changed = torch.from_numpy(random_crops(images.x_train, rows, rng, how.flip)).to(device)
    else:
        changed = _moved(images, rows, how, rng, device)
    x = _standardised(images, changed.permute(0, 3, 1, 2))
    return cut_out(x, cutout, rng) if cutout else x


def _moved(
    images: ImageSet, rows: np.ndarray, how: Augmentation, rng: np.random.Generator, device: torch.device | str
) -> Tensor:
    """(n, H, W, 3) uint8: rows shifted, mirrored and turned."""
    n, size = len(rows), images.image_size
    shift = torch.from_numpy(rng.integers(-how.pad, how.pad + 1, size=(2, n, 1, 1))).to(device)
    mirror = torch.from_numpy(rng.random((n, 1, 1)) < 0.5).to(device) if how.flip else None
    turn = np.deg2rad(rng.uniform(-how.degrees, how.degrees, size=(n, 1, 1))) if how.degrees else None

    # Where every output pixel comes from: crop, mirror, turn is the published order, undone here from the last.
    row, column = (torch.arange(size, device=device).view(shape) for shape in ((1, size, 1), (1, 1, size)))
    inside = torch.ones(1, dtype=torch.bool, device=device)
    if turn is not None:
        centre = (size - 1) / 2
        y, x = row - centre, column - centre
        cos, sin = (torch.from_numpy(part).to(device) for part in (np.cos(turn), np.sin(turn)))
        row = (centre + cos * y - sin * x).round().long()
        column = (centre + sin * y + cos * x).round().long()
        inside = _within(row, size) & _within(column, size)
    if mirror is not None:
        column = torch.where(mirror, size - 1 - column, column)
    row, column = row + shift[0], column + shift[1]
    inside = inside & _within(row, size) & _within(column, size)

    first = torch.arange(n, device=device).view(n, 1, 1) * size * size  # pixel of every image
    source = first + row.clamp(0, size - 1) * size + column.clamp(0, size - 1)
    pixels = torch.from_numpy(images.x_train[rows]).to(device).view(-1, 3)
    return pixels.index_select(0, source.flatten()).view(n, size, size, 3) * inside.unsqueeze(-1)


def cut_out(x: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """(n, C, H, W) with a square of zeros in every image, as far as it lies inside.

    It begins `side // 2` rows and columns before a random pixel.
    """
    n, _, height, width = x.shape
    inside = torch.ones(1, dtype=torch.bool, device=x.device)
    for size, shape in ((height, (1, -1, 1)), (width, (1, 1, -1))):
        begin = torch.from_numpy(rng.integers(size, size=(n, 1, 1)) - side // 2).to(x.device)
        inside = inside & _within(torch.arange(size, device=x.device).view(shape) - begin, side)
    return x.masked_fill(inside.unsqueeze(1), 0)


def select_batch(
    images: ImageSet,
    teacher: TappedNetwork,
    batch_size: int,
    rng: np.random.Generator,
    pool: int = 16,
    teacher_mode: str = "eval",
    device: torch.device | str = "cpu",
) -> Batch:
    """The `batch_size` best classified of `pool` times as many random training images, augmented.

    Well classified is a low cross-entropy of the teacher, all images drawn passing it as one batch. A good teacher's is
    exactly 0 in float32 for many of them; among equals the image that was drawn first wins. (In eval mode large images
    pass it in parts.)

    Args: teacher: on `device`. teacher_mode: "eval", or "train" for batch norm on batch statistics, as published.
    Raises: InputError when there are too few images, or the teacher has fewer classes.
    """
    drawn = pool * batch_size
    if drawn > len(images.x_train):
        raise InputError(
            f"{images.source}: one batch needs {pool} x {batch_size} training images, there are {len(images.x_train)}"
        )
    rows = rng.choice(len(images.x_train), size=drawn, replace=False)
    x = augmented(images, rows, rng, device)
    y = torch.from_numpy(images.y_train[rows]).to(device)
    with torch.inference_mode():
        network = in_mode(teacher, teacher_mode)
        # On batch statistics all images make one batch; otherwise large ones come in parts, for memory's sake.
        parts = x.split(len(x) if teacher_mode == "train" else images_at_once(images.image_size))
        logits = torch.cat([network(part) for part in parts])
    if logits.shape[1] < images.num_classes:
        raise InputError(f"the teacher has {logits.shape[1]} classes, {images.name} has {images.num_classes}")
    losses = torch.nn.functional.cross_entropy(logits.float(), y, reduction="none").cpu().abs()  # no -0.0
    kept = torch.sort(losses, stable=True).indices[:batch_size]
    return Batch(x[kept.to(device)], y[kept.to(device)], rows[kept.numpy()], losses[kept].numpy())


def _within(index: Tensor, size: int) -> Tensor:
    return (index >= 0) & (index < size)


def _standardised(images: ImageSet, x: Tensor) -> Tensor:
    """uint8 (n, 3, H, W) to float32, scaled to [0, 1] and standardised by channel."""
    mean, std = (torch.tensor(v, dtype=torch.float32, device=x.device).view(3, 1, 1) for v in (images.mean, images.std))
    return x.float().div_(255).sub_(mean).div_(std).contiguous()  # in place: a pool of large images fills gigabytes
