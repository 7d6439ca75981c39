"""Same seed, same files but for times: with another order of sets, in another folder, one or two at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from kill_trials import COMMANDS, contents, write_inputs  # noqa: E402

SIDE_BY_SIDE = {"renas": ["--jobs", "2"], "compare": ["--jobs", "2"], "search": ["EXECUTOR", "processes"]}


def run(name: str, folder: Path, hash_seed: int, *words: str) -> dict[str, object]:
    write_inputs(folder)
    module, own = COMMANDS[name]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    module = {"renas.cli": "renas", "rminas.cli": "rminas"}.get(module, module)
    command = [sys.executable, "-m", module, *own, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return contents(folder / "out")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["renas", "compare", "search", "rank", "teacher", "retrain"])
def test_the_same_files(tmp_path: Path, name: str):
    first = run(name, tmp_path / "a", 1)
    second = run(name, tmp_path / "deeper" / "b", 2, *SIDE_BY_SIDE.get(name, []))
    if name == "search":  # says which executor it was
        for files in (first, second):
            del files["tiny/config.yaml"]
            files["tiny/summary.json"].pop("executor")  # type: ignore[attr-defined]
            files["tiny/summary.json"].pop("settings")  # type: ignore[attr-defined]
    assert first.keys() == second.keys()
    assert [file for file in first if first[file] != second[file]] == []
