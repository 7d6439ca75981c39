"""The CSV of NAS-Bench-201 accuracies: what loads, and where a bad file is said to be bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.benchmarks import load_benchmark
from common.errors import InputError

A = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
B = "|none~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
HEADER = "index,arch,cifar10_valid_12,cifar100_test_200"


def write(folder: Path, *lines: str) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_columns_come_from_their_names_and_empty_fields_are_nan(tmp_path: Path):
    table = load_benchmark(write(tmp_path, HEADER, f"7,{A},80.5,", f"3,{B},10,71.25"))
    assert [table.arch_text(row) for row in range(2)] == [A, B]
    valid, test = table.columns.values()
    assert (valid.name, valid.dataset, valid.split, valid.epochs) == ("cifar10_valid_12", "cifar10", "valid", 12)
    assert (test.name, test.dataset, test.split, test.epochs) == ("cifar100_test_200", "cifar100", "test", 200)
    assert valid.values.tolist() == [80.5, 10.0]
    assert np.isnan(test.values[0])
    assert test.values[1] == 71.25
    assert table.source.bytes == (tmp_path / "table.csv").stat().st_size
    assert len(table.source.sha256) == 64


def test_a_byte_order_mark_and_windows_line_ends_are_read_over(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_bytes(f"{HEADER}\n0,{A},80.5,70\n1,{B},60,50\n".replace("\n", "\r\n").encode("utf-8-sig"))
    assert load_benchmark(path).column("cifar100_test_200").values.tolist() == [70.0, 50.0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((HEADER, f"0,{A},80,70", f"1,{B},nan,60"), "line 3: cifar10_valid_12 is 'nan'"),
        ((HEADER, f"0,{A},80,inf", f"1,{B},70,60"), "line 2: cifar100_test_200 is 'inf'"),
        ((HEADER, f"0,{A},80,high", f"1,{B},70,60"), "line 2: cifar100_test_200 is 'high'"),
        ((HEADER, f"0,{A},80,70", f"1,{B},100.5,60"), "line 3: cifar10_valid_12 is 100.5, not a percentage"),
        ((HEADER, f"0,{A},80,-1", f"1,{B},70,60"), "line 2: cifar100_test_200 is -1, not a percentage"),
        ((HEADER, f"0,{A},0.8,70", f"1,{B},0.7,60"), r"all of cifar10_valid_12 is within \[0, 1\]"),
        ((HEADER, f"0,{A},,70", f"1,{B},,60"), "cifar10_valid_12 has no value"),
        ((HEADER, f"0,{A},80,70", f"1,{A},70,60"), "line 3: .* is already given in line 2"),
        ((HEADER, f"0,{A},80,70", "1,|none~0|,70,60"), "line 3: not a NAS-Bench-201 cell"),
        ((HEADER, f"0,{A},80,70", f"1,{B.replace('none', 'conv')},70,60"), "line 3: unknown operation 'conv'"),
        ((HEADER, f"0,{A},80,70", f"1,{B},70"), "line 3: 3 fields, the header has 4"),
        ((HEADER, f"0,{A},80,70", ""), "line 3: 0 fields"),
        ((HEADER,), "no rows"),
        (
            ("index,arch,cifar10_test_12,cifar10_test_12", f"0,{A},80,80"),
            "line 1: column 'cifar10_test_12' is repeated",
        ),
    ],
)
def test_a_bad_file_is_named_with_line_and_column(tmp_path: Path, lines: tuple[str, ...], message: str):
    path = write(tmp_path, *lines)
    with pytest.raises(InputError, match=message) as caught:
        load_benchmark(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_bytes(f"{HEADER}\n0,{A},80,70\n".encode() + b"\xff\xfe\xff")
    with pytest.raises(InputError, match="not a text file"):
        load_benchmark(path)


@pytest.mark.shared
def test_the_whole_benchmark_has_its_known_optima(shared_data: Path):
    table = load_benchmark(shared_data / "nasbench201" / "accuracy.csv", dataset="cifar100")
    assert table.codes is not None
    assert len(np.unique(table.codes, axis=0)) == len(table) == 15_625
    assert table.datasets == ["cifar10", "cifar100", "imagenet16_120"]
    assert [c.name for c in table.accuracies("cifar10", "test")] == ["cifar10_test_200", "cifar10_test_12"]
    best = table.column("cifar10_test_200").values
    assert np.flatnonzero(best == 94.3733).tolist() == [6111, 13714]
    assert int(np.argmax(table.column("cifar100_test_200").values)) == 9930
    assert int(np.isfinite(table.column("cifar10_valid_200").values).sum()) == 9_445
    assert getattr(table.space, "num_classes", None) == 100
