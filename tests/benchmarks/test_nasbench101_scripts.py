"""The scripts that write NAS-Bench-101: what they leave behind, finished or not, and what they refuse."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.benchmarks import load_benchmark
from common.benchmarks.demo_shards import MANIFEST
from common.benchmarks.nasbench101 import enumeration
from common.benchmarks.nasbench101.enumeration import Enumeration, graph_hashes
from common.cli import run_command
from common.encoding import encode
from common.errors import InputError
from common.spaces import make_space
from scripts import encode_nasbench101, make_nasbench101_tfrecord

SPACE = make_space("nasbench101")
Script = Callable[..., int]


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """25 distinct cells, which the scripts take for the whole space; ten of them make a shard."""
    rng = np.random.default_rng(0)
    cells = {SPACE.canonical_key(cell): cell for cell in (SPACE.sample(rng) for _ in range(60))}
    codes = SPACE.to_codes(list(cells.values())[:25])
    space = Enumeration(codes, graph_hashes(codes))
    monkeypatch.setattr(enumeration, "load_or_enumerate", lambda progress: space)
    monkeypatch.setattr(encode_nasbench101, "SHARD", 10)
    return codes


@pytest.fixture
def encode_script(codes: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Script:
    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["encode", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_command("encode", encode_nasbench101.main)
        return int(str(ended.value.code))

    return run


def test_shards_are_a_benchmark_of_all_cells(encode_script: Script, codes: np.ndarray, tmp_path: Path):
    assert encode_script("--format", "demo", "--out", tmp_path / "s", "--stand_in_labels", 0) == 0
    table = load_benchmark(tmp_path / "s")
    assert table.prepared is not None
    assert np.array_equal(table.prepared.rows(np.arange(25)), encode(SPACE, codes))
    assert json.loads((tmp_path / "s" / MANIFEST).read_text()) == {"shards": 3, "cells": 25, "finished": True}


def test_labels_are_those_of_the_file(encode_script: Script, codes: np.ndarray, tmp_path: Path, monkeypatch):
    record = tmp_path / "made.tfrecord"
    monkeypatch.setattr(sys, "argv", ["make", str(record)])
    make_nasbench101_tfrecord.main()
    assert encode_script("--format", "demo", "--out", tmp_path / "s", "--labels", record) == 0
    shards, file = load_benchmark(tmp_path / "s"), load_benchmark(record)
    rows = [[str(key) for key in file.keys].index(SPACE.canonical_key(SPACE.from_code(code))) for code in codes]
    for name in ("cifar10_valid_54", "cifar10_test_108"):
        assert shards.column(name).values == pytest.approx(file.column(name).values[rows])


def test_shards_that_were_interrupted_are_no_benchmark_until_they_are_finished(
    encode_script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    arguments = ("--format", "demo", "--out", tmp_path / "s", "--stand_in_labels", 0)

    def interrupt(space: object, codes: np.ndarray, dtype: type) -> np.ndarray:
        if len(codes) < 10:  # the last shard
            raise KeyboardInterrupt
        return encode(SPACE, codes, dtype=dtype)

    with monkeypatch.context() as patched:
        patched.setattr("common.encoding.encode", interrupt)
        assert encode_script(*arguments) == 130
    assert "given again, finishes" in capsys.readouterr().err
    assert (tmp_path / "s" / "label_1.npy").exists()
    with pytest.raises(InputError, match="interrupted"):
        load_benchmark(tmp_path / "s")
    assert encode_script(*arguments) == 0
    assert len(load_benchmark(tmp_path / "s")) == 25


def test_shards_of_another_set_are_not_mixed_in(encode_script: Script, tmp_path: Path, capsys):
    assert encode_script("--format", "demo", "--out", tmp_path / "s", "--stand_in_labels", 0) == 0
    capsys.readouterr()
    assert encode_script("--format", "demo", "--out", tmp_path / "s", "--stand_in_labels", 0, "--limit", 15) == 2
    assert "data_2.npy: left from other shards" in capsys.readouterr().err
    assert len(load_benchmark(tmp_path / "s")) == 25  # nothing was touched


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "demo"), "--out is needed"),
        (("--out", "s", "--stand_in_labels", 0), "--format demo only"),
        (("--out", "s", "--labels", "x"), "--format demo only"),
        (("--out", "s", "--format", "demo", "--stand_in_labels", -1), "0 or more"),
        (("--out", "s", "--format", "demo", "--limit", 0), "--limit 0"),
        (("--out", "taken", "--format", "demo"), "taken: File exists"),
        (("--out", "taken/below", "--format", "demo"), "Not a directory"),
    ],
)
def test_bad_arguments_are_one_line(
    encode_script: Script, tmp_path: Path, monkeypatch, capsys, arguments: tuple[object, ...], said: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    monkeypatch.setattr(enumeration, "load_or_enumerate", lambda progress: pytest.fail("worked before"))
    assert encode_script(*arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--cells", 0), "--cells 0"), (("--cells", 999_999), "--cells"), (("--seed", -1), "--seed -1")],
)
def test_bad_arguments_of_the_generator(tmp_path: Path, monkeypatch, arguments: tuple[object, ...], said: str):
    monkeypatch.setattr(sys, "argv", ["make", str(tmp_path / "x"), *map(str, arguments)])
    with pytest.raises(InputError, match=said):
        make_nasbench101_tfrecord.main()
    assert not (tmp_path / "x").exists()
