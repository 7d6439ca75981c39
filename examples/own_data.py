"""A data set of one's own: discs, squares and crosses in noise, written to an .npz that every command takes.

    python examples/own_data.py shapes.npz
    python -m rminas --cfg digits SPACE.NAME examples/own_space.py:SPACE NAME shapes \\
        DATA.NAME examples/own_data.py:SHAPES DATA.PATH shapes.npz

Images of yours need no more than the .npz: DATA.NAME shapes DATA.PATH shapes.npz. The record below is for what is to be
otherwise than usual, here the augmentation: shapes may be turned upside down, but not shifted far.
"""

from __future__ import annotations

import sys

import numpy as np

from common.datasets import DataSet
from common.datasets.record import Augmentation

SIZE = 12
SHAPES = DataSet("shapes", "Shapes", num_classes=3, image_size=SIZE, augmentation=Augmentation(pad=1, degrees=180.0))


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, SIZE, SIZE, 3) uint8 images and their (count,) labels: 0 disc, 1 square, 2 cross."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    middle, radius = rng.uniform(4, SIZE - 5, size=(2, count, 1, 1)), rng.uniform(2.5, 4, size=(count, 1, 1))
    x, y = np.abs(np.arange(SIZE)[None, None] - middle[0]), np.abs(np.arange(SIZE)[None, :, None] - middle[1])
    inside = np.select(
        [labels[:, None, None] == 0, labels[:, None, None] == 1],
        [x**2 + y**2 < radius**2, np.maximum(x, y) < radius],
        (np.minimum(x, y) < 1) & (np.maximum(x, y) < radius),
    )
    colour = rng.uniform(80, 160, size=(count, 1, 1, 3))
    images = 60 + inside[..., None] * colour + rng.normal(0, 25, size=(count, SIZE, SIZE, 3))
    return images.clip(0, 255).astype(np.uint8), labels


def main() -> None:
    (x_train, y_train), (x_test, y_test) = draw(1200, seed=0), draw(300, seed=1)
    np.savez_compressed(sys.argv[1], x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


if __name__ == "__main__":
    main()
