"""A full disk, no handles left, folders that may only be read, are moved or another's, and outputs that are no files:
every command that writes says so in one line, leaves its records as they were, and goes on afterwards.
"""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hostile as h
import pytest
from hostile import few_handles, is_one_line, limit, small_disk

from common.runs import RunFolder
from renas import api
from rminas import retrain

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from kill_trials import GENOTYPE, contents, write_images  # noqa: E402

SMALL = h.cfg(EXECUTOR="serial", BENCHMARK={"PATH": "table.csv", "DATASET": "cifar10"}, NAME="run",
              RMINAS={"EVALUATOR": "params", "STRATEGY": "random", "MAX_EVALUATIONS": 3, "TOP": 1})  # fmt: skip
RETRAINED = h.text(
    "DEVICE: cpu\nNAME: run\nDATA: {NAME: few, PATH: few.npz}\nOPTIM: {MAX_EPOCH: 2}\n"
    "TRAIN: {CHANNELS: 2, LAYERS: 3, BATCH_SIZE: 32, AUX_WEIGHT: 0, CUTOUT: 2}\n"
)
TABLE = ["--data_path", "table.csv"]
BOOSTED = ["--predictor", "boosting", "--train_num", "2", "--count", "1", "--device", "cpu", "boosting.max_iter", "2"]


class Command(NamedTuple):
    words: list[Any]
    place: str  # of what it writes, below the folder or file that it is told
    more: tuple[str, ...] = ()  # for a run that has something to do when the first is there; empty: it begins with none


COMMANDS = {
    "renas": Command([*TABLE, *BOOSTED], "", ("--seeds", "3")),
    "compare": Command([*TABLE, "--strategies", "random", "--budget", "2", "--jobs", "1"], "", ("--seeds", "3")),
    "search": Command(["--cfg", "c.yaml"], "run", ("SEEDS", "3")),
    "rank": Command(["--cfg", "c.yaml", "--rank", "4", "--evaluators", "params"], "run_rank", ("SEEDS", "3")),
    "teacher": Command(["--dataset", "few", "--data_path", "few.npz", "--epochs", "2", "--device", "cpu"], "t.pt"),
    "retrain": Command(["--cfg", "r.yaml", "--genotype", GENOTYPE], "run"),
}
FIRST = {"compare": ["--seeds", "1"]}
PROGRAMS = {"search": "rminas", "rank": "rminas"}
every = pytest.mark.parametrize("name", COMMANDS)


@pytest.fixture(autouse=True)
def _quiet(one_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs in the working folder, and no plots, which take most of the time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "write_plots", lambda *_: None)
    monkeypatch.setattr(retrain, "write_curve", lambda *_: None)
    (tmp_path / "table.csv").write_text(h.CSV)
    SMALL(tmp_path / "c.yaml")
    RETRAINED(tmp_path / "r.yaml")
    write_images(tmp_path / "few.npz")


def run(
    name: str, out: str | Path, more: bool = False, within: Callable[[], Any] = contextlib.nullcontext
) -> h.Refused:
    """What a command says that writes into `out`. more: what it does when it is there already."""
    command = COMMANDS[name]
    prog, main = h.COMMANDS[PROGRAMS.get(name, name)]
    told = Path(out) / command.place if name == "teacher" else out

    def inside(words: list[str]) -> None:
        with within():
            main(words)

    return h.run(prog, inside, [*command.words, "--out", told, *(command.more if more else FIRST.get(name, []))])


def records(out: str | Path, name: str) -> list[str]:
    """Whole lines; none of a command that keeps no such records."""
    file = Path(out) / ("" if name == "teacher" else COMMANDS[name].place) / "evaluations.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [line for line in lines if line.endswith("\n")]


def begun(name: str, out: str) -> list[str]:
    """A first piece of a run, where a command works in pieces; its records."""
    if COMMANDS[name].more:
        assert run(name, out).code == 0
    return records(out, name)


def goes_on(name: str, out: str) -> None:
    """Given again, it ends as if there had been no fault."""
    had = records(out, name)
    assert run(name, out, more=True).code == 0
    assert records(out, name)[: len(had)] == had
    Path(out).rename("first")
    begun(name, out)
    assert run(name, out, more=True).code == 0
    there, here = contents(Path(out)), contents(Path("first"))
    assert there.keys() == here.keys()
    changed = [file for file in there if there[file] != here[file]]
    assert [file for file in changed if not file.endswith((".pdf", ".png", ".svg"))] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda: limit(resource.RLIMIT_FSIZE, 300), "File too large"),
        (lambda: few_handles(0), "Too many open files"),
    ],
    ids=["no room", "no handles"],
)
@every
def test_what_cannot_be_written(name: str, fault: Any, said: str):
    had = begun(name, "out")
    is_one_line(run(name, "out", more=True, within=fault), said)
    assert records("out", name)[: len(had)] == had
    assert not list(Path().rglob("*.part"))
    goes_on(name, "out")


@every
def test_a_full_disk(tmp_path: Path, name: str):
    with small_disk(tmp_path / "disk", 2) as disk:
        is_one_line(run(name, disk / "out"), "No space left on device")
        assert not list(disk.rglob("*.part"))


@every
def test_a_disk_that_may_only_be_read(tmp_path: Path, name: str):
    with small_disk(tmp_path / "out") as disk:
        had = begun(name, "out")
        h.make_read_only(disk)
        is_one_line(run(name, "out", more=True), "Read-only file system")
        assert records("out", name) == had


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "teacher"])  # in test_disk.py
def test_another_has_the_folder(tmp_path: Path, name: str):
    """A second writer is told who has it, and writes nothing."""
    had = begun(name, "out")
    place = tmp_path / "out" / COMMANDS[name].place
    place.mkdir(parents=True, exist_ok=True)
    code = "import sys; from pathlib import Path; from common.runs.lock import lock_folder\n"
    code += "lock = lock_folder(Path(sys.argv[1]), '--out'); print('has it', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, str(place)]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "has it\n"
        is_one_line(run(name, "out", more=True), f"is in use by process {other.pid}")
        assert records("out", name) == had
        other.kill()
    assert run(name, "out", more=True).code == 0


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("name", ["compare", "search", "rank", "retrain"])  # renas: in test_disk.py
def test_a_folder_that_is_moved_meanwhile(monkeypatch: pytest.MonkeyPatch, name: str, replaced: bool):
    place, moved = Path("out") / COMMANDS[name].place, []
    check_place, count = RunFolder.check_place, []

    def moving(folder: RunFolder) -> None:
        count.append(1)
        if len(count) == 2:
            place.rename("moved")
            moved.append(1)
            if replaced:
                place.mkdir(parents=True)
        check_place(folder)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "check_place", moving)
        is_one_line(run(name, "out", more=True), "was moved or replaced while it was in use")
    assert moved
    assert not place.exists() or not list(place.iterdir())  # nothing is begun in its place
    if place.exists():
        place.rmdir()
    Path("moved").rename(place)
    assert run(name, "out", more=True).code == 0


@pytest.mark.parametrize("kind", ["fifo", "endless", "loop", "a file"])
@every
def test_an_output_that_is_none(tmp_path: Path, name: str, kind: str):
    """Where a folder should be made, or the teacher's file: nothing is waited for, nothing replaced."""
    place = tmp_path / "out" / COMMANDS[name].place
    place.parent.mkdir(parents=True, exist_ok=True)
    {**h.NOT_REGULAR, "a file": h.text("mine")}[kind](place)
    refused = run(name, "out")
    assert refused.code == 2, refused
    assert refused.err.count("\n") == 1
    assert place.is_symlink() == (kind in ("endless", "loop"))
    if kind == "a file":
        assert place.read_text() == "mine"
