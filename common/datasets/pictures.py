"""Pictures of any size as images of one size: decoded from files when they are asked for, cropped and resized."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import InputError
from common.inputs import short, size_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from common.datasets.images import ImageRows

# Of FORMATS, no more: Pillow has other programs read some others.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM")
CROP_AREA, CROP_RATIO, CROP_TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10  # of torchvision's RandomResizedCrop
RESIZED, CROPPED = 256, 224  # test images: the shorter side, and the centre that is kept of it


class ImageFiles:
    """Image files in the place of a (N, size, size, 3) uint8 array: rows are decoded whenever they are asked for.

    A row is the picture as it is tested: resized so that the shorter side is 256/224 of `size`, the centre cut out.
    Raises: InputError naming a file that is no picture, when its row is asked for.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, paths: Sequence[str], size: int) -> None:
        self.paths = paths
        self.shape = (len(paths), size, size, 3)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        """(n, size, size, 3) uint8: the rows of an index array or a slice."""
        from torchvision.transforms import functional as vision

        size = self.shape[1]
        indices = np.arange(len(self))[rows]

        def make(place: int) -> Image:
            picture = vision.resize(self.picture(indices[place]), [size * RESIZED // CROPPED])
            return vision.center_crop(picture, [size, size])

        return _stacked(make, len(indices), size)

    def picture(self, row: int) -> Image:
        """The whole picture of a row, RGB."""
        return open_picture(self.paths[row])


def open_picture(path: str) -> Image:
    """A picture, decoded, RGB. Raises InputError for a file that is none."""
    from PIL import Image

    try:
        size_of(Path(path))
        with Image.open(path, formats=FORMATS) as opened:
            return opened.convert("RGB")
    except InputError:
        raise
    except Exception as error:  # Pillow's readers fail in many ways
        reason = short(error).replace(f" {path!r}", "")
        raise InputError(f"{path}: cannot be read as an image ({reason}); replace or remove it") from None


def random_crops(x: ImageRows, rows: np.ndarray, rng: np.random.Generator, flip: bool) -> np.ndarray:
    """(n, H, W, 3) uint8: of every row a random part of the whole picture, resized to the rows' size.

    That is torchvision's RandomResizedCrop; what is drawn depends on `rng` alone.
    Args: flip: whether half of them, at random, are mirrored.
    """
    from PIL import Image
    from torchvision.transforms import functional as vision

    size = x.shape[1]
    draws = rng.random((len(rows), CROP_TRIES, 4))
    mirrored = (rng.random(len(rows)) < 0.5) & flip

    def make(place: int) -> Image.Image:
        row = rows[place]
        picture = x.picture(row) if isinstance(x, ImageFiles) else Image.fromarray(x[row])
        made = vision.resized_crop(picture, *crop_box(picture.height, picture.width, draws[place]), [size, size])
        return vision.hflip(made) if mirrored[place] else made

    return _stacked(make, len(rows), size)


def crop_box(height: int, width: int, draws: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part: 8 to 100 % of the area, sides from 3:4 to 4:3.

    Args: draws: (tries, 4) numbers in [0, 1), for area, shape, top and left. The first part that fits is taken, and if
        none does, the largest centred one of a shape nearest to the picture's.
    """
    low, high = (math.log(ratio) for ratio in CROP_RATIO)
    for area, shape, top, left in draws:
        pixels = height * width * (CROP_AREA[0] + area * (CROP_AREA[1] - CROP_AREA[0]))
        ratio = math.exp(low + shape * (high - low))
        w, h = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(top * (height - h + 1)), int(left * (width - w + 1)), h, w
    w = min(width, round(height * CROP_RATIO[1]))
    h = min(height, round(width / CROP_RATIO[0]))
    return (height - h) // 2, (width - w) // 2, h, w


def _stacked(make: Callable[[int], Image], count: int, size: int) -> np.ndarray:
    """(count, size, size, 3) uint8 of the pictures `make` gives; made in threads, since decoding leaves the lock."""
    out = np.empty((count, size, size, 3), dtype=np.uint8)

    def put(place: int) -> None:
        out[place] = np.asarray(make(place))

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(put, range(count)):
            pass
    return out
