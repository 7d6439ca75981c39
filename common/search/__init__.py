"""Searching: the loop, the history, and strategies by name. A new strategy is one module and one line here."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from common.errors import InputError
from common.registry import Registry
from common.search.base import Proposal, SearchResult, StoppingPolicy, Strategy
from common.search.candidates import Candidates, Pool, WholeSpace
from common.search.history import Evaluation, History, read_history
from common.search.loop import run_search
from common.spaces.base import SearchSpace

STRATEGIES = Registry(
    "search strategy",
    {
        "random": "common.search.random_search:RandomSearch",
        "evolution": "common.search.evolution:Evolution",
        "local": "common.search.local_search:LocalSearch",
        "active": "common.search.active:ActiveSearch",
        "pareto": "common.search.pareto:ParetoSearch",
        "screening": "common.search.screening:Screening",
        "reinforce": "common.search.reinforce:Reinforce",
        "forest": "rminas.forest:ForestSearch",
    },
    Strategy,
)


def make_strategy(
    name: str,
    space: SearchSpace,
    seed: int,
    pool: Candidates | Sequence[Any] | None = None,
    settings: Any = None,
    **parts: Any,
) -> Strategy:
    """The strategy called `name`, or a user's own by import path.

    Args:
        pool: the architectures that may be proposed; the whole space if None. settings: of the class's `Settings`.
        parts: what the strategy is made of (`predictor`, `encoding`); those that are None are left to its defaults.
    Raises: InputError for an unknown name, or a pool, settings or part that the strategy has no use for.
    """
    made = STRATEGIES.load(name)
    try:
        inspect.signature(made.propose).bind(None, History(), 1)
    except TypeError as error:
        raise InputError(f"search strategy {name!r}: expected propose(self, history, room): {error}") from None
    given = {"pool": pool, "settings": settings, **parts}
    given = {part: value for part, value in given.items() if value is not None}
    taken = inspect.signature(made).parameters
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken.values()):
        for part in given:
            if part not in taken:
                raise InputError(f"search strategy {name!r} takes no {part}")
    strategy: Strategy = STRATEGIES.make(name, space, seed, **given)
    return strategy


__all__ = [
    "STRATEGIES",
    "Candidates",
    "Evaluation",
    "History",
    "Pool",
    "Proposal",
    "SearchResult",
    "StoppingPolicy",
    "Strategy",
    "WholeSpace",
    "make_strategy",
    "read_history",
    "run_search",
]
