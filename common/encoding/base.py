"""The contract of encodings: what predictors see of an architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from common.errors import InputError
from common.spaces.base import SearchSpace

if TYPE_CHECKING:
    from common.benchmarks.table import BenchmarkTable


class FeatureSource(Protocol):
    """Features of a list of architectures, made or read when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one architecture's features: (D,) or, of feature tensors, (C, V, V)."""

    def __len__(self) -> int: ...

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """(n, *shape) features of the given architectures, float32 or float64."""


class Encoding(ABC):
    """Turns codes into arrays. Equal for architectures that compute the same wherever the space can tell."""

    name: str

    def check(self, space: SearchSpace) -> None:  # noqa: B027 (most exist for all spaces)
        """Raises InputError where the encoding does not exist for a space; by default it does for all."""

    @abstractmethod
    def encode(self, space: SearchSpace, codes: np.ndarray) -> np.ndarray:
        """(N, *shape) float32 or float64 features of codes (N, code_length)."""

    def columns(self, space: SearchSpace) -> list[str]:
        """Names of the D columns of a flat encoding, for people."""
        width = self.encode(space, space.to_codes([space.sample(np.random.default_rng(0))])).shape[1]
        return [f"{self.name} {column}" for column in range(width)]

    def groups(self, space: SearchSpace) -> np.ndarray | None:
        """(D,) int64 for a flat encoding: columns of equal number are of one kind; None: all are."""
        return None

    def source(self, table: BenchmarkTable) -> FeatureSource:
        """The features of a table's architectures. Raises InputError for a table or space that has none."""
        if table.space is None or table.codes is None:
            raise InputError(
                f"{table.source.path}: holds feature tensors only, no architectures that {self.name!r} could encode"
            )
        self.check(table.space)
        return EncodedFeatures(self, table.space, table.codes)

    def describe(self) -> str:
        """The name with whatever else decides the values: what `make_encoding` takes and records hold."""
        return self.name


@dataclass(frozen=True)
class Joined(Encoding):
    """Several flat encodings side by side."""

    parts: tuple[Encoding, ...]

    @property
    def name(self) -> str:  # type: ignore[override]
        return "+".join(part.name for part in self.parts)

    def check(self, space: SearchSpace) -> None:
        for part in self.parts:
            part.check(space)

    def encode(self, space: SearchSpace, codes: np.ndarray) -> np.ndarray:
        made = [part.encode(space, codes) for part in self.parts]
        for part, values in zip(self.parts, made, strict=True):
            if values.ndim != 2:
                raise InputError(f"encoding {part.name!r} has no flat features: only flat ones join")
        return np.concatenate(made, axis=1)

    def columns(self, space: SearchSpace) -> list[str]:
        return [column for part in self.parts for column in part.columns(space)]

    def groups(self, space: SearchSpace) -> np.ndarray:
        """Those of the parts; no two parts share one."""
        found: list[np.ndarray] = []
        for part in self.parts:
            own = part.groups(space)
            own = np.zeros(len(part.columns(space)), dtype=np.int64) if own is None else own
            found.append(own + (found[-1].max() + 1 if found else 0))
        return np.concatenate(found)

    def describe(self) -> str:
        return "+".join(part.describe() for part in self.parts)


@dataclass(frozen=True)
class EncodedFeatures:
    """Features of a list of codes, encoded when they are asked for: nothing but the codes is kept."""

    encoding: Encoding
    space: SearchSpace
    codes: np.ndarray

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return self.encoding.encode(self.space, self.codes[:1]).shape[1:]

    @cached_property
    def groups(self) -> np.ndarray | None:
        return self.encoding.groups(self.space)

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        return self.encoding.encode(self.space, self.codes[indices])
