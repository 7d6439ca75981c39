"""What a run reads beside its settings: images, a teacher, the search space for them. Loaded when asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.datasets import data_set
from common.datasets.images import ImageSet, load_images
from common.errors import InputError
from common.spaces import SearchSpace, Skeleton, UnknownOption, search_space
from rminas.config import Config, Data, Teacher

if TYPE_CHECKING:
    import torch

    from common.networks.base import TappedNetwork

# What says an option of a space's networks.
OPTION_KEYS = {"channels": "TRAIN.CHANNELS", "layers": "TRAIN.LAYERS", "cells_per_stage": "SPACE.CELLS_PER_STAGE"}
TEACHER_SEED = 0  # a teacher trained here is the same whatever the seeds of the searches
TEACHER_FILE = "teacher.pt"


def load_data(data: Data) -> ImageSet:
    """The images that the settings name. Raises InputError when they are not what it says they are."""
    images = load_images(data.name, data.path or None)
    for key, asked, there in (
        ("DATA.NUM_CLASSES", data.num_classes, images.num_classes),
        ("DATA.IM_SIZE", data.im_size, images.image_size),
    ):
        if asked not in (0, there):
            raise InputError(f"{key} is {asked}, but {images.source} has {there}")
    return images


def make_search_space(config: Config, images: Callable[[], ImageSet] | None, published: bool = False) -> SearchSpace:
    """The space with the network that candidates are trained in, for the classes and size of the images.

    Args: images: loads them; None where they are not needed, and the settings or the record of the data set will do.
        published: the network of the space's own size instead, whatever the settings say of channels and cells.
    Raises: InputError when the space has no such network, or nothing says for which images it is to be.
    """
    data, known = config.data, data_set(config.data.name)
    if images is not None:
        found = images()
        classes, size = found.num_classes, found.image_size
    else:
        classes, size = data.num_classes or known.num_classes, data.im_size or known.image_size
        if not (classes and size):
            found = load_data(data)
            classes, size = found.num_classes, found.image_size
    if config.train.im_size > size:
        raise InputError(f"TRAIN.IM_SIZE {config.train.im_size}: {data.name} has {size} pixels along a side, no more")
    size = config.train.im_size or size
    asked = {
        "channels": config.train.channels,
        "layers": config.train.layers,
        "cells_per_stage": config.space.cells_per_stage,
    }
    options = {option: value for option, value in asked.items() if value and not published}
    try:
        return search_space(config.space.name, Skeleton(classes, size, options))
    except UnknownOption as error:
        key = OPTION_KEYS[error.option]
        raise InputError(f"{key}: {error}; give {key} 0") from None


@dataclass(frozen=True)
class TeacherInfo:
    """Where a teacher came from: what the run record says of it."""

    name: str
    weights: str
    sha256: str  # of its parameters and statistics
    mode: str
    test_acc: float  # percent, in that mode
    test_images: int  # on how many


class Inputs:
    """Images and teacher of a run, each loaded when it is first asked for; says afterwards what has been.

    A teacher without named weights is trained and kept in `folder`.
    """

    def __init__(
        self,
        data: Data,
        teacher: Teacher,
        device: torch.device,
        folder: Path,
        on_epoch: Callable[[int, float, float], object] = lambda epoch, loss, acc: None,
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        """on_epoch: of the teacher's training. say: gets the line that tells how good the teacher is.

        Raises: InputError for a teacher that there is not, before any images are loaded.
        """
        if teacher.name:
            from common.networks.teachers import check_teacher

            check_teacher(teacher.name)
        self.data, self.settings, self.device, self.folder = data, teacher, device, folder
        self.on_epoch, self.say = on_epoch, say
        self._images: ImageSet | None = None
        self.teacher: TeacherInfo | None = None

    def load_images(self) -> ImageSet:
        if self._images is None:
            self._images = load_data(self.data)
        return self._images

    def load_teacher(self) -> TappedNetwork:
        """Raises: InputError when the weights are missing or of another network, or nothing says how to train them."""
        from common.training.classifier import evaluate

        images, settings = self.load_images(), self.settings
        name = settings.name or data_set(self.data.name).teacher
        weights = settings.weights or str(self.folder / TEACHER_FILE)
        network = self._network(name, images)
        count = len(images.y_test)
        if 0 < settings.test_images < count:
            rows = np.linspace(0, count - 1, settings.test_images).astype(np.int64)  # spread: folders go by class
            images, count = replace(images, x_test=images.x_test[rows], y_test=images.y_test[rows]), len(rows)
        accuracy = evaluate(network, images, self.device, settings.mode)
        self.teacher = TeacherInfo(name, weights, _fingerprint(network), settings.mode, accuracy, count)
        self.say(f"teacher {name}: {accuracy:.2f} % on {count:,} test images, in {settings.mode} mode")
        return network

    def _network(self, name: str, images: ImageSet) -> TappedNetwork:
        from common.networks.teachers import load_teacher
        from common.training.classifier import ClassifierSettings
        from rminas.teacher import train_teacher

        settings = self.settings
        taps = [tap.strip() for tap in settings.taps.split(",") if tap.strip()]
        if settings.weights:
            return load_teacher(name, settings.weights, settings.num_classes or images.num_classes, self.device, taps)
        if not settings.epochs:
            raise InputError(
                f"TEACHER.WEIGHTS is empty: name the weights of a {name} trained on {images.name}, train them with "
                "`python -m rminas.teacher`, or give TEACHER.EPOCHS to train them at the start of this run"
            )
        training = ClassifierSettings(epochs=settings.epochs, batch_size=settings.batch_size, lr=settings.base_lr)
        file = self.folder / TEACHER_FILE
        return train_teacher(name, images, training, TEACHER_SEED, self.device, file, self.on_epoch, taps)

    def checksums(self) -> dict[str, str]:
        """Of what has been loaded: what results depend on beside the settings."""
        found = {}
        if self._images is not None:
            found["images_sha256"] = self._images.sha256
        if self.teacher is not None:
            found["teacher_sha256"] = self.teacher.sha256
        return found

    def described(self) -> dict[str, Any]:
        """For the summary; None for what was not needed."""
        images = self._images
        return {
            "images": None if images is None else {"source": images.source, "sha256": images.sha256},
            "teacher": None if self.teacher is None else asdict(self.teacher),
        }


def _fingerprint(network: TappedNetwork) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
