"""Official NAS-Bench-201 results, written with the benchmark's own classes: the `.pth` and the NATS-Bench folder."""

from __future__ import annotations

import bz2
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.benchmarks import load_benchmark, nasbench201_pth, nats
from common.benchmarks.table import BenchmarkTable
from common.errors import InputError
from common.spaces.nasbench201 import Cell201, NasBench201

CELLS = [NasBench201().format(Cell201(ops)) for ops in ((3, 1, 2, 0, 4, 3), (1, 1, 1, 1, 1, 1), (2, 0, 3, 4, 1, 0))]
EVALUATED_ON = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}
# Our column -> the arguments and the answer's key of the official `get_more_info`.
ASKED = {
    "cifar10_valid": ("cifar10-valid", "valid-accuracy"),
    "cifar10_test": ("cifar10", "test-accuracy"),
    "cifar100_valid": ("cifar100", "valid-accuracy"),
    "cifar100_test": ("cifar100", "test-accuracy"),
    "imagenet16_120_valid": ("ImageNet16-120", "valid-accuracy"),
    "imagenet16_120_test": ("ImageNet16-120", "test-accuracy"),
}
SHORT_ONLY = {"cifar10-valid": (111, 777)}  # as in v1_0, whose 12-epoch schedule knows no other data set
ALL = dict.fromkeys(EVALUATED_ON, (777, 888))
ONE_SEED = {name: (777,) for name in EVALUATED_ON if name != "cifar100"}  # and one data set was not trained on


def official_results(
    api_utils: Any, index: int, epochs: int, seeds_of: dict[str, tuple[int, ...]], shift: float
) -> Any:
    """One architecture's `ArchResults` with a different accuracy for every data set, subset, seed and epoch."""
    rng = np.random.default_rng([index, epochs])
    results = api_utils.ArchResults(index, CELLS[index])
    for dataset, seeds in seeds_of.items():
        for seed in seeds:
            config = {"channel": 16, "num_cells": 5, "arch_str": CELLS[index], "class_num": 10}
            run = api_utils.ResultsCount(dataset, None, {}, {}, 0.1, 1.0, config, seed, epochs, [0.01])
            per_epoch = dict.fromkeys(range(epochs), 1.0)
            run.update_train_info(per_epoch, per_epoch, per_epoch, per_epoch)
            for subset in EVALUATED_ON[dataset]:
                keys = [f"{subset}@{i}" for i in range(epochs)]
                accuracies = dict(zip(keys, rng.uniform(5, 90, epochs).tolist(), strict=True))
                accuracies[keys[-1]] += shift
                run.update_eval(accuracies, dict.fromkeys(keys, 1.0), dict.fromkeys(keys, 1.0))
            results.update(dataset, seed, run)
    return results


def official_file(*, short: dict[str, tuple[int, ...]] = ALL, last: dict[str, tuple[int, ...]] = ALL) -> dict[str, Any]:
    from nas_201_api import api_utils

    infos = {
        index: {
            "full": official_results(api_utils, index, 200, last if index == 2 else ALL, 0).state_dict(),
            "less": official_results(api_utils, index, 12, short, 0).state_dict(),
        }
        for index in range(len(CELLS))
    }
    return {"meta_archs": CELLS, "total_archs": 3, "arch2infos": infos, "evaluated_indexes": {0, 1, 2}}


def save(content: Any, path: Path, legacy: bool = False) -> Path:
    import torch

    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def assert_agrees(table: BenchmarkTable, api: Any, epochs: int) -> None:
    for name, (dataset, answer) in ASKED.items():
        expected = [api.get_more_info(i, dataset, hp=str(epochs), is_random=False)[answer] for i in range(len(CELLS))]
        assert table.column(f"{name}_{epochs}").values == pytest.approx(expected)


@pytest.fixture
def no_other_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "relativistic-nas"


@pytest.fixture
def unpickled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that have been unpickled since."""
    files: list[str] = []
    load = nasbench201_pth.load_torch_file
    monkeypatch.setattr(nasbench201_pth, "load_torch_file", lambda path: (files.append(str(path)), load(path))[1])
    return files


# .pth --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_accuracies_are_those_of_the_official_api(tmp_path: Path, no_other_cache: Path, legacy: bool):
    from nas_201_api import NASBench201API

    content = official_file()
    table = load_benchmark(save(content, tmp_path / "results.bin", legacy))
    api = NASBench201API(content, verbose=False)
    assert (table.source.kind, len(table.columns)) == ("nasbench201_pth", 12)
    assert [table.arch_text(row) for row in range(len(table))] == CELLS
    assert table.datasets == ["cifar10", "cifar100", "imagenet16_120"]
    for epochs in (200, 12):
        assert_agrees(table, api, epochs)


def test_what_was_not_trained_is_nan_or_no_column(tmp_path: Path, no_other_cache: Path):
    from nas_201_api import NASBench201API

    content = official_file(short=SHORT_ONLY, last=ONE_SEED)
    table = load_benchmark(save(content, tmp_path / "x.pth"))
    assert [name for name in table.columns if name.endswith("_12")] == ["cifar10_valid_12"]
    assert np.isnan(table.column("cifar100_test_200").values).tolist() == [False, False, True]
    api = NASBench201API(content, verbose=False)
    one_seed = api.get_more_info(2, "cifar10", hp="200", is_random=777)["test-accuracy"]
    assert table.column("cifar10_test_200").values[2] == pytest.approx(one_seed)


def test_the_second_load_unpickles_nothing_and_gives_the_same(
    tmp_path: Path, no_other_cache: Path, unpickled: list[str]
):
    path = save(official_file(), tmp_path / "x.pth")
    first, second = load_benchmark(path), load_benchmark(path, dataset="cifar100")
    assert unpickled == [str(path)]
    assert first.source == second.source
    assert len(second.source.sha256) == 64
    assert list(first.columns) == list(second.columns)
    for name in first.columns:
        assert np.array_equal(first.column(name).values, second.column(name).values, equal_nan=True)
    assert np.array_equal(first.codes, second.codes)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".x.pth.cache.npz", "x.pth"]
    with np.load(tmp_path / ".x.pth.cache.npz", allow_pickle=False) as stored:
        assert all(array.dtype != object for array in stored.values())


def test_a_changed_file_is_read_anew(tmp_path: Path, no_other_cache: Path, unpickled: list[str]):
    path = save(official_file(), tmp_path / "x.pth")
    assert "cifar100_test_12" in load_benchmark(path).columns
    save(official_file(short=SHORT_ONLY), path)
    assert "cifar100_test_12" not in load_benchmark(path).columns
    os.utime(path, ns=(1, 1))
    load_benchmark(path)
    assert len(unpickled) == 3


def test_a_damaged_cache_is_made_anew(tmp_path: Path, no_other_cache: Path, unpickled: list[str]):
    path = save(official_file(), tmp_path / "x.pth")
    expected = load_benchmark(path).column("cifar10_test_200").values
    cache = tmp_path / ".x.pth.cache.npz"
    for damaged in (cache.read_bytes()[:200], b"", pickle.dumps("not ours")):
        cache.write_bytes(damaged)
        assert np.array_equal(load_benchmark(path).column("cifar10_test_200").values, expected)
    assert len(unpickled) == 4
    load_benchmark(path)
    assert len(unpickled) == 4


def test_beside_a_file_that_allows_no_cache_the_users_cache_folder_serves(
    tmp_path: Path, no_other_cache: Path, unpickled: list[str]
):
    path = save(official_file(), tmp_path / "x.pth")
    (tmp_path / ".x.pth.cache.npz").mkdir()  # cannot be replaced by a file, not even by root
    load_benchmark(path)
    load_benchmark(path)
    assert len(unpickled) == 1
    assert [file.suffix for file in no_other_cache.iterdir()] == [".npz"]
    assert sorted(file.name for file in tmp_path.iterdir()) == [".x.pth.cache.npz", "x.pth", "xdg"]


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused_and_leaves_no_cache(
    tmp_path: Path, no_other_cache: Path, keep: float, legacy: bool
):
    path = save(official_file(), tmp_path / "x.pth", legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match="not a complete NAS-Bench-201 file") as caught:
        load_benchmark(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["x.pth"]


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("meta_archs"), "KeyError: 'meta_archs'"),
        (lambda c: c["arch2infos"][1].pop("full"), "KeyError: 'full'"),
        (lambda c: c.update(meta_archs=[CELLS[0], CELLS[1], CELLS[0]]), "architecture 2: .* already given in arch"),
        (lambda c: c.update(meta_archs=[CELLS[0], "8:8:8:8:8", CELLS[2]]), "architecture 1: not a NAS-Bench-201 cell"),
        (lambda c: c.update(meta_archs=CELLS[:2]), "IndexError"),
        (lambda c: c["arch2infos"].clear(), "holds no accuracy"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, no_other_cache: Path, change: Change, message: str):
    content = official_file()
    change(content)
    path = save(content, tmp_path / "x.pth")
    with pytest.raises(InputError, match=message) as caught:
        load_benchmark(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_another_checkpoint_is_neither_recognised_nor_unpickled(
    tmp_path: Path, no_other_cache: Path, unpickled: list[str]
):
    path = save({"state_dict": {"fc.weight": 1}}, tmp_path / "NAS-Bench-201-v1_1-096897.pth")
    for kind in (None, "nasbench201_pth"):
        with pytest.raises(InputError, match=r"not recognised|not of kind"):
            load_benchmark(path, kind=kind)
    assert unpickled == []


# NATS-Bench --------------------------------------------------------------------------------------------------------


def write_nats(path: Path, content: Any) -> None:
    """As `nats_bench.pickle_save` does."""
    with bz2.BZ2File(path.with_name(f"{path.name}.pbz2"), "w") as file:
        pickle.dump(content, file)


@pytest.fixture
def nats_folder(tmp_path: Path, no_other_cache: Path) -> Path:
    from nas_201_api import api_utils  # its results have the form of those of nats_bench

    folder = tmp_path / "topology"
    folder.mkdir()
    write_nats(folder / "meta.pickle", {"meta_archs": CELLS, "total_archs": 3, "evaluated_indexes": {0, 1, 2}})
    for index in range(len(CELLS)):
        trained = {str(e): official_results(api_utils, index, e, ALL, 1.0).state_dict() for e in (12, 200)}
        write_nats(folder / f"{index:06d}.pickle", trained)
    return folder


def test_a_nats_folder_gives_the_answers_of_its_official_api(nats_folder: Path):
    nats_bench = pytest.importorskip("nats_bench", reason="nats-bench is not installed (extra 'dev')")
    table = load_benchmark(f"{nats_folder}/")
    api = nats_bench.create(str(nats_folder), "tss", fast_mode=True, verbose=False)
    assert (table.source.kind, len(table.columns)) == ("nats", 12)
    assert [table.arch_text(row) for row in range(len(table))] == CELLS
    for epochs in (200, 12):
        assert_agrees(table, api, epochs)


def test_a_nats_folder_holds_the_means_of_its_runs_and_is_read_once(nats_folder: Path, monkeypatch: pytest.MonkeyPatch):
    first = load_benchmark(nats_folder)
    with bz2.open(nats_folder / "000002.pickle.pbz2") as file:
        runs = pickle.load(file)["200"]["all_results"]
    expected = np.mean([runs["ImageNet16-120", seed]["eval_acc1es"]["x-test@199"] for seed in (777, 888)])
    assert first.column("imagenet16_120_test_200").values[2] == pytest.approx(expected)
    monkeypatch.setattr(nats, "_load", None)  # nothing is unpickled again
    again = load_benchmark(nats_folder)
    assert np.array_equal(first.column("cifar10_test_200").values, again.column("cifar10_test_200").values)
    os.utime(nats_folder / "000001.pickle.pbz2")
    with pytest.raises(InputError, match="missing or damaged"):
        load_benchmark(nats_folder)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_missing_or_cut_nats_file_is_named(nats_folder: Path, damage: str):
    file = nats_folder / "000001.pickle.pbz2"
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"000001\.pickle\.pbz2: missing or damaged") as caught:
        load_benchmark(nats_folder)
    assert "\n" not in str(caught.value)


def test_a_nats_size_folder_is_not_taken_for_the_topology_space(tmp_path: Path):
    write_nats(tmp_path / "meta.pickle", {"meta_archs": ["8:8:8:8:8", "8:8:8:8:16"]})
    with pytest.raises(InputError, match="not recognised"):
        load_benchmark(tmp_path)


# hostile files -----------------------------------------------------------------------------------------------------


class Touch:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", [None, "nasbench201_pth"])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before torch 1.6"])
def test_a_pickle_called_accuracy_csv_runs_nothing(
    tmp_path: Path, no_other_cache: Path, kind: str | None, legacy: bool
):
    ran = tmp_path / "ran"
    path = save(official_file() | {"evil": Touch(ran)}, tmp_path / "accuracy.csv", legacy)
    with pytest.raises(InputError, match=r"holds .* which has no place in this file") as caught:
        load_benchmark(path, kind=kind)
    assert not ran.exists()
    assert "weights_only" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pickle_in_a_nats_folder_runs_nothing(nats_folder: Path, tmp_path: Path):
    write_nats(nats_folder / "000001.pickle", {"12": Touch(tmp_path / "ran")})
    with pytest.raises(InputError, match=r"000001\.pickle\.pbz2: missing or damaged .*no place in this file"):
        load_benchmark(nats_folder)
    assert not (tmp_path / "ran").exists()


def test_numpy_numbers_arrays_and_weights_beside_the_results_do_no_harm(tmp_path: Path, no_other_cache: Path):
    import torch

    content = official_file()
    expected = load_benchmark(save(content, tmp_path / "plain.pth"))
    for info in content["arch2infos"].values():
        for run in info["full"]["all_results"].values():
            run["params"], run["eval_acc1es"] = (
                np.float64(1.5),
                {k: np.float32(v) for k, v in run["eval_acc1es"].items()},
            )
            run["net_state_dict"] = torch.nn.Linear(2, 3).state_dict()
            run["latency"] = [np.zeros(3), np.int64(3)]
    for legacy in (False, True):
        table = load_benchmark(save(content, tmp_path / f"numpy{legacy}.pth", legacy))
        for name, column in expected.columns.items():
            assert table.values(name) == pytest.approx(column.values, rel=1e-6)
