"""python -m renas"""

from common.cli import run_command
from renas.cli import PROG, main

if __name__ == "__main__":
    run_command(PROG, main)
