"""A user's own functions: called so that errors are one line; as an evaluator, those of the architecture alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import extract_tb
from typing import Any

from common.errors import InputError, is_full
from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome
from common.inputs import placed
from common.spaces.base import SearchSpace


def call(function: Callable[..., Any], *about: Any) -> Any:
    """What a function says. Raises InputError naming it, its error and the line, but for a lack of memory or disk."""
    try:
        return function(*about)
    except (InputError, OSError):
        raise
    except Exception as error:
        if is_full(error):
            raise
        frame = extract_tb(error.__traceback__)[:2][-1]  # the function's own, or this one where it was not entered
        raise InputError(f"{_name(function)} fails: {placed(error, frame.filename, frame.lineno)}") from error


def number(score: Callable[..., Any], *about: Any) -> float:
    """What a score says, as a number. Raises InputError as `call`, and for what is none."""
    said = call(score, *about)
    try:
        return float(said)
    except (TypeError, ValueError, RuntimeError):  # the last of a tensor with several
        raise InputError(f"{_name(score)} says {repr(said)[:60]}, expected a number") from None


@contextmanager
def told_of(space: SearchSpace, arch: Any) -> Iterator[None]:
    """Errors of what happens within name the architecture that it happens to."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{space.format(arch)}: {error}") from error


@dataclass(frozen=True)
class ArchScore(Evaluator):
    """What a function says of the architecture alone."""

    name: str
    score: Callable[[Any], float]
    space: SearchSpace

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        with told_of(self.space, arch):
            return Outcome(number(self.score, arch))


def _name(function: Callable[..., Any]) -> str:
    """As an import path."""
    return f"{function.__module__}:{getattr(function, '__qualname__', type(function).__name__)}"
