"""Trackers are shown every record once, in a run that goes on too; TensorBoard's files hold what the records hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        with pytest.raises(InputError, match="unknown tracker 'nobody'; choose from tensorboard"):
            folder.track("nobody")


def test_curves_are_those_of_the_records(tmp_path: Path):
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunFolder.open(tmp_path / "run", {}) as folder:
        folder.track("tensorboard")
        first = {**evaluation(0, -2.0), "trajectory": np.array([-3.0, -2.0])}  # as searches hand it over
        for record in (first, evaluation(1, None), evaluation(2, -1.5)):
            folder.append(record)
        folder.append({"seed": 4, "loss": [0.5, 0.25]})
        folder.append({"epoch": 1, "loss": 2.5, "test_error": None})
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    curves = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert curves == {
        "seed_3/value": [(0, -2.0), (2, -1.5)],
        "seed_3/best_so_far": [(0, -2.0), (1, -2.0), (2, -1.5)],
        "seed_3/loss_of_candidates/0": [(0, 3.0), (1, 2.0)],
        "seed_4/loss_of_the_predictor": [(0, 0.5), (1, 0.25)],
        "retraining/epoch": [(1, 1.0)],
        "retraining/loss": [(1, 2.5)],
    }


def test_without_tensorboard_one_line_says_how_to_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with (
        RunFolder.open(tmp_path / "run", {}) as folder,
        pytest.raises(InputError, match=r"pip install 'relativistic-nas\[tensorboard\]'"),
    ):
        folder.track("tensorboard")
