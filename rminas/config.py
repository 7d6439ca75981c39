"""The settings of RMI-NAS: the published ones of every space as defaults, both published YAML dialects as names.

Two dialects are read besides our own keys: that of the RMI-NAS archive (`SEARCH.DATASET`, ...) and that of the
XNAS port (`LOADER.DATASET`, `SPACE.NAME infer_nb201`, `BENCHMARK.NB201PATH`, ...).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.budget import Budget
from common.devices import DEVICES
from common.errors import InputError
from common.evaluators import EVALUATORS
from common.execution import EXECUTORS
from common.runs import config as settings
from common.runs.config import (
    INSIDE,
    SEED,
    SHARE,
    Dialects,
    above,
    at_least,
    between,
    key,
    keys_of,
    member_of,
    nested,
    one_of,
)
from common.search import STRATEGIES
from common.spaces import SPACES
from common.trackers import TRACKERS
from rminas.elections import ELECTIONS

# What differs from the defaults below (those of NAS-Bench-201), by space: the published settings (RMI-NAS, archive and
# XNAS port). Where a space is not published for an image size, its values for CIFAR stand; for a space that is not
# published at all, the defaults.
PUBLISHED: dict[str, dict[str, Any]] = {
    "darts": {
        "RMINAS.OBSERVE": 250,
        "RMINAS.FOREST": 98,
        "TRAIN.BATCH_SIZE": 128,
        "OPTIM.BASE_LR": 0.025,
        "OPTIM.WEIGHT_DECAY": 3e-4,
    },
    "macro": {"RMINAS.OBSERVE": 30, "TRAIN.BATCH_SIZE": 64},
    "mobilenet": {
        "RMINAS.OBSERVE": 250,
        "RMINAS.RF_WARMUP": 200,
        "RMINAS.TOP": 30,
        "RMINAS.FOREST": 140,
        "TRAIN.BATCH_SIZE": 32,
        "OPTIM.BASE_LR": 0.025,
        "OPTIM.LR_POLICY": "cosine",
        "OPTIM.GRAD_CLIP": 5.0,
    },
    "proxyless": {
        "RMINAS.OBSERVE": 500,
        "RMINAS.FOREST": 100,
        "TRAIN.BATCH_SIZE": 128,
        "OPTIM.BASE_LR": 0.025,
        "OPTIM.WEIGHT_DECAY": 3e-4,
    },
}

# What differs from the defaults, and from the published settings, where the strategy is the screening.
SCREENING: dict[str, Any] = {
    "RMINAS.EVALUATOR": "steady",
    "RMINAS.CHEAP": "flops",
    "RMINAS.RF_WARMUP": 15,
    "RMINAS.ROUND": 5,
    "RMINAS.MAX_EVALUATIONS": 60,
    "RMINAS.TOP": 20,
}

POLICIES = ("constant", "cosine")
_known, _said = member_of(EVALUATORS)
EVALUATOR = (lambda names: all(_known(name.strip()) for name in names.split("+")), f"{_said}, or several joined by +")


def tracker_key() -> Any:
    """The setting TRACKER, of searches and retrainings."""
    return key("", "shows curves while it runs: tensorboard, mlflow, your own; empty: none", member_of(("", *TRACKERS)))


@dataclass(frozen=True)
class Space:
    name: str = key("nasbench201", "search space, or your own as my_module:SPACE", member_of(SPACES))
    cells_per_stage: int = key(0, "NAS-Bench-201: cells in each of three stages; 0: the published 5", between(0, 100))


@dataclass(frozen=True)
class Data:
    name: str = key("cifar10", "images: cifar10, digits ..., my_module:MY_SET, or a name for your own at DATA.PATH")
    path: str = key("", "their file or folder; empty: downloaded, or from the installed package (digits)")
    num_classes: int = key(0, "checked against the images; 0: theirs", at_least(0))
    im_size: int = key(0, "pixels along a side, checked against the images; 0: theirs", at_least(0))


@dataclass(frozen=True)
class Teacher:
    name: str = key(
        "",
        "network whose representations are imitated: ours, torchvision's, or your own as my_module:build; empty: the "
        "published one for the images",
    )
    taps: str = key("", "names of its modules whose outputs are imitated, shallow to deep, with commas between them")
    weights: str = key("", "its trained weights; empty: trained here for TEACHER.EPOCHS, kept in the run folder")
    mode: str = key("eval", "batch norm of the teacher: eval, or train as published", one_of("eval", "train"))
    num_classes: int = key(
        0, "classes that it knows, the images' being the first of them; 0: as many as there are", at_least(0)
    )
    epochs: int = key(0, "epochs to train it here when no weights are named; 0: weights must be named", at_least(0))
    batch_size: int = key(128, "images a step of that training", at_least(2))
    base_lr: float = key(0.1, "learning rate of that training", above(0))
    test_images: int = key(0, "test images its accuracy is told on, spread over all; 0: all", at_least(0))


@dataclass(frozen=True)
class Optim:
    base_lr: float = key(0.1, "learning rate of a candidate", above(0))
    momentum: float = key(0.9, "momentum", between(0, 1))
    weight_decay: float = key(5e-4, "weight decay", at_least(0))
    lr_policy: str = key("constant", "learning rate over a candidate's steps: constant or cosine", one_of(*POLICIES))
    grad_clip: float = key(0.0, "norm to which a candidate's gradient is clipped; 0: not", at_least(0))


@dataclass(frozen=True)
class Train:
    batch_size: int = key(32, "images in the one batch", between(4, 65536))
    im_size: int = key(
        0,
        "pixels along a side that candidates see, means of those that a teacher sees; 0: all",
        at_least(0),
    )
    channels: int = key(0, "channels of the first stage of a candidate network; 0: the space's own", between(0, 4096))
    layers: int = key(0, "DARTS: cells of a candidate network; 0: the published number", between(0, 200))
    precision: str = key("float32", "of candidates: float32, or bf16 (autocast)", one_of("float32", "bf16"))
    channels_last: bool = key(True, "memory layout of images and features: channels last")


@dataclass(frozen=True)
class Rminas:
    loss_beta: float = key(0.8, "weight of the representations against cross-entropy", between(0, 1))
    evaluator: str = key("rmi", "what a candidate is judged by: rmi, or another evaluator", member_of(EVALUATORS, True))
    strategy: str = key("forest", "what chooses the candidates: forest, or another strategy", member_of(STRATEGIES))
    observe: int = key(150, "updates of a candidate; the loss after them is its score", between(1, 10**6))
    pool: int = key(16, "the batch is the best classified of POOL times as many images", between(1, 10**4))
    hsic: str = key("biased", "estimator of HSIC: biased as published, or unbiased", one_of("biased", "unbiased"))
    rf_warmup: int = key(
        100, "random cells before the forest, or the screening's predictor, chooses", between(2, 10**6)
    )
    rf_thresrate: float = key(0.05, "quantile of the warm-up's losses below which a cell is positive", between(0, 1))
    rf_succ: int = key(100, "positives after the warm-up that end the search", at_least(0))
    forest: int = key(30, "trees", between(1, 10**5))
    candidates: int = key(1000, "random cells the forest chooses the next one from", between(1, 10**6))
    drawn: int = key(4000, "STRATEGY screening: random cells that the free score CHEAP sees", between(10, 10**6))
    kept: float = key(0.25, "STRATEGY screening: share of them that it leaves to the evaluator", SHARE)
    finalists: int = key(
        0, "STRATEGY screening: the best cells, which FINAL evaluates too; both scores say who votes", at_least(0)
    )
    final: str = key("rmi", "evaluator of the finalists", member_of(EVALUATORS, True))
    max_evaluations: int = key(2000, "cells at most, warm-up included, whether or not RF_SUCC is reached", at_least(2))
    top: int = key(50, "positives with the lowest losses that vote; of a screening, the best cells", at_least(1))
    vote: str = key(
        "sum",
        "how the result is chosen: vote by sum (each edge by itself), greedy (edge by edge; NAS-Bench-201), index (the "
        "archive's DARTS rule), the least loss that a model of all evaluations predicts, the best evaluated, or the "
        "best once a predictor has smoothed the scores",
        member_of(ELECTIONS),
    )
    size: float = key(
        0.0,
        "weight of a network's size (or another cheap score) beside its loss, both in standard deviations of their "
        "logarithms over random networks; 0: the loss alone, as published",
        at_least(0),
    )
    cheap: str = key(
        "params",
        "the cheap score that SIZE weighs, or that STRATEGY screening begins with: an evaluator",
        member_of(EVALUATORS, True),
    )
    round: int = key(1, "cells proposed at once, to be evaluated side by side; 1 as published", between(1, 10**4))
    race: float = key(
        0.0,
        "stop candidates that would have to do so many standard errors better than their early losses predict to be "
        "positive; 0: train all to the end, as published",
        at_least(0),
    )
    race_full: int = key(20, "with RACE: cells of the warm-up that are trained to the end to learn from", at_least(8))
    population: int = key(
        0,
        "candidates at once: together, 0: as many as the memory holds; processes, a local ray, 0: one a core",
        between(0, 1024),
    )
    isomorphic_once: bool = key(False, "evaluate one cell of each isomorphism class only (not as published)")


@dataclass(frozen=True)
class Benchmark:
    path: str = key("", "table of trained cells, of any space; empty: AnalogNAS-Bench, which pip installs")
    dataset: str = key("", "data set whose accuracy is looked up; empty: DATA.NAME")
    latency: str = key("", "MobileNet space, with PATH of OFA's accuracy predictor: its table of phone latencies")
    column: str = key("", "column that is looked up; empty: test accuracy on the data set after the longest training")
    zero_cost: str = key("", "--rank: csv of training-free scores to stand beside (index, arch, one column a score)")


@dataclass(frozen=True)
class Ray:
    address: str = key("", "EXECUTOR ray: auto: the cluster of this machine, or host:port; empty: one started here")
    cpus: float = key(1.0, "EXECUTOR ray: cores that a candidate asks for, and its threads", between(0.01, 4096))
    gpus: float = key(0.0, "EXECUTOR ray: GPUs, or the part of one, that a candidate asks for", between(0, 1024))


@dataclass(frozen=True)
class Config:
    """All settings of one run."""

    name: str = key("", "name of the run's folder in OUT_DIR; empty: the config file's", INSIDE)
    out_dir: str = key("runs/rminas", "folder of run folders")
    rng_seed: int = key(0, "first seed", SEED)
    seeds: int = key(1, "number of seeds, counted up from RNG_SEED", between(1, 10**4))
    device: str = key("auto", "where to compute", one_of(*DEVICES))
    executor: str = key(
        "auto",
        "how candidates are evaluated: serial, processes, together (as one fused network), ray, your own; auto: by "
        "device",
        member_of(("auto", *EXECUTORS)),
    )
    tracker: str = tracker_key()
    ray: Ray = Ray()
    space: Space = Space()
    data: Data = Data()
    teacher: Teacher = Teacher()
    optim: Optim = Optim()
    train: Train = Train()
    rminas: Rminas = Rminas()
    budget: Budget = Budget()  # noqa: RUF009 (it is frozen)
    benchmark: Benchmark = Benchmark()


DATA_KEYS = {  # what both dialects call the images, in searches and in retraining
    "SEARCH.DATASET": "DATA.NAME",
    "SEARCH.NUM_CLASSES": "DATA.NUM_CLASSES",
    "SEARCH.IM_SIZE": "DATA.IM_SIZE",
    "LOADER.DATASET": "DATA.NAME",
    "LOADER.NUM_CLASSES": "DATA.NUM_CLASSES",
    "LOADER.BATCH_SIZE": "TRAIN.BATCH_SIZE",
}
DIALECTS = Dialects(
    keys={
        **DATA_KEYS,
        "BENCHMARK.NB201PATH": "BENCHMARK.PATH",
        "RMINAS.ENGINE": "EXECUTOR",
    },
    values={
        "SPACE.NAME": {
            "infer_nb201": "nasbench201",
            "infer_darts": "darts",
            "nasbenchmacro": "macro",
            "ofa": "mobilenet",
        },
        "EXECUTOR": {"one": "serial", "workers": "processes", "fused": "together"},
        "DATA.NAME": {"imagenet16": "imagenet16_120", "ImageNet16-120": "imagenet16_120"},
    },
    without_effect={
        "DATA_LOADER.BACKEND": "images are read by this toolkit",
        "OPTIM.MAX_EPOCH": "the steps of a candidate are RMINAS.OBSERVE",
        "TRAIN.CHECKPOINT_PERIOD": "every finished evaluation is kept at once",
    },
)


def read_config(path: Path | None, overrides: Sequence[tuple[str, str]]) -> tuple[Config, list[str]]:
    """The settings of a file and the command line, and notes for the user. Raises InputError (see `load_config`)."""
    return settings.load_config(Config, path, overrides, DIALECTS, _implied)


def _implied(values: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults that follow from other settings."""
    strategy = values["RMINAS.STRATEGY"]
    own: dict[str, Any] = {"forest": {}, "screening": SCREENING}.get(strategy, {"RMINAS.VOTE": "best"})  # none can vote
    return {**PUBLISHED.get(values["SPACE.NAME"], {}), **own}


def load_config(config: str | Path | Config | None = None, **overrides: Any) -> Config:
    """The settings of a config file, some of them changed.

    Args: config: a YAML file, or the name of one that ships (`nb201_digits_fast`); None for the defaults.
        overrides: values by key: as dictionary entries (`**{"OPTIM.BASE_LR": 0.2}`), with two underscores for the dot
        (`optim__base_lr=0.2`), or by the last part where that is enough (`base_lr=0.2` is not, `observe=20` is).
    Raises: InputError for a file that is not there, and keys and values that are not known.

    >>> load_config("nb201_digits_fast", observe=10).rminas.observe
    10
    """
    given = [(_key(name), value) for name, value in overrides.items()]
    if isinstance(config, Config):
        return read_config(None, [*_flat(nested(config)), *given])[0]
    return read_config(None if config is None else find_config(config), given)[0]


RETRAINED = ("darts_14layer_imagenet", "darts_20layer_cifar")  # configs that ship of python -m rminas.retrain


def find_config(name: str | Path, retraining: bool = False) -> Path:
    """The config file of a path, or the one that ships under a name, of a search or of a retraining.

    Raises: InputError naming those there are, and for a config that ships of the other.
    """
    path = Path(name).expanduser()
    shipped = {file.stem: file for file in sorted(_shipped().glob("*.yaml"))}
    if not path.exists() and path.stem in shipped and path.suffix in ("", ".yaml") and path.parent == Path():
        path = shipped[path.stem]
    elif not path.exists() and not (path.suffix == ".yaml" and path.parent != Path()):
        known = [stem for stem in shipped if (stem in RETRAINED) == retraining]
        raise InputError(f"{name}: no such config file; by name there are {', '.join(known)}")
    ours = path.stem in shipped and path.resolve() == shipped[path.stem].resolve()
    if ours and (path.stem in RETRAINED) != retraining:
        of = "a search: python -m rminas" if retraining else "a retraining: python -m rminas.retrain"
        raise InputError(f"{name}: the settings of {of} --cfg {name}")
    return path


def _shipped() -> Path:
    """The folder of the configs that ship: in the package once that is installed, beside it in a clone."""
    package = Path(__file__).resolve().parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def _key(name: str) -> str:
    """A key as it stands in files, from what a keyword argument can hold."""
    full = name.replace("__", ".").upper()
    known = keys_of(Config)
    ends = [key for key in known if key.rpartition(".")[2] == full]
    return ends[0] if full not in known and len(ends) == 1 else full


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return found
