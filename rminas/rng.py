"""Every random draw of a run as a function of its seed, its role and where it is used.

Nothing is drawn from a generator that lives through the run, so a resumed run draws what an uninterrupted one would.
"""

from __future__ import annotations

import numpy as np

ROLES = (
    "batch",
    "warmup",
    "candidates",
    "forest",
    "weights",
    "rank",
    "teacher",  # not drawn from any more
    "trees",
    "model",
)  # append only: streams go by position


def rng_for(seed: int, role: str, *place: int) -> np.random.Generator:
    """The generator of one role at one place (an evaluation's index, an architecture's code)."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(ROLES.index(role), *place)))
