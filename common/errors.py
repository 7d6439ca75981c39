"""The errors that are the user's to mend: shown as one line, exit code 2."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from the user: says what was wrong, where (file, key, row) and what to do about it."""


def is_full(error: BaseException) -> bool:
    """Whether memory ran out; torch has a class of its own for GPUs only."""
    return isinstance(error, MemoryError) or "allocate" in str(error) or type(error).__name__ == "OutOfMemoryError"
