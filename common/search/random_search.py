"""Random search: the page to copy for a strategy of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from common.search.base import Proposal, Strategy
from common.search.history import History
from common.seeds import rng_for
from common.spaces.base import SearchSpace


@dataclass(frozen=True)
class RandomSearch(Strategy):
    """Random architectures, no two isomorphic, all in one round: nothing is learnt on the way."""

    space: SearchSpace
    seed: int
    name = "random"

    def propose(self, history: History, room: int) -> Proposal:
        drawn = self.space.distinct_samples(rng_for(self.seed, "random"))
        archs = [arch for _, arch in islice(drawn, len(history), len(history) + room)]
        return Proposal(archs, "random", ended="" if archs else "every architecture of the space was evaluated")
