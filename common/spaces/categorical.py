"""A space of one's own out of a dictionary of choices."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from common.errors import InputError
from common.spaces.choices import ChoiceSpace
from common.spaces.sketch import Chain, Sketch, operation

if TYPE_CHECKING:
    import torch
    from torch import nn

Choice = str | int | float
MOST_CHOICES = 256  # of a position: codes are bytes
COUNTED = 2**16  # architectures whose counted costs are remembered


@dataclass(frozen=True)
class NamedChoices(Mapping[str, Choice]):
    """An architecture: the choice at every position, read as a dictionary (`arch["layer1"]`)."""

    pairs: tuple[tuple[str, Choice], ...]

    def __getitem__(self, name: str) -> Choice:
        for position, choice in self.pairs:
            if position == name:
                return choice
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (position for position, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


Build = Callable[..., "nn.Module"]
CostsOf = Callable[[dict[str, Choice]], tuple[int, int]]


@dataclass(frozen=True)
class CategoricalSpace(ChoiceSpace[NamedChoices]):
    """One of several named choices at every position, made by `from_choices`. Every combination is an architecture.

    FLOPs and parameters come from the function `costs`; without it they are counted from the network that is built,
    once an architecture (in some tens of milliseconds): parameters exactly, and as FLOPs the multiply-accumulates of
    convolutions and matrix products in a forward pass of one image (`torch.utils.flop_counter`).
    """

    positions: tuple[tuple[str, tuple[Choice, ...]], ...]
    name: str  # type: ignore[misc]
    title: str  # type: ignore[misc]
    builder: Build | None = None
    taps: tuple[str, ...] = ()
    cost_function: CostsOf | None = None
    num_classes: int = 10
    image_size: int = 32

    @classmethod
    def from_choices(
        cls,
        choices: Mapping[str, Sequence[Choice]],
        name: str,
        build: Build | None = None,
        taps: Sequence[str] = (),
        costs: CostsOf | None = None,
        title: str = "",
        num_classes: int = 10,
        image_size: int = 32,
    ) -> CategoricalSpace:
        """The space of all combinations of one choice at every position.

        Args:
            choices: by position, its choices: texts or numbers, at most 256.
            name: of the space, in records. title: for people; the name by default.
            build: makes the network, any torch module, of an architecture as a dictionary. Where it takes arguments
                called `num_classes` or `image_size`, it is given the space's, which follow the images of a search.
            taps: names of the modules whose outputs are its features (`common.networks.taps.as_tapped`).
            costs: FLOPs and parameters of an architecture as a dictionary.
        A space whose functions stand in a module (no lambdas) can be sent to worker processes.
        Raises: InputError for choices that cannot be told apart or written down.

        >>> space = CategoricalSpace.from_choices({"first": ["conv3", "conv5"], "width": [16, 32, 64]}, "mine")
        >>> arch = space.parse("first=conv5,width=16")
        >>> arch["width"], space.to_codes([arch]).tolist(), space.size
        (16, [[1, 0]], 6)
        """
        positions = tuple((position, tuple(those)) for position, those in choices.items())
        return cls(positions, name, title or name, build, tuple(taps), costs, num_classes, image_size)

    def __post_init__(self) -> None:
        for position, choices in self.positions:
            texts = [str(choice) for choice in choices]
            if not 1 <= len({*texts}) == len({*choices}) == len(texts) <= MOST_CHOICES:
                raise InputError(
                    f"{self.title}: {position!r} needs 1 to {MOST_CHOICES} choices, no two alike; got {[*choices]}"
                )
            for text in (position, *texts):
                if not text or text != text.strip() or {*text} & {*",=\n\r"}:
                    raise InputError(
                        f"{self.title}: {text!r} of position {position!r}: a name is a text without commas, equals "
                        "signs, line breaks and spaces around it"
                    )
        if max(self.counts, default=0) < 2:
            raise InputError(f"{self.title}: nothing to choose: no position has two choices")

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(len(choices) for _, choices in self.positions)

    @property
    def code_length(self) -> int:  # type: ignore[override]
        return len(self.positions)

    @property
    def size(self) -> int:  # type: ignore[override]
        return math.prod(self.counts)

    @property
    def choices(self) -> int:  # type: ignore[override]
        return max(self.counts)

    # text ------------------------------------------------------------------------------------------------------

    def parse(self, text: str) -> NamedChoices:
        """From `layer1=conv3,layer2=skip`, in any order."""
        given: dict[str, str] = {}
        for part in text.split(","):
            position, equals, choice = (token.strip() for token in part.partition("="))
            if not equals or position in given:
                raise InputError(f"not an architecture of {self.title}: {part.strip()!r} in {text!r}; {self._form()}")
            given[position] = choice
        if given.keys() != {position for position, _ in self.positions}:
            raise InputError(f"not an architecture of {self.title}: {text!r}; {self._form()}")
        pairs: list[tuple[str, Choice]] = []
        for position, choices in self.positions:
            known = {str(choice): choice for choice in choices}
            if given[position] not in known:
                raise InputError(
                    f"not an architecture of {self.title}: {position} is {given[position]!r} in {text!r}; "
                    f"known there: {', '.join(known)}"
                )
            pairs.append((position, known[given[position]]))
        return NamedChoices(tuple(pairs))

    def format(self, arch: NamedChoices) -> str:
        return ",".join(f"{position}={choice}" for position, choice in arch.pairs)

    def _form(self) -> str:
        return f"the form is {self.format(self.with_choices([0] * self.code_length))}"

    def canonical_key(self, arch: NamedChoices) -> str:
        """The text form: which combinations compute the same is not known."""
        return self.format(arch)

    # codes -----------------------------------------------------------------------------------------------------

    def choices_of(self, arch: NamedChoices) -> list[int]:
        return [choices.index(arch[position]) for position, choices in self.positions]

    def with_choices(self, choices: Sequence[int]) -> NamedChoices:
        return NamedChoices(
            tuple((position, those[choice]) for (position, those), choice in zip(self.positions, choices, strict=True))
        )

    def sketches(self, arch: NamedChoices) -> list[Sketch]:
        """A row a position."""
        return [Chain([(position, (operation(str(choice)),)) for position, choice in arch.pairs])]

    # costs and networks ----------------------------------------------------------------------------------------

    @property
    def knows_costs(self) -> bool:
        return self.cost_function is not None or self.builder is not None

    def total_costs(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        made = [self._costs_of(code) for code in codes]
        flops, params = np.array(made, dtype=np.int64).reshape(-1, 2).T
        return flops, params

    def _costs_of(self, code: np.ndarray) -> tuple[int, int]:
        if self.cost_function is not None:
            return self.cost_function(dict(self.from_code(code)))
        if self.builder is None:
            raise InputError(f"{self.title}: costs are not known: give the space costs= or build=, or do without them")
        return _counted_costs(self, code.tobytes())

    def build(self, arch: NamedChoices) -> nn.Module:
        """The network by the space's function `build`. Raises InputError for a space without one."""
        if self.builder is None:
            raise InputError(f"{self.title}: has no networks: give the space build=")
        asked = inspect.signature(self.builder).parameters
        sizes = {"num_classes": self.num_classes, "image_size": self.image_size}
        return self.builder(dict(arch), **{name: size for name, size in sizes.items() if name in asked})


@lru_cache(maxsize=COUNTED)
def _counted_costs(space: CategoricalSpace, code: bytes) -> tuple[int, int]:
    """Multiply-accumulates and trainable parameters of the network that is built."""
    import torch

    arch = space.from_code(np.frombuffer(code, dtype=np.uint8))
    try:  # with tensors without values, so that nothing is computed
        return _counted_on(torch.device("meta"), space, arch)
    except (NotImplementedError, RuntimeError):  # what looks at values needs some
        return _counted_on(torch.device("cpu"), space, arch)


def _counted_on(device: torch.device, space: CategoricalSpace, arch: NamedChoices) -> tuple[int, int]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # Counting must not move torch's random state, which decides the weights of the networks that are trained.
    with torch.random.fork_rng(devices=[]), device, torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = space.build(arch).eval()
        network(torch.zeros(1, 3, space.image_size, space.image_size))
    return counter.get_total_flops() // 2, sum(p.numel() for p in network.parameters() if p.requires_grad)
