"""Chains of MBConv blocks in stages: what the MobileNet and the ProxylessNAS space have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import ClassVar, NamedTuple

import numpy as np

from common.errors import InputError
from common.spaces.choices import ChoiceSpace
from common.spaces.graphs import ABSENT, CellGraphs
from common.spaces.sketch import TIMES, Sketch
from common.spaces.sketch import Block as Box
from common.spaces.sketch import Chain as Rows

Candidate = tuple[int, int] | None  # side of the depthwise convolution and expansion ratio; None: no layer

CANDIDATES = ((3, 3), (3, 6), (5, 3), (5, 6), (7, 3), (7, 6))  # choices 1 to 6 of every layer (ProxylessNAS)
CHOICES = 1 + len(CANDIDATES)
SE_REDUCTION = 4


class Block(NamedTuple):
    """An MBConv block: 1x1 expansion (none if the ratio is 1), depthwise convolution, 1x1 projection.

    act: "relu", "relu6" or "hswish". se: squeeze-and-excitation after the depthwise convolution.
    """

    width_in: int
    width: int
    stride: int
    kernel: int
    expansion: int
    act: str
    se: bool = False

    @property
    def hidden(self) -> int:
        """Channels of the depthwise convolution."""
        return self.width_in * self.expansion

    @property
    def squeezed(self) -> int:
        """Channels inside squeeze-and-excitation."""
        return make_divisible(self.hidden // SE_REDUCTION)

    @property
    def shortcut(self) -> bool:
        """Whether the input is added to the output."""
        return self.stride == 1 and self.width_in == self.width

    def costs(self, side: int) -> tuple[int, int]:
        """Multiply-accumulates on an input of `side` x `side` pixels, and trainable parameters."""
        before, after = side**2, halved(side, self.stride) ** 2
        expand = self.width_in * self.hidden if self.expansion > 1 else 0
        depthwise, project = self.kernel**2 * self.hidden, self.hidden * self.width
        excite = 2 * self.hidden * self.squeezed if self.se else 0
        norms = (4 if self.expansion > 1 else 2) * self.hidden + 2 * self.width
        biases = self.hidden + self.squeezed if self.se else 0
        macs = expand * before + (depthwise + project) * after + excite
        return macs, expand + depthwise + project + excite + norms + biases


class Stage(NamedTuple):
    """Searched layers of one width; the first of them has the stride, the others keep the shape."""

    width: int
    layers: int
    stride: int
    act: str
    se: bool = False

    def block(self, width_in: int, stride: int, kernel: int, expansion: int) -> Block:
        return Block(width_in, self.width, stride, kernel, expansion, self.act, self.se)


class Plan(NamedTuple):
    """The network around the searched layers.

    Stem (3x3 convolution, stride 2), the fixed first block, the stages, a 1x1 convolution to `expand` channels, global
    pooling, a linear layer to `mix` channels without bias (none if 0), the classifier. Stem and head have the
    activation `act`. taps: the features let out, as places in the list of all stages and, last, the 1x1 convolution.
    """

    stem: int
    first: Block
    stages: tuple[Stage, ...]
    expand: int
    mix: int
    act: str
    taps: tuple[int, int, int]
    norm_eps: float

    def layers(self) -> Iterator[tuple[int, int, int, Stage]]:
        """Of every searched layer: its place in its stage, channels in, stride, and the stage."""
        width_in = self.first.width
        for stage in self.stages:
            for place in range(stage.layers):
                yield place, width_in, 1 if place else stage.stride, stage
                width_in = stage.width


@dataclass(frozen=True)
class Chain:
    """One network: the choice of every searched layer, 0 (the space says what) or 1 to 6 of CANDIDATES."""

    layers: tuple[int, ...]

    depths: ClassVar[tuple[int, ...]]  # layers of every stage

    def __post_init__(self) -> None:
        if fault := self.fault(self.layers):
            raise ValueError(fault)

    @classmethod
    def fault(cls, layers: Sequence[int]) -> str:
        """What is wrong with such choices; empty if nothing is."""
        count = sum(cls.depths)
        if len(layers) != count or any(not 0 <= choice < CHOICES for choice in layers):
            return f"need {count} choices in [0, {CHOICES}), got {tuple(layers)}"
        return ""

    @classmethod
    def stages(cls, layers: Sequence[int]) -> list[tuple[int, ...]]:
        """The choices stage by stage."""
        rest = iter(layers)
        return [tuple(islice(rest, depth)) for depth in cls.depths]


@dataclass(frozen=True)
class MBConvSpace(ChoiceSpace[Chain]):
    """A space of Chains. width: multiplier of all channels, each of which is then rounded to a multiple of 8.

    A FLOP is one multiply-accumulate of a convolution or of a linear layer, those of squeeze-and-excitation and of the
    classifier too; batch norm, activations, pooling, sums and biases count nothing. Parameters are all that is trained.
    """

    width: float = 1.0
    num_classes: int = 1000
    image_size: int = 224

    chain: ClassVar[type[Chain]]
    choices: ClassVar[int] = CHOICES

    @property
    @abstractmethod
    def plan(self) -> Plan:
        """The network around the searched layers, at this width."""

    @staticmethod
    @abstractmethod
    def candidates(place: int) -> tuple[Candidate, ...]:
        """What the seven choices stand for at the `place`-th layer of a stage, counted from 0."""

    # text ------------------------------------------------------------------------------------------------------

    def parse(self, text: str) -> Chain:
        """From `k3e6,-,k5e3,-|...`: kernel and expansion of every layer, `-` for none, stages between bars."""
        depths = self.chain.depths
        stages = [stage.split(",") for stage in text.strip().split("|")]
        if [*map(len, stages)] != [*depths]:
            wanted = f"{len(depths)} stages with {', '.join(map(str, depths))} layers as in {self._example()!r}"
            raise InputError(f"not a network of {self.title}: need {wanted}, got {text!r}")
        layers: list[int] = []
        for number, stage in enumerate(stages, start=1):
            for place, token in enumerate(stage):
                known = [*map(token_of, self.candidates(place))]
                if token not in known:
                    where = f"layer {place + 1} of stage {number} is {token!r} in {text!r}"
                    raise InputError(f"not a network of {self.title}: {where}; known there: {', '.join(known)}")
                layers.append(known.index(token))
        if fault := self.chain.fault(layers):
            raise InputError(f"not a network of {self.title}: {fault} in {text!r}")
        return self.chain(tuple(layers))

    def format(self, arch: Chain) -> str:
        return self._format(arch.layers)

    def _format(self, layers: Sequence[int]) -> str:
        return "|".join(
            ",".join(token_of(self.candidates(place)[choice]) for place, choice in enumerate(stage))
            for stage in self.chain.stages(layers)
        )

    def _example(self) -> str:
        return self._format((1,) * self.code_length)

    # codes -----------------------------------------------------------------------------------------------------

    def choices_of(self, arch: Chain) -> tuple[int, ...]:
        return arch.layers

    def with_choices(self, choices: Sequence[int]) -> Chain:
        return self.chain(tuple(choices))

    def cell_graphs(self, codes: np.ndarray) -> list[CellGraphs]:
        """The chain of layers, those of a stage moved together: a layer that is skipped is nothing at all."""
        tokens = tuple(token_of(candidate) for candidate in CANDIDATES)
        first = token_of(self.candidates(0)[0])  # what choice 0 is where the shape changes, "-" where it is nothing
        operations = (*tokens, first) if first not in (*tokens, "-") else tokens
        labels = codes.astype(np.int8) - 1
        for stage in np.split(np.arange(self.code_length), np.cumsum(self.chain.depths)[:-1]):
            if first in operations:
                head = labels[:, stage[0]]
                labels[:, stage[0]] = np.where(head == ABSENT, operations.index(first), head)
            order = np.argsort(labels[:, stage] == ABSENT, axis=1, kind="stable")
            labels[:, stage] = np.take_along_axis(labels[:, stage], order, axis=1)
        sets = {f"kernel {k}": tuple(op for op in operations if op.startswith(f"k{k}")) for k in (3, 5, 7)}
        sets |= {f"expansion {e}": tuple(op for op in operations if op.endswith(f"e{e}")) for e in (3, 6)}
        return [CellGraphs(operations, labels, sets=sets, stages=self.chain.depths)]

    def sketches(self, arch: Chain) -> list[Sketch]:
        """The stages with their blocks: kernel and expansion; the larger the kernel, the darker."""
        kinds = {3: "light", 5: "other", 7: "conv"}
        rows = [
            (
                f"stage {number}, {stage.width} channels",
                [Box(f"{b.kernel}{TIMES}{b.kernel}, {TIMES}{b.expansion}", kinds[b.kernel]) for b in blocks],
            )
            for number, (stage, blocks) in enumerate(zip(self.plan.stages, self.blocks(arch), strict=True), start=1)
        ]
        return [Rows(rows)]

    def fault(self, choices: Sequence[int]) -> str:
        return self.chain.fault(choices)

    # costs and blocks ------------------------------------------------------------------------------------------

    def total_costs(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        layers, rest = self._costs
        flops, params = layers[:, np.arange(self.code_length), codes].sum(-1) + rest[:, None]
        return flops, params

    @cached_property
    def _costs(self) -> tuple[np.ndarray, np.ndarray]:
        """FLOPs and parameters (2, layers, CHOICES) of every choice at every layer, and (2,) of all that is fixed."""
        plan, side = self.plan, halved(self.image_size)
        stem = 27 * plan.stem
        rest = np.array([stem * side**2, stem + 2 * plan.stem]) + plan.first.costs(side)
        layers = np.zeros((2, self.code_length, CHOICES), dtype=np.int64)
        for layer, (place, width_in, stride, stage) in enumerate(plan.layers()):
            for choice, candidate in enumerate(self.candidates(place)):
                if candidate:
                    layers[:, layer, choice] = stage.block(width_in, stride, *candidate).costs(side)
            side = halved(side, stride)
        expand, mix = plan.stages[-1].width * plan.expand, plan.expand * plan.mix
        classifier = (plan.mix or plan.expand) * self.num_classes
        rest += [
            expand * side**2 + mix + classifier,
            expand + 2 * plan.expand + mix + classifier + self.num_classes,
        ]
        return layers, rest

    def blocks(self, arch: Chain) -> list[list[Block]]:
        """The blocks of every stage that are there."""
        plan = self.plan
        stages: list[list[Block]] = [[] for _ in plan.stages]
        numbers = (number for number, stage in enumerate(plan.stages) for _ in range(stage.layers))
        for number, choice, (place, width_in, stride, stage) in zip(numbers, arch.layers, plan.layers(), strict=True):
            if candidate := self.candidates(place)[choice]:
                stages[number].append(stage.block(width_in, stride, *candidate))
        return stages


def token_of(candidate: Candidate) -> str:
    """`k5e3` for kernel 5 and expansion 3, `-` for no layer."""
    return "-" if candidate is None else "k{}e{}".format(*candidate)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, a half rounded up, but never less than 90 % of `channels` (MobileNets)."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest


def halved(side: int, stride: int = 2) -> int:
    """Pixels along a side after an odd-sized padded convolution: an odd half is rounded up, so 1 stays 1."""
    return -(-side // stride)
