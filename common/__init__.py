"""Shared layer of renas and rminas: spaces, networks, encodings, benchmarks, metrics, run records."""

import os

__version__ = "0.2.0"  # of the toolkit; the only place it is written

# Idle threads of torch sleep instead of spinning, which has to be said before torch is imported. Where the cores are
# shared with other work, spinning makes training two to four times slower, and single passes through small networks
# still more; where they are not, sleeping costs next to nothing.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
