"""What the command lines share: errors as one line, exit code 2, never a traceback for bad input."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from common.errors import InputError, is_full
from common.inputs import short
from common.registry import own_frames, told

LONGEST = 2000  # characters of an error


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, except where there is none to show."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and whose help shows every default."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        message = message if len(message) <= LONGEST else message[:LONGEST] + "..."
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (see {self.prog} --help)\n")


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """What reads a flag's value: a whole number within bounds."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            said = text if len(text) <= 40 else text[:40] + "..."
            raise argparse.ArgumentTypeError(f"{said!r} is not a whole number from {low} to {high}")
        return value

    return read


def run_command(prog: str, main: Callable[[], None]) -> NoReturn:
    """Runs `main` and exits: 0; 2 with one line for bad input, a file or a user's own part that fails; 130 when
    interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()
        code = 0
    except InputError as error:
        print(f"{prog}: error: {short(error, LONGEST)}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print(f"\n{prog}: interrupted; the same command, given again, finishes it", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of our output went away: nothing left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:  # no right to write, no room on the disk
        where = f"{error.filename}: " if error.filename else ""
        print(f"{prog}: error: {where}{error.strerror or error}", file=sys.stderr)
        code = 2
    except Exception as error:
        if isinstance(error, (MemoryError, RuntimeError)) and is_full(error):
            said = f"out of memory ({short(error)}): ask for less at once"
        elif own_frames(error):
            said = f"your own part fails: {told(error)}"
        else:
            raise
        print(f"{prog}: error: {said}", file=sys.stderr)
        code = 2
    sys.exit(code)
