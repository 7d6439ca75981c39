"""Looking architectures up in a table of trained ones: what a benchmark is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.benchmarks.table import BenchmarkTable
from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome
from common.evaluators.context import Context


@dataclass(frozen=True)
class TableEvaluator(Evaluator):
    """The value of a column; NaN for an architecture that the table lacks or did not measure."""

    table: BenchmarkTable
    column: str
    name = "table"

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        row = self.table.index_of(arch)
        return Outcome(float("nan") if row is None else float(self.table.columns[self.column].values[row]))


def make_table_look_up(context: Context) -> TableEvaluator:
    """Raises InputError when the table lacks the context's column."""
    return TableEvaluator(context.table, context.table.column(context.column).name)
