"""The NAS-Bench-101 reader on files in the true format: what it reads, what it refuses, what it keeps."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from common.benchmarks.nasbench101 import results, tfrecord
from common.benchmarks.nasbench101.enumeration import enumerate_codes
from common.benchmarks.nasbench101.results import matches, read
from common.benchmarks.nasbench101.tfrecord import masked_crc32c, write_records
from common.errors import InputError
from common.spaces.nasbench101 import INPUT, NUM_EDGES, OPS, OUTPUT, Cell101, NasBench101
from scripts.make_nasbench101_tfrecord import cell_texts, message, record, stand_in_metrics, write_tfrecord

SPACE = NasBench101()
SMALLEST = Cell101(((0, 1), (0, 0)), ())
RUN = [[400.5, 0.875, 0.8125, 0.75], [801.0, 0.96875, 0.9375, 0.90625]]
KEY = SPACE.canonical_key(SMALLEST)


class Written(NamedTuple):
    path: Path
    cells: list[Cell101]
    codes: np.ndarray
    keys: list[str]
    params: np.ndarray
    metrics: dict[int, np.ndarray]


@pytest.fixture(autouse=True)
def _own_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def written(tmp_path) -> Written:
    """60 cells of several sizes, three runs with 4 and with 108 epochs."""
    rng = np.random.default_rng(0)
    others = [cell for cell in SPACE.sample_distinct(60, rng) if SPACE.canonical_key(cell) != KEY]
    cells = [SMALLEST, *others[:59]]
    codes = SPACE.to_codes(cells)
    keys = [SPACE.canonical_key(cell) for cell in cells]
    params = SPACE.total_costs(codes)[1]
    metrics = {epochs: stand_in_metrics(len(cells), epochs, rng) for epochs in (4, 108)}
    path = tmp_path / "nasbench.tfrecord"
    write_tfrecord(path, codes, keys, params, metrics)
    return Written(path, cells, codes, keys, params, metrics)


def cache_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.cache.npz")


def write(path: Path, records: Iterable[bytes]) -> Path:
    with path.open("wb") as file:
        write_records(file, list(records))
    return path


def of_smallest(metrics: bytes, epochs: int = 108) -> bytes:
    return record(KEY, epochs, ("0100", "input,output"), metrics)


# framing ---------------------------------------------------------------------------------------------------------


def crc32c_bit_by_bit(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "crc"),
    [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)],
)
def test_crc32c_has_its_published_check_values(data, crc):
    assert crc32c_bit_by_bit(data) == crc
    assert masked_crc32c([data]).tolist() == [masked(crc)]


def test_crc32c_of_many_lengths_at_once_is_that_of_each():
    rng = np.random.default_rng(0)
    records = [rng.bytes(length) for length in rng.permutation([*range(70), 1000, 4097]).tolist()]
    assert masked_crc32c(records).tolist() == [masked(crc32c_bit_by_bit(data)) for data in records]


def test_a_record_is_framed_as_the_format_says():
    file = io.BytesIO()
    write_records(file, [b"hello", b""])
    length = struct.pack("<Q", 5)
    expected = length + struct.pack("<I", masked(crc32c_bit_by_bit(length))) + b"hello"
    expected += struct.pack("<I", masked(crc32c_bit_by_bit(b"hello")))
    assert file.getvalue().startswith(expected)
    assert len(file.getvalue()) == len(expected) + 16


def test_full_size_files_would_have_the_official_sizes():
    """The sizes of Google's two files in bytes, which fixes separators, line breaks and fields of the records."""
    codes = enumerate_codes()
    kinds = sum((codes[:, NUM_EDGES:] == op).sum(1) * 6**op for op in (1, 2, 3))  # a record's length goes by its ops
    kinds, first, counts = np.unique(kinds, return_index=True, return_counts=True)
    assert len(kinds) == 56
    sizes = {
        epochs: sum(
            3 * int(count) * (16 + len(record("0" * 32, epochs, cell_texts(code), message(epochs, RUN, 5_000_000))))
            for code, count in zip(codes[first], counts, strict=True)
        )
        for epochs in (4, 12, 36, 108)
    }
    assert sizes[108] == 522_767_376
    assert sum(sizes.values()) == 2_085_986_016


# reading ---------------------------------------------------------------------------------------------------------


def test_everything_in_a_file_is_read(written):
    assert matches(written.path)
    table = read(written.path)
    assert list(table.keys) == written.keys
    np.testing.assert_array_equal(table.codes, written.codes)
    assert table.codes.dtype == np.uint8
    np.testing.assert_array_equal(table.column("params").values, written.params)
    seen = {"params"}
    for epochs, metrics in written.metrics.items():
        for moment, at in ((0, epochs // 2), (1, epochs)):
            for quantity, name in enumerate(("time_s", "cifar10_train", "cifar10_valid", "cifar10_test")):
                values = metrics[:, :, moment, quantity] * (100 if quantity else 1)
                mean = table.column(f"{name}_{at}")
                np.testing.assert_allclose(mean.values, values.mean(1), rtol=1e-14)
                assert (mean.unit, mean.epochs) == ("%" if quantity else "s", at)
                assert ("half-way" in mean.note) == (moment == 0)
                seen.add(mean.name)
                for run in range(3):
                    single = table.column(f"{name}_{at}_run{run}")
                    np.testing.assert_array_equal(single.values, values[:, run])
                    seen.add(single.name)
    assert set(table.columns) == seen
    assert table.source.bytes == written.path.stat().st_size
    assert table.source.sha256 == hashlib.sha256(written.path.read_bytes()).hexdigest()
    assert "60 cells" in table.source.title
    assert "not an official file" in table.source.title
    assert table.index_of(written.cells[17]) == 17


def test_single_runs_are_not_among_the_benchmarks_accuracies(written):
    table = read(written.path)
    for split in ("valid", "test", "train"):
        names = [column.name for column in table.accuracies("cifar10", split)]
        assert names == [f"cifar10_{split}_{epochs}" for epochs in (108, 54, 4, 2)]
    assert not table.accuracies("cifar10", "")[0].split


def test_accuracies_are_percent(tmp_path):
    table = read(write(tmp_path / "one.tfrecord", [of_smallest(message(108, RUN, 5_000))]))
    assert table.column("cifar10_valid_108").values.tolist() == [93.75]
    assert table.column("cifar10_test_54").values.tolist() == [75.0]
    assert table.column("time_s_54").values.tolist() == [400.5]


@pytest.mark.parametrize("block_bytes", [300, 1000])
def test_block_borders_change_nothing(written, monkeypatch, block_bytes):
    whole = read(written.path)
    cache_beside(written.path).unlink()
    monkeypatch.setattr(tfrecord, "_BLOCK_BYTES", block_bytes)
    pieces = read(written.path)
    assert pieces.source == whole.source
    assert list(pieces.keys) == list(whole.keys)
    np.testing.assert_array_equal(pieces.codes, whole.codes)
    for name, column in whole.columns.items():
        np.testing.assert_array_equal(pieces.column(name).values, column.values)


def test_records_may_come_in_any_order(written):
    (batch,) = tfrecord.read_batches(written.path)
    order = np.random.default_rng(0).permutation(len(batch.records))
    table = read(write(written.path.with_name("shuffled.tfrecord"), [batch.records[index] for index in order]))
    rows = [list(table.keys).index(key) for key in written.keys]
    assert rows != sorted(rows)
    np.testing.assert_array_equal(table.codes[rows], written.codes)
    np.testing.assert_allclose(
        table.column("cifar10_test_108").values[rows], 100 * written.metrics[108][:, :, 1, 3].mean(1), rtol=1e-14
    )


def test_missing_repeats_are_nan_and_left_out_of_means(tmp_path):
    other = SPACE.parse("010001000:input,maxpool3x3,output")
    runs = [[[1.0, 0.5, 0.5, value]] * 2 for value in (0.25, 0.75)]
    records = [of_smallest(message(36, run, 5_000), 36) for run in runs]
    records.append(
        record(SPACE.canonical_key(other), 12, ("010001000", "input,maxpool3x3,output"), message(12, RUN, 9))
    )
    table = read(write(tmp_path / "partial.tfrecord", records))
    np.testing.assert_array_equal(table.column("cifar10_test_36").values, [50.0, np.nan])
    np.testing.assert_array_equal(table.column("cifar10_test_36_run1").values, [75.0, np.nan])
    np.testing.assert_array_equal(table.column("cifar10_test_36_run2").values, [np.nan, np.nan])
    np.testing.assert_array_equal(table.column("cifar10_test_12").values, [np.nan, 90.625])


def test_vertices_off_every_path_are_pruned(tmp_path):
    adjacency, operations = "0110000000010000", "input,conv3x3-bn-relu,maxpool3x3,output"
    cell = SPACE.from_raw(adjacency, operations)
    assert cell.pruned() != cell
    key = SPACE.canonical_key(cell)
    table = read(write(tmp_path / "loose.tfrecord", [record(key, 108, (adjacency, operations), message(108, RUN, 9))]))
    assert table.arch(0) == cell.pruned()


def evaluation(*fields: bytes) -> bytes:
    body = b"".join(fields)
    assert len(body) < 128
    return b"\x0a" + bytes([len(body)]) + body


def doubles(values: list[float], tags: bytes = b"\x11\x19\x21\x29") -> list[bytes]:
    return [bytes([tag]) + struct.pack("<d", value) for tag, value in zip(tags, values, strict=True)]


def other_layouts() -> dict[str, bytes]:
    """One run's metrics in valid serialisations that are not the official files'."""
    start, params, total = evaluation(*doubles([0.0, 0.1, 0.1, 0.1])), b"\x10\x88\x27", b"\x19" + struct.pack("<d", 9.0)
    half, final = (evaluation(*doubles(values)) for values in RUN)
    swapped = [evaluation(*reversed(doubles(values))) for values in RUN]
    path = b"\x32\x05a/b-1"
    return {
        "no epochs": start + half + final + params + total,
        "same length, fields swapped": start + b"".join(swapped) + params + total,
        "same length, parameters first": params + total + start + half + final,
        "no total time": start + half + final + params,
        "checkpoint paths": b"".join(evaluation(*doubles(values), path) for values in ([0.0] * 4, *RUN)) + params,
        "unknown fields": start + half + final + params + b"\x7d1234" + b"\x68\xff\x01" + b"\x72\x03abc",
        "parameters twice, the last one counts": b"\x10\x05" + start + half + final + params,
        "parameters in ten bytes": start + half + final + b"\x10\x88\xa7\x80\x80\x80\x80\x80\x80\x80\x00",
        "empty start": b"\x0a\x00" + half + final + params,
    }


@pytest.mark.parametrize("layout", other_layouts())
def test_every_valid_serialisation_is_read(tmp_path, layout):
    rows = {"official": message(108, RUN, 5_000), layout: other_layouts()[layout], "again": message(108, RUN, 5_000)}
    table = read(write(tmp_path / "layouts.tfrecord", map(of_smallest, rows.values())))
    for run in range(3):
        assert table.column(f"cifar10_test_108_run{run}").values.tolist() == [90.625]
        assert table.column(f"cifar10_train_54_run{run}").values.tolist() == [87.5]
        assert table.column(f"time_s_108_run{run}").values.tolist() == [801.0]
    only = read(write(tmp_path / "only.tfrecord", [of_smallest(rows[layout])]))
    assert only.column("params").values.tolist() == [5_000]


def test_layouts_of_one_length_do_not_mix(tmp_path):
    layouts = other_layouts()
    three = [layouts[name] for name in ("no epochs", "same length, fields swapped", "same length, parameters first")]
    assert len({len(metrics) for metrics in three}) == 1
    table = read(write(tmp_path / "mixed.tfrecord", map(of_smallest, three)))
    assert [table.column(f"cifar10_test_108_run{run}").values[0] for run in range(3)] == [90.625] * 3


# refusing --------------------------------------------------------------------------------------------------------


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


DAMAGES: dict[str, tuple[Callable[[bytes, int, int], bytes], str]] = {
    "a bit of the length": (lambda data, start, _: flip(data, start + 1), "checksum of its length"),
    "a bit of the length's checksum": (lambda data, start, _: flip(data, start + 9), "checksum of its length"),
    "a bit of the data": (lambda data, start, _: flip(data, start + 100), "checksum of its data"),
    "a bit of the data's checksum": (lambda data, _, end: flip(data, end - 1), "checksum of its data"),
    "cut in the header": (lambda data, start, _: data[: start + 7], "truncated"),
    "cut in the data": (lambda data, start, _: data[: start + 99], "truncated"),
    "cut before the last byte": (lambda data, _, end: data[: end - 1], "truncated"),
}


@pytest.mark.parametrize("block_bytes", [5000, 1 << 20])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_with_record_and_offset(written, monkeypatch, damage, block_bytes):
    monkeypatch.setattr(tfrecord, "_BLOCK_BYTES", block_bytes)
    data = written.path.read_bytes()
    (batch,) = tfrecord.read_batches(written.path) if block_bytes > len(data) else [None]
    offsets = [0]
    while offsets[-1] < len(data):
        offsets.append(offsets[-1] + 16 + struct.unpack_from("<Q", data, offsets[-1])[0])
    assert batch is None or batch.offsets.tolist() == offsets[:-1]
    change, reason = DAMAGES[damage]
    written.path.write_bytes(change(data, offsets[200], offsets[201]))
    with pytest.raises(InputError, match=f"nasbench.tfrecord: record 200 at byte {offsets[200]}.*{reason}"):
        read(written.path)
    assert not list(written.path.parent.rglob("*.npz"))


def fields(**changes: object) -> bytes:
    """The JSON of an intact record but for the given fields."""
    names = ("key", "epochs", "adjacency", "operations", "metrics")
    intact = dict(zip(names, json.loads(of_smallest(message(108, RUN, 5_000))), strict=True))
    return json.dumps(list((intact | changes).values())).encode()


def with_metrics(metrics: bytes) -> bytes:
    return fields(metrics=base64.b64encode(metrics).decode())


def with_run(**changes: float) -> bytes:
    names = ("time", "train", "valid", "test")
    half, final = RUN
    return of_smallest(message(108, [half, list((dict(zip(names, final, strict=True)) | changes).values())], 5_000))


GOOD = message(108, RUN, 5_000)
NEW = "0" * 32
WRONG: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"\x0a\x05hello", "JSON list"),
    "not UTF-8": (b'["\xff", 108, "", "", ""]', "JSON list"),
    "an object": (b'{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}', "JSON list"),
    "four items": (b'["a", 108, "0100", "input,output"]', "JSON list"),
    "text behind the list": (fields() + b"[]", "JSON list"),
    "two lists": (fields() + b"," + fields(), "JSON list"),
    "true for epochs": (fields(epochs=True), "its epochs is True"),
    "deep nesting": (b"[" * 20_000, "JSON list"),
    "epochs as text": (fields(epochs="108"), "its epochs is '108', not of type int"),
    "epochs as fraction": (fields(epochs=108.0), "its epochs is 108.0, not of type int"),
    "other epochs": (fields(epochs=200), "200 epochs"),
    "huge epochs": (fields(epochs=10**30), "1000000000000000000000000000000 epochs"),
    "hash a number": (fields(key=7), "its hash is 7, not of type str"),
    "hash too short": (fields(key="ab"), "the hash 'ab' is not 32 hex"),
    "hash not hexadecimal": (fields(key="z" * 32), "z' is not 32 hex"),
    "adjacency a list": (fields(key=NEW, adjacency=[[0, 1], [0, 0]]), "its adjacency is .*, not of type str"),
    "adjacency not square": (fields(key=NEW, adjacency="01000"), "not V\\*V digits"),
    "adjacency of other digits": (
        fields(key=NEW, adjacency="020001000", operations="input,maxpool3x3,output"),
        "not V\\*V digits",
    ),
    "adjacency of no digits": (
        fields(key=NEW, adjacency="01000\u00e9000", operations="input,maxpool3x3,output"),
        "not V\\*V digits",
    ),
    "an edge backwards": (
        fields(key=NEW, adjacency="010101000", operations="input,maxpool3x3,output"),
        "not upper triangular",
    ),
    "no way to the output": (
        fields(key=NEW, adjacency="010000000", operations="input,maxpool3x3,output"),
        "no path from input to output",
    ),
    "an unknown operation": (
        fields(key=NEW, adjacency="010001000", operations="input,skip,output"),
        "input,skip,output",
    ),
    "one operation too many": (
        fields(key=NEW, adjacency="010001000", operations="input,maxpool3x3,maxpool3x3,output"),
        "3 operations",
    ),
    "no output": (fields(key=NEW, adjacency="010001000", operations="input,maxpool3x3,maxpool3x3"), "3 operations"),
    "metrics a number": (fields(metrics=5), "its metrics is 5, not of type str"),
    "metrics cut inside base64": (fields(metrics=base64.b64encode(GOOD).decode()[:-3]), "not base64"),
    "metrics cut inside a field": (with_metrics(GOOD[:-2]), "breaks off"),
    "metrics empty": (with_metrics(b""), "0 evaluations"),
    "two evaluations": (with_metrics(GOOD[47:]), "2 evaluations"),
    "no parameters": (with_metrics(GOOD[:141]), "no trainable_parameters"),
    "no parameters to train": (of_smallest(message(108, RUN, 0)), "0 trainable parameters"),
    "no accuracy": (
        with_metrics(GOOD[:94] + evaluation(*doubles(RUN[1][:3], b"\x11\x19\x21")) + GOOD[141:]),
        "no final test accuracy",
    ),
    "an accuracy of 32 bits": (
        with_metrics(GOOD[:94] + evaluation(*doubles(RUN[1][:3], b"\x11\x19\x21"), b"\x2d1234") + GOOD[141:]),
        "test accuracy has wire type 5",
    ),
    "an endless integer": (with_metrics(b"\x10" + b"\xff" * 11), "more than 64 bits"),
    "an unknown wire type": (with_metrics(GOOD + b"\x7b"), "wire type 3"),
    "accuracy NaN": (with_run(valid=float("nan")), "final validation accuracy is nan"),
    "accuracy in percent": (with_run(test=93.5), "final test accuracy is 93.5, not a fraction"),
    "accuracy negative": (with_run(train=-0.5), "final train accuracy is -0.5"),
    "time infinite": (with_run(time=float("inf")), "final training time is inf"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_record_is_named_with_its_reason(tmp_path, wrong):
    bad, reason = WRONG[wrong]
    good = of_smallest(GOOD)
    path = write(tmp_path / "wrong.tfrecord", [good, good, bad, good])
    offset = 2 * (16 + len(good))
    with pytest.raises(InputError, match=rf"wrong.tfrecord: record 2 at byte {offset}: .*{reason}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_fourth_run_is_refused(tmp_path, monkeypatch):
    good, other = of_smallest(GOOD), of_smallest(GOOD, 36)
    path = write(tmp_path / "four.tfrecord", [good, good, other, good, good])
    offset = 3 * len(good) + len(other) + 4 * 16
    monkeypatch.setattr(tfrecord, "_BLOCK_BYTES", 1000)  # several batches
    with pytest.raises(InputError, match=f"record 4 at byte {offset}: more than 3 runs"):
        read(path)


def test_a_file_without_records_is_refused(tmp_path):
    path = write(tmp_path / "empty.tfrecord", [])
    with pytest.raises(InputError, match=r"empty.tfrecord: holds no records"):
        read(path)


def test_what_cannot_be_opened_is_one_clear_line(tmp_path):
    for path in (tmp_path / "absent.tfrecord", tmp_path):
        with pytest.raises(InputError, match=f"{path}: cannot be read"):
            read(path)


def test_matches_only_tfrecords_of_json_lists(tmp_path):
    assert matches(write(tmp_path / "a.any_name", [of_smallest(GOOD)]))
    assert not matches(write(tmp_path / "b", [b"\x0a\x05hello"]))
    assert not matches(write(tmp_path / "c", [b"[1, 2]"]))
    (tmp_path / "d").write_bytes(of_smallest(GOOD))
    (tmp_path / "e").write_bytes(flip((tmp_path / "a.any_name").read_bytes(), 0))
    (tmp_path / "f").write_bytes(b"")
    assert not any(matches(tmp_path / name) for name in ("d", "e", "f", ".", "absent"))


# the cache -------------------------------------------------------------------------------------------------------


@pytest.fixture
def times_read(monkeypatch) -> list[Path]:
    """The files that were read rather than taken from a cache."""
    paths: list[Path] = []
    real = results.read_runs

    def read_runs(path: Path) -> results.Runs:
        paths.append(path)
        return real(path)

    monkeypatch.setattr(results, "read_runs", read_runs)
    return paths


def test_the_second_read_is_the_same_table_from_the_cache(written, times_read):
    first, second = read(written.path), read(written.path)
    assert len(times_read) == 1
    assert second.source == first.source
    assert list(second.keys) == list(first.keys)
    assert list(second.columns) == list(first.columns)
    np.testing.assert_array_equal(second.codes, first.codes)
    for name, column in first.columns.items():
        again = second.column(name)
        np.testing.assert_array_equal(again.values, column.values)
        assert (again.dataset, again.split, again.epochs, again.unit) == (
            column.dataset,
            column.split,
            column.epochs,
            column.unit,
        )


def test_a_changed_file_is_read_again(written, times_read):
    read(written.path)
    (batch,) = tfrecord.read_batches(written.path)
    write(written.path, batch.records[:6])
    assert len(read(written.path)) == 1
    assert len(times_read) == 2


CACHE_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "a bit of an array": lambda data: flip(data, 3000),
}


@pytest.mark.parametrize("damage", CACHE_DAMAGES)
def test_a_damaged_cache_is_made_anew(written, times_read, damage):
    whole = read(written.path)
    cache = cache_beside(written.path)
    cache.write_bytes(CACHE_DAMAGES[damage](cache.read_bytes()))
    np.testing.assert_array_equal(read(written.path).codes, whole.codes)
    read(written.path)
    assert len(times_read) == 2


def test_a_cache_of_another_version_is_made_anew(written, times_read, monkeypatch):
    read(written.path)
    monkeypatch.setattr(results, "CACHE_VERSION", results.CACHE_VERSION + 1)
    read(written.path)
    assert len(times_read) == 2


def test_where_the_file_lies_nothing_can_be_written_the_cache_folder_takes_it(written, times_read, tmp_path):
    cache_beside(written.path).mkdir()  # in the way of the cache, even for the superuser
    read(written.path)
    read(written.path)
    assert len(times_read) == 1
    assert [file.name.startswith("nasbench.tfrecord-") for file in (tmp_path / "xdg").rglob("*.npz")] == [True]


def test_without_any_place_for_a_cache_the_table_still_comes(written, times_read, monkeypatch):
    cache_beside(written.path).mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(written.path))
    assert len(read(written.path)) == len(read(written.path)) == 60
    assert len(times_read) == 2


def test_the_writer_writes_what_json_and_base64_write(written):
    (batch,) = tfrecord.read_batches(written.path)
    for data in batch.records[:20]:
        key, epochs, adjacency, operations, metrics = json.loads(data)
        assert data == json.dumps([key, epochs, adjacency, operations, metrics]).encode()
        assert base64.encodebytes(base64.b64decode(metrics)).decode() == metrics
        assert SPACE.canonical_key(SPACE.from_raw(adjacency, operations)) == key
        assert {*operations.split(",")} <= {INPUT, OUTPUT, *OPS}
