"""Trackers are shown every record once, in a run that goes on too; their curves are those of the records."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from common.errors import InputError
from common.runs import RunFolder
from common.trackers import Tracker

SEEN: list[Any] = []


class Listing(Tracker):
    def __init__(self, folder: Path) -> None:
        SEEN.append(folder.name)

    def add(self, record: Mapping[str, Any]) -> None:
        SEEN.append(record["index"])

    def close(self) -> None:
        SEEN.append("closed")


def evaluation(index: int, value: float | None, *trajectory: float) -> dict[str, Any]:
    return {"seed": 3, "index": index, "value": value, "trajectory": [*trajectory]}


CURVES = {
    "seed_3/value": [(0, -2.0), (2, -1.5)],
    "seed_3/best_so_far": [(0, -2.0), (1, -2.0), (2, -1.5)],
    "seed_3/loss_of_candidates/0": [(0, 3.0), (1, 2.0)],
    "seed_4/loss_of_the_predictor": [(0, 0.5), (1, 0.25)],
    "retraining/epoch": [(1, 1.0)],
    "retraining/loss": [(1, 2.5)],
}


def track(path: Path, name: str) -> None:
    """Has a tracker see evaluations of a search, a predictor's training and an epoch."""
    with RunFolder.open(path, {}) as folder:
        folder.track(name)
        first = {**evaluation(0, -2.0), "trajectory": np.array([-3.0, -2.0])}  # as searches hand it over
        for record in (first, evaluation(1, None), evaluation(2, -1.5)):
            folder.append(record)
        folder.append({"seed": 4, "loss": [0.5, 0.25]})
        folder.append({"epoch": 1, "loss": 2.5, "test_error": None})


def test_a_run_that_goes_on_shows_all_its_records(tmp_path: Path):
    SEEN.clear()
    for index in range(2):
        with RunFolder.open(tmp_path / "run", {}) as folder:
            folder.track(f"{__name__}:Listing")
            folder.append(evaluation(index, 1.0))
    assert SEEN == ["run", 0, "closed", "run", 0, 1, "closed"]


def test_no_tracker_is_none(tmp_path: Path):
    with RunFolder.open(tmp_path / "run", {}) as folder:
        folder.track("")
        assert not folder.trackers
        with pytest.raises(InputError, match="unknown tracker 'nobody'; choose from mlflow, tensorboard"):
            folder.track("nobody")


def test_curves_are_those_of_the_records(tmp_path: Path):
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    track(tmp_path / "run", "tensorboard")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    curves = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert curves == CURVES


class FakeClient:
    """What the tracker uses of MLflow's client, its store in memory."""

    runs: ClassVar[dict[str, SimpleNamespace]] = {}
    fails = ""

    def get_experiment_by_name(self, name: str) -> SimpleNamespace:
        if self.fails:
            raise RuntimeError(self.fails)
        return SimpleNamespace(experiment_id=name)

    def search_runs(self, experiments: list[str]) -> list[SimpleNamespace]:
        return [*self.runs.values()]

    def delete_run(self, run_id: str) -> None:
        del self.runs[run_id]

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> SimpleNamespace:
        info = SimpleNamespace(run_id=os.urandom(4).hex(), run_name=run_name, experiment=experiment, status="RUNNING")
        self.runs[info.run_id] = SimpleNamespace(info=info, data=SimpleNamespace(tags=tags), metrics=[])
        return self.runs[info.run_id]

    def log_batch(self, run_id: str, metrics: list[tuple[str, float, int, int]]) -> None:
        assert len(metrics) <= 1000
        self.runs[run_id].metrics += metrics

    def set_terminated(self, run_id: str) -> None:
        self.runs[run_id].info.status = "FINISHED"


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> type[FakeClient]:
    monkeypatch.setattr(FakeClient, "runs", {})
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    entities = SimpleNamespace(Metric=lambda *point: point)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", SimpleNamespace(MlflowClient=FakeClient))
    return FakeClient


def test_mlflow_has_the_same_curves_in_one_run_a_folder(tmp_path: Path, mlflow: type[FakeClient]):
    track(tmp_path / "run", "mlflow")
    track(tmp_path / "other", "mlflow")
    with RunFolder.open(tmp_path / "run", {}) as folder:  # goes on: the run is replaced
        folder.track("mlflow")
        folder.append({"seed": 5, "index": 0, "value": 1.0, "trajectory": [0.0] * 2500})
    assert sorted(run.info.run_name for run in mlflow.runs.values()) == ["other", "run"]
    for run in mlflow.runs.values():
        assert (run.info.experiment, run.info.status) == ("relativistic-nas", "FINISHED")
        curves: dict[str, list[tuple[int, float]]] = {}
        for curve, value, milliseconds, step in run.metrics:
            assert milliseconds > 1.6e12
            curves.setdefault(curve, []).append((step, value))
        more = {curve: points for curve, points in curves.items() if curve.startswith("seed_5")}
        assert {curve: points for curve, points in curves.items() if curve not in more} == CURVES
        lengths = {"seed_5/value": 1, "seed_5/best_so_far": 1, "seed_5/loss_of_candidates/0": 2500}
        assert {curve: len(points) for curve, points in more.items()} == (lengths if run.info.run_name == "run" else {})


def test_a_store_that_cannot_be_had_is_one_line(
    tmp_path: Path, mlflow: type[FakeClient], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mlflow, "fails", "no server\nat all")
    with (
        RunFolder.open(tmp_path / "run", {}) as folder,
        pytest.raises(InputError, match="mlflow: no server at"),
    ):
        folder.track("mlflow")


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow")])
def test_what_is_not_installed_is_one_line_that_says_how_to_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
):
    for known in [module, *(other for other in sys.modules if other.startswith(module + "."))]:
        monkeypatch.setitem(sys.modules, known, None)
    with (
        RunFolder.open(tmp_path / "run", {}) as folder,
        pytest.raises(InputError, match=rf"pip install 'relativistic-nas\[{name}\]'"),
    ):
        folder.track(name)


@pytest.mark.parametrize("path", ["os:system", "json:loads", "pathlib:Path"])
def test_what_is_no_tracker_is_refused(tmp_path: Path, path: str):
    with RunFolder.open(tmp_path / "run", {}) as folder, pytest.raises(InputError, match="not a class derived from"):
        folder.track(path)
