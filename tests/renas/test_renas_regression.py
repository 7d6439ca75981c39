"""Small runs give what they gave before the redesign (revision ab7d938): numbers recorded from that revision."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import renas
from renas import api

# Decay keeps training from amplifying the rounding errors of another processor.
SHORT = {"num_epochs": 8, "batch_size": 32, "weight_decay": 0.1}


class Recorded(NamedTuple):
    """Of seed 0, on the table that pip installs, 60 training cells and 5 proposals."""

    arguments: dict[str, Any]
    kendall_tau: float
    loss: list[float]
    train_tau: list[float]
    candidates: list[int]
    scores: list[float]
    found: int


RANKING = ([0.6558, 0.5299, 0.4352, 0.4043, 0.361, 0.3248, 0.3061, 0.3009],
           [0.5838, 0.6346, 0.6625, 0.6806, 0.7036, 0.6957, 0.7477, 0.7858])  # fmt: skip
RUNS = {
    "topk": Recorded(
        {"settings": SHORT}, 0.5708, *RANKING,
        [7812, 7187, 6562, 8437, 7937], [1.156, 1.079, 1.068, 1.063, 1.06], 10062,
    ),
    "ea": Recorded(
        {"settings": SHORT, "search": "ea", "search_settings": {"population": 10, "tournament": 3, "budget": 60}},
        0.5708, *RANKING,
        [7062, 6563, 6817, 7310, 7060], [1.004, 0.847, 0.826, 0.746, 0.732], 10062,
    ),
    "demo, type alone, hinge with continuity": Recorded(
        {"settings": {**SHORT, "loss": "hinge", "continuity": 0.1}, "encoding": "tensor=type", "protocol": "demo"},
        0.3129,
        [0.9926, 0.8666, 0.7329, 0.651, 0.6126, 0.5716, 0.5037, 0.4873],
        [0.4007, 0.4335, 0.4493, 0.499, 0.5348, 0.6403, 0.6968, 0.733],
        [10438, 10902, 10313, 12152, 10488], [0.174, 0.156, 0.154, 0.151, 0.151], 10902,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_a_small_run_gives_what_it_gave(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api, "write_plots", lambda *_: None)
    recorded = RUNS[name]
    (record,) = renas.run(train_num=60, count=5, device="cpu", out=tmp_path / "run", **recorded.arguments).records
    assert record["trained"][:4] == [10, 85, 109, 349]
    assert record["loss"] == pytest.approx(recorded.loss, abs=5e-4)
    assert record["train_tau"] == pytest.approx(recorded.train_tau, abs=2e-3)
    assert record["best_epoch"] == 7
    assert record["kendall_tau"] == pytest.approx(recorded.kendall_tau, abs=2e-3)
    scores = np.load(tmp_path / "run" / "scores" / "seed_0.npy")
    assert scores[recorded.candidates].tolist() == pytest.approx(recorded.scores, abs=5e-3)
    proposed = [candidate["index"] for candidate in record["candidates"]]
    assert sorted(proposed) == sorted(recorded.candidates)  # two of them are nearly tied
    assert proposed[:2] == recorded.candidates[:2]
    assert record["found"]["index"] == recorded.found
