"""NAS-Bench-Macro's JSON: `{"02012100": {"test_acc": [a, b, c], "mean_acc": m, "params": p, "flops": f, ...}, ...}`."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.benchmarks.files import accuracy_column, read_head, sha256_of
from common.benchmarks.table import BenchmarkTable, Column, Source
from common.errors import InputError
from common.inputs import read_json
from common.spaces import make_space

KIND = "macro_json"
RUNS = 3  # independent trainings of every network
EPOCHS = 50  # train/train.py of xiusu/NAS-Bench-Macro, which keeps the best epoch's test accuracy of each run
_HEAD = re.compile(rb'\s*\{\s*"\d+"\s*:\s*\{[^}]*"(test_acc|mean_acc)"')


def matches(path: Path) -> bool:
    return _HEAD.match(read_head(path, 4096)) is not None


def read(path: Path) -> BenchmarkTable:
    """The table, networks in the file's order.

    Columns: `cifar10_test_50`, the mean of the three runs (percent); `cifar10_test_50_run0` to `_run2`, each run, of
    split "" so that nobody takes one for the benchmark's value; `params`; `flops` (multiply-accumulates).

    Raises: InputError naming the key that is malformed, repeated or incomplete.
    """
    space = make_space("macro")
    records = _load(path)
    keys = list(records)
    try:
        codes = space.to_codes([space.parse(key) for key in keys])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    runs = np.array([_runs(path, key, record) for key, record in records.items()])
    means, params, flops = (
        np.array([_number(path, key, field, record.get(field)) for key, record in records.items()])
        for field in ("mean_acc", "params", "flops")
    )
    wrong = np.flatnonzero(np.abs(runs.mean(axis=1) - means) > 0.01)
    if wrong.size:
        raise InputError(f"{path}: key {keys[wrong[0]]!r}: mean_acc is not the mean of test_acc")
    accuracy = accuracy_column(
        path, "cifar10", "test", EPOCHS, means, note=f"mean of {RUNS} runs", row_name=lambda row: f"key {keys[row]!r}"
    )
    columns = [
        accuracy,
        *(
            replace(accuracy, name=f"{accuracy.name}_run{run}", values=runs[:, run].copy(), split="", note="")
            for run in range(RUNS)
        ),
        Column("params", params, unit="parameters"),
        Column("flops", flops, unit="FLOPs", note="multiply-accumulates"),
    ]
    source = Source(KIND, "NAS-Bench-Macro", str(path), path.stat().st_size, sha256_of(path))
    return BenchmarkTable(source, {column.name: column for column in columns}, space, codes)


def _load(path: Path) -> dict[str, dict[str, Any]]:
    def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise InputError(f"{path}: key {next(n for n in names if names.count(n) > 1)!r} occurs twice")
        return found

    records = read_json(path, object_pairs_hook=unrepeated)
    for key, record in records.items():
        if not isinstance(record, dict):
            raise InputError(f"{path}: key {key!r}: an object of test_acc, mean_acc, params and flops is needed")
    return records


def _runs(path: Path, key: str, record: dict[str, Any]) -> list[float]:
    runs = record.get("test_acc")
    if not isinstance(runs, list) or len(runs) != RUNS:
        raise InputError(f"{path}: key {key!r}: test_acc must be a list of {RUNS} accuracies")
    return [_number(path, key, "test_acc", run) for run in runs]


def _number(path: Path, key: str, field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{path}: key {key!r}: {field} must be a number, got {json.dumps(value)}")
    return float(value)
