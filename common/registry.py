"""The members of a contract by name: ours from a table, a user's own by import path. Nothing is imported before use."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from traceback import FrameSummary, extract_tb
from typing import Any

from common.errors import InputError
from common.inputs import placed, short


class Registry(Mapping[str, str]):
    """Name -> `module:attribute`, imported when it is loaded: a new member is one module and one line in its table.

    A user's own member needs no line: `load` also takes `my_module:MyClass` (found as Python finds modules, the working
    folder included) and `path/to/my_module.py:MyClass`.
    """

    def __init__(self, what: str, members: Mapping[str, str], kind: type | None = None) -> None:
        """what: the contract in words, for messages ("search space"). kind: the class that members derive from, where
        they are classes and it is not for their users to check.
        """
        self.what, self._members, self.kind = what, dict(members), kind

    def __getitem__(self, name: str) -> str:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def load(self, name: str) -> Any:
        """The member called `name`, or what an import path names.

        Raises: InputError for an unknown name, a module or attribute that is not there, or one of another kind.
        """
        if name in self._members:
            return import_path(self._members[name], self.what)
        if ":" in name:
            member = import_path(name, self.what)
            _own.add(str(getattr(sys.modules.get(getattr(member, "__module__", "")), "__file__", "")))
            if self.kind and not (isinstance(member, type) and issubclass(member, self.kind)):
                raise InputError(f"{self.what} {name!r}: not a class derived from {self.kind.__name__}")
            return member
        said = f"unknown {self.what} {name!r}" if name else f"{self.what}: an empty name"
        known = ", ".join(sorted(self._members))
        raise InputError(f"{said}; choose from {known}, or name your own as my_module:MyClass")

    def make(self, name: str, *args: Any, **named: Any) -> Any:
        """What the member called `name`, a class or a function, makes of these arguments.

        Raises: InputError as `load`, and for what cannot be called with them. Errors inside it are not caught.
        """
        member = self.load(name)
        try:
            inspect.signature(member).bind(*args, **named)
        except (TypeError, ValueError) as error:  # what is no function, or takes other arguments
            raise InputError(f"{self.what} {name!r}: cannot be made so ({short(error)})") from None
        return member(*args, **named)


def import_path(path: str, what: str) -> Any:
    """What `module:attribute` or `file.py:attribute` names.

    Raises: InputError when it is not there, or the module fails while it is imported, saying where.
    """
    place, _, attribute = path.rpartition(":")
    try:
        module = _from_file(Path(place), what) if place.endswith(".py") else _from_name(place, what)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{what} {path!r}: {place} cannot be imported: {told(error)}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise InputError(f"{what} {path!r}: {place} has nothing called {attribute!r}") from None


def file_name(name: str) -> str:
    """The name of a member as a part of a file's: `nasbench201`, and `mine_SPACE` of `path/to/mine.py:SPACE`."""
    place, _, attribute = name.rpartition(":")
    return f"{Path(place).name.removesuffix('.py')}_{attribute}" if place else attribute


def told(error: BaseException) -> str:
    """An error of a user's module in one line, with the last place in it; in what it called, where it never ran."""
    if isinstance(error, SyntaxError) and error.filename:
        return placed(error, error.filename, error.lineno)
    seen = [frame for frame in extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    last = [*seen, *own_frames(error)][-1]
    return placed(error, last.filename, last.lineno)


def own_frames(error: BaseException) -> list[FrameSummary]:
    """Where an error has passed through modules of a user's, which were loaded by import path."""
    return [frame for frame in extract_tb(error.__traceback__) if frame.filename in _own]


_own: set[str] = set()  # files of modules that users named by import path


def _from_name(name: str, what: str) -> Any:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:  # a console script does not look in the working folder
        sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise InputError(f"{what} {name!r}: no module of that name in {Path.cwd()} or on the Python path") from None
        raise


def _from_file(file: Path, what: str) -> Any:
    """The module in a file, executed once a process; it is found again by the same name in worker processes."""
    file = file.expanduser().resolve()
    if not file.is_file():
        raise InputError(f"{what}: no file {file}")
    name = file.stem
    known = sys.modules.get(name)
    if known is not None and Path(getattr(known, "__file__", None) or "").resolve() == file:
        return known
    # By its folder on the path rather than by a loader of its own, so that what it defines can be pickled to workers.
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    if known is not None or importlib.util.find_spec(name) is None:
        raise InputError(f"{what}: {file} has the name of another module, {name!r}: rename it")
    return importlib.import_module(name)
