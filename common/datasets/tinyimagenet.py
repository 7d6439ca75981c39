"""120 classes of Tiny-ImageNet at 32 pixels, or at 16: a stand-in for ImageNet16-120 that has other classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.datasets.images import ImageSet, make_image_set
from common.datasets.own import read_npz
from common.datasets.record import Augmentation, DataSet
from common.errors import InputError

FILE = "tiny_imagenet120_32px.npz"
STORED = 32  # pixels along a side in the file
STAND_IN = "a stand-in for ImageNet16-120, not its classes"


def read(record: DataSet, path: Path | None) -> ImageSet:
    """From the `.npz` of 32-pixel images; the data set of 16 pixels has the means of 2 x 2 pixels of them.

    Raises: InputError when there is no such file, or it holds something else.
    """
    if path is None:
        raise InputError(f"{record.name} is not downloaded: give the path of {FILE}")
    (x, y), (x_test, y_test) = read_npz(path)
    for images in (x, x_test):
        if images.shape[1:] != (STORED, STORED, 3) or images.dtype != np.uint8:
            raise InputError(f"{path}: images are {images.dtype} {images.shape}, {FILE} has uint8 (N, 32, 32, 3)")
    if record.image_size != STORED:
        x, x_test = halved(x), halved(x_test)
    return make_image_set(record, (x, y), (x_test, y_test), source=str(path))


def halved(images: np.ndarray) -> np.ndarray:
    """(N, H/2, W/2, C) uint8: means of 2 x 2 pixels, halves rounded up."""
    n, height, width, channels = images.shape
    sums = images.reshape(n, height // 2, 2, width // 2, 2, channels).sum((2, 4), dtype=np.uint16)
    return ((sums + 2) // 4).astype(np.uint8)


def _record(name: str, size: int) -> DataSet:
    return DataSet(
        name,
        f"Tiny-ImageNet, 120 classes at {size} pixels ({STAND_IN})",
        num_classes=120,
        image_size=size,
        mean=(0.485, 0.456, 0.406),  # of the published ResNet-32 at 32 pixels
        std=(0.229, 0.224, 0.225),
        augmentation=Augmentation(pad=size // 8, flip=True),
        read=read,
        teacher="resnet32",
    )


TINYIMAGENET120 = _record("tinyimagenet120", STORED)
TINYIMAGENET120_16 = _record("tinyimagenet120_16", STORED // 2)
