"""Kills commands with SIGKILL at random moments, starts them again, and compares with a run that nobody killed.

Every trial is one command in an empty folder: killed once, with all its processes or its first one alone, and given
again. Then its files must be those of the uninterrupted run but for times, what was recorded before the kill must still
be there, and neither a process nor a temporary file may be left. `python scripts/kill_trials.py OUT --trials 20` adds
what is missing to OUT/evaluations.jsonl and tells the result; `--publish` writes docs/results/cluster/kills.json from
it (several folders, if commands were tried side by side). POSIX only.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from common.cli import run_command
from common.inputs import read_records
from common.runs import RunFolder, environment, write_atomic
from common.seeds import rng_for

PUBLISHED = Path(__file__).resolve().parents[1] / "docs/results/cluster/kills.json"
TABLE = ["--data_path", "table.csv", "--predictor", "boosting", "--train_num", "20", "boosting.max_iter", "20"]
TINY = """
DEVICE: cpu
DATA: {NAME: few, PATH: few.npz}
TEACHER: {EPOCHS: 1, TEST_IMAGES: 20}
TRAIN: {CHANNELS: 2, BATCH_SIZE: 8}
SPACE: {CELLS_PER_STAGE: 1}
RMINAS: {POPULATION: 2, OBSERVE: 4, RF_WARMUP: 10, RF_SUCC: 3, RF_THRESRATE: 0.3, TOP: 4, FOREST: 5, CANDIDATES: 20,
  POOL: 4}
BENCHMARK: {PATH: table.csv, DATASET: cifar10}
"""
RETRAIN = """
DEVICE: cpu
DATA: {NAME: few, PATH: few.npz}
OPTIM: {MAX_EPOCH: 3}
TRAIN: {CHANNELS: 2, LAYERS: 3, BATCH_SIZE: 16, AUX_WEIGHT: 0, CUTOUT: 2}
"""
GENOTYPE = (
    "Genotype(normal=[('skip_connect', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 1), "
    "('skip_connect', 0), ('skip_connect', 1), ('skip_connect', 0), ('skip_connect', 2)], normal_concat=range(2, 6), "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=range(2, 6))"
)
# Name -> module with `main`, and its words.
COMMANDS: dict[str, tuple[str, list[str]]] = {
    "renas": ("renas.cli", [*TABLE, "--seeds", "4", "--out", "out"]),
    "renas, jobs": ("renas.cli", [*TABLE, "--seeds", "4", "--jobs", "2", "--out", "out"]),
    "compare": (
        "renas.compare",
        ["--data_path", "table.csv", "--strategies", "random,evolution,active", "--budget", "40", "--seeds", "3",
         "--jobs", "1", "--out", "out"],
    ),
    "search": ("rminas.cli", ["--cfg", "tiny.yaml", "EXECUTOR", "serial", "OUT_DIR", "out"]),
    "search, processes": (
        "rminas.cli",
        ["--cfg", "tiny.yaml", "EXECUTOR", "processes", "RMINAS.ROUND", "4", "OUT_DIR", "out"],
    ),
    "rank": ("rminas.cli", ["--cfg", "tiny.yaml", "--rank", "20", "EXECUTOR", "serial", "OUT_DIR", "out"]),
    "teacher": (
        "rminas.teacher",
        ["--dataset", "few", "--data_path", "few.npz", "--epochs", "6", "--device", "cpu",
         "--out", "out/teacher.pt"],
    ),
    "retrain": ("rminas.retrain", ["--cfg", "retrain.yaml", "--genotype", GENOTYPE, "--out", "out"]),
}  # fmt: skip
IMPORTED = (
    "renas.api",
    "renas.plots",
    "rminas.api",
    "rminas.retrain",
    "common.training.retraining",
    "sklearn.ensemble",
)
KEPT = ("evaluations.jsonl",)  # whose lines a later start must not change
LEFT = (".part", ".resume", ".lock")  # what a finished command leaves none of
TIMES = re.compile(r"(_s|seconds|elapsed|environment|path)$")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="+", help="folder of the records; to publish, several")
    parser.add_argument("--publish", action="store_true", help="try nothing: write what is recorded into docs/results")
    parser.add_argument("--trials", type=int, default=20, help="of each command")
    parser.add_argument("--only", action="append", choices=COMMANDS, help="of these commands")
    parser.add_argument(
        "--limit_s", type=float, default=1e9, help="stop after so many seconds; given again, it goes on"
    )
    args = parser.parse_args()
    if args.publish:
        publish(args.out)
        return
    for name in IMPORTED:
        __import__(name)  # once: children are forks of this process
    started = time.monotonic()
    revision = environment("cpu")["revision"]
    with RunFolder.open(args.out[0], {"what": "kill trials"}) as folder:
        done = {(record["command"], record["trial"]) for record in folder.records()}
        for name in args.only or COMMANDS:
            missing = [trial for trial in range(args.trials) if (name, trial) not in done]
            with tempfile.TemporaryDirectory() as place:
                whole = Path(place) / "whole"
                if missing:
                    whole_s = uninterrupted(name, whole)
                for trial in missing:
                    if time.monotonic() - started > args.limit_s:
                        return
                    record = try_once(name, trial, Path(place) / "killed", whole, whole_s)
                    folder.append({"command": name, "trial": trial, "whole_s": whole_s, **record, "revision": revision})
        report(folder.records())


def report(records: list[dict[str, Any]]) -> None:
    for name in COMMANDS:
        own = [record for record in records if record["command"] == name]
        wrong = [f"trial {r['trial']}: {r['wrong']}" for r in own if r["wrong"]]
        killed = sum(record["killed"] for record in own)
        print(f"{name}: {len(own)} trials, {killed} killed before their end, {len(wrong)} wrong", *wrong, sep="\n  ")


def publish(folders: list[Path]) -> None:
    """All trials, one a line. Raises SystemExit for those of a changed tree."""
    records = [record for folder in folders for record in read_records(folder / "evaluations.jsonl")]
    if changed := [r for r in records if not r["revision"] or "+" in r["revision"]]:
        raise SystemExit(f"{len(changed)} trials were made from a tree with changes: commit, and make them again")
    order = [*COMMANDS]
    records.sort(key=lambda record: (order.index(record["command"]), record["trial"]))
    told = [{key: round(v, 3) if isinstance(v, float) else v for key, v in record.items()} for record in records]
    text = "[\n" + ",\n".join(map(json.dumps, told)) + "\n]\n"
    write_atomic(PUBLISHED, lambda file: file.write(text.encode()))
    report(records)


def table() -> str:
    """The published trials, by command."""
    records = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    lines = [
        "| command | seconds without a kill | trials | killed before its end | its first process alone | wrong |",
        "|---|---|---|---|---|---|",
    ]
    for name in (*COMMANDS, "all"):
        own = [r for r in records if name in (r["command"], "all")]
        times = sorted({r["whole_s"] for r in own})
        took = f"{times[0]:.1f}" + (f" to {times[-1]:.1f}" if len(times) > 1 else "")
        counts = (len(own), sum(r["killed"] for r in own), sum(r["killed"] and r["alone"] for r in own))
        wrong = sum(bool(r["wrong"]) for r in own)
        lines.append(f"| {name} | {took} | {' | '.join(map(str, counts))} | {wrong} |")
    revisions = ", ".join(dict.fromkeys(r["revision"] for r in records))
    return "\n".join([*lines, "", f"Revision {revisions}."])


def uninterrupted(name: str, folder: Path) -> float:
    """Runs a command in a new folder; seconds."""
    started = time.monotonic()
    code = wait(start(name, folder), 300)
    if code:
        raise SystemExit(f"{name} ends with {code}: {(folder / 'log').read_text()[-2000:]}")
    return time.monotonic() - started


def try_once(name: str, trial: int, folder: Path, whole: Path, whole_s: float) -> dict[str, Any]:
    """One trial: when it was killed, and what was wrong afterwards; nothing should be."""
    rng = rng_for(trial, f"kill {name}")
    after_s, alone = float(rng.uniform(0, whole_s)), bool(rng.random() < 0.3)
    process = start(name, folder)
    time.sleep(after_s)
    killed = os.waitpid(process, os.WNOHANG)[0] == 0
    if killed:
        os.kill(process, signal.SIGKILL) if alone else os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
    wrong = []
    if left := survivors(process):
        wrong.append(f"processes {left} left after the kill")
    before = {path: lines(path) for path in (folder / "out").rglob("*") if path.name in KEPT}
    second = start(name, folder)
    code = wait(second, 300)
    if code:
        wrong.append(f"started again, it ends with {code}: {(folder / 'log').read_text()[-300:]}")
    if left := survivors(second):
        wrong.append(f"processes {left} left at the end")
    wrong += [f"{path.name} has lost what it had" for path, had in before.items() if lines(path)[: len(had)] != had]
    there, here = contents(whole / "out"), contents(folder / "out")
    wrong += [
        f"{file} is not as it was" for file in sorted(there.keys() | here.keys()) if there.get(file) != here.get(file)
    ]
    wrong += [f"{path.name} is left" for path in folder.rglob("*") if path.name.endswith(LEFT)]
    shutil.rmtree(folder)
    return {"after_s": after_s, "alone": alone, "killed": killed, "wrong": wrong}


# processes -----------------------------------------------------------------------------------------------------------


def start(name: str, folder: Path) -> int:
    """Starts a command in its folder, made if need be, as the leader of a session of its own; its number."""
    if not folder.exists():
        write_inputs(folder)
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    try:
        os.setsid()
        os.chdir(folder)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        module, words = COMMANDS[name]
        command: Callable[[list[str]], None] = __import__(module, fromlist=["main"]).main
        run_command(name, lambda: command(words))
    except SystemExit as ended:
        sys.stdout.flush()
        os._exit(ended.code if isinstance(ended.code, int) else 1)
    finally:
        os._exit(70)


def wait(process: int, seconds: float) -> int:
    """The exit code of a command; it is killed after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return 124


def survivors(session: int, seconds: float = 8.0) -> list[int]:
    """Processes of a session that are there still after some seconds."""
    end = time.monotonic() + seconds
    while left := [p for p in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _session(p) == session]:
        if time.monotonic() > end:
            return left
        time.sleep(0.05)
    return []


def _session(process: int) -> int:
    try:
        state, _, _, session = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return -1
    return -1 if state == "Z" else int(session)


# files ---------------------------------------------------------------------------------------------------------------


def write_inputs(folder: Path) -> None:
    """What the commands read, in a new folder."""
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "retrain.yaml").write_text(RETRAIN)
    write_table(folder / "table.csv")
    write_images(folder / "few.npz")


def write_table(path: Path) -> None:
    from common.spaces import make_space

    space, rng = make_space("nasbench201"), np.random.default_rng(0)
    cells = space.sample_distinct(300, rng)
    accuracy = np.round(60 + 30 * rng.random((300, 2)), 2)
    rows = [f"{space.format(cell)},{valid},{test}\n" for cell, (valid, test) in zip(cells, accuracy, strict=True)]
    path.write_text("arch,cifar10_valid_12,cifar10_test_200\n" + "".join(rows))


def write_images(path: Path) -> None:
    """64 images of digits to train on and 32 to test on."""
    from common.datasets.images import load_images

    digits = load_images("digits")
    few = {"x_train": digits.x_train[:64], "y_train": digits.y_train[:64], "x_test": digits.x_test[:32]}
    np.savez(path, **few, y_test=digits.y_test[:32])


def lines(path: Path) -> list[str]:
    """The whole lines of a file; what was cut off by the kill is none."""
    text = path.read_text() if path.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def contents(folder: Path) -> dict[str, Any]:
    """What is in every file, times left out; records in the order of their text, since several jobs finish in any."""
    return {str(path.relative_to(folder)): content(path) for path in folder.rglob("*") if path.is_file()}


def content(path: Path) -> Any:
    raw = path.read_bytes()
    if path.suffix == ".jsonl":
        return sorted(json.dumps(untimed(json.loads(line))) for line in raw.splitlines())
    if path.suffix == ".json":
        return untimed(json.loads(raw))
    if path.suffix == ".pt":
        import torch

        stored = untimed(torch.load(io.BytesIO(raw), weights_only=True))
        stream = io.BytesIO()
        torch.save(stored, stream)
        return stream.getvalue()
    return re.sub(rb"/CreationDate \([^)]*\)", b"", raw)


def untimed(tree: Any) -> Any:
    """Without times, and what an environment says."""
    if isinstance(tree, dict):
        return {key: untimed(value) for key, value in tree.items() if not (isinstance(key, str) and TIMES.search(key))}
    return [untimed(item) for item in tree] if isinstance(tree, (list, tuple)) else tree


if __name__ == "__main__":
    main()
