"""python -m renas"""

import os

from common.cli import run_command
from renas.cli import PROG, main

if __name__ == "__main__":
    # Before torch starts its threads: idle ones sleep instead of spinning. Where the cores are shared with other work,
    # spinning makes training two to four times slower; where they are not, sleeping costs next to nothing.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run_command(PROG, main)
