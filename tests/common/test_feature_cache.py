"""Features of a large table come from a file, and are those that are encoded."""

from __future__ import annotations

import os

import numpy as np
import pytest

from common.encoding import EncodedFeatures, make_encoding
from common.encoding import graph as graph_module
from common.encoding.base import Encoding
from common.encoding.cache import CachedFeatures
from common.runs.files import cache_folder
from common.spaces import make_space

NB201 = make_space("nasbench201")
CODES = NB201.all_codes()[:1500]
EVERY = np.arange(len(CODES))


class Counting(Encoding):
    """Squared codes; counts what it encodes."""

    name = "counting"

    def __init__(self, power: int = 2) -> None:
        self.power, self.encoded = power, 0

    def encode(self, space, codes):
        self.encoded += len(codes)
        return codes.astype(np.float32) ** self.power


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def cached(encoding: Encoding, codes: np.ndarray = CODES) -> CachedFeatures:
    return CachedFeatures(EncodedFeatures(encoding, NB201, codes))


def files() -> list:
    return sorted((cache_folder() / "features").glob("*"))


def test_all_features_are_encoded_once_and_then_read():
    wanted = make_encoding("graph").encode(NB201, CODES)
    source = cached(make_encoding("graph"))
    assert np.array_equal(source.rows(EVERY[::7]), wanted[::7])
    assert source.shape == wanted.shape[1:]
    assert len(files()) == 1
    first, again = Counting(), Counting()
    assert np.array_equal(cached(first).rows(EVERY), cached(again).rows(EVERY))
    assert first.encoded > len(CODES) > again.encoded  # the second has encoded its probe only
    assert len(files()) == 2


def test_a_few_rows_write_nothing():
    assert np.array_equal(cached(Counting()).rows(EVERY[3:9]), CODES[3:9].astype(np.float32) ** 2)
    assert not files()


def test_other_codes_and_another_encoding_have_other_files():
    cached(Counting()).rows(EVERY)
    assert np.array_equal(cached(Counting(3)).rows(EVERY), CODES.astype(np.float32) ** 3)
    assert np.array_equal(cached(Counting(), CODES[::-1]).rows(EVERY), CODES[::-1].astype(np.float32) ** 2)
    one_changed = CODES.copy()
    one_changed[1] = CODES[-1]  # of no architecture that the probe encodes
    assert np.array_equal(cached(Counting(), one_changed).rows(EVERY)[1], CODES[-1].astype(np.float32) ** 2)
    assert len(files()) == 4


@pytest.mark.parametrize("damage", [b"", b"no array", None, "a pipe"])
def test_a_damaged_file_is_written_anew(damage):
    wanted = cached(Counting()).rows(EVERY)
    (file,) = files()
    if damage == "a pipe":  # which would never end
        file.unlink()
        os.mkfifo(file)
    else:
        file.write_bytes(file.read_bytes()[:-50] if damage is None else damage)
    assert np.array_equal(cached(Counting()).rows(EVERY), wanted)
    assert np.array_equal(np.load(file), wanted)


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert np.array_equal(cached(Counting()).rows(EVERY), CODES.astype(np.float32) ** 2)


def test_large_tables_are_cached_and_small_ones_are_not(monkeypatch):
    from common.benchmarks import load_benchmark

    table = load_benchmark(None)
    encoding = make_encoding("graph")
    assert isinstance(encoding.source(table), EncodedFeatures)
    monkeypatch.setattr(graph_module, "CACHED_FROM", len(table))
    source = encoding.source(table)
    assert isinstance(source, CachedFeatures)
    assert len(source) == len(table)
    assert np.array_equal(source.groups, encoding.groups(table.space))
