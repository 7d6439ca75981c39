"""CIFAR-10 and CIFAR-100: the folder that torchvision keeps (downloaded on demand), or one `.npz`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.datasets.images import ImageSet, make_image_set
from common.datasets.own import Split, read_npz
from common.datasets.record import Augmentation, DataSet
from common.errors import InputError
from common.inputs import size_of
from common.runs.files import cache_folder

# Name -> torchvision's names of its class and of the folder.
TORCHVISION = {"cifar10": ("CIFAR10", "cifar-10-batches-py"), "cifar100": ("CIFAR100", "cifar-100-python")}


def read(record: DataSet, path: Path | None) -> ImageSet:
    """From an `.npz` (see `read_npz`), from the folder that holds torchvision's, or by download.

    Raises: InputError when the file or folder holds something else, is damaged, or cannot be downloaded.
    """
    if path is not None and path.is_file():
        train, test = read_npz(path)
    else:
        train, test = _from_torchvision(record.name, path)
    return make_image_set(record, train, test, source=str(path or f"torchvision {TORCHVISION[record.name][0]}"))


# Mean, deviation and augmentation of RMI-NAS's published code.
CIFAR10 = DataSet(
    "cifar10",
    "CIFAR-10",
    num_classes=10,
    image_size=32,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    augmentation=Augmentation(pad=4, flip=True),
    read=read,
    teacher="resnet20",
    nasbench201="cifar10",
)
CIFAR100 = DataSet(
    "cifar100",
    "CIFAR-100",
    num_classes=100,
    image_size=32,
    mean=(0.50708, 0.48655, 0.44092),
    std=(0.26733, 0.25644, 0.27615),
    augmentation=Augmentation(pad=4, flip=True, degrees=15.0),
    read=read,
    teacher="resnet101",
    teacher_recipe={"warmup_epochs": 1},
    nasbench201="cifar100",
)


def _from_torchvision(name: str, path: Path | None) -> tuple[Split, Split]:
    from torchvision import datasets

    class_name, folder = TORCHVISION[name]
    if path is not None and path.name == folder:
        path = path.parent
    if path is not None and not (path / folder).is_dir():
        raise InputError(f"{path}: no folder {folder} in it; name the folder that holds it, or an .npz")
    root = path or cache_folder() / "images"
    for file in [*(root / folder).iterdir()] if (root / folder).is_dir() else []:
        size_of(file)  # torchvision would wait for a pipe
    kind = getattr(datasets, class_name)
    try:
        train, test = (kind(root, train=part, download=path is None) for part in (True, False))
    except OSError as error:  # URLError is one
        reason = str(getattr(error, "reason", None) or error)
        raise InputError(
            f"{name} cannot be downloaded into {root} ({reason}); give the path of a folder with {folder} or of an .npz"
        ) from None
    except RuntimeError:  # torchvision's word for a wrong md5
        raise InputError(f"{root / folder}: files are missing or damaged (md5); download them again") from None
    return (train.data, np.array(train.targets)), (test.data, np.array(test.targets))
