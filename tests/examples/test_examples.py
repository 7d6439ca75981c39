"""The examples are run as a user would: each is one file of theirs, and none of ours knows of it."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_is_short_and_knows_only_public_things(file: Path):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert not re.search(r"import _|\._[a-z]", text)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_nothing_of_ours_knows_an_example(file: Path):
    ours = [*ROOT.glob("common/**/*.py"), *ROOT.glob("renas/**/*.py"), *ROOT.glob("rminas/**/*.py")]
    assert not [module for module in ours if file.stem in module.read_text(encoding="utf-8")]


def run(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What `python examples/NAME.py`, given in the root of the clone, prints."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [f"examples/{name}.py"])
    runpy.run_path(f"examples/{name}.py", run_name="__main__")
    return capsys.readouterr().out


def tau(out: str, name: str) -> float:
    match = re.search(rf"{re.escape(name)}: Kendall tau (-?[\d.]+)", out)
    assert match, out
    return float(match[1])


def renas(command: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The summary of `python -m renas COMMAND`, given in the root of the clone."""
    from renas.cli import main

    monkeypatch.chdir(ROOT)
    main([*command.split(), "--out", str(out)])
    return json.loads((out / "summary.json").read_text())


OWN_SPACE = "--data_path examples/own_space.csv --space examples/own_space.py:SPACE"


@pytest.mark.parametrize(
    ("command", "least_tau"),
    [
        ("--predictor examples/own_predictor.py:Nearest PREDICTOR.K 10", 0.6),
        ("--predictor boosting --encoding examples/own_encoding.py:Pairs+costs", 0.65),
        (f"{OWN_SPACE} --predictor boosting --train_num 20 --count 5", 0.2),
        (f"{OWN_SPACE} --predictor examples/own_predictor.py:Nearest --train_num 20 --count 5 nearest.k 3", 0.2),
    ],
)
def test_renas_takes_them(command: str, least_tau: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    summary = renas(command, tmp_path / "run", monkeypatch)
    assert summary["mean"]["kendall_tau"] > least_tau


@pytest.mark.parametrize(("data", "budget"), [("", 150), (OWN_SPACE, 30)])
def test_renas_searches_by_an_own_strategy(data: str, budget: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command = f"{data} --search examples/own_strategy.py:BestFew --budget {budget}"
    summary = renas(command, tmp_path / "run", monkeypatch)
    assert summary["runs"][0]["found"]["rank"] <= 20


def test_own_predictor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    out = run("own_predictor", monkeypatch, capsys)
    assert tau(out, "boosting") > 0.6
    assert tau(out, "examples/own_predictor.py:Nearest") > 0.6


def test_own_encoding(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    out = run("own_encoding", monkeypatch, capsys)
    assert tau(out, "examples/own_encoding.py:Pairs+costs") > tau(out, "costs")  # what the example is for


def test_own_score(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    out = run("own_score", monkeypatch, capsys)
    assert tau(out, "examples/own_score.py:feature_rank") > 0.4
    assert tau(out, "examples/own_score.py:convolutions") > 0.4


def test_own_strategy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    out = run("own_strategy", monkeypatch, capsys)
    found = {name: float(acc) for name, acc in re.findall(r"^(\S+): ([\d.]+) after", out, flags=re.MULTILINE)}
    assert len(found) == 3
    assert found["examples/own_strategy.py:BestFew"] > found["random"]


def test_own_space_has_the_table_that_its_function_makes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    from common.benchmarks import load_benchmark
    from common.datasets.images import load_images
    from common.registry import import_path

    table = load_benchmark("examples/own_space.csv", space="examples/own_space.py:SPACE")
    assert len(table) == table.space.size == 81
    assert list(table.columns) == ["digits_valid", "digits_test"]
    row = 40
    valid, test = import_path("examples/own_space.py:train", "test")(tuple(table.codes[row]), load_images("digits"))
    # Trained again: the same on the machine that made the table, up to rounding that training amplifies on others.
    assert valid == pytest.approx(table.values("digits_valid")[row], abs=8)
    assert test == pytest.approx(table.values("digits_test")[row], abs=8)


def test_own_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    from common.benchmarks import load_benchmark

    file = tmp_path / "runs.jsonl"
    monkeypatch.setattr(sys, "argv", ["examples/own_benchmark.py", str(file)])
    runpy.run_path("examples/own_benchmark.py", run_name="__main__")
    table = load_benchmark(file, kind="examples/own_benchmark.py:read")
    assert len(table) == 500
    assert table.metrics == ["minutes"]
    trained = load_benchmark()
    row = trained.archs.index(table.arch(7))
    assert table.values()[7] == trained.values()[row]
    file.write_text('{"cell": "no number"}\n')
    with pytest.raises(ValueError, match=r"runs.jsonl: line 1: KeyError"):
        load_benchmark(file, kind="examples/own_benchmark.py:read")


def test_own_executor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    out = run("own_executor", monkeypatch, capsys)
    (serial, serial_s), (threads, threads_s) = re.findall(r": ([\d.]+) in ([\d.]+) s$", out, flags=re.MULTILINE)
    assert serial == threads
    assert float(threads_s) < float(serial_s)


def test_own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    from common.datasets import data_set
    from common.datasets.images import load_images

    file = tmp_path / "shapes.npz"
    monkeypatch.setattr(sys, "argv", ["examples/own_data.py", str(file)])
    runpy.run_path("examples/own_data.py", run_name="__main__")
    images = load_images("examples/own_data.py:SHAPES", file)
    assert images.x_train.shape == (1200, 12, 12, 3)
    assert images.num_classes == 3
    assert images.augmentation == data_set("examples/own_data.py:SHAPES").augmentation
    usual = load_images("shapes", file)  # any name, without a record
    assert (usual.num_classes, usual.sha256) == (3, images.sha256)
    assert usual.augmentation != images.augmentation


def test_own_evaluation_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Active search without a table, by the example's functions: the second half of a file is what was there before."""
    monkeypatch.chdir(ROOT)
    search = runpy.run_path("examples/own_evaluation.py")["search"]
    short = search(tmp_path / "short.jsonl", budget=22).history
    assert [evaluation.phase for evaluation in short] == ["initial"] * 20 + ["active"] * 2
    lines = (tmp_path / "short.jsonl").read_text().splitlines()
    again = tmp_path / "again.jsonl"
    again.write_text("\n".join(lines[:21]) + "\n")
    assert search(again, budget=22).history.archs == short.archs
    assert [json.loads(line)["value"] for line in again.read_text().splitlines()] == short.values.tolist()


# RMI-NAS cut down to seconds; what is found then means nothing.
QUICK = "RMINAS.OBSERVE 4 RMINAS.RF_WARMUP 6 RMINAS.RF_THRESRATE 0.4 RMINAS.RF_SUCC 1 RMINAS.MAX_EVALUATIONS 10"
QUICK += " RMINAS.POOL 2 TEACHER.EPOCHS 1 EXECUTOR serial"


def rminas(command: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The summary of `python -m rminas COMMAND`, given in the root of the clone."""
    from rminas.cli import main

    monkeypatch.chdir(ROOT)
    main([*command.split(), "NAME", "run", "OUT_DIR", str(out)])
    (summary,) = out.glob("run*/summary.json")
    return json.loads(summary.read_text())


def test_rminas_searches_an_own_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own = "SPACE.NAME examples/own_space.py:SPACE BENCHMARK.PATH examples/own_space.csv"
    summary = rminas(f"--cfg digits {own} {QUICK}", tmp_path, monkeypatch)
    found = summary["runs"][0]["found"]
    assert found["arch"].startswith("layer1=")
    assert found["test_acc"] <= summary["benchmark"]["best"]


def test_rminas_ranks_by_own_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scores = "params,examples/own_score.py:feature_rank,examples/own_score.py:convolutions"
    summary = rminas(f"--cfg nb201_digits --rank 12 --evaluators {scores}", tmp_path, monkeypatch)
    taus = {row["score"]: row["kendall_tau"] for row in summary["runs"][0]["rows"]}
    assert [*taus] == scores.split(",")
    assert all(tau > 0 for tau in taus.values())


def test_rminas_searches_by_an_own_score_and_an_own_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own = "RMINAS.STRATEGY examples/own_strategy.py:BestFew RMINAS.EVALUATOR examples/own_score.py:convolutions"
    own += " EXECUTOR examples/own_executor.py:Threads"
    summary = rminas(f"--cfg nb201_digits {own} RMINAS.VOTE best RMINAS.MAX_EVALUATIONS 60", tmp_path, monkeypatch)
    assert summary["executor"] == "threads (4)"
    assert summary["runs"][0]["evaluations"] == 60


def test_rminas_takes_own_networks_and_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["examples/own_data.py", str(tmp_path / "shapes.npz")])
    runpy.run_path("examples/own_data.py", run_name="__main__")
    own = "SPACE.NAME examples/own_network.py:SPACE TEACHER.NAME examples/own_network.py:build_teacher"
    own += f" TEACHER.TAPS block1,block2,block3 DATA.NAME examples/own_data.py:SHAPES DATA.PATH {tmp_path}/shapes.npz"
    few = "RMINAS.RF_WARMUP 4 RMINAS.MAX_EVALUATIONS 6 RMINAS.OBSERVE 2"
    summary = rminas(f"--cfg digits {own} {QUICK} {few}", tmp_path, monkeypatch)
    assert summary["images"]["source"] == f"{tmp_path}/shapes.npz"
    assert summary["teacher"]["name"].endswith("build_teacher")
    assert summary["runs"][0]["found"]["arch"].startswith("stage1=")


def test_own_network(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    out = run("own_network", monkeypatch, capsys)
    params, rmi = (line.split(":")[1].split() for line in out.splitlines())
    assert float(params[0]) < float(params[1])
    assert all(float(value) < 0 for value in rmi)  # minus a loss


def test_the_ofa_part_holds_what_the_predictor_knows_and_is_closed(monkeypatch: pytest.MonkeyPatch):
    import numpy as np

    from common.benchmarks.ofa import features_of
    from common.errors import InputError
    from common.seeds import rng_for
    from common.spaces import make_space

    monkeypatch.chdir(ROOT)
    part, whole = make_space("examples/ofa_space.py:OfaPart"), make_space("mobilenet")
    archs = part.sample_distinct(20, rng_for(0, "part"))
    assert all(np.isfinite(features_of(arch, 224)).all() for arch in (*archs, *part.neighbours(archs[0])))
    others = whole.sample_distinct(200, rng_for(0, "whole"))
    known = [np.isfinite(features_of(arch, 224)).all() for arch in others]
    assert known == [not part.fault(arch.layers) for arch in others]
    assert 0 < sum(known) < 200
    with pytest.raises(InputError, match="OFA has no stage"):
        part.parse(whole.format(others[known.index(False)]))
