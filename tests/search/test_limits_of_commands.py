"""Budgets of an architecture in both commands: nothing outside is evaluated or found, or one line says why."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import renas
import renas.cli
import renas.compare
import rminas
import rminas.cli
from common.benchmarks import load_benchmark
from common.errors import InputError
from common.spaces import make_space


def costs(texts: list[str], **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    """FLOPs and parameters of NAS-Bench-201 cells."""
    space = make_space("nasbench201", **settings)
    return space.total_costs(space.to_codes([space.parse(text) for text in texts]))


@pytest.mark.parametrize("search", ["topk", "ea", "active"])
def test_renas_evaluates_and_finds_nothing_outside(search: str, tmp_path: Path) -> None:
    table = load_benchmark()
    options: dict[str, Any] = {"search_settings": {"budget": 300, "population": 20}} if search == "ea" else {}
    result = renas.run(
        table, search=search, budget=40, count=5, predictor="gp", encoding="one_hot", max_flops="60M",
        out=tmp_path / "run", **options,
    )  # fmt: skip
    record = result.records[0]
    inside = result.experiment.table
    assert 2 <= len(inside) < len(table)
    flops, _ = costs([inside.arch_text(row) for row in record["evaluated"]])
    assert len(flops) == 40
    assert flops.max() <= 60e6
    assert json.loads((tmp_path / "run/config.json").read_text())["limits"] == {"max_flops": "60M"}
    assert "within max_flops 60M" in str(result)


def test_a_comparison_is_of_what_is_within_and_another_budget_is_another_comparison(tmp_path: Path) -> None:
    options: dict[str, Any] = {"strategies": ("random",), "budget": 10, "seeds": 2, "jobs": 1}
    made = renas.compare.run(**options, max_params="0.5M", out=tmp_path / "a")
    table = load_benchmark()
    _, params = costs([table.arch_text(row) for row in range(len(table))])
    assert made.summary["n_total"] == int((params <= 5e5).sum())
    assert made.summary["limits"] == {"max_params": "0.5M"}
    with pytest.raises(InputError, match="holds a run with other settings"):
        renas.compare.run(**options, max_params="0.4M", out=tmp_path / "a")


@pytest.mark.parametrize(("strategy", "vote"), [("forest", "sum"), ("forest", "model"), ("evolution", "best")])
def test_rminas_evaluates_and_finds_nothing_outside(strategy: str, vote: str, tmp_path: Path) -> None:
    run = rminas.run(
        "nb201_digits", evaluator="params", strategy=strategy, vote=vote, rf_warmup=20, rf_succ=6, rf_thresrate=0.3,
        max_evaluations=30, max_params="0.5M", out_dir=str(tmp_path),
    )  # fmt: skip
    space = make_space("nasbench201")
    found = [space.format(arch) for arch in (*run.histories[0].archs, run.found[0])]
    assert len(found) > 20
    # Of the published network, not of the smaller one in which candidates are trained.
    assert costs(found, image_size=8)[1].max() <= 5e5
    assert costs(found, image_size=8)[1].max() > 4e5


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (renas.cli, ["--max_params", "1k"]),
        (renas.compare, ["--max_flops", "0.1M"]),
        (rminas.cli, ["--cfg", "nb201_digits", "--max_flops", "1k"]),
        (rminas.cli, ["--cfg", "nb201_digits", "--max_latency", "3"]),
        (rminas.cli, ["--cfg", "nb201_digits", "--max_params", "many"]),
    ],
)
def test_a_budget_that_nothing_fits_is_one_line_before_anything_is_written(
    program: ModuleType, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        program.main(words)
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())
