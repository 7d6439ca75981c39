"""Curves for TensorBoard, in the folder `tensorboard` of a run (the extra `tensorboard`)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from common.errors import InputError
from common.trackers.base import CurveTracker, Point

FOLDER = "tensorboard"


class TensorBoard(CurveTracker):
    """The curves of `CurveTracker`."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError where TensorBoard is not installed."""
        super().__init__(folder)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InputError(
                "TRACKER tensorboard: it is not installed: pip install 'relativistic-nas[tensorboard]'"
            ) from None
        shutil.rmtree(folder / FOLDER, ignore_errors=True)  # a run that goes on shows all of its records again
        self._writer = SummaryWriter(str(folder / FOLDER))

    def show(self, points: Sequence[Point]) -> None:
        for point in points:
            self._writer.add_scalar(*point)

    def close(self) -> None:
        self._writer.close()
