"""Random search: the page to copy for a strategy of one's own."""

from __future__ import annotations

from common.search.base import Proposal, Strategy
from common.search.history import History


class RandomSearch(Strategy):
    """Random architectures, no two isomorphic, all in one round: nothing is learnt on the way."""

    name = "random"

    def propose(self, history: History, room: int) -> Proposal:
        return self.random_round(history, room, "random")
