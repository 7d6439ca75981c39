"""Writing files so that nobody ever reads half of one."""

from __future__ import annotations

import json
import math
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

# What np.load raises for a missing or damaged npz (RuntimeError and its kin: flags that zipfile does not know).
UNREADABLE = (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile)


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/relativistic-nas`, by default `~/.cache/relativistic-nas`; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relativistic-nas"


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write` on a temporary file in the same folder, then moves it over `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(name, 0o666 & ~_umask())  # mkstemp makes private files; a result is as public as any other
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
