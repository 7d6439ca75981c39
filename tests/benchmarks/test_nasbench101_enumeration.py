"""The NAS-Bench-101 enumeration: complete, canonical, in a fixed order, and hashed as the benchmark hashes."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from common.benchmarks.nasbench101 import enumeration
from common.benchmarks.nasbench101.enumeration import Enumeration, enumerate_codes, graph_hashes, load_or_enumerate
from common.spaces.nasbench101 import MAX_VERTICES, NUM_EDGES, OPS, Cell101, NasBench101, adjacency

SPACE = NasBench101()


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    return enumerate_codes()


def sizes_of(codes: np.ndarray) -> np.ndarray:
    return (codes[:, NUM_EDGES:] > 0).sum(1) + 2


def test_counts_are_the_published_ones(codes):
    assert codes.shape == (SPACE.size, SPACE.code_length)
    assert codes.dtype == np.uint8
    sizes, counts = np.unique(sizes_of(codes), return_counts=True)
    assert dict(zip(sizes.tolist(), counts.tolist(), strict=True)) == {
        2: 1,
        3: 6,
        4: 84,
        5: 2_441,
        6: 62_010,
        7: 359_082,
    }


def test_every_code_is_a_valid_pruned_cell(codes):
    edges, present = adjacency(codes), np.ones((len(codes), MAX_VERTICES), dtype=bool)
    present[:, 1:-1] = codes[:, NUM_EDGES:] > 0
    assert edges.sum((1, 2)).max() == 9
    assert codes[:, NUM_EDGES:].max() == len(OPS)
    np.testing.assert_array_equal(edges.any(2)[:, :-1], present[:, :-1])  # all that are there have a successor
    np.testing.assert_array_equal(edges.any(1)[:, 1:], present[:, 1:])  # and a predecessor
    assert (np.diff(present[:, 1:-1].astype(int), axis=1) <= 0).all()  # absent vertices come last


def test_rows_ascend_by_size_then_code_and_never_change(codes):
    keys = np.concatenate([sizes_of(codes)[:, None].astype(np.uint8), codes], axis=1)
    differs = keys[1:] != keys[:-1]
    first = differs.argmax(1)
    rows = np.arange(len(first))
    assert differs.any(1).all()
    assert (keys[1:][rows, first] > keys[:-1][rows, first]).all()
    # The order is part of the cache's format: with a new one, raise CACHE_VERSION.
    assert hashlib.sha256(codes.tobytes()).hexdigest() == CODES_SHA256


CODES_SHA256 = "bc2c733654e703520ad2723225c3dc8580088235d337dc298e86adeef9fb4219"


def smallest_code(cell: Cell101) -> bytes:
    """The smallest code over all renumberings of the inner vertices, by trying every one."""
    n, matrix = cell.num_vertices, np.array(cell.matrix)
    found = []
    for inner in itertools.permutations(range(1, n - 1)):
        order = [0, *inner, n - 1]
        moved = matrix[np.ix_(order, order)]
        if not np.tril(moved).any():
            rows = tuple(map(tuple, moved.tolist()))
            found.append(SPACE.to_codes([Cell101(rows, tuple(cell.ops[v - 1] for v in inner))])[0].tobytes())
    return min(found)


def test_random_cells_are_there_as_their_smallest_code(codes):
    rows = {code.tobytes() for code in codes}
    rng = np.random.default_rng(0)
    for _ in range(60):
        cell = SPACE.sample(rng).pruned()
        assert cell is not None
        assert smallest_code(cell) in rows


def test_hashes_are_the_official_ones_in_any_order(codes):
    rng = np.random.default_rng(0)
    small = int((sizes_of(codes) < 5).sum())
    rows = rng.permutation(np.concatenate([np.arange(small), small + rng.choice(len(codes) - small, 1_909, False)]))
    assert len(rows) == 2_000
    done: list[int] = []
    hashes = graph_hashes(codes[rows], done.append)
    assert sum(done) == len(rows)
    assert [h.tobytes().hex() for h in hashes] == [SPACE.canonical_key(SPACE.from_code(codes[row])) for row in rows]


def test_no_cells_have_no_hashes():
    assert graph_hashes(np.zeros((0, SPACE.code_length), dtype=np.uint8)).shape == (0, 16)


@pytest.mark.shared
def test_the_published_cell_is_found_by_its_published_hash(codes, shared_data: Path):
    (golden, *_) = json.loads((shared_data / "nasbench101" / "golden_vertex_costs.json").read_text())
    digits = "".join(str(bit) for row in golden["module_adjacency"] for bit in row)
    cell = SPACE.from_raw(digits, ",".join(golden["module_operations"]))
    row = np.flatnonzero((codes == np.frombuffer(smallest_code(cell), dtype=np.uint8)).all(1))
    assert len(row) == 1
    assert graph_hashes(codes[row])[0].tobytes().hex() == golden["unique_hash"]


def test_rows_of_finds_hashes_and_marks_foreign_ones(codes):
    some = codes[1000:1100]
    cells = Enumeration(some, graph_hashes(some))
    keys = [SPACE.canonical_key(SPACE.from_code(code)) for code in some[[99, 0, 42]]]
    assert cells.rows_of([keys[0], "f" * 32, *keys[1:], "0" * 32]).tolist() == [99, -1, 0, 42, -1]
    assert cells.rows_of([]).tolist() == []


@pytest.fixture
def made(codes, tmp_path, monkeypatch) -> list[Enumeration]:
    """An empty cache folder; collects what is enumerated rather than loaded, with hashes that cost nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    calls: list[Enumeration] = []

    def enumerate_cells(progress: object) -> Enumeration:
        calls.append(Enumeration(codes, np.full((len(codes), 16), 7, dtype=np.uint8)))
        return calls[-1]

    monkeypatch.setattr(enumeration, "enumerate_cells", enumerate_cells)
    return calls


def test_the_second_call_loads_what_the_first_made(made, codes):
    load_or_enumerate()
    again = load_or_enumerate()
    assert len(made) == 1
    np.testing.assert_array_equal(again.codes, codes)
    np.testing.assert_array_equal(again.hashes, made[0].hashes)


@pytest.mark.parametrize("damage", [b"", b"not a zip file", None])
def test_a_damaged_cache_is_made_anew(made, tmp_path, damage):
    load_or_enumerate()
    (file,) = (tmp_path / "cache").rglob("*.npz")
    file.write_bytes(file.read_bytes()[:5_000_000] if damage is None else damage)
    load_or_enumerate()
    load_or_enumerate()
    assert len(made) == 2


def test_an_older_version_is_not_taken(made, monkeypatch):
    load_or_enumerate()
    monkeypatch.setattr(enumeration, "CACHE_VERSION", enumeration.CACHE_VERSION + 1)
    load_or_enumerate()
    assert len(made) == 2


def test_without_a_place_for_the_cache_the_cells_still_come(made, tmp_path, monkeypatch, codes):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_or_enumerate().codes is codes


@pytest.mark.slow
def test_all_hashes_are_distinct_and_official(codes):
    hashes = graph_hashes(codes)
    assert len(np.unique(hashes.view("S16"))) == SPACE.size
    for code, digest in zip(codes, hashes, strict=True):
        assert digest.tobytes().hex() == SPACE.canonical_key(SPACE.from_code(code))
