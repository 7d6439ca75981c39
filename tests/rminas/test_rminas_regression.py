"""Small runs give what they gave before the redesign: `recorded_runs.json` was made by revision ab7d938.

But for five losses of Macro networks with an identity where the shape changes: these train in channels-last since
revision 1ba6979, which is the same in float64 and rounds otherwise, and four updates of so small a network make up to
.05 of that.

Of every evaluation there are the architecture's code, the updates that were made, the last loss, and whether it was
positive (null in the warm-up); of a search the threshold and what every rule chose.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from common.networks.teachers import build_teacher
from common.runs.config import pairs
from common.search import History
from common.spaces import SearchSpace, make_space
from rminas.api import rank_config, run_config
from rminas.config import Config, read_config

RECORDED = json.loads((Path(__file__).parent / "recorded_runs.json").read_text())
SEARCHES = [name for name in RECORDED["runs"] if name != "ranked"]
ROUNDING = 5e-4  # of other processors, beside the recorded four digits


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained ResNet-20 for 10 classes, as a state dict."""
    path = tmp_path_factory.mktemp("teacher") / "resnet20.pt"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(build_teacher("resnet20", 10).state_dict(), path)
    return path


def settings(name: str, weights: Path, out: Path) -> Config:
    words = f"{RECORDED['common']} {RECORDED['runs'][name]['settings']} TEACHER.WEIGHTS {weights} OUT_DIR {out}"
    return read_config(None, pairs(words.split()))[0]


def code(space: SearchSpace, arch: Any) -> str:
    return "".join(map(str, space.to_codes([arch])[0].tolist()))


def assert_recorded(history: History, space: SearchSpace, recorded: list[Any]) -> None:
    assert [code(space, arch) for arch in history.archs] == [entry[0] for entry in recorded]
    for evaluation, (_, updates, loss, _) in zip(history, recorded, strict=True):
        assert len(evaluation.outcome.trajectory) - 1 == updates
        expected = -math.inf if loss is None else -loss
        assert evaluation.outcome.trajectory[-1] == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("name", SEARCHES)
def test_a_small_search_gives_what_it_gave(name: str, weights: Path, tmp_path: Path):
    config, recorded = settings(name, weights, tmp_path), RECORDED["runs"][name]
    made = run_config(config, name)
    space = make_space(config.space.name)
    outcome = made.outcomes[0]
    assert_recorded(outcome.history, space, recorded["evaluations"])
    records = [json.loads(line) for line in (made.folder / "evaluations.jsonl").read_text().splitlines()]
    positive = {record["index"]: record["positive"] for record in records}
    assert [positive[index] for index in range(len(records))] == [entry[3] for entry in recorded["evaluations"]]
    assert outcome.search.judged.threshold == pytest.approx(-recorded["threshold"], abs=ROUNDING)
    chosen = made.summary["runs"][0]["chosen_by"]
    assert {rule: code(space, space.parse(chosen[rule]["arch"])) for rule in recorded["found"]} == recorded["found"]
    assert code(space, outcome.found) == recorded["found"][config.rminas.vote]


def test_a_small_ranking_gives_what_it_gave(weights: Path, tmp_path: Path):
    config, recorded = settings("ranked", weights, tmp_path), RECORDED["runs"]["ranked"]
    made = rank_config(config, "ranked", 6)
    assert_recorded(made.histories[0]["rmi"], make_space(config.space.name), recorded["evaluations"])
    taus = {row["score"]: row["kendall_tau"] for row in made.summary["runs"][0]["rows"]}
    assert taus == {score: pytest.approx(tau, abs=1e-3) for score, tau in recorded["taus"].items()}
