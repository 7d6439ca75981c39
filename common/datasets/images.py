"""An image data set, in memory or in files, and the registry of those that can be loaded."""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from common.datasets.specs import IMAGE_SPECS
from common.errors import InputError

# Name -> module, imported when it is asked for: a new data set is one module, one line here and one in IMAGE_SPECS.
DATASETS = {
    "cifar10": "common.datasets.cifar",
    "cifar100": "common.datasets.cifar",
    "imagenet16_120": "common.datasets.imagenet16",
    "imagenet": "common.datasets.imagenet",
    "digits": "common.datasets.digits",
}


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
    each channel, for pixels scaled to [0, 1]. augment: a key of `common.datasets.batch.AUGMENTATIONS`. source: where
    the images came from. sha256: of the four arrays, so that the same images have the same one whatever file they came
    in; of images that stay in their files, of the files' paths and sizes.
    """

    name: str
    x_train: ImageRows
    y_train: np.ndarray
    x_test: ImageRows
    y_test: np.ndarray
    num_classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    augment: str
    source: str
    sha256: str

    @property
    def image_size(self) -> int:
        """Pixels along a side."""
        return int(self.x_train.shape[1])


class Reader(Protocol):
    """What a data set's module offers."""

    def read(self, name: str, path: Path | None) -> ImageSet:
        """The images of `name`. Raises InputError saying what is wrong with `path`, or what to do without one."""


def load_images(name: str, path: str | Path | None = None) -> ImageSet:
    """The data set `name`, a key of DATASETS, from a file or folder of its own format.

    Without a path, CIFAR is downloaded into the cache folder on first use, and digits comes with scikit-learn.
    Raises: InputError when the name is not known, or nothing usable is at `path`.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}; choose from {', '.join(DATASETS)}")
    reader = cast(Reader, importlib.import_module(DATASETS[name]))
    where = None if path is None else Path(path).expanduser()
    if where is not None and not where.exists():
        raise InputError(f"{where}: no such file or folder; {name} was to be read from it")
    return reader.read(name, where)


def make_image_set(
    name: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    augment: str,
    source: str,
) -> ImageSet:
    """An ImageSet whose arrays have been checked against the facts of `name` in IMAGE_SPECS.

    Raises: InputError when images or labels have another shape, type or range than the data set has.
    """
    spec = IMAGE_SPECS[name]
    shape = (spec.image_size, spec.image_size, 3)
    digest = hashlib.sha256()
    checked: list[np.ndarray] = []
    for split, (x, y) in (("train", train), ("test", test)):
        if x.dtype != np.uint8 or x.shape[1:] != shape or not len(x):
            wanted = f"uint8 (N, {spec.image_size}, {spec.image_size}, 3)"
            raise InputError(f"{source}: the {split} images are {x.dtype} {x.shape}, {spec.title} needs {wanted}")
        if y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
            raise InputError(f"{source}: the {split} labels are {y.dtype} {y.shape}, needed are {len(x)} integers")
        if y.min() < 0 or y.max() >= spec.num_classes:
            row = int(np.flatnonzero((y < 0) | (y >= spec.num_classes))[0])
            raise InputError(
                f"{source}: {split} label {y[row]} (row {row}), {spec.title} has {spec.num_classes} classes from 0"
            )
        checked += [np.ascontiguousarray(x), np.ascontiguousarray(y, dtype=np.int64)]
    present = len(np.unique(checked[1]))
    if present != spec.num_classes:
        raise InputError(f"{source}: training images of {present} classes, {spec.title} has {spec.num_classes}")
    for array in checked:
        digest.update(array.data)
    x_train, y_train, x_test, y_test = checked
    return ImageSet(
        name, x_train, y_train, x_test, y_test, spec.num_classes, mean, std, augment, source, digest.hexdigest()
    )
