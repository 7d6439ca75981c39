"""How long it takes to rank all 423,624 cells of NAS-Bench-101 after learning from 424, features included.

Every repetition starts without the features' cache and ranks, then ranks again from it. The labels are made up (the
time does not depend on them), so no table is needed.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from common.benchmarks.nasbench101.enumeration import enumerate_codes
from common.cli import OneLineParser, run_command
from common.encoding import EncodedFeatures
from common.encoding.cache import CachedFeatures
from common.errors import InputError
from common.metrics import mean_std
from common.predictors import make_predictor
from common.runs import environment
from common.runs.files import write_json
from common.spaces import make_space

PROG = "python scripts/bench_predictors.py"
LABELS = 424


class _Clock:
    """On a machine with other work the processor's seconds tell more."""

    def __init__(self) -> None:
        self.started, self.cpu = time.perf_counter(), time.process_time()

    def read(self, what: str) -> dict[str, float]:
        return {what: time.perf_counter() - self.started, f"{what}, CPU": time.process_time() - self.cpu}


def measure(name: str, codes: np.ndarray) -> dict[str, float]:
    """Seconds by the clock and of the processor: ranking all cells without and from the cache, fitting included, and
    their features alone."""
    space = make_space("nasbench101")
    times: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        for kind in ("without the cache", "from the cache"):
            ranker = make_predictor(name)
            clock = _Clock()
            source = CachedFeatures(EncodedFeatures(ranker.encoding, space, codes))
            rows = np.sort(np.random.default_rng(0).choice(len(codes), LABELS, replace=False))
            ranker.fit_rows(source, rows, np.random.default_rng(1).standard_normal(LABELS), seed=0)
            order = np.argsort(-ranker.score(source), kind="stable")
            times |= clock.read(kind)
            assert len(order) == len(codes)
        clock = _Clock()
        EncodedFeatures(ranker.encoding, space, codes).rows(np.arange(len(codes)))
        times |= clock.read("features alone")
    return times


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("predictors", nargs="*", default=["gp", "auto"], help="names (default: gp auto)")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="a JSON file for the numbers")
    args = parser.parse_args()
    if args.repeats < 1:
        raise InputError("--repeats is at least 1")
    codes = enumerate_codes()
    record: dict[str, Any] = {"cells": len(codes), "labels": LABELS, "repeats": args.repeats}
    record |= {"environment": environment("cpu"), "seconds": {}}
    for name in args.predictors:
        runs = [measure(name, codes) for _ in range(args.repeats)]
        record["seconds"][name] = {what: [run[what] for run in runs] for what in runs[0]}
        for what, values in record["seconds"][name].items():
            mean, std = mean_std(values)
            print(f"{name}, {what}: {mean:.1f} +- {std:.1f} s (n={len(values)})", flush=True)
    record["peak_memory_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {record['peak_memory_gib']:.2f} GiB")
    if args.out:
        write_json(args.out, record)


if __name__ == "__main__":
    run_command(PROG, main)
