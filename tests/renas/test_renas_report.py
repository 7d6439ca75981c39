"""Summary, terminal report and plots, all made from records."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from common.benchmarks.table import BenchmarkTable
from common.encoding import PARTS
from common.runs.files import plain
from renas.experiment import Experiment
from renas.predictor import LeNetSettings
from renas.protocol import choose_columns
from renas.report import summarize, terminal_report, write_plots
from renas.search import EvolutionSettings

MakeTable = Callable[..., BenchmarkTable]


def an_experiment(table: BenchmarkTable, protocol: str = "honest", n_train: int = 4) -> Experiment:
    columns = choose_columns(table, "cifar10", protocol)
    settings = LeNetSettings(), "topk", EvolutionSettings()
    return Experiment(table, columns, protocol, PARTS, n_train, 3, *settings)


def looked_up(index: int, **values: Any) -> dict[str, Any]:
    found = {"arch": f"cell {index}", "index": index, "valid_acc": 90.0, "test_acc": 93.0, "rank": 2}
    return {**found, "rank_percent": 0.5, "regret": 0.25, **values}


def a_record(seed: int, **values: Any) -> dict[str, Any]:
    """As it is read back from evaluations.jsonl."""
    record = {
        "seed": seed,
        "kendall_tau": 0.5,
        "kendall_tau_labelled": 0.625,
        "spearman": 0.75,
        "proposed_acc": 92.5,
        "n_test": 16,
        "n_test_labelled": 12,
        "found": looked_up(7),
        "best_trained": looked_up(1),
        "candidates": [{**looked_up(row), "score": 0.5} for row in (7, 9, 11)],
        "trained": [0, 1, 2, 3],
        "best_epoch": 1,
        "loss": [0.7, 0.6],
        "train_tau": [0.1, 0.2],
        "train_s": 2.0,
        "score_s": 1.0,
        "search_s": 0.5,
    }
    return {**record, **values}


def accuracies(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(80, 95, 20)


@pytest.fixture
def table(make_table: MakeTable) -> BenchmarkTable:
    return make_table(cifar10_valid_12=accuracies(0), cifar10_test_200=accuracies(1))


REQUIRED = {"method", "space", "dataset", "n_train", "n_test", "protocol", "runs", "mean", "std"}
REQUIRED_RUN = {"seed", "kendall_tau", "spearman", "found", "train_s", "score_s"}
REQUIRED_FOUND = {"arch", "index", "valid_acc", "test_acc", "rank", "regret"}


def test_the_summary_holds_what_was_asked_for_and_mean_and_deviation_by_hand(table: BenchmarkTable):
    records = [
        a_record(0),
        a_record(1, kendall_tau=0.75, train_s=4.0, found=looked_up(9, test_acc=94.0, regret=1.25)),
        a_record(2, kendall_tau=0.25, train_s=3.0, found=looked_up(9, test_acc=95.0, rank=5)),
    ]
    summary = summarize(an_experiment(table), records, {"torch": "9"})
    assert set(summary) >= REQUIRED
    assert (summary["method"], summary["space"], summary["dataset"]) == ("ReNAS", "nasbench201", "cifar10")
    assert (summary["n_train"], summary["n_test"], summary["n"], summary["protocol"]) == (4, 16, 3, "honest")
    assert (summary["label"], summary["report"]) == ("cifar10_valid_12", "cifar10_test_200")
    assert summary["source"]["title"] == "a made table"
    assert [run["seed"] for run in summary["runs"]] == [0, 1, 2]
    for run, record in zip(summary["runs"], records, strict=True):
        assert set(run) >= REQUIRED_RUN
        assert set(run["found"]) >= REQUIRED_FOUND
        assert all(run[key] == record[key] for key in run)
        assert "trained" not in run  # the long lists stay in evaluations.jsonl
    mean, std = summary["mean"], summary["std"]
    assert (mean["kendall_tau"], std["kendall_tau"]) == pytest.approx((0.5, 0.25))
    assert (mean["test_acc"], std["test_acc"]) == pytest.approx((94, 1))
    assert (mean["train_s"], std["train_s"]) == pytest.approx((3, 1))
    assert mean["rank"] == 3
    assert (mean["regret"], std["regret"]) == pytest.approx((1.75 / 3, math.sqrt(1 / 3)))
    assert (mean["spearman"], std["spearman"]) == (0.75, 0)
    assert summary["environment"] == {"torch": "9"}
    assert json.loads(json.dumps(plain(summary), allow_nan=False))


def test_what_could_not_be_measured_is_left_out_of_the_mean(table: BenchmarkTable):
    records = [a_record(0, kendall_tau=None, found=looked_up(7, valid_acc=None)), a_record(1, kendall_tau=0.25)]
    summary = summarize(an_experiment(table), records, {})
    assert summary["mean"]["kendall_tau"] == 0.25
    assert summary["mean"]["valid_acc"] == 90
    alone = summarize(an_experiment(table), records[:1], {})
    assert math.isnan(alone["mean"]["kendall_tau"])
    assert "nan" in terminal_report(an_experiment(table), alone, Path("out"))


def test_the_terminal_report_ends_as_the_demos_does(table: BenchmarkTable):
    records = [a_record(0), a_record(1, found=looked_up(9, valid_acc=91.5, test_acc=94.015))]
    experiment = an_experiment(table)
    text = terminal_report(experiment, summarize(experiment, records, {}), Path("some/folder"))
    lines = text.splitlines()
    assert lines[-1] == "search model acc: 93.51"
    assert "files: some/folder" in lines
    assert "found: cell 9 (row 9, rank 2 of 20)" in lines  # the better one by what may be looked at
    assert "a made table" in lines[0]
    assert "20 architectures" in lines[0]
    assert "cifar10_valid_12 of 4 architectures" in lines[1]
    assert "cifar10_test_200 is reported" in lines[1]
    assert not any(line.startswith("note:") for line in lines)
    assert sum(line.split()[:1] in (["0"], ["1"]) for line in lines) == 2
    assert max(map(len, lines)) < 200


def test_a_note_about_the_columns_is_printed(make_table: MakeTable):
    experiment = an_experiment(make_table(cifar10_test_200=np.arange(70.0, 90)))
    text = terminal_report(experiment, summarize(experiment, [a_record(0)], {}), Path("out"))
    assert "\nnote: no validation column" in text


def test_a_seed_whose_training_cells_have_nothing_to_report_is_shown(table: BenchmarkTable):
    experiment = an_experiment(table)
    text = terminal_report(experiment, summarize(experiment, [a_record(0, best_trained=None)], {}), Path("out"))
    assert text.endswith("search model acc: 93.00")


# plots -------------------------------------------------------------------------------------------------------------


def pictures(folder: Path) -> list[np.ndarray]:
    """The two plots as pixels, with something on them."""
    made = []
    for name in ("predicted_vs_true.png", "search.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        pixels = matplotlib.image.imread(folder / name)[..., :3]
        assert min(pixels.shape[:2]) > 300
        white = (pixels == 1).all(-1).mean()
        assert 0.3 < white < 0.99
        assert len(set(map(bytes, pixels.reshape(-1, 3)[::7]))) > 20
        made.append(pixels)
    return made


def colour_share(pixels: np.ndarray, red: int, green: int, blue: int) -> float:
    return float((np.abs(pixels - np.array([red, green, blue]) / 255) < 0.15).all(-1).mean())


def test_both_plots_show_something_and_follow_their_records(table: BenchmarkTable, tmp_path: Path):
    experiment, scores = an_experiment(table), np.arange(20.0)
    for name, record, of in (
        ("a", a_record(0), scores),
        ("b", a_record(0, trained=[10, 12, 14, 16]), scores[::-1]),
    ):
        write_plots(experiment, [record], of, tmp_path / name)
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["predicted_vs_true.png", "search.png"]
    (scatter, search), other = pictures(tmp_path / "a"), pictures(tmp_path / "b")
    assert colour_share(scatter, 255, 0, 0) > 1e-4  # the star of what was found
    assert colour_share(search, 31, 119, 180) > 1e-3  # the blue curve
    assert colour_share(search, 44, 160, 44) > 1e-4  # the table's best, green
    assert not np.array_equal(scatter, other[0])
    assert not np.array_equal(search, other[1])


def test_cells_that_were_trained_on_are_not_among_the_predictions(table: BenchmarkTable, tmp_path: Path):
    for name, score_of_trained in (("a", 0.0), ("b", 99.0)):
        scores = np.arange(20.0)
        scores[:4] = score_of_trained
        write_plots(an_experiment(table), [a_record(0)], scores, tmp_path / name)
    assert np.array_equal(pictures(tmp_path / "a")[0], pictures(tmp_path / "b")[0])


def test_many_architectures_are_plotted_as_a_density(make_table: MakeTable, tmp_path: Path):
    rng = np.random.default_rng(0)
    small = make_table(cifar10_valid_12=accuracies(0), cifar10_test_200=accuracies(1))
    assert small.space is not None
    report = rng.uniform(80, 95, 8000)
    report[5::7] = np.nan
    columns = {
        name: replace(column, values=report if "test" in name else rng.uniform(70, 90, 8000))
        for name, column in small.columns.items()
    }
    codes = small.space.all_codes()[:8000]  # type: ignore[attr-defined]
    experiment = an_experiment(BenchmarkTable(small.source, columns, small.space, codes))
    write_plots(experiment, [a_record(0)], np.nan_to_num(report / 10 + rng.normal(0, 0.2, 8000)), tmp_path)
    scatter, _ = pictures(tmp_path)
    assert colour_share(scatter, 68, 1, 84) > 0.01  # viridis's darkest: cells of the density that hold a few


# Rows without a reported value, training rows, found row.
ODD: dict[str, tuple[list[int], list[int], int]] = {
    "the training cells have nothing to report": ([*range(12)], [*range(12)], 15),
    "nothing but training cells has anything to report": ([*range(4, 20)], [*range(4)], 2),
    "all is equal": ([], [*range(4)], 7),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_tables_are_plotted_too(make_table: MakeTable, tmp_path: Path, name: str, recwarn: Any):
    missing, trained, found = ODD[name]
    report = np.full(20, 90.0) if name == "all is equal" else accuracies(1)
    report[missing] = np.nan
    experiment = an_experiment(
        make_table(cifar10_valid_12=accuracies(0), cifar10_test_200=report), n_train=len(trained)
    )
    candidates = [looked_up(found, score=0.5)] if found not in trained else []
    record = a_record(0, trained=trained, candidates=candidates, found=looked_up(found), kendall_tau=None)
    write_plots(experiment, [record], np.arange(20.0), tmp_path)
    pictures(tmp_path)
    assert not [str(warning.message) for warning in recwarn if issubclass(warning.category, UserWarning)]


def test_scores_that_are_no_numbers_are_plotted_as_nothing(table: BenchmarkTable, tmp_path: Path):
    record = a_record(0, kendall_tau=None)
    write_plots(an_experiment(table), [record], np.full(20, np.nan, dtype=np.float32), tmp_path)
    pictures(tmp_path)
