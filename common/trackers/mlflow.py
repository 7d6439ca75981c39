"""Curves for MLflow, where MLFLOW_TRACKING_URI says, or where MLflow keeps them by itself (the extra `mlflow`)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.inputs import short
from common.trackers.base import CurveTracker, Point

EXPERIMENT = "relativistic-nas"  # where MLFLOW_EXPERIMENT_NAME names no other
FOLDER_TAG = "run_folder"
AT_ONCE = 1000  # metrics that MLflow takes in one call


class MLflow(CurveTracker):
    """The curves of `CurveTracker` as metrics of one run of the experiment, named by the run's folder.

    A run that goes on takes the place of the one of the same folder that was there before.
    """

    def __init__(self, folder: Path) -> None:
        """Raises InputError where MLflow is not installed, or its store cannot be had."""
        super().__init__(folder)
        try:
            from mlflow.entities import Metric
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise InputError("TRACKER mlflow: it is not installed: pip install 'relativistic-nas[mlflow]'") from None
        self._metric: Any = Metric
        try:
            self._client: Any = MlflowClient()
            self._run = self._begin(folder)
        except Exception as error:  # of a server, a database, a network
            raise InputError(f"TRACKER mlflow: {short(error)}") from None

    def _begin(self, folder: Path) -> str:
        """The id of a new run, the earlier ones of this folder deleted."""
        name, place = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT, str(folder.resolve())
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        for run in self._client.search_runs([experiment]):
            if run.data.tags.get(FOLDER_TAG) == place:
                self._client.delete_run(run.info.run_id)
        made = self._client.create_run(experiment, run_name=folder.name, tags={FOLDER_TAG: place})
        return str(made.info.run_id)

    def show(self, points: Sequence[Point]) -> None:
        now = int(time.time() * 1000)
        metrics = [self._metric(curve, value, now, step) for curve, value, step in points]
        try:
            for start in range(0, len(metrics), AT_ONCE):
                self._client.log_batch(self._run, metrics[start : start + AT_ONCE])
        except Exception as error:  # the record is on disk, and shown again by the next start
            raise InputError(f"TRACKER mlflow: {short(error)}") from None

    def close(self) -> None:
        self._client.set_terminated(self._run)
