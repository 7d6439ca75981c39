"""The official NAS-Bench-201 `.pth` files (v1_0, v1_1): read once, without torch or running anything, then cached."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.benchmarks.files import (
    accuracy_column,
    arch_codes,
    cached_arrays,
    parse_accuracy_name,
    read_head,
    sha256_of,
)
from common.benchmarks.pickles import LEGACY, ZIP, load_torch_file
from common.benchmarks.table import BenchmarkTable, Source
from common.errors import InputError
from common.spaces.nasbench201 import NasBench201

KIND = "nasbench201_pth"
HEAD = 4 << 20  # the key below stands before the results; what may precede it (all cell strings) is under 2 MB
RESULTS_KEY = b"arch2infos"
SCHEDULES = {"full": 200, "less": 12}  # the file's names of the two trainings -> epochs


class Measured(NamedTuple):
    """Where the benchmark keeps one of our accuracies: which training, and which images it was evaluated on."""

    dataset: str
    split: str
    trained_on: str
    evaluated_on: str


# As in the benchmark's paper: validation on CIFAR-10 is of networks trained on half of its training set.
MEASURED = (
    Measured("cifar10", "valid", "cifar10-valid", "x-valid"),
    Measured("cifar10", "test", "cifar10", "ori-test"),
    Measured("cifar100", "valid", "cifar100", "x-valid"),
    Measured("cifar100", "test", "cifar100", "x-test"),
    Measured("imagenet16_120", "valid", "ImageNet16-120", "x-valid"),
    Measured("imagenet16_120", "test", "ImageNet16-120", "x-test"),
)

log = logging.getLogger(__name__)


def matches(path: Path) -> bool:
    head = read_head(path, HEAD)
    return head.startswith((ZIP, LEGACY)) and RESULTS_KEY in head


def read(path: Path) -> BenchmarkTable:
    """The table in the benchmark's index order: `{dataset}_{valid|test}_{200|12}`, means over the training seeds.

    A column that no cell was measured for is left out; a cell that was not measured is NaN. The first load takes as
    long and as much memory as unpickling the file; later ones read a cache of a few MB (see `cached_arrays`).

    Raises: InputError when the file is damaged or holds something else.
    """
    stat = path.stat()
    arrays = cached_arrays(path, f"{stat.st_size} {stat.st_mtime_ns}", lambda: _read_results(path))
    source = Source(KIND, f"NAS-Bench-201 {path.name}", str(path), stat.st_size, str(arrays["sha256"]))
    return results_table(source, arrays)


def _read_results(path: Path) -> dict[str, np.ndarray]:
    log.info("reading %s in full, once; from then on its cache is read", path)
    try:
        file = load_torch_file(path)
        texts, infos = list(file["meta_archs"]), file["arch2infos"]
        values = unmeasured(len(texts))
        for index in sorted(infos):
            info = infos.pop(index)
            for schedule, epochs in SCHEDULES.items():
                take_accuracies(values, index, epochs, info[schedule])
    except Exception as error:  # a damaged pickle can fail in any way
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise InputError(f"{path}: not a complete NAS-Bench-201 file ({reason}); download it again") from error
    return results_arrays(path, texts, values) | {"sha256": np.array(sha256_of(path))}


# what the NATS-Bench reader shares: the same results, in other files ------------------------------------------------


def unmeasured(count: int) -> dict[str, np.ndarray]:
    """Accuracy name -> (N,) NaN, for all the accuracies there may be."""
    return {
        f"{m.dataset}_{m.split}_{epochs}": np.full(count, np.nan) for m in MEASURED for epochs in SCHEDULES.values()
    }


def take_accuracies(values: dict[str, np.ndarray], index: int, epochs: int, results: Mapping[str, Any]) -> None:
    """Enter an architecture's accuracies after the last epoch, means over the seeds.

    Args: results: the state of an official `ArchResults`, whose `all_results` are those of its trainings by data set
        and seed.
    """
    for dataset, split, trained_on, evaluated_on in MEASURED:
        runs = [run for (name, _), run in results["all_results"].items() if name == trained_on]
        last = [run["eval_acc1es"].get(f"{evaluated_on}@{run['epochs'] - 1}") for run in runs]
        found = [float(accuracy) for accuracy in last if accuracy is not None]
        if found:
            values[f"{dataset}_{split}_{epochs}"][index] = np.mean(found)


def results_arrays(path: Path, texts: Sequence[str], values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays that are cached: codes, names of the accuracies that were measured, and their values."""
    names = [name for name in values if not np.isnan(values[name]).all()]
    if not names:
        raise InputError(f"{path}: holds no accuracy of a trained network")
    return {
        "codes": arch_codes(path, NasBench201(), texts, row_name="architecture {}".format),
        "names": np.array(names),
        "values": np.stack([values[name] for name in names]),
    }


def results_table(source: Source, arrays: Mapping[str, np.ndarray]) -> BenchmarkTable:
    columns = {}
    for name, values in zip(arrays["names"].tolist(), arrays["values"], strict=True):
        parsed = parse_accuracy_name(name)
        assert parsed is not None
        columns[name] = accuracy_column(Path(source.path), *parsed, values, row_name="architecture {}".format)
    return BenchmarkTable(source, columns, NasBench201(), arrays["codes"])
