"""What is known of an image data set, in one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.datasets.images import ImageSet


@dataclass(frozen=True)
class Augmentation:
    """Random changes to a training image: a crop resized, or a shift by cropping from a black border; mirror, turn."""

    crop: bool = False  # a part of the whole picture, resized (`random_crops`), instead of pad and degrees
    pad: int = 0  # pixels of border
    flip: bool = False  # left and right, with probability 1/2
    degrees: float = 0.0  # turned by at most so much either way, nearest pixel, black outside


def read_own(record: DataSet, path: Path | None) -> ImageSet:
    """The reader of data sets that say nothing else: an `.npz` or a folder of pictures (`common.datasets.own`)."""
    from common.datasets import own

    return own.read(record, path)


@dataclass(frozen=True)
class DataSet:
    """The facts of one data set; whatever is left out is found in its images, or a usual value.

    name: without spaces, part of the names of columns (`{name}_test_200`) and files. title: for people.
    num_classes, image_size: 0 for what the images have. mean, std: of each channel, for pixels in [0, 1]; None: of the
    training images. augmentation: None: shifts by up to an eighth of the side, and mirrored.
    read: the images from a path, or from None where they are downloaded or installed; raises InputError.
    """

    name: str
    title: str = ""
    num_classes: int = 0
    image_size: int = 0
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    augmentation: Augmentation | None = None
    read: Callable[[DataSet, Path | None], ImageSet] = read_own
    teacher: str = "resnet20"  # whose representations are imitated unless another is named
    teacher_recipe: Mapping[str, Any] = field(default_factory=dict, hash=False)  # unlike ClassifierSettings' defaults
    retraining: str = "cifar"  # by whose recipe of DARTS a network found is trained: cifar or imagenet
    nasbench201: str = ""  # its name in the files of NAS-Bench-201

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", self.name)
