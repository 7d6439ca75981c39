"""Same seed, same files but for times: with another order of sets, in another folder, one or two at a time, killed and
gone on with.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from kill_trials import COMMANDS, contents, write_inputs  # noqa: E402

SIDE_BY_SIDE = {
    "renas": ["--jobs", "2"], "compare": ["--jobs", "2"], "search": ["EXECUTOR", "processes"],
    "rank": ["EXECUTOR", "processes"],
}  # fmt: skip


def run(name: str, folder: Path, hash_seed: int, *words: str, killed_after_s: float = 0.0) -> dict[str, object]:
    """What a command leaves; of one that was killed, after it has been given again."""
    if not folder.exists():
        write_inputs(folder)
    module, own = COMMANDS[name]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    module = {"renas.cli": "renas", "rminas.cli": "rminas"}.get(module, module)
    command = [sys.executable, "-m", module, *own, *words]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            _, said = process.communicate(timeout=killed_after_s or 300)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            assert killed_after_s
            return run(name, folder, hash_seed + 1, *words)
    assert process.returncode == 0, said
    files = contents(folder / "out")
    if "EXECUTOR" in words or name in ("search", "rank"):  # says which executor it was
        for file in [file for file in files if file.endswith("config.yaml")]:
            del files[file]
        for summary in [files[file] for file in files if file.endswith("summary.json")]:
            del summary["executor"], summary["settings"]  # type: ignore[attr-defined]
    return files


@pytest.mark.slow
@pytest.mark.parametrize("name", ["renas", "compare", "search", "rank", "teacher", "retrain"])
def test_the_same_files(tmp_path: Path, name: str):
    began = time.monotonic()
    first = run(name, tmp_path / "a", 1)
    took_s = time.monotonic() - began
    others = {
        "side by side": run(name, tmp_path / "deeper" / "b", 2, *SIDE_BY_SIDE.get(name, [])),
        "killed": run(name, tmp_path / "c", 3, killed_after_s=0.6 * took_s),
    }
    for how, files in others.items():
        assert first.keys() == files.keys(), how
        assert [file for file in first if first[file] != files[file]] == [], how
