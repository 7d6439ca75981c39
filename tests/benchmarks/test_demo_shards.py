"""The demo's tensor folder: rows from disk in any order, labels in percent, and every way a folder can be broken."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.benchmarks import load_benchmark
from common.benchmarks.demo_shards import MANIFEST, ShardedTensors
from common.errors import InputError

SIZES = (5, 4, 3)
SHAPE = (3, 2, 2)


def make_labels(count: int, seed: int) -> np.ndarray:
    """Half-way time, train, valid, test, then the same at the end; accuracies as fractions."""
    labels = np.random.default_rng(seed).uniform(0.5, 0.95, size=(count, 8))
    labels[:, [0, 4]] = [500.0, 1000.0]
    return labels


def write_folder(folder: Path, *, dtype: str = "f8", percent: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Shards of SIZES; all tensors and all labels that went into them."""
    tensors = np.random.default_rng(0).random((sum(SIZES), *SHAPE)).astype(dtype)
    labels = make_labels(sum(SIZES), seed=1)
    if percent:
        labels[:, [1, 2, 3, 5, 6, 7]] *= 100
    start = 0
    for number, size in enumerate(SIZES):
        np.save(folder / f"data_{number}.npy", tensors[start : start + size])
        np.save(folder / f"label_{number}.npy", labels[start : start + size])
        start += size
    return tensors, labels


def tensors_of(folder: Path) -> ShardedTensors:
    prepared = load_benchmark(folder).prepared
    assert isinstance(prepared, ShardedTensors)
    return prepared


ORDERS = {
    "everything": np.arange(12),
    "a run over two seams": np.arange(3, 11),
    "one row": np.array([8]),
    "sorted with gaps": np.array([0, 1, 4, 5, 6, 9, 11]),
    "any order, repeated": np.array([11, 0, 5, 4, 4, 6, 7, 0, 10]),
    "backwards": np.arange(12)[::-1],
    "shards in turn": np.array([0, 5, 1, 6, 2, 9]),
    "none": np.array([], dtype=int),
}


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("order", ORDERS)
def test_rows_are_those_of_the_files(tmp_path: Path, order: str, dtype: str):
    expected, _ = write_folder(tmp_path, dtype=dtype)
    prepared = tensors_of(tmp_path)
    assert (len(prepared), prepared.shape) == (12, SHAPE)
    rows = prepared.rows(ORDERS[order])
    assert rows.dtype == expected.dtype
    assert np.array_equal(rows, expected[ORDERS[order]])


@pytest.mark.parametrize("row", [-1, 12])
def test_a_row_outside_the_table_is_an_index_error(tmp_path: Path, row: int):
    write_folder(tmp_path)
    with pytest.raises(IndexError):
        tensors_of(tmp_path).rows(np.array([0, row]))


def test_a_run_costs_one_read_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_folder(tmp_path)
    prepared = tensors_of(tmp_path)
    reads = []
    fill = ShardedTensors._fill
    monkeypatch.setattr(ShardedTensors, "_fill", lambda *args: (reads.append(len(args[1])), fill(*args)))
    prepared.rows(np.arange(2, 11))
    assert reads == [3, 4, 2]
    reads.clear()
    prepared.rows(np.array([0, 1, 3, 4, 6]))
    assert reads == [2, 2, 1]


def test_tensors_stay_on_disk(tmp_path: Path):
    rows = 60_000
    with (tmp_path / "data_0.npy").open("wb") as file:  # 447 MB, sparse
        header = {"descr": "<f8", "fortran_order": False, "shape": (rows, 19, 7, 7)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + rows * 19 * 7 * 7 * 8)
    np.save(tmp_path / "label_0.npy", make_labels(rows, seed=0))
    tracemalloc.start()
    try:
        prepared = tensors_of(tmp_path)
        prepared.rows(np.linspace(0, rows - 1, 300).astype(int))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6  # 4 MB of labels, a few copies of them, 2 MB of tensors


@pytest.mark.parametrize("percent", [False, True])
def test_labels_become_named_columns_in_percent(tmp_path: Path, percent: bool):
    _, labels = write_folder(tmp_path, percent=percent)
    table = load_benchmark(tmp_path)
    scale = 1 if percent else 100
    for position, name in enumerate(
        f"{quantity}_{epochs}"
        for epochs in (54, 108)
        for quantity in ("time_s", "cifar10_train", "cifar10_valid", "cifar10_test")
    ):
        factor = 1 if position % 4 == 0 else scale
        assert table.column(name).values == pytest.approx(labels[:, position] * factor)
    assert [column.name for column in table.accuracies("cifar10", "test")] == ["cifar10_test_108", "cifar10_test_54"]
    assert table.column("time_s_108").unit == "s"
    assert (table.source.kind, table.space, table.datasets, len(table)) == ("demo_shards", None, ["cifar10"], 12)
    assert table.arch_text(3) == "row 3"


def test_head_reads_only_its_rows(tmp_path: Path):
    expected, labels = write_folder(tmp_path)
    head = load_benchmark(tmp_path).head(7)
    assert head.prepared is not None
    assert np.array_equal(head.prepared.rows(np.arange(7)), expected[:7])
    assert head.column("cifar10_test_108").values == pytest.approx(100 * labels[:7, 7])


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def put_label(path: Path, row: int, column: int, value: float) -> None:
    labels = np.load(path)
    labels[row, column] = value
    np.save(path, labels)


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut tensors": (lambda d: shorten(d / "data_1.npy"), r"data_1\.npy: .*cut short"),
    "cut labels": (lambda d: shorten(d / "label_1.npy"), r"label_1\.npy: .*cut short"),
    "trailing bytes": (lambda d: (d / "data_0.npy").open("ab").write(b"\0" * 8), r"data_0\.npy: .*damaged"),
    "cut header": (lambda d: (d / "data_2.npy").write_bytes(b"\x93NUMPY\x01"), r"data_2\.npy: not a readable \.npy"),
    "no npy": (lambda d: (d / "data_2.npy").write_bytes(b"tensors"), r"data_2\.npy: not a readable \.npy"),
    "missing shard": (lambda d: (d / "data_1.npy").unlink(), r"data_1\.npy: missing"),
    "missing first shard": (lambda d: (d / "data_0.npy").unlink(), r"data_0\.npy: missing"),
    "missing labels": (lambda d: (d / "label_2.npy").unlink(), r"label_2\.npy: missing"),
    "labels of another shard": (
        lambda d: np.save(d / "label_1.npy", make_labels(3, 0)),
        r"label_1\.npy: .*data_1\.npy asks for",
    ),
    "seven labels": (lambda d: np.save(d / "label_1.npy", make_labels(4, 0)[:, :7]), r"label_1\.npy: .*\(4, 7\)"),
    "text labels": (lambda d: np.save(d / "label_1.npy", np.full((4, 8), "a")), r"label_1\.npy: "),
    "flat tensors": (lambda d: np.save(d / "data_1.npy", np.ones((4, 12))), r"data_1\.npy: shape \(4, 12\)"),
    "oblong tensors": (lambda d: np.save(d / "data_1.npy", np.ones((4, 3, 2, 3))), r"data_1\.npy: shape"),
    "other tensors": (lambda d: np.save(d / "data_1.npy", np.ones((4, 3, 3, 3))), r"data_1\.npy: .*data_0\.npy has"),
    "other precision": (lambda d: np.save(d / "data_1.npy", np.ones((4, *SHAPE), "f4")), r"data_1\.npy: .*float32"),
    "no tensors": (lambda d: np.save(d / "data_0.npy", np.ones((0, *SHAPE))), r"data_0\.npy: shape \(0"),
    "integers": (lambda d: np.save(d / "data_0.npy", np.ones((5, *SHAPE), int)), r"data_0\.npy: holds int64"),
    "other byte order": (lambda d: np.save(d / "data_0.npy", np.ones((5, *SHAPE), ">f8")), r"data_0\.npy: holds >f8"),
    "column order": (
        lambda d: np.save(d / "data_0.npy", np.asfortranarray(np.ones((5, *SHAPE)))),
        r"data_0\.npy: stored column by column",
    ),
    "NaN label": (lambda d: put_label(d / "label_1.npy", 2, 7, np.nan), r"label_1\.npy: row 2: "),
    "infinite time": (lambda d: put_label(d / "label_2.npy", 1, 4, np.inf), r"label_2\.npy: row 1: "),
    "negative accuracy": (lambda d: put_label(d / "label_1.npy", 3, 6, -0.5), r"label_1\.npy row 3: cifar10_valid_108"),
    "one in percent": (
        lambda d: put_label(d / "label_0.npy", 4, 3, 93.0),
        r"label_0\.npy row 4: cifar10_test_54 is 9300",
    ),
    "above one": (lambda d: put_label(d / "label_2.npy", 0, 7, 1.01), r"label_2\.npy row 0: cifar10_test_108 is 101"),
}


def put_manifest(folder: Path, **changes: object) -> None:
    (folder / MANIFEST).write_text(json.dumps({"shards": 3, "cells": 12, "finished": True, **changes}))


BREAKS |= {
    "unfinished": (lambda d: put_manifest(d, finished=False), r"shards\.json: the writing .* interrupted"),
    "a shard too few": (lambda d: put_manifest(d, shards=4, cells=15), r"4 shards of 15 cells .* 3 of 12"),
    "rows of another set": (lambda d: put_manifest(d, cells=11), r"3 shards of 11 cells"),
    "no manifest": (lambda d: (d / MANIFEST).write_text("[1]"), r"shards\.json: not a manifest"),
}


def test_a_folder_may_say_what_it_holds(tmp_path: Path):
    write_folder(tmp_path)
    without = load_benchmark(tmp_path)
    put_manifest(tmp_path)
    assert load_benchmark(tmp_path).source == without.source


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_folder_is_named_with_file_and_row(tmp_path: Path, name: str):
    write_folder(tmp_path)
    load_benchmark(tmp_path)
    damage, message = BREAKS[name]
    damage(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        load_benchmark(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_cut_while_in_use_is_named(tmp_path: Path):
    write_folder(tmp_path)
    prepared = tensors_of(tmp_path)
    shorten(tmp_path / "data_2.npy")
    with pytest.raises(InputError, match=r"data_2\.npy: was cut short"):
        prepared.rows(np.array([11]))
