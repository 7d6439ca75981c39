"""Evaluating RMI-NAS candidates, one at a time against the engines: evaluations a second, memory, and where time goes.

Images and teacher are made, candidates are random NAS-Bench-201 cells: nothing has to be at hand. Ends with a line
`ratio X.X`: evaluations a second of the engine that a search would use on this device over one at a time.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.cli import OneLineParser, run_command
from common.devices import DEVICES, device_title, pick_device

PROG = "python scripts/bench_rminas.py"
FAST = Path(__file__).resolve().parent.parent / "configs" / "nb201_cifar10_fast.yaml"
POPULATIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
UPDATES = 150  # of a published evaluation
EVALUATIONS = 300  # about those of a published search


@dataclass(frozen=True)
class Rate:
    """What one way of evaluating costs: seconds a candidate needs to be ready and for one update, and peak memory."""

    name: str
    width: int
    ready_s: float
    update_s: float
    memory_gib: float

    @property
    def per_second(self) -> float:
        """Evaluations of UPDATES updates."""
        return 1 / (self.ready_s + UPDATES * self.update_s)


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    add = parser.add_argument
    add("--device", choices=DEVICES, default="auto", help="where to compute")
    add("--quick", action="store_true", help="a few updates of few candidates: under a minute on 2 cores")
    add("--image_size", type=int, default=32, help="pixels along a side")
    add("--batch_size", type=int, default=32, help="images in the batch")
    add("--updates", type=int, default=12, help="updates that are timed")
    add(
        "--populations",
        type=int,
        nargs="+",
        metavar="K",
        help="candidates fused; default: 1 to 256 on a GPU, to 8 else",
    )
    add("--search", action="store_true", help="also a whole search with each way (RF_WARMUP 100, RF_SUCC 100)")
    add("--out", type=Path, metavar="FOLDER", help="write bench_rminas_<device>.md and .png here")
    args = parser.parse_args()

    import torch

    device = pick_device(args.device)
    gpu = device.type == "cuda"
    updates = 3 if args.quick else args.updates
    populations = args.populations or ([32] if args.quick and gpu else [2] if args.quick else
                                       POPULATIONS if gpu else POPULATIONS[:4])  # fmt: skip
    evaluator = _evaluator(device, args.image_size, args.batch_size)
    cells = _cells(evaluator.space, max(*populations, 4 if args.quick else 16))
    some = cells[: 4 if args.quick else 16]

    rates = [_one(evaluator, some, updates)]
    if not gpu:
        rates += [_workers(evaluator, some, updates)]
    rates += [rate for width in populations if (rate := _fused(evaluator, cells[:width], updates)) is not None]
    used = "fused" if gpu else "workers"  # what RMINAS.ENGINE auto takes
    chosen = max((rate for rate in rates if rate.name == used), key=lambda rate: rate.per_second)
    lines = [*_table(rates), "", *_floor(evaluator, some, chosen), ""]
    width = max(r.width for r in rates if r.name == "fused")
    lines += _parts(evaluator, cells[:width])
    if args.search:
        lines += ["", *_searches(evaluator)]
    title = device_title(device)
    made = (
        f"Made by `{PROG}`{' --quick' if args.quick else ''} on {title}, torch {torch.__version__}: batches of "
        f"{args.batch_size} images of {args.image_size} px, {updates} updates timed."
    )
    print("\n".join(lines))
    print(f"\n{made}")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        text = "\n".join(["# RMI-NAS candidates: one at a time against the engines", "", *lines, "", made, ""])
        (args.out / f"bench_rminas_{device.type}.md").write_text(text)
        _plot(rates, title, args.out / f"bench_rminas_{device.type}.png")
    print(f"{chosen.name} ({chosen.width} at once) over one at a time, evaluations a second:")
    print(f"ratio {chosen.per_second / rates[0].per_second:.1f}")


def _evaluator(device: Any, side: int, batch: int) -> Any:
    import torch

    from common.networks.teachers import build_teacher
    from common.spaces import Skeleton, search_space
    from common.training.population import CandidateSettings
    from rminas.evaluator import Evaluator
    from rminas.objective import Objective

    torch.manual_seed(0)
    x, y = torch.randn(batch, 3, side, side).to(device), torch.randint(10, (batch,)).to(device)
    with torch.no_grad():
        taps = build_teacher("resnet20", 10).to(device).forward_taps(x)[1]
    settings = CandidateSettings(UPDATES, lr=0.1, channels_last=True)
    return Evaluator(search_space("nasbench201", Skeleton(10, side)), 0, x, Objective.of(taps, y), settings)


def _cells(space: Any, count: int) -> list[Any]:
    drawn = space.sample_distinct(count + 20, np.random.default_rng(0))
    return [cell for cell in drawn if space.reaches_output(cell)][:count]


def _timed(
    evaluator: Any, archs: Sequence[Any], updates: int, run: Callable[..., Iterator[Any]]
) -> tuple[float, float]:
    """Seconds a candidate, to be ready (what is done once) and for one update: from runs of two lengths."""
    seconds = []
    for count in (1, 1 + updates):
        task = replace(evaluator, settings=replace(evaluator.settings, steps=count))
        started = time.perf_counter()
        list(run(task, archs, ()))
        seconds.append((time.perf_counter() - started) / len(archs))
    update = max(1e-9, (seconds[1] - seconds[0]) / updates)
    return max(0.0, seconds[0] - 1.5 * update), update  # a run of one update makes one update and a forward pass more


def _one(evaluator: Any, archs: Sequence[Any], updates: int) -> Rate:
    from rminas.evaluator import one_by_one

    with _peak(evaluator.x.device) as peak:
        list(one_by_one(replace(evaluator, settings=replace(evaluator.settings, steps=1)), archs[:1], ()))
        ready, update = _timed(evaluator, archs, updates, one_by_one)
    return Rate("one at a time", 1, ready, update, peak())


def _workers(evaluator: Any, archs: Sequence[Any], updates: int) -> Rate:
    from rminas.evaluator import choose_engine

    engine = choose_engine("workers", 0, evaluator, archs[0])
    try:
        short = replace(evaluator, settings=replace(evaluator.settings, steps=1))
        list(engine(short, archs, ()))  # the processes start
        ready, update = _timed(evaluator, archs, updates, engine)
    finally:
        engine.close()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return Rate("workers", engine.width, ready, update, peak * engine.width)


def _fused(evaluator: Any, archs: Sequence[Any], updates: int) -> Rate | None:
    import torch

    from rminas.evaluator import fused

    def run(task: Any, archs: Sequence[Any], bounds: Any) -> Iterator[Any]:
        return fused(task, archs, bounds, width=len(archs))

    with _peak(evaluator.x.device) as peak:
        try:
            if evaluator.x.device.type == "cuda":  # kernels are chosen and loaded
                list(run(replace(evaluator, settings=replace(evaluator.settings, steps=2)), archs, ()))
            ready, update = _timed(evaluator, archs, updates, run)
        except torch.cuda.OutOfMemoryError:
            return None
    return Rate("fused", len(archs), ready, update, peak())


@contextmanager
def _peak(device: Any) -> Iterator[Callable[[], float]]:
    """Peak memory in GiB: of the device on a GPU, else of this process so far."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device) / 2**30
    else:
        yield lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _table(rates: Sequence[Rate]) -> list[str]:
    base = rates[0].per_second
    lines = [
        f"| engine | candidates at once | ready, ms | update, ms | evaluations/s ({UPDATES} updates) | ratio "
        f"| {EVALUATIONS} evaluations, s | peak memory, GiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rate in rates:
        lines.append(
            f"| {rate.name} | {rate.width} | {1e3 * rate.ready_s:.1f} | {1e3 * rate.update_s:.2f} "
            f"| {rate.per_second:.3f} | {rate.per_second / base:.2f} | {EVALUATIONS / rate.per_second:.0f} "
            f"| {rate.memory_gib:.2f} |"
        )
    return [*lines, "", "Milliseconds are a candidate's share. The whole search is reckoned from the rate."]


def _floor(evaluator: Any, archs: Sequence[Any], chosen: Rate) -> list[str]:
    """How far the best way is from what the device could do at most."""
    import torch

    from common.training.tape import record

    device, batch = evaluator.x.device, len(evaluator.x)
    macs = float(evaluator.space.total_costs(evaluator.space.to_codes(archs))[0].mean())
    flops = 3 * 2 * macs * batch  # forward, and twice as much backward
    shape = tuple(evaluator.x.shape)
    values = [
        sum(math.prod(i.shape) for i in record(evaluator.build(arch), shape).instructions.values()) for arch in archs
    ]
    moved = 4 * float(np.mean(values)) * 6  # bytes: each value written and read, forward, backward, and for the weights
    n = 8192 if device.type == "cuda" else 1536
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    rate = 2 * n**3 / _best(lambda: a @ b, device)
    big = torch.ones(2**28 if device.type == "cuda" else 2**25, device=device)
    there = torch.zeros_like(big)  # written before: a first touch would time the system's pages
    bandwidth = 2 * 4 * big.numel() / _best(lambda: there.copy_(big), device)
    return [
        f"An update of a mean candidate is {flops / 1e9:.1f} GFLOP and moves about {moved / 1e9:.2f} GB. Measured: "
        f"{rate / 1e9:.0f} GFLOP/s (float32 matrix product), {bandwidth / 1e9:.0f} GB/s (copy). That is "
        f"{1e3 * flops / rate:.2f} ms of arithmetic and, past the caches, {1e3 * moved / bandwidth:.2f} ms of memory; "
        f"with {chosen.name} it takes {1e3 * chosen.update_s:.2f} ms."
    ]


def _best(run: Callable[[], object], device: Any) -> float:
    import torch

    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _parts(evaluator: Any, archs: Sequence[Any]) -> list[str]:
    """Where the time of a fused population goes."""
    import torch

    from common.training.fused import best_convolution, fuse
    from common.training.tape import record

    device, shape = evaluator.x.device, tuple(evaluator.x.shape)
    seconds: dict[str, float] = {}

    def part(name: str, run: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        made = run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds[name] = time.perf_counter() - started
        return made

    networks = part("build", lambda: [evaluator.build(arch) for arch in archs])
    programs = part("record", lambda: [record(network, shape) for network in networks])
    states = [{p: (p.detach(), None) for p in network.parameters()} for network in networks]
    population = part("fuse", lambda: fuse(programs, states, shape, best_convolution(device)))
    for _ in range(2):  # the second one counts
        outputs = part("forward", lambda: population.forward(evaluator.x))
        losses = part("objective", lambda outputs=outputs: evaluator.objective.each(*outputs))
        population.zero_grad()
        part("backward", losses.sum().backward)
        part("update", lambda: population.sgd_step(0.1, 0.9, 5e-4))
    once = ", ".join(f"{name} {1e3 * seconds[name]:.0f}" for name in ("build", "record", "fuse"))
    each = ", ".join(f"{name} {1e3 * seconds[name]:.1f}" for name in ("forward", "objective", "backward", "update"))
    return [f"{len(archs)} fused candidates, ms: once {once}; each update {each} ({len(population.groups)} groups)."]


def _searches(evaluator: Any) -> list[str]:
    """Whole searches: published, one at a time; raced in rounds with this device's engine; by the fast config too."""
    from rminas.config import Config, read_config
    from rminas.evaluator import choose_engine
    from rminas.search import search

    lines = []
    sample = _cells(evaluator.space, 1)[0]
    published = Config()
    raced = replace(published, rminas=replace(published.rminas, race=1.5, round=32, isomorphic_once=True))
    fast, _ = read_config(FAST, [("RMINAS.ROUND", "32")])
    for title, engine_name, config in (
        ("published", "one", published),
        ("racing, rounds of 32", "auto", raced),
        (f"{FAST.stem} in rounds of 32", "auto", fast),
    ):
        engine = choose_engine(engine_name, 0, evaluator, sample)
        task = replace(evaluator, settings=replace(evaluator.settings, steps=config.rminas.observe))
        started = time.perf_counter()
        try:
            done = search(config, task.space, lambda archs, bounds, e=engine, t=task: e(t, archs, bounds), 0)
        finally:
            engine.close()
        seconds = time.perf_counter() - started
        lines.append(f"Search, {title} ({engine.name}): {seconds:.1f} s, {len(done.evaluations)} evaluations.")
    return lines


def _plot(rates: Sequence[Rate], title: str, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    fused = [rate for rate in rates if rate.name == "fused"]
    axes.plot([rate.width for rate in fused], [rate.per_second for rate in fused], "o-", label="fused")
    for rate, color in zip([rate for rate in rates if rate.name != "fused"], ("black", "tab:green"), strict=False):
        axes.axhline(rate.per_second, color=color, linestyle="--", label=f"{rate.name} ({rate.width})")
    axes.set(xscale="log", yscale="log", xlabel="candidates at once", ylabel="evaluations a second", title=title)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    run_command(PROG, main)
