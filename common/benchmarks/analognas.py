"""AnalogNAS-Bench: trained CIFAR-10 accuracies of all NAS-Bench-201 cells, in the PyPI package analog-nasbench.

The package itself is never imported (it needs a module that new setuptools no longer has), and its data, a pickle, is
read with an unpickler that admits the two plain classes in it and can call nothing else.
"""

from __future__ import annotations

import pickle
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from common.benchmarks.files import accuracy_column, read_head, sha256_of
from common.benchmarks.table import PERCENT, BenchmarkTable, Column, Source
from common.errors import InputError
from common.inputs import short
from common.spaces.nasbench201 import CONV1, CONV3, EDGES, NONE, POOL, SKIP, NasBench201

KIND = "analognas"
TITLE = "AnalogNAS-Bench"
PACKAGE, DATA_FILE = "analog-nasbench", "data.anb"
MODULE = "analognasbench.data"
DATASET, SPLIT = "cifar10", "test"

# The six digits of an architecture in the file: which edge each one is for, and which operation it means.
FILE_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
FILE_OPS = (SKIP, NONE, CONV3, CONV1, POOL)

# What the cells reach on analog hardware, as simulated by the authors; not the accuracy of the trained network, so
# these columns have no split and are never found where a test accuracy is asked for.
ANALOG = {
    "ptq_accuracy": "after quantization",
    "qat_accuracy": "after quantization-aware training",
    "noisy_accuracy": "digital weights on the noisy analog chip",
    "analog_accuracy": "after hardware-aware training, on the analog chip",
}


class _Record:
    """Stands for the package's two classes, which are attributes and no more."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == MODULE and name in ("Architecture", "DriftMeasurement"):
            return _Record
        raise pickle.UnpicklingError(f"holds {module}.{name}, which has no place in this file")


def matches(path: Path) -> bool:
    head = read_head(path, 256)
    return head.startswith(b"\x80") and MODULE.encode() in head


def read(path: Path | None) -> BenchmarkTable:
    """The table, in the file's order: lexicographic in the file's own digits (FILE_EDGES, FILE_OPS).

    `cifar10_test` is the accuracy of the digital baseline; the file does not say how long it was trained. The columns
    of ANALOG come along under the file's names.

    Args: path: a `data.anb`; None for the installed package's. Raises: InputError when the package is not installed or
    the file is not what it should be.
    """
    version = ""
    if path is None:
        path, version = _installed()
    try:
        with path.open("rb") as file:
            records = _Unpickler(file).load()
        digits = np.array([[int(digit) for digit in key] for key in records], dtype=np.uint8)
        measured = {
            field: np.array([float(getattr(record, field)) for record in records.values()])
            for field in ("baseline_accuracy", *ANALOG)
        }
        codes = np.array(FILE_OPS, dtype=np.uint8)[digits[:, [FILE_EDGES.index(edge) for edge in EDGES]]]
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(
            f"{path}: not a readable {TITLE} file ({short(error)}); try: pip install --force-reinstall {PACKAGE}"
        ) from error
    accuracy = accuracy_column(
        path, DATASET, SPLIT, 0, measured["baseline_accuracy"], note="digital baseline, length of training not stated"
    )
    columns = {accuracy.name: accuracy}
    columns |= {field: Column(field, measured[field], PERCENT, note=note) for field, note in ANALOG.items()}
    title = f"{TITLE} {version}".strip() + " (trained NAS-Bench-201 table)"
    source = Source(KIND, title, str(path), path.stat().st_size, sha256_of(path))
    return BenchmarkTable(source, columns, NasBench201(), codes)


def _installed() -> tuple[Path, str]:
    """Where pip put the data, and the package's version."""
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        raise InputError(f"{TITLE} is not installed: pip install {PACKAGE}, or name a benchmark file") from None
    for file in package.files or ():
        path = Path(str(file.locate()))
        if file.name == DATA_FILE and path.is_file():
            return path.resolve(), package.version
    raise InputError(
        f"the installed {PACKAGE} {package.version} lacks {DATA_FILE}: pip install --force-reinstall {PACKAGE}"
    )
