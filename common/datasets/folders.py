"""Pictures sorted into folders: `<split>/<class>/<picture>`, the classes being the sorted names of the folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import InputError
from common.inputs import size_of

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm")
NAMED = 5  # folders that an error names before it counts the rest

Files = dict[str, list[tuple[str, int]]]  # class -> file names with their sizes in bytes, both sorted


@dataclass(frozen=True)
class ClassFolders:
    """The files of a data set's splits, class after class."""

    path: Path
    splits: dict[str, Files]

    @property
    def num_classes(self) -> int:
        return len(next(iter(self.splits.values())))

    def files(self, split: str) -> list[str]:
        """Paths of all pictures of a split."""
        folder = self.path / split
        return [os.path.join(folder, kind, file) for kind, files in self.splits[split].items() for file, _ in files]

    def labels(self, split: str) -> np.ndarray:
        """(N,) int64: the class of each."""
        counts = [len(files) for files in self.splits[split].values()]
        return np.arange(len(counts)).repeat(counts)

    def sha256(self) -> str:
        """Of the relative paths and the sizes of all files: nothing is decoded."""
        digest = hashlib.sha256()
        for split, found in self.splits.items():
            for kind, content in found.items():
                digest.update("".join(f"{split}/{kind}/{file} {size}\n" for file, size in content).encode())
        return digest.hexdigest()


def scan_classes(path: Path, train: str, test: str) -> ClassFolders:
    """What is in the folders of two splits.

    Raises: InputError when one has no classes, a class is empty, or the classes of the two differ.
    """
    splits = {split: _scan(path / split) for split in (train, test)}
    classes, tested = (splits[split].keys() for split in (train, test))
    if classes != tested:
        missing, extra = sorted(classes - tested), sorted(tested - classes)
        parts = [f"{what} {_some(names)}" for what, names in (("without", missing), ("besides", extra)) if names]
        raise InputError(f"{path / test}: not the classes of {train}: {', '.join(parts)}")
    return ClassFolders(path, splits)


def _scan(split: Path) -> Files:
    found: Files = {}
    with os.scandir(split) as entries:
        kinds = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    for kind in kinds:
        with os.scandir(split / kind) as entries:
            pictures = [entry for entry in entries if entry.name.lower().endswith(SUFFIXES)]
        found[kind] = sorted((entry.name, size_of(Path(entry.path))) for entry in pictures)
    if not found:
        raise InputError(f"{split}: no folders in it; pictures must be sorted into {split.name}/<class>/")
    if empty := [kind for kind, files in found.items() if not files]:
        raise InputError(f"{split}: no pictures in {_some(empty)}; fill or remove it")
    return found


def _some(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
