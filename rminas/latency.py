"""Measuring how long networks take on this device: `python -m rminas.latency`, whose table BUDGET.LATENCY reads."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from common.cli import OneLineParser, run_command, whole_number
from common.devices import DEVICES
from common.errors import InputError
from common.export.found import sized_space
from common.inputs import read_text, short
from common.progress import ProgressBar
from common.runs.config import LAST_SEED
from common.seeds import rng_for, torch_seeded
from common.spaces import SearchSpace

if TYPE_CHECKING:
    import torch
    from torch import nn

PROG = "python -m rminas.latency"
HEADER = ("arch", "ms", "ms_25", "ms_75", "runs")


class Timing(NamedTuple):
    """Milliseconds of a forward pass: median and quartiles over `runs` passes."""

    ms: float
    ms_25: float
    ms_75: float
    runs: int


def measure(network: nn.Module, x: torch.Tensor, warmup: int = 5, runs: int = 30) -> Timing:
    """Times forward passes in eval mode of images x (B, 3, H, W), where network and images are, one after the other.

    The first `warmup` passes, which allocate memory and choose algorithms, do not count. On a GPU every pass is waited
    for.
    """
    import torch

    network.eval()
    took = []
    with torch.inference_mode():
        for _ in range(warmup + runs):
            started = time.perf_counter()
            network(x)
            if x.device.type == "cuda":
                torch.cuda.synchronize(x.device)
            took.append(1000 * (time.perf_counter() - started))
    low, median, high = np.percentile(took[warmup:], [25, 50, 75]).tolist()
    return Timing(median, low, high, runs)


def measure_all(
    space: SearchSpace[Any], archs: list[Any], out: Path, device: str, batch: int = 1, warmup: int = 5, runs: int = 30
) -> list[Timing]:
    """Measures architectures and writes each as soon as it is known; those that the file holds are not measured again.

    Raises: InputError for a file that is no such table.
    """
    import torch

    from common.devices import pick_device
    from common.networks import build_network

    where = pick_device(device)
    known = _read(out)
    with ProgressBar(len(archs), "latency", "network") as bar:
        for done, arch in enumerate(archs, start=1):
            text = space.format(arch)
            if text not in known:
                with torch_seeded(rng_for(0, "weights")):
                    network = build_network(space, arch).to(where)
                size = getattr(space, "image_size", 32)
                known[text] = measure(network, torch.zeros(batch, 3, size, size, device=where), warmup, runs)
                _append(out, text, known[text])
            bar.show(done, f"{known[text].ms:.2f} ms", before=done - 1)
    return [known[space.format(arch)] for arch in archs]


def _append(out: Path, text: str, timing: Timing) -> None:
    fresh = not out.exists()
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", newline="") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(HEADER)
        writer.writerow([text, *(f"{value:.4f}" for value in timing[:3]), timing.runs])


def _read(out: Path) -> dict[str, Timing]:
    if not out.exists():
        return {}
    try:
        rows = list(csv.reader(read_text(out).splitlines()))
        if tuple(rows[0]) != HEADER:
            raise ValueError("another header")
        return {text: Timing(float(ms), float(low), float(high), int(runs)) for text, ms, low, high, runs in rows[1:]}
    except (ValueError, TypeError, IndexError, csv.Error) as error:
        raise InputError(f"{out}: no table of latencies ({short(error)}); name another file") from None


def make_parser() -> OneLineParser:
    parser = OneLineParser(
        PROG,
        "Time the networks of a space on this device, one image at a time unless told otherwise, and write a table "
        "arch,ms,... that --max_latency takes. Run again with more, it measures what is missing.",
    )
    add = parser.add_argument
    add("space", help="search space: nasbench201, ..., or your own as my_module:SPACE")
    add("archs", nargs="*", metavar="ARCH", help="architectures; default: --count random ones")
    add("--count", type=whole_number(1, 10**5), default=20, help="random architectures, no two isomorphic")
    add("--seed", type=whole_number(0, LAST_SEED), default=0, help="which random ones")
    add("--num_classes", type=int, default=0, help="classes; 0: the space's own")
    add("--image_size", type=int, default=0, help="pixels along a side; 0: the space's own")
    add("--batch", type=whole_number(1, 10**5), default=1, help="images a forward pass")
    add("--warmup", type=whole_number(0, 10**4), default=5, help="passes before any counts")
    add("--runs", type=whole_number(1, 10**5), default=30, help="passes of which median and quartiles are taken")
    add("--device", choices=DEVICES, default=DEVICES[0], help="where to compute")
    add("--out", type=Path, default=Path("latency.csv"), help="the table")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Parses, measures what is missing, and prints it. Raises InputError on bad input."""
    args = make_parser().parse_intermixed_args(argv)
    sizes = {"num_classes": args.num_classes, "image_size": args.image_size}
    space = sized_space(args.space, {name: size for name, size in sizes.items() if size})
    archs = [space.parse(text) for text in args.archs]
    archs = archs or space.sample_distinct(args.count, rng_for(args.seed, "random"))
    timings = measure_all(space, archs, args.out, args.device, args.batch, args.warmup, args.runs)
    print(f"{'ms':>8}  {'quartiles':>17}  architecture")
    for arch, timing in sorted(zip(archs, timings, strict=True), key=lambda pair: pair[1].ms):
        print(f"{timing.ms:8.2f}  {timing.ms_25:8.2f} {timing.ms_75:8.2f}  {space.format(arch)}")
    print(f"table: {args.out}")


if __name__ == "__main__":
    run_command(PROG, main)
