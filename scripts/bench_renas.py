"""ReNAS over a whole space, ours against the straightforward way: wall time, peak memory and their ratios, in one run.

Both ways run as processes of their own on the same shards and machine: ours, the straightforward way, ours again, so
that a machine that changes its speed meanwhile favours neither. Each finds the files in the page cache, which the
memory that the straightforward way takes would otherwise push out for the run after it. Then both are held against each
other on the same weights and the same batches.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.cli import OneLineParser, run_command
from common.errors import InputError

PROG = "python scripts/bench_renas.py"
HERE = Path(__file__).resolve().parent
# What the straightforward way holds per row at its peak: raw and standardised float64 tensors and the float32 list.
BYTES_PER_ROW = 931 * (8 + 8 + 4) + 2_500


class Cost(NamedTuple):
    """Wall seconds and peak memory (GiB) of one process, and its stages in seconds."""

    wall_s: float
    peak_gib: float
    stages: dict[str, float]


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("--data_path", type=Path, required=True, help="folder of the demo's shards")
    parser.add_argument("--shards", type=int, help="shards for the straightforward way; default: all that memory holds")
    parser.add_argument("--table", type=Path, help="write the result as Markdown into this file too")
    args = parser.parse_args()
    shards = sorted(args.data_path.glob("data_*.npy"))
    if not shards:
        raise InputError(f"{args.data_path}: no data_*.npy in it; make them with scripts/encode_nasbench101.py")

    if args.shards is not None and args.shards < 1:
        raise InputError(f"--shards {args.shards}: give 1 or more")
    if args.table and not args.table.parent.is_dir():
        raise InputError(f"{args.table}: there is no folder {args.table.parent}")

    import torch

    from common.benchmarks import load_benchmark
    from common.runs.folder import environment

    rows = len(load_benchmark(args.data_path))
    slow_shards = min(args.shards or len(shards), len(shards), _shards_that_fit())
    _read_once(shards)
    before = _run_ours(args.data_path)
    # The training set stays that of the whole space, so that only what grows with the rows is scaled.
    slow_rows = min(rows, slow_shards * 10_000)
    ratio = 0.001 * rows / slow_rows
    _read_once(shards)
    slow = _run([str(HERE / "straightforward_renas.py"), "--data_path", str(args.data_path), "--shards",
                 str(slow_shards), "--train_ratio", str(ratio)])  # fmt: skip
    _read_once(shards)
    ours = [before, _run_ours(args.data_path)]
    text = _report(rows, slow_rows, ours, slow, _floor(rows), _parity(args.data_path))
    env = environment("cpu")
    text += f"\nMade by `{PROG}`; revision {env['revision']}, torch {env['torch']}, {os.cpu_count()} cores, "
    text += f"{torch.get_num_threads()} threads, {_cpu_name()}.\n"
    print(text)
    if args.table:
        args.table.write_text(f"# ReNAS over {rows:,} cells, ours against the straightforward way\n\n{text}")


def _shards_that_fit() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    return max(1, int(0.9 * available * 1024 / BYTES_PER_ROW / 10_000))


def _read_once(paths: list[Path]) -> None:
    """Brings files into the page cache."""
    buffer = bytearray(2**24)
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def _run_ours(data_path: Path) -> Cost:
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "run"
        cost = _run(["-m", "renas", "--data_path", str(data_path), "--train_ratio", "0.001", "--protocol", "demo",
                     "--out", str(out)])  # fmt: skip
        run = json.loads((out / "summary.json").read_text())["runs"][0]
    return cost._replace(stages={"train_s": run["train_s"], "score_s": run["score_s"]})


def _run(arguments: list[str]) -> Cost:
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InputError(f"{' '.join(arguments)} ended with {process.returncode}")
    last = output.strip().splitlines()[-1]
    return Cost(wall, usage.ru_maxrss / 2**20, json.loads(last) if last.startswith("{") else {})


def _floor(rows: int) -> dict[str, float]:
    """Seconds that the network as published takes over `rows` at the measured rate of a large matrix product."""
    import torch

    flops = 2 * (49 * 9 * (19 * 38 + 38 * 128) + 6272 * 120 + 120 * 84 + 84)
    a, b = torch.randn(2, 2048, 2048)
    rates = []
    for _ in range(10):
        started = time.perf_counter()
        a @ b
        rates.append(2 * 2048**3 / (time.perf_counter() - started))
    rate = float(np.median(rates[2:]))
    return {"gflops": rate / 1e9, "network_s": flops * rows / rate}


def _parity(data_path: Path) -> dict[str, Any]:
    """Both ways on the same 10,000 rows, weights and batches."""
    import straightforward_renas as straightforward

    from common.benchmarks import load_benchmark
    from common.seeds import torch_seeded
    from renas.lenet import LeNet
    from renas.predictor import LeNetPredictor
    from renas.settings import LeNetSettings

    epochs = 200
    table = load_benchmark(data_path)
    assert table.prepared is not None
    data, labels = straightforward.load(data_path, 1)
    trained = np.random.default_rng(1).choice(len(data), size=423, replace=False)
    predictor = LeNetPredictor(LeNetSettings(num_epochs=epochs))
    predictor.device = "cpu"
    predictor.fit(data[trained], labels[trained], np.random.default_rng(2))
    rng = np.random.default_rng(2)  # the same draws: weights, then one order an epoch
    with torch_seeded(rng):
        network = LeNet(19, 7)
    samples = straightforward.prepare(data, labels, trained)
    orders = [rng.permutation(len(trained)) for _ in range(epochs)]
    slow_history = straightforward.train(network, [samples[row] for row in trained], orders, 1024)
    losses = np.array([predictor.curve.loss, [loss for loss, _ in slow_history]])
    gaps = np.abs(losses[0] - losses[1]) / losses[1]
    score = predictor.score(table.head(len(data)).prepared)  # type: ignore[arg-type]
    same_weights = straightforward.score(predictor.network, samples, 1024)
    return {
        "score_difference": float(np.abs(score - same_weights).max()),
        "score_std": float(score.std()),
        "loss_gap": {epoch: float(gaps[epoch - 1]) for epoch in (1, 2, 5, 10, 50, epochs)},
    }


def _report(
    rows: int, slow_rows: int, both: list[Cost], slow: Cost, floor: dict[str, float], parity: dict[str, Any]
) -> str:
    scale = rows / slow_rows
    scaled = {key: value * (1 if key == "train_s" else scale) for key, value in slow.stages.items()}
    start_s = slow.wall_s - sum(slow.stages[key] for key in ("load_s", "train_s", "score_s"))
    slow_wall = start_s + sum(scaled[key] for key in ("load_s", "train_s", "score_s"))
    slow_peak = slow.peak_gib * scale
    ours = Cost(
        float(np.mean([cost.wall_s for cost in both])),
        max(cost.peak_gib for cost in both),
        {key: float(np.mean([cost.stages[key] for cost in both])) for key in ("train_s", "score_s")},
    )
    score_s = ours.stages["score_s"]
    rest = ours.wall_s - ours.stages["train_s"] - ours.stages["score_s"]
    how = "measured on all rows" if slow_rows == rows else (
        f"measured on {slow_rows:,} rows; loading, scoring and memory scaled by {scale:.2f}, training as measured"
    )  # fmt: skip
    lines = [
        f"Straightforward way: {how}. Ours: mean of two runs, before and after it, of "
        + " and ".join(f"{cost.wall_s:.1f} s" for cost in both)
        + ".",
        "",
        "| | straightforward | ours | ratio |",
        "|---|---|---|---|",
        f"| start, load and prepare, s | {start_s + scaled['load_s']:.1f} | {rest:.1f} (with plots) | |",
        f"| train, s | {scaled['train_s']:.1f} | {ours.stages['train_s']:.1f} "
        f"| {scaled['train_s'] / ours.stages['train_s']:.1f} |",
        f"| score {rows:,} cells, s | {scaled['score_s']:.1f} | {ours.stages['score_s']:.1f} "
        f"| {scaled['score_s'] / ours.stages['score_s']:.1f} |",
        f"| whole process, s | {slow_wall:.1f} | {ours.wall_s:.1f} | {slow_wall / ours.wall_s:.1f} |",
        f"| peak memory, GiB | {slow_peak:.2f} | {ours.peak_gib:.2f} | {slow_peak / ours.peak_gib:.1f} |",
        "",
        f"Floor of scoring at this machine's matrix-product rate of {floor['gflops']:.0f} GFLOP/s: "
        f"{floor['network_s']:.1f} s for the network as published. Scoring, with reading the shards, takes "
        f"{score_s / floor['network_s']:.2f} times that: it computes distinct neighbourhoods of the tensors once.",
        "",
        f"On the same weights the scores differ by at most {parity['score_difference']:.1e} (their standard deviation "
        f"is {parity['score_std']:.2f}). With the same initial weights and batches the training losses differ, "
        "relatively, by "
        + ", ".join(f"{gap:.0e} in epoch {epoch}" for epoch, gap in parity["loss_gap"].items())
        + ": rounding, which training amplifies.",
        "",
    ]
    return "\n".join(lines)


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


if __name__ == "__main__":
    run_command(PROG, main)
