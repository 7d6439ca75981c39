"""Official result files are pickles, which may call anything: read here as plain data, without running anything."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

ZIP = b"PK\x03\x04"  # torch.save since 1.6: the pickle is the member `<name>/data.pkl`, stored without compression
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # before: a pickle of torch's magic number, then others
LONGEST_SCALAR = 16  # bytes of a number
LEGACY_HEADER = 3  # pickles before the data: magic number, version of the format, about the machine


class _Ignored:
    """In the place of tensors and arrays, of which nothing is needed: takes any arguments and any state."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _Dict(dict[Any, Any]):
    """In the place of OrderedDict, whose attributes (torch's `_metadata`) are left out."""

    def __setstate__(self, state: object) -> None:
        pass


class _Dtype:
    """In the place of numpy.dtype: of numbers only."""

    def __init__(self, name: str, *args: object) -> None:
        if not re.fullmatch("[fiub][1248]", name):
            raise pickle.UnpicklingError(f"holds numpy data of type {name!r}, which has no place in this file")
        self.name, self.order = name, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _scalar(dtype: _Dtype, content: bytes) -> float:
    (value,) = np.frombuffer(content, np.dtype(dtype.order + dtype.name)).tolist()
    return float(value)


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"holds text as {encoding!r}, which has no place in this file")
    # Of arrays, whose numbers are not needed, nothing: the same text encoded a thousand times would fill the memory.
    return text.encode("latin1") if len(text) <= LONGEST_SCALAR else b""


# What a file may name, with and without the names of Python 2 and of numpy 2, and what is taken for it.
ADMITTED: dict[tuple[str, str], Callable[..., object]] = {
    ("builtins", "set"): _Ignored,  # of what has been evaluated: copies of a long list would fill the memory
    ("__builtin__", "set"): _Ignored,
    ("collections", "OrderedDict"): _Dict,
    ("_codecs", "encode"): _latin1,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Ignored,
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Ignored for core in ("core", "_core")},
    ("torch._utils", "_rebuild_tensor_v2"): _Ignored,
    ("torch._utils", "_rebuild_parameter"): _Ignored,
}
TENSORS = re.compile(r"torch\.\w+Storage")


class PlainUnpickler(pickle.Unpickler):
    """Numbers, texts and containers; tensors and arrays become placeholders. Anything else is an UnpicklingError."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ADMITTED:
            return ADMITTED[module, name]
        if TENSORS.fullmatch(f"{module}.{name}"):
            return _Ignored
        raise pickle.UnpicklingError(f"holds {module}.{name}, which has no place in this file")

    def persistent_load(self, pid: Any) -> Any:
        """Where torch has the numbers of a tensor."""
        return _Ignored()


def load_torch_file(path: Path) -> Any:
    """What `torch.save` wrote, in either of its formats, tensors left out.

    Raises: UnpicklingError for data that has no place there, BadZipFile, EOFError and whatever else a damaged pickle
    makes of itself.
    """
    with path.open("rb") as file:
        if file.read(len(ZIP)) == ZIP:
            return _load_zip(file)
        file.seek(0)
        for _ in range(LEGACY_HEADER):
            PlainUnpickler(file).load()
        data = PlainUnpickler(file).load()
        PlainUnpickler(file).load()  # the names of the tensors' numbers: what is cut short lacks them
        return data


def _load_zip(file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        found = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
        if len(found) != 1 or found[0].compress_type != zipfile.ZIP_STORED:
            raise zipfile.BadZipFile("no uncompressed data.pkl in it")
        with archive.open(found[0]) as content:
            return PlainUnpickler(content).load()
