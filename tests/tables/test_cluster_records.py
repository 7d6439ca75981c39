"""Records of killed commands and of other machines: what is published of them, and how differences are told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import kill_trials
import machine_differences
from machine_differences import SETTINGS, WORKS, difference


def trial(command: str, number: int, **changes: Any) -> dict[str, Any]:
    record = {"command": command, "trial": number, "whole_s": 3.0, "after_s": 1.23456, "alone": False, "killed": True}
    return {**record, "wrong": [], "revision": "abc", **changes}


def written(folder: Path, *records: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "evaluations.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_trials_of_several_folders_are_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kill_trials, "PUBLISHED", tmp_path / "kills.json")
    monkeypatch.setattr(kill_trials, "COMMANDS", dict.fromkeys(("renas", "rank")))
    folders = [
        written(tmp_path / "a", trial("rank", 1, wrong=["x is left"]), trial("rank", 0, alone=True, whole_s=5.0)),
        written(tmp_path / "b", trial("renas", 0, killed=False)),
    ]
    kill_trials.publish(folders)
    stored = json.loads((tmp_path / "kills.json").read_text())
    assert [(record["command"], record["trial"]) for record in stored] == [("renas", 0), ("rank", 0), ("rank", 1)]
    assert stored[0]["after_s"] == 1.235
    assert kill_trials.table().splitlines()[2:] == [
        "| renas | 3.0 | 1 | 0 | 0 | 0 |",
        "| rank | 3.0 to 5.0 | 2 | 2 | 1 | 1 |",
        "| all | 3.0 to 5.0 | 3 | 2 | 1 | 1 |",
        "",
        "Revision abc.",
    ]


@pytest.mark.parametrize("revision", ["abc+", ""])
def test_trials_of_a_changed_tree_are_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str):
    monkeypatch.setattr(kill_trials, "PUBLISHED", tmp_path / "kills.json")
    folder = written(tmp_path / "a", trial("renas", 0), trial("renas", 1, revision=revision))
    with pytest.raises(SystemExit, match="1 trials were made from a tree with changes"):
        kill_trials.publish([folder])
    assert not (tmp_path / "kills.json").exists()


def outcome(loss: float = 2.0, arch: str = "a", found: str = "a", weight: float = 4.0) -> dict[str, Any]:
    return {
        "said": "",
        "evaluations.jsonl": [{"arch": arch, "value": loss}],
        "summary.json": {"runs": [{"found": {"arch": found, "sha256": str(weight)}}]},
        "t.pt": {"w": np.array([weight, 8.0])},
    }


@pytest.mark.parametrize(
    ("other", "same", "relative", "found_same"),
    [
        (outcome(), True, 0.0, True),
        (outcome(loss=1.5), False, 0.25, True),  # .5 of 2
        (outcome(weight=5.0), False, 0.125, True),  # 1 of 8, the tensor's largest; checksums do not count
        (outcome(arch="b"), False, None, True),  # another was looked at, the same found
        (outcome(arch="b", found="b"), False, None, False),
        ({**outcome(), "more": 1.0}, False, None, True),
    ],
)
def test_differences(other: dict[str, Any], same: bool, relative: float | None, found_same: bool):
    assert difference(outcome(), other) == {"same": same, "relative": relative, "found_same": found_same}


def test_what_is_not_measured_under_every_setting_is_left_out_and_named(capsys: pytest.CaptureFixture[str]):
    told = {"same": True, "relative": 0.0, "found_same": True, "environment": {"revision": "abc"}}
    records = [{"work": work, "setting": setting, **told} for work in WORKS for setting in SETTINGS][:-1]
    *whole, last = WORKS
    made = machine_differences.summary(records)
    assert [*made["works"]] == whole
    assert made["revisions"] == ["abc"]
    assert f"not all is measured yet: {last}\n" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="nothing to publish"):
        machine_differences.summary(records[:3])
