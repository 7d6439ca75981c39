"""The CSV of DARTS accuracies: what loads, and where a bad file is said to be bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.benchmarks import load_benchmark
from common.errors import InputError
from common.spaces import Skeleton, make_space, search_space
from common.spaces.darts import Darts

CELL = (
    "[('sep_conv_3x3', 0), ('none', 0), {}('avg_pool_3x3', 1), ('skip_connect', 0), ('dil_conv_5x5', 4), ('none', 1)]"
)
HEADER = "genotype,cifar10_valid_acc"


def genotype(normal: str, reduce: str = "") -> str:
    """Two cells that differ in the two operations into node 3."""
    cells = [CELL.format(f"('{op}', 2), ('{op}', 2), ") for op in (normal, reduce or normal)]
    return f"Genotype(normal={cells[0]}, normal_concat=[2, 3, 4, 5], reduce={cells[1]}, reduce_concat=[2, 3, 4, 5])"


A, B, UNTIED = genotype("sep_conv_5x5"), genotype("max_pool_3x3"), genotype("sep_conv_5x5", "max_pool_3x3")


def write(folder: Path, *lines: str) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def row(text: str, *values: str) -> str:
    return ",".join((f'"{text}"', *values))


def test_accuracies_load_under_their_full_names(tmp_path: Path):
    header = "genotype,cifar10_valid_acc,cifar100_test_600"
    table = load_benchmark(write(tmp_path, header, row(A, "85.5", ""), row(UNTIED, "70", "61.25")))
    assert [table.arch_text(index) for index in range(2)] == [A, UNTIED]
    valid, test = table.columns.values()
    assert (valid.name, valid.dataset, valid.split, valid.epochs) == ("cifar10_valid_200", "cifar10", "valid", 200)
    assert (test.name, test.dataset, test.split, test.epochs) == ("cifar100_test_600", "cifar100", "test", 600)
    assert valid.values.tolist() == [85.5, 70.0]
    assert np.isnan(test.values[0])
    assert table.source.kind == "csv"
    assert len(table.source.sha256) == 64


def test_the_tables_space_has_the_classes_of_the_data_set_and_stays_untied(tmp_path: Path):
    path = write(tmp_path, "genotype,cifar10_valid_acc,cifar100_valid_acc", row(A, "80", "60"), row(B, "70", "50"))
    assert load_benchmark(path).space == Darts(num_classes=10, tied=False)
    assert load_benchmark(path, dataset="cifar100").space == Darts(num_classes=100, tied=False)


def test_what_a_search_finds_is_looked_up_in_the_table(tmp_path: Path):
    table = load_benchmark(write(tmp_path, HEADER, row(A, "85.5"), row(UNTIED, "70"), row(B, "60")))
    space = search_space("darts", Skeleton(options={"channels": 4, "layers": 5}))
    assert space != table.space
    for index, text in enumerate((A, UNTIED, B)):
        assert table.index_of(space.parse(text)) == index
        assert table.arch(index) == space.parse(text)
    swapped = A.replace("('sep_conv_3x3', 0), ('none', 0)", "('none', 1), ('sep_conv_3x3', 0)")
    assert swapped != A
    assert table.index_of(space.parse(swapped)) == 0
    assert table.index_of(space.parse(genotype("dil_conv_3x3"))) is None


def test_a_byte_order_mark_and_windows_line_ends_are_read_over(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_bytes(f"{HEADER}\n{row(A, '80')}\n{row(B, '70')}\n".replace("\n", "\r\n").encode("utf-8-sig"))
    assert load_benchmark(path).column("cifar10_valid_200").values.tolist() == [80.0, 70.0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((HEADER, row(A, "80"), row(B, "nan")), "line 3: cifar10_valid_acc is 'nan', not a number"),
        ((HEADER, row(A, "high"), row(B, "70")), "line 2: cifar10_valid_acc is 'high', not a number"),
        ((HEADER, row(A, "80"), row(B, "100.5")), "line 3: cifar10_valid_200 is 100.5, not a percentage"),
        ((HEADER, row(A, "0.8"), row(B, "0.7")), r"all of cifar10_valid_200 is within \[0, 1\]"),
        ((HEADER, row(A, ""), row(B, "")), "cifar10_valid_200 has no value"),
        ((HEADER, row(A, "80"), row(A, "70")), "line 3: the architecture is already given in line 2"),
        ((HEADER, row(A, "80"), row(B[:-1], "70")), "line 3: not a DARTS genotype: not of the form"),
        (
            (HEADER, row(A.replace("none", "zero"), "80"), row(B, "70")),
            "line 2: not a DARTS genotype: unknown operation 'zero'",
        ),
        ((HEADER, row(A, "80"), f"{B},70"), "line 3: .* fields, the header has 2"),
        ((HEADER, row(A, "80"), ""), "line 3: 0 fields"),
        ((HEADER,), "no rows"),
        (
            ("genotype,cifar10_valid_200,cifar10_valid_acc", row(A, "80", "80")),
            "column 'cifar10_valid_acc' is cifar10_valid_200 once more",
        ),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, lines: tuple[str, ...], message: str):
    path = write(tmp_path, *lines)
    with pytest.raises(InputError, match=message) as caught:
        load_benchmark(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_bytes(f"{HEADER}\n{row(A, '80')}\n".encode() + b"\xff\xfe\xff")
    with pytest.raises(InputError, match="not a text file"):
        load_benchmark(path)


@pytest.mark.shared
def test_the_published_list_has_its_500_genotypes(shared_data: Path):
    table = load_benchmark(shared_data / "darts" / "darts_cifar10_500.csv")
    assert len(table) == 500
    assert table.space == make_space("darts", tied=False)
    values = table.column("cifar10_valid_200").values
    assert (values[0], values.min(), values.max()) == (85.0, 10.22, 86.61)
    assert [table.index_of(table.arch(index)) for index in range(500)] == list(range(500))
    reached = np.array([table.space.reaches_output(table.arch(index)) for index in range(500)])
    assert values[~reached].tolist() == [10.22]  # the one that no image can influence is no better than chance
