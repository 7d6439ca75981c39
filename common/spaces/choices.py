"""What spaces have in common whose architectures are one of several choices at every position."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from common.spaces.base import Arch, SearchSpace


class ChoiceSpace(SearchSpace[Arch]):
    """A space whose code has one of `counts[position]` choices, counted from 0, at every position.

    Not every combination need be an architecture (`fault`).
    """

    @property
    def counts(self) -> tuple[int, ...]:
        """Choices of every position; here as many at each."""
        return (self.choices,) * self.code_length

    @abstractmethod
    def choices_of(self, arch: Arch) -> Sequence[int]:
        """The choice at every position."""

    @abstractmethod
    def with_choices(self, choices: Sequence[int]) -> Arch:
        """The architecture with these choices."""

    def fault(self, choices: Sequence[int]) -> str:
        """What is wrong with choices that are each in their range; empty if nothing is."""
        return ""

    # walking ---------------------------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator) -> Arch:
        """Every choice is equally likely at every position."""
        return self.with_choices(rng.integers(self.counts).tolist())

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Drawn evenly from `neighbours`, so never one that is isomorphic."""
        near = self.neighbours(arch)
        return near[int(rng.integers(len(near)))]

    def neighbours(self, arch: Arch) -> list[Arch]:
        """All architectures with another choice at one position."""
        found = {self.canonical_key(arch): arch}
        own = tuple(self.choices_of(arch))
        for position, (old, count) in enumerate(zip(own, self.counts, strict=True)):
            for choice in range(count):
                choices = (*own[:position], choice, *own[position + 1 :])
                if choice != old and not self.fault(choices):
                    near = self.with_choices(choices)
                    found.setdefault(self.canonical_key(near), near)
        return list(found.values())[1:]

    def reaches_output(self, arch: Arch) -> bool:
        return True

    # arrays ----------------------------------------------------------------------------------------------------

    def to_codes(self, archs: Sequence[Arch]) -> np.ndarray:
        return np.array([self.choices_of(arch) for arch in archs], dtype=np.uint8).reshape(-1, self.code_length)

    def from_code(self, code: np.ndarray) -> Arch:
        return self.with_choices(code.tolist())

    def all_codes(self) -> np.ndarray:
        """(product of counts, code_length) uint8: every combination, the last position changing fastest.

        For small spaces of which every combination is an architecture.
        """
        return np.indices(self.counts, dtype=np.uint8).reshape(self.code_length, -1).T.copy()

    def one_hot(self, codes: np.ndarray) -> np.ndarray:
        """(N, sum of counts) float32, position by position, choice by choice."""
        hot = np.eye(self.choices, dtype=np.float32)[codes].reshape(len(codes), self.code_length * self.choices)
        return hot if min(self.counts) == self.choices else hot[:, self._there.ravel()]

    def most_voted(self, votes: np.ndarray) -> Arch:
        return self.with_choices(np.where(self._there, votes, -np.inf).argmax(1).tolist())

    @property
    def _there(self) -> np.ndarray:
        """(code_length, choices) bool: the choices that a position has."""
        return np.arange(self.choices) < np.array(self.counts)[:, None]
