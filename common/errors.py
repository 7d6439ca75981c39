"""The errors that are the user's to mend: shown as one line, exit code 2."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input from the user: says what was wrong, where (file, key, row) and what to do about it."""
