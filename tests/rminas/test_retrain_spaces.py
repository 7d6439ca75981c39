"""Retraining in every space: from what was found to a network in a file that has the accuracy that was told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from common.datasets import digits
from common.datasets.images import ImageSet, load_images
from common.datasets.record import DataSet
from common.errors import InputError
from common.export import read_found
from common.export.write import build_found, run_source
from common.spaces import make_space
from common.training.classifier import evaluate
from common.training.retraining import Objective, RetrainSettings
from rminas.retrain import main
from rminas.retrain_config import read_retrain_config

OWN = "examples/own_space.py:SPACE"
SMALL = {
    "nasbench101": ["TRAIN.CHANNELS", "8"],
    "nasbench201": ["TRAIN.CHANNELS", "4", "SPACE.CELLS_PER_STAGE", "1"],
    "macro": ["TRAIN.CHANNELS", "8"],
    "proxyless": [],
    OWN: [],
}
FEW = 120


@pytest.fixture(scope="module", autouse=True)
def _few_digits() -> Iterator[None]:
    record = digits.DIGITS

    def read_few(self: DataSet, path: Path | None) -> ImageSet:
        images = record.read(self, path)
        few = slice(FEW)
        return dataclasses.replace(
            images, x_train=images.x_train[few], y_train=images.y_train[few], x_test=images.x_test[few],
            y_test=images.y_test[few],
        )  # fmt: skip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "DIGITS", dataclasses.replace(record, read=read_few))
        yield


def text_of(name: str) -> str:
    space = make_space(name)
    return space.format(space.sample(np.random.default_rng(1)))


def retrain(out: Path, arch: str, *words: str) -> Path:
    fixed = ["--device", "cpu", "--out", str(out), "NAME", "run", "OPTIM.MAX_EPOCH", "1", "TRAIN.BATCH_SIZE", "40"]
    main(["--arch", arch, *fixed, *words])
    return out / "run"


SPACES = [pytest.param(name, marks=pytest.mark.slow) if name == "proxyless" else name for name in sorted(SMALL)]


@pytest.mark.parametrize("name", SPACES)
def test_an_architecture_of_every_space_ends_as_a_network_of_the_accuracy_told(name: str, tmp_path: Path) -> None:
    folder = retrain(tmp_path, text_of(name), "SPACE.NAME", name, "DATA.NAME", "digits", *SMALL[name])
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["arch"], summary["network"]["num_classes"], summary["network"]["image_size"]) == (
        text_of(name),
        10,
        8,
    )
    images = load_images("digits")
    source = run_source((folder / "network.py").read_text())
    assert evaluate(source.load(folder / "network.pt"), images) == summary["final"]["test_acc"]
    found = read_found(str(folder))  # the folder can be exported again, into other forms
    assert evaluate(build_found(found), images) == summary["final"]["test_acc"]
    assert (folder / "cell.png").stat().st_size > 1000


def made_search(folder: Path, **summary: Any) -> Path:
    folder.mkdir()
    runs = [{"seed": 0, "found": {"arch": text_of("nasbench201")}}]
    (folder / "summary.json").write_text(json.dumps({"space": "nasbench201", "runs": runs, **summary}))
    return folder


def test_a_search_s_folder_says_the_space_and_the_images(tmp_path: Path) -> None:
    folder = made_search(tmp_path / "search", method="RMI-NAS", dataset="digits")
    (folder / "config.yaml").write_text("DATA:\n  NAME: digits\n  PATH: ''\n")
    config, _ = read_retrain_config(None, [("TRAIN.ARCH", str(folder))])
    assert (config.space.name, config.data.name, config.data.path) == ("nasbench201", "digits", "")
    assert (config.optim.base_lr, config.optim.max_epoch, config.train.cutout, config.train.aux_weight) == (
        0.1,
        200,
        0,
        0,
    )
    renas = made_search(tmp_path / "renas", method="ReNAS", dataset="cifar100")
    config, _ = read_retrain_config(None, [("TRAIN.ARCH", str(renas)), ("OPTIM.BASE_LR", "0.2")])
    assert (config.data.name, config.optim.base_lr) == ("cifar100", 0.2)


def test_what_a_space_has_no_use_for_is_named(tmp_path: Path) -> None:
    for words, said in (
        (["TRAIN.LAYERS", "3"], "--layers: NAS-Bench-201: no layers"),
        (["TRAIN.DROP_PATH_PROB", "0.1"], "only networks of darts have such a thing"),
        (["TRAIN.DISTILL", "0.5"], "TEACHER.WEIGHTS is empty"),
    ):
        with pytest.raises(InputError, match=said):
            retrain(tmp_path / "x", text_of("nasbench201"), "SPACE.NAME", "nasbench201", "DATA.NAME", "digits", *words)


class Said(nn.Module):
    """Logits that are given."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits


def test_distillation_is_hinton_s_loss_and_teaches_the_network_alone() -> None:
    torch.manual_seed(0)
    ours, theirs, y = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    network, teacher = Said(ours), Said(theirs)
    objective = Objective(network, RetrainSettings(auxiliary_weight=0, distill=0.3, temperature=2.0), teacher)
    loss, logits = objective(torch.zeros(4, 3, 2, 2), y)
    p, q = F.softmax(theirs / 2, 1), F.softmax(ours / 2, 1)
    expected = 0.7 * F.cross_entropy(ours, y) + 0.3 * 4 * (p * (p / q).log()).sum(1).mean()
    assert torch.isclose(loss, expected, atol=1e-6)
    assert torch.equal(logits, ours)
    loss.backward()
    assert network.logits.grad is not None
    assert teacher.logits.grad is None
    assert [*objective.parameters()] == [network.logits]


def test_a_network_learns_from_a_teacher_that_is_trained_on_the_way(tmp_path: Path) -> None:
    words = [*SMALL["nasbench201"], "TRAIN.DISTILL", "0.5", "TEACHER.NAME", "resnet20", "TEACHER.EPOCHS", "1"]
    folder = retrain(
        tmp_path,
        text_of("nasbench201"),
        "SPACE.NAME",
        "nasbench201",
        "DATA.NAME",
        "digits",
        *SMALL["nasbench201"],
        *words,
    )
    assert json.loads((folder / "summary.json").read_text())["distill"] == 0.5
    assert (folder / "teacher.pt").exists()
