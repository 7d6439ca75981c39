"""Arrays with a description in one `.npz` file that runs nothing when it is read, whoever has made it."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError
from common.runs.files import UNREADABLE, plain, write_atomic

DESCRIPTION = "description"  # JSON text in UTF-8, as an array of bytes


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
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > size:
                raise ValueError("it holds more bytes than it has")
            arrays = {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
        text = arrays.pop(DESCRIPTION)
        description = json.loads(text.astype(np.uint8).tobytes().decode())
        if not isinstance(description, dict):
            raise ValueError("its description is not one")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (*UNREADABLE, SyntaxError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not a file of arrays that this toolkit wrote ({_short(error)})") from None
    return description, arrays


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type != zipfile.ZIP_STORED or not member.filename.endswith(".npy"):
        raise ValueError(f"{member.filename!r} is compressed or no array")
    stream = io.BytesIO(archive.read(member))
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{member.filename!r} has an unknown header")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    left = stream.getbuffer().nbytes - stream.tell()
    if dtype.kind not in "biuf" or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != left:
        raise ValueError(f"{member.filename!r} is not the numeric array that its header says")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
