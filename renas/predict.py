"""python -m renas.predict: scores from a saved predictor, for cells as text or for a whole table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from common.cli import OneLineParser, run_command
from common.devices import DEVICES
from common.errors import InputError

PROG = "python -m renas.predict"


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        PROG,
        "Print the scores that a saved predictor gives to architectures, higher being better: of cells in the order in "
        "which they are named, or of a table the best. Every run of python -m renas saves its predictors in "
        "<run folder>/predictors; loading one runs no code of the file's.",
    )
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="FILE", help="saved predictor")
    add("cells", nargs="*", metavar="CELL", help="architecture as text of its space")
    add("--table", metavar="PATH", help="score a benchmark's architectures, or those of a CSV arch,...; "
        "'builtin' is the one that pip installs")  # fmt: skip
    add("--top", type=int, default=10, metavar="K", help="how many of the table's to print")
    add("--predictor", metavar="CLASS", help="your own class the predictor is of, as my_module:MyClass")
    add("--encoding", metavar="NAMES", help="your own encoding it was made with")
    add("--space", metavar="SPACE", help="your own search space it was made on, as my_module:MySpace")
    add("--device", choices=DEVICES, default="auto", help="where to compute")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one line an architecture: score, then text. Raises InputError for bad input."""
    args = make_parser().parse_args(argv)
    if bool(args.cells) == (args.table is not None):
        raise InputError("give architectures as text, or --table PATH")
    if args.top < 1:
        raise InputError(f"--top {args.top}: give 1 or more")

    from common.benchmarks import load_benchmark
    from common.predictors import load_predictor
    from common.spaces import make_space

    space = None if args.space is None else make_space(args.space)
    ranker = load_predictor(args.model, args.predictor, args.encoding, space, args.device)
    if args.cells:
        for score, cell in zip(ranker.predict(args.cells), args.cells, strict=True):
            print(f"{score:12.6g}  {cell}")
        return
    table = load_benchmark(None if args.table == "builtin" else args.table, space=space)
    ranking = ranker.rank(table)
    for score, row in zip(ranking.scores[: args.top], ranking.rows[: args.top], strict=True):
        print(f"{score:12.6g}  {table.arch_text(int(row))}")


if __name__ == "__main__":
    run_command(PROG, main)
