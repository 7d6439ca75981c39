"""`python -m rminas.teacher`: trains once, goes on when killed, tests weights, and answers bad input in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from common.datasets import DATASETS, data_set
from common.errors import InputError
from common.networks.teachers import load_teacher
from common.training import classifier
from rminas.teacher import main, recipe

FAST = ["--teacher", "resnet20", "--dataset", "digits", "--epochs", "2", "--batch_size", "512", "--device", "cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "t.pt"
    main([*FAST, "--out", str(path)])
    return path


def no_training(*_: object, **__: object) -> None:
    raise AssertionError("trained again")


def test_the_weights_are_a_teacher_and_are_not_trained_twice(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [path.name for path in trained.parent.iterdir()] == ["t.pt"]  # nothing half-done is left
    monkeypatch.setattr(classifier, "train_classifier", no_training)
    main([*FAST, "--out", str(trained)])
    again = capsys.readouterr().out
    main(["--dataset", "digits", "--weights", str(trained), "--device", "cpu"])
    tested = capsys.readouterr().out
    assert again == tested
    assert f"{trained}: resnet20 on 360 test images of digits: " in tested
    stored = torch.load(trained, weights_only=True)
    assert f"{stored['test_acc']:.2f} % (with batch statistics" in tested
    assert load_teacher("resnet20", trained, 10)(torch.zeros(1, 3, 8, 8)).shape == (1, 10)


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "SAVE_EVERY_S", -1.0)
    real_rate, calls = classifier.learning_rate, []

    def killed(*args: object) -> float:
        calls.append(args)
        if len(calls) == 5:  # 3 steps an epoch: in the second epoch
            raise KeyboardInterrupt
        return real_rate(*args)  # type: ignore[arg-type]

    out = tmp_path / "t.pt"
    monkeypatch.setattr(classifier, "learning_rate", killed)
    with pytest.raises(KeyboardInterrupt):
        main([*FAST, "--out", str(out)])
    assert not out.exists()
    main([*FAST, "--out", str(out)])
    assert len(calls) == 5 + 3
    assert not (tmp_path / "t.pt.resume").exists()
    first, second = (torch.load(path, weights_only=True)["state_dict"] for path in (trained, out))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "0.3"], r"of another training \(lr is 0.05 there, 0.3 here\)"),
        (["--seed", "1"], r"of another training \(seed is 0 there, 1 here\)"),
        (["--teacher", "resnet101"], r"of another training \(teacher is 'resnet20' there"),
        (["--dataset", "mnist"], "unknown data set 'mnist'"),
        (["--weights", "none.pt"], "none.pt: no such weights file"),
        (["--epochs", "0"], "--epochs 0: must be at least 1"),
        (["--warmup_epochs", "2"], "--warmup_epochs 2: must be less than the 2 epochs"),
        (["--lr", "-1"], "must be above 0"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, trained: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        main([*FAST, "--out", str(trained), *arguments])
    assert "\n" not in str(caught.value)


def test_every_recipe_is_valid_and_can_be_changed() -> None:
    for name in (*DATASETS, "own"):
        assert recipe(name).epochs == data_set(name).teacher_recipe.get("epochs", 200)
    assert recipe("digits", epochs=3).epochs == 3


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from rminas.teacher import make_parser as p; p().format_help(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])
