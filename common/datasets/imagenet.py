"""ImageNet, or any pictures in folders by class: `train/<class>/*.JPEG` and `val/<class>/*.JPEG`, read on demand."""

from __future__ import annotations

from pathlib import Path

from common.datasets.folders import scan_classes
from common.datasets.images import ImageSet
from common.datasets.pictures import ImageFiles
from common.datasets.record import Augmentation, DataSet
from common.errors import InputError

SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the teachers, torchvision's and FB-ResNet-152
AUGMENTATION = Augmentation(crop=True, flip=True)


def read(record: DataSet, path: Path | None) -> ImageSet:
    """Images of 224 px in memory only while they are used; the classes are the sorted folder names, val is the test.

    Their number is that of the folders, 1,000 or not. The sha256 is of the sorted relative paths and file sizes.
    Raises: InputError when the folder has no train/ or val/, a class is empty, or the classes of the two differ.
    """
    layout = "pictures are read from train/<class>/ and val/<class>/"
    if path is None:
        raise InputError(f"{record.name} is not downloaded: give its folder; {layout}")
    for split in ("train", "val"):
        if not (path / split).is_dir():
            raise InputError(f"{path}: no folder {split} in it; {layout}")
    folders = scan_classes(path, "train", "val")
    x_train, x_test = (ImageFiles(folders.files(split), SIZE) for split in ("train", "val"))
    y_train, y_test = (folders.labels(split) for split in ("train", "val"))
    return ImageSet(
        record.name,
        x_train,
        y_train,
        x_test,
        y_test,
        folders.num_classes,
        MEAN,
        STD,
        AUGMENTATION,
        str(path),
        folders.sha256(),
    )


IMAGENET = DataSet(
    "imagenet",
    "ImageNet",
    num_classes=1000,
    image_size=SIZE,
    mean=MEAN,
    std=STD,
    augmentation=AUGMENTATION,
    read=read,
    teacher="fbresnet152",
    teacher_recipe={"epochs": 90, "batch_size": 256, "weight_decay": 1e-4},
    retraining="imagenet",
)
