"""The NATS-Bench topology folder (`NATS-tss-v1_0-3ffb9-simple/`), read once through `nats_bench`, then cached.

Its files are pickles and may run code when they are loaded: only a folder that the user named is ever read.
"""

from __future__ import annotations

import bz2
import os
from pathlib import Path

import numpy as np

from common.benchmarks.files import cached_arrays
from common.benchmarks.nasbench201_pth import SCHEDULES, results_arrays, results_table, take_accuracies, unmeasured
from common.benchmarks.table import BenchmarkTable, Source
from common.errors import InputError

KIND = "nats"
META = "meta.pickle.pbz2"  # the names of all architectures; the results of each are in a file of its own
CELL_MARK = b"~0|"  # stands in every cell string, and in no architecture of NATS-Bench's size space
HEAD = 64 << 10


def matches(path: Path) -> bool:
    meta = path / META
    if not meta.is_file():
        return False
    try:
        with bz2.open(meta) as file:
            return CELL_MARK in file.read(HEAD)
    except (OSError, EOFError):
        return False


def read(path: Path) -> BenchmarkTable:
    """The table in the benchmark's index order, with the columns of the `.pth` reader.

    The first load unpickles one file an architecture; later ones read a cache of a few MB (see `cached_arrays`).

    Raises: InputError when `nats_bench` is needed and not installed, or a file is missing or damaged.
    """
    stats = [entry.stat() for entry in os.scandir(path)]
    size = sum(stat.st_size for stat in stats)
    newest = max(stat.st_mtime_ns for stat in stats)
    arrays = cached_arrays(path, f"{len(stats)} {size} {newest}", lambda: _read_results(path))
    return results_table(Source(KIND, f"NATS-Bench topology space {path.name}", str(path), size), arrays)


def _read_results(path: Path) -> dict[str, np.ndarray]:
    try:
        import nats_bench
    except ImportError:
        raise InputError(f"{path}: a NATS-Bench folder is read with nats-bench: pip install nats-bench") from None
    from tqdm import tqdm

    index = -1
    try:
        api = nats_bench.create(str(path), "tss", fast_mode=True, verbose=False)
        values = unmeasured(len(api))
        for index in tqdm(range(len(api)), desc="NATS-Bench, once", unit="arch", leave=False):
            api.reload(str(path), index)
            trained = api.arch2infos_dict.pop(index)  # popped: all of them would fill the memory
            for epochs in SCHEDULES.values():
                if str(epochs) in trained:
                    take_accuracies(values, index, epochs, trained[str(epochs)])
    except Exception as error:  # unpickling a damaged file can fail in any way
        place = META if index < 0 else f"architecture {index}"
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise InputError(f"{path}: {place}: missing or damaged ({reason}); unpack the folder again") from error
    return results_arrays(path, api.meta_archs, values)
