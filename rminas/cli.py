"""The command line of RMI-NAS: a config file, KEY VALUE overrides, and the search or the ranking they describe."""

from __future__ import annotations

import argparse

from common.cli import OneLineParser
from common.errors import InputError
from common.runs.config import describe, pairs
from rminas.config import Config, find_config, read_config

PROG = "python -m rminas"
BUDGET = {name: f"BUDGET.{name.upper()}" for name in ("max_params", "max_flops", "max_latency", "latency")}
FLAGS = {"device": "DEVICE", "seed": "RNG_SEED", "seeds": "SEEDS", "out": "OUT_DIR", **BUDGET}


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        PROG,
        "Search with RMI-NAS: train candidates for some steps on one batch to imitate a teacher's representations, let "
        "a random forest choose the next ones, and let the best vote. `--cfg nb201_digits` needs no download.",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "keys of the config file and of KEY VALUE:\n" + describe(Config)
    add = parser.add_argument
    add("--cfg", required=True, metavar="YAML", help="config file, or the name of one that ships")
    add("--rank", type=int, metavar="N", help="do not search: evaluate N random cells, and tell how well that ranks "
        "them")  # fmt: skip
    add("--evaluators", metavar="A,B", help="what --rank compares: names of evaluators, your own as my_module:score; "
        "default: RMINAS.EVALUATOR, params, flops")  # fmt: skip
    for flag, name in FLAGS.items():
        add(f"--{flag}", metavar="X", help=f"the same as {name} X")
    add("--jobs", metavar="N", help="candidates at a time, in processes: EXECUTOR processes RMINAS.POPULATION N")
    add("settings", nargs="*", metavar="KEY VALUE", help="settings that override the file's")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Parses, runs what is missing, and prints the report. Raises InputError on bad input."""
    args = make_parser().parse_intermixed_args(argv)
    flags = [(FLAGS[flag], value) for flag in FLAGS if (value := getattr(args, flag)) is not None]
    if args.jobs is not None:
        flags += [("EXECUTOR", "processes"), ("RMINAS.POPULATION", args.jobs)]
    file = find_config(args.cfg)
    config, notes = read_config(file, [*flags, *pairs(args.settings)])
    if args.evaluators is not None and args.rank is None:
        raise InputError("--evaluators is for --rank; a search is told by RMINAS.EVALUATOR")
    for note in notes:
        print(f"note: {note}")

    from rminas.api import rank_config, run_config

    name = config.name or file.stem
    if args.rank is None:
        print(run_config(config, name, print).report)
    else:
        names = None if args.evaluators is None else [name.strip() for name in args.evaluators.split(",")]
        print(rank_config(config, name, args.rank, names, print).report)
