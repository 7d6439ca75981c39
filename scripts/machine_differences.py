"""What another machine would change: the commands of the kill trials under settings that stand for other machines.

Every setting is one or several variables of the environment that make torch, oneDNN, MKL or OpenBLAS compute as they do
on another processor, or with other threads. Told is, beside a first run on this machine as it is: the largest relative
difference of the numbers that were recorded (times left out), whether the same was found or ended in the same accuracy.

    python scripts/machine_differences.py measure OUT   (adds what is missing; some 5 minutes in all)
    python scripts/machine_differences.py publish OUT   (docs/results/cluster/machines.json)
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from kill_trials import COMMANDS, TABLE, untimed, write_inputs
from publish_results import without_machine_paths

from common.inputs import read_json, read_records
from common.runs import RunFolder, environment, write_json

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "docs" / "results" / "cluster" / "machines.json"
AS_IT_IS = "this machine, again"
SETTINGS: dict[str, dict[str, str]] = {
    AS_IT_IS: {},
    "another order of Python's sets": {"PYTHONHASHSEED": "7"},
    "two threads": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    "torch without AVX-512": {"ATEN_CPU_CAPABILITY": "avx2"},
    "torch without AVX2": {"ATEN_CPU_CAPABILITY": "default"},
    "oneDNN without AVX-512": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "oneDNN without AVX": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "MKL without AVX-512": {"MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "OpenBLAS for Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "all of a processor of 2013": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4",
    },
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
WORKS: dict[str, tuple[str, list[str]]] = {
    "renas, boosting": ("renas", [*TABLE, "--seeds", "2", "--out", "out"]),
    "renas, LeNet": (
        "renas",
        ["--data_path", "table.csv", "--train_num", "20", "--num_epochs", "20", "--seeds", "2", "--out", "out"],
    ),
    "search": ("rminas", COMMANDS["search"][1]),
    "rank": ("rminas", COMMANDS["rank"][1]),
    "teacher": ("rminas.teacher", COMMANDS["teacher"][1]),
    "retrain": ("rminas.retrain", COMMANDS["retrain"][1]),
}
NO_RESULTS = {"sha256", "device"}  # of files whose tensors are compared; how many threads there were
SUMMARY, SAID = "summary.json", "said"
ENDS, FOUND = (SUMMARY, SAID), ("arch", "found", "final", SAID)  # what a user takes from a run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("measure", "publish"))
    parser.add_argument("out", type=Path, help="folder of the records")
    parser.add_argument("--limit_s", type=float, default=math.inf, help="stop after so many seconds, to be given again")
    args = parser.parse_args()
    with RunFolder.open(args.out, {"what": "machine differences"}) as folder:
        if args.verb == "measure":
            measure(folder, time.monotonic() + args.limit_s)
        else:
            write_json(PUBLISHED, without_machine_paths(summary(folder.records())))


def measure(folder: RunFolder, end: float) -> None:
    done = {(record["work"], record["setting"]) for record in folder.records()}
    about = environment("cpu")
    for work in WORKS:
        missing = [setting for setting in SETTINGS if (work, setting) not in done]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as place:
            first = run(work, Path(place) / "first", {})
            for number, setting in enumerate(missing):
                if time.monotonic() > end:
                    return
                other = run(work, Path(place) / str(number), SETTINGS[setting])
                folder.append({"work": work, "setting": setting, **difference(first, other), "environment": about})


def run(work: str, folder: Path, setting: dict[str, str]) -> dict[str, Any]:
    """What a command leaves that numbers are in: its records and its summary by their files, times left out."""
    write_inputs(folder)
    module, words = WORKS[work]
    environ = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT), **setting}
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"{work}, {setting}: {done.stderr[-2000:]}")
    found: dict[str, Any] = {SAID: done.stdout.splitlines()[-1] if work == "teacher" else ""}
    for file in sorted((folder / "out").rglob("*")):
        if file.suffix == ".jsonl":
            found[file.name] = untimed([*read_records(file)])
        elif file.name == SUMMARY:
            found[file.name] = {**untimed(read_json(file)), "settings": None}
        elif file.suffix == ".pt":
            found[file.name] = weights(file)
    return found


def weights(file: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint."""
    import torch

    stored = torch.load(file, weights_only=True)
    return {str(place): leaf.double().numpy() for place, leaf in leaves_of(stored) if isinstance(leaf, torch.Tensor)}


def difference(first: Any, other: Any) -> dict[str, Any]:
    """same: everything. relative: the largest difference of two numbers at one place beside the larger of them, of two
    tensors beside their largest number; None where other things than numbers differ (other architectures were looked
    at). found_same: what a summary says was found, and how good.
    """
    ours, theirs = dict(leaves_of(first)), dict(leaves_of(other))
    largest, comparable = 0.0, ours.keys() == theirs.keys()
    for place in ours.keys() & theirs.keys():
        a, b = ours[place], theirs[place]
        if isinstance(a, (float, np.ndarray)) and not np.array_equal(a, b, equal_nan=True):
            largest = max(largest, float(np.max(np.abs(a - b)) / max(np.max(np.abs(a)), np.max(np.abs(b)))))
        elif not isinstance(a, (float, np.ndarray)) and a != b:
            comparable = False
    kept = [{p: leaf for p, leaf in tree.items() if p[0] in ENDS and {*p} & {*FOUND}} for tree in (ours, theirs)]
    same = comparable and not largest
    return {"same": same, "relative": largest if comparable else None, "found_same": kept[0] == kept[1]}


def leaves_of(tree: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Places in nested dictionaries and lists, and what stands there; without what is no result."""
    if isinstance(tree, (dict, list, tuple)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves_of(value, (*place, key))
    elif not {*place} & NO_RESULTS:
        yield place, tree


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """What is published: the commands that have been tried under every setting. Raises SystemExit where none has."""
    found = {work: {r["setting"]: r for r in records if r["work"] == work} for work in WORKS}
    whole = [work for work in WORKS if found[work].keys() == SETTINGS.keys()]
    if missing := [work for work in WORKS if work not in whole]:
        print(f"left out, for not all is measured yet: {', '.join(missing)}")
    if not whole:
        raise SystemExit("nothing to publish")
    kept = ("same", "relative", "found_same")
    return {
        "settings": SETTINGS,
        "works": {w: {s: {k: found[w][s][k] for k in kept} for s in SETTINGS} for w in whole},
        "environment": records[-1]["environment"],
        "revisions": sorted({record["environment"]["revision"] for record in records}),
    }


def table() -> str:
    """The published differences."""
    made = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    lines = [f"| | {' | '.join(made['works'])} |", "|---" * (1 + len(made["works"])) + "|"]
    for setting in made["settings"]:
        cells = (_cell(work[setting]) for work in made["works"].values())
        lines.append(f"| {setting} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(found: dict[str, Any]) -> str:
    if found["same"]:
        return "same"
    digits = "other way" if found["relative"] is None else f"{found['relative']:.0e}"
    return digits + ("" if found["found_same"] else ", **found other**")


if __name__ == "__main__":
    main()
