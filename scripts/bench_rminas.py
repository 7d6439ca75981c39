"""Evaluating RMI-NAS candidates, one at a time against the executors: evaluations a second, memory, where time goes.

Images and teacher are made, candidates are random NAS-Bench-201 cells: nothing has to be at hand. All ways are measured
in turn, several times over, so that a machine that is slower for a while is slower for all of them; told are medians,
least and most. Ends with a line `ratio X.X`: evaluations a second of the executor that a search would use on this
device over one at a time, the median of the repetitions' own ratios. Where these differ more among each other than
their median does from 1, there is no such line.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.cli import OneLineParser, run_command
from common.devices import DEVICES, device_title, pick_device

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

    from common.execution import Executor
    from common.spaces import SearchSpace
    from rminas.rmi import RmiEvaluator

PROG = "python scripts/bench_rminas.py"
FAST = "nb201_cifar10_fast"
POPULATIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
UPDATES = 150  # of a published evaluation
EVALUATIONS = 300  # about those of a published search


@dataclass
class Way:
    """A way of evaluating candidates, and what it has cost in every repetition.

    ready_s, update_s: seconds a candidate needs to be ready and for one update.
    """

    name: str
    width: int
    executor: Executor
    evaluator: RmiEvaluator
    archs: Sequence[Any]
    ready_s: list[float] = field(default_factory=list)
    update_s: list[float] = field(default_factory=list)
    memory_gib: float = math.nan

    @property
    def rates(self) -> np.ndarray:
        """Evaluations of UPDATES updates a second, by repetition."""
        return 1 / (np.array(self.ready_s) + UPDATES * np.array(self.update_s))

    def measure(self, updates: int) -> None:
        """One repetition: from runs of two lengths."""
        seconds = []
        for count in (1, 1 + updates):
            started = time.perf_counter()
            self.run(count)
            seconds.append((time.perf_counter() - started) / len(self.archs))
        update = max(1e-9, (seconds[1] - seconds[0]) / updates)
        self.update_s.append(update)
        # A run of one update makes one update and a forward pass more.
        self.ready_s.append(max(0.0, seconds[0] - 1.5 * update))

    def run(self, updates: int) -> None:
        from common.evaluators import Request

        evaluator = replace(self.evaluator, training=replace(self.evaluator.training, steps=updates))
        list(self.executor.run(evaluator, [Request(arch) for arch in self.archs]))


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    add = parser.add_argument
    add("--device", choices=DEVICES, default="auto", help="where to compute")
    add("--quick", action="store_true", help="a few updates of few candidates: a minute on 2 cores")
    add("--image_size", type=int, default=32, help="pixels along a side")
    add("--batch_size", type=int, default=32, help="images in the batch")
    add("--updates", type=int, default=12, help="updates that are timed")
    add("--repeat", type=int, default=5, metavar="N", help="times that everything is measured")
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

    from common.drawing import write_figure
    from common.execution.processes import Processes
    from common.runs import environment

    device = pick_device(args.device)
    gpu = device.type == "cuda"
    updates = 3 if args.quick else args.updates
    populations = args.populations or ([32] if args.quick and gpu else [2] if args.quick else
                                       POPULATIONS if gpu else POPULATIONS[:4])  # fmt: skip
    evaluator = _evaluator(device, args.image_size, args.batch_size)
    cells = _cells(evaluator.space, max(*populations, 4 if args.quick else 16))
    some = cells[: 4 if args.quick else 16]

    ways = _ways(evaluator, cells, some, populations)
    for way in list(ways):
        if gpu:
            torch.cuda.reset_peak_memory_stats(device)
        try:
            way.run(2)  # processes start, kernels are chosen and loaded
        except torch.cuda.OutOfMemoryError:
            ways.remove(way)
        way.memory_gib = _peak_memory(device)
    for _ in range(args.repeat):
        for way in ways:
            way.measure(updates)
    for way in ways:
        way.executor.close()
        if isinstance(way.executor, Processes) and way.width > 1:
            time.sleep(1)  # until they have ended: only then they are counted
            way.memory_gib = way.width * _peak_memory(device, children=True)
    used = "together" if gpu else "processes"  # what EXECUTOR auto takes
    chosen = max((way for way in ways if way.name == used), key=lambda way: float(np.median(way.rates)))
    lines = [*_table(ways), "", *_floor(evaluator, some, chosen), ""]
    width = max(way.width for way in ways if way.name == "together")
    lines += _parts(evaluator, cells[:width])
    if args.search:
        lines += ["", *_searches(evaluator)]
    title = device_title(device)
    made = (
        f"Made by `{PROG}`{' --quick' if args.quick else ''} on {title}, torch {torch.__version__}: batches of "
        f"{args.batch_size} images of {args.image_size} px, {updates} updates timed, {args.repeat} times; revision "
        f"{environment(device.type)['revision']}."
    )
    print("\n".join(lines))
    print(f"\n{made}")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        text = "\n".join(["# RMI-NAS candidates: one at a time against the executors", "", *lines, "", made, ""])
        (args.out / f"bench_rminas_{device.type}.md").write_text(text)
        write_figure(draw(ways, title), args.out / f"bench_rminas_{device.type}.png", dpi=120)
    ratios = chosen.rates / ways[0].rates
    print(f"{chosen.name} ({chosen.width} at once) over one at a time, evaluations a second:")
    print(f"{_ratio(ratios)} over {args.repeat} repetitions")
    if is_clear(ratios):
        print(f"ratio {np.median(ratios):.1f}")


def is_clear(ratios: np.ndarray) -> bool:
    """Whether ratios differ less among each other than their median does from 1."""
    return bool(np.ptp(ratios) < abs(np.median(ratios) - 1))


def _ratio(ratios: np.ndarray) -> str:
    spread = f"{ratios.min():.2f} to {ratios.max():.2f}"
    return f"{np.median(ratios):.2f} ({spread})" if is_clear(ratios) else f"not clear: {spread}"


def _evaluator(device: torch.device, side: int, batch: int) -> RmiEvaluator:
    import torch

    from common.networks.teachers import build_teacher
    from common.spaces import make_space
    from common.training.population import CandidateSettings
    from rminas.loss import RmiLoss
    from rminas.rmi import RmiEvaluator

    torch.manual_seed(0)
    x, y = torch.randn(batch, 3, side, side).to(device), torch.randint(10, (batch,)).to(device)
    with torch.no_grad():
        taps = build_teacher("resnet20", 10).to(device).forward_taps(x)[1]
    training = CandidateSettings(UPDATES, lr=0.1, channels_last=True)
    space = make_space("nasbench201", num_classes=10, image_size=side)
    return RmiEvaluator(space, 0, x, RmiLoss.of(taps, y), training)


def _cells(space: SearchSpace, count: int) -> list[Any]:
    drawn = space.sample_distinct(count + 20, np.random.default_rng(0))
    return [cell for cell in drawn if space.reaches_output(cell)][:count]


def _ways(evaluator: RmiEvaluator, cells: Sequence[Any], some: Sequence[Any], populations: Sequence[int]) -> list[Way]:
    """One at a time, processes on a CPU, and fused populations."""
    from common.execution.processes import Processes
    from common.execution.serial import Serial
    from common.execution.together import Together

    ways = [Way("one at a time", 1, Serial(), evaluator, some)]
    if evaluator.x.device.type != "cuda":
        processes = Processes()
        ways.append(Way("processes", processes.count, processes, evaluator, some))
    for width in populations:
        ways.append(Way("together", width, Together(), replace(evaluator, width=width), cells[:width]))
    return ways


def _peak_memory(device: torch.device, children: bool = False) -> float:
    """Peak memory in GiB: of the device on a GPU, else of this process so far, or of the largest that it started.

    NaN where the system does not say (Windows).
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        import resource
    except ImportError:
        return math.nan
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF).ru_maxrss / unit


def _table(ways: Sequence[Way]) -> list[str]:
    lines = [
        f"| executor | candidates at once | ready, ms | update, ms | evaluations/s ({UPDATES} updates): median (least "
        f"to most) | ratio | {EVALUATIONS} evaluations, s | peak memory, GiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for way in ways:
        rate = float(np.median(way.rates))
        lines.append(
            f"| {way.name} | {way.width} | {1e3 * np.median(way.ready_s):.1f} | {1e3 * np.median(way.update_s):.2f} "
            f"| {rate:.3f} ({way.rates.min():.3f} to {way.rates.max():.3f}) "
            f"| {'1' if way is ways[0] else _ratio(way.rates / ways[0].rates)} | {EVALUATIONS / rate:.0f} "
            f"| {way.memory_gib:.2f} |"
        )
    note = "Milliseconds are a candidate's share, medians. The whole search is reckoned from the rate."
    return [*lines, "", note]


def _floor(evaluator: RmiEvaluator, archs: Sequence[Any], chosen: Way) -> list[str]:
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
        f"with {chosen.name} it takes {1e3 * np.median(chosen.update_s):.2f} ms."
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


def _parts(evaluator: RmiEvaluator, archs: Sequence[Any]) -> list[str]:
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
        losses = part("loss", lambda outputs=outputs: evaluator.loss.each(*outputs))
        population.zero_grad()
        part("backward", losses.sum().backward)
        part("update", lambda: population.sgd_step(0.1, 0.9, 5e-4))
    once = ", ".join(f"{name} {1e3 * seconds[name]:.0f}" for name in ("build", "record", "fuse"))
    each = ", ".join(f"{name} {1e3 * seconds[name]:.1f}" for name in ("forward", "loss", "backward", "update"))
    return [f"{len(archs)} fused candidates, ms: once {once}; each update {each} ({len(population.groups)} groups)."]


def _searches(evaluator: RmiEvaluator) -> list[str]:
    """Whole searches: published, one at a time; raced in rounds with this device's executor; by the fast config too."""
    from common.evaluators.costs import CostEvaluator
    from common.execution import Resources
    from rminas.api import make_executor
    from rminas.config import Rminas, load_config
    from rminas.search import search

    lines = []
    space, device, sample = evaluator.space, evaluator.x.device, _cells(evaluator.space, 1)[0]
    raced = replace(Rminas(), race=1.5, round=32, isomorphic_once=True)
    for title, name, settings in (
        ("published", "serial", Rminas()),
        ("racing, rounds of 32", "auto", raced),
        (f"{FAST} in rounds of 32", "auto", load_config(FAST, round=32).rminas),
    ):
        task = replace(evaluator, training=replace(evaluator.training, steps=settings.observe))
        with make_executor(name, Resources(), task, sample, device) as executor:
            started = time.perf_counter()
            done = search(settings, space, task, 0, CostEvaluator(space), executor)
            seconds = time.perf_counter() - started
        lines.append(f"Search, {title} ({executor.name}): {seconds:.1f} s, {len(done.history)} evaluations.")
    return lines


def draw(ways: Sequence[Way], title: str) -> Figure:
    """Evaluations a second of every way, downwards: every repetition, the median, and a line from least to most."""
    from common.drawing.figures import new_figure

    figure = new_figure(6, 1.4 + 0.35 * len(ways), "constrained")
    axes = figure.subplots()
    rows, rates = np.arange(len(ways)), np.array([way.rates for way in ways])
    axes.hlines(rows, rates.min(1), rates.max(1), color="#2f5d8a", linewidth=1)
    axes.plot(rates.ravel(), rows.repeat(rates.shape[1]), "o", color="#2f5d8a", markersize=3, label="a repetition")
    axes.plot(np.median(rates, axis=1), rows, "|", color="black", markersize=14, label="median")
    axes.set_yticks(rows, [f"{way.name} ({way.width})" for way in ways])
    axes.set_ylim(len(ways) - 0.5, -0.5)
    if rates.max() > 10 * rates.min():
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, 1.05 * rates.max())
    axes.set(xlabel=f"evaluations a second ({UPDATES} updates)", ylabel="executor (candidates at once)", title=title)
    axes.legend(fontsize="small", loc="lower left")
    return figure


if __name__ == "__main__":
    run_command(PROG, main)
