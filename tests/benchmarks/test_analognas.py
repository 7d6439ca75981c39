"""AnalogNAS-Bench: the installed table, its digits, and a pickle that must not run code."""

from __future__ import annotations

import os
import pickle
import sys
import types
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from common.benchmarks import analognas, load_benchmark
from common.errors import InputError

FIELDS = ("baseline_accuracy", "ptq_accuracy", "qat_accuracy", "noisy_accuracy", "analog_accuracy")


def write_true_format(path: Path, records: dict[tuple[int, ...], dict[str, object]]) -> Path:
    """Pickle records as instances of the package's own classes, without the package."""
    module = types.ModuleType("analognasbench.data")
    drift = type("DriftMeasurement", (), {"__module__": module.__name__})
    record = type("Architecture", (), {"__module__": module.__name__})
    module.Architecture, module.DriftMeasurement = record, drift  # type: ignore[attr-defined]
    data = {}
    for digits, fields in records.items():
        data[digits] = record()
        data[digits].__dict__ |= {"architecture": digits, **fields, "analog_drift_60": drift()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "analognasbench", types.ModuleType("analognasbench"))
        patch.setitem(sys.modules, module.__name__, module)
        path.write_bytes(pickle.dumps(data, protocol=4))
    return path


def fields_of(*values: object) -> dict[str, object]:
    return dict(zip(FIELDS, values, strict=True))


def test_digits_become_cells_in_the_order_of_the_file(tmp_path: Path):
    # Edges 0->1, 0->2, 0->3, 1->2, 1->3, 2->3; digits 0 skip, 1 none, 2 conv3x3, 3 conv1x1, 4 pool (data README).
    path = write_true_format(
        tmp_path / "x",
        {
            (2, 0, 1, 3, 4, 0): fields_of(91.5, 90.0, 89.0, 20.0, 85.0),
            (0, 0, 0, 0, 0, 4): fields_of(60.0, 59.0, 58.0, 10.0, 50.0),
        },
    )
    table = load_benchmark(path)
    assert [table.arch_text(row) for row in range(2)] == [
        "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|skip_connect~2|",
        "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|avg_pool_3x3~2|",
    ]
    assert table.column("cifar10_test").values.tolist() == [91.5, 60.0]
    assert table.column("analog_accuracy").values.tolist() == [85.0, 50.0]


def test_the_installed_table_is_whole_and_its_dead_cells_are_at_chance():
    table = load_benchmark(None)
    assert table.codes is not None
    assert table.space is not None
    assert len(np.unique(table.codes, axis=0)) == len(table) == 15_625
    accuracy = table.column("cifar10_test").values
    dead = np.array([not table.space.reaches_output(table.arch(row)) for row in range(len(table))])
    assert dead.sum() == 341
    assert np.all(accuracy[dead] == 10.0)
    assert np.median(accuracy[~dead]) > 80
    assert "analognasbench" not in sys.modules


def test_analog_accuracies_are_never_taken_for_test_accuracies():
    table = load_benchmark(None)
    assert table.datasets == ["cifar10"]
    assert [column.name for column in table.accuracies("cifar10", "test")] == ["cifar10_test"]
    assert "noisy_accuracy" in table.columns


def test_code_in_the_pickle_is_not_run(tmp_path: Path):
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    path = write_true_format(tmp_path / "x", {(0, 0, 0, 0, 0, 4): fields_of(60.0, 59.0, Evil(), 10.0, 50.0)})
    with pytest.raises(InputError, match="no place in this file"):
        load_benchmark(path, kind="analognas")
    assert not (tmp_path / "ran").exists()
    with path.open("rb") as file, pytest.MonkeyPatch.context() as patch:  # the file would have run with any other
        patch.setattr(analognas._Unpickler, "find_class", lambda *names: os.mkdir if "mkdir" in names else object)
        with pytest.raises(Exception, match=r".*"):
            analognas._Unpickler(file).load()
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "records",
    [
        {},
        {(0, 0, 0, 0, 0): fields_of(60.0, 59.0, 58.0, 10.0, 50.0)},
        {(0, 0, 0, 0, 0, 5): fields_of(60.0, 59.0, 58.0, 10.0, 50.0)},
        {(0, 0, 0, 0, 0, 1): {"baseline_accuracy": 60.0}},
        {(0, 0, 0, 0, 0, 1): fields_of("good", 59.0, 58.0, 10.0, 50.0)},
        {(0, 0, 0, 0, 0, 1): fields_of(160.0, 59.0, 58.0, 10.0, 50.0)},
    ],
)
def test_records_of_another_form_are_refused(tmp_path: Path, records: dict[tuple[int, ...], dict[str, object]]):
    path = write_true_format(tmp_path / "x", records)
    with pytest.raises(InputError) as caught:
        analognas.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(tmp_path: Path):
    path = write_true_format(
        tmp_path / "x", {(0, 0, 0, 0, 0, i): fields_of(60.0, 59.0, 58.0, 10.0, 50.0) for i in range(5)}
    )
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="not a readable AnalogNAS-Bench file"):
        load_benchmark(path)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(analognas, "distribution", absent)
    with pytest.raises(InputError, match="pip install analog-nasbench"):
        load_benchmark(None)


@pytest.mark.shared
def test_it_agrees_with_the_official_accuracies_cell_by_cell(shared_data: Path):
    ours, official = load_benchmark(None), load_benchmark(shared_data / "nasbench201" / "accuracy.csv")
    rows = [ours.index_of(official.arch(row)) for row in range(len(official))]
    accuracy = ours.column("cifar10_test").values[rows]
    reference = official.column("cifar10_test_200").values
    assert round(float(spearmanr(accuracy, reference).statistic), 3) == 0.991
    assert round(float(kendalltau(accuracy, reference).statistic), 3) == 0.926
    assert round(float((accuracy - reference).mean()), 2) == -0.29
