"""python -m renas"""

import os
from typing import NoReturn

from common.cli import run_command
from renas.cli import PROG, main


def command() -> NoReturn:
    """The command, as `python -m renas` and as the console script `renas`."""
    # Before torch starts its threads: idle ones sleep instead of spinning. Where the cores are shared with other work,
    # spinning makes training two to four times slower; where they are not, sleeping costs next to nothing.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run_command(PROG, main)


if __name__ == "__main__":
    command()
