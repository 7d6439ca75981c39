"""python -m rminas from the command line to the files of its run folder, on digits with tiny networks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from common.errors import InputError
from common.networks.teachers import build_teacher
from rminas.cli import main

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "RNG_SEED": 0,
    "DEVICE": "cpu",
    "DATA": {"NAME": "digits"},
    "TRAIN": {"CHANNELS": 2, "BATCH_SIZE": 8},
    "SPACE": {"CELLS_PER_STAGE": 1},
    "RMINAS": {
        "OBSERVE": 3, "RF_WARMUP": 10, "RF_SUCC": 3, "RF_THRESRATE": 0.3, "TOP": 4, "FOREST": 5, "CANDIDATES": 20,
        "MAX_EVALUATIONS": 60, "POOL": 4, "ENGINE": "one",
    },
    "BENCHMARK": {"DATASET": "cifar10"},
}  # fmt: skip


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained ResNet-20 for 10 classes, as a state dict."""
    path = tmp_path_factory.mktemp("teacher") / "resnet20.pt"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(build_teacher("resnet20", 10).state_dict(), path)
    return path


@pytest.fixture
def cfg(tmp_path: Path, weights: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, "OUT_DIR": str(tmp_path), "TEACHER": {"WEIGHTS": str(weights)}}))
    return path


def run(cfg: Path, *words: str) -> Path:
    main(["--cfg", str(cfg), *words])
    return cfg.parent / ("tiny_rank" if "--rank" in words else "tiny")


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def untimed(tree: Any) -> Any:
    """Without seconds, which no two runs share."""
    if isinstance(tree, dict):
        return {key: untimed(value) for key, value in tree.items() if not key.endswith("_s")}
    return [untimed(item) for item in tree] if isinstance(tree, list) else tree


def refused(cfg: Path, *words: str) -> str:
    with pytest.raises(InputError) as caught:
        run(cfg, *words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_search_leaves_a_complete_run_folder(cfg: Path, capsys: pytest.CaptureFixture[str]):
    folder = run(cfg, "SEEDS", "2", "--seed", "3")
    records, made = lines(folder), summary(folder)
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["RMINAS"]["OBSERVE"] == 3
    assert saved["OPTIM"]["BASE_LR"] == 0.1  # resolved: defaults are there too
    assert {record["seed"] for record in records} == {3, 4}
    for record in records:
        assert set(record) >= {"seed", "index", "phase", "arch", "value", "trajectory", "positive", "evaluate_s"}
        assert len(record["trajectory"]) == 4
        assert record["value"] == record["trajectory"][-1]
        assert (record["positive"] is None) == (record["phase"] == "warmup")
    assert (made["method"], made["space"], made["dataset"], made["n"]) == ("RMI-NAS", "nasbench201", "digits", 2)
    for one in made["runs"]:
        own = [record for record in records if record["seed"] == one["seed"]]
        assert one["evaluations"] == len(own)
        assert one["positives"] == sum(bool(record["positive"]) for record in own) == 3
        assert set(one["found"]) == {"arch", "index", "test_acc", "rank", "regret"}
        assert one["found"]["test_acc"] + one["found"]["regret"] == pytest.approx(made["benchmark"]["best"])
        chosen_s = one["search_s"] - sum(record["evaluate_s"] + record["propose_s"] for record in own)
        assert 0 <= chosen_s < 10  # what the choice took
        assert -1 <= one["kendall_tau"] <= 1
    accuracies = [one["found"]["test_acc"] for one in made["runs"]]
    assert made["mean"]["test_acc"] == pytest.approx(np.mean(accuracies))
    assert made["std"]["test_acc"] == pytest.approx(np.std(accuracies, ddof=1))
    assert (folder / "search.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out.splitlines()
    of = f"{np.mean(accuracies):.2f} of {made['benchmark']['best']:.2f} at best in AnalogNAS-Bench"
    assert out[-1] == f"search model acc: {of}"
    assert made["accuracy"] == of
    spread = f"{np.mean(accuracies):.2f} +- {np.std(accuracies, ddof=1):.2f} %"
    assert any(line.startswith(f"found {spread}, ") for line in out)
    run(cfg, "--seed", "3")
    assert "+-" not in capsys.readouterr().out  # one run has no spread


def test_a_killed_search_resumes_to_the_result_of_an_uninterrupted_one(cfg: Path):
    folder = run(cfg)
    whole, made = lines(folder), summary(folder)
    file = folder / "evaluations.jsonl"
    kept = file.read_text().splitlines(keepends=True)
    file.write_text("".join(kept[:11]) + kept[11][:50])
    (folder / "summary.json").unlink()
    run(cfg)
    assert untimed(lines(folder)) == untimed(whole)
    assert untimed(summary(folder)) == untimed(made)
    before = file.read_bytes()
    run(cfg, "SEEDS", "1")
    assert file.read_bytes() == before  # nothing is repeated


def test_cells_without_a_way_to_the_output_cost_nothing(cfg: Path):
    folder = run(cfg, "RMINAS.RF_WARMUP", "58", "RMINAS.RF_SUCC", "1")
    constant = [record for record in lines(folder) if record["trajectory"][0] is None]
    assert constant  # 2 % of the space, and the seed is fixed
    assert all(record["evaluate_s"] < 1e-2 for record in constant)
    assert summary(folder)["runs"][0]["without_training"] == len(constant)


def test_a_search_that_gives_up_says_so(cfg: Path, capsys: pytest.CaptureFixture[str]):
    run(cfg, "RMINAS.RF_SUCC", "6", "RMINAS.MAX_EVALUATIONS", "16")
    assert "seed 0 gave up: " in (out := capsys.readouterr().out)
    assert "of 6 positives after 16 evaluations (RMINAS.MAX_EVALUATIONS)" in out


def test_a_folder_of_other_settings_teacher_or_images_is_refused(cfg: Path, tmp_path: Path):
    run(cfg)
    said = refused(cfg, "OPTIM.BASE_LR", "0.2")
    assert "OPTIM.BASE_LR is 0.1 there, 0.2 here" in said
    assert "OUT_DIR or NAME" in said
    other = tmp_path / "again.pt"
    teacher = build_teacher("resnet20", 10)
    path = Path(yaml.safe_load(cfg.read_text())["TEACHER"]["WEIGHTS"])
    original = path.read_bytes()
    try:
        torch.save(teacher.state_dict(), other)
        path.write_bytes(other.read_bytes())
        assert "teacher_sha256" in refused(cfg)
    finally:
        path.write_bytes(original)


def test_a_teacher_without_weights_is_trained_once_and_kept(cfg: Path):
    folder = run(cfg, "TEACHER.WEIGHTS", "", "TEACHER.EPOCHS", "1", "TEACHER.BATCH_SIZE", "256")
    file = folder / "teacher.pt"
    made, before = summary(folder)["teacher"], file.stat().st_mtime_ns
    assert made["weights"] == str(file)
    run(cfg, "TEACHER.WEIGHTS", "", "TEACHER.EPOCHS", "1", "TEACHER.BATCH_SIZE", "256")
    assert file.stat().st_mtime_ns == before
    assert summary(folder)["teacher"] == made


def test_rank_tells_taus_at_several_steps_and_can_be_extended(cfg: Path, tmp_path: Path, capsys: Any):
    words = ("RMINAS.OBSERVE", "12")
    folder = run(cfg, *words, "--rank", "4")
    first = lines(folder)
    zero_cost = tmp_path / "scores.csv"
    archs = [record["arch"] for record in first[:4]]
    zero_cost.write_text("index,arch,made\n" + "".join(f"{i},{arch},{i}\n" for i, arch in enumerate(archs)))
    run(cfg, *words, "--rank", "7", "NAME", "tiny")
    assert [record["evaluator"] for record in first] == ["rmi"] * 4 + ["params"] * 4 + ["flops"] * 4
    assert untimed(lines(folder)[:12]) == untimed(first)
    assert len(lines(folder)) == 3 * 7
    made = summary(folder)["runs"][0]
    assert made["n"] == len({record["arch"] for record in lines(folder)}) == 7
    assert [row["score"] for row in made["rows"]] == ["RMI loss, step 10", "RMI loss, step 12", "params", "FLOPs"]
    assert len(made["kendall_tau_by_step"]) == 13
    assert made["rows"][1]["kendall_tau"] == made["kendall_tau_by_step"][12]
    assert (folder / "rank.png").exists()

    capsys.readouterr()
    run(cfg, *words, "--rank", "7", "NAME", "other", "BENCHMARK.ZERO_COST", str(zero_cost))
    made = summary(tmp_path / "other_rank")["runs"][0]
    row = made["rows"][-1]
    assert (row["score"], row["n"], made["n"], made["n_common"]) == ("made (file)", 4, 7, 4)
    assert row["kendall_tau"] == row["kendall_tau_common"]
    assert "on the 4 cells that all scores have" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("TEACHER.WEIGHTS", "none.th"), "none.th: no such weights file"),
        (("TEACHER.NAME", "resnet101"), "not the weights of resnet101"),
        (("TEACHER.NAME", "vgg"), "unknown teacher 'vgg'"),
        (("TEACHER.NAME", "no_such_module:build"), "teacher 'no_such_module': no module of that name"),
        (("SPACE.NAME", "no_such_module:SPACE"), "search space 'no_such_module': no module of that name"),
        (("RMINAS.EVALUATOR", "no_such_module:score"), "evaluator 'no_such_module': no module of that name"),
        (("RMINAS.EVALUATOR", "size"), "RMINAS.EVALUATOR is 'size', expected one of "),
        (("--evaluators", "params"), "--evaluators is for --rank"),
        (("--rank", "3", "--evaluators", "params,size"), "unknown evaluator 'size'"),
        (("--rank", "3", "--evaluators", ""), "evaluator: an empty name; choose from "),
        (("--rank", "3", "--evaluators", ","), "evaluator: an empty name"),
        (("--evaluators", ""), "--evaluators is for --rank"),
        (("TEACHER.WEIGHTS", "", "TEACHER.NAME", "vgg"), "unknown teacher 'vgg'; choose from resnet20"),
        (("DATA.NAME", "no_such_set", "DATA.PATH", "none", "TEACHER.NAME", "vgg"), "unknown teacher 'vgg'"),
        (("TEACHER.WEIGHTS", ""), "TEACHER.WEIGHTS is empty: name the weights of a resnet20"),
        (("DATA.NUM_CLASSES", "100"), "DATA.NUM_CLASSES is 100"),
        (("DATA.NAME", "mnist"), "unknown data set 'mnist'"),
        (("RMINAS.RF_SUC", "3"), "unknown key RMINAS.RF_SUC; did you mean RMINAS.RF_SUCC?"),
        (("RMINAS.RF_SUCC", "51"), "RF_SUCC 51 can never be reached"),
        (("BENCHMARK.DATASET", "cifar100"), "no data set 'cifar100'"),
        (("BENCHMARK.DATASET", ""), "no data set 'digits'"),
        (("BENCHMARK.PATH", "none.csv"), "none.csv: no such file"),
        (("TRAIN.BATCH_SIZE", "1000"), "one batch needs 4 x 1000 training images"),
        (("--rank", "1"), "--rank 1: at least 2 cells"),
        (("--rank", "3", "BENCHMARK.ZERO_COST", "none.csv"), "none.csv: no such file"),
        (("DEVICE",), "'DEVICE' has no value"),
    ],
)
def test_bad_input_is_one_line_that_names_it(cfg: Path, words: tuple[str, ...], said: str):
    assert said in refused(cfg, *words)


def test_a_ranking_by_other_evaluators_goes_on_with_the_inputs_that_both_use(cfg: Path):
    """A teacher that only one of them needs is no other run; another teacher is."""
    folder = run(cfg, "--rank", "4", "--evaluators", "zen")
    inputs = [json.loads((folder / "inputs.json").read_text())]
    for names in ("rmi,params", "zen"):
        run(cfg, "--rank", "4", "--evaluators", names)
        inputs.append(json.loads((folder / "inputs.json").read_text()))
    assert inputs[1].pop("teacher_sha256") == inputs[2].pop("teacher_sha256")
    assert inputs[0] == inputs[1] == inputs[2]
    (folder / "inputs.json").write_text(json.dumps({**inputs[0], "teacher_sha256": "another"}))
    run(cfg, "--rank", "4", "--evaluators", "zen")
    assert "teacher_sha256 is 'another' there" in refused(cfg, "--rank", "4", "--evaluators", "rmi")


def test_evaluators_are_checked_before_a_teacher_is_trained(cfg: Path):
    trained = ("TEACHER.WEIGHTS", "", "TEACHER.EPOCHS", "1")
    assert "unknown evaluator 'size'" in refused(cfg, *trained, "--rank", "4", "--evaluators", "rmi,params+size")
    assert not (cfg.parent / "tiny_rank").exists()


def test_a_score_without_any_value_is_named(cfg: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """It takes no cell from the others."""
    file = tmp_path / f"own_nan_{tmp_path.name}.py"
    file.write_text("def unknown(arch): return float('nan')\ndef worst(arch): return -float('inf')\n")
    name, worst = f"{file}:unknown", f"{file}:worst"
    folder = run(cfg, "--rank", "4", "--evaluators", f"{name},{worst},params")
    out = capsys.readouterr().out
    assert [f"{score} has no finite value of any cell" in out for score in (name, worst, "params")] == [
        True,
        True,
        False,
    ]
    assert "cells that all scores have" not in out
    assert [row["n"] for row in summary(folder)["runs"][0]["rows"]] == [0, 4, 4]
    words = ("RMINAS.EVALUATOR", name, "RMINAS.STRATEGY", "random", "RMINAS.MAX_EVALUATIONS", "3")
    assert f"{name}: none of the 3 evaluated cells has a finite value" in refused(cfg, *words)


def test_an_npz_without_the_keys_is_named(cfg: Path, tmp_path: Path):
    np.savez(tmp_path / "bad.npz", images=np.zeros(3))
    assert "bad.npz" in refused(cfg, "DATA.NAME", "cifar10", "DATA.PATH", str(tmp_path / "bad.npz"))


@pytest.mark.parametrize("text", ["index,made\n0,1\n", "index,arch\n0,|x|\n", "arch,made\n|x|,abc\n", ""])
def test_a_damaged_file_of_scores_is_named(cfg: Path, tmp_path: Path, text: str):
    path = tmp_path / "scores.csv"
    path.write_text(text)
    assert f"{path}: " in refused(cfg, "--rank", "2", "BENCHMARK.ZERO_COST", str(path))


def test_errors_exit_with_2_and_help_needs_no_torch(cfg: Path):
    done = subprocess.run(
        [sys.executable, "-m", "rminas", "--cfg", str(cfg), "SEED", "1"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "unknown key SEED; did you mean SEEDS?" in done.stderr
    code = "import sys; from rminas.cli import make_parser; make_parser().format_help(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert "RMINAS.RF_THRESRATE" in subprocess.run(
        [sys.executable, "-m", "rminas", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout  # fmt: skip
