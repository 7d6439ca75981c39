"""rminas as a library: any evaluator, strategy, space, teacher, data set and executor, by settings alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rminas
from common.errors import InputError
from common.networks.teachers import build_teacher
from rminas import inputs
from rminas.api import SearchRun

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "device": "cpu", "data__name": "digits", "channels": 2, "cells_per_stage": 1, "train__batch_size": 8, "observe": 2,
    "rf_warmup": 10, "rf_succ": 2, "rf_thresrate": 0.3, "top": 4, "forest": 5, "candidates": 20,
    "max_evaluations": 40, "pool": 4, "executor": "serial", "dataset": "cifar10",
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained ResNet-20 for 10 classes, as a state dict."""
    path = tmp_path_factory.mktemp("teacher") / "resnet20.pt"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(build_teacher("resnet20", 10).state_dict(), path)
    return str(path)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A module of a user's."""
    path = tmp_path / f"own_parts_{abs(hash(str(tmp_path)))}.py"
    path.write_text(
        "from torch import nn\n"
        "from common.execution.serial import Serial\n"
        "from common.spaces import CategoricalSpace\n"
        "def fewer(arch): return -arch.ops.count(3)\n"
        "def mean(network, x, y): return network(x).mean().item()\n"
        "def last(search): return search.history[len(search.history) - 1].arch\n"
        "class Mine(Serial): name = 'mine'\n"
        "def build(arch, num_classes):\n"
        "    sizes = {'a': 1, 'b': 3}\n"
        "    layers = [nn.Sequential(nn.Conv2d(3, 4, sizes[arch['first']], padding='same'), nn.ReLU()),\n"
        "              nn.Sequential(nn.Conv2d(4, 4, sizes[arch['second']], stride=2, padding=1), nn.ReLU())]\n"
        "    layers += [nn.Conv2d(4, 4, sizes[arch['third']]), nn.AdaptiveAvgPool2d(1), nn.Flatten()]\n"
        "    layers += [nn.Linear(4, num_classes)]\n"
        "    return nn.Sequential(*layers)\n"
        "def teacher(classes):\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2), nn.ReLU(),\n"
        "                         nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(6, classes))\n"
    )
    return path


def run(folder: Path, **settings: Any) -> SearchRun:
    return rminas.run(None, **{**TINY, "out_dir": str(folder), "name": "run", **settings})


# the library --------------------------------------------------------------------------------------------------------


def test_importing_it_is_instant_and_dir_says_what_there_is():
    code = (
        "import sys, rminas; heavy = {'torch', 'numpy', 'sklearn', 'yaml'} & set(sys.modules);"
        "print(sorted(heavy), set(rminas.__all__) <= set(dir(rminas)), rminas.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=2)[:2] == ["[]", "True"]
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        _ = rminas.serach  # type: ignore[attr-defined]


def test_a_run_returns_what_its_files_hold_and_says_the_teacher(tmp_path: Path, weights: str):
    said: list[str] = []
    done = run(tmp_path, weights=weights, seeds=2, say=said.append)
    assert done.folder == tmp_path / "run"
    assert len(said) == 1
    assert said[0].startswith("teacher resnet20: ")
    assert set(done.outcomes) == {0, 1}
    records = [json.loads(line) for line in (done.folder / "evaluations.jsonl").read_text().splitlines()]
    for seed, history in done.histories.items():
        values = [record["value"] for record in records if record["seed"] == seed]
        assert [None if np.isinf(value) else value for value in history.values] == values
    space = rminas.make_space("nasbench201")
    found = [one["found"]["arch"] for one in json.loads((done.folder / "summary.json").read_text())["runs"]]
    assert [space.format(arch) for arch in done.found.values()] == found
    assert done.report.splitlines()[-1] == f"search model acc: {done.summary['accuracy']}"
    assert not list(done.folder.glob(".lock"))  # given back


# evaluators ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def neither_images_nor_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("loaded though nothing needs it")

    monkeypatch.setattr(inputs.Inputs, "load_teacher", refuse)
    monkeypatch.setattr(inputs, "load_images", refuse)


@pytest.mark.usefixtures("neither_images_nor_teacher")
@pytest.mark.parametrize("evaluator", ["params", "flops", "table", "own", "params+flops"])
def test_what_needs_neither_images_nor_a_teacher_loads_none(evaluator: str, own: Path, tmp_path: Path):
    name = f"{own}:fewer" if evaluator == "own" else evaluator
    done = run(tmp_path, evaluator=name, rf_warmup=40, max_evaluations=90)
    assert done.summary["teacher"] is None
    assert not (done.folder / "inputs.json").exists()
    one = done.summary["runs"][0]
    assert one["positives"] == 2
    assert set(one["chosen_by"]) == {"sum", "greedy", "index", "model", "best", "smoothed"}
    history = done.histories[0]
    if evaluator == "params":  # what is found is large
        space = rminas.make_space("nasbench201", channels=2, cells_per_stage=1, image_size=8)
        _, sizes = space.total_costs(space.to_codes([*history.archs, done.found[0]]))
        assert sizes[-1] >= np.quantile(sizes, 0.9)
    if evaluator == "table":
        assert one["kendall_tau_trained"] == 1
        assert f"highest {evaluator} %" in done.report


def test_a_training_free_score_is_searched_with_a_teacher_that_is_never_asked_for(tmp_path: Path, own: Path):
    for name, evaluator in (("naswot", "naswot"), ("mine", f"{own}:mean")):
        done = run(tmp_path, evaluator=evaluator, name=name)
        assert done.summary["teacher"] is None
        assert done.summary["images"]["source"] == "scikit-learn load_digits"
        assert json.loads((done.folder / "inputs.json").read_text()).keys() == {"images_sha256"}
        assert {"sum", "best"} <= set(done.summary["runs"][0]["chosen_by"])
        assert (done.folder / "search.png").exists()


def test_any_score_may_stand_beside_the_loss(tmp_path: Path, weights: str, own: Path):
    plain = run(tmp_path, weights=weights, name="plain")
    weighed = run(tmp_path, weights=weights, name="weighed", size=1.0, cheap=f"{own}:fewer")
    assert weighed.histories[0].archs[:10] == plain.histories[0].archs[:10]
    slope = weighed.summary["runs"][0]["cheap_slope"]
    assert slope > 0
    judged = weighed.outcomes[0].search.judged
    fewer = np.array([-arch.ops.count(3) for arch in weighed.histories[0].archs])
    finite = np.isfinite(judged.scores)
    # A factor of the losses for each one fewer.
    expected = np.log(-weighed.histories[0].values[finite]) - slope * (fewer[finite] - judged.weighing.centre)
    np.testing.assert_allclose(np.log(-judged.scores[finite]), expected)


def test_several_evaluators_are_ranked_in_one_table(tmp_path: Path, weights: str, own: Path):
    done = rminas.rank(None, 6, ["rmi", "params", "naswot", f"{own}:fewer"], **TINY, out_dir=str(tmp_path),
                       name="some", weights=weights)  # fmt: skip
    rows = done.summary["runs"][0]["rows"]
    assert [row["score"] for row in rows] == ["RMI loss, step 2", "params", "naswot", f"{own}:fewer"]
    assert all(row["n"] == 6 and row["evaluate_s"] > 0 for row in rows)
    archs = {tuple(history.archs) for history in done.histories[0].values()}
    assert len(archs) == 1
    lines = (done.folder / "evaluations.jsonl").read_text().splitlines()
    assert len(lines) == 4 * 6
    again = rminas.rank(None, 6, ["params", "flops"], **TINY, out_dir=str(tmp_path), name="some", weights=weights)
    assert len((done.folder / "evaluations.jsonl").read_text().splitlines()) == 5 * 6  # FLOPs are new
    assert [row["score"] for row in again.summary["runs"][0]["rows"]] == ["params", "FLOPs"]
    assert again.summary["runs"][0]["kendall_tau_by_step"] == []


@pytest.fixture
def networks_built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The architectures whose untrained networks scores have asked for."""
    from common.evaluators import training_free

    asked: list[Any] = []

    def build(space: Any, arch: Any, *args: Any) -> Any:
        asked.append(arch)
        return build_seeded(space, arch, *args)

    build_seeded = training_free.build_seeded
    monkeypatch.setattr(training_free, "build_seeded", build)
    return asked


def test_scores_that_are_ranked_together_share_their_networks_and_say_what_they_say_alone(
    tmp_path: Path, networks_built: list[Any]
):
    names = ["naswot", "params", "jacov", "zen"]
    together = rminas.rank(None, 6, names, **TINY, out_dir=str(tmp_path), name="together")
    assert len(networks_built) == 6
    for name in names:
        alone = rminas.rank(None, 6, [name], **TINY, out_dir=str(tmp_path), name=name)
        for one, other in zip(together.histories[0][name], alone.histories[0][name], strict=True):
            assert one.arch == other.arch
            assert one.value == pytest.approx(other.value, rel=1e-6)
    records = [json.loads(line) for line in (together.folder / "evaluations.jsonl").read_text().splitlines()]
    assert sorted((record["evaluator"], record["index"]) for record in records) == sorted(
        (name, index) for name in names for index in range(6)
    )
    shared = {record["evaluate_s"] for record in records if record["index"] == 3 and record["evaluator"] != "params"}
    assert len(shared) == 1  # an equal share of the time each


def test_a_ranking_of_scores_that_share_networks_goes_on_where_it_was_killed(tmp_path: Path, networks_built: list[Any]):
    names = ["naswot", "jacov", "snip"]
    whole = rminas.rank(None, 6, names, **TINY, out_dir=str(tmp_path), name="whole")
    records = (whole.folder / "evaluations.jsonl").read_text().splitlines()
    for kept, missing in ((3 * 2, 4), (3 * 2 + 1, 4 + 3), (3 * 6, 0)):  # one of three scores of the third is kept
        (whole.folder / "evaluations.jsonl").write_text("".join(line + "\n" for line in records[:kept]))
        networks_built.clear()
        again = rminas.rank(None, 6, names, **TINY, out_dir=str(tmp_path), name="whole")
        assert len(networks_built) == missing
        for name in names:
            assert again.histories[0][name].values == pytest.approx(whole.histories[0][name].values, rel=1e-6)
        assert len((whole.folder / "evaluations.jsonl").read_text().splitlines()) == 3 * 6


# strategies, elections, executors ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("neither_images_nor_teacher")
@pytest.mark.parametrize("strategy", ["random", "evolution"])
def test_another_strategy_chooses_the_best_it_has_evaluated(strategy: str, tmp_path: Path):
    done = run(tmp_path, strategy=strategy, evaluator="params")
    history = done.histories[0]
    assert len(history) == 40
    assert done.found[0] == history.best.arch
    assert done.summary["settings"]["RMINAS"]["VOTE"] == "best"
    assert done.summary["runs"][0]["positives"] == done.summary["runs"][0]["voters"] == 0
    with pytest.raises(InputError, match=r"no architecture was positive, so that none can vote: RMINAS\.VOTE best"):
        run(tmp_path, strategy=strategy, evaluator="params", vote="sum", name="votes")


@pytest.mark.usefixtures("neither_images_nor_teacher")
def test_an_election_and_an_executor_of_ones_own(tmp_path: Path, own: Path):
    done = run(tmp_path, evaluator="params", vote=f"{own}:last", executor=f"{own}:Mine")
    assert done.found[0] == done.histories[0][-1:].archs[0]
    assert done.summary["executor"] == "mine"


# spaces, teachers, data -----------------------------------------------------------------------------------------------


def test_a_space_of_ones_own_with_a_teacher_of_ones_own_is_searched(tmp_path: Path, own: Path, weights: str):
    space = tmp_path / f"own_space_{abs(hash(str(tmp_path)))}.py"
    space.write_text(
        f"from {own.stem} import build\nfrom common.spaces import CategoricalSpace\n"
        "CHOICES = {'first': ('a', 'b'), 'second': ('a', 'b'), 'third': ('a', 'b')}\n"
        "SPACE = CategoricalSpace.from_choices(CHOICES, 'threes', build, taps=('0', '1', '2'))\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        table = tmp_path / "threes.csv"
        teacher = rminas.load_config().teacher
        assert teacher.taps == ""
        path = tmp_path / "own.pt"
        network = build_teacher(f"{own}:teacher", 10, ("1", "3", "4"))
        torch.save(network.state_dict(), path)
        made = rminas.make_space(f"{space}:SPACE")
        texts = {made.format(made.sample(np.random.default_rng(i))) for i in range(100)}
        assert len(texts) == 8
        table.write_text("arch,score\n" + "".join(f'"{text}",{80 + i}\n' for i, text in enumerate(sorted(texts))))
        settings: dict[str, Any] = {
            "space__name": f"{space}:SPACE", "channels": 0, "cells_per_stage": 0, "teacher__name": f"{own}:teacher",
            "taps": "1, 3,4", "weights": str(path), "rf_warmup": 4, "rf_succ": 1, "max_evaluations": 8,
        }  # fmt: skip
        done = run(tmp_path, **settings)
        assert "found, without an accuracy: there is no table of trained threes networks" in done.report
        assert done.summary["benchmark"]["best"] != done.summary["benchmark"]["best"]  # NaN
        known = run(tmp_path, **settings, benchmark__path=str(table), name="known")
        one = known.summary["runs"][0]["found"]
        assert 80 <= one["test_acc"] <= 87
        assert known.summary["accuracy"] == f"{one['test_acc']:.2f}"
    finally:
        sys.path.remove(str(tmp_path))


def test_a_network_of_torchvision_is_a_teacher_by_its_modules(tmp_path: Path):
    path = tmp_path / "resnet18.pt"
    torch.save(build_teacher("resnet18", 10, ("layer1", "layer2", "layer4")).state_dict(), path)
    done = run(tmp_path, teacher__name="resnet18", taps="layer1,layer2,layer4", weights=str(path))
    assert done.summary["teacher"]["name"] == "resnet18"
    with pytest.raises(InputError, match="tap 'layer9'"):
        run(tmp_path, teacher__name="resnet18", taps="layer1,layer9", weights=str(path), name="wrong")


def test_images_of_ones_own_are_read_from_an_npz(tmp_path: Path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(256, size=(90, 8, 8, 3), dtype=np.uint8), np.arange(90) % 3
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    done = run(tmp_path, data__name="mine", data__path=str(tmp_path / "mine.npz"), teacher__epochs=1)
    assert done.summary["dataset"] == "mine"
    assert done.summary["teacher"]["test_images"] == 9


@pytest.mark.parametrize("space", ["nasbench101", "proxyless"])
def test_a_space_without_published_settings_takes_the_defaults(space: str, tmp_path: Path):
    done = run(tmp_path, space__name=space, channels=0, cells_per_stage=0, evaluator="params", data__name="cifar10")
    assert done.summary["settings"]["OPTIM"]["BASE_LR"] == (0.1 if space == "nasbench101" else 0.025)
    assert "found, without an accuracy" in done.report


# platforms and processes ----------------------------------------------------------------------------------------------


def test_it_runs_where_the_system_tells_neither_cores_nor_memory(
    tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
):
    expected = run(tmp_path, weights=weights)
    for name in ("sched_getaffinity", "sysconf"):
        monkeypatch.delattr(os, name)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "resource", None)
    for executor in ("auto", "together"):
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
        found = run(tmp_path, weights=weights, executor=executor, name=executor)
        np.testing.assert_allclose(found.histories[0].values[:10], expected.histories[0].values[:10], rtol=1e-4)
    assert found.summary["executor"] == "together"


def test_a_second_process_on_the_same_run_says_who_holds_it(tmp_path: Path):
    from common.runs import RunFolder
    from common.runs.config import nested

    settings = {**TINY, "evaluator": "params", "out_dir": str(tmp_path), "name": "run"}
    config = rminas.load_config(None, **settings)
    with RunFolder.open(tmp_path / "run", nested(config), "config.yaml"):
        code = (
            "import json, sys, rminas; from common.cli import run_command\n"
            "run_command('rminas', lambda: rminas.run(None, **json.loads(sys.argv[1])))"
        )
        command = [sys.executable, "-c", code, json.dumps(settings)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"in use by process {os.getpid()} on " in done.stderr
    assert "choose another OUT_DIR or NAME" in done.stderr


def test_candidates_may_see_fewer_pixels_than_the_teacher(tmp_path: Path, weights: str):
    """Of digits: 4 of 8 along a side, and the teacher's losses are those of the whole images."""
    from rminas.api import _Job, load_config

    said = {"teacher__weights": weights, "out_dir": str(tmp_path), "name": "run"}
    jobs = [
        _Job(load_config(None, **{**TINY, **said, "train__im_size": size}), tmp_path, ["rmi"], print) for size in (0, 4)
    ]
    whole, few = (job.evaluator("rmi", 0) for job in jobs)
    assert (whole.x.shape[-1], few.x.shape[-1]) == (8, 4)
    assert torch.equal(few.x, torch.nn.functional.avg_pool2d(whole.x, 2))
    assert torch.equal(few.loss.targets, whole.loss.targets)
    assert (jobs[0].space.image_size, jobs[1].space.image_size) == (8, 4)
    assert jobs[1].context.batch(5)[0].shape == (5, 3, 4, 4)
    with pytest.raises(InputError, match=r"TRAIN.IM_SIZE 9: digits has 8 pixels along a side, no more"):
        run(tmp_path, train__im_size=9)


def test_a_teacher_may_know_more_classes(tmp_path: Path):
    weights = tmp_path / "resnet20.pt"
    torch.save(build_teacher("resnet20", 14).state_dict(), weights)
    done = run(tmp_path, teacher__weights=str(weights), teacher__num_classes=14, rf_succ=0)
    assert done.summary["teacher"]["name"] == "resnet20"
    with pytest.raises(InputError, match="classes"):
        run(tmp_path, name="other", teacher__weights=str(weights))
