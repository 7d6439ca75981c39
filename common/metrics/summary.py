"""Numbers of several seeds as summaries hold them and reports show them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from common.metrics.ranking import mean_std


def number(value: float | None, fallback: float = math.nan) -> float:
    """A JSON number back as a float: null stands for NaN."""
    return fallback if value is None else float(value)


def summarize_series(series: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """`mean` and sample `std` over the seeds, each by key; see `mean_std`."""
    stats = {key: mean_std(values) for key, values in series.items()}
    return {
        "mean": {key: mean for key, (mean, _) in stats.items()},
        "std": {key: std for key, (_, std) in stats.items()},
    }


def with_spread(mean: float, std: float, n: int, digits: int, sign: str = "+-") -> str:
    """Mean and standard deviation over n seeds; one seed has no deviation."""
    return f"{mean:.{digits}f}" + (f" {sign} {std:.{digits}f}" if n > 1 else "")
