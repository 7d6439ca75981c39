"""Which column the predictor learns, by which the found architecture is chosen, and which is reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.errors import InputError

if TYPE_CHECKING:
    from common.benchmarks.table import BenchmarkTable, Column


@dataclass(frozen=True)
class Columns:
    """The columns of one experiment. `note` says what a reader should know about the choice; empty if nothing."""

    label: Column  # trained on, and the candidates' choice
    report: Column  # never looked at before the end, under the honest protocol
    note: str = ""


def choose_columns(
    table: BenchmarkTable,
    dataset: str | None = None,
    protocol: str = "honest",
    label: str | None = None,
    report: str | None = None,
) -> Columns:
    """Columns of a protocol, unless named; a named one may be any column, higher values being better.

    honest: train and choose on the validation accuracy after the longest training, report the test accuracy after the
    longest training. demo: the published script's way, test accuracy throughout. In a table without accuracies one
    column is all of that: the named one, or the first.

    Args: dataset: whose accuracies; None for those of the table's first data set.
    Raises: InputError when the table has no fitting column.
    """
    where = table.source.path or table.source.title
    named_label, named_report = (table.column(name) if name else None for name in (label, report))
    if dataset is not None and dataset not in table.datasets:
        raise InputError(f"{where}: no accuracies on {dataset!r}; the table has: {', '.join(table.datasets) or 'none'}")
    dataset = dataset or next(iter(table.datasets), "")
    valid, test = (table.accuracies(dataset, split) for split in ("valid", "test"))
    notes = []
    if named_report:
        report_column = named_report
    elif test or valid:
        report_column = (test or valid)[0]
        if not test:
            notes.append(f"no test column: {report_column.name} is reported")
    elif dataset:
        raise InputError(f"{where}: neither validation nor test accuracies on {dataset!r}")
    else:
        report_column = named_label or table.column(table.default_column)
        if not named_label:
            notes.append(f"no accuracies: trained on, chosen by and reported is {report_column.name}")
    if named_label:
        label_column = named_label
    elif protocol == "demo" or not (valid or test):
        label_column = report_column
    else:
        label_column = (valid or test)[0]
        if not valid:
            notes.append(f"no validation column: trained and chosen on {label_column.name} too")
    return Columns(label_column, report_column, "; ".join(notes))


def choose_seconds(table: BenchmarkTable, columns: Columns, name: str | None = None) -> Column:
    """The column of training times: the named one, or the only one in seconds, or of these that of the label's epochs.

    Raises: InputError where that leaves none or several, or where a time is missing or below 0.
    """
    where = table.source.path or table.source.title
    if name is None:
        found = [c for c in table.columns.values() if not c.dataset and (c.unit == "s" or "seconds" in c.name)]
        same = [c for c in found if columns.label.epochs and columns.label.epochs in (c.epochs, _number_at_end(c.name))]
        if len(found) != 1 and len(same) != 1:
            there = ", ".join(c.name for c in found) or f"none by its name; the table has: {', '.join(table.metrics)}"
            raise InputError(f"{where}: --seconds must name the column of training times ({there})")
        name = (found if len(found) == 1 else same)[0].name
    seconds = table.column(name)
    usable = ~np.isnan(columns.label.values) & ~np.isnan(columns.report.values)
    wrong = int(np.sum(~(seconds.values[usable] >= 0)))
    if wrong:
        raise InputError(f"{where}: {name} of {wrong:,} architectures is missing or below 0, so no time is known")
    return seconds


def _number_at_end(name: str) -> int:
    last = name.rpartition("_")[2]
    return int(last) if last.isdecimal() else -1
