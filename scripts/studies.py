"""What the studies of RMI-NAS's recorded losses share: their command line, and reading a run folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from common.cli import OneLineParser
from common.errors import InputError
from common.search import History, read_history
from common.spaces import SearchSpace, make_space
from rminas.accuracy import AccuracyTable
from rminas.config import Config, read_config


class Run(NamedTuple):
    """A run folder as it was recorded, and the true accuracies of its space."""

    path: Path
    config: Config
    space: SearchSpace
    accuracies: AccuracyTable
    histories: dict[int, History]  # by seed, of RMI evaluations


def run_study(prog: str, doc: str, study: Callable[[Run], str]) -> None:
    """Prints what `study` makes of each run folder of the command line, and writes it into --out."""
    parser = OneLineParser(prog, doc)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--benchmark", default="", metavar="PATH", help="table of true accuracies; default: the run's")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it here too")
    args = parser.parse_args()
    text = "\n\n".join(study(_read(run, args.benchmark)) for run in args.runs) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)


def _read(run: Path, benchmark: str) -> Run:
    if not (run / "config.yaml").exists():
        raise InputError(f"{run}: not a run folder (no config.yaml in it)")
    config, _ = read_config(run / "config.yaml", [])
    space = make_space(config.space.name)
    chosen = config.benchmark
    dataset = chosen.dataset or config.data.name
    accuracies = AccuracyTable.load(benchmark or chosen.path, dataset, space, chosen.column)
    records = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    records = [record for record in records if record.get("evaluator", "rmi") == "rmi"]  # named in rankings only
    seeds = sorted({record["seed"] for record in records})
    pasts = {seed: read_history(records, space, seed) for seed in seeds}
    histories = {seed: History(tuple(past[index] for index in sorted(past))) for seed, past in pasts.items()}
    return Run(run, config, space, accuracies, histories)
