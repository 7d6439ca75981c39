"""Explicit randomness: one generator per role, so that a new draw in one place shifts nothing elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def named_rngs(seed: int, *roles: str) -> dict[str, np.random.Generator]:
    """Independent generators of one seed, by role. Append new roles at the end: the streams go by position."""
    children = np.random.SeedSequence(seed).spawn(len(roles))
    return {role: np.random.default_rng(child) for role, child in zip(roles, children, strict=True)}


def rng_for(seed: int, role: str, *place: int) -> np.random.Generator:
    """The generator of one role at one place (an evaluation's index, an architecture's code).

    Nothing is drawn from a generator that lives through a run, so a resumed run draws what an uninterrupted one would.
    (`rminas.rng` has its own numbering of roles, which its published results depend on.)
    """
    digest = hashlib.sha256(role.encode()).digest()
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int.from_bytes(digest[:4], "big"), *place)))


@contextmanager
def torch_seeded(rng: np.random.Generator) -> Iterator[None]:
    """Torch's global generators seeded from `rng` inside the block and restored after it.

    Module constructors draw their initial weights from global state; this is the one place that touches it.
    """
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(int(rng.integers(2**63)))
        yield
