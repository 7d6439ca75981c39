"""The images of a data set, in memory or in files, and loading them by name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from common.datasets import data_set
from common.datasets.record import Augmentation, DataSet
from common.errors import InputError


class ImageRows(Protocol):
    """(N, H, W, 3) uint8 images: an array in memory, or files that are decoded when their rows are asked for.

    A data set of files is larger than memory: ask for no more rows at once than are used, and never for all.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any:
        """(n, H, W, 3) uint8 array: the rows of an index array or of a slice."""


@dataclass(frozen=True)
class ImageSet:
    """Images of one size with their classes, split as published.

    x_train, x_test: (N, H, W, 3) uint8, see ImageRows. y_train, y_test: (N,) int64 in [0, num_classes). mean, std: of
    each channel, for pixels scaled to [0, 1]. augmentation: of training images. source: where the images came from.
    sha256: of the four arrays, so that the same images have the same one whatever file they came in; of images that
    stay in their files, of the files' paths and sizes.
    """

    name: str
    x_train: ImageRows
    y_train: np.ndarray
    x_test: ImageRows
    y_test: np.ndarray
    num_classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    augmentation: Augmentation
    source: str
    sha256: str

    @property
    def image_size(self) -> int:
        """Pixels along a side."""
        return int(self.x_train.shape[1])


def load_images(name: str | DataSet, path: str | Path | None = None) -> ImageSet:
    """The images of a data set (see `data_set` for names), from a file or folder of its own format.

    Without a path, CIFAR is downloaded into the cache folder on first use, and digits comes with scikit-learn.
    Raises: InputError when the name is not known and there is no path, or nothing usable is at `path`.
    """
    record = data_set(name) if isinstance(name, str) else name
    where = None if path is None else Path(path).expanduser()
    if where is not None and not where.exists():
        raise InputError(f"{where}: no such file or folder; {record.name} was to be read from it")
    try:
        return record.read(record, where)
    except OSError as error:
        raise InputError(f"{error.filename or where}: cannot be read ({error.strerror or error})") from error


def make_image_set(
    record: DataSet, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], source: str
) -> ImageSet:
    """An ImageSet in memory, whose arrays have been checked against what the record says; the rest is found in them.

    Args: train, test: images (N, H, H, 3), or grey (N, H, H) and (N, H, H, 1), and labels (N,).
    Raises: InputError when images or labels have another shape, type or range than the data set has.
    """
    splits = [(split, _in_colour(x), y) for split, (x, y) in (("train", train), ("test", test))]
    size = record.image_size or (*splits[0][1].shape, 0, 0)[1]
    for split, x, y in splits:
        if x.dtype != np.uint8 or x.shape[1:] != (size, size, 3) or not len(x):
            side = size or "H"
            wanted = f"uint8 (N, {side}, {side}, 3)"
            raise InputError(f"{source}: the {split} images are {x.dtype} {x.shape}, {record.title} needs {wanted}")
        if y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
            raise InputError(f"{source}: the {split} labels are {y.dtype} {y.shape}, needed are {len(x)} integers")
    num_classes = record.num_classes or max(2, int(splits[0][2].max()) + 1)
    digest = hashlib.sha256()
    checked: list[np.ndarray] = []
    for split, x, y in splits:
        if y.min() < 0 or y.max() >= num_classes:
            row = int(np.flatnonzero((y < 0) | (y >= num_classes))[0])
            raise InputError(
                f"{source}: {split} label {y[row]} (row {row}), {record.title} has {num_classes} classes from 0"
            )
        checked += [np.ascontiguousarray(x), np.ascontiguousarray(y, dtype=np.int64)]
    present = len(np.unique(checked[1]))
    if present != num_classes:
        lowest = int(checked[1].min())
        why = f" (labels count from 0, the lowest is {lowest})" if lowest else ""
        raise InputError(f"{source}: training images of {present} classes, {record.title} has {num_classes}{why}")
    for array in checked:
        digest.update(array.data)
    x_train, y_train, x_test, y_test = checked
    mean, std = record.mean, record.std
    if mean is None or std is None:
        mean, std = _moments(x_train)
    augmentation = record.augmentation or Augmentation(pad=size // 8, flip=True)
    return ImageSet(
        record.name,
        x_train,
        y_train,
        x_test,
        y_test,
        num_classes,
        mean,
        std,
        augmentation,
        source,
        digest.hexdigest(),
    )


def _in_colour(x: np.ndarray) -> np.ndarray:
    """Grey images with their values on three channels; others as they are."""
    if x.ndim == 3:
        x = x[..., None]
    return x.repeat(3, axis=3) if x.ndim == 4 and x.shape[3] == 1 else x


def _moments(x: np.ndarray) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of each channel of (N, H, W, 3) uint8, in [0, 1]; 1 for a channel that never changes.

    From the counts of the 256 values: exact, and without the eightfold memory of a copy in float64.
    """
    counts = np.zeros((3, 256), dtype=np.int64)
    for part in np.array_split(x, -(-len(x) // 1024)):
        for channel in range(3):
            counts[channel] += np.bincount(part[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    means = counts @ values / counts.sum(1)
    stds = np.sqrt(np.maximum(counts @ values**2 / counts.sum(1) - means**2, 0))
    stds[(counts > 0).sum(1) == 1] = 1.0
    (a, b, c), (d, e, f) = means.tolist(), stds.tolist()
    return (a, b, c), (d, e, f)
