"""What was found and where: the folder of a search or of a retraining, or a space and the text of an architecture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from common.inputs import read_json, short
from common.spaces import SPACES, SearchSpace, Skeleton, UnknownOption, make_space

if TYPE_CHECKING:
    from torch import Tensor

SUMMARY, WEIGHTS = "summary.json", "checkpoint.pt"
SIZES = ("num_classes", "image_size")
MOST = {"num_classes": 10**6, "image_size": 4096, "channels": 4096, "layers": 200, "cells_per_stage": 100}


@dataclass(frozen=True)
class Found:
    """An architecture in a space whose network has the classes and the size that are wanted.

    weights: of a training of this very network; empty if there was none. where: for people.
    """

    space: SearchSpace[Any]
    arch: Any
    weights: dict[str, Tensor]
    where: str

    @property
    def text(self) -> str:
        return self.space.format(self.arch)


def read_found(
    given: str, text: str = "", run_seed: int | None = None, space: str = "", sizes: dict[str, int] | None = None
) -> Found:
    """From the name of a space and a text, or from a run folder of `rminas`, `renas` or `rminas.retrain`.

    A network has the classes and the pixels of the images that were searched or trained on, and the published number
    of channels and cells; retraining had its own.

    Args: run_seed: which of a folder's runs. space: instead of the one that the folder names (your own, by import
        path). sizes: num_classes, image_size and the space's options that shall be otherwise.
    Raises: InputError when nothing is found there, or several and `run_seed` names none of them.
    """
    sizes = {name: size for name, size in (sizes or {}).items() if size}
    if text:
        made = sized_space(space or given, sizes)
        return Found(made, made.parse(text), {}, f"{made.title}, as given")
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise InputError(f"{given}: no such run folder; or give a space and the text of an architecture")
    summary = read_summary(folder)
    there, arch = chosen_run(folder, summary, run_seed)
    try:
        known = _sizes_of(summary)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{folder / SUMMARY}: no sizes of networks in it ({short(error)})") from None
    name = space or there
    if name not in SPACES and ":" not in name:
        raise InputError(f"{folder}: found in {name!r}, a space of your own: name it as --space my_module:SPACE")
    made = sized_space(name, known | sizes)
    weights = _weights(folder / WEIGHTS) if summary.get("method") == "retraining" and not sizes else {}
    return Found(made, made.parse(arch), weights, str(folder))


def read_summary(folder: Path) -> dict[str, Any]:
    """What a finished run has found. Raises InputError for a folder that holds none, or something else."""
    try:
        summary = read_json(folder / SUMMARY)
    except InputError as error:
        raise InputError(f"{error}: not the folder of a finished run") from None
    if not isinstance(summary, dict):
        raise InputError(f"{folder / SUMMARY} is no summary; repair or remove it")
    return summary


def chosen_run(folder: Path, summary: dict[str, Any], run_seed: int | None) -> tuple[str, str]:
    """The space and the architecture, as texts. Raises InputError as `read_found` does."""
    try:
        if summary.get("method") == "retraining":
            return str(summary["space"]), str(summary["arch"])
        space, found = str(summary["space"]), {int(run["seed"]): str(run["found"]["arch"]) for run in summary["runs"]}
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{folder}: not the folder of a finished search (nothing found in {SUMMARY})") from None
    if run_seed is None and len(found) == 1:
        return space, next(iter(found.values()))
    if run_seed not in found:
        seeds = ", ".join(map(str, found))
        raise InputError(f"{folder}: runs of the seeds {seeds}; choose one of them by --run_seed")
    return space, found[run_seed]


def sized_space(name: str, sizes: dict[str, int]) -> SearchSpace[Any]:
    """The space called `name` with networks of so many classes, pixels, channels ...; its own where nothing is said."""
    for size, value in sizes.items():
        if not 0 < value <= MOST.get(size, math.inf):
            raise InputError(f"--{size} is {value}, expected 1 to {MOST.get(size, 'more')}")
    space = make_space(name)
    options = {option: size for option, size in sizes.items() if option not in SIZES}
    classes = sizes.get("num_classes", getattr(space, "num_classes", 10))
    try:
        return space.for_search(Skeleton(classes, sizes.get("image_size", getattr(space, "image_size", 32)), options))
    except UnknownOption as error:
        raise InputError(f"--{error.option}: {error}") from None


def _sizes_of(summary: dict[str, Any]) -> dict[str, int]:
    """Classes, pixels and options that a summary tells, or that are known of its data set."""
    from common.datasets import DATASETS, data_set

    if "network" in summary:
        return {name: index(size) for name, size in summary["network"].items() if name != "files"}
    images = dict(summary.get("images") or {})
    if all(size in images for size in SIZES):
        return {size: index(images[size]) for size in SIZES}
    name = summary.get("dataset") or ""
    if name not in DATASETS:
        return {}
    facts = data_set(name)
    return {size: value for size in SIZES if (value := getattr(facts, size))}


def _weights(file: Path) -> dict[str, Tensor]:
    from common.networks.checkpoints import read_checkpoint, state_dict_of

    if not file.exists():
        return {}
    stored = read_checkpoint(file)
    return state_dict_of(file, stored)
