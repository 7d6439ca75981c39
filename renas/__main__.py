"""python -m renas"""

from common.cli import run_program
from renas.cli import PROG, main


def start() -> None:
    """The console script."""
    run_program(PROG, main)


if __name__ == "__main__":
    start()
