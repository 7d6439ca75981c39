"""NAS-Bench-Macro: a chain of 8 layers, each an identity or one of two MobileNetV2 blocks (Su et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from common.errors import InputError
from common.spaces.base import Costs, TensorSpace
from common.spaces.choices import ChoiceSpace
from common.spaces.graphs import ABSENT, CellGraphs
from common.spaces.sketch import TIMES, Block, Chain, Sketch

OPS = ("identity", "mb3_k3", "mb6_k5")
IDENTITY = 0
KERNEL_EXPANSION = {1: (3, 3), 2: (5, 6)}  # index in OPS -> side of the depthwise convolution, expansion ratio
STAGE_LAYERS = (2, 3, 3)  # the first layer of every stage halves the side and doubles the channels
NUM_LAYERS = sum(STAGE_LAYERS)
HEAD_CHANNELS = 1280
# Type numbers of the feature tensor: input 1, the three operations 2 to 4, output 5; 0 is left to 'no vertex'.
INPUT_TYPE, FIRST_OP_TYPE, OUTPUT_TYPE = 1, 2, 5


class Layer(NamedTuple):
    """Where a searched layer stands: its stage, channels in and out, and stride."""

    stage: int
    width_in: int
    width: int
    stride: int


@dataclass(frozen=True)
class MacroArch:
    """A NAS-Bench-Macro network: per layer an index into OPS."""

    blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.blocks) != NUM_LAYERS or any(not 0 <= block < len(OPS) for block in self.blocks):
            raise ValueError(f"need {NUM_LAYERS} block indices in [0, {len(OPS)}), got {self.blocks}")


@dataclass(frozen=True)
class Macro(ChoiceSpace[MacroArch], TensorSpace[MacroArch]):
    """The space with its skeleton: conv3x3 stem, stages of 2, 3 and 3 layers, conv1x1 to 1280 channels, classifier.

    An identity that stands first in a stage, where the shape changes, is a strided 1x1 convolution with batch norm
    (as in xiusu/NAS-Bench-Macro); elsewhere it is nothing at all. Costs follow the benchmark and equal its file's
    `flops` and `params` for all 6,561 networks: a FLOP is one multiply-accumulate of a convolution or of the
    classifier, everything else counts nothing; parameters include the two of each batch-norm channel.

    As a graph the whole network is one cell: the chain input -> 8 layers -> output, its positions the 10 vertices.
    """

    channels: int = 32  # of the stem
    num_classes: int = 10
    image_size: int = 32

    name: ClassVar[str] = "macro"
    title: ClassVar[str] = "NAS-Bench-Macro"
    code_length: ClassVar[int] = NUM_LAYERS
    size: ClassVar[int | None] = len(OPS) ** NUM_LAYERS
    choices: ClassVar[int] = len(OPS)
    num_vertices: ClassVar[int] = NUM_LAYERS + 2
    network_options: ClassVar[tuple[str, ...]] = ("channels",)
    num_cells: int = field(default=1, init=False)

    # text ------------------------------------------------------------------------------------------------------

    def parse(self, text: str) -> MacroArch:
        """From the benchmark's key, a digit per layer: `02012100`."""
        digits = text.strip()
        if len(digits) != NUM_LAYERS or set(digits) - {"0", "1", "2"}:
            raise InputError(f"not a {self.title} network: need {NUM_LAYERS} digits 0, 1 or 2, got {text!r}")
        return MacroArch(tuple(map(int, digits)))

    def format(self, arch: MacroArch) -> str:
        return "".join(map(str, arch.blocks))

    # walking ---------------------------------------------------------------------------------------------------

    def choices_of(self, arch: MacroArch) -> tuple[int, ...]:
        return arch.blocks

    def with_choices(self, choices: Sequence[int]) -> MacroArch:
        return MacroArch(tuple(choices))

    # identity --------------------------------------------------------------------------------------------------

    def canonical_key(self, arch: MacroArch) -> str:
        """The text form with every stage's shape-keeping identities moved to the stage's end: 3,969 classes.

        The benchmark trained one network of each class, and its file repeats that result for the others.
        """
        key, rest = "", self.format(arch)
        for layers in STAGE_LAYERS:
            stage, rest = rest[:layers], rest[layers:]
            key += (stage[0] + stage[1:].replace(str(IDENTITY), "")).ljust(layers, str(IDENTITY))
        return key

    # arrays ----------------------------------------------------------------------------------------------------

    def cell_graphs(self, codes: np.ndarray) -> list[CellGraphs]:
        """The chain of layers; identities that are nothing at all stand absent at the end of their stage."""
        labels = codes.astype(np.int8)
        for stage in np.split(np.arange(NUM_LAYERS), np.cumsum(STAGE_LAYERS)[:-1]):
            inner = labels[:, stage[1:]]
            moved = np.take_along_axis(inner, np.argsort(inner == IDENTITY, axis=1, kind="stable"), axis=1)
            labels[:, stage[1:]] = np.where(moved == IDENTITY, ABSENT, moved)
        return [CellGraphs(OPS, labels, stages=STAGE_LAYERS)]

    def sketches(self, arch: MacroArch) -> list[Sketch]:
        """Stages with what is built of them; an identity that changes the shape is a strided 1x1 convolution."""
        rows: list[tuple[str, list[Block]]] = [(f"stage {stage}", []) for stage, _ in enumerate(STAGE_LAYERS, start=1)]
        for block, (stage, width_in, width, stride) in zip(arch.blocks, layer_plan(self.channels), strict=True):
            if block != IDENTITY:
                kernel, expansion = KERNEL_EXPANSION[block]
                rows[stage][1].append(
                    Block(f"MB {kernel}{TIMES}{kernel}, {TIMES}{expansion}", "conv" if block == 2 else "light")
                )
            elif changes_shape(width_in, width, stride):
                rows[stage][1].append(Block(f"conv 1{TIMES}1", "skip"))
        return [Chain(rows)]

    def types(self, codes: np.ndarray) -> np.ndarray:
        """1 input, 2 identity, 3 and 4 the MobileNetV2 blocks, 5 output."""
        types = np.empty((len(codes), self.num_vertices), dtype=np.int64)
        types[:, 0], types[:, -1] = INPUT_TYPE, OUTPUT_TYPE
        types[:, 1:-1] = codes + FIRST_OP_TYPE
        return types

    def edge_matrices(self, codes: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Vertex j's value at entry (j-1, j); the input's has no edge to stand on."""
        out = np.zeros((*values.shape[:2], self.num_vertices, self.num_vertices), dtype=values.dtype)
        targets = np.arange(1, self.num_vertices)
        out[:, :, targets - 1, targets] = values[:, :, 1:]
        return out

    # costs -----------------------------------------------------------------------------------------------------

    def costs(self, codes: np.ndarray) -> Costs:
        """Per vertex of the chain; input and output cost nothing, stem and head belong to the whole (`total_costs`)."""
        flop_of, param_of = self._layer_costs
        layers = np.arange(NUM_LAYERS)
        flops = np.zeros((len(codes), 1, self.num_vertices), dtype=np.int64)
        params = np.zeros_like(flops)
        flops[:, 0, 1:-1] = flop_of[layers, codes]
        params[:, 0, 1:-1] = param_of[layers, codes]
        return Costs(flops, params)

    def total_costs(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cell = self.costs(codes)
        width = layer_plan(self.channels)[-1].width
        stem, head, classifier = 27 * self.channels, width * HEAD_CHANNELS, HEAD_CHANNELS * self.num_classes
        flops = stem * self.image_size**2 + head * self._side(len(STAGE_LAYERS)) ** 2 + classifier
        params = stem + 2 * self.channels + head + 2 * HEAD_CHANNELS + classifier + self.num_classes
        return cell.flops.sum((1, 2)) + flops, cell.params.sum((1, 2)) + params

    @cached_property
    def _layer_costs(self) -> tuple[np.ndarray, np.ndarray]:
        """FLOPs and parameters (8, 3) of every operation at every layer."""
        flops, params = np.zeros((2, NUM_LAYERS, len(OPS)), dtype=np.int64)
        for index, (stage, width_in, width, stride) in enumerate(layer_plan(self.channels)):
            after = self._side(stage + 1) ** 2
            before = self._side(stage) ** 2 if stride > 1 else after
            if changes_shape(width_in, width, stride):
                flops[index, IDENTITY] = width_in * width * after
                params[index, IDENTITY] = width_in * width + 2 * width
            for op, (kernel, expansion) in KERNEL_EXPANSION.items():
                hidden = expansion * width_in
                expand, depthwise, project = width_in * hidden, kernel**2 * hidden, hidden * width
                flops[index, op] = expand * before + (depthwise + project) * after
                params[index, op] = expand + depthwise + project + 4 * hidden + 2 * width
        return flops, params

    def _side(self, stage: int) -> int:
        """Pixels along a side where `stage` begins; a strided convolution rounds an odd half up."""
        return -(-self.image_size // 2**stage)


def layer_plan(stem_channels: int) -> list[Layer]:
    """The 8 searched layers in order."""
    plan = []
    width = stem_channels
    for stage, layers in enumerate(STAGE_LAYERS):
        plan.append(Layer(stage, width, 2 * width, stride=2))
        width *= 2
        plan += [Layer(stage, width, width, stride=1)] * (layers - 1)
    return plan


def changes_shape(width_in: int, width: int, stride: int) -> bool:
    """Whether an identity cannot just hand its input on, nor a block add it to its output."""
    return stride != 1 or width_in != width
