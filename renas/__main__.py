"""python -m renas"""

from typing import NoReturn

from common.cli import run_command
from renas.cli import PROG, main


def command() -> NoReturn:
    """The command, as `python -m renas` and as the console script `renas`."""
    run_command(PROG, main)


if __name__ == "__main__":
    command()
