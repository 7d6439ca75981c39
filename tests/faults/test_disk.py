"""A full disk, no right to write, no handles left, a folder that is moved, two writers: one line, and records kept."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile as h
import pytest
from hostile import few_handles, is_one_line, limit, small_disk

from common.runs import write_atomic
from common.runs.lock import lock_file
from renas import api
from renas.cli import PROG, main

WORDS = ["--data_path", "table.csv", "--predictor", "boosting", "--train_num", "2", "--count", "1", "--out", "run"]
WORDS += ["--device", "cpu", "boosting.max_iter", "2"]


@pytest.fixture(autouse=True)
def _quiet(one_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "write_plots", lambda *_: None)
    (tmp_path / "table.csv").write_text(h.CSV)


def run(*words: Any) -> h.Refused:
    return h.run(PROG, main, [*WORDS, *words])


def lines(folder: str = "run") -> list[str]:
    return Path(folder, "evaluations.jsonl").read_text().splitlines(keepends=True)


def found(folder: str = "run") -> dict[int, Any]:
    return {record["seed"]: (record["found"], record["evaluated"]) for record in map(json.loads, lines(folder))}


def goes_on_after(fault: Callable[[], contextlib.AbstractContextManager[Any]], said: str) -> None:
    """One seed, three more with the fault, and again without: the same as in one go."""
    assert run().code == 0
    first = lines()

    def within(words: list[str]) -> None:
        with fault():
            main(words)

    refused = h.run(PROG, within, [*WORDS, "--seeds", 4])
    is_one_line(refused, said)
    assert lines()[:1] == first
    assert run("--seeds", 4).code == 0
    assert lines()[:1] == first
    assert run("--seeds", 4, "--out", "other").code == 0
    assert found() == found("other")
    assert not list(Path().rglob("*.part"))


def test_a_file_that_cannot_grow():
    goes_on_after(lambda: limit(resource.RLIMIT_FSIZE, 2000), "File too large")


@pytest.mark.parametrize("spare", [0, 2])  # the folder's lock takes one
def test_no_handles_left(spare: int):
    goes_on_after(lambda: few_handles(spare), "Too many open files")


@pytest.mark.parametrize("size", [12, 16, 20])  # pages of 4 KB: full at one file or another
def test_a_full_disk(tmp_path: Path, size: int):
    with small_disk(tmp_path / "disk", size) as disk:
        refused = run("--seeds", 40, "--out", "disk/run")
        is_one_line(refused, "No space left on device")
        before = {record["seed"] for record in map(json.loads, lines("disk/run")[:-1])}
        assert not list(disk.rglob("*.part"))
        shutil.copytree(disk / "run", tmp_path / "run")  # to a larger one
        whole = [line for line in lines() if line.endswith("\n")]
        assert run("--seeds", 40).code == 0
        assert lines()[: len(whole)] == whole
        assert before <= found().keys() == {*range(40)}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_only_be_read():
    assert run().code == 0
    first = lines()
    for path in [Path("run"), *Path("run").rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        is_one_line(run("--seeds", 2), "Permission denied")
        assert lines() == first
    finally:
        for path in [Path("run"), *Path("run").rglob("*")]:
            path.chmod(0o755)


def test_a_disk_that_may_only_be_read(tmp_path: Path):
    with small_disk(tmp_path / "run") as disk:
        assert run().code == 0
        first = lines()
        h.make_read_only(disk)
        is_one_line(run("--seeds", 2), "Read-only file system")
        assert lines() == first


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_is_moved_meanwhile(monkeypatch: pytest.MonkeyPatch, replaced: bool):
    run_seed = api.run_seed

    def moving(experiment: Any, seed: int, *rest: Any, **named: Any) -> Any:
        if seed == 1:
            Path("run").rename("moved")
            if replaced:
                Path("run").mkdir()
        return run_seed(experiment, seed, *rest, **named)

    monkeypatch.setattr(api, "run_seed", moving)
    is_one_line(run("--seeds", 3), "run was moved or replaced while it was in use")
    assert [*found("moved")] == [0]
    assert not Path("run").exists() or not list(Path("run").iterdir())  # nothing is begun in its place
    monkeypatch.setattr(api, "run_seed", run_seed)
    assert run("--seeds", 3, "--out", "moved").code == 0
    assert [*found("moved")] == [0, 1, 2]


def test_a_second_training_of_a_teacher_is_told_who_has_the_file(tmp_path: Path):
    """Two that wrote one `<out>.resume` ended in one's weights with the other's history."""
    out = tmp_path / "teachers" / "t.pt"
    code = "import sys; from pathlib import Path; from common.runs.lock import lock_file\n"
    code += "lock = lock_file(Path(sys.argv[1]), '--out'); print('has it', flush=True); sys.stdin.read()"
    root = str(Path(__file__).resolve().parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", code, str(out)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "has it\n"
        from rminas import teacher

        refused = h.run(teacher.PROG, teacher.main, ["--epochs", "1", "--device", "cpu", "--out", out])
        is_one_line(refused, f"is in use by process {other.pid}")
        other.kill()
    lock = lock_file(out, "--out")  # its end gave it back
    assert lock is not None
    lock.release()


def test_what_a_killed_writer_has_left_is_removed_by_the_next(tmp_path: Path):
    path = tmp_path / "file.bin"
    code = (
        "import os, signal, sys; from pathlib import Path; from common.runs import write_atomic\n"
        "def half(file): file.write(b'ne'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomic(Path(sys.argv[1]), half)"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, capture_output=True, timeout=60, check=False)
    assert len(list(tmp_path.glob(".file.bin.*.part"))) == 1
    seen: list[int] = []

    def write(file: Any) -> None:
        file.write(b"new")
        write_atomic(path, lambda inner: inner.write(b"inner"))  # another file that is being written stays
        seen.append(len(list(tmp_path.glob("*.part"))))

    write_atomic(path, write)
    assert (path.read_bytes(), seen, list(tmp_path.glob(".*.part"))) == (b"new", [1], [])
