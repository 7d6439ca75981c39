"""Trained NAS-Bench-201 networks as teachers: cell 9930 by default, or whatever cell an official result file holds.

Result files of single cells (`009930-FULL.pth`) are pickles: read as plain data, and the benchmark's own class of a
training, if one is in them, as a plain record. They run nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor, nn

from common.datasets import DATASETS, data_set
from common.errors import InputError
from common.networks.checkpoints import fill, read_checkpoint, state_dict_of
from common.networks.nasbench201 import Cell, Network201
from common.spaces.nasbench201 import CONV1, CONV3, EDGES, NONE, STAGES, NasBench201

CELL_9930 = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
CHANNELS, CELLS = 16, 5
LARGEST = 256  # channels and cells of an official network
PREFERRED_SEED = 777  # the training that every cell has
_SCALAR = np.float64(0).__reduce__()[0]  # what makes a numpy number of its bytes, which moved in numpy 2
_NUMPY_SCALARS = [(_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]


def build(num_classes: int) -> Network201:
    """Cell 9930, the teacher of RMI-NAS's ImageNet16-120 search, untrained."""
    return _build(CELL_9930, CHANNELS, CELLS, num_classes)


def load(path: Path, num_classes: int) -> Network201:
    """From an official result file, or cell 9930 from weights of this toolkit.

    Raises: InputError when the file is neither, or has no training on a data set of so many classes.
    """
    stored = read_checkpoint(path, admitted())
    if "full" not in stored:
        network = build(num_classes)
        fill(network, "nasbench201", path, state_dict_of(path, stored))
        return network
    run = _find_run(path, stored, num_classes)
    try:
        config, weights = run["arch_config"], state_dict_of(path, run["net_state_dict"])
        if not (0 < config["channel"] <= LARGEST and 0 < config["num_cells"] <= LARGEST):
            raise KeyError("arch_config")
        network = _build(config["arch_str"], config["channel"], config["num_cells"], num_classes)
        ops = NasBench201().parse(config["arch_str"]).ops
        renamed = _renamed(network, weights, config["num_cells"], ops)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            f"{path}: a result file without the network's weights ({error!r}); take the FULL one"
        ) from None
    if _constant_parts(ops):
        raise InputError(
            f"{path}: {config['arch_str']} has a convolution behind a node without input: take another cell"
        )
    fill(network, f"nasbench201 {config['arch_str']}", path, renamed)
    return network


def _build(cell: str, channels: int, cells: int, num_classes: int) -> Network201:
    return Network201(NasBench201().parse(cell).ops, channels, cells, num_classes)


def admitted() -> list[Any]:
    """What official result files hold beside plain data: numpy's numbers, and the class of a training's results."""
    record = type("ResultsCount", (), {"__module__": "nas_201_api.api_utils"})  # attributes and no more
    scalars = {type(np.dtype(kind)) for kind in "?bBhHiIqQefd"}
    return [record, set, np.dtype, *scalars, *_NUMPY_SCALARS]


def _find_run(path: Path, stored: Mapping[str, Any], num_classes: int) -> Mapping[str, Any]:
    try:
        runs = dict(stored["full"]["all_results"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: no trainings under 'full', 'all_results'; not an official result file") from None
    known = [data_set(name) for name in DATASETS]
    wanted = next((found.nasbench201 for found in known if found.nasbench201 and found.num_classes == num_classes), "")
    if not all(isinstance(key, tuple) and [*map(type, key)] == [str, int] for key in runs):
        raise InputError(f"{path}: its trainings are not by data set and seed; not an official result file")
    seeds = sorted(
        (seed for dataset, seed in runs if dataset == wanted), key=lambda seed: (seed != PREFERRED_SEED, seed)
    )
    if not seeds:
        there = ", ".join(sorted({dataset for dataset, _ in runs}))
        raise InputError(f"{path}: no training on a data set of {num_classes} classes; there are: {there}")
    run = runs[wanted, seeds[0]]
    return run if isinstance(run, Mapping) else dict(getattr(run, "__dict__", {}))


def _constant_parts(ops: tuple[int, ...]) -> bool:
    """Whether a convolution gets no input: officially it adds its batch norm's offset, Network201 does not build it."""
    fed = {0}
    for (source, target), op in zip(EDGES, ops, strict=True):  # sorted by target: a source is complete when it is used
        if op != NONE and source in fed:
            fed.add(target)
    return any(op in (CONV1, CONV3) and source not in fed for (source, _), op in zip(EDGES, ops, strict=True))


def _renamed(network: Network201, weights: Mapping[str, Tensor], cells: int, ops: tuple[int, ...]) -> dict[str, Tensor]:
    """Weights under the official names (a flat list of cells and residual blocks) under those of Network201."""
    places: dict[str, str] = {"stem.": "stem.", "lastact.0.": "last.0.", "classifier.": "classifier."}
    flat = 0
    for stage in range(STAGES):
        if stage:
            block = f"reductions.{stage}."
            for official, own in (("conv_a.op.", "body.0."), ("conv_b.op.", "body.1."), ("downsample.", "shortcut.")):
                places[f"cells.{flat}.{official}"] = block + own
            flat += 1
        for cell in range(cells):
            built = cast(Cell, cast(nn.Sequential, network.stages[stage])[cell]).edges
            for edge, op in enumerate(ops):
                if op in (CONV1, CONV3) and edge in built:
                    places[f"cells.{flat}.layers.{edge}.op."] = f"stages.{stage}.{cell}.ops.{built.index(edge)}."
            flat += 1
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        for official, own in places.items():
            if key.startswith(official):
                found[own + key.removeprefix(official)] = value
    return found
