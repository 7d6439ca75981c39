"""The problems that settings of searches are chosen on: scripts/study_search.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import study_search as study  # noqa: E402

from common.benchmarks import load_benchmark  # noqa: E402
from common.search import Pool, make_strategy, run_search  # noqa: E402
from common.spaces import make_space  # noqa: E402
from renas.protocol import choose_columns  # noqa: E402


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return data_file(tmp_path).parent


def data_file(folder: Path) -> Path:
    """100 architectures with their numbers as values, two of them without one."""
    space = make_space("macro")
    archs = space.sample_distinct(100, np.random.default_rng(0))
    lines = [f"{space.format(arch)},{'' if row < 2 else row},{-row}" for row, arch in enumerate(archs)]
    (folder / "table.csv").write_text("\n".join(["arch,a,b", *lines]) + "\n")
    return folder / "table.csv"


def test_a_problem_is_another_half_with_every_seed_and_the_columns_take_turns(data: Path) -> None:
    problem = study.Problem("made", "table.csv", ("a", "b"))
    halves = [study.make_problem(problem, data, seed)[1].values for seed in (100, 101, 102, 100)]
    assert [len(values) for values in halves] == [49, 50, 49, 49]
    assert halves[0].min() >= 2  # what has no value cannot be chosen
    assert halves[1].max() <= 0
    np.testing.assert_array_equal(halves[0], halves[3])
    assert {*halves[0]} != {*halves[2]}


def test_noise_is_of_its_deviation_and_of_the_seed(data: Path) -> None:
    problem = study.Problem("made", "table.csv", ("b",), half=False, noise=0.5)
    pool, values = study.make_problem(problem, data, 100)
    noise = values.values + np.arange(100)
    assert 0.4 < noise.std() < 0.6
    assert values.evaluate(pool.arch(7)).value == values.values[7]
    assert (study.make_problem(problem, data, 101)[1].values != values.values).all()


def test_a_search_ends_with_the_best(data: Path) -> None:
    pool, values = study.make_problem(study.Problem("made", "table.csv", ("b",), half=False), data, 100)
    free = run_search(make_strategy("evolution", pool.space, 0, pool), values, 100).history
    ended = run_search(study.UntilFound(make_strategy("evolution", pool.space, 0, pool), 0.0), values, 100).history
    assert ended.best.value == 0
    assert ended.archs == free.archs[: len(ended)]
    assert len(ended) <= free.best.index + 20  # the first round is of twenty


def test_what_was_published_of_other_searches_stays_with_its_revision(tmp_path: Path) -> None:
    from renas.compare import make_members, run_members

    table = load_benchmark(data_file(tmp_path))
    shared = {"table": table, "columns": choose_columns(table), "protocol": "honest"}
    for strategy in ("random", "evolution", "random"):
        members = make_members(shared, (strategy,), (), None, {}, 30, 10)
        made = run_members(members, range(2), 1, out=tmp_path / strategy)
        study.publish({**made.summary, "environment": {"revision": strategy}}, tmp_path / "published.json")
    kept = json.loads((tmp_path / "published.json").read_text())
    assert list(kept["members"]) == ["random", "evolution"]
    assert kept["members"]["evolution"]["revision"] == "evolution"
    assert "revision" not in kept["members"]["random"]
    assert kept["steps"] == [10, 20, 30]
    assert len(kept["members"]["evolution"]["regret"]["median"]) == 3
    assert (tmp_path / "published.png").exists()


def test_out_of_fold_scores_follow_the_others_labels_and_never_the_own() -> None:
    space = make_space("macro")
    pool = Pool(space, space.sample_distinct(60, np.random.default_rng(0)))
    labels = pool.codes.sum(1).astype(float)  # what a process on counts learns at once
    fold = np.arange(60) % 5
    scores = study.out_of_fold(space, pool.codes, labels, fold)
    assert np.corrcoef(scores, labels)[0, 1] > 0.8
    wrong = labels.copy()
    wrong[7] = -1000.0
    again = study.out_of_fold(space, pool.codes, wrong, fold)
    assert abs(again[7] - scores[7]) < 1e-6  # the folds do not depend on labels: its own is in none it is scored by
    assert (again != scores).any()


def test_places_of_the_best_by_a_noisy_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = make_space("macro")
    archs = space.sample_distinct(30, np.random.default_rng(0))
    lines = [
        "arch,cifar10_valid_50,cifar10_test_50",
        *(f"{space.format(a)},{r},{50 - r % 10}" for r, a in enumerate(archs)),
    ]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    monkeypatch.setitem(study.REPORTED, "made", study.Table("Made", "table.csv", "cifar10"))
    study.publish_ceiling("made", tmp_path)
    made = json.loads((tmp_path / "made_ceiling.json").read_text())
    assert made["pool"] == 30
    # the best by label are rows 29 to 25, whose test values are 41 to 45; three rows have each value
    assert made["reported"] == [28, 25, 22, 19, 16]
    assert len(made["predicted"]) == 5
    assert min(made["predicted"]) >= 1
