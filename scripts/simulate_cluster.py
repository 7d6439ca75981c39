"""How long searches would take on many workers, from measured times of their tasks: where rounds and the driver limit.

Simulated: tasks of a round start when a worker is free, a round begins when all of the one before are back, and the
driver, one process, spends its measured cost on every task. Task times are those of committed runs on one core.

    python scripts/simulate_cluster.py measure OUT/driver.json   (starts a Ray of this machine; some 20 s)
    python scripts/simulate_cluster.py simulate OUT/driver.json OUT/simulation.json
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from study_scores import OURS

from common.execution import EXECUTORS, Resources
from common.inputs import read_json
from common.runs import RunFolder, environment, write_json
from common.seeds import rng_for

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
WORKERS = (1, 10, 100, 1000)
TASKS, REPEATS = 200, 5  # of the measurement
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    add = verbs.add_parser("measure", help="what the driver spends on a task that does nothing")
    add.add_argument("out", type=Path)
    add.set_defaults(do=lambda args: write_json(args.out, measure()))
    add = verbs.add_parser("simulate", help="searches on 1 to 1,000 workers")
    add.add_argument("driver", type=Path)
    add.add_argument("out", type=Path)
    add.set_defaults(do=lambda args: write_json(args.out, simulate_all(read_json(args.driver))))
    args = parser.parse_args()
    args.do(args)


# the driver ----------------------------------------------------------------------------------------------------------


def nothing(shared: None, item: int) -> int:
    return item


def measure() -> dict[str, Any]:
    """Milliseconds of the driver's own processor time, and of the clock, for a task; and for a record on disk."""
    found: dict[str, list[float]] = {"ray_cpu_ms": [], "ray_wall_ms": [], "record_ms": []}
    with EXECUTORS.load("ray").of(Resources(jobs=2)) as executor:
        list(executor.map(nothing, None, [*range(8)]))  # workers start
        for _ in range(REPEATS):
            cpu, wall = time.process_time(), time.perf_counter()
            list(executor.map(nothing, None, [*range(TASKS)]))
            found["ray_cpu_ms"].append(1000 * (time.process_time() - cpu) / TASKS)
            found["ray_wall_ms"].append(1000 * (time.perf_counter() - wall) / TASKS)
    record = {"seed": 0, "index": 0, "arch": "x" * 80, "value": -1.0, "trajectory": np.linspace(-9, -1, 151)}
    with tempfile.TemporaryDirectory() as place, RunFolder.open(Path(place) / "run", {}) as folder:
        for _ in range(REPEATS):
            wall = time.perf_counter()
            for _ in range(TASKS):
                folder.append(record)
            found["record_ms"].append(1000 * (time.perf_counter() - wall) / TASKS)
    means = {name: [float(np.mean(v)), float(np.std(v, ddof=1)), len(v)] for name, v in found.items()}
    return {"mean, deviation, n": means, "tasks": TASKS, "environment": environment("cpu")}


# searches ------------------------------------------------------------------------------------------------------------


def searches() -> Iterator[tuple[str, list[np.ndarray], float]]:
    """Name, seconds of the tasks of every round, and seconds of the driver before a round."""
    run = read_json(RESULTS / "rminas" / "search_nb201_60updates.json")["runs"][0]
    count = run["evaluations"] - run["without_training"]
    each, propose = (run["search_s"] - run["propose_s"]) / count, run["propose_s"] / (count - 100)
    for size in (1, 8, 64):
        sizes = [100, *([size] * -(-(count - 100) // size))]
        yield f"RMI-NAS, 60 updates, rounds of {size}", [np.full(n, each) for n in sizes], propose
    yield "RMI-NAS, 60 updates, ranking of 300", [np.full(300, each)], 0.0
    lines = (RESULTS / "scores" / "nb201" / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    # Not those of a training, or of `combined` and what else came later by itself.
    seconds = np.array([record["cpu_s"] for record in records if {*record["scores"]} - {*OURS}])
    drawn = rng_for(SEED, "screening").choice(seconds, 4000)
    yield "all training-free scores of 4,000", [drawn], 0.0
    members = read_json(RESULTS / "search" / "nasbench201_cifar10_q150.json")["members"].values()
    rows = np.concatenate([np.full(member["n"], member["seconds"]) for member in members])
    yield f"comparison, {len(rows)} searches in a table", [rows], 0.0


def simulate_all(driver: dict[str, Any]) -> dict[str, Any]:
    means = driver["mean, deviation, n"]
    each = (means["ray_cpu_ms"][0] + means["record_ms"][0]) / 1000
    rows = []
    for name, rounds, propose in searches():
        for workers in WORKERS:
            rows.append({"search": name, "workers": workers, **simulate(rounds, propose, workers, each)})
    return {"driver_s_per_task": each, "driver": driver, "rows": rows, "environment": environment("cpu")}


def table() -> str:
    """The committed simulation: how long every search takes, and how many times less than on one worker."""
    rows = read_json(RESULTS / "cluster" / "simulation.json")["rows"]
    lines = ["| workers | " + " | ".join(f"{w:,}" for w in WORKERS) + " |", "|---" * (len(WORKERS) + 1) + "|"]
    for name in dict.fromkeys(row["search"] for row in rows):
        times = [row["seconds"] for row in rows if row["search"] == name]
        gains = ["", *(f" ({gain:.{int(gain < 2)}f}x)" for gain in times[0] / np.array(times[1:]))]
        lines.append(f"| {name} | " + " | ".join(_told(t) + gain for t, gain in zip(times, gains, strict=True)) + " |")
    return "\n".join(lines)


def simulate(rounds: Sequence[np.ndarray], propose: float, workers: int, driver: float) -> dict[str, float]:
    """Seconds of a search; the shares of them in which the driver is busy, and workers are, on average.

    Half of the driver's cost is spent before a task starts and half after it has ended, one task at a time.
    """
    clock, busy, work = 0.0, 0.0, 0.0
    for tasks in rounds:
        clock += propose
        busy += propose + driver * len(tasks)
        ends: list[float] = []  # of what is running
        for seconds in tasks:
            if len(ends) == workers:  # the next to be free: its result is taken before it gets another task
                clock = max(clock, heapq.heappop(ends)) + driver / 2
            clock += driver / 2
            heapq.heappush(ends, clock + seconds)
        while ends:
            clock = max(clock, heapq.heappop(ends)) + driver / 2
        work += float(tasks.sum())
    return {"seconds": clock, "driver_busy": busy / clock, "workers_busy": work / (clock * workers)}


def _told(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds:.0f} s"


if __name__ == "__main__":
    main()
