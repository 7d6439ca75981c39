"""The contract every search space fulfils: what an architecture is, and nothing about how it is searched or scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from itertools import islice
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

import numpy as np

from common.errors import InputError
from common.spaces.graphs import CellGraphs
from common.spaces.sketch import Block, Chain, Sketch

Arch = TypeVar("Arch")


class Costs(NamedTuple):
    """Cost of every position (vertex or edge) of every cell of N networks.

    flops, params: (N, cells, positions) int64. What a FLOP is differs between benchmarks and is stated by each space.
    """

    flops: np.ndarray
    params: np.ndarray


@dataclass(frozen=True)
class Skeleton:
    """The network around what is searched.

    options: what else it can be told, by names that the space knows (`SearchSpace.network_options`).
    """

    num_classes: int = 10
    image_size: int = 32  # pixels along a side
    options: Mapping[str, int] = field(default_factory=dict)


class UnknownOption(InputError):
    """The space has no such option; `option` is its name."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


class SpaceExhausted(InputError):
    """No further distinct architecture was found within a bounded number of draws."""


class SearchSpace(ABC, Generic[Arch]):
    """A search space: architectures as values, as text, and as integer codes.

    Networks are made of them elsewhere (`common.networks.build_network`); a space of one's own has a method
    `build(arch) -> nn.Module` for that, and in `taps` the names of the modules in it whose outputs are the features.
    This is all that a search needs that trains its candidates. Spaces whose cells have feature tensors (ReNAS) are
    `TensorSpace`s.

    Two views of an architecture are used. The *value* (`Arch`, frozen and hashable) is for people and for walking
    the space one architecture at a time. The *code* (a row of `code_length` uint8) is for work on many
    architectures at once: tables hold codes, encoders and cost models take (N, code_length) arrays.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    code_length: ClassVar[int]
    size: ClassVar[int | None]  # number of architectures (up to isomorphism for NAS-Bench-101), None if not known
    choices: ClassVar[int]  # a code's entries are below it
    network_options: ClassVar[tuple[str, ...]] = ()  # fields (it being a dataclass) that change the network around

    def for_search(self, skeleton: Skeleton) -> SearchSpace[Arch]:
        """This space with the network that candidates are trained in.

        That is as it is but for the fields `num_classes` and `image_size`, where there are such, and the options.
        Raises: UnknownOption; InputError for a network that cannot be.
        """
        for option, value in skeleton.options.items():
            if option not in self.network_options:
                known = ", ".join(self.network_options)
                there = f"its networks can be told: {known}" if known else "it has networks of one size only"
                raise UnknownOption(option, f"{self.title}: no {option} (asked: {value}); {there}")
        settable = settable_fields(self)
        sizes = {"num_classes": skeleton.num_classes, "image_size": skeleton.image_size}
        changes = {name: size for name, size in sizes.items() if name in settable} | {**skeleton.options}
        return replace(cast(Any, self), **changes) if changes else self

    def shallow(self) -> SearchSpace[Arch]:
        """The space with the least deep networks that its architectures still tell apart, to be trained for less.

        Itself, unless its networks can be told how often they repeat the same cell.
        """
        return self

    # text ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def parse(self, text: str) -> Arch:
        """The architecture a text stands for. Raises InputError when the text is not one of this space."""

    @abstractmethod
    def format(self, arch: Arch) -> str:
        """The text form of an architecture; `parse(format(a)) == a`."""

    # walking ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Arch:
        """A random valid architecture."""

    @abstractmethod
    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """A random valid architecture near `arch` that is not isomorphic to it."""

    @abstractmethod
    def neighbours(self, arch: Arch) -> list[Arch]:
        """All valid architectures one edit away, each canonical class once, `arch`'s own class left out."""

    # identity --------------------------------------------------------------------------------------------------

    @abstractmethod
    def canonical_key(self, arch: Arch) -> str:
        """Equal for architectures that compute the same function family (isomorphic cells)."""

    @abstractmethod
    def reaches_output(self, arch: Arch) -> bool:
        """Whether the cell's input can influence its output; if not, the network's output is constant."""

    # arrays ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def to_codes(self, archs: Sequence[Arch]) -> np.ndarray:
        """(N, code_length) uint8 codes of N architectures."""

    @abstractmethod
    def from_code(self, code: np.ndarray) -> Arch:
        """The architecture of one code row."""

    def live_codes(self, codes: np.ndarray) -> np.ndarray:
        """(N, code_length) codes without what cannot influence the output (dead edges become "no operation")."""
        return codes

    def canonical_codes(self, codes: np.ndarray) -> np.ndarray:
        """(N, code_length) codes of isomorphic architectures that do not depend on how they were written.

        As far as the space can tell for many at once: equal codes wherever costs or graphs would differ.
        """
        return self.live_codes(codes)

    def cell_graphs(self, codes: np.ndarray) -> list[CellGraphs]:
        """The graphs of each kind of cell (two in DARTS), for graph features; none where a space does not tell.

        Args: codes: as `canonical_codes` makes them. Isomorphic architectures have isomorphic graphs, and
        identical chains.
        """
        return []

    @abstractmethod
    def one_hot(self, codes: np.ndarray) -> np.ndarray:
        """(N, D) float32: the flat one-hot code that samplers and classical predictors take."""

    def most_voted(self, votes: np.ndarray) -> Arch:
        """The valid architecture that has the most votes: position by position, a tie going to the lower choice.

        Args: votes: (code_length, choices), how much speaks for every choice at every position.
        """
        return self.from_code(votes.argmax(1).astype(np.uint8))

    def sketches(self, arch: Arch) -> list[Sketch]:
        """What a drawing shows of an architecture (`common.drawing`): a graph for each kind of cell, or a chain.

        A space that does not tell has its text form in one box.
        """
        return [Chain((("", (Block(self.format(arch), "other"),)),))]

    # costs -----------------------------------------------------------------------------------------------------

    @property
    def knows_costs(self) -> bool:
        """Whether `total_costs` can be asked."""
        return True

    @abstractmethod
    def total_costs(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """FLOPs (N,) and trainable parameters (N,) of the whole networks, int64."""

    def distinct_samples(
        self,
        rng: np.random.Generator,
        max_tries: int = 1000,
        draw: Callable[[np.random.Generator], Arch] | None = None,
    ) -> Iterator[tuple[str, Arch]]:
        """Canonical keys and architectures, random, each key once; ends after `max_tries` draws without a new one.

        Args: draw: instead of `sample`.
        """
        draw = draw or self.sample
        seen: set[str] = set()
        tries = 0
        while tries < max_tries:
            arch = draw(rng)
            key = self.canonical_key(arch)
            if key in seen:
                tries += 1
                continue
            tries = 0
            seen.add(key)
            yield key, arch

    def sample_distinct(self, count: int, rng: np.random.Generator, max_tries: int = 1000) -> list[Arch]:
        """`count` random architectures with distinct canonical keys.

        Raises: SpaceExhausted when `max_tries` draws in a row bring nothing new.
        """
        found = [arch for _, arch in islice(self.distinct_samples(rng, max_tries), count)]
        if len(found) < count:
            raise SpaceExhausted(
                f"{self.name}: only {len(found)} of {count} distinct ones after {max_tries} draws without a new one: "
                "ask for fewer"
            )
        return found


def settable_fields(space: SearchSpace[Any]) -> set[str]:
    """The fields that a copy of the space may have otherwise; none where it is no dataclass."""
    return {field.name for field in fields(space) if field.init} if is_dataclass(space) else set()


class TensorSpace(SearchSpace[Arch]):
    """A space whose cells are graphs of bounded size with known costs: its architectures have feature tensors."""

    num_vertices: ClassVar[int]  # side of the adjacency matrix of one cell
    num_cells: int  # searched cells of the network, each with its own costs

    @abstractmethod
    def edge_matrices(self, codes: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values per position as matrices over the cell's graph (ReNAS, section 3.1).

        Args: codes: (N, code_length). values: (N, C, positions), any dtype.
        Returns: (N, C, num_vertices, num_vertices), same dtype; entry (i, j) belongs to the edge i -> j and is zero
        where there is none.
        """

    @abstractmethod
    def types(self, codes: np.ndarray) -> np.ndarray:
        """(N, positions) int64: the operation type number of every position."""

    @abstractmethod
    def costs(self, codes: np.ndarray) -> Costs:
        """FLOPs and parameters of every position of every searched cell."""
