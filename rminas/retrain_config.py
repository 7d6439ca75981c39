"""The settings of a retraining: DARTS' published recipe as defaults, both published YAML dialects as names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.datasets import data_set
from common.devices import DEVICES
from common.errors import InputError
from common.runs.config import Dialects, above, at_least, between, key, load_config, one_of
from rminas.config import DATA_KEYS, Data

# What differs from the defaults below (those of CIFAR). ImageNet: the mobile setting of RMI-NAS's archive, and of DARTS
# where that says nothing.
RECIPES: dict[str, dict[str, Any]] = {
    "cifar": {},
    "imagenet": {
        "OPTIM.BASE_LR": 0.1,
        "OPTIM.WEIGHT_DECAY": 3e-5,
        "OPTIM.MAX_EPOCH": 250,
        "TRAIN.BATCH_SIZE": 32,
        "TRAIN.CHANNELS": 48,
        "TRAIN.LAYERS": 14,
        "TRAIN.LABEL_SMOOTH": 0.1,
        "TRAIN.CUTOUT": 0,
        "TRAIN.DROP_PATH_PROB": 0.0,
    },
}


def recipe(name: str) -> dict[str, Any]:
    """What differs from the defaults for a data set; cutout is half a side where that is known, as on CIFAR."""
    images = data_set(name)
    cutout = {"TRAIN.CUTOUT": images.image_size // 2} if images.image_size else {}
    return {**cutout, **RECIPES[images.retraining]}


@dataclass(frozen=True)
class Space:
    name: str = key("darts", "space of the genotype", one_of("darts"))


@dataclass(frozen=True)
class Optim:
    base_lr: float = key(0.025, "learning rate at the start; falls to 0 as a cosine (ImageNet 0.1)", above(0))
    momentum: float = key(0.9, "momentum", between(0, 1))
    weight_decay: float = key(3e-4, "weight decay (ImageNet 3e-5)", at_least(0))
    max_epoch: int = key(600, "epochs (ImageNet 250)", at_least(1))
    warmup_epoch: int = key(0, "epochs over which the learning rate rises before it falls", at_least(0))
    grad_clip: float = key(5.0, "largest norm of the gradient; 0: any", at_least(0))


@dataclass(frozen=True)
class Train:
    genotype: str = key("", "Genotype(...), a text file with it, or the folder of a finished search; as --genotype")
    batch_size: int = key(96, "images a step, of each process (ImageNet 32)", at_least(2))
    channels: int = key(36, "channels of the first cell's nodes (ImageNet 48)", at_least(1))
    layers: int = key(20, "cells (ImageNet 14)", at_least(3))
    drop_path_prob: float = key(
        0.2, "an operation is left out with this probability at the end, growing from 0 (ImageNet 0)", between(0, 0.99)
    )
    aux_weight: float = key(0.4, "weight of the auxiliary head's loss; 0: no such head", at_least(0))
    cutout: int = key(16, "side in pixels of the square that is cut out; 0: none (ImageNet 0)", at_least(0))
    label_smooth: float = key(0.0, "label smoothing (ImageNet 0.1)", between(0, 1))
    precision: str = key(
        "auto",
        "forward and backward pass: float32, bf16 (autocast), auto: bf16 on a GPU",
        one_of("auto", "float32", "bf16"),
    )
    channels_last: bool = key(True, "memory layout of images and features on a GPU: channels last")
    eval_period: int = key(1, "epochs from one test to the next; after the last one there always is one", at_least(1))


@dataclass(frozen=True)
class RetrainConfig:
    """All settings of one retraining."""

    name: str = key("", "name of the run's folder in OUT_DIR; empty: the config file's")
    out_dir: str = key("runs/retrain", "folder of run folders")
    rng_seed: int = key(0, "decides initial weights, order, augmentation and drop path", at_least(0))
    device: str = key("auto", "where to compute", one_of(*DEVICES))
    space: Space = Space()
    data: Data = Data()  # noqa: RUF009 (it is frozen)
    optim: Optim = Optim()
    train: Train = Train()


DIALECTS = Dialects(
    keys={
        **DATA_KEYS,
        "SEARCH.LABEL_SMOOTH": "TRAIN.LABEL_SMOOTH",
        "LOADER.DATAPATH": "DATA.PATH",
        "TRAIN.DATASET": "DATA.NAME",
        "TRAIN.IM_SIZE": "DATA.IM_SIZE",
        "EVAL_PERIOD": "TRAIN.EVAL_PERIOD",
    },
    values={"SPACE.NAME": {"infer_darts": "darts"}},
    without_effect={
        "DATA_LOADER.BACKEND": "images are read by this toolkit",
        "TEST.BATCH_SIZE": "the test's result does not depend on it",
        "TRAIN.CHECKPOINT_PERIOD": "a checkpoint is kept after every epoch, at most every 20 s",
    },
)


def read_retrain_config(path: Path | None, overrides: Sequence[tuple[str, str]]) -> tuple[RetrainConfig, list[str]]:
    """The settings of a file and the command line, and notes for the user. Raises InputError (see `load_config`)."""
    config, notes = load_config(
        RetrainConfig, path, overrides, DIALECTS, lambda settings: recipe(settings["DATA.NAME"])
    )
    if config.optim.warmup_epoch >= config.optim.max_epoch:
        raise InputError(
            f"OPTIM.WARMUP_EPOCH is {config.optim.warmup_epoch}, expected less than the {config.optim.max_epoch} epochs"
        )
    return config, notes
