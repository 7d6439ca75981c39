"""Runs ReNAS for the paper's tables and keeps the summaries, from which scripts/make_tables.py makes the tables.

One `renas.run` per row, resumable: seeds that are finished are not run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.cli import OneLineParser, run_command

PROG = "python scripts/reproduce_renas.py"
TRAIN_NUM = 424  # 0.1 % of NAS-Bench-101, the paper's budget


@dataclass(frozen=True)
class Row:
    """One run of ReNAS: its name in docs/results/renas, its data set and what it changes from the defaults."""

    name: str
    dataset: str
    encoding: str = "tensor"
    settings: Mapping[str, Any] = field(default_factory=dict)


SEARCHES = tuple(Row(f"nasbench201_{dataset}", dataset) for dataset in ("cifar10", "cifar100"))
# The paper's six variants; which is which is inferred from its numbers.
VARIANTS = (
    Row("variant_1", "cifar10", "tensor=type", {"loss": "mse"}),
    Row("variant_2", "cifar10", settings={"loss": "mse"}),
    Row("variant_3", "cifar10", "tensor=type"),
    SEARCHES[0],  # ReNAS-4 is the default
    Row("variant_5", "cifar10", "tensor=type", {"continuity": 0.1}),
    Row("variant_6", "cifar10", settings={"continuity": 0.1}),
)
TABLES = {"searches": SEARCHES, "variants": VARIANTS}


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("--data_path", required=True, help="NAS-Bench-201 CSV, .pth or NATS-Bench folder")
    parser.add_argument("--what", choices=("all", *TABLES), default="all", help="which table's rows to run")
    parser.add_argument("--seeds", type=int, default=10, help="as of python -m renas")
    parser.add_argument("--jobs", type=int, default=1, help="as of python -m renas")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce_renas"), help="where the run folders go")
    parser.add_argument("--save", type=Path, default=Path("docs/results/renas"), help="where the summaries go")
    args = parser.parse_args()

    from publish_results import publish

    import renas

    rows = {row.name: row for what, rows in TABLES.items() if args.what in ("all", what) for row in rows}
    for row in rows.values():
        print(f"\n== {row.name}")
        run = renas.run(
            args.data_path,
            dataset=row.dataset,
            train_num=TRAIN_NUM,
            encoding=row.encoding,
            settings=row.settings,
            seeds=args.seeds,
            jobs=args.jobs,
            out=args.out / row.name,
            tell=print,
        )
        print(run)
        publish(run.folder / "summary.json", args.save / f"{row.name}.json")


if __name__ == "__main__":
    run_command(PROG, main)
