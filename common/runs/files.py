"""Writing files so that nobody ever reads half of one."""

from __future__ import annotations

import json
import math
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

PART = ".part"  # ends the names of files that are being written
_writing: set[str] = set()  # by this process, as paths


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/relativistic-nas`, by default `~/.cache/relativistic-nas`; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relativistic-nas"


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write` on a temporary file in the same folder, then moves it over `path`.

    What a killed process has left of an earlier try to write `path` is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{_left(path)}{os.getpid()}.", suffix=PART)
    _writing.add(name)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(name, 0o666 & ~_umask())  # mkstemp makes private files; a result is as public as any other
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):  # torch.save's, of a full disk
            raise error.__context__ from None
        raise
    finally:
        _writing.discard(name)


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, lambda file: file.write((json.dumps(plain(value), indent=2) + "\n").encode()))


def plain(value: Any) -> Any:
    """`value` as strict JSON holds it: numpy scalars as numbers, NaN and infinities as null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _left(path: Path) -> str:
    """How the names of temporary files of this machine for `path` begin; the number of the process follows."""
    return f".{path.name}.{socket.gethostname()}."


def _remove_left(path: Path) -> None:
    start = _left(path)
    for entry in os.listdir(path.parent):
        if entry.startswith(start) and entry.endswith(PART):
            owner, file = entry[len(start) :].partition(".")[0], path.parent / entry
            if owner.isdecimal() and str(file) not in _writing and not _runs(int(owner)):
                file.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether there is such a process beside this one, whose own files are known."""
    if process == os.getpid():
        return False
    if os.name == "nt":  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
