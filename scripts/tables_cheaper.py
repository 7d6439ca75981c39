"""What cheaper settings of RMI-NAS would have done: fewer updates, fewer networks, racing, less depth, the size beside
the loss. Read from recorded losses, update by update: of the published searches, and of random networks trained here.
"""

from __future__ import annotations

from dataclasses import replace

from tables_rminas import PUBLISHED_SEARCH, RACED_SEARCH, RmiRun

# Searches that end with their random networks, all trained to the last update.
_RANDOM = {"RMINAS__RF_SUCC": 0, "RMINAS__VOTE": "model"}
SHALLOW = replace(
    PUBLISHED_SEARCH,
    name="rminas/nb201_shallow_random",
    settings={"SPACE__CELLS_PER_STAGE": 1, "RMINAS__OBSERVE": 60, **_RANDOM},
)
DIGITS = RmiRun("rminas/nb201_digits_random", "nb201_digits", {}, {"RMINAS__RF_WARMUP": 100, **_RANDOM}, 5, first=0)
MACRO = RmiRun(
    "rminas/macro_random",
    "macro_cifar10",
    {**PUBLISHED_SEARCH.paths, "BENCHMARK__PATH": "nas_bench_macro/nas-bench-macro_cifar10.json"},
    {"TRAIN__BATCH_SIZE": 32, **_RANDOM},
)
FEWER_UPDATES = replace(RACED_SEARCH, name="rminas/nb201_cifar10_raced_20", settings={"RMINAS__OBSERVE": 20})
