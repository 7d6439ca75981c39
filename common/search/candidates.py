"""What a search may choose from: a whole space, or a pool of given architectures such as the rows of a table.

Strategies draw, mutate and look around through `Candidates`, so that each is written once and works on both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from common.benchmarks.table import BenchmarkTable
from common.encoding.base import Encoding
from common.errors import InputError
from common.seeds import rng_for
from common.spaces.base import SearchSpace

if TYPE_CHECKING:
    from common.search.limits import Limits

TRIES = 16  # mutants of a parent at each distance
MAX_STEPS = 8  # mutations from a parent to its mutant in a whole space
MAX_POOL_STEPS = 3  # the same in a pool, before the nearest member is taken
DRAWS = 200  # of a whole space until one is within limits, before walking there
WALKS = 10
NEAREST = 16  # members that a neighbourhood is filled up to where the pool lacks the true neighbours


class Candidates(ABC):
    """Architectures that may be proposed. Isomorphic ones are one: they share a key, and only one of them is proposed.

    What is outside of `limits` is no candidate. `seen` are keys of what must not be proposed again.
    """

    space: SearchSpace

    def __init__(self, space: SearchSpace, limits: Limits | None = None) -> None:
        self.space, self.limits = space, limits
        self._keys: dict[Any, Hashable] = {}

    def key(self, arch: Any) -> Hashable:
        """The canonical key, computed once for an architecture."""
        found = self._keys.get(arch)
        if found is None:
            found = self._keys[arch] = self.space.canonical_key(arch)
        return found

    def keys(self, archs: Sequence[Any]) -> set[Hashable]:
        return {self.key(arch) for arch in archs}

    def within(self, archs: Sequence[Any]) -> list[Any]:
        """Those of some architectures that are inside of the limits."""
        if self.limits is None or not archs:
            return list(archs)
        admitted = self.limits.admits(self.space.to_codes(archs))
        return [arch for arch, inside in zip(archs, admitted, strict=True) if inside]

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Any:
        """A random candidate, whether or not it was drawn before."""

    @abstractmethod
    def random_order(self, rng: np.random.Generator) -> Iterator[Any]:
        """Random candidates, each once."""

    def random(self, count: int, rng: np.random.Generator, seen: Collection[Hashable] = ()) -> list[Any]:
        """The first `count` unseen of `random_order`; fewer where there are no more.

        With the same generator and some of the candidates seen, those that are left come in the same order.
        """
        return list(islice((arch for arch in self.random_order(rng) if self.key(arch) not in seen), count))

    @abstractmethod
    def mutant(self, parent: Any, rng: np.random.Generator, seen: Collection[Hashable]) -> Any | None:
        """A random unseen candidate near `parent`; None when nothing unseen is left."""

    @abstractmethod
    def neighbours(self, arch: Any) -> list[Any]:
        """The candidates around `arch`, without itself, in an order that depends on `arch` alone."""

    def _mutants(self, parent: Any, rng: np.random.Generator, max_steps: int) -> Iterator[Any]:
        """TRIES mutants each at a distance of 1, 2, ... `max_steps` mutations."""
        for steps in range(1, max_steps + 1):
            for _ in range(TRIES):
                mutant = parent
                for _ in range(steps):
                    mutant = self.space.mutate(mutant, rng)
                yield mutant


class WholeSpace(Candidates):
    """Every architecture of a space that is inside of the limits; nothing is listed."""

    def __init__(self, space: SearchSpace, limits: Limits | None = None) -> None:
        """Raises: InputError for limits that nothing is found inside of."""
        super().__init__(space, limits)
        if limits is not None:
            self.sample(rng_for(0, "limits"))

    def sample(self, rng: np.random.Generator) -> Any:
        """The first of DRAWS that is inside of the limits; where none is, what a walk from the last one gets to."""
        arch = self.space.sample(rng)
        if self.limits is None:
            return arch
        for _ in range(DRAWS):
            if self.within([arch]):
                return arch
            arch = self.space.sample(rng)
        for _ in range(WALKS):
            if (found := self._walk(self.space.sample(rng), rng)) is not None:
                return found
        raise InputError(f"no architecture of {self.space.title} was found that has {self.limits}")

    def _walk(self, arch: Any, rng: np.random.Generator) -> Any | None:
        """From neighbour to neighbour, each a random one of those nearer to the limits; None where there is none."""
        assert self.limits is not None
        excess = float(self.limits.excess(self.space.to_codes([arch]))[0])
        while excess > 0:
            near = self.space.neighbours(arch)
            over = self.limits.excess(self.space.to_codes(near))
            nearer = np.flatnonzero(over < excess)
            if not len(nearer):
                return None
            chosen = int(rng.choice(nearer))
            arch, excess = near[chosen], float(over[chosen])
        return arch

    def random_order(self, rng: np.random.Generator) -> Iterator[Any]:
        for key, arch in self.space.distinct_samples(rng, draw=self.sample):
            self._keys[arch] = key
            yield arch

    def mutant(self, parent: Any, rng: np.random.Generator, seen: Collection[Hashable]) -> Any | None:
        """The first unseen mutant, one mutation away or, where these were all seen, further; at last a random draw."""
        for mutant in self._mutants(parent, rng, MAX_STEPS):
            if self.key(mutant) not in seen and self.within([mutant]):
                return mutant
        return next(iter(self.random(1, rng, seen)), None)

    def neighbours(self, arch: Any) -> list[Any]:
        return self.within(self.space.neighbours(arch))


class Pool(Candidates):
    """A list of candidates, each isomorphism class once: by the first of its members in the list.

    In a list that holds a part of a space only, most mutants and neighbours are missing. The members whose codes differ
    from theirs in the fewest entries stand in.

    Attributes: codes: (N, code_length) of the members. rows: (N,) their places in the list that the pool was made of.
    """

    def __init__(
        self,
        space: SearchSpace,
        archs: Sequence[Any] | None = None,
        codes: np.ndarray | None = None,
        keys: Sequence[Hashable] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """The list as values or as codes (M, code_length), or both; keys: their canonical keys where these are known.

        Raises: InputError for an empty list, or where nothing in it is inside of the limits.
        """
        super().__init__(space, limits)
        if codes is None:
            codes = space.to_codes(archs or [])
        if not len(codes):
            raise InputError("no architectures to choose from: the pool is empty")
        if keys is None:
            keys = [space.canonical_key(archs[i] if archs is not None else space.from_code(codes[i]))
                    for i in range(len(codes))]  # fmt: skip
        first: dict[Hashable, int] = {}
        for row, key in enumerate(keys):
            first.setdefault(key, row)
        if limits is not None:
            inside = limits.admits(codes)
            first = {key: row for key, row in first.items() if inside[row]}
            if not first:
                raise InputError(f"none of {len(codes):,} architectures has {limits}")
        self.rows = np.fromiter(first.values(), np.int64, len(first))
        self.codes = np.ascontiguousarray(codes[self.rows])
        self._index = {key: index for index, key in enumerate(first)}
        self._list = archs
        self._made: dict[int, Any] = {}
        self._around: dict[Hashable, list[Any]] = {}
        self._features: dict[str, Callable[[np.ndarray], np.ndarray]] = {}

    @classmethod
    def of_table(cls, table: BenchmarkTable, rows: np.ndarray | None = None) -> Pool:
        """The architectures of a table, or of some of its rows (then `Pool.rows` are places in these).

        Raises: InputError for a table of tensors, which has no architectures.
        """
        if table.space is None or table.codes is None:
            raise InputError(f"{table.source.path}: holds tensors only, not architectures to search among")
        rows = np.arange(len(table)) if rows is None else rows
        return cls(table.space, codes=table.codes[rows], keys=[table.key(int(row)) for row in rows])

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, arch: Any) -> bool:
        return self.key(arch) in self._index

    def arch(self, index: int) -> Any:
        """The member at `index`, always the same object."""
        found = self._made.get(index)
        if found is None:
            row = int(self.rows[index])
            found = self._list[row] if self._list is not None else self.space.from_code(self.codes[index])
            self._made[index] = found
        return found

    def index(self, arch: Any) -> int | None:
        """Where the member isomorphic to `arch` is; None if there is none."""
        return self._index.get(self.key(arch))

    def unseen(self, seen: Collection[Hashable]) -> np.ndarray:
        """(N,) bool: the members whose keys are not in `seen`."""
        left = np.ones(len(self), dtype=bool)
        left[[self._index[key] for key in seen if key in self._index]] = False
        return left

    def features(self, encoding: Encoding, limit: int) -> Callable[[np.ndarray], np.ndarray]:
        """From indices (n,) to features (n, ...). All are encoded once and kept if they take at most `limit` bytes."""
        name = encoding.describe()
        if name not in self._features:
            one = encoding.encode(self.space, self.codes[:1])
            whole = encoding.encode(self.space, self.codes) if one.nbytes * len(self) <= limit else None
            self._features[name] = (
                (lambda rows: encoding.encode(self.space, self.codes[rows])) if whole is None else whole.__getitem__
            )
        return self._features[name]

    def sample(self, rng: np.random.Generator) -> Any:
        return self.arch(int(rng.integers(len(self))))

    def random_order(self, rng: np.random.Generator) -> Iterator[Any]:
        return (self.arch(int(index)) for index in rng.permutation(len(self)))

    def mutant(self, parent: Any, rng: np.random.Generator, seen: Collection[Hashable]) -> Any | None:
        """The first mutant that is an unseen member; else the unseen member nearest to the first mutant."""
        mutants = []
        for mutant in self._mutants(parent, rng, MAX_POOL_STEPS):
            index = self.index(mutant)
            if index is not None and self.key(mutant) not in seen:
                return self.arch(index)
            mutants.append(mutant)
        left = np.flatnonzero(self.unseen(seen))
        if not len(left):
            return None
        distances = self._distances(mutants[0], left)
        return self.arch(int(rng.choice(left[distances == distances.min()])))

    def neighbours(self, arch: Any) -> list[Any]:
        """The neighbours that are members; where some are missing, the nearest members too, up to NEAREST in all."""
        key = self.key(arch)
        if key not in self._around:
            true = self.space.neighbours(arch)
            found = [index for index in map(self.index, true) if index is not None]
            missing = min(len(true), NEAREST) - len(found)
            if missing > 0:
                taken = {*found, self._index.get(key)}
                others = np.array([i for i in range(len(self)) if i not in taken], dtype=np.int64)
                found += others[np.argsort(self._distances(arch, others), kind="stable")[:missing]].tolist()
            self._around[key] = [self.arch(index) for index in found]
        return self._around[key]

    def _distances(self, arch: Any, indices: np.ndarray) -> np.ndarray:
        """(n,) numbers of code entries in which members differ from an architecture."""
        return (self.codes[indices] != self.space.to_codes([arch])[0]).sum(axis=1)


def candidates_of(space: SearchSpace, pool: Candidates | Sequence[Any] | None) -> Candidates:
    """The pool as candidates; the whole space where there is none."""
    if pool is None:
        return WholeSpace(space)
    return pool if isinstance(pool, Candidates) else Pool(space, pool)
