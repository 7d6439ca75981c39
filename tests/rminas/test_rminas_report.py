"""What plots and reports show: the scores that were judged, on one scale with their threshold, and no empty panel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import MadeLosses

from common.benchmarks.table import accuracy_line
from common.evaluators.costs import CostEvaluator
from common.metrics import with_spread
from common.spaces import make_space
from rminas import report
from rminas.accuracy import AccuracyTable
from rminas.config import Rminas
from rminas.ranking import draw_archs, evaluate_list, summarize_ranking
from rminas.report import as_loss, write_rank_plot, write_search_plot
from rminas.search import SearchOutcome, search, summarize_seed

SPACE = make_space("nasbench201")
SETTINGS = replace(Rminas(), rf_warmup=20, rf_thresrate=0.2, rf_succ=4, candidates=50, forest=5, max_evaluations=90)


def made_losses(arch: Any) -> np.ndarray:
    rng = np.random.default_rng(SPACE.to_codes([arch])[0].tolist())
    return np.full(3, np.inf) if not SPACE.reaches_output(arch) else (0.2 + rng.random()) * np.array([4.0, 2.0, 1.0])


def outcome(size: float = 0.0) -> SearchOutcome:
    return search(replace(SETTINGS, size=size), SPACE, MadeLosses(made_losses), 0, CostEvaluator(SPACE))


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Filled with the axes of what is saved."""
    found: list[Any] = []
    monkeypatch.setattr(report, "_save", lambda figure, path: found.extend(figure.axes))
    return found


@pytest.fixture(scope="module")
def table() -> AccuracyTable:
    return AccuracyTable.load("", "cifar10", SPACE)


def points(axis: Any) -> np.ndarray:
    """(n, 2) of all that is drawn as points, by x."""
    drawn = np.concatenate([line.get_xydata() for line in axis.lines if line.get_linestyle() == "None"])
    return drawn[np.argsort(drawn[:, 0], kind="stable")]


@pytest.mark.parametrize("size", [0.0, 1.5])
def test_threshold_and_losses_are_on_one_scale(size: float, axes: list[Any], table: AccuracyTable, tmp_path: Path):
    done = outcome(size)
    judged = done.search.judged
    write_search_plot([done], "rmi", table, tmp_path)
    left, right, _ = axes
    assert np.array_equal(points(left)[:, 1], -judged.scores)
    level = next(line.get_ydata()[0] for line in left.lines if line.get_label() == "threshold")
    assert level == -judged.threshold
    below = np.array([y < level for y in points(left)[:, 1]])
    assert below.tolist() == judged.positive.tolist()
    assert left.get_ylabel() == right.get_xlabel() == "loss" + (", weighed by the cheap score" if size else "")
    assert sorted(points(right)[:, 0]) == sorted(-judged.scores)


def test_other_scores_are_shown_as_they_are(axes: list[Any], table: AccuracyTable, tmp_path: Path):
    done = search(SETTINGS, SPACE, CostEvaluator(SPACE), 0)
    write_search_plot([done], "params", table, tmp_path)
    assert np.array_equal(points(axes[0])[:, 1], done.history.values)
    assert axes[0].get_ylabel() == "params"


def test_the_search_plot_shows_all_points_and_what_was_found_beside_baselines(
    axes: list[Any], table: AccuracyTable, tmp_path: Path
):
    settings = replace(SETTINGS, rf_succ=0)
    done = [search(settings, SPACE, MadeLosses(made_losses), seed) for seed in (0, 1, 2)]
    write_search_plot(done, "rmi", table, tmp_path)
    _, middle, right = axes
    low, high = middle.get_ylim()
    shown = points(middle)[np.isfinite(points(middle)[:, 0])][:, 1]  # an infinite loss has no place
    assert len(shown) > 50
    assert shown.min() > low
    assert table.best < high
    lines = {line.get_label(): line.get_ydata() for line in right.lines}
    accuracy = np.array([table.accuracies(o.history.archs) for o in done])
    values = np.array([o.history.values for o in done])
    leaders = [[max(range(n), key=lambda i: row[i]) for n in range(1, 21)] for row in values]
    so_far = np.mean([accuracy[i][leaders[i]] for i in range(3)], 0)
    assert np.allclose(lines["best score so far"], so_far)
    sizes = np.array([SPACE.total_costs(SPACE.to_codes(o.history.archs))[1] for o in done])
    assert np.allclose(lines["most parameters so far"][-1], np.mean([accuracy[i][sizes[i].argmax()] for i in range(3)]))
    assert lines["best of the table"][0] == table.best
    assert len(right.collections) == 2  # the bands
    stars = [line for line in right.lines if line.get_marker() == "*"]
    assert [star.get_ydata()[0] for star in stars] == [table.accuracy(o.found) for o in done]


def test_the_ranking_plot_shows_intervals_and_all_points(axes: list[Any], table: AccuracyTable, tmp_path: Path):
    archs = draw_archs(SPACE, 0, 30, table)
    histories = {
        "made": evaluate_list(archs, MadeLosses(made_losses)),
        "params": evaluate_list(archs, CostEvaluator(SPACE)),
    }
    made = summarize_ranking(0, archs, histories, table, {})
    row = next(row for row in made["rows"] if row["score"] == "params")
    low, high = row["kendall_tau_interval"]
    assert low < row["kendall_tau"] < high
    assert len(made["kendall_tau_interval_by_step"]) == 3
    write_rank_plot(histories, [made], table, tmp_path)
    by_step, taus, values = axes
    assert len(by_step.collections) == 1
    assert [label.get_text() for label in taus.get_yticklabels()] == [row["score"] for row in made["rows"]]
    shown = points(values)[:, 1]
    assert sorted(shown) == sorted(table.accuracies(archs))
    assert shown.min() > values.get_ylim()[0]


def test_a_panel_without_anything_to_show_is_left_out(axes: list[Any], table: AccuracyTable, tmp_path: Path):
    done = outcome()
    nothing = AccuracyTable.load("", "cifar10", make_space("macro"))
    write_search_plot([done], "rmi", replace(table, column=replace(table.column, values=table.column.values * np.nan)),
                      tmp_path)  # fmt: skip
    assert len(axes) == 1
    assert not nothing
    axes.clear()
    history = search(SETTINGS, SPACE, CostEvaluator(SPACE), 0).history
    write_rank_plot({"params": history}, [{"kendall_tau_by_step": [], "rows": [], "seed": 0}], table, tmp_path)
    assert len(axes) == 1


def test_numbers_say_what_they_are_of():
    assert accuracy_line(93.993, 94.066, built_in=True) == "93.99 of 94.07 at best in AnalogNAS-Bench"
    assert accuracy_line(93.993, 94.37, built_in=False) == "93.99"
    assert accuracy_line(float("nan"), 94.066, built_in=True) == ""
    assert with_spread(93.24, 0.0, 1, 2) == "93.24"
    assert with_spread(93.24, 0.05, 3, 2) == "93.24 +- 0.05"
    assert as_loss("rmi", -0.5) == ("loss", 0.5)
    assert as_loss("params", 7.0) == ("params", 7.0)


def test_a_summary_holds_every_choice_and_the_best_value(table: AccuracyTable):
    done = outcome(1.0)
    made = summarize_seed(done, table)
    assert set(made["chosen_by"]) == {"sum", "greedy", "index", "model", "best", "smoothed"}
    assert made["chosen_by"]["sum"] == made["found"] == table.look_up(done.found)
    assert made["best_value"]["value"] == done.history.values.max()
    assert made["positives"] == 4
    assert made["updates"] == 2 * int(np.isfinite(done.history.values).sum())
    assert made["without_training"] == int(np.isinf(done.history.values).sum())
