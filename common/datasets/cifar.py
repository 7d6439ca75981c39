"""CIFAR-10 and CIFAR-100: the folder that torchvision keeps (downloaded on demand), or one `.npz`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.datasets.images import ImageSet, make_image_set
from common.errors import InputError
from common.runs.files import UNREADABLE, cache_folder

KEYS = ("x_train", "y_train", "x_test", "y_test")


class Facts(NamedTuple):
    """What RMI-NAS's published code uses for a data set, and torchvision's names for it."""

    torchvision: str
    folder: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


FACTS = {
    "cifar10": Facts("CIFAR10", "cifar-10-batches-py", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar100": Facts("CIFAR100", "cifar-100-python", (0.50708, 0.48655, 0.44092), (0.26733, 0.25644, 0.27615)),
}


def read(name: str, path: Path | None) -> ImageSet:
    """From an `.npz` with the arrays of KEYS, from the folder that holds torchvision's, or by download.

    Raises: InputError when the file or folder holds something else, is damaged, or cannot be downloaded.
    """
    facts = FACTS[name]
    if path is not None and path.is_file():
        train, test = _from_npz(path)
        source = str(path)
    else:
        train, test = _from_torchvision(name, path)
        source = str(path or f"torchvision {facts.torchvision}")
    return make_image_set(name, train, test, facts.mean, facts.std, augment=name, source=source)


Split = tuple[np.ndarray, np.ndarray]


def _from_npz(path: Path) -> tuple[Split, Split]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = [key for key in KEYS if key not in stored]
            if missing:
                there = ", ".join(stored) or "nothing"
                raise InputError(
                    f"{path}: no array {missing[0]!r} in it; needed are {', '.join(KEYS)}, there is {there}"
                )
            arrays = [stored[key] for key in KEYS]
    except InputError:
        raise
    except (*UNREADABLE, AttributeError, TypeError) as error:  # the last two: a plain .npy array
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{path}: not an .npz of images ({reason})") from None
    return (arrays[0], arrays[1]), (arrays[2], arrays[3])


def _from_torchvision(name: str, path: Path | None) -> tuple[Split, Split]:
    from torchvision import datasets

    facts = FACTS[name]
    if path is not None and path.name == facts.folder:
        path = path.parent
    if path is not None and not (path / facts.folder).is_dir():
        raise InputError(f"{path}: no folder {facts.folder} in it; name the folder that holds it, or an .npz")
    root = path or cache_folder() / "images"
    kind = getattr(datasets, facts.torchvision)
    try:
        train, test = (kind(root, train=part, download=path is None) for part in (True, False))
    except OSError as error:  # URLError is one
        reason = str(getattr(error, "reason", None) or error)
        raise InputError(
            f"{name} cannot be downloaded into {root} ({reason}); "
            f"give the path of a folder with {facts.folder} or of an .npz"
        ) from None
    except RuntimeError:  # torchvision's word for a wrong md5
        raise InputError(f"{root / facts.folder}: files are missing or damaged (md5); download them again") from None
    return (train.data, np.array(train.targets)), (test.data, np.array(test.targets))
