"""TFRecord framing without TensorFlow: records out of a file, every one of them checked against its CRC-32C."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from common.errors import InputError

HEADER_BYTES, FOOTER_BYTES = 12, 4  # uint64 length and its checksum; checksum of the data
MAX_RECORD_BYTES = 1 << 20  # far above any record of a benchmark; keeps a foreign file from filling the memory

_BLOCK_BYTES = 8 << 20
_MATRIX_BYTES = 2 << 20  # of records that are checked at once: stays in the cache
_POLYNOMIAL = np.uint32(0x82F63B78)  # CRC-32C (Castagnoli), bits reflected
_START = struct.pack("<I", 0x641F6454)  # the bytes that take a CRC of 0 to the 0xFFFFFFFF a checksum starts from


class Batch(NamedTuple):
    """Consecutive records of a file."""

    first: int  # number of the first one, counted from 0
    offsets: np.ndarray  # (N,) int64, where each one's header starts in the file
    records: list[bytes]


def read_batches(path: Path, on_block: Callable[[bytes], object] | None = None) -> Iterator[Batch]:
    """All records of a file in batches of some MB; `on_block` sees the raw bytes of the file, in order.

    Raises: InputError naming file, record and byte offset for a damaged or truncated record.
    """
    number, offset, rest = 0, 0, b""  # offset: of the first byte of rest
    headers: dict[bytes, int] = {}
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            if on_block is not None:
                on_block(block)
            buffer = rest + block
            starts = _frame(buffer, headers, path, number, offset)
            records = [buffer[start + HEADER_BYTES : end - FOOTER_BYTES] for start, end in itertools.pairwise(starts)]
            offsets = np.array(starts)
            _check(buffer, offsets, path, number, offset)
            if records:
                yield Batch(number, offset + offsets[:-1], records)
            number += len(records)
            offset += starts[-1]
            rest = buffer[starts[-1] :]
    if rest:
        raise InputError(
            f"{path}: record {number} at byte {offset} is cut off after {len(rest)} bytes: the file is truncated, "
            "fetch it again"
        )


def first_record(path: Path, size: int) -> bytes | None:
    """Up to `size` first bytes of the first record, None for what is not a TFRecord file."""
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as file:
            header = file.read(HEADER_BYTES)
            return file.read(size)[: _record_size(header)] if _header_is_right(header) else None
    except OSError:
        return None


def write_records(file: IO[bytes], records: list[bytes]) -> None:
    """Appends framed records to an open file."""
    sizes = [struct.pack("<Q", len(record)) for record in records]
    size_crcs = {size: masked_crc32c([size])[0].tobytes() for size in set(sizes)}
    crcs = masked_crc32c(records).tobytes()
    file.write(
        b"".join(
            part
            for index, (size, record) in enumerate(zip(sizes, records, strict=True))
            for part in (size, size_crcs[size], record, crcs[4 * index : 4 * index + 4])
        )
    )


def masked_crc32c(records: list[bytes]) -> np.ndarray:
    """(N,) little-endian uint32: the masked CRC-32C of every record, as TFRecord files store it."""
    sizes = np.array([len(record) for record in records], dtype=np.int64)
    return _masked_crcs(b"".join(records), np.cumsum(sizes), sizes)


def _frame(buffer: bytes, headers: dict[bytes, int], path: Path, number: int, offset: int) -> list[int]:
    """Starts of the complete records in a buffer, and behind them the end of the last one.

    `headers` remembers the sizes of the headers seen: there are few different ones, and each is checked once.
    """
    start, starts = 0, [0]
    last = len(buffer) - HEADER_BYTES
    while start <= last:
        header = buffer[start : start + HEADER_BYTES]
        size = headers.get(header)
        if size is None:
            size = _record_size(header)
            if not _header_is_right(header):
                raise InputError(
                    f"{path}: record {number + len(starts) - 1} at byte {offset + start}: the checksum of its length "
                    "is wrong: the file is damaged (or no TFRecord file), fetch it again"
                )
            if size > MAX_RECORD_BYTES:
                raise InputError(
                    f"{path}: record {number + len(starts) - 1} at byte {offset + start} has {size} bytes, more than a "
                    f"benchmark's records ever have ({MAX_RECORD_BYTES})"
                )
            headers[header] = size
        start += HEADER_BYTES + size + FOOTER_BYTES
        starts.append(start)
    if starts[-1] > len(buffer):
        starts.pop()
    return starts


def _check(buffer: bytes, starts: np.ndarray, path: Path, number: int, offset: int) -> None:
    """Raises InputError for the first record whose data do not have the checksum stored behind them."""
    ends = starts[1:] - FOOTER_BYTES
    lengths = ends - starts[:-1] - HEADER_BYTES
    stored = np.frombuffer(buffer, dtype=np.uint8)[ends[:, None] + np.arange(FOOTER_BYTES)].view("<u4")[:, 0]
    wrong = np.flatnonzero(_masked_crcs(buffer, ends, lengths) != stored)
    if len(wrong):
        raise InputError(
            f"{path}: record {number + wrong[0]} at byte {offset + starts[wrong[0]]}: the checksum of its data is "
            "wrong: the file is damaged, fetch it again"
        )


def _record_size(header: bytes) -> int:
    return int.from_bytes(header[:8], "little")


def _header_is_right(header: bytes) -> bool:
    return len(header) == HEADER_BYTES and masked_crc32c([header[:8]])[0].tobytes() == header[8:]


def _masked_crcs(buffer: bytes, ends: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(N,) masked checksums of the stretches of a buffer that have the given ends and lengths.

    Stretches are laid right-aligned into the rows of a matrix: zero bytes in front leave a CRC of 0 as it is, so rows
    of all lengths advance together, four bytes a step.
    """
    low, high = _crc_tables()
    width = -(-(int(lengths.max(initial=0)) + len(_START)) // 4) * 4
    padded = np.zeros(width + len(buffer), dtype=np.uint8)
    padded[width:] = np.frombuffer(buffer, dtype=np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    crcs = np.empty(len(ends), dtype="<u4")
    rows_at_once = max(1, _MATRIX_BYTES // width)
    for start in range(0, len(ends), rows_at_once):
        part = slice(start, start + rows_at_once)
        rows = windows[ends[part]]  # a window that starts at `end` in `padded` stops at `end` in the buffer
        begin = (width - lengths[part]).astype(np.int32)[:, None]
        front = np.arange(begin.max(), dtype=np.int32)
        rows[:, : len(front)] *= front >= begin
        np.put_along_axis(rows, begin + np.arange(-len(_START), 0), np.frombuffer(_START, dtype=np.uint8), axis=1)
        crc, shifted = np.zeros((2, len(rows)), dtype="<u4")
        lower, upper = crc.view("<u2").reshape(-1, 2).T
        for word in np.ascontiguousarray(rows.view("<u4").T):
            crc ^= word
            # "wrap" spares the copy that bounds checks would cost; sixteen bits are never out of bounds.
            np.take(high, upper.astype(np.intp), out=shifted, mode="wrap")
            np.take(low, lower.astype(np.intp), out=crc, mode="wrap")
            crc ^= shifted
        crc = ~crc
        crcs[part] = ((crc >> 15) | (crc << 17)) + np.uint32(0xA282EAD8)
    return crcs


@lru_cache(maxsize=1)
def _crc_tables() -> tuple[np.ndarray, np.ndarray]:
    """What the lower and the upper half of a CRC's 32 bits become when four zero bytes follow."""

    def two_bytes_on(crc: np.ndarray) -> np.ndarray:
        for _ in range(16):
            crc = (crc >> 1) ^ (_POLYNOMIAL * (crc & 1))
        return crc

    high = two_bytes_on(np.arange(1 << 16, dtype=np.uint32))  # the lower half's two bytes only move the upper half down
    return two_bytes_on(high), high
