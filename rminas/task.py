"""What every seed of a run shares: images, teacher, space, table of trained cells; and how one cell is evaluated."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from common.benchmarks import BUILT_IN_SPACE, load_benchmark
from common.benchmarks.table import BenchmarkTable, Column, Source
from common.datasets import data_set
from common.datasets.batch import Batch, select_batch
from common.datasets.images import ImageSet, load_images
from common.errors import InputError
from common.metrics import rank_of
from common.networks.base import TappedNetwork, in_mode
from common.networks.teachers import load_teacher
from common.spaces import SearchSpace, Skeleton, UnknownOption, search_space
from common.training.classifier import ClassifierSettings, evaluate
from common.training.population import CandidateSettings
from rminas.config import Config
from rminas.draws import rng_for
from rminas.evaluator import Evaluator
from rminas.objective import Objective
from rminas.retrain_config import RetrainConfig
from rminas.teacher import train_teacher

# What says an option of a space's networks.
OPTION_KEYS = {"channels": "TRAIN.CHANNELS", "layers": "TRAIN.LAYERS", "cells_per_stage": "SPACE.CELLS_PER_STAGE"}
TEACHER_SEED = 0  # a teacher trained here is the same whatever the seeds of the searches
TEACHER_FILE = "teacher.pt"


@dataclass(frozen=True)
class Truth:
    """The looked-up accuracy: a table of trained architectures and the column of it that is reported."""

    table: BenchmarkTable  # of no rows where nobody has trained the space
    column: Column

    @classmethod
    def load(cls, path: str, dataset: str, space: SearchSpace) -> Truth:
        """Test accuracy after the longest training (validation where there is no test).

        Without a path, the installed table for the space that has one, and for others a table that knows nothing.
        Raises: InputError when the table is of another space, or has no accuracy on the data set.
        """
        if not path and space.name != BUILT_IN_SPACE:
            column = Column("accuracy", np.zeros(0))
            nothing = Source("none", f"no table of trained {space.title} networks (BENCHMARK.PATH)", "")
            return cls(BenchmarkTable(nothing, {}, space, space.to_codes([])), column)
        table = load_benchmark(path or None, dataset=dataset)
        columns = table.accuracies(dataset, "test") or table.accuracies(dataset, "valid")
        if table.space is None or not columns:
            raise InputError(f"{table.source.path}: holds no architectures with an accuracy on {dataset!r}")
        if table.space.name != space.name:
            raise InputError(f"{table.source.path}: of {table.space.name}, the search is in {space.name}")
        return cls(table, columns[0])

    @property
    def best(self) -> float:
        """The highest accuracy of the table, percent; NaN without a table."""
        return float(np.nanmax(self.column.values)) if len(self.table) else math.nan

    def accuracy(self, arch: Any) -> float:
        """Percent; NaN for an architecture that the table lacks."""
        row = self.table.index_of(arch)
        return float("nan") if row is None else float(self.column.values[row])

    def look_up(self, arch: Any) -> dict[str, Any]:
        """What the record says of an architecture; rank 1 is the best accuracy of the table."""
        values, accuracy = self.column.values, self.accuracy(arch)
        assert self.table.space is not None
        return {
            "arch": self.table.space.format(arch),
            "index": self.table.index_of(arch),
            "test_acc": accuracy,
            "rank": None if math.isnan(accuracy) else rank_of(accuracy, values),
            "regret": self.best - accuracy,
        }


@dataclass(frozen=True)
class Task:
    """Images, their teacher on the device, and the space whose candidates are to imitate it."""

    config: Config
    space: SearchSpace
    images: ImageSet
    teacher: TappedNetwork
    device: torch.device

    def batch(self, seed: int) -> Batch:
        """The one batch of a seed."""
        settings = self.config.rminas
        return select_batch(
            self.images,
            self.teacher,
            self.config.train.batch_size,
            rng_for(seed, "batch"),
            settings.pool,
            self.config.teacher.mode,
            self.device,
        )

    def evaluator(self, seed: int, batch: Batch) -> Evaluator:
        """What turns an architecture into the trajectory of its losses on a seed's batch."""
        config = self.config
        with torch.no_grad():
            _, taps = cast(TappedNetwork, in_mode(self.teacher, config.teacher.mode)).forward_taps(batch.x)
        objective = Objective.of(taps, batch.y, config.rminas.loss_beta, config.rminas.hsic)
        optim = config.optim
        settings = CandidateSettings(
            config.rminas.observe,
            optim.base_lr,
            optim.momentum,
            optim.weight_decay,
            optim.lr_policy == "cosine",
            optim.grad_clip,
            config.train.channels_last,
            config.train.precision == "bf16",
        )
        return Evaluator(self.space, seed, batch.x, objective, settings)


@dataclass(frozen=True)
class TeacherInfo:
    """Where a teacher came from: what the run record says of it."""

    name: str
    weights: str
    sha256: str  # of its parameters and statistics
    mode: str
    test_acc: float  # percent, in that mode
    test_images: int  # on how many


def search_space_of(config: Config, images: ImageSet) -> SearchSpace:
    """The space of a config for its images. Raises InputError when it has no such network."""
    asked = {
        "channels": config.train.channels,
        "layers": config.train.layers,
        "cells_per_stage": config.space.cells_per_stage,
    }
    options = {option: value for option, value in asked.items() if value}
    try:
        return search_space(config.space.name, Skeleton(images.num_classes, images.image_size, options))
    except UnknownOption as error:
        raise InputError(f"{OPTION_KEYS[error.option]}: {error}") from None


def load_task(
    config: Config,
    space: SearchSpace,
    images: ImageSet,
    device: torch.device,
    folder: Path,
    on_epoch: Callable[[int, float, float], object] = lambda epoch, loss, acc: None,
) -> tuple[Task, TeacherInfo]:
    """The task of a config; a teacher without named weights is trained here and kept in `folder`.

    Raises: InputError when the weights are missing or of another network, or nothing says how to train them.
    """
    name, weights = config.teacher.name or data_set(config.data.name).teacher, config.teacher.weights
    if weights:
        teacher = load_teacher(name, weights, images.num_classes, device)
    else:
        if not config.teacher.epochs:
            raise InputError(
                f"TEACHER.WEIGHTS is empty: name the weights of a {name} trained on {images.name}, train them with "
                "`python -m rminas.teacher`, or give TEACHER.EPOCHS to train them at the start of this run"
            )
        settings = ClassifierSettings(
            epochs=config.teacher.epochs, batch_size=config.teacher.batch_size, lr=config.teacher.base_lr
        )
        teacher = train_teacher(name, images, settings, TEACHER_SEED, device, folder / TEACHER_FILE, on_epoch)
        weights = str(folder / TEACHER_FILE)
    mode, count = config.teacher.mode, len(images.y_test)
    tested = images
    if 0 < config.teacher.test_images < count:
        count = config.teacher.test_images
        rows = np.linspace(0, len(images.y_test) - 1, count).astype(np.int64)  # spread: folders are sorted by class
        tested = replace(images, x_test=images.x_test[rows], y_test=images.y_test[rows])
    accuracy = evaluate(teacher, tested, device, mode)
    info = TeacherInfo(name, weights, _fingerprint(teacher), mode, accuracy, count)
    return Task(config, space, images, teacher, device), info


def load_config_images(config: Config | RetrainConfig) -> ImageSet:
    """The images of a config. Raises InputError when they are not what it says they are."""
    images = load_images(config.data.name, config.data.path or None)
    for key, asked, there in (
        ("DATA.NUM_CLASSES", config.data.num_classes, images.num_classes),
        ("DATA.IM_SIZE", config.data.im_size, images.image_size),
    ):
        if asked not in (0, there):
            raise InputError(f"{key} is {asked}, but {images.source} has {there}")
    return images


def _fingerprint(network: TappedNetwork) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
