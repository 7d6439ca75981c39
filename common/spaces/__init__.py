"""Search spaces by name. A new space is one module and one line here."""

from __future__ import annotations

from typing import Any

from common.errors import InputError
from common.spaces.base import Costs, SearchSpace, Skeleton, SpaceExhausted, TensorSpace
from common.spaces.darts import Darts
from common.spaces.macro import Macro
from common.spaces.mobilenet import MobileNet
from common.spaces.nasbench101 import NasBench101
from common.spaces.nasbench201 import NasBench201
from common.spaces.proxyless import Proxyless

SPACES: dict[str, type[SearchSpace]] = {
    Darts.name: Darts,
    Macro.name: Macro,
    MobileNet.name: MobileNet,
    NasBench101.name: NasBench101,
    NasBench201.name: NasBench201,
    Proxyless.name: Proxyless,
}


def make_space(name: str, **skeleton: Any) -> SearchSpace:
    """The space called `name`; `skeleton` overrides the network around the cell (classes, image size, ...)."""
    return _class_of(name)(**skeleton)


def search_space(name: str, skeleton: Skeleton) -> SearchSpace:
    """The space called `name` with the network that candidates are trained in."""
    return _class_of(name).for_search(skeleton)


def _class_of(name: str) -> type[SearchSpace]:
    if name not in SPACES:
        raise InputError(f"unknown search space {name!r}; choose from {', '.join(sorted(SPACES))}")
    return SPACES[name]


__all__ = [
    "SPACES",
    "Costs",
    "SearchSpace",
    "Skeleton",
    "SpaceExhausted",
    "TensorSpace",
    "make_space",
    "search_space",
]
