"""Committed records: what the tables of the papers are made from, one compressed file a run.

`docs/results/records/NAME.jsonl.gz` begins with a line of the run's settings (with the checksums of its data) and goes
on with one line a finished seed, and one an evaluation where a seed takes hours; each names the versions and the
revision that made it. Nothing in it belongs to a machine, and nothing in it comes from a changed tree.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from publish_results import without_machine_paths

from common.errors import InputError
from common.metrics import mean_std, with_spread
from common.runs import write_atomic
from common.runs.files import plain
from common.runs.folder import leaves

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "docs/results/records"


@dataclass(frozen=True)
class Kept:
    """A run's settings, its finished seeds in their order, and the evaluations of those that take hours."""

    config: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)

    @property
    def seeds(self) -> set[int]:
        return {record["seed"] for record in self.records}

    @property
    def revisions(self) -> list[str]:
        lines = (*self.records, *self.evaluations)
        return [*dict.fromkeys(line["environment"]["revision"] for line in lines)]


def file_of(name: str) -> Path:
    return RECORDS / f"{name}.jsonl.gz"


def read(name: str) -> Kept:
    """What is kept of a run; nothing where it was never made. Raises InputError for a damaged file."""
    file = file_of(name)
    if not file.exists():
        return Kept()
    try:
        config, *lines = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
        records = [line for line in lines if "index" not in line]
        return Kept(config["config"], records, [line for line in lines if "index" in line])
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError(f"{file} is damaged ({error}): restore it from the repository, or remove it") from None


def keep(name: str, config: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> None:
    """Adds finished seeds, or evaluations (which have an `index`), to what is kept of a run.

    Raises: InputError for records of other settings than those kept, of a changed tree or of none.
    """
    there = read(name)
    config = json.loads(json.dumps(without_machine_paths(plain(config))))
    old, new = leaves(there.config), leaves(config)
    if differing := [key for key in old if key in new and old[key] != new[key]]:
        raise InputError(f"{file_of(name)} holds a run with another {differing[0]}: remove it, or make it with that")
    known = {place_of(line): line for line in (*there.records, *there.evaluations)}
    for record in records:
        revision = record["environment"]["revision"]
        if not revision or "+" in revision:
            raise InputError(f"{name}: made from a tree with changes ({revision or 'no revision'}): commit, run again")
        known.setdefault(place_of(record), without_machine_paths(plain(record)))
    lines = [{"config": config}, *(known[place] for place in sorted(known))]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomic(file_of(name), lambda out: out.write(gzip.compress(text.encode(), mtime=0)))


def place_of(record: Mapping[str, Any]) -> tuple[int, int, str]:
    """What a line is of: a seed, before its evaluations, which in a ranking are of several evaluators."""
    return record["seed"], record.get("index", -1), record.get("evaluator", "")


# cells of tables ---------------------------------------------------------------------------------------------------


def values(kept: Kept, of: Callable[[Mapping[str, Any]], float | None]) -> list[float]:
    """One number a seed; NaN where there is none."""
    found = [of(record) for record in kept.records]
    return [math.nan if value is None else float(value) for value in found]


def spread(numbers: Iterable[float], digits: int) -> str:
    """Mean and sample standard deviation over the seeds; empty without any."""
    kept = [number for number in numbers if not math.isnan(number)]
    return with_spread(*mean_std(kept), len(kept), digits, sign="±") if kept else ""


def difference(numbers: Iterable[float], published: float, digits: int) -> str:
    """The mean less what was published."""
    mean, _ = mean_std(numbers)
    return "" if math.isnan(mean) else f"{mean - published:+.{digits}f}"


def row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def head(*titles: str) -> list[str]:
    return [row(*titles), "|" + "---|" * len(titles)]
