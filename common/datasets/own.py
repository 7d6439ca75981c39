"""Images of one's own: an `.npz` of arrays, or a folder of pictures by class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.datasets.folders import ClassFolders, scan_classes
from common.datasets.images import ImageSet, make_image_set
from common.datasets.pictures import open_picture
from common.datasets.record import DataSet
from common.errors import InputError
from common.runs import arrays

KEYS = ("x_train", "y_train", "x_test", "y_test")
TEST_FOLDERS = ("test", "val")
LARGEST = 4 << 30  # bytes of pictures that are kept in memory
_CROPS = "DATA.NAME imagenet reads pictures when they are used, and crops them to 224"
_ALIKE = f"make all pictures squares of one size ({_CROPS})"

Split = tuple[np.ndarray, np.ndarray]


def read(record: DataSet, path: Path | None) -> ImageSet:
    """From an `.npz` with the arrays of KEYS, or from `train/<class>/*` and `test/<class>/*` (or `val`).

    Images are uint8 of one square size, (N, H, W, 3), or grey (N, H, W) and (N, H, W, 1); labels count from 0. Classes
    of a folder are the sorted names of its folders. Mean and deviation are those of the training images.
    Raises: InputError saying what is wrong, or without a path, how to name one.
    """
    if path is None:
        from common.datasets import DATASETS

        raise InputError(
            f"unknown data set {record.name!r}; choose from {', '.join(DATASETS)}, or name your own images with "
            "DATA.PATH (--data_path): an .npz, or a folder of pictures"
        )
    train, test = read_folders(path) if path.is_dir() else read_npz(path)
    return make_image_set(record, train, test, source=str(path))


def read_npz(path: Path) -> tuple[Split, Split]:
    """Training and test images with their labels, as they are stored. Raises InputError for another file."""
    try:
        found = arrays.read_npz(path, KEYS)
    except InputError as error:
        raise InputError(f"{error}; not an .npz of images ({', '.join(KEYS)})") from None
    return (found["x_train"], found["y_train"]), (found["x_test"], found["y_test"])


def read_folders(path: Path) -> tuple[Split, Split]:
    """Training and test pictures, all of one square size, decoded into memory."""
    test = next((name for name in TEST_FOLDERS if (path / name).is_dir()), None)
    if test is None or not (path / "train").is_dir():
        raise InputError(f"{path}: pictures are read from train/<class>/ and test/<class>/ (or val/<class>/) in it")
    folders = scan_classes(path, "train", test)
    return _decode(folders, "train"), _decode(folders, test)


def _decode(folders: ClassFolders, split: str) -> Split:
    files, labels = folders.files(split), folders.labels(split)
    first = np.asarray(open_picture(files[0]))
    size = first.shape[0]
    if first.shape[1] != size:
        raise InputError(f"{files[0]}: {first.shape[1]} x {size} pixels; {_ALIKE}")
    if len(files) * first.nbytes > LARGEST:
        raise InputError(f"{folders.path / split}: {len(files)} pictures of {size} pixels do not fit memory; {_CROPS}")
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    for row, file in enumerate(files):
        image = np.asarray(open_picture(file))
        if image.shape != first.shape:
            found = f"{image.shape[1]} x {image.shape[0]}"
            raise InputError(f"{file}: {found} pixels, {Path(files[0]).name} has {size} x {size}; {_ALIKE}")
        images[row] = image
    return images, labels
