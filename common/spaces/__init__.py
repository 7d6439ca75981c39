"""Search spaces by name. A new space is one module and one line here, or a space of one's own by its import path."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from typing import Any, cast

from common.errors import InputError
from common.registry import Registry
from common.spaces.base import (
    Costs,
    SearchSpace,
    Skeleton,
    SpaceExhausted,
    TensorSpace,
    UnknownOption,
    settable_fields,
)
from common.spaces.categorical import CategoricalSpace

SPACES = Registry(
    "search space",
    {
        "darts": "common.spaces.darts:Darts",
        "macro": "common.spaces.macro:Macro",
        "mobilenet": "common.spaces.mobilenet:MobileNet",
        "nasbench101": "common.spaces.nasbench101:NasBench101",
        "nasbench201": "common.spaces.nasbench201:NasBench201",
        "proxyless": "common.spaces.proxyless:Proxyless",
    },
)


def make_space(name: str, **settings: Any) -> SearchSpace[Any]:
    """The space called `name`, or what an import path `my_module:SPACE` names: a space, its class, or a function.

    settings: of the class or function, or fields of the space that are replaced (`num_classes`, ...).
    Raises: InputError for an unknown name, for what is no space, and for fields that it has not.
    """
    found = SPACES.load(name)
    if not isinstance(found, SearchSpace):
        if callable(found):
            try:
                signature(found).bind(**settings)
            except (TypeError, ValueError) as error:  # of the call itself; errors inside are the user's to see
                given = settings or "nothing"
                raise InputError(f"search space {name!r}: cannot be made with {given} ({error})") from None
            found = found(**settings)
        if not isinstance(found, SearchSpace):
            raise InputError(f"search space {name!r}: is a {type(found).__name__}, not a SearchSpace")
        return found
    known = settable_fields(found)
    if unknown := sorted(settings.keys() - known):
        raise InputError(f"search space {name!r}: has no field {unknown[0]!r}; it has: {', '.join(sorted(known))}")
    return cast("SearchSpace[Any]", replace(cast(Any, found), **settings)) if settings else found


def search_space(name: str, skeleton: Skeleton) -> SearchSpace[Any]:
    """The space called `name` (see `make_space`) with the network that candidates are trained in."""
    return make_space(name).for_search(skeleton)


__all__ = [
    "SPACES",
    "CategoricalSpace",
    "Costs",
    "SearchSpace",
    "Skeleton",
    "SpaceExhausted",
    "TensorSpace",
    "UnknownOption",
    "make_space",
    "search_space",
]
