"""NAS-Bench-Macro's JSON: columns, and the key that a bad file is bad at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.benchmarks import load_benchmark
from common.errors import InputError

A, B = "02012100", "11111221"


def record(*runs: float, **changes: Any) -> dict[str, Any]:
    made = {
        "test_acc": list(runs),
        "mean_acc": sum(runs) / len(runs),
        "std": 0.1,
        "params": 890_666,
        "flops": 47_327_744,
    }
    return {key: value for key, value in (made | changes).items() if value is not None}


def write(folder: Path, content: Any) -> Path:
    path = folder / "macro.dat"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_networks_and_columns_come_in_the_order_of_the_file(tmp_path: Path):
    table = load_benchmark(write(tmp_path, {A: record(89.0, 90.0, 91.0), B: record(92.0, 92.0, 92.3)}))
    assert (table.source.kind, len(table)) == ("macro_json", 2)
    assert [table.arch_text(row) for row in range(2)] == [A, B]
    assert table.column("cifar10_test_50").values == pytest.approx([90.0, 92.1])
    assert table.column("cifar10_test_50_run2").values.tolist() == [91.0, 92.3]
    assert table.column("params").values.tolist() == [890_666, 890_666]
    assert (table.column("params").unit, table.column("flops").unit) == ("parameters", "FLOPs")
    assert [column.name for column in table.accuracies("cifar10", "test")] == ["cifar10_test_50"]
    assert table.datasets == ["cifar10"]


GOOD = record(89.0, 90.0, 91.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({A: GOOD, B[1:]: GOOD}, "1111221"),
        ({A: GOOD, "11111223": GOOD}, "11111223"),
        ({A: GOOD, B: record(89.0, 90.0, 91.0, flops=None)}, f"key '{B}': flops must be a number, got null"),
        ({A: GOOD, B: record(89.0, 90.0, 91.0, mean_acc=None)}, f"key '{B}': mean_acc must be"),
        ({A: GOOD, B: record(89.0, 90.0, 91.0, test_acc=None)}, f"key '{B}': test_acc must be a list of 3"),
        ({A: GOOD, B: record(89.0, 90.0)}, f"key '{B}': test_acc must be a list of 3"),
        ({A: GOOD, B: record(89.0, 90.0, 91.0, params="many")}, f"key '{B}': params must be a number"),
        ({A: GOOD, B: record(89.0, 90.0, 91.0, mean_acc=80.0)}, f"key '{B}': mean_acc is not the mean"),
        ({A: GOOD, B: record(189.0, 190.0, 191.0)}, f"key '{B}': cifar10_test_50 is 190"),
        ({A: record(0.89, 0.9, 0.91), B: record(0.5, 0.5, 0.5)}, r"within \[0, 1\]"),
        ({A: GOOD, B: 91.0}, f"key '{B}': an object"),
        (json.dumps({A: GOOD})[:-1] + f', "{A}": {json.dumps(GOOD)}}}', f"key '{A}' occurs twice"),
        (json.dumps({A: GOOD, B: GOOD})[:-30], "not valid JSON"),
        (json.dumps({A: GOOD, B: GOOD}).replace("91.0", "NaN"), f"key '{A}': test_acc must be a number, got NaN"),
    ],
)
def test_a_bad_file_is_named_with_its_key(tmp_path: Path, content: Any, message: str):
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=message) as caught:
        load_benchmark(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.shared
def test_the_whole_benchmark_agrees_with_the_cost_model(shared_data: Path):
    table = load_benchmark(shared_data / "nasbench_macro" / "nas-bench-macro_cifar10.json")
    assert table.space is not None
    assert table.codes is not None
    assert len(np.unique(table.codes, axis=0)) == len(table) == 6_561
    flops, params = table.space.total_costs(table.codes)
    assert np.array_equal(flops, table.column("flops").values)
    assert np.array_equal(params, table.column("params").values)
