"""Scores of a whole space by the trained LeNet, from the distinct neighbourhoods of its feature tensors.

A position of the first map sees 3x3 positions of the tensor and one of the second map 5x5, and over a space few of
these neighbourhoods are distinct: in NAS-Bench-101 0.5 % and 7 %. What follows from each is computed once, down to what
it adds to the first dense layer; an architecture is then a sum over its positions and two small layers. Standardisation
and batch norm are folded in; the scores are those of the network up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoding.base import FeatureSource
from renas.fast.distinct import Distinct, EntryKeys, distinct, mix, neighbourhood_keys
from renas.lenet import LeNet, Standardizer

# Tensors read, neighbourhoods computed and architectures summed by one task: what a core's cache holds.
READ, COMPUTED, SUMMED = 128, 1024, 1024
TRIED = 8192  # architectures that show whether entries repeat, before all are read
DISTINCT = 0.25  # share of distinct entries (of the architectures) and of 3x3 neighbourhoods up to which it is worth it


class Map(NamedTuple):
    """What is distinct at each position of a map, and the values (distinct, channels) there."""

    distinct: list[Distinct]
    values: list[Tensor]


class Products(NamedTuple):
    """How a position of the next map is made: the bias and, of every source, one row of the table."""

    sources: list[int]  # positions of the map before that vary
    starts: list[int]  # of each source's rows in the table
    table: Tensor  # (rows, channels): the distinct values of the sources times their tap of the kernel
    bias: Tensor  # with what the sources that do not vary give


class NeighbourhoodScorer:
    """A trained LeNet in evaluation mode over raw feature tensors, in float32 on the CPU.

    The results do not depend on the number of threads.
    """

    def __init__(self, network: LeNet, standardizer: Standardizer, limit: float = DISTINCT) -> None:
        self.limit = limit
        conv1, norm1, _, conv2, norm2, _ = network.features
        dense = [(layer.weight.detach(), layer.bias.detach()) for layer in network.head if isinstance(layer, nn.Linear)]
        self.standardizer = standardizer
        channels, self.side, _ = standardizer.mean.shape
        with torch.no_grad():
            self.first, self.second = _with_norm(conv1, norm1), _with_norm(conv2, norm2)
        (weight, self.bias), *self.dense = dense
        self.maps = weight.view(len(weight), -1, self.side**2).permute(2, 1, 0).contiguous()  # (positions, C_2, 120)
        self.keys_of = EntryKeys(channels, self.side)

    def score(
        self, source: FeatureSource, rows: range, pool: ThreadPoolExecutor, on_scored: Callable[[int], object]
    ) -> np.ndarray | None:
        """Scores (n,) float32 of these rows; None where so little repeats that the network itself is as good.

        Args: pool: its threads are to run torch on one thread each. on_scored: gets the size of each finished part.
        """
        n = len(rows)
        keys = np.empty((self.side**2, n), dtype=np.uint64)
        for start, stop in pairwise(sorted({0, min(n, TRIED), n})):
            _run(pool, partial(self._read, source, rows, keys), _parts(stop, SUMMED, start))
            entries = list(pool.map(distinct, keys[:, :stop]))
            if sum(len(entry.first) for entry in entries) > self.limit * stop:
                return None
        tensors = self._tensors(source, rows, entries)
        first = self._first_map(tensors, keys, pool)
        if first is None:
            return None
        del entries, tensors
        second = _seen(keys, pool)
        del keys
        hidden, bias = torch.zeros(n, len(self.bias)), self.bias
        # A few positions at a time, whose tables of distinct contributions need about as much memory as `hidden`: with
        # fewer at a time `hidden`, which no cache holds, is gone through more often.
        for places in _groups([len(place.first) for place in second], n):
            bias = bias + self._add(places, first, second, hidden, pool)
        scores = np.empty(n, dtype=np.float32)

        def finish(part: slice) -> int:
            x = (hidden[part] + bias).relu_()
            for layer in self.dense[:-1]:
                x = F.linear(x, *layer).relu_()
            scores[part] = F.linear(x, *self.dense[-1]).squeeze(1).numpy()
            return len(x)

        for count in pool.map(finish, _parts(n, SUMMED)):
            on_scored(count)
        return scores

    def _read(self, source: FeatureSource, rows: range, keys: np.ndarray, part: slice) -> None:
        """The keys of all entries of some tensors."""
        scratch = np.empty((READ, *self.standardizer.mean.shape))
        for chunk in _parts(part.stop, READ, part.start):
            tensors = source.rows(np.arange(rows.start + chunk.start, rows.start + chunk.stop))
            keys[:, chunk] = self.keys_of(tensors, scratch)

    def _tensors(self, source: FeatureSource, rows: range, entries: list[Distinct]) -> Map:
        """The standardised tensors."""
        some = np.unique(np.concatenate([entry.first for entry in entries]))
        tensors = torch.from_numpy(self.standardizer(source.rows(rows.start + some))).flatten(2)
        values = [tensors[np.searchsorted(some, entry.first), :, place] for place, entry in enumerate(entries)]
        return Map(entries, values)

    def _first_map(self, tensors: Map, keys: np.ndarray, pool: ThreadPoolExecutor) -> Map | None:
        """The map after the first convolution, batch norm and ReLU; makes keys of it out of those of the tensors."""
        seen = _seen(keys, pool)
        if sum(len(place.first) for place in seen) > self.limit * keys.size:
            return None

        def make(place: int) -> Tensor:
            return _make(_products(*self.first, tensors, self.side, place), tensors, seen[place].first)

        return Map(seen, list(pool.map(make, range(len(seen)))))

    def _add(
        self, places: list[int], first: Map, second: list[Distinct], hidden: Tensor, pool: ThreadPoolExecutor
    ) -> Tensor:
        """Adds what some positions of the second map give the first dense layer; returns what is the same for all."""
        made = list(pool.map(partial(_products, *self.second, first, self.side), places))
        sizes = [len(second[place].first) for place in places]
        table = torch.empty(sum(sizes), hidden.shape[1])

        def make(task: tuple[int, Products, Tensor, slice]) -> None:
            place, products, out, part = task
            torch.mm(_make(products, first, second[place].first[part]), self.maps[place], out=out[part])

        tasks = zip(places, made, table.split(sizes), strict=True)
        _run(pool, make, [(*task, part) for task in tasks for part in _parts(len(task[-1]), COMPUTED)])
        starts = np.cumsum([0, *sizes[:-1]]).tolist()
        varying = [(second[p].which, start) for p, size, start in zip(places, sizes, starts, strict=True) if size > 1]

        def add(part: slice) -> None:
            rows = np.stack([which[part] + start for which, start in varying], 1)
            hidden[part] += F.embedding_bag(torch.from_numpy(rows), table, mode="sum")

        if varying:
            _run(pool, add, _parts(len(hidden), SUMMED))
        return table[[start for start, size in zip(starts, sizes, strict=True) if size == 1]].sum(0)


def _seen(keys: np.ndarray, pool: ThreadPoolExecutor) -> list[Distinct]:
    """What is distinct of what 3x3 positions hold; leaves the keys of that in the place of those of the positions."""

    def see(part: slice) -> None:
        keys[:, part] = mix(neighbourhood_keys(keys[:, part]))

    _run(pool, see, _parts(keys.shape[1], SUMMED))
    return list(pool.map(distinct, keys))


def _products(weight: Tensor, bias: Tensor, before: Map, side: int, place: int) -> Products:
    row, column = divmod(place, side)
    sources, tables = [], [torch.empty(0, len(bias))]
    for r in range(max(row - 1, 0), min(row + 2, side)):
        for c in range(max(column - 1, 0), min(column + 2, side)):
            values, tap = before.values[r * side + c], weight[:, :, r - row + 1, c - column + 1]
            if len(values) == 1:
                bias = bias + tap @ values[0].double()
            else:
                sources.append(r * side + c)
                tables.append(values @ tap.T.float())
    starts = np.cumsum([len(table) for table in tables[:-1]]).tolist()
    return Products(sources, starts, torch.cat(tables), bias.float())


def _make(products: Products, before: Map, rows: np.ndarray) -> Tensor:
    """(n, C) of the architectures `rows`, after the ReLU."""
    if not products.sources:
        return products.bias.relu().repeat(len(rows), 1)
    which = [before.distinct[s].which[rows] + start for s, start in zip(products.sources, products.starts, strict=True)]
    sums = F.embedding_bag(torch.from_numpy(np.stack(which, 1)), products.table, mode="sum")
    return sums.add_(products.bias).relu_()


def _groups(sizes: list[int], limit: int) -> Iterator[list[int]]:
    """Indices in order, as many at a time as it takes to sum up to `limit`."""
    group: list[int] = []
    for index in range(len(sizes)):
        group.append(index)
        if index + 1 == len(sizes) or sum(sizes[i] for i in group) >= limit:
            yield group
            group = []


def _parts(stop: int, size: int, start: int = 0) -> list[slice]:
    return [slice(i, min(i + size, stop)) for i in range(start, stop, size)]


def _run(pool: ThreadPoolExecutor, run: Callable[[Any], object], items: Iterable[Any]) -> None:
    for _ in pool.map(run, items):
        pass


def _with_norm(conv: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias, float64, of a convolution followed by batch norm with its running statistics."""
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert conv.bias is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return conv.weight.double() * gain[:, None, None, None], (conv.bias.double() - norm.running_mean) * gain + norm.bias
