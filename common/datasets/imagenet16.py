"""ImageNet16-120: the first 120 classes of the official 16x16 down-sampled ImageNet, from its eleven batch files."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np

from common.datasets.images import ImageSet, make_image_set
from common.datasets.record import Augmentation, DataSet
from common.errors import InputError

# File -> its published md5; the files are pickles, and only these very bytes are ever unpickled.
TRAIN_FILES = {
    "train_data_batch_1": "27846dcaa50de8e21a7d1a35f30f0e91",
    "train_data_batch_2": "c7254a054e0e795c69120a5727050e3f",
    "train_data_batch_3": "4333d3df2e5ffb114b05d2ffc19b1e87",
    "train_data_batch_4": "1620cdf193304f4a92677b695d70d10f",
    "train_data_batch_5": "348b3c2fdbb3940c4e9e834affd3b18d",
    "train_data_batch_6": "6e765307c242a1b3d7d5ef9139b48945",
    "train_data_batch_7": "564926d8cbf8fc4818ba23d2faac7564",
    "train_data_batch_8": "f4755871f718ccb653440b9dd0ebac66",
    "train_data_batch_9": "bb6dd660c38c58552125b1a92f86b5d4",
    "train_data_batch_10": "8f03f34ac4b42271a294f91bf480f29b",
}
TEST_FILES = {"val_data": "3410e3017fdaefba8d5073aaa65e4bd6"}
CLASSES, SIZE = 120, 16


def read(record: DataSet, path: Path | None) -> ImageSet:
    """From the folder that holds the eleven files. Raises InputError when one is missing or not the published one."""
    if path is None:
        raise InputError(
            f"{record.name} is not downloaded: give the folder with {next(iter(TRAIN_FILES))} ... and val_data"
        )
    for file in (*TRAIN_FILES, *TEST_FILES):
        if not (path / file).is_file():
            raise InputError(f"{path}: no file {file}; {record.name} needs all eleven official batches")
    train, test = (_read_files(path, files) for files in (TRAIN_FILES, TEST_FILES))
    return make_image_set(record, train, test, source=str(path))


def _read_files(folder: Path, md5_of: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """The images of the first 120 classes, one file in memory at a time."""
    images, labels = [], []
    for name, md5 in md5_of.items():
        content = (folder / name).read_bytes()
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != md5:
            raise InputError(f"{folder / name}: md5 is {found}, the published file has {md5}; download it again")
        batch = pickle.loads(content, encoding="latin1")
        label = np.asarray(batch["labels"], dtype=np.int64) - 1
        kept = label < CLASSES
        images.append(batch["data"][kept].reshape(-1, 3, SIZE, SIZE).transpose(0, 2, 3, 1))
        labels.append(label[kept])
    return np.concatenate(images), np.concatenate(labels)


IMAGENET16_120 = DataSet(
    "imagenet16_120",
    "ImageNet16-120",
    num_classes=CLASSES,
    image_size=SIZE,
    mean=(122.68 / 255, 116.66 / 255, 104.01 / 255),  # as in NAS-Bench-201
    std=(63.22 / 255, 61.26 / 255, 65.09 / 255),
    augmentation=Augmentation(pad=2, flip=True),
    read=read,
    teacher="nasbench201",
    teacher_recipe={"batch_size": 256},
    nasbench201="ImageNet16-120",
)
