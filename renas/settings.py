"""The settings of ReNAS: the published demo's, by its flags' names, and what the toolkit adds; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from common.runs.config import above, at_least, key, one_of
from renas.losses import LOSSES

PROTOCOLS = ("honest", "demo")
# Searches of ReNAS's own, which look at predicted scores; further ones are the strategies of common.search.
TOPK, EVOLVED = "topk", "ea"
MOST_SEEDS = 10_000  # of a run
COUNT = 10  # the demo's --count: best-scored architectures whose accuracy is then looked up


@dataclass(frozen=True)
class LeNetSettings:
    """The demo's hyper-parameters (its flags' names) and the paper's loss variants."""

    lr: float = key(1e-3, "learning rate of Adam", above(0))
    weight_decay: float = key(0.0, "weight decay of Adam", at_least(0))
    num_epochs: int = key(200, "training epochs", at_least(1))
    batch_size: int = key(1024, "architectures per training batch", at_least(2))
    loss: str = key("logistic", "pairwise ranking loss (three forms of phi) or regression", one_of(*LOSSES))
    continuity: float = key(0.0, "weight of the continuity term", at_least(0))


@dataclass(frozen=True)
class EvolvedSettings:
    """Settings of evolution on predicted scores."""

    population: int = key(100, "population size", at_least(2))
    tournament: int = key(10, "tournament size", at_least(1))
    budget: int = key(10_000, "architectures the predictor may score", at_least(2))
