"""All 423,624 cells of NAS-Bench-101 with their official graph hashes, without the benchmark's files."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from common.errors import InputError
from common.runs.arrays import read_npz
from common.runs.files import cache_folder, write_atomic
from common.spaces.nasbench101 import INNER, MAX_EDGES, MAX_VERTICES, NUM_EDGES, OPS, UPPER, NasBench101, adjacency

CACHE_VERSION = 1  # of the arrays below: raise it when their order or meaning changes

_CELLS_PER_CHUNK = 32768  # hashed together: some tens of MB of messages
_MD5_LANES = 16384  # messages per MD5 pass: the working arrays stay in the second-level cache
_LOGGER = logging.getLogger(__name__)


class Enumeration(NamedTuple):
    """Every cell once up to isomorphism.

    A cell is written as the lexicographically smallest of its isomorphic codes; the rows are ordered by the number of
    vertices, then lexicographically by code.
    """

    codes: np.ndarray  # (423624, 26) uint8, as `NasBench101.to_codes` makes them
    hashes: np.ndarray  # (423624, 16) uint8, the digest whose hexadecimal form is `NasBench101.canonical_key`

    def rows_of(self, keys: Sequence[str]) -> np.ndarray:
        """(N,) int64: the rows of N graph hashes of 32 hexadecimal digits, -1 for one that is not in the space."""
        wanted = np.frombuffer(bytes.fromhex("".join(keys)), dtype="S16")
        held = np.ascontiguousarray(self.hashes).view("S16")[:, 0]
        order = np.argsort(held)
        rows = order[np.searchsorted(held, wanted, sorter=order).clip(max=len(held) - 1)]
        return np.where(held[rows] == wanted, rows, -1)


def enumerate_cells(progress: Callable[[int], object] | None = None) -> Enumeration:
    """Makes the space from nothing: the codes take under a second, the hashes about half a minute.

    progress: called with the number of cells just hashed.
    """
    codes = enumerate_codes()
    return Enumeration(codes, graph_hashes(codes, progress))


def load_or_enumerate(progress: Callable[[int], object] | None = None) -> Enumeration:
    """`enumerate_cells`, kept in the cache folder; a missing, outdated or damaged cache file is made anew."""
    path = cache_folder() / f"nasbench101-cells-v{CACHE_VERSION}.npz"
    try:
        found = Enumeration(**read_npz(path, Enumeration._fields))
        shapes = [(NasBench101.size, width) for width in (NasBench101.code_length, 16)]
        if [array.shape for array in found] == shapes and all(array.dtype == np.uint8 for array in found):
            return found
    except InputError:  # none there, or damaged
        pass
    made = enumerate_cells(progress)
    try:
        write_atomic(path, lambda file: np.savez(file, codes=made.codes, hashes=made.hashes))
    except OSError as error:
        _LOGGER.warning("cannot keep the NAS-Bench-101 cells in %s: %s", path, error)
    return made


# codes -----------------------------------------------------------------------------------------------------------


def enumerate_codes() -> np.ndarray:
    """(423624, 26) uint8: the codes of `Enumeration`."""
    return np.concatenate([_codes_of_size(n) for n in range(2, MAX_VERTICES + 1)])


def edge_columns(n: int) -> np.ndarray:
    """(n(n-1)/2,) int64: the columns of a code that hold the upper triangle of a cell of n vertices, row by row."""
    keep = np.array([*range(n - 1), MAX_VERTICES - 1])
    sources, targets = np.triu_indices(n, 1)
    column = np.zeros((MAX_VERTICES, MAX_VERTICES), dtype=np.int64)
    column[UPPER] = np.arange(NUM_EDGES)
    return column[keep[sources], keep[targets]]


def _codes_of_size(n: int) -> np.ndarray:
    """Codes of all cells of n vertices: canonical graphs first, then their labellings up to automorphism."""
    sources, targets = np.triu_indices(n, 1)
    bits = 1 << np.arange(len(sources))[::-1]  # the first edge weighs most: smaller number = lexicographically smaller
    orders = np.array([(0, *inner, n - 1) for inner in itertools.permutations(range(1, n - 1))])  # new place of vertex
    # weights[e, p]: the bit edge e moves to under order p, or more than all bits together where it would turn back.
    number = np.zeros((n, n), dtype=np.float32)
    number[sources, targets] = bits
    number[targets, sources] = 1 << 22
    weights = number[orders[:, sources], orders[:, targets]].T  # float32 is exact up to 2^24: all legal sums

    edges = _connected_graphs(n, sources, targets, bits)
    graphs = np.unique((edges @ weights).min(1)).astype(np.int64)
    edges = (graphs[:, None] & bits > 0).astype(np.float32)
    automorphic = edges @ weights == graphs[:, None]  # (graphs, orders)

    labellings = np.array(list(itertools.product(range(len(OPS)), repeat=n - 2)), dtype=np.int64)  # (3^(n-2), n-2)
    places = len(OPS) ** np.arange(n - 2)[::-1]
    numbers = np.arange(len(labellings))
    smallest = np.ones((len(graphs), len(labellings)), dtype=bool)
    for order, fixes in zip(orders, automorphic.T, strict=True):
        moved = labellings @ places[order[1:-1] - 1]
        smallest[fixes] &= moved >= numbers

    graph, labelling = smallest.nonzero()
    codes = np.zeros((len(graph), NUM_EDGES + INNER), dtype=np.uint8)
    codes[:, edge_columns(n)] = edges[graph]
    codes[:, NUM_EDGES : NUM_EDGES + n - 2] = labellings[labelling] + 1
    return codes


def _connected_graphs(n: int, sources: np.ndarray, targets: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """(N, edges) float32: all upper triangular graphs of at most 9 edges with every vertex on an input-output path.

    In an acyclic graph that is the case when every vertex but the output has a successor and every one but the input
    a predecessor.
    """
    masks = np.arange(1 << len(bits), dtype=np.int32)
    for v in range(n - 1):
        masks = masks[masks & bits[sources == v].sum() > 0]
        masks = masks[masks & bits[targets == v + 1].sum() > 0]
    edges = masks[:, None] & bits.astype(np.int32) > 0
    return edges[edges.sum(1) <= MAX_EDGES].astype(np.float32)


# hashes ----------------------------------------------------------------------------------------------------------


def graph_hashes(codes: np.ndarray, progress: Callable[[int], object] | None = None) -> np.ndarray:
    """The official MD5 graph hashes of many cells: `graph_hash` of each row, about three times as fast.

    Args: codes: (N, 26) uint8 of pruned cells (`NasBench101.to_codes`). progress: called with numbers of cells done.
    Returns: (N, 16) uint8 digests.
    """
    hashes = np.empty((len(codes), 16), dtype=np.uint8)
    for n, rows in _chunks(codes):
        hashes[rows] = _hash_chunk(codes[rows], n)
        if progress is not None:
            progress(len(rows))
    return hashes


def _chunks(codes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Numbers of vertices and rows of cells with that many."""
    sizes = (codes[:, NUM_EDGES:] > 0).sum(1) + 2
    for n in np.unique(sizes).tolist():
        rows = np.flatnonzero(sizes == n)
        for start in range(0, len(rows), _CELLS_PER_CHUNK):
            yield n, rows[start : start + _CELLS_PER_CHUNK]


def _hash_chunk(codes: np.ndarray, n: int) -> np.ndarray:
    """(C, 16) digests of C cells that all have n vertices; what is hashed is described at `graph_hash`."""
    count = len(codes)
    keep = [*range(n - 1), MAX_VERTICES - 1]
    edges = adjacency(codes)[:, keep][:, :, keep] > 0
    labels = np.empty((count, n), dtype=np.int64)
    labels[:, 0], labels[:, 1:-1], labels[:, -1] = -1, codes[:, NUM_EDGES : NUM_EDGES + n - 2].astype(np.int64) - 1, -2
    fan_in, fan_out = edges.sum(1).ravel(), edges.sum(2).ravel()
    digests = _first_digests(fan_out, fan_in, labels.ravel())
    layouts = _layouts(edges, fan_in, fan_out)
    for _ in range(n):
        keys, texts = _sort_keys(digests), _hex(digests)
        digests = np.empty_like(digests)
        for rows, before, after in layouts:
            first = 32 * before.shape[1]
            second = first + 1 + 32 * after.shape[1]
            message = np.empty((len(rows), second + 33), dtype=np.uint8)
            message[:, :first] = texts[_sorted(before, keys)].reshape(len(rows), -1)
            message[:, first + 1 : second] = texts[_sorted(after, keys)].reshape(len(rows), -1)
            message[:, [first, second]] = ord("|")
            message[:, second + 1 :] = texts[rows]
            digests[rows] = _md5(message)

    vertices = _sorted(np.arange(count * n).reshape(count, n), _sort_keys(digests))
    listing = np.frombuffer(str(["0" * 32] * n).encode(), dtype=np.uint8)
    message = np.repeat(listing[None], count, axis=0)
    message[:, listing == ord("0")] = _hex(digests)[vertices].reshape(count, 32 * n)
    return _md5(message)


def _layouts(
    edges: np.ndarray, fan_in: np.ndarray, fan_out: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Vertices of equal degrees, whose messages look alike: their numbers (N,), predecessors (N, in), successors
    (N, out). The vertices of all cells, edges (C, n, n), are numbered through.
    """
    n = edges.shape[1]
    degrees = fan_in * n + fan_out
    found = []
    for degree in np.unique(degrees):
        rows = np.flatnonzero(degrees == degree)
        cell, vertex = rows // n, rows % n
        before, after = (
            flags.nonzero()[1].reshape(len(rows), -1) + cell[:, None] * n
            for flags in (edges[cell, :, vertex], edges[cell, vertex])
        )
        found.append((rows, before, after))
    return found


def _first_digests(fan_out: np.ndarray, fan_in: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N, 16) uint8: md5 of '(out, in, label)' of every vertex; there are few different ones."""
    kinds, first, which = np.unique((fan_out * 8 + fan_in) * 8 + labels, return_index=True, return_inverse=True)
    texts = (str((int(fan_out[v]), int(fan_in[v]), int(labels[v]))) for v in first)
    made = b"".join(hashlib.md5(text.encode(), usedforsecurity=False).digest() for text in texts)
    return np.frombuffer(made, dtype=np.uint8).reshape(len(kinds), 16)[which]


def _sort_keys(digests: np.ndarray) -> np.ndarray:
    """(N,) uint64 in the order of the digests.

    Eight of the sixteen bytes decide: two different digests in a cell that agree in them (odds of 1 in 10^11 for the
    whole space) would have shown in the comparison of every cell with `graph_hash`.
    """
    return digests[:, :8].copy().view(">u8")[:, 0].astype(np.uint64)


def _sorted(vertices: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """(N, k) vertex numbers, every row put in the order of the vertices' keys; rows are short, so by exchanges."""
    vertices = vertices.copy()
    held = keys[vertices]
    for last in range(vertices.shape[1] - 1, 0, -1):
        for j in range(last):
            swap = held[:, j] > held[:, j + 1]
            for array in (held, vertices):
                array[swap, j], array[swap, j + 1] = array[swap, j + 1], array[swap, j]
    return vertices


def _hex(digests: np.ndarray) -> np.ndarray:
    """(N, 32) uint8: digests as ASCII hexadecimal digits."""
    pairs = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint16)
    return pairs[digests].view(np.uint8)


_MD5_SHIFTS = np.array([[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]], dtype=np.uint32)
_MD5_SINES = (np.abs(np.sin(np.arange(1, 65))) * 2**32).astype(np.uint32)
_MD5_START = np.array([0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476], dtype=np.uint32)


def _md5(messages: np.ndarray) -> np.ndarray:
    """(N, 16) uint8 MD5 digests (RFC 1321) of N messages of equal length, (N, length) uint8."""
    count, length = messages.shape
    padded = np.zeros((count, -(-(length + 9) // 64) * 64), dtype=np.uint8)
    padded[:, :length] = messages
    padded[:, length] = 0x80
    padded[:, -8:] = np.frombuffer((8 * length).to_bytes(8, "little"), dtype=np.uint8)
    digests = np.empty((count, 4), dtype="<u4")
    for start in range(0, count, _MD5_LANES):
        part = padded[start : start + _MD5_LANES]
        words = np.ascontiguousarray(part.view("<u4").T, dtype=np.uint32)
        state = np.repeat(_MD5_START[:, None], len(part), axis=1)
        for block in words.reshape(-1, 16, len(part)):
            state += _md5_block(state, block)
        digests[start : start + _MD5_LANES] = state.T
    return digests.view(np.uint8)


def _md5_block(state: np.ndarray, block: np.ndarray) -> np.ndarray:
    """(4, N) uint32: what one block, (16, N), adds to the states, (4, N)."""
    a, b, c, d = state.copy()
    mixed, high = np.empty_like(a), np.empty_like(a)
    for step in range(64):
        turn = step // 16
        if turn == 0:
            np.bitwise_xor(c, d, out=mixed)
            mixed &= b
            mixed ^= d
        elif turn == 1:
            np.bitwise_xor(b, c, out=mixed)
            mixed &= d
            mixed ^= c
        elif turn == 2:
            np.bitwise_xor(b, c, out=mixed)
            mixed ^= d
        else:
            np.invert(d, out=mixed)
            mixed |= b
            mixed ^= c
        mixed += a
        mixed += block[(step, 5 * step + 1, 3 * step + 5, 7 * step)[turn] % 16]
        mixed += _MD5_SINES[step]
        shift = _MD5_SHIFTS[turn, step % 4]
        np.left_shift(mixed, shift, out=high)
        mixed >>= np.uint32(32) - shift
        mixed |= high
        mixed += b
        a, b, c, d, mixed = d, mixed, b, c, a  # the array of the old a is free to take the next step's result
    return np.stack([a, b, c, d])
