"""python -m renas from end to end: what it writes and prints, how it goes on, and how it refuses bad input."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.image
import numpy as np
import pytest
import torch

import renas as renas_package
from common.benchmarks import load_benchmark
from common.benchmarks.nasbench101.tfrecord import write_records
from common.cli import run_command
from common.errors import InputError
from common.predictors import load_predictor
from common.predictors.boosting import Boosting
from common.spaces import make_space
from renas import api
from renas import predict as predict_module
from renas.cli import PROG, main, make_parser

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
CELLS = 60
SHORT = ("--train_num", "20", "--num_epochs", "3")


# data in the true formats ------------------------------------------------------------------------------------------


def write_csv(path: Path, *, change: Callable[[list[list[str]]], object] = lambda rows: None) -> Path:
    """60 NAS-Bench-201 cells; accuracies made from their FLOPs. Row 0 is the header."""
    space = make_space("nasbench201")
    rng = np.random.default_rng(0)
    cells = space.sample_distinct(CELLS, rng)
    flops = space.total_costs(space.to_codes(cells))[0]
    valid = 60 + 25 * flops / flops.max() + rng.normal(0, 2, CELLS)
    test = valid + 3 + rng.normal(0, 1, CELLS)
    rows = [["index", "arch", "cifar10_valid_12", "cifar10_test_200"]]
    for row, cell in enumerate(cells):
        rows.append([str(row), space.format(cell), f"{valid[row]:.2f}", f"{test[row]:.2f}"])
    change(rows)
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    return path


def write_shards(folder: Path, channels: int = 7) -> Path:
    """Two shards of the demo's format, 10 and 6 rows."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, rows in enumerate((10, 6)):
        labels = rng.uniform(0.8, 0.95, (rows, 8))
        labels[:, [0, 4]] = 500, 1000
        np.save(folder / f"data_{number}.npy", np.triu(rng.normal(size=(rows, channels, 5, 5)), 1))
        np.save(folder / f"label_{number}.npy", labels)
    return folder


def write_tfrecord(path: Path) -> Path:
    """Eight NAS-Bench-101 cells, three runs of 108 epochs each."""
    space = make_space("nasbench101")
    rng = np.random.default_rng(0)
    records = []
    for cell in space.sample_distinct(8, rng):
        adjacency, operations = space.format(space.from_code(space.to_codes([cell])[0])).split(":")
        for _ in range(3):
            message = b""
            for epoch, accuracy in ((0, 0.1), (54, rng.uniform(0.7, 0.8)), (108, rng.uniform(0.9, 0.95))):
                numbers = (epoch, 10.0 * epoch, accuracy, accuracy, accuracy)
                fields = b"".join(struct.pack("<Bd", 8 * i + 9, value) for i, value in enumerate(numbers))
                message += b"\x0a" + bytes([len(fields)]) + fields
            message += b"\x10\x90\x4e" + struct.pack("<Bd", 0x19, 1200.0)
            metrics = base64.encodebytes(message).decode()
            records.append(json.dumps([space.canonical_key(cell), 108, adjacency, operations, metrics]).encode())
    with path.open("wb") as file:
        write_records(file, records)
    return path


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("data") / "table.csv")


# running -----------------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def renas(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """`python -m renas ARGUMENTS` inside this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Run:
        with pytest.raises(SystemExit) as exit_:
            run_command(PROG, lambda: main([*map(str, arguments)]))
        assert isinstance(exit_.value.code, int)
        return Run(exit_.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is most of the time of a short run."""
    monkeypatch.setattr(api, "write_plots", lambda *_: None)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "renas", *map(str, arguments)]


def lines_of(folder: Path) -> list[bytes]:
    file = folder / "evaluations.jsonl"
    return file.read_bytes().splitlines(keepends=True) if file.exists() else []


def records_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines_of(folder)]


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if not key.endswith("_s")}


def files_under(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# the main job ------------------------------------------------------------------------------------------------------


def test_the_command_from_end_to_end(table: Path, tmp_path: Path):
    out = tmp_path / "out"
    done = subprocess.run(
        command("--data_path", table, *SHORT, "--seeds", 2, "--out", out),
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    written = files_under(out)
    assert set(written) == {
        "config.json", "evaluations.jsonl", "summary.json",
        "predicted_vs_true.png", "predicted_vs_true.pdf", "search.png", "search.pdf",
        "found_0.png", "found_0.pdf", "found_1.png", "found_1.pdf",
            "scores/seed_0.npy", "scores/seed_1.npy", "predictors/seed_0.npz", "predictors/seed_1.npz",
    }  # fmt: skip

    config, summary = (json.loads(written[name]) for name in ("config.json", "summary.json"))
    assert (config["n_train"], config["n_total"], config["predictor"]["settings"]["num_epochs"]) == (20, CELLS, 3)
    assert config["source"]["sha256"] == summary["source"]["sha256"] != ""
    assert summary["method"] == "ReNAS"
    assert summary["space"] == "nasbench201"
    assert summary["dataset"] == "cifar10"
    assert summary["protocol"] == "honest"
    assert (summary["n_train"], summary["n_test"]) == (20, CELLS - 20)
    assert {"revision", "torch", "python", "device"} <= set(summary["environment"])

    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    valid, test = (np.array([float(row[column]) for row in rows]) for column in (2, 3))
    assert [run["seed"] for run in summary["runs"]] == [0, 1]
    for run, record in zip(summary["runs"], records_of(out), strict=True):
        assert all(-1 <= run[key] <= 1 for key in ("kendall_tau", "spearman"))
        assert all(run[key] > 0 for key in ("train_s", "score_s"))
        found = run["found"]
        assert found["arch"] == rows[found["index"]][1]
        assert (found["valid_acc"], found["test_acc"]) == (valid[found["index"]], test[found["index"]])
        assert found["rank"] == 1 + np.sum(test > found["test_acc"])
        assert found["regret"] == pytest.approx(test.max() - found["test_acc"])
        assert record["found"] == found
        evaluated = [*record["trained"], *(candidate["index"] for candidate in record["candidates"])]
        assert len(set(evaluated)) == 30
        assert found["valid_acc"] == valid[evaluated].max()
        assert np.load(out / f"scores/seed_{run['seed']}.npy").shape == (CELLS,)
    for statistic, function in (("mean", np.mean), ("std", lambda values: np.std(values, ddof=1))):
        for key in ("kendall_tau", "spearman", "train_s"):
            assert summary[statistic][key] == pytest.approx(function([run[key] for run in summary["runs"]]))
        for key in ("test_acc", "valid_acc", "rank", "regret"):
            assert summary[statistic][key] == pytest.approx(function([run["found"][key] for run in summary["runs"]]))

    last = done.stdout.splitlines()[-1]
    assert last == f"search model acc: {summary['mean']['test_acc']:.2f}"
    assert "table.csv" in done.stdout  # names its source
    for name in ("predicted_vs_true.png", "search.png"):
        pixels = matplotlib.image.imread(out / name)
        assert min(pixels.shape[:2]) > 300
        assert pixels[..., :3].std() > 0.05


def test_without_a_path_it_runs_on_the_table_that_pip_installs(renas: Callable[..., Run], tmp_path: Path):
    run = renas(*SHORT, "--total_num", 200, "--features", "type", "--protocol", "demo")
    assert run.code == 0, run.err
    assert "AnalogNAS-Bench" in run.out
    assert "200 architectures" in run.out
    (folder,) = (tmp_path / "runs" / "renas").iterdir()  # the default place
    assert json.loads((folder / "config.json").read_text())["source"]["kind"] == "analognas"
    assert f"files: {Path('runs/renas') / folder.name}" in run.out
    for word in ("nasbench201", "cifar10", "demo", "n20"):
        assert word in folder.name


def test_other_labels_in_the_same_folder_are_another_run(renas: Callable[..., Run], tmp_path: Path):
    folder = write_shards(tmp_path / "nasbench101")
    options = ("--data_path", folder, "--train_ratio", 0.5, "--num_epochs", 2, "--protocol", "demo", "--out", "out")
    assert renas(*options).code == 0
    np.save(folder / "label_0.npy", np.load(folder / "label_0.npy")[::-1])
    refused(renas(*options), r"source\.sha256 is")


def test_the_same_content_under_another_name_is_the_same_run(renas: Callable[..., Run], tmp_path: Path):
    folder = write_shards(tmp_path / "nasbench101")
    options = ("--train_ratio", 0.5, "--num_epochs", 2, "--protocol", "demo")
    assert renas("--data_path", folder, *options).code == 0
    folder.rename(tmp_path / "moved")
    again = renas("--data_path", tmp_path / "moved", *options)  # into the folder that the settings name
    assert again.code == 0, again.err
    assert "1 of 1 seeds are already there" in again.out


@pytest.mark.parametrize("row", range(0, 16, 5))
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_tensor_that_is_not_finite_is_named(renas: Callable[..., Run], tmp_path: Path, row: int, value: float):
    folder = write_shards(tmp_path / "nasbench101")
    tensors = np.load(folder / "data_0.npy")
    tensors[row % len(tensors), 0, 0, 1] = value
    np.save(folder / "data_0.npy", tensors)
    run = renas("--data_path", folder, "--train_ratio", 0.5, "--num_epochs", 2, "--protocol", "demo", "--out", "out")
    assert run.code == 2
    assert f"row {row % len(tensors)}: its feature tensor holds values" in run.err.splitlines()[-1]


@pytest.mark.usefixtures("_no_plots")
def test_evolution_from_the_command_line(renas: Callable[..., Run], table: Path, tmp_path: Path):
    run = renas("--data_path", table, *SHORT, "--search", "ea", "--ea_population", 20, "--ea_tournament", 3,
                "--ea_budget", 50, "--loss", "hinge", "--continuity", 0.1, "--out", "out")  # fmt: skip
    assert run.code == 0, run.err
    (record,) = records_of(tmp_path / "out")
    assert record["predictor_calls"] == 50
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["search_settings"] == {"population": 20, "tournament": 3, "budget": 50}
    assert config["predictor"]["settings"]["loss"] == "hinge"
    assert config["predictor"]["settings"]["continuity"] == 0.1


@pytest.mark.usefixtures("_no_plots")
def test_a_tensor_folder_with_and_without_a_trailing_slash_is_the_same(renas: Callable[..., Run], tmp_path: Path):
    folder = write_shards(tmp_path / "nasbench101")
    options = ("--train_ratio", 0.5, "--num_epochs", 2, "--count", 3, "--protocol", "demo", "--out", "out")
    first = renas("--data_path", f"{folder}/", *options)
    assert first.code == 0, first.err
    assert len(records_of(tmp_path / "out")[0]["trained"]) == 8
    before = lines_of(tmp_path / "out")
    again = renas("--data_path", f"{folder}", *options)
    assert again.code == 0, again.err
    assert "1 of 1 seeds are already there" in again.out
    assert lines_of(tmp_path / "out") == before
    assert first.out.splitlines()[-1] == again.out.splitlines()[-1]


@pytest.mark.usefixtures("_no_plots")
def test_a_nasbench101_file_runs(renas: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_tfrecord(tmp_path / "nasbench.tfrecord")
    run = renas("--data_path", path, "--train_num", 4, "--num_epochs", 1, "--out", "out")
    assert run.code == 0, run.err
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["space"], summary["label"], summary["report"], summary["n_test"]) == (
        "nasbench101", "cifar10_valid_108", "cifar10_test_108", 4,
    )  # fmt: skip


# other predictors and searches --------------------------------------------------------------------------------------


def config_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())


@pytest.mark.usefixtures("_no_plots")
def test_another_predictor_runs_and_only_its_settings_are_of_the_run(
    renas: Callable[..., Run], table: Path, tmp_path: Path
):
    run = renas("--data_path", table, "--train_num", 20, "--predictor", "boosting", "--encoding", "one_hot", "--out",
                "out", "boosting.max_iter", 30, "PREDICTOR.learning_rate", 0.1)  # fmt: skip
    assert run.code == 0, run.err
    assert "boosting trained on" in run.out
    made = config_of(tmp_path / "out")["predictor"]
    assert (made["name"], made["encoding"]) == ("boosting", "one_hot")
    assert (made["settings"]["max_iter"], made["settings"]["learning_rate"]) == (30, 0.1)
    assert not {"lr", "num_epochs", "loss"} & set(made["settings"])
    (record,) = records_of(tmp_path / "out")
    assert "best_epoch" not in record
    ranker = load_predictor(tmp_path / "out" / "predictors" / "seed_0.npz")
    scores = np.load(tmp_path / "out" / "scores" / "seed_0.npy")
    assert np.array_equal(ranker.predict(load_benchmark(table)), scores)


OWN = """
import numpy as np
from common.predictors import Predictor

class Flops(Predictor):
    name = "by_flops"
    encoding = "costs"

    def fit(self, features, values, rng, on_step=lambda done, tau: None):
        self.sign = np.sign(np.corrcoef(features[:, 0], values)[0, 1])

    def predict(self, features):
        return self.sign * features[:, 0]
"""


@pytest.mark.usefixtures("_no_plots")
def test_a_predictor_of_ones_own_runs_and_is_loaded_again(renas: Callable[..., Run], table: Path, tmp_path: Path):
    (tmp_path / "my_flops.py").write_text(OWN)
    options = ("--data_path", table, "--train_num", 20, "--predictor", "my_flops.py:Flops", "--out", "out")
    run = renas(*options)
    assert run.code == 0, run.err
    assert records_of(tmp_path / "out")[0]["kendall_tau"] > 0.7
    model = tmp_path / "out" / "predictors" / "seed_0.npz"
    cell = load_benchmark(table).arch_text(3)
    scores = np.load(tmp_path / "out" / "scores" / "seed_0.npy")
    out = predict("--model", model, "--predictor", "my_flops.py:Flops", cell)
    assert float(out.split()[0]) == pytest.approx(scores[3], rel=1e-5)
    refused(renas(*options, "by_flops.power", 2), "unknown setting power; known: none")


@pytest.mark.usefixtures("_no_plots")
@pytest.mark.parametrize("search", ["random", "evolution", "local", "reinforce"])
def test_a_strategy_runs_on_true_evaluations(renas: Callable[..., Run], table: Path, tmp_path: Path, search: str):
    run = renas("--data_path", table, "--search", search, "--budget", 15, "--seeds", 2, "--out", "out")
    assert run.code == 0, run.err
    assert f"search {search}: 15 architectures evaluated" in run.out
    assert run.out.splitlines()[-1].startswith("search model acc: ")
    records = records_of(tmp_path / "out")
    assert [len(set(record["evaluated"])) for record in records] == [15, 15]
    config = config_of(tmp_path / "out")
    assert (config["budget"], config["search"]) == (15, search)
    assert not {"predictor", "n_train", "count"} & set(config)
    again = renas("--data_path", table, "--search", search, "--budget", 15, "--seeds", 3, "--out", "out")
    assert "2 of 3 seeds are already there" in again.out


@pytest.mark.parametrize("search", ["evolution", "random"])
def test_a_budget_may_be_in_seconds(renas: Callable[..., Run], table: Path, tmp_path: Path, search: str):
    """A column of accuracies stands for seconds."""
    options = ("--data_path", table, "--search", search, "--seconds", "cifar10_valid_12", "--out", "out", "--seeds", 2)
    cost = load_benchmark(table).column("cifar10_valid_12").values
    limit = float(np.sort(cost)[:20].sum())
    run = renas(*options, "--budget_seconds", limit)
    assert run.code == 0, run.err
    assert f"{limit:,g} s of training (cifar10_valid_12)" in run.out
    for record in records_of(tmp_path / "out"):
        assert record["spent_seconds"] == pytest.approx(cost[record["evaluated"]].sum())
        assert record["spent_seconds"] <= limit
        assert record["evaluations"] == len(record["evaluated"]) > 1
    assert config_of(tmp_path / "out")["seconds"] == "cifar10_valid_12"
    assert (tmp_path / "out" / "search.png").exists()


@pytest.mark.usefixtures("_no_plots")
def test_the_settings_of_a_strategy_are_of_the_run(renas: Callable[..., Run], table: Path, tmp_path: Path):
    options = ("--data_path", table, "--search", "evolution", "--train_num", 20)
    assert renas(*options, "--out", "out", "evolution.population", 5, "STRATEGY.TOURNAMENT", 2).code == 0
    config = config_of(tmp_path / "out")
    assert config["search_settings"] == {"population": 5, "tournament": 2, "batch": 1}
    assert config["budget"] == 30  # as many as ReNAS evaluates: 20 and the demo's count
    assert renas(*options).code == 0
    assert renas(*options, "evolution.population", 5).code == 0
    names = sorted(path.name for path in (tmp_path / "runs" / "renas").iterdir())
    assert len(names) == 2
    assert all(name.startswith("nasbench201_cifar10_honest_evolution_30_") for name in names)


@pytest.mark.usefixtures("_no_plots")
def test_an_active_search_takes_any_predictor(renas: Callable[..., Run], table: Path, tmp_path: Path):
    options = ("--data_path", table, "--search", "active", "--budget", 14, "active.initial", 6, "active.batch", 4)
    assert renas(*options, "--out", "own").code == 0
    assert "predictor" not in config_of(tmp_path / "own")
    chosen = ("--predictor", "boosting", "--encoding", "one_hot", "boosting.max_iter", 5)
    assert renas(*options, "--out", "out", *chosen).code == 0
    config = config_of(tmp_path / "out")
    assert config["predictor"]["encoding"] == "one_hot"
    assert config["predictor"]["settings"]["max_iter"] == 5
    (record,) = records_of(tmp_path / "out")
    assert record["phases"] == ["initial"] * 6 + ["active"] * 8


@pytest.mark.usefixtures("_no_plots")
def test_a_budget_is_split_into_training_and_proposals(renas: Callable[..., Run], table: Path, tmp_path: Path):
    run = renas("--data_path", table, "--budget", 25, "--count", 5, "--num_epochs", 1, "--out", "out")
    assert run.code == 0, run.err
    (record,) = records_of(tmp_path / "out")
    assert (len(record["trained"]), len(record["candidates"]), len(record["evaluated"])) == (20, 5, 25)


@pytest.mark.usefixtures("_no_plots")
def test_plain_columns_of_a_table_with_a_space_of_ones_own(renas: Callable[..., Run], tmp_path: Path):
    (tmp_path / "rooms.py").write_text(
        "from common.spaces import CategoricalSpace\n"
        "SPACE = CategoricalSpace.from_choices({f'room{i}': ('small', 'large', 'none') for i in range(5)}, 'rooms')\n"
    )
    space = make_space("rooms.py:SPACE")
    archs = space.sample_distinct(60, np.random.default_rng(0))
    size = [space.format(arch).count("large") for arch in archs]
    lines = [f'"{space.format(arch)}",{80 + 2 * n},{-n}' for arch, n in zip(archs, size, strict=True)]
    (tmp_path / "rooms.csv").write_text("\n".join(["arch,comfort,cost", *lines]) + "\n")
    options = ("--data_path", "rooms.csv", "--space", "rooms.py:SPACE", "--train_num", 20, "--count", 5)
    run = renas(*options, "--predictor", "boosting", "--encoding", "one_hot", "--out", "out")
    assert run.code == 0, run.err
    (record,) = records_of(tmp_path / "out")
    assert record["found"]["label"] == 80 + 2 * max(size)
    assert record["kendall_tau"] > 0.5
    assert renas(*options, "--search", "local", "--label", "cost", "--out", "cheap").code == 0
    assert records_of(tmp_path / "cheap")[0]["found"]["label"] == -min(size)
    refused(renas(*options, "--out", "tensors"), "has no feature tensors: choose a flat encoding")


def test_seeds_in_processes_are_those_in_one(renas: Callable[..., Run], table: Path, tmp_path: Path):
    options = ("--data_path", table, "--train_num", 20, "--predictor", "boosting", "boosting.max_iter", 10)
    assert renas(*options, "--seeds", 3, "--jobs", 2, "--out", "many").code == 0
    assert renas(*options, "--seeds", 3, "--out", "one").code == 0
    many, one = ({r["seed"]: timeless(r) for r in records_of(tmp_path / name)} for name in ("many", "one"))
    assert many == one
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("many", "one")]
    assert timeless(summaries[0]["mean"]) == timeless(summaries[1]["mean"])


UNUSED: list[tuple[tuple[object, ...], str]] = [
    (("--predictor", "boosting", "--lr", 0.1), "--lr is a setting of lenet, which --predictor boosting does not use"),
    (("--predictor", "boosting", "--features", "type"), "--features is a setting of lenet"),
    (
        ("--search", "random", "--num_epochs=3"),
        "--num_epochs is a setting of lenet, which --search random does not use",
    ),
    (("--search", "random", "--predictor", "boosting"), "'random' takes no predictor"),
    (("--search", "active", "--encoding", "one_hot"), "encoding and settings are a predictor's: name the one"),
    (
        ("--search", "active", "boosting.max_iter", 5),
        "the settings that can follow here are STRATEGY.KEY",
    ),
    (("--ea_population", 5), "--ea_population is a setting of --search ea, not of topk"),
    (("--search", "evolution", "--ea_budget", 5), "--ea_budget is a setting of --search ea, not of evolution"),
    (("--budget", 20, "--train_num", 10), "--budget and --train_num or --train_ratio say the same"),
    (("--budget", 11), "--train_num 1 gives 1 training architectures"),
    (("--features", "type", "--encoding", "tensor"), "--features are the parts of the encoding tensor"),
    (("--lr", 0.1, "lenet.lr", 0.2), "--lr and lenet.lr mean the same"),
    (("lenet.lr", 0.2, "PREDICTOR.LR", 0.2), "PREDICTOR.LR is given twice"),
    (("lenet.lr", 0), "predictor lenet: lr is 0.0, expected above 0"),
    (("boosting.max_iter", 5), "boosting.max_iter 5: the settings that can follow here are"),
    (("max_iter", 5), "max_iter 5: the settings that can follow here are"),
    (("lenet.learning", 5), "predictor lenet: unknown setting learning"),
    (("topk.size", 5), "search topk has no settings: size"),
    (("--search", "evolution", "evolution.size", 5), "search evolution: unknown setting size"),
    (("--predictor", "oracle"), "unknown predictor 'oracle'"),
    (("--predictor", "nowhere:Cls"), "no module of that name"),
    (("--encoding", "smell"), "unknown encoding 'smell'"),
    (("--encoding", "one_hot"), "'lenet' learns from feature tensors"),
    (("--predictor", "boosting", "--encoding", "tensor"), "'boosting' learns from flat features"),
    (("--jobs", 0), "--jobs: '0'"),
    (("--search", "active", "--budget", 99999), "99,999 architectures cannot be evaluated: it holds 60 to choose from"),
    (("--budget_seconds", 5), "--budget_seconds is for strategies; --search topk trains on a number"),
    (("--search", "random", "--budget_seconds", 0), "--budget_seconds 0: must be above 0"),
    (("--search", "random", "--seconds", "time"), "--seconds time is the column that --budget_seconds"),
    (("--search", "random", "--budget_seconds", 5), "--seconds must name the column of training times"),
]


@pytest.mark.parametrize(("options", "said"), UNUSED, ids=lambda value: " ".join(map(str, value))[:40])
def test_what_does_not_fit_together_is_one_line(
    renas: Callable[..., Run], table: Path, tmp_path: Path, options: tuple[object, ...], said: str
):
    bad_run(renas, tmp_path, said, "--data_path", table, "--out", "out", *options)


def test_settings_are_described(renas: Callable[..., Run]):
    run = renas("--describe", "--predictor", "boosting", "--search", "evolution")
    assert run.code == 0
    assert "predictor boosting, encoding " in run.out
    assert "boosting.MAX_ITER" in run.out
    assert "evolution.POPULATION" in run.out
    assert "lenet.LR" in renas("--describe", "--search", "ea").out
    assert "lenet.LR" not in renas("--describe", "--search", "active").out  # it has a predictor of its own
    assert renas("--describe", "--predictor", "auto").out.startswith("predictor auto, encoding graph:\n  auto.MEMBERS ")


# the library --------------------------------------------------------------------------------------------------------


def test_a_run_from_python_is_that_of_the_command(renas: Callable[..., Run], table: Path, tmp_path: Path):
    assert renas("--data_path", table, *SHORT, "--out", "out").code == 0
    result = renas_package.run(table, train_num=20, settings={"num_epochs": 3}, out=tmp_path / "other")
    assert [*map(timeless, result.records)] == [*map(timeless, records_of(tmp_path / "out"))]
    assert config_of(tmp_path / "other") == config_of(tmp_path / "out")
    assert result.folder == tmp_path / "other"
    assert result.found == [result.records[0]["found"]["arch"]]
    assert str(result).splitlines()[-1] == f"search model acc: {result.summary['mean']['test_acc']:.2f}"
    scores = result.scores(0)
    np.testing.assert_array_equal(scores, np.load(tmp_path / "out" / "scores" / "seed_0.npy"))
    np.testing.assert_allclose(result.predictor(0).predict(load_benchmark(table)), scores, atol=1e-5)
    # the very same predictor, by hand
    data = load_benchmark(table)
    by_hand = renas_package.make_predictor("lenet", num_epochs=3).fit(data.sample(20, seed=0))
    np.testing.assert_array_equal(by_hand.predict(data), scores)


@pytest.mark.usefixtures("_no_plots")
def test_tables_in_memory_and_classes_are_taken_too(table: Path, tmp_path: Path):
    data = load_benchmark(table)
    run = renas_package.run(data, train_num=20, predictor=Boosting, settings={"max_iter": 5}, out=tmp_path / "out")
    assert run.predictor(0).predictor.settings.max_iter == 5
    with pytest.raises(InputError, match="seeds is 0"):
        renas_package.run(data, seeds=0, out=tmp_path / "none")
    random = renas_package.run(data, search="random", budget=5, out=tmp_path / "random")
    with pytest.raises(InputError, match="saves no predictor"):
        random.predictor(0)


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, renas\nassert renas.__version__\nassert 'run' in dir(renas)\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules)))\n"
        "from renas import load_benchmark, make_predictor, load_predictor, make_space\n"
        "make_predictor('boosting')\nprint('torch' in sys.modules)\n"
        "try: renas.nothing\nexcept AttributeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["[]", "False", "module 'renas' has no attribute 'nothing'"], done.stderr


# python -m renas.predict --------------------------------------------------------------------------------------------


def predict(*arguments: object) -> str:
    """What the command prints, in this process."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        predict_module.main([*map(str, arguments)])
    return out.getvalue()


@pytest.fixture(scope="module")
def model(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.npz"
    renas_package.make_predictor("boosting", max_iter=20).fit(load_benchmark(table).sample(30, seed=0)).save(path)
    return path


def test_cells_are_scored_in_their_order(table: Path, model: Path):
    data = load_benchmark(table)
    cells = [data.arch_text(row) for row in (5, 2, 9)]
    done = subprocess.run(
        [sys.executable, "-m", "renas.predict", "--model", str(model), *cells],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [cell for _, cell in lines] == cells
    expected = load_predictor(model).predict(cells)
    assert [float(score) for score, _ in lines] == pytest.approx(expected, rel=1e-5)


def test_the_best_of_a_table_come_first(table: Path, model: Path):
    data, ranker = load_benchmark(table), load_predictor(model)
    lines = [line.split() for line in predict("--model", model, "--table", table, "--top", 4).splitlines()]
    assert [cell for _, cell in lines] == [data.arch_text(int(row)) for row in ranker.rank(data).rows[:4]]
    assert len(predict("--model", model, "--table", "builtin").splitlines()) == 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give architectures as text, or --table"),
        (("--table", "t.csv", "cell"), "give architectures as text, or --table"),
        (("--table", "t.csv", "--top", 0), "--top 0"),
        (("no cell",), "no cell"),
        (("--table", "missing.csv"), r"missing\.csv: no such file"),
    ],
)
def test_what_cannot_be_scored_is_one_line(model: Path, arguments: tuple[object, ...], said: str):
    with pytest.raises(InputError, match=said) as caught:
        predict("--model", model, *arguments)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_model_is_one_line(table: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"table\.csv: not a file of arrays"):
        predict("--model", table, "cell")
    with pytest.raises(InputError, match=r"none\.npz: cannot be read"):
        predict("--model", tmp_path / "none.npz", "cell")


# resuming ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_no_plots")
def test_a_run_goes_on_with_the_seeds_that_are_missing(
    renas: Callable[..., Run], table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ran: list[int] = []
    run_seed = api.run_seed

    def counting(experiment: Any, seed: int, *rest: Any, **named: Any) -> Any:
        ran.append(seed)
        return run_seed(experiment, seed, *rest, **named)

    monkeypatch.setattr(api, "run_seed", counting)
    options = ("--data_path", table, *SHORT, "--out", "out")
    assert renas(*options, "--seed", 1).code == 0
    first = lines_of(tmp_path / "out")
    more = renas(*options, "--seeds", 3, "--device", "cpu")  # seeds and device do not make it another run
    assert more.code == 0, more.err
    assert ran == [1, 0, 2]
    assert "1 of 3 seeds are already there" in more.out
    assert lines_of(tmp_path / "out")[:1] == first
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [run["seed"] for run in summary["runs"]] == [0, 1, 2]
    # in one go, elsewhere: the same numbers
    assert renas("--data_path", table, *SHORT, "--out", "other", "--seeds", 3).code == 0
    by_seed = {record["seed"]: timeless(record) for record in records_of(tmp_path / "out")}
    assert by_seed == {record["seed"]: timeless(record) for record in records_of(tmp_path / "other")}
    other = json.loads((tmp_path / "other" / "summary.json").read_text())
    assert timeless(other["mean"]) == timeless(summary["mean"])
    for seed in range(3):
        name = f"scores/seed_{seed}.npy"
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert by_seed[0]["trained"] != by_seed[1]["trained"]


@pytest.mark.usefixtures("_no_plots")
def test_an_interrupted_run_says_so_and_goes_on(
    renas: Callable[..., Run], table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run_seed = api.run_seed

    def interrupted(experiment: Any, seed: int, *rest: Any, **named: Any) -> Any:
        if seed == 1:
            raise KeyboardInterrupt
        return run_seed(experiment, seed, *rest, **named)

    options = ("--data_path", table, *SHORT, "--seeds", 3, "--out", "out")
    monkeypatch.setattr(api, "run_seed", interrupted)
    run = renas(*options)
    assert run.code == 130
    assert "interrupted; the same command, given again" in run.err.splitlines()[-1]
    assert "search model acc" not in run.out
    before = lines_of(tmp_path / "out")
    assert len(before) == 1
    assert not (tmp_path / "out" / "summary.json").exists()
    monkeypatch.setattr(api, "run_seed", run_seed)
    assert renas(*options).code == 0
    assert lines_of(tmp_path / "out")[:1] == before
    assert [record["seed"] for record in records_of(tmp_path / "out")] == [0, 1, 2]


@pytest.mark.usefixtures("_no_plots")
def test_a_killed_run_goes_on_where_it_stopped(renas: Callable[..., Run], table: Path, tmp_path: Path):
    out = tmp_path / "out"
    options = ("--data_path", table, *SHORT)
    process = subprocess.Popen(
        command(*options, "--seeds", 10_000, "--out", out),
        cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while len(lines_of(out)) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    assert process.wait(timeout=60) == -signal.SIGKILL
    with (out / "evaluations.jsonl").open("ab") as file:
        file.write(b'{"seed": 9999, "kend')  # at worst it was writing a record
    finished = [line for line in lines_of(out) if line.endswith(b"\n")]
    seeds = len(finished)
    done = renas(*options, "--seeds", seeds + 1, "--out", out)
    assert done.code == 0, done.err
    assert f"{seeds} of {seeds + 1} seeds are already there" in done.out
    assert lines_of(out)[:-1] == finished
    records = records_of(out)
    assert [record["seed"] for record in records] == [*range(seeds + 1)]
    # the same numbers as in one go, in another process
    assert renas(*options, "--seeds", 2, "--out", "other").code == 0
    assert [*map(timeless, records_of(tmp_path / "other"))] == [*map(timeless, records[:2])]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (("--num_epochs", 4), r"num_epochs"),
        (("--loss", "mse"), r"'logistic' there, 'mse' here"),
        (("--train_num", 21), r"n_train is 20 there, 21 here"),
        (("--protocol", "demo"), r"protocol is 'honest' there, 'demo' here"),
        (("--features", "type"), r"predictor.encoding is 'tensor' there, 'tensor=type' here"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(
    renas: Callable[..., Run], table: Path, tmp_path: Path, other: tuple[object, ...], said: str, finished: Path
):
    before = files_under(finished)
    run = renas("--data_path", table, *SHORT, "--out", finished, *other)
    refused(run, said)
    assert files_under(finished) == before


@pytest.fixture(scope="module")
def finished(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of SHORT."""
    out = tmp_path_factory.mktemp("finished") / "out"
    main(["--data_path", str(table), *SHORT, "--out", str(out)])
    return out


def test_another_table_in_the_same_folder_is_refused(renas: Callable[..., Run], tmp_path: Path, finished: Path):
    def edit(rows: list[list[str]]) -> None:
        rows[7][3] = "91.25"

    changed = write_csv(tmp_path / "table.csv", change=edit)
    refused(renas("--data_path", changed, *SHORT, "--out", finished), "source")


@pytest.mark.usefixtures("_no_plots")
def test_lost_scores_of_a_recorded_seed_are_named(renas: Callable[..., Run], table: Path, tmp_path: Path):
    options = ("--data_path", table, *SHORT, "--out", "out")
    assert renas(*options).code == 0
    (tmp_path / "out" / "scores" / "seed_0.npy").unlink()
    run = renas(*options)
    refused(run, r"seed_0\.npy is gone")


@pytest.mark.parametrize("damage", [b"", b"no array", None])
def test_damaged_scores_of_a_recorded_seed_are_named(
    renas: Callable[..., Run], table: Path, tmp_path: Path, damage: bytes | None
):
    options = ("--data_path", table, *SHORT, "--out", "out")
    assert renas(*options).code == 0
    scores = tmp_path / "out" / "scores" / "seed_0.npy"
    if damage is None:
        np.save(scores, np.load(scores)[:-1])
    else:
        scores.write_bytes(damage)
    refused(renas(*options), r"seed_0\.npy does not hold")


# bad input ---------------------------------------------------------------------------------------------------------


def refused(run: Run, said: str) -> None:
    """Exit code 2 and exactly one line that says why."""
    assert run.code == 2
    assert run.err.startswith(f"{PROG}: error: ")
    assert run.err.endswith("\n")
    assert run.err.count("\n") == 1, run.err
    assert re.search(said, run.err), run.err
    assert "search model acc" not in run.out


def shortened(path: Path, by: int = 5) -> Path:
    path.write_bytes(path.read_bytes()[:-by])
    return path


def flipped(path: Path, at: float) -> Path:
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 4
    path.write_bytes(content)
    return path


def with_field(row: int, column: int, value: str) -> Callable[[list[list[str]]], None]:
    def change(rows: list[list[str]]) -> None:
        rows[row][column] = value

    return change


def without_column(rows: list[list[str]]) -> None:
    for row in rows:
        row.pop()


def blank(column: int, rows_of: slice) -> Callable[[list[list[str]]], None]:
    def change(rows: list[list[str]]) -> None:
        for row in rows[1:][rows_of]:
            row[column] = ""

    return change


def apart(rows: list[list[str]]) -> None:
    """Validation of the first half only, test of the second half only."""
    blank(2, slice(30, None))(rows)
    blank(3, slice(0, 30))(rows)


def broken_shards(folder: Path, breaking: Callable[[Path], object], channels: int = 7) -> Path:
    breaking(write_shards(folder, channels))
    return folder


def nan_label(folder: Path) -> None:
    labels = np.load(folder / "label_1.npy")
    labels[2, 7] = np.nan
    np.save(folder / "label_1.npy", labels)


def text_file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


# What is wrong -> the arguments (made in a folder) and what must be said.
BAD_DATA: dict[str, tuple[Callable[[Path], tuple[object, ...]], str]] = {
    "missing path": (lambda d: (d / "nothing.csv",), r"nothing\.csv: no such file or folder"),
    "missing folder": (lambda d: (f"{d}/nothing/",), r"nothing: no such file or folder"),
    "empty file": (lambda d: (text_file(d / "empty", ""),), "not recognised as a benchmark"),
    "empty folder": (lambda d: (made(d / "empty"),), "not recognised as a benchmark"),
    "some other file": (lambda d: (text_file(d / "notes.txt", "a,b\n1,2\n"),), "not recognised as a benchmark"),
    "another kind than named": (
        lambda d: (write_csv(d / "t.csv"), "--benchmark", "macro_json"),
        "not of kind 'macro_json'",
    ),
    "a kind that is not": (lambda d: (write_csv(d / "t.csv"), "--benchmark", "nb404"), "unknown kind .*'nb404'"),
    "truncated npy": (
        lambda d: (broken_shards(d / "s", lambda s: shortened(s / "data_1.npy")),),
        r"data_1\.npy: .*cut short",
    ),
    "truncated label npy": (
        lambda d: (broken_shards(d / "s", lambda s: shortened(s / "label_0.npy")),),
        r"label_0\.npy: .*cut short",
    ),
    "missing shard": (
        lambda d: (broken_shards(d / "s", lambda s: (s / "data_0.npy").unlink()),),
        r"data_0\.npy: missing",
    ),
    "NaN label": (lambda d: (broken_shards(d / "s", nan_label),), r"label_1\.npy: row 2: .*nan"),
    "truncated tfrecord": (lambda d: (shortened(write_tfrecord(d / "t.tfrecord")),), "t.tfrecord: record 23 .*cut off"),
    "flipped bit in a tfrecord": (
        lambda d: (flipped(write_tfrecord(d / "t.tfrecord"), 0.5),),
        "t.tfrecord: record 1[0-9] at byte .*checksum",
    ),
    "NaN in a CSV": (
        lambda d: (write_csv(d / "t.csv", change=with_field(5, 2, "nan")),),
        "line 6: cifar10_valid_12 is 'nan'",
    ),
    "accuracy in [0, 1]": (
        lambda d: (write_csv(d / "t.csv", change=lambda rows: [with_field(i, 3, "0.9")(rows) for i in range(1, 61)]),),
        r"cifar10_test_200 is within \[0, 1\]",
    ),
    "truncated CSV": (lambda d: (shortened(write_csv(d / "t.csv"), 20),), r"t\.csv: line 61"),
    "CSV without the data set": (
        lambda d: (write_csv(d / "t.csv"), "--dataset", "cifar100"),
        "no data set 'cifar100'; the table has: cifar10",
    ),
    "CSV without the label": (
        lambda d: (write_csv(d / "t.csv"), "--label", "cifar10_valid_200"),
        "no column 'cifar10_valid_200'; the table has: cifar10_valid_12, cifar10_test_200",
    ),
    "CSV without the report": (
        lambda d: (write_csv(d / "t.csv", change=without_column), "--report", "cifar10_test_200"),
        "no column 'cifar10_test_200'",
    ),
    "no label among the first rows": (
        lambda d: (write_csv(d / "t.csv", change=blank(2, slice(0, 30))), "--total_num", 30),
        "only 0 of 30 have a label",
    ),
    "no cell with both label and report": (
        lambda d: (write_csv(d / "t.csv", change=apart),),
        "cifar10_valid_12 and cifar10_test_200",
    ),
    "nothing left to test on": (
        lambda d: (
            *(write_csv(d / "t.csv", change=blank(3, slice(20, None))), "--total_num", 30),
            *("--label", "cifar10_test_200", "--train_num", 20),
        ),
        "cifar10_test_200.*test|test.*cifar10_test_200",
    ),
    "evolution over tensors": (lambda d: (write_shards(d / "s"), "--search", "ea", "--train_num", 4), "tensors only"),
    "parts of other tensors": (
        lambda d: (write_shards(d / "s", channels=4), "--features", "type", "--train_num", 4),
        "4 channels",
    ),
}


def bad_run(renas: Callable[..., Run], tmp_path: Path, said: str, *arguments: object) -> None:
    before = files_under(tmp_path)
    run = renas(*arguments)
    refused(run, said)
    assert files_under(tmp_path) == before  # nothing written, in --out or elsewhere
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_one_line_and_nothing_written(
    renas: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    arguments, said = BAD_DATA[name]
    path, *options = arguments(tmp_path)
    bad_run(renas, tmp_path, said, *SHORT, "--out", "out", "--data_path", path, *options)


BAD_OPTIONS: list[tuple[tuple[object, ...], str]] = [
    (("--train_ratio", 0), "--train_ratio 0: must be above 0 and at most 1"),
    (("--train_ratio", 1.5), "--train_ratio 1.5: must be above 0 and at most 1"),
    (("--train_ratio", "nan"), "--train_ratio nan: must be above 0"),
    (("--train_ratio", "-0.5"), "--train_ratio -0.5: must be above 0"),
    (("--train_ratio", 0.02), "--train_ratio 0.02 of 60 gives 1 training architectures: at least 2"),
    (("--train_ratio", 1), "60 training .* at least 2 must be left to test on"),
    (("--train_ratio", "few"), "--train_ratio: invalid float value: 'few'"),
    (("--train_num", 1), "--train_num 1 gives 1"),
    (("--train_num", 61), "gives 61 training"),
    (("--total_num", 1), "cannot take 1 of its 60 rows"),
    (("--total_num", 423624), "cannot take 423624 of its 60 rows"),
    (("--nonsense",), "unrecognized arguments: --nonsense"),
    (("stray",), "settings come as KEY VALUE pairs: 'stray' has no value"),
    (("--train_n", 4), "unrecognized arguments: --train_n"),
    (("--lr", 0), "--lr: '0': expected above 0"),
    (("--lr", "nan"), "--lr: 'nan': expected a number"),
    (("--lr", "inf"), "--lr: 'inf'"),
    (("--lr", "high"), "--lr: .*'high'"),
    (("--weight_decay", "-1"), "--weight_decay: '-1'"),
    (("--continuity", "-0.1"), "--continuity: '-0.1'"),
    (("--num_epochs", 0), "--num_epochs: '0': expected at least 1"),
    (("--num_epochs", 1.5), "--num_epochs: .*'1.5'"),
    (("--batch_size", 1), "--batch_size: '1': expected at least 2"),
    (("--count", 0), "--count: '0'"),
    (("--seeds", 0), "--seeds: '0'"),
    (("--seed", "-1"), "--seed"),
    (("--seed", "first"), "--seed: .*'first'"),
    (("--ea_budget", 1), "--ea_budget: '1'"),
    (("--features", "type,latency"), "unknown part 'latency'; choose from type, flops, params"),
    (("--features", ""), "--features"),
    (("--loss", "huber"), "--loss: invalid choice: 'huber'"),
    (("--search", "annealing"), "unknown search strategy 'annealing'; choose from .*random"),
    (("--protocol", "fair"), "--protocol: invalid choice: 'fair'"),
    (("--device", "tpu"), "--device: invalid choice: 'tpu'"),
    (("--device", "cuda"), "--device cuda: torch sees no CUDA device"),
    (("--dataset", "svhn"), "no data set 'svhn'"),
]


@pytest.mark.parametrize(("options", "said"), BAD_OPTIONS, ids=lambda value: " ".join(map(str, value))[:40])
def test_a_bad_option_is_one_line_and_nothing_written(
    renas: Callable[..., Run],
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[object, ...],
    said: str,
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    numbers = () if {"--train_ratio", "--train_num"} & set(options) else ("--train_num", 20)
    bad_run(renas, tmp_path, said, "--data_path", table, *numbers, "--num_epochs", 1, "--out", "out", *options)


@pytest.mark.parametrize("place", ["a file", "below a file", "somebody's folder"])
def test_a_place_that_is_taken_is_left_alone(renas: Callable[..., Run], table: Path, tmp_path: Path, place: str):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("precious")
    out = {"a file": "taken/thesis.tex", "below a file": "taken/thesis.tex/out", "somebody's folder": "taken"}[place]
    bad_run(renas, tmp_path, "taken", "--data_path", table, *SHORT, "--out", out)


@pytest.mark.parametrize(
    "arguments",
    [("--features", "latency", "--out", "out"), ("--train_rato", "0.1", "--out", "out")],
)
def test_bad_input_of_the_real_command(tmp_path: Path, arguments: tuple[str, ...]):
    done = subprocess.run(
        command(*arguments), cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    refused(Run(done.returncode, done.stdout, done.stderr), arguments[0])
    assert not any(tmp_path.iterdir())


def test_a_diverged_training_still_ends_in_a_report(renas: Callable[..., Run], table: Path, tmp_path: Path):
    run = renas("--data_path", table, *SHORT, "--lr", 1e30, "--search", "ea", "--ea_population", 10, "--ea_budget", 40,
                "--out", "out")  # fmt: skip
    assert run.code == 0, run.err
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(), parse_constant=pytest.fail)
    assert summary["runs"][0]["kendall_tau"] is None
    assert "no ranking: training diverged" in run.out


# flags -------------------------------------------------------------------------------------------------------------


def test_the_demos_flags_have_the_demos_defaults():
    args = make_parser().parse_args([])
    assert (args.lr, args.weight_decay, args.num_epochs, args.batch_size, args.count) == (1e-3, 0.0, 200, 1024, 10)
    assert (args.protocol, args.loss, args.continuity, args.search) == ("honest", "logistic", 0.0, "topk")
    assert (args.seed, args.seeds, args.device, args.features) == (0, 1, "auto", None)  # None: all parts
    demo = ("--total_num 423624 --data_path ./nasbench101/ --train_ratio 0.001 --lr 0.001 --weight_decay 0 "
            "--num_epochs 200 --batch_size 1024 --count 10")  # fmt: skip
    args = make_parser().parse_args(demo.split())
    assert (args.total_num, args.data_path, args.train_ratio) == (423_624, "./nasbench101/", 0.001)


def test_help_needs_no_heavy_library():
    code = (
        "import sys\nfrom renas.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    for flag in ("--data_path", "--train_ratio", "--protocol", "--continuity", "--seeds", "--out"):
        assert flag in done.stdout
