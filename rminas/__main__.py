"""python -m rminas"""

from common.cli import run_command
from rminas.cli import PROG, main

if __name__ == "__main__":
    run_command(PROG, main)
