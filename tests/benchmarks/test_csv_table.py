"""Tables of named columns: any space, any data set, from a CSV or a data frame."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from common.benchmarks import load_benchmark
from common.benchmarks.csv_table import table_from_frame
from common.errors import InputError
from common.spaces import make_space
from common.spaces.macro import Macro, MacroArch
from common.spaces.nasbench101 import NasBench101

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
OTHER = CELL.replace("avg_pool_3x3", "none")
CELL101 = (
    "0100110001000000010010000010000001000000010000000:"
    "input,conv3x3-bn-relu,maxpool3x3,conv3x3-bn-relu,conv3x3-bn-relu,conv1x1-bn-relu,output"
)


class Layers(Macro):
    """A space of one's own: eight layers as letters; no fields for classes or images that anybody could set."""

    name: ClassVar[str] = "layers"
    title: ClassVar[str] = "Layers"

    def parse(self, text: str) -> MacroArch:
        if set(text) - set("abc"):
            raise ValueError(f"{text!r} holds more than a, b and c")
        return super().parse(text.translate(str.maketrans("abc", "012")))

    def format(self, arch: MacroArch) -> str:
        return super().format(arch).translate(str.maketrans("012", "abc"))


def write(folder: Path, *lines: str) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_names_decide_what_is_an_accuracy_and_everything_else_is_a_plain_column(tmp_path: Path) -> None:
    header = "index,arch,hash,myset_test_200,my.set_valid,params,latency ms,remark"
    table = load_benchmark(write(tmp_path, header, f"0,{CELL},x,80,,1.5,3,good", f"1,{OTHER},y,70,60,2.5,,bad"))
    assert [(c.name, c.dataset, c.split, c.epochs, c.unit) for c in table.columns.values()] == [
        ("myset_test_200", "myset", "test", 200, "%"),
        ("my.set_valid", "my.set", "valid", 0, "%"),
        ("params", "", "", 0, ""),
        ("latency ms", "", "", 0, ""),
    ]
    assert table.datasets == ["myset", "my.set"]
    assert table.metrics == ["params", "latency ms"]
    assert np.isnan(table.values("latency ms")).tolist() == [False, True]
    assert table.space == make_space("nasbench201")  # of a data set that nobody knows anything about


@pytest.mark.parametrize("name", ["arch", "architecture", "genotype", "cell"])
def test_a_table_without_accuracies_is_one_of_scores(tmp_path: Path, name: str) -> None:
    table = load_benchmark(write(tmp_path, f"score,{name}", "-3e5,02012100", "1e-9,00000000"))
    assert (table.space, table.datasets, table.metrics) == (Macro(), [], ["score"])
    assert table.values().tolist() == [-3e5, 1e-9]
    assert "values" in table.source.title
    with pytest.raises(InputError, match="no data set 'cifar10'; it has accuracies on none"):
        load_benchmark(tmp_path / "table.csv", dataset="cifar10")


def test_the_longest_validation_is_the_default_column(tmp_path: Path) -> None:
    path = write(tmp_path, "arch,params,own_test_9,own_valid_9,own_valid_20", "02012100,1,20,30,40")
    assert load_benchmark(path).default_column == "own_valid_20"
    path = write(tmp_path, "arch,params,own_test_9,own_train_9", "02012100,1,20,30")
    assert load_benchmark(path).default_column == "own_test_9"


def test_a_space_of_ones_own_is_named_by_path_class_or_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "arch,cifar10_test_20", "abcabcaa,80", "aaaaaaaa,70")
    with pytest.raises(InputError, match=r"'abcabcaa' reads as an architecture of none of .*; name its space"):
        load_benchmark(path)
    module = type(sys)("spaces_of_mine")
    module.SPACE, module.Layers = Layers(num_classes=7), Layers  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spaces_of_mine", module)
    for space, classes in (
        ("spaces_of_mine:SPACE", 7),
        ("spaces_of_mine:Layers", 10),
        (Layers, 10),
        (Layers(num_classes=3), 3),
    ):
        table = load_benchmark(path, space=space)
        assert table.space == Layers(num_classes=classes)
        assert [table.arch_text(row) for row in range(2)] == ["abcabcaa", "aaaaaaaa"]
        assert table.index_of(Layers().parse("aaaaaaaa")) == 1


def test_a_registered_space_by_name_follows_the_data_set(tmp_path: Path) -> None:
    path = write(tmp_path, "arch,cifar100_test_20", f"{CELL},80")
    assert load_benchmark(path, space="nasbench201").space == make_space("nasbench201", num_classes=100)
    with pytest.raises(InputError, match="line 2: not a NAS-Bench-Macro network"):
        load_benchmark(path, space="macro")
    with pytest.raises(InputError, match="unknown search space 'mine'"):
        load_benchmark(path, space="mine")


def test_a_table_of_another_space_than_the_named_one_is_refused() -> None:
    with pytest.raises(InputError, match="holds architectures of nasbench201, not of macro"):
        load_benchmark(None, space="macro")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("arch,score", f"{CELL},1", f"{OTHER},x"), "line 3: score is 'x', not a number"),
        (("arch,score", f"{CELL},1", f"{OTHER},nan"), "line 3: score is 'nan', not a number"),
        (("arch,score", f"{CELL},1", f"{OTHER},inf"), "line 3: score is 'inf', not a number"),
        (("arch,own_test", f"{CELL},x", f"{OTHER},y"), "line 2: own_test is 'x', not a number"),
        (("arch,own_test", f"{CELL},170", f"{OTHER},3"), "line 2: own_test is 170, not a percentage"),
        (("arch,note", f"{CELL},good", f"{OTHER},bad"), "no column of numbers beside 'arch'"),
        (("arch,score,score", f"{CELL},1,1"), "line 1: column 'score' is repeated"),
        (("arch,score", "hello,1", "there,2"), "'hello' reads as an architecture of none of"),
        (("arch,score", f"hello{CELL},1", f"{OTHER},2"), "line 2: not a NAS-Bench-201 cell"),
    ],
)
def test_a_bad_file_is_named_with_line_and_column(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    path = write(tmp_path, *lines)
    with pytest.raises(InputError, match=message) as caught:
        load_benchmark(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


# NAS-Bench-101 ---------------------------------------------------------------------------------------------------


def test_nasbench101_columns_without_a_data_set_are_of_cifar10_and_its_hashes_are_its_keys(tmp_path: Path) -> None:
    key = NasBench101().canonical_key(NasBench101().parse(CELL101))
    table = load_benchmark(
        write(tmp_path, "hash,cell,params,valid_108,train_seconds_108", f'{key},"{CELL101}",8,93.5,9')
    )
    assert table.columns["cifar10_valid_108"].dataset == "cifar10"
    assert table.metrics == ["params", "train_seconds_108"]
    assert (table.keys, table.key(0)) == ([key], key)
    path = write(tmp_path, "hash,cell,valid_108", f'{key[::-1]},"{CELL101}",93.5')
    with pytest.raises(InputError, match=f"line 2: the cell has the hash {key}, not {key[::-1]}"):
        load_benchmark(path)


@pytest.mark.shared
def test_the_real_results_of_nasbench101_are_read_and_their_hashes_are_right(shared_data: Path) -> None:
    table = load_benchmark(shared_data / "nasbench101" / "valid_20001.csv")
    assert len(table) == 20_001
    assert [c.name for c in table.accuracies("cifar10", "valid")] == [f"cifar10_valid_{e}" for e in (108, 36, 12, 4)]
    assert table.metrics == ["params", "train_seconds_108"]
    assert table.space is not None
    rows = np.random.default_rng(0).choice(len(table), 200, replace=False)
    assert all(table.space.canonical_key(table.arch(row)) == table.key(row) for row in rows)
    assert table.codes is not None
    # Channels are divided among vertices by their order, which isomorphic cells need not share.
    off = table.space.total_costs(table.codes)[1] / table.values("params") - 1
    assert (off == 0).mean() > 0.9
    assert np.abs(off).max() < 0.015
    assert table.values("cifar10_valid_108").max() == 94.9119


# real tables -----------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_the_full_accuracies_of_nasbench201_have_three_data_sets_and_the_known_optima(shared_data: Path) -> None:
    table = load_benchmark(shared_data / "nasbench201" / "accuracy_full.csv")
    assert table.datasets == ["cifar10", "cifar100", "imagenet16_120"]
    for dataset, best in (("cifar10", 94.3733), ("cifar100", 73.5133), ("imagenet16_120", 47.3111)):
        valid, test = (table.accuracies(dataset, split)[0] for split in ("valid", "test"))
        assert (valid.epochs, test.epochs) == (200, 200)
        assert not np.isnan(valid.values).any()
        assert test.values.max() == pytest.approx(best, abs=1e-3)
    chosen = int(np.argmax(table.values("cifar10_valid_200")))
    assert table.values("cifar10_test_200")[chosen] == pytest.approx(94.297, abs=1e-3)


@pytest.mark.shared
def test_darts_networks_trained_to_the_end_and_the_surrogates_word_are_told_apart(shared_data: Path) -> None:
    trained = load_benchmark(shared_data / "darts" / "darts_cifar10_600epochs_107.csv")
    assert (len(trained), trained.default_column) == (107, "cifar10_test_600")
    guessed = load_benchmark(shared_data / "darts" / "nb301_surrogate_zero_cost.csv")
    assert (len(guessed), guessed.datasets) == (1218, ["surrogate"])
    assert "surrogate" in guessed.source.title
    assert guessed.column("surrogate_valid").note == "predicted by a surrogate model, not trained"
    assert "nwot" in guessed.metrics


@pytest.mark.shared
def test_files_of_scores_are_tables_of_scores(shared_data: Path) -> None:
    table = load_benchmark(shared_data / "nasbench201" / "zero_cost_proxies_cifar10.csv")
    assert (len(table), len(table.metrics), table.datasets) == (9445, 13, [])
    table = load_benchmark(shared_data / "nasbench101" / "zero_cost_292.csv")
    assert (len(table), len(table.metrics), table.default_column) == (292, 11, "cifar10_valid_108")


# data frames -----------------------------------------------------------------------------------------------------


class Frame(dict[str, Any]):
    """As little of a data frame as is asked for."""

    @property
    def columns(self) -> list[str]:
        return list(self)

    def __len__(self) -> int:
        return len(next(iter(self.values())))


def test_anything_with_columns_is_a_data_frame() -> None:
    frame = Frame(arch=[CELL, OTHER], own_test_5=[80, None], params=np.array([1.5, np.nan]), note=["a", "b"])
    table = load_benchmark(frame)
    assert list(table.columns) == ["own_test_5", "params"]
    assert table.values("own_test_5")[0] == 80
    assert np.isnan(table.values("own_test_5")[1])
    assert (table.source.path, table.source.title) == ("", "NAS-Bench-201 accuracies data frame")
    with pytest.raises(InputError, match=r"^data frame: row 1: own_test_5 is 'x', not a number"):
        load_benchmark(Frame(arch=[CELL, OTHER], own_test_5=[80, "x"]))
    with pytest.raises(InputError, match="data frame: it has no rows"):
        load_benchmark(Frame(arch=[], score=[]))


def test_pandas_reads_the_same_table(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = write(tmp_path, "index,arch,own_valid_5,params", "0,02012100,80,", "1,00000000,,7")
    expected = load_benchmark(path)
    table = table_from_frame(pandas.read_csv(path, dtype={"arch": str}))
    assert list(table.columns) == list(expected.columns)
    assert table.archs == expected.archs
    for name in table.columns:
        assert np.array_equal(table.values(name), expected.values(name), equal_nan=True)
    twice = pandas.DataFrame([["02012100", 1, 2]], columns=["arch", "score", "score"])
    with pytest.raises(InputError, match="data frame: column 'score' is repeated"):
        load_benchmark(twice)
    frame = pandas.read_csv(path, dtype={"arch": str}).convert_dtypes()  # missing values are pandas.NA
    assert np.isnan(load_benchmark(frame).values("params")).tolist() == [True, False]


# rows ------------------------------------------------------------------------------------------------------------


def test_a_sample_is_of_rows_with_a_value_and_follows_its_seed(tmp_path: Path) -> None:
    archs = [Macro().format(arch) for arch in Macro().sample_distinct(40, np.random.default_rng(0))]
    lines = [f"{arch},{'' if row % 2 else row + 10},{row}" for row, arch in enumerate(archs)]
    table = load_benchmark(write(tmp_path, "arch,own_valid_5,params", *lines))
    sample = table.sample(12, seed=3)
    assert len(sample) == 12
    assert [f"{value - 10:g}" for value in sample.values()] == [f"{value:g}" for value in sample.values("params")]
    assert not np.isnan(sample.values()).any()
    assert [table.arch_text(int(row)) for row in sample.values("params")] == [Macro().format(a) for a in sample.archs]
    assert table.sample(12, seed=3).archs == sample.archs
    assert table.sample(12, seed=4).archs != sample.archs
    assert len(table.sample(40, seed=0, column="params")) == 40
    with pytest.raises(InputError, match="cannot sample 21 of 20 rows with a value of own_valid_5"):
        table.sample(21, seed=0)


def test_rows_come_in_the_order_they_are_named(tmp_path: Path) -> None:
    table = load_benchmark(write(tmp_path, "arch,own_valid_5", "02012100,10", "00000000,20", "11111111,30"))
    chosen = table.rows(np.array([2, 0]))
    assert chosen.values().tolist() == [30, 10]
    assert [chosen.arch_text(row) for row in range(2)] == ["11111111", "02012100"]
    with pytest.raises(IndexError):
        table.rows(np.array([3]))
