"""Writes a file in the exact format of NAS-Bench-101's tfrecords with random stand-in labels, for tests and timing.

All cells at 108 epochs give 522,767,376 bytes, the size of the official nasbench_only108.tfrecord. The accuracies are
drawn from a random generator and say nothing about the cells.
"""

from __future__ import annotations

import binascii
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
from tqdm import tqdm

from common.benchmarks.nasbench101.tfrecord import write_records
from common.cli import OneLineParser, run_command
from common.errors import InputError
from common.runs.files import write_atomic
from common.spaces.nasbench101 import INPUT, MAX_VERTICES, NUM_EDGES, OPS, OUTPUT, NasBench101, adjacency

PROG = "python scripts/make_nasbench101_tfrecord.py"
REPEATS = 3
_CELLS_AT_ONCE = 4096
_EVALUATION = struct.Struct("<" + "Bd" * 5)  # current_epoch, training_time and the accuracies, each behind its tag


def write_tfrecord(
    path: Path, codes: np.ndarray, keys: list[str], params: np.ndarray, metrics: Mapping[int, np.ndarray]
) -> None:
    """Writes the records of N cells: cell by cell, budget by budget, repeat by repeat.

    Args:
        codes: (N, 26) uint8. keys: N graph hashes. params: (N,) trainable parameters.
        metrics: epochs -> (N, repeats, 2, 4): half-way and at the end, training time in seconds, then train,
            validation and test accuracy in [0, 1]. The entry of epoch 0 is written with no time and chance accuracy.
    """

    def write(file: IO[bytes]) -> None:
        for start in tqdm(range(0, len(codes), _CELLS_AT_ONCE), desc=path.name, disable=None):
            write_records(
                file,
                [
                    record(keys[row], epochs, texts, message(epochs, run, int(params[row])))
                    for row in range(start, min(start + _CELLS_AT_ONCE, len(codes)))
                    for texts in [cell_texts(codes[row])]
                    for epochs, runs in metrics.items()
                    for run in runs[row].tolist()
                ],
            )

    write_atomic(path, write)


def record(key: str, epochs: int, cell: tuple[str, str], metrics: bytes) -> bytes:
    """One record's JSON; the base64 text has a line break after every 76 digits, as in the official files."""
    lines = [binascii.b2a_base64(metrics[start : start + 57]).decode() for start in range(0, len(metrics), 57)]
    return json.dumps([key, epochs, *cell, "".join(lines)]).encode()


def cell_texts(code: np.ndarray) -> tuple[str, str]:
    """`raw_adjacency` and `raw_operations` of one code."""
    inner = int((code[NUM_EDGES:] > 0).sum())
    keep = [*range(inner + 1), MAX_VERTICES - 1]
    edges = adjacency(code[None])[0][keep][:, keep]
    names = (INPUT, *(OPS[op - 1] for op in code[NUM_EDGES : NUM_EDGES + inner].tolist()), OUTPUT)
    return "".join(map(str, edges.ravel().tolist())), ",".join(names)


def message(epochs: int, run: list[list[float]], params: int) -> bytes:
    """A serialised ModelMetrics: evaluations at epoch 0, half-way and the end, parameters, total time."""
    at_start = [0.0, 0.1, 0.1, 0.1]
    evaluations = b"".join(
        b"\x0a\x2d" + _EVALUATION.pack(0x09, epoch, 0x11, time, 0x19, train, 0x21, valid, 0x29, test)
        for epoch, (time, train, valid, test) in zip((0, epochs / 2, epochs), (at_start, *run), strict=True)
    )
    return evaluations + b"\x10" + varint(params) + struct.pack("<Bd", 0x19, 1.25 * run[-1][0])


def varint(value: int) -> bytes:
    """A non-negative integer in protocol buffers' variable-length form."""
    septets = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(septet | 0x80 for septet in septets[:-1]), septets[-1]])


def stand_in_metrics(count: int, epochs: int, rng: np.random.Generator) -> np.ndarray:
    """(count, repeats, 2, 4) random metrics as `write_tfrecord` takes them."""
    metrics = rng.uniform(0.1, 0.95, size=(count, REPEATS, 2, 4)).astype(np.float32).astype(np.float64)
    metrics[..., 0] = rng.uniform(1.0, 10.0, size=(count, REPEATS, 1)) * np.array([epochs / 2, epochs])
    return metrics


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("--cells", type=int, default=NasBench101.size, help="how many, drawn at random")
    parser.add_argument("--epochs", type=int, nargs="+", default=[108], choices=(4, 12, 36, 108), help="budgets")
    parser.add_argument("--seed", type=int, default=0, help="of the cells and their labels")
    args = parser.parse_args()
    if not 1 <= args.cells <= NasBench101.size:
        raise InputError(f"--cells {args.cells}: give 1 to {NasBench101.size}")
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: a seed is 0 or more")
    if args.out.is_dir():
        raise InputError(f"{args.out}: is a folder; name a file")

    from common.benchmarks.nasbench101.enumeration import load_or_enumerate

    rng = np.random.default_rng(args.seed)
    with tqdm(total=NasBench101.size, desc="hashing cells", leave=False, disable=None) as bar:
        cells = load_or_enumerate(bar.update)
    rows = rng.permutation(len(cells.codes))[: args.cells]
    codes = cells.codes[rows]
    keys = [digest.tobytes().hex() for digest in cells.hashes[rows]]
    parts = np.array_split(codes, 1 + len(codes) // 8192)
    params = np.concatenate([NasBench101().total_costs(part)[1] for part in parts])
    write_tfrecord(args.out, codes, keys, params, {e: stand_in_metrics(len(codes), e, rng) for e in args.epochs})
    print(f"{args.out}: {args.out.stat().st_size:,} bytes, {len(codes):,} cells, stand-in labels of seed {args.seed}")


if __name__ == "__main__":
    run_command(PROG, main)
