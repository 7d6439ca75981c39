"""Predictors as people use them: every member's contract, tables and architectures in, files that run nothing."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from common.benchmarks.table import BenchmarkTable, Column, Source
from common.encoding import encode
from common.errors import InputError
from common.predictors import PREDICTORS, Predictor, Ranker, load_predictor, make_predictor
from common.predictors.boosting import Boosting
from common.spaces import make_space

ROOT = Path(__file__).resolve().parents[2]
FAST: dict[str, dict[str, Any]] = {
    "lenet": {"num_epochs": 3},
    "boosting": {"models": 2, "max_iter": 100},
    "ensemble": {"members": "extra_trees,gp"},
    "auto": {"members": "extra_trees*0.5,gp*1.5,svr*0.5"},
}  # settings with which a member is fitted in a moment


@pytest.fixture(scope="session", autouse=True)
def _one_thread(one_thread: None) -> None:
    """See `one_thread`."""


def made_table(count: int = 80, space_name: str = "nasbench201", seed: int = 0) -> BenchmarkTable:
    """Distinct random cells; accuracies that follow their FLOPs, validation and test."""
    space = make_space(space_name)
    rng = np.random.default_rng(seed)
    codes = space.to_codes(space.sample_distinct(count, rng))
    flops = space.total_costs(codes)[0]
    test = 60 + 30 * flops / flops.max() + rng.normal(0, 1, count)
    columns = {
        "cifar10_test_200": Column("cifar10_test_200", test, "%", "cifar10", "test", 200),
        "cifar10_valid_12": Column("cifar10_valid_12", test - 8 + rng.normal(0, 1, count), "%", "cifar10", "valid", 12),
        "cifar10_valid_200": Column("cifar10_valid_200", test + rng.normal(0, 1, count), "%", "cifar10", "valid", 200),
    }
    return BenchmarkTable(Source("made", "a made table", "made.csv"), columns, space, codes)


TABLE = made_table()
members = pytest.mark.parametrize("name", sorted(PREDICTORS))


def fitted(name: str, table: BenchmarkTable = TABLE, **options: Any) -> Ranker:
    return make_predictor(name, **FAST.get(name, {})).fit(table, **options)


# the contract ------------------------------------------------------------------------------------------------------


@members
def test_a_predictor_learns_and_follows_its_seed(name: str):
    others = made_table(200, seed=1)
    ranker = make_predictor(name, **({"num_epochs": 30} if name == "lenet" else {})).fit(TABLE, seed=3)
    scores = ranker.predict(others)
    assert scores.shape == (200,)
    assert stats.kendalltau(scores, others.column("cifar10_test_200").values).statistic > 0.3
    again = fitted(name, seed=3).predict(others)
    assert np.array_equal(again, fitted(name, seed=3).predict(others))
    with_std = fitted(name, seed=3).predict_with_std(others)
    np.testing.assert_allclose(with_std[0], again, atol=1e-4 * np.ptp(again))
    assert with_std[1].shape == (200,)
    assert (with_std[1] >= 0).all()


@members
def test_what_is_fitted_again_starts_anew(name: str):
    others = made_table(60, seed=1)
    ranker = fitted(name, made_table(40, seed=2))
    assert np.array_equal(ranker.fit(TABLE).predict(others), fitted(name).predict(others))


@members
def test_scores_do_not_depend_on_what_else_is_scored(name: str):
    others = made_table(300, seed=1)
    ranker = fitted(name)
    scores = ranker.predict(others)
    order = np.random.default_rng(0).permutation(300)
    assert others.codes is not None
    columns = {key: replace(column, values=column.values[order]) for key, column in others.columns.items()}
    shuffled = replace(others, codes=others.codes[order], columns=columns)
    np.testing.assert_allclose(ranker.predict(shuffled), scores[order], atol=1e-4 * np.ptp(scores))
    archs = [others.arch(row) for row in range(30)]
    np.testing.assert_allclose(ranker.predict(archs), scores[:30], atol=1e-4 * np.ptp(scores))
    texts = [others.arch_text(row) for row in range(30)]
    np.testing.assert_array_equal(ranker.predict(texts), ranker.predict(archs))


@members
def test_two_architectures_are_enough_and_equal_values_no_error(name: str):
    assert np.isfinite(fitted(name, TABLE.head(2)).predict(TABLE)).all()
    values = np.full(20, 90.0)
    ranker = make_predictor(name, **FAST.get(name, {})).fit(
        archs=[TABLE.arch(row) for row in range(20)], values=values, space=TABLE.space
    )
    assert np.isfinite(ranker.predict(TABLE)).all()


@members
def test_the_same_values_by_table_and_by_architectures_are_the_same_predictor(name: str):
    archs = [TABLE.arch_text(row) for row in range(len(TABLE))]
    by_archs = make_predictor(name, **FAST.get(name, {})).fit(
        archs=archs, values=TABLE.column("cifar10_valid_200").values, space=TABLE.space, seed=1
    )
    assert np.array_equal(by_archs.predict(TABLE), fitted(name, seed=1).predict(TABLE))


# tables ------------------------------------------------------------------------------------------------------------


def test_the_longest_validation_is_learnt_unless_another_column_is_named():
    scores = fitted("boosting").predict(TABLE)
    assert np.array_equal(scores, fitted("boosting", column="cifar10_valid_200").predict(TABLE))
    on_test = fitted("boosting", column="cifar10_test_200").predict(TABLE)
    assert not np.array_equal(scores, on_test)
    only_test = replace(TABLE, columns={"cifar10_test_200": TABLE.column("cifar10_test_200")})
    assert np.array_equal(fitted("boosting", only_test).predict(TABLE), on_test)


def test_a_plain_column_is_learnt_where_there_are_no_accuracies():
    plain = Column("latency", -TABLE.column("cifar10_test_200").values, "ms")
    ranker = fitted("boosting", replace(TABLE, columns={"latency": plain}))
    assert stats.kendalltau(ranker.predict(TABLE), plain.values).statistic > 0.8


def test_rows_without_a_value_are_not_learnt_from():
    column = TABLE.column("cifar10_valid_200")
    values = column.values.copy()
    values[::2] = np.nan
    half = replace(TABLE, columns={column.name: replace(column, values=values)})
    archs = [TABLE.arch(row) for row in range(1, len(TABLE), 2)]
    expected = make_predictor("boosting", **FAST["boosting"]).fit(archs=archs, values=values[1::2], space=TABLE.space)
    assert np.array_equal(fitted("boosting", half).predict(TABLE), expected.predict(TABLE))


def test_a_ranking_is_best_first_and_text():
    ranker = fitted("boosting")
    ranking, scores = ranker.rank(TABLE), ranker.predict(TABLE)
    assert len(ranking) == len(TABLE)
    assert ranking.rows.tolist() == sorted(range(len(TABLE)), key=lambda row: (-scores[row], row))
    assert ranking[0] == TABLE.arch_text(int(np.argmax(scores)))
    assert ranking[-1] == TABLE.arch_text(int(ranking.rows[-1]))
    assert ranking[:3] == [TABLE.arch_text(int(row)) for row in ranking.rows[:3]]
    assert list(ranking) == ranking[:]
    assert ranker.predict(ranking[:3]) == pytest.approx(ranking.scores[:3])  # text is taken wherever values are
    assert (np.diff(ranking.scores) <= 0).all()


@pytest.mark.parametrize("space", ["darts", "macro", "nasbench101", "mobilenet"])
def test_flat_features_exist_in_every_space(space: str):
    table = made_table(60, space)
    assert stats.kendalltau(fitted("boosting", table).predict(table), table.column("cifar10_test_200").values)[0] > 0.7


class Prepared:
    def __init__(self, tensors: np.ndarray) -> None:
        self.tensors = tensors

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensors.shape[1:]

    def __len__(self) -> int:
        return len(self.tensors)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        return self.tensors[indices]


def prepared_table() -> BenchmarkTable:
    assert TABLE.space is not None
    assert TABLE.codes is not None
    return replace(TABLE, space=None, codes=None, prepared=Prepared(encode(TABLE.space, TABLE.codes)))  # type: ignore[arg-type]


def test_prepared_tensors_are_learnt_as_encoded_ones_are(tmp_path: Path):
    table = prepared_table()
    ranker = fitted("lenet", table)
    assert np.array_equal(ranker.predict(table), fitted("lenet").predict(TABLE))
    ranker.save(tmp_path / "m.npz")
    assert np.array_equal(load_predictor(tmp_path / "m.npz").predict(table), ranker.predict(table))
    with pytest.raises(InputError, match="fitted on feature tensors, not on architectures"):
        ranker.predict([TABLE.arch(0)])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: make_predictor("oracle"), "unknown predictor 'oracle'; choose from .*boosting.*lenet"),
        (lambda: make_predictor("boosting", trees=3), "predictor boosting: unknown setting trees"),
        (lambda: make_predictor("boosting", learning_rte=3), "did you mean LEARNING_RATE"),
        (lambda: make_predictor("boosting", max_iter=0), "max_iter is 0, expected at least 1"),
        (lambda: make_predictor("boosting", max_iter="many"), "max_iter is 'many', expected a whole number"),
        (lambda: make_predictor("lenet", loss="huber"), "loss is 'huber', expected one of"),
        (lambda: make_predictor("boosting", encoding="smell"), "unknown encoding 'smell'"),
        (lambda: make_predictor("common.predictors.base:CHUNK"), "is no subclass"),
        (lambda: fitted("boosting").predict(made_table(10, "macro")), "this predictor learnt"),
        (lambda: fitted("boosting").predict([]), "no architectures"),
        (lambda: fitted("boosting").predict(["not a cell"]), "not a cell"),
        (lambda: fitted("boosting", prepared_table()), "holds feature tensors only"),
        (lambda: fitted("lenet", made_table(10, "darts")), "no feature tensors: choose a flat encoding"),
        (lambda: fitted("boosting", column="nothing"), "no column 'nothing'"),
        (lambda: make_predictor("boosting", "tensor").fit(TABLE), "'boosting' learns from flat features"),
        (lambda: make_predictor("lenet", "one_hot").fit(TABLE), "'lenet' learns from feature tensors"),
        (lambda: make_predictor("boosting").predict(TABLE), "'boosting' has not been fitted"),
        (lambda: make_predictor("boosting").fit(), "fit takes a table, or archs, values and space"),
        (
            lambda: make_predictor("boosting").fit(archs=[TABLE.arch(0)], values=[1.0], space=TABLE.space),
            "1 architectures with a value, at least 2",
        ),
        (
            lambda: make_predictor("boosting").fit(archs=[TABLE.arch(0)] * 3, values=[1.0], space=TABLE.space),
            r"3 architectures with values of shape \(1,\)",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(wrong: Callable[[], object], said: str):
    with pytest.raises(InputError, match=said) as caught:
        wrong()
    assert "\n" not in str(caught.value)


def test_features_that_are_not_finite_are_named():
    table = prepared_table()
    assert isinstance(table.prepared, Prepared)
    table.prepared.tensors[17, 0, 0, 1] = np.nan
    with pytest.raises(InputError, match="row 17: its feature tensor holds values that are not finite"):
        fitted("lenet", table)
    ranker = fitted("lenet", prepared_table())
    with pytest.raises(InputError, match=r"made\.csv: row 17"):
        ranker.predict(table)


# files -------------------------------------------------------------------------------------------------------------


def test_saved_predictors_give_the_same_scores_in_another_process(tmp_path: Path):
    texts = [TABLE.arch_text(row) for row in range(50)]
    expected = {}
    for name in PREDICTORS:
        ranker = fitted(name, seed=5)
        ranker.save(tmp_path / f"{name}.npz")
        expected[name] = ranker.predict(texts).tolist()
    code = (
        "import json, sys, torch\ntorch.set_num_threads(1)\nfrom common.predictors import load_predictor\n"
        "folder, texts, names = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])\n"
        "print(json.dumps({name: load_predictor(f'{folder}/{name}.npz').predict(texts).tolist() for name in names}))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code, tmp_path, *map(json.dumps, (texts, [*PREDICTORS]))],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected


@members
def test_what_is_loaded_is_complete(name: str, tmp_path: Path):
    options = FAST.get(name, {})
    ranker = make_predictor(name, **options).fit(TABLE, seed=5)
    ranker.save(tmp_path / "a.npz")
    loaded = load_predictor(tmp_path / "a.npz")
    assert loaded.predictor.settings == ranker.predictor.settings
    assert loaded.space == TABLE.space
    assert loaded.encoding.describe() == ranker.encoding.describe()
    loaded.save(tmp_path / "b.npz")  # a loaded one can be saved again
    assert np.array_equal(load_predictor(tmp_path / "b.npz").predict(TABLE), ranker.predict(TABLE))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.npz", "b.npz"]  # nothing half-written


def test_a_space_with_another_network_around_its_cells_comes_back(tmp_path: Path):
    space = make_space("nasbench201", num_classes=100, channels=8)
    table = replace(TABLE, space=space)
    fitted("boosting", table).save(tmp_path / "m.npz")
    assert load_predictor(tmp_path / "m.npz").space == space


class Own(Boosting):
    """A user's own: trees that are turned upside down."""

    name = "own"

    def predict(self, features: np.ndarray) -> np.ndarray:
        return -super().predict(features)


def test_a_predictor_of_ones_own_is_given_by_the_caller(tmp_path: Path):
    ranker = make_predictor(Own).fit(TABLE)
    ranker.save(tmp_path / "m.npz")
    with pytest.raises(InputError, match=r"made by a predictor of one's own, '.*Own': give its class"):
        load_predictor(tmp_path / "m.npz")
    assert np.array_equal(load_predictor(tmp_path / "m.npz", Own).predict(TABLE), ranker.predict(TABLE))
    with pytest.warns(UserWarning, match="other scores than when it was saved"):
        load_predictor(tmp_path / "m.npz", Boosting)


def test_a_restored_network_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same weights in a network that was edited meanwhile."""
    from renas.lenet import LeNet

    fitted("lenet").save(tmp_path / "m.npz")
    forward = LeNet.forward
    monkeypatch.setattr(LeNet, "forward", lambda self, x: -forward(self, x))
    with pytest.raises(InputError, match="gives other scores than when it was saved"):
        load_predictor(tmp_path / "m.npz")


# hostile files -----------------------------------------------------------------------------------------------------


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def members_of(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(file: Path, members: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def header(text: str, content: bytes = b"") -> bytes:
    padded = text + " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode() + content


def described(members: dict[str, bytes], **changes: Any) -> dict[str, bytes]:
    about = json.loads(np.load(io.BytesIO(members["description.npy"])).tobytes())
    text = np.frombuffer(json.dumps({**about, **changes}).encode(), dtype=np.uint8)
    return {**members, "description.npy": npy(text)}


Change = Callable[[dict[str, bytes], Path], dict[str, bytes]]
HOSTILE: dict[str, tuple[str, Change]] = {
    "objects": (
        "boosting",
        lambda m, mark: {**m, "values.npy": npy(np.array([Bomb(mark)], dtype=object), allow_pickle=True)},
    ),
    "a pickle for an array": ("boosting", lambda m, mark: {**m, "values.npy": pickle.dumps(Bomb(mark))}),
    "a pickle beside": ("boosting", lambda m, mark: {**m, "more.pkl": pickle.dumps(Bomb(mark))}),
    "an enormous header": (
        "boosting",
        lambda m, _: {**m, "values.npy": header("{'descr': '<f8', 'fortran_order': False, 'shape': (10**14,), }")},
    ),
    "an enormous shape": (
        "boosting",
        lambda m, _: {
            **m,
            "values.npy": header("{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000000,), }", bytes(64)),
        },
    ),
    "a header that is code": (
        "boosting",
        lambda m, mark: {**m, "values.npy": header(f"__import__('pathlib').Path({str(mark)!r}).touch()")},
    ),
    "a negative shape": (
        "boosting",
        lambda m, _: {
            **m, "values.npy": header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -8), }", bytes(64)),
        },
    ),
    "text": ("boosting", lambda m, _: {**m, "values.npy": npy(np.array(["a"] * 80))}),
    "too few values": ("boosting", lambda m, _: {**m, "values.npy": npy(np.zeros(3))}),
    "values that are not finite": ("boosting", lambda m, _: {**m, "values.npy": npy(np.full(80, np.nan))}),
    "features of another width": ("boosting", lambda m, _: {**m, "features.npy": npy(np.zeros((80, 3)))}),
    "no features": ("boosting", lambda m, _: {k: v for k, v in m.items() if k != "features.npy"}),
    "no description": ("boosting", lambda m, _: {k: v for k, v in m.items() if k != "description.npy"}),
    "a description that is a list": (
        "boosting", lambda m, _: {**m, "description.npy": npy(np.frombuffer(b"[]", dtype="u1"))},
    ),
    "a deep description": (
        "boosting", lambda m, _: {**m, "description.npy": npy(np.frombuffer(b"[" * 200_000, dtype="u1"))},
    ),
    "an import path": ("boosting", lambda m, mark: described(m, predictor="os:system")),
    "an import path for an encoding": ("boosting", lambda m, mark: described(m, encoding="one_hot+os:system")),
    "an import path for a space": ("boosting", lambda m, _: described(m, space={"name": "os:system", "fields": {}})),
    "fields that a space has not": (
        "boosting", lambda m, _: described(m, space={"name": "nasbench201", "fields": {"shell": "rm"}}),
    ),
    "fields of another type": (
        "boosting", lambda m, _: described(m, space={"name": "nasbench201", "fields": {"channels": "many"}}),
    ),
    "settings that are none": ("boosting", lambda m, _: described(m, settings={"random_state": 1})),
    "settings of another type": ("boosting", lambda m, _: described(m, settings=[1])),
    "another format": ("boosting", lambda m, _: described(m, format=99)),
    "no seed": ("boosting", lambda m, _: described(m, seed=None)),
    "a weight of another shape": ("lenet", lambda m, _: {**m, "state.network.head.1.bias.npy": npy(np.zeros(3, "f4"))}),
    "a weight less": ("lenet", lambda m, _: {k: v for k, v in m.items() if k != "state.network.head.1.bias.npy"}),
    "a weight more": ("lenet", lambda m, _: {**m, "state.network.more.npy": npy(np.zeros(3, "f4"))}),
    "other weights": ("lenet", lambda m, _: {**m, "state.network.head.5.weight.npy": npy(np.ones((1, 84), "f4"))}),
    "a standardisation of another shape": ("lenet", lambda m, _: {**m, "state.mean.npy": npy(np.zeros((31, 4, 3)))}),
    "a standardisation of other tensors": (
        "lenet",
        lambda m, _: {**m, "state.mean.npy": npy(np.zeros((3, 9, 9))), "state.scale.npy": npy(np.ones((3, 9, 9)))},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("saved")
    for name in ("boosting", "lenet"):
        fitted(name).save(folder / f"{name}.npz")
    return lambda name: members_of(folder / f"{name}.npz")


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_runs_nothing_and_is_one_line(case: str, tmp_path: Path, saved: Any):
    name, change = HOSTILE[case]
    file, mark = tmp_path / "hostile.npz", tmp_path / "it_ran"
    write_members(file, change(saved(name), mark))
    with pytest.raises(InputError, match=r"hostile\.npz") as caught:
        load_predictor(file)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert not mark.exists()


def test_files_that_are_no_archives_of_plain_arrays_are_one_line(tmp_path: Path, saved: Any):
    whole = saved("boosting")
    write_members(tmp_path / "compressed.npz", whole, zipfile.ZIP_DEFLATED)
    write_members(tmp_path / "empty.npz", {})
    (tmp_path / "text.npz").write_text("a model")
    (tmp_path / "nothing.npz").write_bytes(b"")
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Bomb(tmp_path / "it_ran")))
    write_members(tmp_path / "whole.npz", whole)
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[:-100])
    middle = len(content) // 2
    (tmp_path / "flipped.npz").write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    for name in ("compressed", "empty", "text", "nothing", "pickle", "cut", "flipped", "missing"):
        with pytest.raises(InputError, match=f"{name}.npz") as caught:
            load_predictor(tmp_path / f"{name}.npz")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "it_ran").exists()
    assert load_predictor(tmp_path / "whole.npz").predict(TABLE).shape == (80,)


def test_a_small_file_cannot_ask_for_much_memory(tmp_path: Path, saved: Any):
    """A compressed one could hold a thousand times its size; here everything is held against the size of the file."""
    file = tmp_path / "bomb.npz"
    write_members(file, {**saved("boosting"), "values.npy": npy(np.zeros(4_000_000))}, zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 2_000_000
    with pytest.raises(InputError, match=r"promises 32,.* bytes out of"):
        load_predictor(file)


def test_a_predictor_of_the_wrong_kind_is_refused():
    class NoPredictor:
        name = "no"

    with pytest.raises(InputError, match="no subclass"):
        make_predictor(NoPredictor)  # type: ignore[arg-type]
    assert issubclass(Own, Predictor)
