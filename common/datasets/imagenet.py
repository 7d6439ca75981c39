"""ImageNet, or any pictures in folders by class: `train/<class>/*.JPEG` and `val/<class>/*.JPEG`, read on demand."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.datasets.images import ImageSet
from common.datasets.pictures import ImageFiles
from common.datasets.specs import IMAGE_SPECS
from common.errors import InputError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the teachers, torchvision's and FB-ResNet-152
SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm")
NAMED = 5  # folders that an error names before it counts the rest

Files = dict[str, list[tuple[str, int]]]  # class -> file names with their sizes in bytes, both sorted


def read(name: str, path: Path | None) -> ImageSet:
    """Images of 224 px in memory only while they are used; the classes are the sorted folder names, val is the test.

    Their number is that of the folders, 1,000 or not. The sha256 is of the sorted relative paths and file sizes.
    Raises: InputError when the folder has no train/ or val/, a class is empty, or the classes of the two differ.
    """
    layout = "pictures are read from train/<class>/ and val/<class>/"
    if path is None:
        raise InputError(f"{name} is not downloaded: give its folder; {layout}")
    for split in ("train", "val"):
        if not (path / split).is_dir():
            raise InputError(f"{path}: no folder {split} in it; {layout}")
    train, test = (_scan(path / split) for split in ("train", "val"))
    if train.keys() != test.keys():
        missing, extra = sorted(train.keys() - test.keys()), sorted(test.keys() - train.keys())
        parts = [f"{what} {_some(names)}" for what, names in (("without", missing), ("besides", extra)) if names]
        raise InputError(f"{path / 'val'}: not the classes of train: {', '.join(parts)}")
    digest = hashlib.sha256()
    for split, files in (("train", train), ("val", test)):
        for kind, content in files.items():
            digest.update("".join(f"{split}/{kind}/{file} {size}\n" for file, size in content).encode())
    (x_train, y_train), (x_test, y_test) = (_rows(path / split, f) for split, f in (("train", train), ("val", test)))
    return ImageSet(name, x_train, y_train, x_test, y_test, len(train), MEAN, STD, name, str(path), digest.hexdigest())


def _scan(split: Path) -> Files:
    found: Files = {}
    with os.scandir(split) as entries:
        kinds = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    for kind in kinds:
        with os.scandir(split / kind) as entries:
            found[kind] = sorted((e.name, e.stat().st_size) for e in entries if e.name.lower().endswith(SUFFIXES))
    if not found:
        raise InputError(f"{split}: no folders in it; pictures must be sorted into {split.name}/<class>/")
    if empty := [kind for kind, files in found.items() if not files]:
        raise InputError(f"{split}: no pictures in {_some(empty)}; fill or remove it")
    return found


def _rows(split: Path, found: Files) -> tuple[ImageFiles, np.ndarray]:
    """Pictures and labels, class after class."""
    paths = [os.path.join(split, kind, file) for kind, files in found.items() for file, _ in files]
    counts = [len(files) for files in found.values()]
    return ImageFiles(paths, IMAGE_SPECS["imagenet"].image_size), np.arange(len(found)).repeat(counts)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
