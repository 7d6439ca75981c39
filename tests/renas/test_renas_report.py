"""Summary, terminal report and plots, all made from records."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from common.benchmarks import BUILT_IN
from common.benchmarks.table import BenchmarkTable
from common.runs.files import plain
from renas.experiment import Experiment, PredictorChoice
from renas.plots import best_so_far, draw_predictions, draw_search, random_search, write_plots
from renas.protocol import choose_columns
from renas.report import summarize, terminal_report

MakeTable = Callable[..., BenchmarkTable]


def an_experiment(table: BenchmarkTable, protocol: str = "honest", n_train: int = 4) -> Experiment:
    columns = choose_columns(table, protocol=protocol)
    return Experiment(table, columns, protocol, PredictorChoice.of("lenet"), "topk", n_train, 3)


def looked_up(index: int, **values: Any) -> dict[str, Any]:
    found = {"arch": f"cell {index}", "index": index, "label": 90.0, "valid_acc": 90.0, "test_acc": 93.0, "rank": 2}
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
    record |= values
    rows = [*record["trained"], *(candidate["index"] for candidate in record["candidates"])]
    return {"evaluated": rows, **record}


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
    records = [a_record(0), a_record(1, found=looked_up(9, label=91.5, test_acc=94.015))]
    experiment = an_experiment(table)
    summary = summarize(experiment, records, {})
    lines = terminal_report(experiment, summary, Path("some/folder")).splitlines()
    assert summary["best"] == experiment.columns.report.values.max()
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


def test_an_accuracy_of_the_built_in_table_stands_beside_that_tables_best(table: BenchmarkTable):
    built_in = replace(table, source=replace(table.source, kind=BUILT_IN))
    summary = summarize(an_experiment(built_in), [a_record(0)], {})
    assert summary["accuracy"] == f"93.00 of {summary['best']:.2f} at best in AnalogNAS-Bench"
    assert terminal_report(an_experiment(built_in), summary, Path("out")).endswith(summary["accuracy"])
    assert summarize(an_experiment(table), [a_record(0)], {})["accuracy"] == "93.00"


def test_a_single_seed_has_no_spread(table: BenchmarkTable):
    experiment = an_experiment(table)
    alone, both = (
        terminal_report(experiment, summarize(experiment, records, {}), Path("out"))
        for records in ([a_record(0)], [a_record(0), a_record(1)])
    )
    assert "tau 0.500, found 93.00 %, regret 0.25 (n = 1)" in alone
    assert "+-" not in alone
    assert "tau 0.500 +- 0.000, found 93.00 +- 0.00 %, regret 0.25 +- 0.00 (n = 2)" in both


def a_strategy_record(seed: int, **values: Any) -> dict[str, Any]:
    record = {"seed": seed, "found": looked_up(7), "evaluated": [2, 0, 7], "phases": ["random"] * 3, "ended": ""}
    return {**record, "search_s": 0.25, **values}


def test_a_strategy_is_reported_by_what_it_found(table: BenchmarkTable, tmp_path: Path):
    experiment = replace(an_experiment(table), search="random", predictor=None, n_train=4, count=3)
    records = [a_strategy_record(0), a_strategy_record(1, ended="every architecture was evaluated")]
    summary = summarize(experiment, records, {})
    assert "kendall_tau" not in summary["mean"]
    assert (summary["search"], summary["budget"], summary["predictor"]) == ("random", 7, None)
    assert "evaluated" not in summary["runs"][0]
    text = terminal_report(experiment, summary, Path("out"))
    assert "search random: 7 architectures evaluated; the best by cifar10_valid_12" in text
    assert "tau" not in text
    assert "ended early: every architecture was evaluated" in text
    assert text.endswith("search model acc: 93.00")
    write_plots(experiment, records, None, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["search.pdf", "search.png"]


def test_columns_that_are_no_accuracies_have_no_percent(table: BenchmarkTable):
    plain = replace(table.column("cifar10_test_200"), name="score", unit="", dataset="", split="", epochs=0)
    table = replace(table, columns={"score": plain})
    columns = choose_columns(table)
    experiment = replace(an_experiment(table), columns=columns)
    text = terminal_report(experiment, summarize(experiment, [a_record(0)], {}), Path("out"))
    assert "%" not in text
    assert "note: no accuracies: trained on, chosen by and reported is score" in text


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
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == [
            "predicted_vs_true.pdf", "predicted_vs_true.png", "search.pdf", "search.png",
        ]  # fmt: skip
        assert all(path.read_bytes().startswith(b"%PDF") for path in (tmp_path / name).glob("*.pdf"))
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


def test_a_find_that_was_trained_on_is_marked_as_such(table: BenchmarkTable):
    experiment, scores = an_experiment(table), np.arange(20.0)
    for trained, label, filled in (([0, 1, 2, 3], "found", True), ([0, 1, 2, 7], "found, but trained on", False)):
        (axes,) = draw_predictions(experiment, a_record(0, trained=trained), scores).axes
        (star,) = [line for line in axes.lines if line.get_marker() == "*"]
        assert (star.get_label(), star.get_markerfacecolor() != "none") == (label, filled)
        assert (star.get_xdata()[0], star.get_ydata()[0]) == (93.0, 7.0)


@pytest.mark.parametrize("finite", [0, 10])
def test_a_training_that_diverged_is_drawn(table: BenchmarkTable, tmp_path: Path, finite: int):
    """Its scores are NaN or infinite; those that are not are shown."""
    scores = np.array([*range(finite), *[np.inf, np.nan] * 10][:20])
    record = a_record(0, kendall_tau=None, loss=[None, None], train_tau=[None, None])
    (axes,) = draw_predictions(an_experiment(table), record, scores).axes
    shown = next(line for line in axes.lines if line.get_marker() == ".")
    assert {*np.asarray(shown.get_ydata())} <= {*range(4, finite)}  # without those that were trained on
    assert bool(len(np.asarray(shown.get_ydata()))) == bool(finite)
    write_plots(an_experiment(table), [record], scores, tmp_path)
    assert (tmp_path / "predicted_vs_true.png").exists()


def test_the_search_plot_shows_median_quartiles_and_random_search(table: BenchmarkTable):
    label, report = (table.column(name).values for name in ("cifar10_valid_12", "cifar10_test_200"))
    experiment = an_experiment(table)
    rng = np.random.default_rng(5)
    records = [a_record(seed, evaluated=rng.permutation(20)[:7].tolist()) for seed in range(5)]
    (axes,) = draw_search(experiment, records).axes
    curves = []
    for record in records:
        found = [max(record["evaluated"][:n], key=lambda row: label[row]) for n in range(1, 8)]
        curves.append(report.max() - report[found])
    lines = {line.get_label(): np.asarray(line.get_ydata(), dtype=float) for line in axes.lines}
    np.testing.assert_allclose(lines["median and quartiles of 5 seeds"], np.median(curves, axis=0))
    np.testing.assert_allclose(
        lines["random search, expected"], report.max() - random_search(label, report, np.arange(1, 8))
    )
    (band,) = axes.collections
    spans = band.get_paths()[0].get_extents()
    assert spans.ymax == pytest.approx(np.percentile(curves, 75, axis=0).max())
    assert spans.ymin == pytest.approx(np.percentile(curves, 25, axis=0).min())
    assert lines["best of the table"].tolist() == [0, 0]
    low, high = axes.get_ylim()
    assert low < 0 < max(map(max, curves)) < high


def test_a_search_that_ended_early_stays_where_it_was(table: BenchmarkTable):
    report = table.column("cifar10_test_200").values
    experiment = replace(an_experiment(table), search="random", n_train=7, count=3)
    curve = best_so_far(experiment, a_strategy_record(0, evaluated=[5]), 10)
    assert curve.tolist() == [report[5]] * 10


@pytest.mark.parametrize("count", [3, 6, 9])
def test_random_search_is_expected_exactly(count: int):
    """Against every order of six architectures, one of which has no label."""
    label = np.array([3.0, 1.0, np.nan, 2.0, 5.0, 4.0])
    report = np.array([70.0, 75.0, 99.0, 60.0, 90.0, 80.0])
    usable = [0, 1, 3, 4, 5]
    sums = np.zeros(5)
    for order in itertools.permutations(usable):
        sums += [report[max(order[:n], key=lambda row: label[row])] for n in range(1, 6)]
    exact = sums / math.factorial(5)
    made = random_search(label, report, np.arange(1, count + 1))
    np.testing.assert_allclose(made, [*exact, *[90.0] * 9][:count])


def test_random_search_over_a_large_table_is_the_mean_of_the_largest():
    values = np.random.default_rng(0).permutation(20_000).astype(float)
    counts = np.array([1, 2, 10, 500, 2000, 20_000, 30_000])
    found = np.minimum(counts, 20_000)
    made = random_search(values, values, counts)
    np.testing.assert_allclose(made, found / (found + 1) * 20_001 - 1, rtol=1e-7)  # of the largest of n of 0 .. N - 1


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
