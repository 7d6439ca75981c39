"""The settings of a retraining: published recipes as defaults, both published YAML dialects as names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.datasets import DATASETS, data_set
from common.devices import DEVICES
from common.errors import InputError
from common.export.found import read_summary
from common.inputs import read_yaml
from common.runs.config import INSIDE, SEED, Dialects, above, at_least, between, key, load_config, one_of
from common.spaces import SPACES
from rminas.config import DATA_KEYS, Data, Teacher, tracker_key
from rminas.config import DIALECTS as SEARCH_DIALECTS

# What differs from the defaults below, for cells of DARTS: its own recipe for CIFAR; for ImageNet the mobile setting of
# RMI-NAS's archive, and of DARTS where that says nothing.
DARTS = "darts"
RECIPES: dict[str, dict[str, Any]] = {
    "cifar": {"TRAIN.CHANNELS": 36, "TRAIN.LAYERS": 20},
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


# Every other space: what NAS-Bench-201 was trained with (Dong and Yang 2020, table 1; a step is on 256 images there).
PLAIN: dict[str, Any] = {
    "OPTIM.BASE_LR": 0.1,
    "OPTIM.WEIGHT_DECAY": 5e-4,
    "OPTIM.MAX_EPOCH": 200,
    "OPTIM.GRAD_CLIP": 0.0,
    "TRAIN.BATCH_SIZE": 256,
    "TRAIN.DROP_PATH_PROB": 0.0,
    "TRAIN.AUX_WEIGHT": 0.0,
    "TRAIN.CUTOUT": 0,
}


def recipe(name: str, space: str = DARTS) -> dict[str, Any]:
    """What differs from the defaults for images and a space; DARTS cuts out half a side where that is known."""
    if space != DARTS:
        return PLAIN
    images = data_set(name)
    cutout = {"TRAIN.CUTOUT": images.image_size // 2} if images.image_size else {}
    return {**cutout, **RECIPES[images.retraining]}


@dataclass(frozen=True)
class Space:
    name: str = key(
        "",
        "space of the architecture, or your own as my_module:SPACE; empty: that of the run folder, else darts",
        (lambda name: not name or name in SPACES or ":" in name, f"one of {', '.join(SPACES)}, or my_module:SPACE"),
    )
    cells_per_stage: int = key(0, "NAS-Bench-201: cells in each of three stages; 0: the published 5", at_least(0))


@dataclass(frozen=True)
class Optim:
    base_lr: float = key(0.025, "learning rate at the start; falls to 0 as a cosine (ImageNet 0.1)", above(0))
    momentum: float = key(0.9, "momentum", between(0, 1))
    weight_decay: float = key(3e-4, "weight decay (ImageNet 3e-5)", at_least(0))
    max_epoch: int = key(600, "epochs (ImageNet 250)", between(1, 10**5))
    warmup_epoch: int = key(0, "epochs over which the learning rate rises before it falls", at_least(0))
    grad_clip: float = key(5.0, "largest norm of the gradient; 0: any", at_least(0))


@dataclass(frozen=True)
class Train:
    genotype: str = key(
        "", "the architecture's text, a text file with it, or the folder of a finished search; as --arch, --genotype"
    )
    batch_size: int = key(96, "images a step, of each process (ImageNet 32)", between(2, 65536))
    channels: int = key(0, "channels of the first layers; 0: as published (DARTS: 36, ImageNet 48)", between(0, 4096))
    layers: int = key(0, "DARTS: cells; 0: as published (20, ImageNet 14)", between(0, 200))
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
    distill: float = key(
        0.0,
        "weight of what the teacher TEACHER.* says of an image, against its class (Hinton et al.)",
        between(0, 1),
    )
    temperature: float = key(4.0, "at which the teacher is asked", above(0))
    eval_period: int = key(1, "epochs from one test to the next; after the last one there always is one", at_least(1))


@dataclass(frozen=True)
class RetrainConfig:
    """All settings of one retraining."""

    name: str = key("", "name of the run's folder in OUT_DIR; empty: the config file's", INSIDE)
    out_dir: str = key("runs/retrain", "folder of run folders")
    rng_seed: int = key(0, "decides initial weights, order, augmentation and drop path", SEED)
    device: str = key("auto", "where to compute", one_of(*DEVICES))
    tracker: str = tracker_key()
    space: Space = Space()
    data: Data = Data()  # noqa: RUF009 (it is frozen)
    teacher: Teacher = Teacher()  # noqa: RUF009 (it is frozen)
    optim: Optim = Optim()
    train: Train = Train()


DIALECTS = Dialects(
    keys={
        **DATA_KEYS,
        "TRAIN.ARCH": "TRAIN.GENOTYPE",
        "SEARCH.LABEL_SMOOTH": "TRAIN.LABEL_SMOOTH",
        "LOADER.DATAPATH": "DATA.PATH",
        "TRAIN.DATASET": "DATA.NAME",
        "TRAIN.IM_SIZE": "DATA.IM_SIZE",
        "EVAL_PERIOD": "TRAIN.EVAL_PERIOD",
    },
    values={"SPACE.NAME": SEARCH_DIALECTS.values["SPACE.NAME"]},
    without_effect={
        "DATA_LOADER.BACKEND": "images are read by this toolkit",
        "TEST.BATCH_SIZE": "the test's result does not depend on it",
        "TRAIN.CHECKPOINT_PERIOD": "a checkpoint is kept after every epoch, at most every 20 s",
    },
)


def read_retrain_config(path: Path | None, overrides: Sequence[tuple[str, str]]) -> tuple[RetrainConfig, list[str]]:
    """The settings of a file and the command line, and notes for the user.

    What the run folder of a search says of its space and images stands for what is not given.
    Raises: InputError (see `load_config`), and for settings that the space has no use for.
    """

    def implied(settings: Mapping[str, Any]) -> dict[str, Any]:
        told = _told_by(settings["TRAIN.GENOTYPE"])
        data = told.get("DATA.NAME", "") if settings["DATA.NAME"] == Data().name else ""
        space = settings["SPACE.NAME"] or told["SPACE.NAME"]
        return {**recipe(data or settings["DATA.NAME"], space), **told}

    config, notes = load_config(RetrainConfig, path, overrides, DIALECTS, implied)
    if config.optim.warmup_epoch >= config.optim.max_epoch:
        raise InputError(
            f"OPTIM.WARMUP_EPOCH is {config.optim.warmup_epoch}, expected less than the {config.optim.max_epoch} epochs"
        )
    if config.space.name != DARTS:
        for name, value in (
            ("DROP_PATH_PROB", config.train.drop_path_prob),
            ("AUX_WEIGHT", config.train.aux_weight),
        ):
            if value:
                raise InputError(f"TRAIN.{name} is {value}: only networks of {DARTS} have such a thing")
    return config, notes


def _told_by(given: str) -> dict[str, Any]:
    """SPACE.NAME, and the images where it is a search that trained on some, of what is to be retrained."""
    folder = Path(given).expanduser()
    if not given or "(" in given or not folder.is_dir():
        return {"SPACE.NAME": DARTS}
    summary = read_summary(folder)
    told = {"SPACE.NAME": str(summary.get("space", ""))}
    if (file := folder / "config.yaml").exists() and summary.get("method") == "RMI-NAS":
        config = read_yaml(file)
        data = config.get("DATA") if isinstance(config, dict) else None
        data = data if isinstance(data, dict) else {}
        told |= {f"DATA.{name}": data[name] for name in ("NAME", "PATH") if data.get(name)}
    elif summary.get("dataset") in DATASETS:
        told["DATA.NAME"] = str(summary["dataset"])
    return told
