"""Curves for TensorBoard, in the folder `tensorboard` of a run (the extra `tensorboard`)."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.trackers.base import Tracker

FOLDER = "tensorboard"


class TensorBoard(Tracker):
    """By seed (and evaluator, or stage): values of evaluations and the best so far, loss curves of what was trained.
    Of a retraining: all numbers of its epochs.

    What is not finite is left out.
    """

    def __init__(self, folder: Path) -> None:
        """Raises InputError where TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InputError(
                "TRACKER tensorboard: it is not installed: pip install 'relativistic-nas[tensorboard]'"
            ) from None
        shutil.rmtree(folder / FOLDER, ignore_errors=True)  # a run that goes on shows all of its records again
        self._writer = SummaryWriter(str(folder / FOLDER))
        self._best: dict[str, float] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        if (epoch := record.get("epoch")) is not None:
            for name, value in record.items():
                self._show(f"retraining/{name}", _number(value), epoch)
            return
        group = "/".join(str(record[key]) for key in ("evaluator", "stage") if record.get(key))
        group = f"seed_{record.get('seed')}" + (f"/{group}" if group else "")
        if (index := record.get("index")) is not None:
            value = _number(record.get("value"))
            self._best[group] = max(self._best.get(group, -math.inf), -math.inf if math.isnan(value) else value)
            self._show(f"{group}/value", value, index)
            self._show(f"{group}/best_so_far", self._best[group], index)
            for step, negative in enumerate(record.get("trajectory") or ()):
                self._show(f"{group}/loss_of_candidates/{index}", -_number(negative), step)
        else:
            for step, loss in enumerate(record.get("loss") or ()):  # of a predictor's epochs
                self._show(f"{group}/loss_of_the_predictor", _number(loss), step)

    def _show(self, name: str, value: float, step: int) -> None:
        if math.isfinite(value):
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) or hasattr(value, "item") else math.nan
