"""What the studies of RMI-NAS's recorded losses share: their command line, and reading a run folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from common.cli import OneLineParser
from common.errors import InputError
from common.spaces import SearchSpace, make_space
from rminas.config import Config, read_config
from rminas.task import Truth


class Run(NamedTuple):
    """A run folder as it was recorded, and the true accuracies of its space."""

    path: Path
    config: Config
    space: SearchSpace
    truth: Truth
    records: list[dict[str, Any]]


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
    truth = Truth.load(benchmark or config.benchmark.path, config.benchmark.dataset or config.data.name, space)
    records = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    return Run(run, config, space, truth, records)
