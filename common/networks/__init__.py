"""The networks of architectures, by the name of the space. Another space's is one module and one line here.

Importing this imports no torch: the module of a space is imported when its first network is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from common.errors import InputError
from common.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from common.networks.base import TappedNetwork
    from common.spaces.base import SearchSpace

# Name of a space -> module with `build(space, arch)`.
NETWORKS = Registry(
    "network of a search space",
    {
        "darts": "common.networks.darts:build",
        "macro": "common.networks.macro:build",
        "mobilenet": "common.networks.mobilenet:build",
        "nasbench101": "common.networks.nasbench101:build",
        "nasbench201": "common.networks.nasbench201:build",
        "proxyless": "common.networks.mobilenet:build",
    },
)


def build_network(space: SearchSpace[Any], arch: Any) -> TappedNetwork:
    """A freshly initialised trainable network (torch's current random state decides the weights).

    A space of one's own that has a method `build(arch)` is asked for it, and its attribute `taps` names the modules
    whose outputs are the features (`common.networks.taps.as_tapped`); for the others NETWORKS says who builds.
    Raises: InputError for a space that has neither, and for taps that are missing or not there.
    """
    own = getattr(space, "build", None)
    if own is not None:
        from common.networks.taps import as_tapped

        return as_tapped(own(arch), getattr(space, "taps", ()))
    if space.name not in NETWORKS:
        raise InputError(f"search space {space.name!r} has no networks: give it a method build(arch) -> nn.Module")
    return cast("TappedNetwork", NETWORKS.load(space.name)(space, arch))


def build_plain(space: SearchSpace[Any], arch: Any) -> nn.Module:
    """The network as it is used once it was found: a space of one's own needs no taps for it.

    Raises: InputError for a space that has no networks.
    """
    own = getattr(space, "build", None)
    return cast("nn.Module", own(arch)) if own is not None else build_network(space, arch)


__all__ = ["NETWORKS", "build_network", "build_plain"]
