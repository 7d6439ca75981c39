"""Predictors by name. A new one is one module and one line here."""

from common.predictors.base import NoSettings, Predictor
from common.predictors.ranker import Ranker, Ranking, load_predictor, make_predictor
from common.predictors.registry import PREDICTORS

__all__ = [
    "PREDICTORS",
    "NoSettings",
    "Predictor",
    "Ranker",
    "Ranking",
    "load_predictor",
    "make_predictor",
]
