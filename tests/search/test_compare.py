"""Comparing searches: what is recorded, what is made of it, and that it can be stopped and started again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bowl import Bowl

from common.benchmarks.table import BenchmarkTable, Column, Source
from common.errors import InputError
from common.metrics import compare_paired
from common.spaces import make_space
from renas import compare, compare_report
from renas.compare_plot import draw_comparison
from renas.compare_report import Curves

OWN = f"{Path(__file__).with_name('test_strategies.py')}:OwnStrategy"
QUICK = f"{Path(__file__).with_name('bowl.py')}:BayesianRidge"
OPTIMUM = {"best_label": 5.0, "fifth_label": 3.0, "best_report": 50.0}


@pytest.fixture(scope="module")
def table() -> BenchmarkTable:
    """300 architectures; the reported value is the label's with other noise."""
    space = make_space("macro")
    archs = space.sample_distinct(300, np.random.default_rng(0))
    label = np.array([Bowl(space).evaluate(arch).value for arch in archs])
    report = label + np.random.default_rng(1).normal(scale=0.05, size=len(label))
    columns = [
        Column("made_up_valid_1", label, dataset="made_up", split="valid", epochs=1),
        Column("made_up_test_1", report, dataset="made_up", split="test", epochs=1),
    ]
    source = Source("made up", "a table made up", "memory")
    return BenchmarkTable(source, {column.name: column for column in columns}, space, space.to_codes(archs))


# what is made of the records ---------------------------------------------------------------------------------------


def test_curves_by_hand() -> None:
    label = np.array([[1.0, 3.0, 2.0, 5.0, 5.0], [np.nan, 2.0, 4.0, np.nan, np.nan]])
    report = np.array([[10.0, 20.0, 50.0, 40.0, 45.0], [11.0, 12.0, 50.0, np.nan, np.nan]])
    curves = Curves(label, report, OPTIMUM)
    np.testing.assert_array_equal(curves.regret, [[4, 2, 2, 0, 0], [np.inf, 3, 1, 1, 1]])
    # The reported value is that of the first architecture with the best label, whatever others reported.
    np.testing.assert_array_equal(curves.report, [[10, 20, 20, 40, 40], [np.nan, 12, 50, 50, 50]])
    np.testing.assert_array_equal(curves.found, [[0, 0, 0, 1, 1], [0] * 5])
    np.testing.assert_array_equal(curves.top5, [[0, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    np.testing.assert_array_equal(curves.seen, [[0, 0, 1, 1, 1], [0, 0, 1, 1, 1]])
    assert curves.summary()["evaluations_to_best"] == [4, None]


def test_a_value_without_a_report_is_not_chosen() -> None:
    curves = Curves(np.array([[9.0, 1.0]]), np.array([[np.nan, 3.0]]), OPTIMUM)
    np.testing.assert_array_equal(curves.report, [[np.nan, 3.0]])


def test_paired_differences_by_hand() -> None:
    made = compare_paired(np.array([3.0, 2.0, 5.0, 1.0, 4.0]), np.array([1.0, 2.0, 2.0, 0.0, 1.0]))
    assert (made.n, made.better, made.worse) == (5, 4, 0)
    assert made.mean == pytest.approx(9 / 5)
    assert made.p_value == pytest.approx(2 / 2**4)  # four of four untied pairs on one side
    assert 0.6 <= made.low < made.mean < made.high <= 3.0
    assert compare_paired(np.ones(4), np.ones(4)).p_value == 1
    assert compare_paired(np.ones(4), np.ones(4)).low == 0


def test_a_difference_the_other_way_is_told_as_its_size() -> None:
    made = {"mean": -0.038, "low": -0.066, "high": 0.01, "level": 0.95, "better": 2, "worse": 3, "n": 5, "p_value": 1.0}
    paired = {
        "first": "a",
        "second": "b",
        "mean_regret": {**made, "mean": 0.5},
        "final_regret": made,
        "final_report": None,
    }
    _, mean, final = compare_report.paired_lines(paired)
    assert "regret in the mean of all evaluations: lower by 0.500 [-0.066, 0.010]" in mean
    assert "regret at the end: higher by 0.038 [-0.010, 0.066]" in final
    assert "better on 2 and worse on 3" in final


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    made = [compare_paired(rng.normal(1, 1, 40), np.zeros(40), level=0.9) for _ in range(200)]
    assert np.mean([m.low <= 1 <= m.high for m in made]) == pytest.approx(0.9, abs=0.06)


def test_what_cannot_be_paired_is_refused() -> None:
    for first, second in ((np.ones(3), np.ones(2)), (np.ones(0), np.ones(0)), (np.array([1, np.nan]), np.ones(2))):
        with pytest.raises(ValueError, match=r"cannot be compared|as many"):
            compare_paired(first, second)


# running -----------------------------------------------------------------------------------------------------------


def run(table: BenchmarkTable, out: Path, **options: Any) -> compare.Comparison:
    options = {"strategies": ("random", "evolution"), "seeds": 2, "budget": 30, "jobs": 1} | options
    return compare.run(table, out=out, **options)


def test_every_search_has_its_curve_and_the_table_its_optimum(table: BenchmarkTable, tmp_path: Path) -> None:
    made = run(table, tmp_path / "c", strategies=("random", "active", OWN), predictors=(QUICK,), seeds=3)
    label = table.columns["made_up_valid_1"].values
    assert made.summary["best_label"] == label.max()
    assert list(made.summary["members"]) == ["random", "active BayesianRidge", "OwnStrategy"]
    for name, member in made.summary["members"].items():
        assert member["n"] == 3
        for i, seed in enumerate(range(3)):
            rows = made.rows(name, seed)
            assert len(set(rows)) == 30
            assert member["final_regret"][i] == pytest.approx(label.max() - label[rows].max(), abs=1e-4)
    assert made.summary["paired"]["first"] == "active BayesianRidge"
    text = str(made)
    assert "active BayesianRidge against" in text
    assert all(name in text for name in made.summary["members"])
    assert {path.name for path in (tmp_path / "c").iterdir()} >= {"comparison.png", "comparison.pdf", "summary.json"}


def test_what_was_run_is_not_run_again_and_more_may_follow(table: BenchmarkTable, tmp_path: Path) -> None:
    said: list[str] = []
    run(table, tmp_path / "c", seeds=1)
    run(table, tmp_path / "c", seeds=2, strategies=("random", "local"), tell=said.append)
    records = [json.loads(line) for line in (tmp_path / "c" / "evaluations.jsonl").read_text().splitlines()]
    made = [(record["member"], record["seed"]) for record in records]
    assert sorted(made) == [("evolution", 0), ("local", 0), ("local", 1), ("random", 0), ("random", 1)]
    assert "1 of 4" in said[0]
    with pytest.raises(InputError, match="budget"):
        run(table, tmp_path / "c", budget=20)


def test_other_settings_of_a_strategy_are_another_search(table: BenchmarkTable, tmp_path: Path) -> None:
    run(table, tmp_path / "c", strategies=("evolution",), seeds=1)
    made = run(table, tmp_path / "c", strategies=("evolution",), seeds=1, settings={"evolution": {"population": "5"}})
    records = [json.loads(line) for line in (tmp_path / "c" / "evaluations.jsonl").read_text().splitlines()]
    assert len(records) == 2
    assert records[0]["rows"] != records[1]["rows"] == made.rows("evolution", 0)


def test_processes_find_what_one_finds(table: BenchmarkTable, tmp_path: Path) -> None:
    one, two = (run(table, tmp_path / str(jobs), jobs=jobs, strategies=("evolution", OWN)) for jobs in (1, 2))
    names = ("evolution", "OwnStrategy")
    assert all(one.rows(name, seed) == two.rows(name, seed) for name in names for seed in (0, 1))


def test_renas_as_published_takes_part_at_the_same_budget(table: BenchmarkTable, tmp_path: Path) -> None:
    made = run(table, tmp_path / "c", strategies=("renas", "topk"), predictors=("boosting",), seeds=1,
        settings={"lenet": {"num_epochs": 2}})  # fmt: skip
    assert list(made.summary["members"]) == ["renas", "topk boosting"]
    assert all(len(set(made.rows(name, 0))) == 30 for name in made.summary["members"])
    assert made.rows("renas", 0)[:20] == made.rows("topk boosting", 0)[:20]  # the same random sample


def test_what_nobody_would_use_and_what_cannot_run_is_refused(table: BenchmarkTable, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"predictors": ("boosting",)}, "boosting: no strategy among random, evolution"),
        ({"settings": {"active": {"batch": "3"}}}, "active: no strategy among"),
        ({"settings": {"evolution": {"tournament": "0"}}}, "tournament is 0"),
        ({"strategies": ("random", "random")}, "random is compared with itself"),
        ({"strategies": ("annealing",)}, "unknown search strategy 'annealing'"),
        ({"strategies": ("renas",), "budget": 11}, "renas with 11 evaluations"),
        ({"encoding": "one_hot"}, "name the --predictors"),
        ({"seeds": 0}, "seeds is 0"),
    ]
    for options, said in cases:
        with pytest.raises(InputError, match=said):
            run(table, tmp_path / "c", **options)
    assert not (tmp_path / "c").exists()


def test_the_plot_draws_every_search_in_both_panels(table: BenchmarkTable, tmp_path: Path) -> None:
    figure = draw_comparison(run(table, tmp_path / "c").summary)
    for axes in figure.axes:
        names = [line.get_label() for line in axes.get_lines()]
        assert names[:2] == ["random", "evolution"]
    medians = figure.axes[0].get_lines()[0].get_ydata()
    assert (np.diff(medians) <= 0).all()


def test_the_plot_tells_no_regret_from_a_small_one(table: BenchmarkTable, tmp_path: Path) -> None:
    """Regrets on the logarithmic axis are as they are, but 0, which is below the least of them."""
    summary = run(table, tmp_path / "c").summary
    regret = np.full(30, 0.8)
    regret[20:] = 0.01
    for member, last in zip(summary["members"].values(), (0.01, 0.0), strict=True):
        member["regret"] = dict.fromkeys(("low", "median", "high"), np.append(regret[:-1], last).tolist())
    drawn = [line.get_ydata() for line in draw_comparison(summary).axes[0].get_lines()[:2]]
    np.testing.assert_allclose(drawn[0], regret[-len(drawn[0]) :])
    assert 0 < drawn[1][-1] < 0.01


def test_the_command_line_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--total_num 200 --strategies random,evolution --seeds 2 --budget 20 --jobs 1 evolution.population 5"
    compare.main([*words.split(), "--out", str(tmp_path / "c")])
    assert "random" in capsys.readouterr().out
    config = json.loads((tmp_path / "c" / "config.json").read_text())
    assert config["members"]["evolution"]["settings"]["population"] == 5
    with pytest.raises(InputError, match=r"NAME\.KEY VALUE"):
        compare.main(["population", "5"])
