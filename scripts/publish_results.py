"""Takes summaries of runs into docs/results without what belongs to one machine: paths become file names.

`python scripts/publish_results.py runs/rminas/nb201_digits --to docs/results/rminas/search_nb201_digits.json` copies
the summary of a run; given nothing but files of docs/results, it cleans these where they are. Nothing else is changed:
checksums say which files the names stand for.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from common.cli import OneLineParser, run_command
from common.errors import InputError
from common.runs import write_atomic

PROG = "python scripts/publish_results.py"
# An absolute path, of whatever system, or one that leaves the working folder.
_MACHINE_PATH = re.compile(r"(/|~|\.\./|[A-Za-z]:[\\/]).*")


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("summaries", nargs="+", type=Path, help="run folders, or summaries (.json)")
    parser.add_argument("--to", type=Path, metavar="FILE", help="where the one summary goes (default: where it is)")
    args = parser.parse_args()
    if args.to and len(args.summaries) > 1:
        raise InputError("--to takes one summary; name them one by one")
    for given in args.summaries:
        publish(given, args.to)


def publish(given: Path, target: Path | None = None) -> None:
    """Writes a summary, or that of a run folder, to `target` (None: where it is) without machine paths."""
    source = given / "summary.json" if given.is_dir() else given
    if not source.is_file():
        raise InputError(f"no file {source}")
    target = target or source
    try:
        summary = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{source} is not JSON ({error})") from None
    text = json.dumps(without_machine_paths(summary), indent=2, ensure_ascii=False) + "\n"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, lambda out: out.write(text.encode()))


def without_machine_paths(value: Any) -> Any:
    """`value` (as of JSON) with every path that only one machine has cut down to its last part."""
    if isinstance(value, dict):
        return {key: without_machine_paths(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_machine_paths(part) for part in value]
    if isinstance(value, str) and _MACHINE_PATH.fullmatch(value):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return value


if __name__ == "__main__":
    run_command(PROG, main)
