"""What every benchmark reader has to offer: its format is recognised, and what was written in it comes out again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import test_analognas
import test_demo_shards
import test_macro_json
import test_official_results

from common.benchmarks import READERS, load_benchmark, load_reader
from common.benchmarks.table import PERCENT
from common.datasets import DATASETS
from common.errors import InputError
from common.spaces.nasbench101 import NasBench101
from common.spaces.nasbench201 import NasBench201
from scripts.make_nasbench101_tfrecord import stand_in_metrics, write_tfrecord


class Written(NamedTuple):
    """A file or folder, and what it says: texts of its architectures (none of tensors), and one of its columns."""

    path: Path
    archs: list[str]
    column: str
    values: list[float]


def analognas(folder: Path) -> Written:
    fields = test_analognas.fields_of
    path = test_analognas.write_true_format(
        folder / "data.anb",
        {
            (2, 0, 1, 3, 4, 0): fields(91.5, 90.0, 89.0, 20.0, 85.0),
            (0, 0, 0, 0, 0, 4): fields(60.0, 59.0, 58.0, 10.0, 50.0),
        },
    )
    cells = (
        "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|skip_connect~2|",
        "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|avg_pool_3x3~2|",
    )
    return Written(path, list(cells), "cifar10_test", [91.5, 60.0])


def csv(folder: Path) -> Written:
    path = folder / "mine.csv"
    path.write_text("arch,params,own_test_7\n02012100,5,81.5\n11111111,6,\n00000000,7,70\n")
    return Written(path, ["02012100", "11111111", "00000000"], "own_test_7", [81.5, np.nan, 70.0])


def macro_json(folder: Path) -> Written:
    first, second = test_macro_json.record(89.0, 90.0, 91.0), test_macro_json.record(80.0, 82.0, 84.0)
    path = test_macro_json.write(folder, {"02012100": first, "11111111": second})
    return Written(path, ["02012100", "11111111"], "cifar10_test_50", [90.0, 82.0])


def demo_shards(folder: Path) -> Written:
    _, labels = test_demo_shards.write_folder(folder)
    return Written(folder, [], "cifar10_valid_108", (labels[:, 6] * 100).tolist())


def nasbench101(folder: Path) -> Written:
    space, rng = NasBench101(), np.random.default_rng(0)
    cells = space.sample_distinct(5, rng)
    codes = space.to_codes(cells)
    keys = [space.canonical_key(cell) for cell in cells]
    metrics = {108: stand_in_metrics(5, 108, rng)}
    path = folder / "some.tfrecord"
    write_tfrecord(path, codes, keys, space.total_costs(codes)[1], metrics)
    test = metrics[108][:, :, 1, 3].mean(1) * 100
    return Written(path, [space.format(space.from_code(code)) for code in codes], "cifar10_test_108", test.tolist())


def nasbench201_pth(folder: Path) -> Written:
    content = test_official_results.official_file()
    runs = [content["arch2infos"][index]["full"]["all_results"] for index in range(3)]
    values = [np.mean([of["cifar100", seed]["eval_acc1es"]["x-test@199"] for seed in (777, 888)]) for of in runs]
    path = test_official_results.save(content, folder / "results.pth")
    return Written(path, test_official_results.CELLS, "cifar100_test_200", values)


def nats(folder: Path) -> Written:
    from nas_201_api import api_utils

    made, values = test_official_results, []
    made.write_nats(folder / "meta.pickle", {"meta_archs": made.CELLS, "total_archs": 3, "evaluated_indexes": set()})
    for index in range(3):
        state = made.official_results(api_utils, index, 12, made.ALL, 1.0).state_dict()
        made.write_nats(folder / f"{index:06d}.pickle", {"12": state})
        runs = state["all_results"]
        values.append(np.mean([runs["cifar10-valid", seed]["eval_acc1es"]["x-valid@11"] for seed in (777, 888)]))
    return Written(folder, made.CELLS, "cifar10_valid_12", values)


WRITERS: dict[str, Callable[[Path], Written]] = {
    writer.__name__: writer for writer in (analognas, csv, macro_json, demo_shards, nasbench101, nasbench201_pth, nats)
}


def test_every_reader_has_a_writer_here():
    assert WRITERS.keys() == READERS.keys()


@pytest.fixture(params=sorted(WRITERS))
def written(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Written]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    folder = tmp_path / "file"
    folder.mkdir()
    return request.param, WRITERS[request.param](folder)


def test_a_format_is_recognised_by_its_own_reader_and_no_other(written: tuple[str, Written]):
    kind, (path, *_) = written
    assert [name for name in READERS if load_reader(name).matches(path)] == [kind]
    assert load_benchmark(path).source.kind == load_benchmark(path, kind=kind).source.kind == kind


def test_what_was_written_comes_out_again(written: tuple[str, Written]):
    _, (path, archs, column, values) = written
    table = load_benchmark(path)
    assert len(table) == len(values)
    np.testing.assert_allclose(table.values(column), values, rtol=1e-9)
    if archs:
        assert [table.arch_text(row) for row in range(len(table))] == archs
        assert table.space is not None
        assert [table.index_of(table.space.parse(text)) for text in archs] == list(range(len(archs)))
        assert [table.key(row) for row in range(len(archs))] == [
            table.space.canonical_key(arch) for arch in table.archs
        ]


def test_a_table_says_what_it_is_and_what_it_holds(written: tuple[str, Written]):
    kind, (path, *_) = written
    table = load_benchmark(path)
    assert table.source.title
    assert table.source.path == str(path)
    assert table.source.bytes > 0
    assert table.source.sha256 or kind == "nats"
    for name, column in table.columns.items():
        assert column.name == name
        assert column.values.shape == (len(table),)
        assert column.values.dtype == np.float64
        if column.split:
            assert column.unit == PERCENT
            assert name.startswith(f"{column.dataset}_{column.split}")
            assert np.nanmax(column.values) <= 100
    assert table.default_column in table.columns
    assert not set(table.metrics) & {column.name for column in table.columns.values() if column.split}
    assert all(table.accuracies(dataset, "valid") or table.accuracies(dataset, "test") for dataset in table.datasets)


def test_the_space_has_the_classes_of_the_data_set(written: tuple[str, Written]):
    _, (path, *_) = written
    table = load_benchmark(path)
    for name in table.datasets:
        asked = load_benchmark(path, dataset=name)
        if name in DATASETS and isinstance(asked.space, NasBench201):
            assert asked.space.num_classes == {"cifar10": 10, "cifar100": 100, "imagenet16_120": 120}[name]
    with pytest.raises(InputError, match="no data set 'nothing'"):
        load_benchmark(path, dataset="nothing")


def test_rows_of_a_table_are_a_table(written: tuple[str, Written]):
    _, (path, archs, column, values) = written
    table = load_benchmark(path)
    chosen = table.rows(np.array([1, 0]))
    assert len(chosen) == 2
    np.testing.assert_allclose(chosen.values(column), [values[1], values[0]], rtol=1e-9)
    if archs:
        assert [chosen.arch_text(row) for row in range(2)] == [archs[1], archs[0]]
        assert chosen.key(0) == table.key(1)
    if table.prepared is not None and chosen.prepared is not None:
        np.testing.assert_array_equal(chosen.prepared.rows(np.array([0])), table.prepared.rows(np.array([1])))
    sample = table.sample(2, seed=0, column=column)
    assert not np.isnan(sample.values(column)).any()
