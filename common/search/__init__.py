"""Searching: the loop, the history, and strategies by name. A new strategy is one module and one line here."""

from common.registry import Registry
from common.search.base import Proposal, SearchResult, StoppingPolicy, Strategy
from common.search.history import Evaluation, History, read_history
from common.search.loop import run_search

STRATEGIES = Registry(
    "search strategy",
    {
        "random": "common.search.random_search:RandomSearch",
    },
)

__all__ = [
    "STRATEGIES",
    "Evaluation",
    "History",
    "Proposal",
    "SearchResult",
    "StoppingPolicy",
    "Strategy",
    "read_history",
    "run_search",
]
