"""Searches and rankings in the MobileNet space beside accuracies and latencies that OFA predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import rminas
from common.benchmarks.ofa import SPACE, AccuracyPredictor
from common.errors import InputError
from common.spaces import make_space
from rminas.accuracy import AccuracyTable


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained one."""
    path = tmp_path_factory.mktemp("ofa") / "acc_predictor.pth"
    torch.manual_seed(0)
    hidden = [layer for _ in range(2) for layer in (nn.ReLU(), nn.Linear(400, 400))]
    torch.save(nn.Sequential(nn.Linear(128, 400), *hidden, nn.ReLU(), nn.Linear(400, 1)).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def latencies(predictor: Path) -> Path:
    path = predictor.with_name("note.yaml")
    path.write_text(yaml.safe_dump({"Conv-input:224x224x3-output:112x112x24": {"mean": 1.0}}))
    return path


def settings(folder: Path, predictor: Path, **more: Any) -> dict[str, Any]:
    return {
        "space__name": "mobilenet", "data__name": "digits", "evaluator": "params", "strategy": "random",
        "max_evaluations": 12, "benchmark__path": str(predictor), "out_dir": str(folder), "name": "run", **more,
    }  # fmt: skip


def test_a_search_tells_what_is_predicted_of_the_network_found(
    tmp_path: Path, predictor: Path, latencies: Path
) -> None:
    done = rminas.run(None, **settings(tmp_path, predictor, benchmark__latency=str(latencies)))
    found = done.summary["runs"][0]["found"]
    expected = AccuracyPredictor.load(predictor).accuracies([done.found[0]])[0]
    assert found["test_acc"] == pytest.approx(expected, nan_ok=True)
    assert (found["predicted"], found["rank"], found["resolution"]) == (True, None, 224)
    assert "predicted_latency_ms" in found
    assert "predicted ImageNet accuracy by OFA's accuracy predictor (nobody trained these networks)" in done.report
    assert "predicted latency on a phone, 224 px" in done.report
    assert done.summary["accuracy"].endswith("(predicted)")
    assert done.summary["benchmark"]["kind"] == "predicted"


def test_networks_that_can_be_asked_for_are_ranked(tmp_path: Path, predictor: Path) -> None:
    made = rminas.rank(None, 15, ["params", "flops"], **settings(tmp_path, predictor))
    (one,) = made.summary["runs"]
    assert one["n"] == 15
    archs = made.histories[0]["params"].archs
    assert not any("e1" in SPACE.format(arch) for arch in archs)
    assert "predicted ImageNet accuracy" in made.report


def test_latencies_stand_beside_a_predictor_only(latencies: Path) -> None:
    for space in ("nasbench201", "mobilenet"):
        with pytest.raises(InputError, match=r"BENCHMARK.LATENCY is for the MobileNet space, beside BENCHMARK.PATH"):
            AccuracyTable.load("", "cifar10", make_space(space), latency=str(latencies))
