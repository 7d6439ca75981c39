"""OFA's predictors: the code they see, a network computed by hand, latencies as sums, and what is refused."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from common.benchmarks.ofa import SPACE, AccuracyPredictor, LatencyTable, features_of
from common.errors import InputError

LARGE = SPACE.parse("|".join([",".join(["k7e6"] * 4)] * 5))
SMALL = SPACE.parse("|".join(["k3e3,-,k5e6,-"] * 5))


@pytest.fixture(scope="module")
def model() -> nn.Sequential:
    torch.manual_seed(0)
    sizes = (128, 400, 400, 400)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(400, 1))


@pytest.fixture
def predictor(model: nn.Sequential, tmp_path: Path) -> Path:
    torch.save(model.state_dict(), tmp_path / "acc_predictor.pth")
    return tmp_path / "acc_predictor.pth"


def test_the_predictor_sees_kernels_expansions_and_resolution() -> None:
    """A stage of two layers, the second written in the third place: kernel 3 and 5, expansion 3 and 6."""
    kernels, expansions = np.zeros((20, 3)), np.zeros((20, 3))
    for stage in range(5):
        kernels[4 * stage, 0] = kernels[4 * stage + 1, 1] = 1
        expansions[4 * stage, 0] = expansions[4 * stage + 1, 2] = 1
    size = np.eye(8)[(160 - 112) // 16]
    assert features_of(SMALL, 160).tolist() == [*kernels.ravel(), *expansions.ravel(), *size]
    assert features_of(LARGE, 224).sum() == 20 + 20 + 1
    for outside in ("|".join(["k3e1,k3e3,-,-"] * 5), "|".join(["k3e3,-,-,-"] * 5)):
        assert np.isnan(features_of(SPACE.parse(outside), 224)).all()
    with pytest.raises(InputError, match="not 200"):
        features_of(SMALL, 200)


def test_accuracies_are_what_the_published_network_says(predictor: Path, model: nn.Sequential) -> None:
    found = AccuracyPredictor.load(predictor).accuracies([SMALL, LARGE, SPACE.parse("|".join(["k3e1,-,-,-"] * 5))])
    x = torch.from_numpy(np.array([features_of(arch, 224) for arch in (SMALL, LARGE)])).float()
    assert found[:2] == pytest.approx(100 * model(x)[:, 0].detach().numpy(), rel=1e-5)
    assert math.isnan(found[2])
    assert len(AccuracyPredictor.load(predictor).accuracies([])) == 0


def test_other_files_are_refused(tmp_path: Path, predictor: Path) -> None:
    state = torch.load(predictor, weights_only=True)
    torch.save({**state, "4.weight": torch.zeros(400, 3)}, tmp_path / "wrong.pth")
    with pytest.raises(InputError, match=r"wrong.pth: not OFA's accuracy predictor, whose layer 4 is 400 x 400"):
        AccuracyPredictor.load(tmp_path / "wrong.pth")
    for text in ("- 1", "a: {mean: x}", "Conv-input:224x224x3-output:112x112x24: 3", "{"):
        (tmp_path / "wrong.yaml").write_text(text)
        with pytest.raises(InputError, match=r"wrong.yaml: not (YAML|a table of OFA's latencies)"):
            LatencyTable.load(tmp_path / "wrong.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        LatencyTable.load(tmp_path / "none.yaml")


def test_a_latency_is_the_sum_of_its_blocks(tmp_path: Path) -> None:
    """The smallest network at 32 pixels: 1 ms for every block, but 10 for one of the third stage."""
    arch = SPACE.parse("|".join(["k3e3,-,-,-"] * 5))
    ends = ["16x16x24-output:8x8x32", "8x8x32-output:4x4x48", "4x4x48-output:2x2x96", "2x2x96-output:2x2x136",
            "2x2x136-output:1x1x192"]  # fmt: skip
    tails = ["expand:72-kernel:3-stride:2-idskip:0-se:0-hs:0", "expand:96-kernel:3-stride:2-idskip:0-se:1-hs:0",
             "expand:144-kernel:3-stride:2-idskip:0-se:0-hs:1", "expand:288-kernel:3-stride:1-idskip:0-se:1-hs:1",
             "expand:408-kernel:3-stride:2-idskip:0-se:1-hs:1"]  # fmt: skip
    keys = ["Conv-input:32x32x3-output:16x16x24",
            "expanded_conv-input:16x16x24-output:16x16x24-expand:24-kernel:3-stride:1-idskip:1-se:0-hs:0",
            "Conv_1-input:1x1x192-output:1x1x1152", "AvgPool2D-input:1x1x1152-output:1x1x1152",
            "Conv_2-input:1x1x1152-output:1x1x1536", "Logits-input:1x1x1536-output:1000"]  # fmt: skip
    keys += [f"expanded_conv-input:{end}-{tail}" for end, tail in zip(ends, tails, strict=True)]
    table = {key: {"count": 1, "mean": 10.0 if "4x4x48-output:2x2x96" in key else 1.0} for key in keys}
    (tmp_path / "32.yaml").write_text(yaml.safe_dump(table))
    made = LatencyTable.load(tmp_path / "32.yaml")
    assert made.resolution == 32
    assert made.latency(arch) == pytest.approx(len(keys) - 1 + 10)
    assert math.isnan(made.latency(LARGE))  # blocks that nobody has measured


def test_the_published_files(shared_data: Path) -> None:
    folder = shared_data / "ofa"
    made = AccuracyPredictor.load(folder / "acc_predictor.pth")
    small, large = made.accuracies([SMALL, LARGE])
    assert 70 < small < large < 90
    assert made.accuracies([LARGE], 160)[0] < large
    tables: list[Any] = [LatencyTable.load(folder / f"note10_latency_{size}.yaml") for size in (160, 224)]
    assert [table.resolution for table in tables] == [160, 224]
    assert tables[0].latency(LARGE) < tables[1].latency(LARGE)
    assert tables[1].latency(SMALL) < tables[1].latency(LARGE)
