"""python -m rminas"""

from typing import NoReturn

from common.cli import run_command
from rminas.cli import PROG, main


def command() -> NoReturn:
    """The command, as `python -m rminas` and as the console script `rminas`."""
    run_command(PROG, main)


if __name__ == "__main__":
    command()
