"""The page of the screening searches is what the committed summaries say, and its tables hold their numbers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import study_screening  # noqa: E402


def test_the_page_is_what_the_summaries_make():
    assert study_screening.PAGE.read_text(encoding="utf-8") == study_screening.page()


def run(accuracy: float | None, regret: float | None, seconds: float) -> dict[str, Any]:
    stages = [
        {"stage": "drawn at random", "in": 9, "out": 4, "seconds": 1.0, "share": 0.25, "best_out": 95.0, "lost": 0.5},
        {"stage": "the choice", "in": 4, "out": 1, "seconds": 3.0, "share": 0.75, "best_out": accuracy, "lost": 1.0},
    ]
    found = {"test_acc": accuracy, "regret": regret, "arch": "a"}
    return {"found": found, "chosen_by": {}, "stages": stages, "search_s": seconds}


def test_a_row_has_mean_interval_goal_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(study_screening, "RESULTS", tmp_path)
    summary = {"n": 2, "runs": [run(94.2, 0.3, 10.0), run(94.5, 0.0, 30.0)], "mean": {"regret": 0.15}}
    (tmp_path / "nb201_cifar10_screening.json").write_text(json.dumps(summary))
    unknown = {"n": 1, "runs": [run(None, None, 7.0)], "mean": {"regret": None}}
    (tmp_path / "darts_cifar10_screening.json").write_text(json.dumps(unknown))
    page = study_screening.page()
    row = "| 2 | **94.35 ± 0.21** | 94.20 to 94.50 | 94.30 | yes | 0.15 | 20 (10 to 30) |"
    assert row in page
    assert "| 1 | not known |  |  |  |  | 7 (7 to 7) |" in page
    assert "| NAS-Bench-201, CIFAR-10 | the choice | 1 | 75% | 94.35 | 1.00 |" in page
    assert "## Whole commands" not in page


def test_what_is_in_no_table_is_placed_among_trained_ones(tmp_path: Path):
    """The best and the worst of a table go to its ends, and its middle to the middle."""
    from common.benchmarks import load_benchmark
    from common.seeds import rng_for
    from common.spaces import make_space

    space = make_space("macro")
    archs = space.sample_distinct(60, rng_for(0, "placed"))
    values = [sum(map(int, space.format(arch))) for arch in archs]  # more of everything is better
    rows = "".join(f"{space.format(arch)},{value}\n" for arch, value in zip(archs, values, strict=True))
    (tmp_path / "sums.csv").write_text("arch,accuracy\n" + rows)
    table = load_benchmark(tmp_path / "sums.csv", space=space)
    made = study_screening.place(["00000000", "22222222", "21012101"], table)
    assert made["kendall_tau"] > 0.9
    worst, best, middle = made["better_than"]
    assert worst < 0.05
    assert best > 0.95
    assert 0.2 < middle < 0.8
