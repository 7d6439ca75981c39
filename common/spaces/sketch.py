"""What is seen of an architecture in a drawing: a graph of operations, or rows of blocks; `common.drawing` draws it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Block(NamedTuple):
    """A box. kind: of KINDS, which says how it is filled."""

    label: str
    kind: str


TIMES = "\N{MULTIPLICATION SIGN}"
KINDS = ("end", "sum", "conv", "light", "pool", "skip", "other")  # ends: input and output; light: small convolutions


@dataclass(frozen=True)
class Graph:
    """A cell. nodes: by name, inputs first and the output last; edges: (from, to), without cycles."""

    nodes: Mapping[str, Block]
    edges: Sequence[tuple[str, str]]
    title: str = ""


@dataclass(frozen=True)
class Chain:
    """Layers one after the other. rows: of each stage, what is said of it and its layers."""

    rows: Sequence[tuple[str, Sequence[Block]]]
    title: str = ""
    ends: tuple[str, str] = field(default=("image", "classes"))


Sketch = Graph | Chain

_WORDS = {
    "skip_connect": "skip", "nor_conv": "conv", "avg_pool": "avg pool", "max_pool": "max pool", "maxpool": "max pool",
    "sep_conv": "sep conv", "dil_conv": "dil conv", "-bn-relu": "", "_": " ",
}  # fmt: skip


def operation(name: str) -> Block:
    """The box of an operation by its name in a space: `nor_conv_3x3` is `conv 3 x 3`, a convolution."""
    label = re.sub(r"(\d)x(\d)", rf" \1{TIMES}\2", name)
    for word, said in _WORDS.items():
        label = label.replace(word, said)
    label = " ".join(label.split())
    if label in ("skip", "identity", "-"):
        return Block(label, "skip")
    if "pool" in label:
        return Block(label, "pool")
    if "conv" in label:
        return Block(label, "light" if f"1{TIMES}1" in label else "conv")
    return Block(label, "other")


def with_operations_on_edges(
    nodes: Mapping[str, Block], edges: Iterable[tuple[str, str, str]], title: str = ""
) -> Graph:
    """A graph whose edges (from, to, operation's name) carry the operations: each becomes a box between its nodes."""
    boxes: dict[str, Block] = {}
    joined: list[tuple[str, str]] = []
    for number, (source, target, name) in enumerate(edges):
        box = f"operation {number}"
        boxes[box] = operation(name)
        joined += [(source, box), (box, target)]
    last = [*nodes][-1]
    return Graph({**{name: nodes[name] for name in nodes if name != last}, **boxes, last: nodes[last]}, joined, title)
