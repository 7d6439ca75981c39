"""Trackers by name: what shows a run's records as curves while it runs. A new one is one module and one line here."""

from common.registry import Registry
from common.trackers.base import Tracker

TRACKERS = Registry(
    "tracker",
    {
        "mlflow": "common.trackers.mlflow:MLflow",
        "tensorboard": "common.trackers.tensorboard:TensorBoard",
    },
    Tracker,
)

__all__ = ["TRACKERS", "Tracker"]
