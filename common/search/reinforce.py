"""REINFORCE (Williams 1992; Zoph and Le 2017): a controller that learns which choices pay, as NATS-Bench has it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from common.runs.config import above, at_least, between, key
from common.search.base import EXHAUSTED, Proposal, Strategy
from common.search.candidates import Pool
from common.search.history import Evaluation, History
from common.seeds import rng_for

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # of Adam, PyTorch's defaults
PROBES = 1000  # random architectures whose codes show which choices there are at each position
INVALID_TRIES = 1000  # draws in a row that may be no architecture of the space


@dataclass(frozen=True)
class ReinforceSettings:
    """The defaults are those of NATS-Bench (Dong et al., TPAMI 2021) but for the learning rate.

    With theirs, 0.01, it finds hardly more than random search does within 150 evaluations of NAS-Bench-201 (CIFAR-10)
    and NAS-Bench-Macro; with 0.1 it does best there.
    """

    lr: float = key(0.1, "learning rate of Adam", above(0))
    momentum: float = key(0.9, "of the moving average of rewards that is the baseline", between(0, 1))
    repeats: int = key(100, "draws in a row that may have been evaluated before, until a new one is drawn", at_least(1))


@dataclass
class Controller:
    """Logits (code_length, choices) of a choice at every position, with Adam's moments and the baseline's."""

    logits: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    steps: int = 0
    reward_sum: float = 0.0  # both decay by the momentum; their ratio is the baseline
    reward_count: float = 0.0

    @classmethod
    def fresh(cls, possible: np.ndarray) -> Controller:
        """All possible choices equally likely. possible: (code_length, choices) bool."""
        return cls(np.where(possible, 0.0, -np.inf), np.zeros(possible.shape), np.zeros(possible.shape))

    def log_probabilities(self) -> np.ndarray:
        """(code_length, choices); what is not possible has -inf."""
        raised = self.logits - self.logits.max(axis=1, keepdims=True)
        return raised - np.log(np.exp(raised).sum(axis=1, keepdims=True))

    def learn(self, code: np.ndarray, expected: np.ndarray, reward: float, settings: ReinforceSettings) -> None:
        """One step of Adam up the gradient of (reward - baseline) * log p(code).

        expected: (code_length, choices), how often the controller makes every choice. The baseline is a moving average
        that takes the reward in first, as in the published code: the first reward teaches nothing.
        """
        self.reward_sum = settings.momentum * self.reward_sum + (1 - settings.momentum) * reward
        self.reward_count = settings.momentum * self.reward_count + (1 - settings.momentum)
        advantage = reward - self.reward_sum / self.reward_count
        gradient = advantage * (np.eye(expected.shape[1])[code] - expected)
        self.steps += 1
        self.mean = BETA1 * self.mean + (1 - BETA1) * gradient
        self.square = BETA2 * self.square + (1 - BETA2) * gradient**2
        step = self.mean / (1 - BETA1**self.steps)
        self.logits = self.logits + settings.lr * step / (np.sqrt(self.square / (1 - BETA2**self.steps)) + EPSILON)


@dataclass(frozen=True)
class _Reached:
    """The controller after a history, and what it has drawn next (None: nothing is left)."""

    evaluations: tuple[Evaluation, ...]
    controller: Controller
    drawn: Any | None


class Reinforce(Strategy):
    """A controller draws one architecture at a time and learns from its value.

    An architecture that was evaluated before teaches the controller again, with the value that is known, and costs
    nothing. In a pool the controller draws from its distribution restricted to the members and learns by the gradient
    of that. In a whole space it draws all positions independently, which is exact where every code is an architecture;
    where it is not (NAS-Bench-101, DARTS) the most voted valid architecture stands for the draw and is learnt from.
    An architecture that failed counts as the worst so far.

    The state is worked out from the history, one evaluation after the other, and kept for the next call.
    """

    name = "reinforce"
    Settings: ClassVar[type] = ReinforceSettings
    settings: ReinforceSettings
    _reached: _Reached | None = None

    def propose(self, history: History, room: int) -> Proposal:
        reached = self._reached
        if reached is None or not _begins_with(history, reached.evaluations):
            reached = self._draw((), Controller.fresh(self._possible))
        for place in range(len(reached.evaluations), len(history)):
            before = history.evaluations[: place + 1]
            self._learn(reached.controller, self._shares(reached.controller), before)
            reached = self._draw(before, reached.controller)
        self._reached = reached
        return Proposal(
            () if reached.drawn is None else (reached.drawn,), self.name, "" if reached.drawn else EXHAUSTED
        )

    def _draw(self, evaluations: tuple[Evaluation, ...], controller: Controller) -> _Reached:
        """The first architecture that was not evaluated before; those that were teach the controller on the way."""
        known = {self.candidates.key(evaluation.arch): place for place, evaluation in enumerate(evaluations)}
        rng = rng_for(self.seed, self.name, len(evaluations))
        for _ in range(self.settings.repeats):
            shares = self._shares(controller)
            drawn = self._sample(controller, shares, rng)
            if drawn is None:
                break
            place = known.get(self.candidates.key(drawn))
            if place is None:
                return _Reached(evaluations, controller, drawn)
            self._learn(controller, shares, evaluations[: place + 1])
        fresh = self.candidates.random(1, rng, known)
        return _Reached(evaluations, controller, fresh[0] if fresh else None)

    def _learn(self, controller: Controller, shares: np.ndarray | None, evaluations: Sequence[Evaluation]) -> None:
        """From the last one's value. shares: of the controller as it is, see `_shares`."""
        code = self.space.to_codes([evaluations[-1].arch])[0]
        controller.learn(code, self._expected(controller, shares), _reward(evaluations), self.settings)

    def _sample(self, controller: Controller, shares: np.ndarray | None, rng: np.random.Generator) -> Any | None:
        """An architecture by the controller's probabilities; None where its draws are no architectures."""
        if isinstance(self.candidates, Pool) and shares is not None:
            reached = np.cumsum(shares)
            return self.candidates.arch(int(np.searchsorted(reached, rng.random() * reached[-1], side="right")))
        logs = controller.log_probabilities()
        for _ in range(INVALID_TRIES):
            # The largest of log p + Gumbel noise is a draw from p; raised, because votes are not negative.
            votes = np.exp(np.clip(logs + rng.gumbel(size=logs.shape), -300, 300))
            try:
                arch = self.space.most_voted(votes)
                self.candidates.key(arch)
                if self.candidates.within([arch]):
                    return self.space.parse(self.space.format(arch))
            except ValueError:  # not an architecture of the space, or one without a path to its output
                continue
        return None

    def _shares(self, controller: Controller) -> np.ndarray | None:
        """(N,) the probabilities of a pool's members, adding up to 1; None in a whole space, which is not listed."""
        if self._one_hot is None:
            return None
        logs = self._one_hot @ controller.log_probabilities()[self._possible].astype(np.float32)
        shares = np.exp(logs - logs.max(), dtype=np.float64)
        return shares / shares.sum()

    def _expected(self, controller: Controller, shares: np.ndarray | None) -> np.ndarray:
        """(code_length, choices): the share of draws that make each choice."""
        if shares is None or self._one_hot is None:
            return np.exp(controller.log_probabilities())
        found = np.zeros(controller.logits.shape)
        found[self._possible] = shares.astype(np.float32) @ self._one_hot
        return found

    @cached_property
    def _one_hot(self) -> np.ndarray | None:
        """(N, possible choices) of a pool's members, in one precision: a step is two products with it."""
        if not isinstance(self.candidates, Pool):
            return None
        codes = self.candidates.codes
        positions, choices = np.nonzero(self._possible)
        return (codes[:, positions] == choices).astype(np.float32)

    @cached_property
    def _possible(self) -> np.ndarray:
        """(code_length, choices) bool: the choices that architectures make at each position."""
        if isinstance(self.candidates, Pool):
            codes = self.candidates.codes
        else:
            rng = rng_for(self.seed, "possible choices")
            codes = self.space.to_codes([self.candidates.sample(rng) for _ in range(PROBES)])
        return np.stack([np.bincount(column, minlength=self.space.choices) > 0 for column in codes.T])


def _reward(evaluations: Sequence[Evaluation]) -> float:
    """The last one's value; where it failed, the lowest so far, 0 without any."""
    value = evaluations[-1].value
    if math.isfinite(value):
        return value
    return min((e.value for e in evaluations if math.isfinite(e.value)), default=0.0)


def _begins_with(history: History, evaluations: tuple[Evaluation, ...]) -> bool:
    return len(history) >= len(evaluations) and all(a is b for a, b in zip(history, evaluations, strict=False))
