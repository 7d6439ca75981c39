"""Predictors by name. A new one is one module and one line here."""

from common.predictors.base import NoSettings, Predictor
from common.registry import Registry

PREDICTORS = Registry(
    "predictor",
    {
        "lenet": "renas.predictor:LeNetPredictor",
        "boosting": "common.predictors.boosting:Boosting",
    },
)

__all__ = ["PREDICTORS", "NoSettings", "Predictor"]
