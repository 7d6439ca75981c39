"""A file format of one's own: JSON lines as somebody's training script wrote them, one network a line.

    python -m renas --data_path runs.jsonl --benchmark examples/own_benchmark.py:read --train_num 100
    python examples/own_benchmark.py runs.jsonl

The second command writes such a file: 500 cells of the table that pip installs, in some order, one of them twice.
A table that is a CSV or a pandas data frame already needs no reader: docs/data.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from common.benchmarks import load_benchmark
from common.benchmarks.csv_table import table_from_columns
from common.benchmarks.files import sha256_of
from common.benchmarks.table import BenchmarkTable, Source
from common.errors import InputError


def read(path: Path) -> BenchmarkTable:
    """Lines {"cell": text, "best_top1": percent, "minutes": number}; of a cell trained twice the last counts."""
    runs: dict[str, dict[str, float]] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            run = json.loads(line)
            runs[run["cell"]] = {"cifar10_valid": run["best_top1"], "minutes": run["minutes"]}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: line {number}: {type(error).__name__}: {error}") from None
    columns = {name: [run[name] for run in runs.values()] for name in ("cifar10_valid", "minutes")}
    source = Source("own", path.name, str(path), path.stat().st_size, sha256_of(path))
    return table_from_columns({"arch": [*runs], **columns}, source)


def main() -> None:
    table = load_benchmark().sample(500, seed=0)
    with open(sys.argv[1], "w") as file:
        for row in (0, *range(len(table))):
            run = {"cell": table.arch_text(row), "best_top1": table.values()[row], "minutes": 1.5}
            file.write(json.dumps(run) + "\n")


if __name__ == "__main__":
    main()
