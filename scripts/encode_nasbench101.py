"""Make NAS-Bench-101's 423,624 cells and their 19x7x7 feature tensors from the definition of the space alone.

`--enumerate-only` counts the cells; `--format compact` writes codes and hashes (tensors are encoded from them on the
fly); `--format demo` writes the 43 shards of the published demo. Labels come from the official tfrecord (`--labels`),
matched to the cells by graph hash; `--stand_in_labels SEED` writes random ones for trying the format out.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import IO

import numpy as np

from common.cli import OneLineParser, run_command
from common.errors import InputError
from common.spaces.nasbench101 import NUM_EDGES, NasBench101

PROG = "python scripts/encode_nasbench101.py"
SHARD = 10_000  # rows of a demo shard
# The demo's label columns: half-way and at the end, training time (s), then the accuracies in [0, 1].
LABELS = ("time_s_54", *(f"cifar10_{split}_54" for split in ("train", "valid", "test")))
LABELS += ("time_s_108", *(f"cifar10_{split}_108" for split in ("train", "valid", "test")))


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("--enumerate-only", action="store_true", help="print the count by number of vertices and stop")
    parser.add_argument("--format", choices=("compact", "demo"), default="compact", help="what to write")
    parser.add_argument("--out", type=Path, help="folder to write into")
    parser.add_argument("--labels", type=Path, help="official tfrecord to take the demo format's labels from")
    parser.add_argument("--stand_in_labels", type=int, metavar="SEED", help="random labels instead, of no meaning")
    parser.add_argument("--limit", type=int, help="write the first N cells of a seeded shuffle only (for small tests)")
    args = parser.parse_args()
    if not args.enumerate_only and args.out is None:
        raise InputError("--out is needed to write anything; or ask for --enumerate-only")
    if args.labels and args.stand_in_labels is not None:
        raise InputError("--labels and --stand_in_labels exclude each other")
    if args.stand_in_labels is not None and args.stand_in_labels < 0:
        raise InputError(f"--stand_in_labels {args.stand_in_labels}: a seed is 0 or more")
    labelled = args.labels is not None or args.stand_in_labels is not None
    if labelled and args.format != "demo":
        raise InputError("labels are written with --format demo only")
    if args.limit is not None and not 1 <= args.limit <= NasBench101.size:
        raise InputError(f"--limit {args.limit}: give 1 to {NasBench101.size}")
    if not args.enumerate_only:
        args.out.mkdir(parents=True, exist_ok=True)  # before minutes of work

    from tqdm import tqdm

    from common.benchmarks.nasbench101 import enumeration

    started = time.perf_counter()
    with tqdm(total=NasBench101.size, desc="enumerating and hashing", unit="cell", disable=None) as bar:
        make = enumeration.enumerate_cells if args.enumerate_only else enumeration.load_or_enumerate
        cells = make(bar.update)
    vertices = (cells.codes[:, NUM_EDGES:] > 0).sum(1) + 2
    for count, cells_of in zip(*np.unique(vertices, return_counts=True), strict=True):
        print(f"{count} vertices: {cells_of:,} cells")
    distinct = len(np.unique(cells.hashes.view("S16")))
    print(f"{len(cells.codes):,} cells, {distinct:,} distinct graph hashes, {_cost(started)}")
    if args.enumerate_only:
        return

    rows = np.arange(len(cells.codes))
    if args.limit is not None:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[: args.limit])
    started = time.perf_counter()
    if args.format == "compact":
        _write_compact(args.out, cells.codes[rows], cells.hashes[rows])
    else:
        labels = _labels(args.labels, args.stand_in_labels, cells, rows)
        _write_demo(args.out, cells.codes[rows], labels)
    print(f"{args.out}: {len(rows):,} cells as {args.format}, {_cost(started)}")
    if args.format == "demo" and not labelled:
        print("without labels: python -m renas needs them, from --labels or --stand_in_labels")


def _write_compact(out: Path, codes: np.ndarray, hashes: np.ndarray) -> None:
    from common.runs import write_atomic

    write_atomic(out / "nasbench101_cells.npz", lambda file: np.savez(file, codes=codes, hashes=hashes))


def _write_demo(out: Path, codes: np.ndarray, labels: np.ndarray | None) -> None:
    from tqdm import tqdm

    from common.benchmarks.demo_shards import MANIFEST
    from common.encoding import encode
    from common.runs import write_atomic, write_json
    from common.spaces import make_space

    space = make_space("nasbench101")
    starts = range(0, len(codes), SHARD)
    names = ["data"] if labels is None else ["data", "label"]
    ours = {out / f"{name}_{shard}.npy" for name in names for shard in range(len(starts))}
    foreign = {*out.glob("data_*.npy"), *out.glob("label_*.npy")} - ours
    if foreign:
        raise InputError(f"{min(foreign)}: left from other shards; give an empty folder, or delete what is in it")
    # A folder that is not finished says so: half of the shards are a benchmark, too, but another one.
    manifest = {"shards": len(starts), "cells": len(codes), "finished": False}
    write_json(out / MANIFEST, manifest)
    for shard, start in enumerate(tqdm(starts, desc="writing shards", unit="shard", disable=None)):
        rows = slice(start, start + SHARD)

        def write(file: IO[bytes], rows: slice = rows) -> None:
            np.save(file, encode(space, codes[rows], dtype=np.float64), allow_pickle=False)

        write_atomic(out / f"data_{shard}.npy", write)
        if labels is not None:
            part = labels[rows]
            write_atomic(out / f"label_{shard}.npy", lambda file, part=part: np.save(file, part, allow_pickle=False))
    write_json(out / MANIFEST, {**manifest, "finished": True})


def _labels(file: Path | None, seed: int | None, cells: object, rows: np.ndarray) -> np.ndarray | None:
    """(N, 8) float64 labels of the cells, means over the repeats; None when none were asked for."""
    from common.benchmarks.nasbench101.enumeration import Enumeration

    assert isinstance(cells, Enumeration)
    if seed is not None:
        rng = np.random.default_rng(seed)
        labels = rng.uniform(0.1, 0.95, size=(len(rows), len(LABELS)))
        labels[:, [0, 4]] = np.sort(rng.uniform(100, 5000, size=(len(rows), 2)), axis=1)
        return labels
    if file is None:
        return None
    from common.benchmarks import load_benchmark

    table = load_benchmark(file, kind="nasbench101")
    of_cell = cells.rows_of([str(key) for key in table.keys])
    if (of_cell < 0).any():
        raise InputError(f"{file}: cell {table.keys[int(np.argmin(of_cell))]} is not in the space")
    place = np.full(len(cells.codes), -1)
    place[of_cell] = np.arange(len(of_cell))
    missing = int((place[rows] < 0).sum())
    if missing:
        raise InputError(f"{file}: {missing:,} of the {len(rows):,} cells to write are not in the file")
    columns = [table.column(name) for name in LABELS]
    return np.stack([c.values[place[rows]] / (100.0 if c.unit == "%" else 1.0) for c in columns], axis=1)


def _cost(started: float) -> str:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"{time.perf_counter() - started:.1f} s, peak memory of the process so far {peak:.2f} GiB"


if __name__ == "__main__":
    run_command(PROG, main)
