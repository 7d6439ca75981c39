"""Handwritten digits that come with scikit-learn: 1,797 real images of 8x8 pixels, for work without any download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.datasets.images import ImageSet, make_image_set
from common.datasets.record import Augmentation, DataSet
from common.errors import InputError

TEST_IMAGES = 360  # the last ones are held out
LEVELS = 16  # grey values go from 0 to this


def read(record: DataSet, path: Path | None) -> ImageSet:
    """1,437 training and 360 test images, grey repeated over three channels. There is no file to name."""
    if path is not None:
        raise InputError(f"{record.name} comes with scikit-learn and is not read from a file: leave {path} out")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    grey = (bunch.images * (255 / LEVELS)).round().astype(np.uint8)
    x, y = np.repeat(grey[..., None], 3, axis=3), bunch.target.astype(np.int64)
    train, test = (x[:-TEST_IMAGES], y[:-TEST_IMAGES]), (x[-TEST_IMAGES:], y[-TEST_IMAGES:])
    return make_image_set(record, train, test, source="scikit-learn load_digits")


DIGITS = DataSet(
    "digits",
    "scikit-learn digits",
    num_classes=10,
    image_size=8,
    mean=(0.305, 0.305, 0.305),
    std=(0.376, 0.376, 0.376),
    augmentation=Augmentation(pad=1),  # mirrored digits are not digits
    read=read,
    teacher="resnet20",
    teacher_recipe={"epochs": 10, "batch_size": 64, "lr": 0.05},  # 96 to 98 % (5 runs), about 20 s of one core
)
