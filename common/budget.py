"""What an architecture may cost at most: parameters, FLOPs and milliseconds that the user names.

Strategies do not know of it. They choose from `Limits.candidates`, or from the rows of a table that `Budget.within` has
left: what is outside is in neither. Importing this imports no numpy, so that `--help` is instant.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from common.runs.config import Check, key, make_settings

if TYPE_CHECKING:
    from common.benchmarks.table import BenchmarkTable
    from common.search.limits import Limits
    from common.spaces.base import SearchSpace

UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_AMOUNT = re.compile(r"([0-9.]+(?:e[+-]?\d+)?)\s*([kmg]?)", re.IGNORECASE)


def amount(text: str) -> float:
    """`500000`, `5e5`, `0.5M` or `1.2G` as a number, infinity for an empty text. Raises: ValueError for other texts."""
    if not text:
        return math.inf
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or not 0 < (value := float(found[1]) * UNITS[found[2].lower()]) < math.inf:
        raise ValueError(f"{text!r} is no amount such as 500000, 0.5M or 1.2G")
    return value


def _is_amount(text: str) -> bool:
    try:
        return bool(amount(text))
    except ValueError:
        return False


AMOUNT: Check = (_is_amount, "an amount above 0 such as 500000, 0.5M or 1.2G")


@dataclass(frozen=True)
class Budget:
    """The bounds as they are given; empty: none."""

    max_params: str = key("", "parameters of an architecture at most, as 0.5M; others are never evaluated", AMOUNT)
    max_flops: str = key("", "FLOPs of an architecture at most, as 60M, as its space counts them", AMOUNT)
    max_latency: str = key("", "milliseconds of an architecture at most, by the table LATENCY", AMOUNT)
    latency: str = key(
        "", "latencies: a CSV arch,ms (python -m rminas.latency makes one), or Once-for-All's YAML of blocks"
    )

    @classmethod
    def of(cls, **bounds: Any) -> Budget:
        """From numbers or texts, None for no bound. Raises InputError for what is no amount."""
        return make_settings(cls, {name: str(bound) for name, bound in bounds.items() if bound is not None}, "budget")

    @property
    def given(self) -> dict[str, str]:
        """The bounds that there are, by name."""
        return {name: bound for name, bound in asdict(self).items() if bound}

    def within(self, table: BenchmarkTable) -> BenchmarkTable:
        """The rows of a table that are within. Raises InputError for tensors, and where there are fewer than 2."""
        if not self.given:
            return table
        if table.space is None or table.codes is None:
            raise InputError(f"{table.source.path}: holds tensors only, whose costs are not known")
        import numpy as np

        limits = self.limits(table.space)
        rows = np.arange(len(table)) if limits is None else np.flatnonzero(limits.admits(table.codes))
        if len(rows) < 2:
            raise InputError(f"{table.source.title}: {len(rows)} of {len(table):,} architectures have {limits}")
        return table.rows(rows)

    def limits(self, space: SearchSpace[Any]) -> Limits | None:
        """In networks of a space; None without bounds. Raises InputError for latencies that are not there."""
        if not (self.max_params or self.max_flops or self.max_latency):
            if self.latency:
                raise InputError(f"latencies of {self.latency}, but no bound on them: name the milliseconds at most")
            return None
        from common.search.latencies import load_latencies
        from common.search.limits import Limits

        latencies = None
        if self.max_latency:
            if not self.latency:
                raise InputError(
                    f"a latency of at most {self.max_latency} ms: name the table of latencies, too (--latency, "
                    "BUDGET.LATENCY)"
                )
            latencies = load_latencies(self.latency, space)
        return Limits(space, amount(self.max_params), amount(self.max_flops), amount(self.max_latency), latencies)
