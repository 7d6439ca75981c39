"""Placing a directed acyclic graph in layers from left to right (Sugiyama, Tagawa and Toda 1981), without a library.

Graphviz would do it, but is a program that pip does not install.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 24
SETTLING = 200
STRAIGHT = 16.0  # how much more a passing edge wants to go straight on


@dataclass(frozen=True)
class Placed:
    """layers: of every layer from left to right, its nodes from top to bottom. y: their heights, up is positive.

    routes: of every edge, the nodes that it passes: its ends and, in layers between, placeholders of its own.
    """

    layers: list[list[str]]
    y: dict[str, float]
    routes: dict[tuple[str, str], list[str]]


def place(nodes: Sequence[str], edges: Sequence[tuple[str, str]], heights: Mapping[str, float], thin: float) -> Placed:
    """Layers by the longest way from an input, few crossings, edges as straight as room allows.

    Args: nodes, edges: without cycles. heights: the room that each takes up and down. thin: that of a passing edge.
    """
    level = dict.fromkeys(nodes, 0)
    for _ in nodes:  # the longest way has fewer edges than there are nodes
        for source, target in edges:
            level[target] = max(level[target], level[source] + 1)
    deepest = max(level.values())
    for node in nodes:  # what leads nowhere further is an output: to the right end
        if not any(source == node for source, _ in edges):
            level[node] = deepest
    rows: list[list[str]] = [[] for _ in range(deepest + 1)]
    for node in nodes:
        rows[level[node]].append(node)
    routes: dict[tuple[str, str], list[str]] = {}
    room = dict(heights)
    links: list[tuple[str, str]] = []
    for source, target in edges:
        route = [source]
        for between in range(level[source] + 1, level[target]):
            name = f"{source} > {target} at {between}"
            rows[between].append(name)
            room[name] = thin
            route.append(name)
        route.append(target)
        routes[source, target] = route
        links += pairwise(route)
    before: dict[str, list[str]] = {}
    after_: dict[str, list[str]] = {}
    for a, b in links:
        before.setdefault(b, []).append(a)
        after_.setdefault(a, []).append(b)
    rows = _with_few_crossings(rows, before, after_)
    return Placed(rows, _settled(rows, before, after_, room, thin), routes)


def _with_few_crossings(
    rows: list[list[str]], before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]
) -> list[list[str]]:
    """The order of every layer by the mean place of its neighbours, swept to and fro; the best that was seen."""
    best, fewest = [list(row) for row in rows], _crossings(rows, after)
    current = [list(row) for row in rows]
    for sweep in range(SWEEPS):
        there = sweep % 2 == 0
        neighbours = before if there else after
        for at in range(1, len(current)) if there else range(len(current) - 2, -1, -1):
            beside = {name: place for place, name in enumerate(current[at - 1 if there else at + 1])}

            def middle(name: str, own: int, beside: Mapping[str, int] = beside) -> float:
                places = [beside[other] for other in neighbours.get(name, ()) if other in beside]  # noqa: B023
                return sum(places) / len(places) if places else own

            keyed = sorted((middle(name, own), own, name) for own, name in enumerate(current[at]))
            current[at] = [name for _, _, name in keyed]
        if (count := _crossings(current, after)) < fewest:
            best, fewest = [list(row) for row in current], count
    return best


def _crossings(rows: list[list[str]], after: Mapping[str, Sequence[str]]) -> int:
    count = 0
    for row, following in pairwise(rows):
        places = {name: place for place, name in enumerate(following)}
        ends = [sorted(places[other] for other in after.get(name, ())) for name in row]
        flat = [(own, end) for own, those in enumerate(ends) for end in those]
        count += sum(a[0] < b[0] and a[1] > b[1] for a in flat for b in flat)
    return count


def _settled(
    rows: list[list[str]],
    before: Mapping[str, Sequence[str]],
    after: Mapping[str, Sequence[str]],
    room: Mapping[str, float],
    thin: float,
) -> dict[str, float]:
    """Heights at which every node is near the middle of its neighbours, and no two are nearer than they have room."""

    def pull(name: str, other: str) -> float:
        return STRAIGHT if room[name] == room[other] == thin else 1.0

    y: dict[str, float] = {}
    for row in rows:
        at = 0.0
        for name in row:
            at += room[name] / 2
            y[name] = at
            at += room[name] / 2
        for name in row:
            y[name] -= at / 2
    for _ in range(SETTLING):
        for row in rows:
            wanted = []
            for name in row:
                others = [*before.get(name, ()), *after.get(name, ())]
                weights = [pull(name, other) for other in others]
                at = sum(weight * y[other] for weight, other in zip(weights, others, strict=True))
                wanted.append(at / sum(weights) if others else y[name])
            for name, height in zip(row, _spread(wanted, [room[name] for name in row]), strict=True):
                y[name] = height
    return {name: -height for name, height in y.items()}


def _spread(wanted: Sequence[float], room: Sequence[float]) -> list[float]:
    """The heights nearest to the wanted ones, in their order and with room between (pooling of adjacent violators)."""
    gaps = [0.0]
    for one, other in pairwise(room):
        gaps.append(gaps[-1] + (one + other) / 2)
    blocks: list[tuple[float, int]] = []  # mean of what is wanted less the gaps, and of how many
    for value, gap in zip(wanted, gaps, strict=True):
        mean, size = value - gap, 1
        while blocks and blocks[-1][0] > mean:
            other_mean, other_size = blocks.pop()
            mean, size = (mean * size + other_mean * other_size) / (size + other_size), size + other_size
        blocks.append((mean, size))
    flat = [mean for mean, size in blocks for _ in range(size)]
    return [value + gap for value, gap in zip(flat, gaps, strict=True)]
