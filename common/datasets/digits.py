"""Handwritten digits that come with scikit-learn: 1,797 real images of 8x8 pixels, for work without any download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.datasets.images import ImageSet, make_image_set
from common.errors import InputError

TEST_IMAGES = 360  # the last ones are held out
LEVELS = 16  # grey values go from 0 to this
MEAN, STD = (0.305,) * 3, (0.376,) * 3


def read(name: str, path: Path | None) -> ImageSet:
    """1,437 training and 360 test images, grey repeated over three channels. There is no file to name."""
    if path is not None:
        raise InputError(f"{name} comes with scikit-learn and is not read from a file: leave {path} out")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    grey = (bunch.images * (255 / LEVELS)).round().astype(np.uint8)
    x, y = np.repeat(grey[..., None], 3, axis=3), bunch.target.astype(np.int64)
    train, test = (x[:-TEST_IMAGES], y[:-TEST_IMAGES]), (x[-TEST_IMAGES:], y[-TEST_IMAGES:])
    return make_image_set(name, train, test, MEAN, STD, augment="digits", source="scikit-learn load_digits")
