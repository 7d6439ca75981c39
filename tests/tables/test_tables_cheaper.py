"""What is read from recorded losses: by hand, and as the search itself has it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
sys.path.insert(0, str(ROOT / "tests/rminas"))

import records  # noqa: E402
import tables_cheaper as cheaper  # noqa: E402
from made import MadeLosses  # noqa: E402

from common.metrics import kendall_tau  # noqa: E402
from common.runs.files import plain  # noqa: E402
from common.spaces import make_space  # noqa: E402
from rminas.accuracy import AccuracyTable  # noqa: E402
from rminas.config import Rminas  # noqa: E402
from rminas.search import SearchOutcome, search  # noqa: E402

SPACE = make_space("nasbench201")
RULES = {"rf_warmup": 30, "rf_thresrate": 0.1, "rf_succ": 8, "top": 6}
SEED = 4


def trajectory(arch: Any) -> np.ndarray:
    """Made losses that fall, and diverge where nothing reaches the output."""
    if not SPACE.reaches_output(arch):
        return np.full(5, np.inf)
    rng = np.random.default_rng(SPACE.to_codes([arch])[0].tolist())
    return (0.2 + rng.random()) * np.array([4.0, 3.0, 2.0, 1.5, 1.0]) * np.exp(0.2 * rng.standard_normal(5))


@pytest.fixture(scope="module")
def table() -> AccuracyTable:
    return AccuracyTable.load("", "cifar10", SPACE)


@pytest.fixture(scope="module")
def done() -> SearchOutcome:
    settings = Rminas(**RULES, candidates=50, forest=8, observe=4)
    return search(settings, SPACE, MadeLosses(trajectory), SEED)


def test_a_history_is_cut_to_what_fewer_updates_would_have_left(done: SearchOutcome):
    for step in (0, 2, 4):
        at = cheaper.cut(done.history, step)
        assert at.archs == done.history.archs
        assert at.values.tolist() == [-trajectory(arch)[step] for arch in at.archs]
        assert {len(evaluation.outcome.trajectory) for evaluation in at} == {step + 1}


def test_with_all_updates_the_vote_is_that_of_the_search(done: SearchOutcome, table: AccuracyTable):
    rules = {key.upper(): value for key, value in RULES.items()}
    said = cheaper.voted(SPACE, SEED, done.history, rules, table)
    assert said["positives"] == done.search.judged.positive.sum() >= RULES["rf_succ"]
    assert said["test_acc"] == table.accuracy(done.found)
    assert cheaper.voted(SPACE, SEED, cheaper.cut(done.history, 1), rules, table) != said


def test_a_seed_is_read_by_updates_and_weights(
    done: SearchOutcome, table: AccuracyTable, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cheaper, "STEPS", (2, 9))
    said = cheaper.read_seed(SPACE, SEED, done.history, table)
    archs = [e.arch for e in done.history if e.phase == "warmup" and SPACE.reaches_output(e.arch)]
    assert said["networks"] == len(archs) < RULES["rf_warmup"]
    accuracy, losses = table.accuracies(archs), np.array([trajectory(arch) for arch in archs])
    flops, params = SPACE.total_costs(SPACE.to_codes(archs))
    assert said["tau"] == {"params": kendall_tau(params, accuracy), "flops": kendall_tau(flops, accuracy)}
    made = {(line["step"], line["weight"]): line for line in said["by_loss"]}
    assert [*made] == [(2, 0.0), (2, cheaper.SIZE), *((4, weight) for weight in cheaper.WEIGHTS)]
    for step in (2, 4):
        assert made[step, 0.0]["tau"] == kendall_tau(-losses[:, step], accuracy)
        logs, sizes = (values / values.std() for values in (np.log(losses[:, step]), np.log(params)))
        assert made[step, cheaper.SIZE]["tau"] == kendall_tau(cheaper.SIZE * sizes - logs, accuracy)
    assert made[4, cheaper.ALONE]["tau"] == said["tau"]["params"]
    largest = max(map(SPACE.from_code, SPACE.all_codes()), key=lambda a: SPACE.total_costs(SPACE.to_codes([a]))[1][0])  # type: ignore[attr-defined]
    assert made[4, cheaper.ALONE]["test_acc"] == table.accuracy(largest)
    assert all(80 < line["test_acc"] < 95 for line in said["by_loss"])


def test_a_race_that_foresees_everything_stops_what_is_above_its_goal():
    """The goal is the second lowest of the 20 losses that bounds are learnt from: twice the best twentieth."""
    last = np.exp(np.random.default_rng(0).standard_normal(60))
    losses = last[:, None] * np.linspace(3, 1, 41)  # in the same order at every step
    updates, stopped = cheaper.raced(losses, 0.0)
    lost, ran = [], []
    for draw in range(cheaper.DRAWS):
        order = np.random.default_rng(draw).permutation(60)
        goal, others = np.sort(last[order[:20]])[1], last[order[20:]]
        lost += [*(others[others <= np.quantile(last, 0.1)] > goal)]
        ran += [*(others <= goal)]
    assert stopped == np.mean(lost) > 0
    assert 40 * np.mean(ran) < updates < 40 * np.mean(ran) + 10
    assert cheaper.raced(losses, 50.0)[1] == stopped  # nothing is uncertain
    noisy = losses * np.exp(np.random.default_rng(1).standard_normal(losses.shape) * np.linspace(1, 0, 41))
    assert cheaper.raced(noisy, 3.0)[0] > cheaper.raced(noisy, 1.0)[0]
    assert cheaper.raced(noisy, 3.0)[1] < cheaper.raced(noisy, 1.0)[1]


def test_the_tables_are_those_of_what_was_read(done: SearchOutcome, table: AccuracyTable, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    assert cheaper.page() == "Not made yet."
    monkeypatch.setattr(cheaper, "STEPS", (2, 4))
    seed = cheaper.read_seed(SPACE, SEED, done.history, table)
    votes = [{"seed": SEED, "step": 2, "tau": 0.25, "positives": 7, "test_acc": 93.5}]
    races = [{"seed": SEED, "z": 2.0, "updates": 12.4, "stopped": 0.25}]
    reading = {"random": {"made": [seed, seed]}, "votes": votes, "races": races}
    records.keep(cheaper.READ.name, {}, [{"seed": 0, "environment": {"revision": "0123456789ab"}, **reading}])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in cheaper.page().splitlines() if "|" in line]
    first = next(line for line in seed["by_loss"] if (line["step"], line["weight"]) == (2, 0.0))
    by_updates = next(row for row in rows if row[0] == "made")
    assert by_updates[1:4] == [f"2 x {seed['networks']}", "loss", f"{first['tau']:.3f} ± 0.000"]
    assert ["2", "0.250", "7", "93.50"] in rows
    assert ["2", "12", "25"] in rows


def test_the_committed_reading_is_of_all_committed_evaluations():
    kept = records.read(cheaper.READ.name)
    assert kept.config["evaluations"] == cheaper.counted()
    assert [*kept.records[0]["random"]] == [*cheaper.SOURCES]
    for title, run in cheaper.SOURCES.items():
        assert [seed["seed"] for seed in kept.records[0]["random"][title]] == [*range(run.first, run.first + run.seeds)]


def test_records_come_back_as_histories(done: SearchOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    made = {"environment": {"revision": "0123456789ab"}}
    lines = [json.loads(json.dumps(plain(e.record(SPACE, SEED)))) | made for e in done.history]
    records.keep("a", {}, [*lines, {"seed": SEED, **made}, *(line | {"seed": 9} for line in lines[:3])])
    ((seed, history),) = cheaper.histories_of(records.read("a"), SPACE).items()  # seed 9 is not finished
    assert seed == SEED
    assert history.archs == done.history.archs
    assert np.array_equal(history.values, done.history.values)
