"""The contract of strategies: from what has been evaluated to what is evaluated next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from common.evaluators.base import Bounds
from common.predictors.base import NoSettings
from common.search.candidates import Candidates, candidates_of
from common.search.history import History
from common.seeds import rng_for
from common.spaces.base import SearchSpace

EXHAUSTED = "every architecture was evaluated"


@dataclass(frozen=True)
class Proposal:
    """The architectures of the next round, at least one and distinct, or none: the search is over.

    phase: why they are proposed, kept in the records. ended: where there are none, why (empty: as it should be).
    """

    archs: Sequence[Any] = ()
    phase: str = ""
    ended: str = ""


class Strategy(ABC):
    """Proposes what to evaluate next: a pure function of the history.

    Every random draw depends on the strategy's seed, a role and the place in the history (`common.seeds.rng_for`), so a
    search that was killed goes on from its records as if nothing had happened. What is dear to compute may be cached,
    as long as the same history gives the same proposal.

    A strategy made by name (`common.search.make_strategy`) is constructed as
    `Class(space, seed, settings=None, pool=None)`, with further keywords for the parts that it uses (`predictor`,
    `encoding`); it may leave out the arguments that mean nothing to it, except for `space` and `seed`.

    name: in its registry. Settings: a frozen dataclass of its settings (fields made by `common.runs.config.key`); they
    become STRATEGY.* settings on the command line.
    """

    name: ClassVar[str]
    Settings: ClassVar[type] = NoSettings

    candidates: Candidates

    def __init__(
        self, space: SearchSpace, seed: int, settings: Any = None, pool: Candidates | Sequence[Any] | None = None
    ) -> None:
        """pool: the architectures that may be proposed, isomorphic ones once; the whole space if None."""
        self.space, self.seed = space, seed
        self.settings = settings if settings is not None else self.Settings()
        self.candidates = candidates_of(space, pool)

    @abstractmethod
    def propose(self, history: History, room: int) -> Proposal:
        """The next round, of at most `room` >= 1 architectures: what is left of the search's budget."""

    def random_round(self, history: History, count: int, phase: str) -> Proposal:
        """Up to `count` random candidates that were not evaluated before; the search is over where none is left."""
        seen = self.candidates.keys(history.archs)
        archs = self.candidates.random(count, rng_for(self.seed, "random"), seen)
        return Proposal(archs, phase, ended="" if archs else EXHAUSTED)


class StoppingPolicy:
    """Where evaluations of a round may be stopped. This one stops none."""

    def bounds(self, history: History, proposal: Proposal) -> list[Bounds]:
        """One for each architecture of the proposal."""
        return [{} for _ in proposal.archs]


@dataclass(frozen=True)
class SearchResult:
    """A finished search: its history, and why it ended early (empty: it did not)."""

    history: History
    ended: str = field(default="")
