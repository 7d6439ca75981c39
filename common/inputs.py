"""Reading files that others wrote: regular ones only, of a bounded size, as text, JSON or YAML of a bounded depth.

A file that is handed to a command may be a pipe that never ends, nested a million deep, a dozen lines of YAML that
stand for a billion, or something else altogether. All of it is refused here, in one line and little memory.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import InputError

TEXT = 64 << 20  # bytes of a file that is read as a whole
SETTINGS = 128 << 10  # of a YAML file: what reads it takes a second for 100 KB
LINE = 64 << 20  # of a line
DEPTH = 64  # lists and dictionaries within each other
NODES = 20_000  # values of a YAML file, aliases replaced by what they stand for
DIGITS = 19  # of a whole number: what 64 bits hold


def size_of(path: Path, limit: int | None = None) -> int:
    """Bytes of a regular file. Raises InputError for anything else, a file that cannot be seen, and a larger one."""
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, a device or the like"
        raise InputError(f"{path}: {what}, where a file is needed")
    if limit is not None and found.st_size > limit:
        raise InputError(f"{path}: {found.st_size:,} bytes, where at most {limit:,} make sense; is it another file?")
    return found.st_size


def read_bytes(path: Path, limit: int = TEXT) -> bytes:
    """The content of a small file. Raises InputError as `size_of` does."""
    size_of(path, limit)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_text(path: Path, limit: int = TEXT) -> str:
    """The text of a small UTF-8 file. Raises InputError as `size_of` does, and for other bytes."""
    try:
        return read_bytes(path, limit).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file (no UTF-8 at byte {error.start})") from None


def read_lines(path: Path, limit: int = LINE) -> Iterator[str]:
    """The lines of a UTF-8 file of any size, with their ends, without a byte order mark. Raises InputError."""
    size_of(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            while line := file.readline(limit):
                if len(line) >= limit:
                    raise InputError(f"{path}: a line of more than {limit:,} characters; is it another file?")
                yield line
        except UnicodeDecodeError:
            raise InputError(f"{path}: not a text file (no UTF-8)") from None


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file that holds one in JSON a line. Raises InputError naming the line that is none."""
    for number, line in enumerate(read_lines(path), start=1):
        try:
            record = parse_json(line)
        except ValueError as error:
            raise InputError(f"{path}: line {number} is not valid JSON ({short(error)})") from None
        if not isinstance(record, dict):
            raise InputError(f"{path}: line {number} is no record")
        yield record


def read_json(path: Path, limit: int = TEXT, **hooks: Any) -> Any:
    """The value in a JSON file; hooks as of `json.loads`. Raises InputError."""
    text = read_text(path, limit)
    try:
        return parse_json(text, **hooks)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({short(error)}); it may be cut short") from None


def parse_json(text: str | bytes, **hooks: Any) -> Any:
    """The value of a JSON text. Raises ValueError, also for one nested too deep and for numbers of absurd length."""
    try:
        value = json.loads(text, parse_int=_whole, **hooks)
    except RecursionError:
        raise ValueError("nested too deep") from None
    check_depth(value)
    return value


def read_yaml(path: Path) -> Any:
    """The value in a YAML file of plain data. Raises InputError, also where aliases multiply it or it holds itself."""
    import yaml

    text = read_text(path, SETTINGS)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {})
        value = loader.construct_document(node)
        check_depth(value)
        return value
    except RecursionError:
        raise InputError(f"{path}: not YAML: nested too deep") from None
    except Exception as error:  # a scalar with a wrong tag makes PyYAML fail in any way
        raise InputError(f"{path}: not YAML: {short(error)}") from None


def check_depth(value: Any, depth: int = 0) -> None:
    """Raises ValueError for lists and dictionaries more than DEPTH deep, and for whole numbers beyond 64 bits."""
    if isinstance(value, dict):
        value = value.values()
    elif isinstance(value, int):
        if abs(value) >> 64:
            raise ValueError("a whole number of absurd length")
        return
    elif not isinstance(value, list):
        return
    if depth >= DEPTH:
        raise ValueError(f"nested more than {DEPTH} deep")
    for item in value:
        check_depth(item, depth + 1)


def short(error: BaseException, length: int = 200) -> str:
    """What an error says, in one line that is not too long; its kind where it says nothing."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= length else said[:length] + "..."


def placed(error: BaseException, file: str, line: int | None) -> str:
    """The kind of an error, what it says and where it happened, in one line."""
    said = error.msg if isinstance(error, SyntaxError) else short(error)  # str() of that names the file once more
    return f"{type(error).__name__}: {said} ({Path(file).name}, line {line})"


def _whole(text: str) -> int:
    if len(text) > DIGITS + 1:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)


def _measure(node: Any, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Number of values and depth of a YAML node with every alias replaced by what it stands for."""
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise ValueError("it holds itself")
        return found
    if isinstance(node.value, str):
        return 1, 0
    known[id(node)] = None
    count, depth = 1, 0
    for item in node.value:
        for child in item if isinstance(item, tuple) else (item,):
            more, below = _measure(child, known)
            count, depth = count + more, max(depth, below + 1)
    if count > NODES or depth > DEPTH:
        raise ValueError(f"more than {NODES:,} values, or more than {DEPTH} deep")
    known[id(node)] = count, depth
    return count, depth
