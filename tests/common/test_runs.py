"""Run folders: files that are whole or not there, records that survive a crash, and one config a folder."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
import pytest

from common.errors import InputError
from common.runs import RunFolder, environment, write_atomic, write_json
from common.runs import lock as locking
from common.runs.files import plain
from common.runs.lock import LOCK_FILE

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"method": "ReNAS", "n_train": 424, "train": {"lr": 1e-3, "loss": "logistic"}, "parts": ("type", "flops")}


def names(folder: Path) -> list[str]:
    """But for the lock of a folder that is open."""
    return sorted(entry.name for entry in folder.iterdir() if entry.name != LOCK_FILE)


# files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_written_with_its_folders_and_nothing_else(tmp_path: Path):
    path = tmp_path / "a" / "b" / "file.bin"
    write_atomic(path, lambda file: file.write(b"whole"))
    assert path.read_bytes() == b"whole"
    assert names(path.parent) == ["file.bin"]
    write_atomic(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["file.bin"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("existing", [True, False])
def test_an_error_while_writing_leaves_the_old_file_and_no_rest(
    tmp_path: Path, error: type[BaseException], existing: bool
):
    path = tmp_path / "file.bin"
    if existing:
        path.write_bytes(b"old")

    def half(file: IO[bytes]) -> None:
        file.write(b"ne")
        file.flush()
        raise error

    with pytest.raises(error):
        write_atomic(path, half)
    assert names(tmp_path) == (["file.bin"] if existing else [])
    assert not existing or path.read_bytes() == b"old"


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    seen: list[bytes] = []

    def write(file: IO[bytes]) -> None:
        file.write(b"new")
        file.flush()
        seen.append(path.read_bytes())
        assert [entry for entry in tmp_path.iterdir() if entry != path]  # the new one is in the same folder

    with path.open("rb") as reader:
        write_atomic(path, write)
        assert reader.read() == b"old"  # whoever is reading goes on reading the old one
    assert (seen, path.read_bytes()) == ([b"old"], b"new")


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    code = (
        "import os, signal, sys; from pathlib import Path; from common.runs import write_atomic\n"
        "def half(file): file.write(b'ne'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomic(Path(sys.argv[1]), half)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == -9
    assert path.read_bytes() == b"old"


def test_a_result_is_as_readable_as_any_other_file(tmp_path: Path):
    old = os.umask(0o027)
    try:
        write_atomic(tmp_path / "file.bin", lambda file: file.write(b""))
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(old)
    assert (tmp_path / "file.bin").stat().st_mode & 0o777 == 0o640


def test_plain_makes_strict_json():
    value = {
        1: np.float64(0.5),
        "nan": math.nan,
        "inf": [math.inf, -math.inf, np.float32("nan")],
        "array": np.array([[1.0, np.nan], [2.0, 3.0]]),
        "whole": (np.int64(3), np.bool_(True), True, None, "text"),
        "nested": {"deep": ({"x": np.array(7)},)},
    }
    assert plain(value) == {
        "1": 0.5,
        "nan": None,
        "inf": [None, None, None],
        "array": [[1.0, None], [2.0, 3.0]],
        "whole": [3, True, True, None, "text"],
        "nested": {"deep": [{"x": 7}]},
    }
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == plain(value)


def test_written_json_is_strict_and_ends_in_a_line_break(tmp_path: Path):
    write_json(tmp_path / "value.json", {"tau": math.nan, "rows": np.arange(2)})
    text = (tmp_path / "value.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text, parse_constant=pytest.fail) == {"tau": None, "rows": [0, 1]}


# records ---------------------------------------------------------------------------------------------------------


def opened(tmp_path: Path, **changes: Any) -> RunFolder:
    return RunFolder.open(tmp_path / "run", CONFIG | changes)


def test_records_come_back_in_order(tmp_path: Path):
    folder = opened(tmp_path)
    assert folder.records() == []
    for seed in range(3):
        folder.append({"seed": seed, "tau": math.nan, "trained": np.arange(seed)})
    assert folder.records() == [{"seed": seed, "tau": None, "trained": [*range(seed)]} for seed in range(3)]
    assert opened(tmp_path).records() == folder.records()


def test_a_record_is_on_disk_when_append_returns(tmp_path: Path):
    code = (
        "import os, sys; from pathlib import Path; from common.runs import RunFolder\n"
        "RunFolder(Path(sys.argv[1])).append({'seed': 5}); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == -9
    assert (tmp_path / "evaluations.jsonl").read_bytes() == b'{"seed": 5}\n'


def test_a_record_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    RunFolder(tmp_path).append({"seed": 5})
    assert synced == [len(b'{"seed": 5}\n')]


@pytest.mark.parametrize(
    "tail", ['{"seed": 2, "ta', '{"seed": 2, "tau": 0.5}', '{"seed": 2\n', "\n", "\x00\x00\n", "5\n"]
)
def test_a_last_line_cut_off_by_a_crash_is_dropped_from_the_file(tmp_path: Path, tail: str):
    folder = opened(tmp_path)
    file = folder.path / "evaluations.jsonl"
    for seed in range(2):
        folder.append({"seed": seed})
    whole = file.read_bytes()
    file.write_bytes(whole + tail.encode())
    assert folder.records() == [{"seed": 0}, {"seed": 1}]
    assert file.read_bytes() == whole
    folder.append({"seed": 2})
    assert [record["seed"] for record in folder.records()] == [0, 1, 2]


def test_only_a_cut_off_line_in_the_file_is_no_record(tmp_path: Path):
    folder = opened(tmp_path)
    (folder.path / "evaluations.jsonl").write_text('{"se')
    assert folder.records() == []
    assert (folder.path / "evaluations.jsonl").read_bytes() == b""


def test_a_bad_line_in_the_middle_is_named_and_the_file_left_alone(tmp_path: Path):
    folder = opened(tmp_path)
    text = '{"seed": 0}\n{"seed": \n{"seed": 2}\n'
    (folder.path / "evaluations.jsonl").write_text(text)
    with pytest.raises(InputError, match=r"evaluations\.jsonl: line 2 is not JSON") as caught:
        folder.records()
    assert "\n" not in str(caught.value)
    assert (folder.path / "evaluations.jsonl").read_text() == text


def test_the_summary_is_replaced_as_a_whole(tmp_path: Path):
    folder = opened(tmp_path)
    folder.write_summary({"mean": {"tau": 0.5}, "long": "x" * 999})
    folder.write_summary({"mean": {"tau": math.nan}})
    assert json.loads((folder.path / "summary.json").read_text()) == {"mean": {"tau": None}}
    assert names(folder.path) == ["config.json", "summary.json"]


# one config a folder -----------------------------------------------------------------------------------------------


def test_a_new_folder_holds_the_config_only(tmp_path: Path):
    folder = opened(tmp_path)
    assert names(folder.path) == ["config.json"]
    stored = json.loads((folder.path / "config.json").read_text())
    assert stored == {**CONFIG, "parts": ["type", "flops"]}


def test_an_existing_empty_folder_is_taken(tmp_path: Path):
    (tmp_path / "run").mkdir()
    assert names(opened(tmp_path).path) == ["config.json"]


def test_the_same_config_opens_the_folder_again(tmp_path: Path):
    folder = opened(tmp_path)
    folder.append({"seed": 0})
    before = (folder.path / "config.json").read_bytes()
    again = opened(tmp_path)
    assert again.records() == [{"seed": 0}]
    assert (folder.path / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_train": 100}, r"n_train is 424 there, 100 here"),
        ({"train": {"lr": 0.1, "loss": "logistic"}}, r"train\.lr is 0\.001 there, 0\.1 here"),
        ({"extra": 1}, r"extra is None there, 1 here"),
    ],
)
def test_other_settings_are_refused_and_named(tmp_path: Path, changes: dict[str, Any], said: str):
    folder = opened(tmp_path)
    folder.append({"seed": 0})
    folder.close()
    before = {entry.name: entry.read_bytes() for entry in folder.path.iterdir()}
    with pytest.raises(InputError, match=said) as caught:
        opened(tmp_path, **changes)
    assert "other settings" in str(caught.value)
    assert "--out" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {entry.name: entry.read_bytes() for entry in folder.path.iterdir()} == before


def test_a_start_that_has_left_nothing_but_its_config_is_no_run(tmp_path: Path):
    """A mistyped setting is seen after the folder is made: the command without the mistake is not to be refused."""
    opened(tmp_path).close()
    folder = opened(tmp_path, n_train=100)
    assert json.loads((folder.path / "config.json").read_text())["n_train"] == 100
    (folder.path / "teacher.pt").write_bytes(b"dear")
    folder.close()
    with pytest.raises(InputError, match="n_train is 100 there, 424 here"):
        opened(tmp_path)


def test_a_setting_that_is_gone_is_a_difference_too(tmp_path: Path):
    opened(tmp_path).append({"seed": 0})
    with pytest.raises(InputError, match="n_train is 424 there, None here"):
        RunFolder.open(tmp_path / "run", {key: value for key, value in CONFIG.items() if key != "n_train"})


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="not a run folder"):
        opened(tmp_path)
    assert names(tmp_path / "run") == ["thesis.tex"]


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path: Path):
    (tmp_path / "run").write_text("precious")
    with pytest.raises(InputError, match="not a run folder"):
        opened(tmp_path)
    assert (tmp_path / "run").read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write into .*file/run"):
        RunFolder.open(tmp_path / "file" / "run", CONFIG)


@pytest.mark.parametrize("text", ["{", "", "[1, 2]", "5", "\xff"])
def test_a_config_that_is_no_json_object_is_named(tmp_path: Path, text: str):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"config\.json is not JSON|config\.json .*object"):
        opened(tmp_path)


# one process a folder -----------------------------------------------------------------------------------------------

OPEN = """
import os, sys, time
from pathlib import Path
from common.cli import run_command
from common.runs import RunFolder

def main():
    folder = RunFolder.open(Path(sys.argv[1]), {})
    print("open", flush=True)
    if sys.argv[2:]: time.sleep(60)

run_command("prog", main)
"""


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OPEN, str(folder), *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_second_process_says_who_holds_the_folder_and_a_killed_one_holds_nothing(tmp_path: Path):
    path = tmp_path / "run"
    with start(path, "stay") as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == "open\n"
            with start(path) as second:
                _, said = second.communicate(timeout=60)
            assert second.returncode == 2
            assert said.startswith(f"prog: error: {path} is in use by process {first.pid} on ")
            assert said.count("\n") == 1
            with pytest.raises(InputError, match=f"in use by process {first.pid} .* choose another OUT_DIR"):
                RunFolder.open(path, {}, setting="OUT_DIR")
        finally:
            first.kill()
            first.wait()
    assert (path / LOCK_FILE).exists()  # what kill -9 leaves
    with RunFolder.open(path, {}), start(path) as third:
        _, said = third.communicate(timeout=60)
    assert (third.returncode, f"process {os.getpid()} on " in said) == (2, True)
    with start(path) as fourth:
        assert fourth.communicate(timeout=60) == ("open\n", "")
    assert not (path / LOCK_FILE).exists()


def test_a_folder_may_be_opened_twice_by_one_process_and_is_free_when_it_is_closed_or_forgotten(tmp_path: Path):
    def is_free() -> bool:
        with start(tmp_path / "run") as other:
            other.communicate(timeout=60)
        return other.returncode == 0

    first, second = (RunFolder.open(tmp_path / "run", {}) for _ in range(2))
    first.close()
    first.close()
    assert not is_free()
    del second
    assert is_free()
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["config.json"]


def test_the_end_of_a_fork_does_not_give_the_folder_away(tmp_path: Path):
    folder = opened(tmp_path)
    child = os.fork()
    if child == 0:
        folder.close()
        os._exit(0)
    os.waitpid(child, 0)
    with start(folder.path) as other:
        assert "in use by process" in other.communicate(timeout=60)[1]


def test_windows_locks_a_byte_and_other_systems_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert RunFolder.open(tmp_path / "none", {}).lock is None  # neither fcntl nor msvcrt
    calls: list[tuple[int, int, int]] = []

    def locking_(descriptor: int, mode: int, count: int) -> None:
        calls.append((os.lseek(descriptor, 0, os.SEEK_CUR), mode, count))
        if len(calls) > 1:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking_, LK_NBLCK=2))
    folder = RunFolder.open(tmp_path / "run", {})
    assert json.loads((folder.path / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert calls == [(2**30, 2, 1)]
    monkeypatch.setattr(locking, "_LOCKS", {})  # as another process would see it
    with pytest.raises(InputError, match=f"in use by process {os.getpid()} on"):
        RunFolder.open(tmp_path / "run", {})


# environment -------------------------------------------------------------------------------------------------------


def test_the_environment_names_versions_machine_and_revision():
    found = environment("a device")
    assert found["torch"]
    assert found["numpy"] == np.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["device"] == "a device"
    assert found["cores"] >= 1
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert found["revision"].rstrip("+") == head.stdout[:12]
    assert json.dumps(found)
