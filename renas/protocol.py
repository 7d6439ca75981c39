"""Which column the predictor learns, by which the found architecture is chosen, and which is reported."""

from __future__ import annotations

from dataclasses import dataclass

from common.benchmarks.table import BenchmarkTable, Column
from common.errors import InputError

PROTOCOLS = ("honest", "demo")


@dataclass(frozen=True)
class Columns:
    """The columns of one experiment. `note` says what a reader should know about the choice; empty if nothing."""

    label: Column  # trained on, and the candidates' choice
    report: Column  # never looked at before the end, under the honest protocol
    note: str = ""


def choose_columns(
    table: BenchmarkTable, dataset: str, protocol: str, label: str | None = None, report: str | None = None
) -> Columns:
    """Columns of a protocol, unless named.

    honest: train and choose on the validation accuracy after the longest training, report the test accuracy after the
    longest training. demo: the published script's way, test accuracy throughout.

    Raises: InputError when the table has no fitting column.
    """
    if dataset not in table.datasets:
        raise InputError(
            f"{table.source.path}: no accuracies on {dataset!r}; the table has: {', '.join(table.datasets) or 'none'}"
        )
    valid, test = (table.accuracies(dataset, split) for split in ("valid", "test"))
    if not valid and not test:
        raise InputError(f"{table.source.path}: neither validation nor test accuracies on {dataset!r}")
    notes = []
    if report:
        report_column = table.column(report)
    else:
        report_column = (test or valid)[0]
        if not test:
            notes.append(f"no test column: {report_column.name} is reported")
    if label:
        label_column = table.column(label)
    elif protocol == "demo":
        label_column = report_column
    else:
        label_column = (valid or test)[0]
        if not valid:
            notes.append(f"no validation column: trained and chosen on {label_column.name} too")
    return Columns(label_column, report_column, "; ".join(notes))
