"""Which reader a path gets, what the user hears when none fits, and the space that a data set asks for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.benchmarks import READERS, load_benchmark, load_reader
from common.benchmarks.table import BenchmarkTable, Column, Source
from common.errors import InputError
from common.spaces import make_space

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
OTHER = CELL.replace("avg_pool_3x3", "none")


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    path = tmp_path / "no-telling-name.dat"
    path.write_text(
        f"index,arch,cifar10_test_200,imagenet16_120_valid_12\n0,{CELL},91.5,30.25\n1,{OTHER},88.0,\n", encoding="utf-8"
    )
    return path


def test_importing_the_package_loads_no_library():
    code = "import sys, common.benchmarks; print(sorted({'numpy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_readers_load_torch_and_the_official_apis_only_to_read():
    code = (
        "import sys; from common.benchmarks import READERS, load_reader; [load_reader(kind) for kind in READERS];"
        "print(sorted({'torch', 'nas_201_api', 'nats_bench'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


def test_content_decides_and_a_trailing_slash_does_not_matter(table_file: Path):
    for path in (table_file, str(table_file), f"{table_file}/"):
        table = load_benchmark(path)
        assert table.source.kind == "csv"
        assert table.arch_text(0) == CELL


def test_no_path_gives_the_table_that_pip_installs():
    table = load_benchmark(None)
    assert (table.source.kind, len(table)) == ("analognas", 15_625)


def test_no_path_for_another_kind_is_refused():
    with pytest.raises(InputError, match="'nats' needs a path"):
        load_benchmark(None, kind="nats")


def test_a_missing_path_is_named_with_the_known_kinds(tmp_path: Path):
    with pytest.raises(InputError) as caught:
        load_benchmark(tmp_path / "absent.pth")
    assert str(tmp_path / "absent.pth") in str(caught.value)
    assert all(kind in str(caught.value) for kind in READERS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x00" * 64, b"{}", b"\x80\x04]\x94.", b"PK\x03\x04", b"\x93NUMPY"]
)
def test_unknown_content_is_refused_in_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "accuracy.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not recognised") as caught:
        load_benchmark(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="not recognised"):
        load_benchmark(tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in READERS if kind != "csv"])
def test_content_that_is_not_of_the_named_kind_is_refused(table_file: Path, kind: str):
    with pytest.raises(InputError, match=f"not of kind '{kind}'"):
        load_benchmark(table_file, kind=kind)


@pytest.mark.parametrize("name", ["nasbench101", "nasbench201"])
def test_a_benchmarks_name_stands_for_the_path_in_the_environment(
    table_file: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    variable = f"{name.upper()}_PATH"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match=f"^{name}: no such file or folder, and {variable} is not set"):
        load_benchmark(name)
    monkeypatch.setenv(variable, str(table_file))
    assert load_benchmark(name).source.path == str(table_file)
    monkeypatch.setenv(variable, str(tmp_path / "gone"))
    with pytest.raises(InputError, match=f"{tmp_path / 'gone'}: no such file"):
        load_benchmark(name)
    table_file.rename(tmp_path / name)  # a file of that name is one
    assert load_benchmark(name).arch_text(0) == CELL


def test_an_unknown_kind_is_refused_with_the_known_ones(table_file: Path):
    with pytest.raises(InputError, match=r"unknown kind of benchmark 'tsv'.*csv"):
        load_benchmark(table_file, kind="tsv")
    with pytest.raises(InputError, match="unknown kind"):
        load_reader("tsv")


def test_a_reader_of_ones_own_is_named_by_import_path(
    table_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "own_format_of_a_test.py").write_text(
        "from common.benchmarks.csv_table import read\n\ndef read_upper(path):\n    return len(str(path))\n"
    )
    monkeypatch.chdir(tmp_path)
    table = load_benchmark(table_file, kind="own_format_of_a_test.py:read")
    assert len(table) == len(load_benchmark(table_file))
    with pytest.raises(InputError, match="made a int, not a BenchmarkTable"):
        load_benchmark(table_file, kind="own_format_of_a_test.py:read_upper")
    with pytest.raises(InputError, match="no such file"):
        load_benchmark(tmp_path / "gone", kind="own_format_of_a_test.py:read")


def test_the_space_has_the_skeleton_of_the_data_set(table_file: Path):
    for dataset, classes, side in ((None, 10, 32), ("cifar10", 10, 32), ("imagenet16_120", 120, 16)):
        table = load_benchmark(table_file, dataset=dataset)
        assert table.space == make_space("nasbench201", num_classes=classes, image_size=side)


def test_a_data_set_that_the_table_lacks_is_refused_with_those_it_has(table_file: Path):
    with pytest.raises(InputError, match=r"no data set 'cifar100'; the table has: cifar10, imagenet16_120"):
        load_benchmark(table_file, dataset="cifar100")


class Counting:
    """Three tensors that hold their row number."""

    shape = (1, 2, 2)

    def __len__(self) -> int:
        return 3

    def rows(self, indices: np.ndarray) -> np.ndarray:
        return np.ones((len(indices), *self.shape)) * np.asarray(indices)[:, None, None, None]


def small_table(**parts: object) -> BenchmarkTable:
    column = Column("cifar10_test_108", np.array([90.0, 91.0, 92.0]), dataset="cifar10", split="test", epochs=108)
    return BenchmarkTable(Source("test", "test", "some/where"), {column.name: column}, **parts)  # type: ignore[arg-type]


def test_head_takes_the_first_rows_of_everything():
    codes = np.arange(18, dtype=np.uint8).reshape(3, 6) % 5
    table = small_table(space=make_space("nasbench201"), codes=codes, keys=("a", "b", "c"), labels=("x", "y", "z"))
    head = table.head(2)
    assert len(head) == 2
    assert head.column("cifar10_test_108").values.tolist() == [90.0, 91.0]
    assert head.codes is not None
    assert head.codes.tolist() == codes[:2].tolist()
    assert (head.keys, head.labels) == (("a", "b"), ("x", "y"))
    assert head.index_of(table.arch(1)) == 1
    assert head.index_of(table.arch(2)) is None


def test_head_of_prepared_tensors_gives_no_row_beyond_it():
    head = small_table(prepared=Counting()).head(2)
    assert head.prepared is not None
    assert (len(head.prepared), head.prepared.shape) == (2, (1, 2, 2))
    assert head.prepared.rows(np.array([1, 0]))[:, 0, 0, 0].tolist() == [1.0, 0.0]
    with pytest.raises(IndexError):
        head.prepared.rows(np.array([2]))


@pytest.mark.parametrize("count", [-1, 0, 1, 4])
def test_head_of_too_few_or_too_many_rows_is_refused(count: int):
    table = small_table(prepared=Counting())
    assert len(table.head(3)) == 3
    with pytest.raises(InputError, match=r"some/where.*give 2 to 3"):
        table.head(count)
