"""Every table and figure of the two papers: without a name, a list of them with what each needs and how far it is.

`python scripts/reproduce.py TABLE ...` makes tables: it runs the seeds that are missing (what is kept in
docs/results/records is not run again, and an interrupted run goes on), keeps their records there, and rebuilds the
tables in the documents from all records. `--pages` only rebuilds. `--collect FOLDER --revision R` takes over what a run
folder of `python -m rminas` with the settings of TABLE holds so far, so that another machine can go on from there.
"""

from __future__ import annotations

import os
import textwrap
import time
from pathlib import Path

import records
from make_tables import documents, rewrite
from paper_tables import TABLES, PaperTable, Run, listing

from common.cli import OneLineParser, run_command, whole_number
from common.errors import InputError

PROG = "python scripts/reproduce.py"


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="names of the list, or all")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="of the data files (default: $NAS_DATA_DIR)")
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduce"), help="where run folders go")
    parser.add_argument(
        "--seeds", type=whole_number(1, 10**6), metavar="N", help="the first N seeds of each run, not all"
    )
    parser.add_argument("--limit_s", type=float, metavar="S", help="begin no further seed after so many seconds")
    parser.add_argument("--pages", action="store_true", help="run nothing, rebuild the documents from the records")
    parser.add_argument("--collect", type=Path, metavar="FOLDER", help="run nothing, keep the records of a run folder")
    parser.add_argument("--revision", metavar="R", help="of the code that made them")
    args = parser.parse_args()
    chosen = [find(name) for name in args.tables] if args.tables != ["all"] else [*TABLES]
    if args.data and not args.data.is_dir():
        raise InputError(f"--data {args.data}: no such folder")
    if args.collect:
        collect(args.tables, args.collect, args.revision)
    elif args.tables and not args.pages:
        data = args.data or (Path(os.environ["NAS_DATA_DIR"]) if "NAS_DATA_DIR" in os.environ else None)
        make(chosen, data, args.runs, args.seeds, time.monotonic() + (args.limit_s or float("inf")))
    if args.tables or args.pages:
        for page in documents():
            print(f"{page}: {'rewritten' if rewrite(page) else 'up to date'}")
    else:
        tell()


def find(name: str) -> PaperTable:
    for table in TABLES:
        if table.name == name:
            return table
    raise InputError(f"no table {name!r}; there are: {', '.join(table.name for table in TABLES)}")


def make(tables: list[PaperTable], data: Path | None, runs: Path, seeds: int | None, until: float) -> None:
    """Runs what is missing, run by run, until a time of the monotonic clock; every record is kept at once."""
    for table in tables:
        if not table.runs:
            print(f"{table.name}: {table.state} ({table.why})" + (f"; {table.command}" if table.command else ""))
        elif data is None:
            raise InputError("--data names the folder of the data files (or NAS_DATA_DIR)")
    for run in {run.name: run for table in tables for run in table.runs}.values():
        assert data is not None
        if not (missing := _missing(run, seeds)):
            print(f"{run.name}: all seeds are there")
        else:
            for file in run.files:
                if not (data / file).exists():
                    raise InputError(f"{run.name} needs {data / file}")
            for config, made in run.make(missing, data, runs):
                records.keep(run.name, config, made)
                print(f"{run.name}: {len(records.read(run.name).records)} of {run.seeds} seeds", flush=True)
                if time.monotonic() > until:
                    return


def collect(tables: list[str], folder: Path, revision: str | None) -> None:
    from tables_rminas import RmiRun

    runs = [run for name in tables for run in find(name).runs if isinstance(run, RmiRun)]
    if len(runs) > 1:
        runs = [run for run in runs if Path(run.folder).name == folder.resolve().name]
    if len(runs) != 1 or not revision:
        raise InputError(
            "--collect needs one table made of runs of python -m rminas, the folder of one of them by its own name, "
            "and --revision"
        )
    records.keep(runs[0].name, *runs[0].collected(folder, {"revision": revision}))
    kept = records.read(runs[0].name)
    print(f"{runs[0].name}: {len(kept.records)} seeds and {len(kept.evaluations)} evaluations")


def _missing(run: Run, seeds: int | None) -> list[int]:
    there = records.read(run.name).seeds
    count = run.seeds if seeds is None else min(seeds, run.seeds)
    return [seed for seed in range(run.first, run.first + count) if seed not in there]


def tell() -> None:
    """The list on the terminal."""
    for name, paper, title, needs, time_here, state, why, command in listing():
        print(f"{name} ({paper}): {title}\n    {state}: {why}")
        print(textwrap.fill(f"needs {needs}; {time_here or 'time not known'}", 118, initial_indent="    "))
        print(f"    {command}")


if __name__ == "__main__":
    run_command(PROG, main)
