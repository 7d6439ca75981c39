"""Search spaces by name. A new space is one module and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.errors import InputError
from common.spaces.base import Costs, SearchSpace, SpaceExhausted
from common.spaces.macro import Macro
from common.spaces.nasbench101 import NasBench101
from common.spaces.nasbench201 import NasBench201

SPACES: dict[str, Callable[..., SearchSpace]] = {
    Macro.name: Macro,
    NasBench101.name: NasBench101,
    NasBench201.name: NasBench201,
}


def make_space(name: str, **skeleton: Any) -> SearchSpace:
    """The space called `name`; `skeleton` overrides the network around the cell (classes, image size, ...)."""
    if name not in SPACES:
        raise InputError(f"unknown search space {name!r}; choose from {', '.join(sorted(SPACES))}")
    return SPACES[name](**skeleton)


__all__ = ["SPACES", "Costs", "SearchSpace", "SpaceExhausted", "make_space"]
