"""An architecture as a figure for a paper: cells as graphs of boxes, chains as rows; readable in grey."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from common.drawing.figures import new_figure
from common.drawing.layers import place
from common.spaces.sketch import Block, Chain, Graph, Sketch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from common.spaces.base import SearchSpace

# Fill, edge and text by kind. The fills differ in lightness too, and what is said stands in the box: no colour is
# needed to read a figure.
COLOURS = {
    "end": ("#3b3b3b", "#3b3b3b", "white"),
    "sum": ("white", "#3b3b3b", "black"),
    "conv": ("#8fb8de", "#2f5d8a", "black"),
    "light": ("#dcebf7", "#2f5d8a", "black"),
    "pool": ("#f0c27f", "#a86f12", "black"),
    "skip": ("white", "#7f7f7f", "black"),
    "other": ("#cdcdcd", "#5a5a5a", "black"),
}
FONT, TITLE_FONT = 9.0, 10.0  # points
BOX_HEIGHT, ROUND = 0.29, 0.27  # inches: of boxes, diameter of sums
ROOM, PASSING = 0.42, 0.26  # from one box to the next below it; of an edge that passes
GAP, MARGIN = 0.34, 0.12  # between layers; around everything


def draw_architecture(space: SearchSpace[Any], arch: Any) -> Figure:
    """The cells of an architecture, one below the other, or its layers in rows; as large as its labels need."""
    parts = [_Part(sketch) for sketch in space.sketches(arch)]
    width = max(part.width for part in parts) + 2 * MARGIN
    height = sum(part.height for part in parts) + 2 * MARGIN
    figure = new_figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    top = height - MARGIN
    for part in parts:
        part.draw(axes, MARGIN + (width - 2 * MARGIN - part.width) / 2, top)
        top -= part.height
    return figure


class _Part:
    """One sketch, measured in inches before it is drawn."""

    def __init__(self, sketch: Sketch) -> None:
        self.sketch = sketch
        self.width = self.height = 0.0
        self.title = 0.3 if sketch.title else 0.0
        if isinstance(sketch, Graph):
            self._measure_graph(sketch)
        else:
            self._measure_chain(sketch)
        self.width = max(self.width, text_width(sketch.title, TITLE_FONT))

    def draw(self, axes: Axes, left: float, top: float) -> None:
        if self.sketch.title:
            axes.text(
                left + self.width / 2, top - 0.1, self.sketch.title, fontsize=TITLE_FONT, ha="center", va="center"
            )
        if isinstance(self.sketch, Graph):
            self._draw_graph(axes, self.sketch, left, top - self.title)
        else:
            self._draw_chain(axes, self.sketch, left, top - self.title)

    # graphs ------------------------------------------------------------------------------------------------------

    def _measure_graph(self, graph: Graph) -> None:
        heights = dict.fromkeys(graph.nodes, ROOM)
        self.placed = place([*graph.nodes], graph.edges, heights, PASSING)
        self.widths = {name: _box_width(block) for name, block in graph.nodes.items()}
        self.columns = [max((self.widths.get(name, 0.0) for name in row), default=0.0) for row in self.placed.layers]
        self.width = sum(self.columns) + GAP * (len(self.columns) - 1)
        ys = self.placed.y.values()
        self.low, self.high = min(ys) - ROOM / 2, max(ys) + ROOM / 2
        self.height = self.high - self.low + self.title

    def _draw_graph(self, axes: Axes, graph: Graph, left: float, top: float) -> None:
        middle: dict[str, tuple[float, float]] = {}
        spans: dict[str, tuple[float, float]] = {}
        for row, column in zip(self.placed.layers, self.columns, strict=True):
            for name in row:
                middle[name] = left + column / 2, top - self.high + self.placed.y[name]
                half = self.widths.get(name, column) / 2
                spans[name] = middle[name][0] - half, middle[name][0] + half
            left += column + GAP
        incoming: dict[str, list[str]] = {}
        outgoing: dict[str, list[str]] = {}
        for route in self.placed.routes.values():
            outgoing.setdefault(route[0], []).append(route[1])
            incoming.setdefault(route[-1], []).append(route[-2])
        for route in self.placed.routes.values():
            points = []
            for step, name in enumerate(route):
                y = middle[name][1]
                if step == 0:
                    points.append((spans[name][1], y + _port(name, route[1], outgoing, middle)))
                elif step == len(route) - 1:
                    points.append((spans[name][0], y + _port(name, route[-2], incoming, middle)))
                else:
                    points += [(spans[name][0], y), (spans[name][1], y)]
            _draw_edge(axes, points)
        for name, block in graph.nodes.items():
            _draw_block(axes, block, *middle[name], self.widths[name])

    # chains ------------------------------------------------------------------------------------------------------

    def _measure_chain(self, chain: Chain) -> None:
        self.caption = max((text_width(said, FONT) for said, _ in chain.rows), default=0.0)
        self.ends = max(text_width(end, FONT) for end in chain.ends) + 0.2
        self.block = max((_box_width(block) for _, blocks in chain.rows for block in blocks), default=0.5)
        longest = max((len(blocks) for _, blocks in chain.rows), default=0)
        self.width = self.caption + 0.2 + longest * (self.block + 0.25) + 0.1
        self.height = (len(chain.rows) + 2) * (BOX_HEIGHT + 0.2) + self.title

    def _draw_chain(self, axes: Axes, chain: Chain, left: float, top: float) -> None:
        step = BOX_HEIGHT + 0.2
        start = left + self.caption + 0.2
        middle_of = [start + self.block / 2 + place * (self.block + 0.25) for place in range(64)]
        y = top - step / 2
        turn = middle_of[0]
        _draw_block(axes, Block(chain.ends[0], "end"), turn, y, self.ends)
        last = (turn, y - BOX_HEIGHT / 2)
        for said, blocks in chain.rows:
            y -= step
            axes.text(left + self.caption, y, said, fontsize=FONT, ha="right", va="center", color="#3b3b3b")
            for number, block in enumerate(blocks):
                x = middle_of[number]
                if number == 0:
                    _draw_turn(axes, last, (x, y + BOX_HEIGHT / 2))
                else:
                    _draw_edge(axes, [(middle_of[number - 1] + self.block / 2, y), (x - self.block / 2, y)])
                _draw_block(axes, block, x, y, self.block)
            if blocks:
                last = (middle_of[len(blocks) - 1], y - BOX_HEIGHT / 2)
        y -= step
        _draw_turn(axes, last, (turn, y + BOX_HEIGHT / 2))
        _draw_block(axes, Block(chain.ends[1], "end"), turn, y, self.ends)


def text_width(text: str, size: float) -> float:
    """Inches that a text takes in matplotlib's own font."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=size, prop=FontProperties()).get_extents().width) / 72 if text else 0.0


def _box_width(block: Block) -> float:
    return ROUND if block.kind == "sum" else text_width(block.label, FONT) + 0.16


def _port(name: str, other: str, neighbours: dict[str, list[str]], middle: dict[str, tuple[float, float]]) -> float:
    """How far above the middle an edge meets a node, so that several do not meet in one point."""
    ordered = sorted(neighbours[name], key=lambda each: middle[each][1])
    step = min(0.07, 0.2 / len(ordered))
    return (ordered.index(other) - (len(ordered) - 1) / 2) * step


def _draw_block(axes: Axes, block: Block, x: float, y: float, width: float) -> None:
    from matplotlib.patches import Circle, FancyBboxPatch

    fill, edge, text = COLOURS[block.kind]
    style: dict[str, Any] = {"facecolor": fill, "edgecolor": edge, "linewidth": 0.9, "zorder": 3}
    if block.kind == "sum":
        axes.add_patch(Circle((x, y), ROUND / 2, **style))
    else:
        corner = f"round,pad=0,rounding_size={0.12 if block.kind == 'end' else 0.05}"
        dashed: dict[str, Any] = {"linestyle": (0, (3, 2))} if block.kind == "skip" else {}
        lower = x - width / 2, y - BOX_HEIGHT / 2
        axes.add_patch(FancyBboxPatch(lower, width, BOX_HEIGHT, boxstyle=corner, **style, **dashed))
    axes.text(x, y, block.label, fontsize=FONT, color=text, ha="center", va="center_baseline", zorder=4)


def _draw_edge(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """A line through the points, level where it meets them, with a head at its end."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    vertices, codes = [points[0]], [Path.MOVETO]
    for (x, y), (next_x, next_y) in pairwise(points):
        if y == next_y:
            vertices.append((next_x, next_y))
            codes.append(Path.LINETO)
        else:
            bend = (next_x - x) / 2
            vertices += [(x + bend, y), (next_x - bend, next_y), (next_x, next_y)]
            codes += [Path.CURVE4] * 3
    _add_arrow(axes, FancyArrowPatch(path=Path(vertices, codes), **_ARROW))


def _draw_turn(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From below one row to above the next: down, along and down."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    half = (start[1] + end[1]) / 2
    corners = [start, (start[0], half), (end[0], half), end] if abs(start[0] - end[0]) > 1e-6 else [start, end]
    _add_arrow(axes, FancyArrowPatch(path=Path(corners), joinstyle="round", **_ARROW))


_ARROW: dict[str, Any] = {
    "arrowstyle": "-|>", "mutation_scale": 7, "linewidth": 0.9, "color": "#3b3b3b", "shrinkA": 0, "shrinkB": 0,
    "fill": False, "zorder": 2,
}  # fmt: skip


def _add_arrow(axes: Axes, arrow: Any) -> None:
    axes.add_patch(arrow)
