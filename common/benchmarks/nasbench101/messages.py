"""The messages `ModelMetrics` of NAS-Bench-101's records: protocol buffers, many taken apart at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# Fields 2 to 5 of the message EvaluationData, in this order, of the evaluations half-way and at the end.
QUANTITIES = ("time", "train", "valid", "test")
MOMENTS = ("half-way", "final")

_WORDS = {"time": "training time", "train": "train accuracy", "valid": "validation accuracy", "test": "test accuracy"}
ACCURACIES = slice(1, None)  # of QUANTITIES


class BadRecordError(ValueError):
    """A record that is not NAS-Bench-101's: its index in the batch, and why."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


class _Layout(NamedTuple):
    """Where the numbers lie in a ModelMetrics message, and what another message needs to have in common with it."""

    shared: np.ndarray  # (length,) uint8: the bits that are tags and lengths rather than values
    doubles: np.ndarray  # (moments * quantities,) offsets
    params: tuple[int, int]  # start and stop of a variable-length integer


def read_messages(messages: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Values (R, moments, quantities) and trainable parameters (R,) of serialised ModelMetrics messages.

    A file's messages have all the same fields, so those of one length are taken apart as one matrix; any that differ
    from the first of their length go one by one. Raises BadRecordError.
    """
    values = np.empty((len(messages), len(MOMENTS), len(QUANTITIES)))
    params = np.empty(len(messages), dtype=np.int64)
    lengths = np.array([len(message) for message in messages])
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        matrix = np.frombuffer(b"".join([messages[row] for row in rows]), dtype=np.uint8).reshape(len(rows), length)
        layout = _layout(messages[rows[0]], rows[0])
        alike = ((matrix ^ matrix[0]) & layout.shared == 0).all(1)
        values[rows[alike]], params[rows[alike]] = _take(matrix[alike], layout)
        for other in np.flatnonzero(~alike):
            row = rows[other]
            of_one = slice(row, row + 1)
            values[of_one], params[of_one] = _take(matrix[other : other + 1], _layout(messages[row], row))

    wrong = ~np.isfinite(values) | (values < 0)
    wrong[:, :, ACCURACIES] |= values[:, :, ACCURACIES] > 1
    if wrong.any():
        index, moment, quantity = np.argwhere(wrong)[0]
        name = QUANTITIES[quantity]
        need = "seconds" if name == "time" else "a fraction in [0, 1]"
        reason = f"its {MOMENTS[moment]} {_WORDS[name]} is {values[index, moment, quantity]:g}, not {need}"
        raise BadRecordError(int(index), reason)
    if (params <= 0).any():
        index = np.argmax(params <= 0)
        raise BadRecordError(int(index), f"{params[index]} trainable parameters")
    return values, params


def _take(matrix: np.ndarray, layout: _Layout) -> tuple[np.ndarray, np.ndarray]:
    """Values (n, moments, quantities) and parameters (n,) of n messages of one layout, (n, length) uint8."""
    at = (layout.doubles[:, None] + np.arange(8)).ravel()
    values = np.take(matrix, at, axis=1).view("<f8").reshape(-1, len(MOMENTS), len(QUANTITIES))
    septets = matrix[:, slice(*layout.params)].astype(np.int64) & 0x7F
    return values, (septets << 7 * np.arange(septets.shape[1])).sum(1)


_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers
_SHARED_BITS = {_VARINT: 0x80, _FIXED64: 0, _BYTES: 0, _FIXED32: 0}  # of a value: how far a varint goes on


def _layout(message: bytes, index: int) -> _Layout:
    """The layout of one message. Raises BadRecordError, for record `index`, when it is not what it should be."""
    shared = np.full(len(message), 0xFF, dtype=np.uint8)
    evaluations: list[dict[int, int]] = []  # offsets of the doubles by field
    params = None
    try:
        for field, wire, start, stop in _fields(message, 0, len(message)):
            if field == 1:
                _expect(wire, _BYTES, "evaluation_data")
                evaluations.append({})
                for part, part_wire, part_start, part_stop in _fields(message, start, stop):
                    if 2 <= part < 2 + len(QUANTITIES):
                        _expect(part_wire, _FIXED64, _WORDS[QUANTITIES[part - 2]])
                        evaluations[-1][part] = part_start
                    shared[part_start:part_stop] = _SHARED_BITS[part_wire]
                continue
            if field == 2:
                _expect(wire, _VARINT, "trainable_parameters")
                params = start, stop
            shared[start:stop] = _SHARED_BITS[wire]
        if len(evaluations) < 1 + len(MOMENTS):
            raise ValueError(f"{len(evaluations)} evaluations where start, half-way and end are needed")
        if params is None:
            raise ValueError("no trainable_parameters")
        doubles = []
        for moment, evaluation in zip(MOMENTS, evaluations[1:], strict=False):
            for part, name in enumerate(QUANTITIES, start=2):
                if part not in evaluation:
                    raise ValueError(f"no {moment} {_WORDS[name]}")
                doubles.append(evaluation[part])
    except ValueError as error:
        raise BadRecordError(index, f"its metrics are not a ModelMetrics message: {error}") from error
    return _Layout(shared, np.array(doubles), params)


def _expect(wire: int, expected: int, name: str) -> None:
    if wire != expected:
        raise ValueError(f"{name} has wire type {wire} instead of {expected}")


def _fields(message: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, and start and stop of the value of every field in message[at:end]."""
    while at < end:
        tag, at = _varint(message, at, end)
        field, wire = tag >> 3, tag & 7
        if wire not in _SHARED_BITS:
            raise ValueError(f"unknown wire type {wire}")
        if wire == _VARINT:
            stop = _varint(message, at, end)[1]
        elif wire == _BYTES:
            size, at = _varint(message, at, end)
            stop = at + size
        else:
            stop = at + (8 if wire == _FIXED64 else 4)
        if stop > end:
            raise ValueError("it breaks off inside a field")
        yield field, wire, at, stop
        at = stop


def _varint(message: bytes, at: int, end: int) -> tuple[int, int]:
    """A variable-length integer and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= end:
            raise ValueError("it breaks off inside a field")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("an integer of more than 64 bits")
