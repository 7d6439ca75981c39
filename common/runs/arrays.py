"""Arrays from files that run nothing when they are read, whoever has made them: `.npy`, `.npz`, and our own with a
description in it.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from common.errors import InputError
from common.inputs import parse_json, short, size_of
from common.runs.files import plain, write_atomic

DESCRIPTION = "description"  # JSON text in UTF-8, as an array of bytes
KINDS = "biufU"  # of arrays: truth values, numbers, text
HEADER = 64 << 10  # bytes that hold any header
# A zip of a few MB may promise terabytes: above so many bytes, an array is at most so many times as large as its file.
EXPANDED, RATIO = 64 << 20, 200


def write_arrays(path: Path, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes numeric arrays and a description that JSON can hold, atomically; `numpy.load` reads the file too."""
    wrong = [name for name, array in arrays.items() if array.dtype.kind not in "biuf" or name == DESCRIPTION]
    if wrong:
        raise ValueError(f"array {wrong[0]!r} is not numeric, or has the description's name")
    text = np.frombuffer(json.dumps(plain(dict(description))).encode(), dtype=np.uint8)
    write_atomic(path, lambda file: np.savez(file, **{DESCRIPTION: text}, **arrays))  # type: ignore[arg-type]


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The description and the arrays of a file that `write_arrays` made.

    Nothing in the file is run, and it takes no more memory than twice its size: there are no objects in it, nothing is
    compressed, and the size of every array is held against the bytes there are before it is made.

    Raises: InputError for anything else.
    """
    arrays = read_npz(path, compressed=False)
    try:
        text = arrays.pop(DESCRIPTION)
        description = parse_json(text.astype(np.uint8).tobytes().decode())
        if not isinstance(description, dict):
            raise ValueError("its description is not one")
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not a file of arrays that this toolkit wrote ({short(error)})") from None
    return description, arrays


def read_npz(path: Path, names: Collection[str] | None = None, compressed: bool = True) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file by name: numbers, truth values or text, nothing that has to be unpickled.

    Args: names: which of them; None for all. compressed: whether they may be.
    Raises: InputError for another file, a name that is not in it, and an array whose size is not what its header says.
    """
    size = size_of(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            missing = [name for name in names or () if name not in members]
            if missing:
                there = ", ".join(members) or "nothing"
                raise InputError(f"{path}: no array {missing[0]!r} in it; there is {there[:200]}")
            wanted = {name: members[name] for name in names or members}
            promised = sum(member.file_size for member in wanted.values())
            allowed = max(EXPANDED, RATIO * size) if compressed else size
            if promised > allowed:
                raise ValueError(f"it promises {promised:,} bytes out of {size:,}")
            return {name: _read_member(archive, member, compressed) for name, member in wanted.items()}
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # zipfile, zlib and numpy's reader of headers fail in many ways
        raise InputError(f"{path}: not a file of arrays, .npz ({short(error)})") from None


def read_npy(path: Path) -> np.ndarray:
    """The array of an `.npy` file, as `read_npz`. Raises InputError."""
    shape, dtype, _ = read_npy_header(path)
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable .npy file ({short(error)})") from None
    assert array.shape == shape
    assert array.dtype == dtype
    return array


def read_npy_header(path: Path) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and the offset of the first value of a whole file in C order. Raises InputError."""
    size = size_of(path)
    try:
        with path.open("rb") as file:
            shape, fortran_order, dtype, offset = _header(file)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # numpy's reader of headers fails in many ways
        raise InputError(f"{path}: not a readable .npy file ({short(error)})") from None
    if fortran_order:
        raise InputError(f"{path}: stored column by column; save it again with numpy.ascontiguousarray")
    expected = offset + math.prod(shape) * dtype.itemsize
    if size != expected:
        raise InputError(f"{path}: {size} bytes where shape {shape} needs {expected}; the file is cut short or damaged")
    return shape, dtype, offset


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, order, type and size of the header. Raises whatever numpy does, ValueError for arrays that are no data."""
    stream = io.BytesIO(file.read(HEADER))
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"its header is of version {version}")
    shape, fortran_order, dtype = readers[version](stream)
    if dtype.kind not in KINDS or not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"it holds {dtype} {shape}")
    return shape, fortran_order, dtype, stream.tell()


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, compressed: bool) -> np.ndarray:
    if not member.filename.endswith(".npy") or (member.compress_type != zipfile.ZIP_STORED and not compressed):
        raise ValueError(f"{member.filename!r} is compressed or no array")
    with archive.open(member) as file:
        shape, _, dtype, offset = _header(file)
    if offset + math.prod(shape) * dtype.itemsize != member.file_size:
        raise ValueError(f"{member.filename!r} is not the {dtype} {shape} that its header says")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
