"""Committed records: what the tables of the papers are made from, one compressed file a run.

`docs/results/records/NAME.jsonl.gz` begins with a line of the run's settings (with the checksums of its data) and goes
on with one line a finished seed, each with the versions and the revision that made it. Nothing in it belongs to a
machine, and nothing in it comes from a changed tree.
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

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "docs/results/records"


@dataclass(frozen=True)
class Kept:
    """A run's settings and its finished seeds, in the order of the seeds."""

    config: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def seeds(self) -> set[int]:
        return {record["seed"] for record in self.records}

    @property
    def revisions(self) -> list[str]:
        return [*dict.fromkeys(record["environment"]["revision"] for record in self.records)]


def file_of(name: str) -> Path:
    return RECORDS / f"{name}.jsonl.gz"


def read(name: str) -> Kept:
    """What is kept of a run; nothing where it was never made. Raises InputError for a damaged file."""
    file = file_of(name)
    if not file.exists():
        return Kept()
    try:
        config, *records = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
        return Kept(config["config"], records)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError(f"{file} is damaged ({error}): restore it from the repository, or remove it") from None


def keep(name: str, config: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> None:
    """Adds finished seeds to what is kept of a run.

    Raises: InputError for records of other settings than those kept, of a changed tree or of none.
    """
    there = read(name)
    config = json.loads(json.dumps(without_machine_paths(plain(config))))
    if there.records and there.config != config:
        raise InputError(f"{file_of(name)} holds a run with other settings: remove it, or make it with those")
    by_seed = {record["seed"]: record for record in there.records}
    for record in records:
        revision = record["environment"]["revision"]
        if not revision or "+" in revision:
            raise InputError(f"{name}: made from a tree with changes ({revision or 'no revision'}): commit, run again")
        by_seed[record["seed"]] = without_machine_paths(plain(record))
    lines = [{"config": config}, *(by_seed[seed] for seed in sorted(by_seed))]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomic(file_of(name), lambda out: out.write(gzip.compress(text.encode(), mtime=0)))


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
