"""Random search: the page to copy for a strategy of one's own."""

from __future__ import annotations

from common.search.base import Proposal, Strategy
from common.search.history import History
from common.seeds import rng_for


class RandomSearch(Strategy):
    """Random architectures, no two isomorphic, all in one round: nothing is learnt on the way."""

    name = "random"

    def propose(self, history: History, room: int) -> Proposal:
        seen = self.candidates.keys(history.archs)
        archs = self.candidates.random(room, rng_for(self.seed, "random"), seen)
        return Proposal(archs, "random", ended="" if archs else EXHAUSTED)


EXHAUSTED = "every architecture was evaluated"
