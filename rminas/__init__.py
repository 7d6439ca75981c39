"""RMI-NAS: architectures judged by how fast they take on a teacher's representations (Zheng et al., CVPR 2022).

    import rminas

    done = rminas.run("nb201_digits_fast", observe=10)  # rminas --cfg nb201_digits_fast RMINAS.OBSERVE 10
    done.found[0], done.summary["accuracy"]  # the architecture that seed 0 found, and its true accuracy

Importing this imports nothing else; a name is loaded when it is used.

>>> import rminas
>>> config = rminas.load_config("nb201_cifar10", seeds=3)
>>> config.seeds, config.rminas.observe, config.optim.base_lr
(3, 150, 0.1)
>>> space = rminas.make_space("nasbench201")
>>> cell = space.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|")
>>> network = rminas.build_network(space, cell)
>>> print(sum(parameter.numel() for parameter in network.parameters()))
344346
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from relativistic_nas import refuse_foreign_common

refuse_foreign_common()  # before anything of it is imported

from common import __version__  # noqa: E402

if TYPE_CHECKING:
    from common.networks import build_network as build_network
    from common.spaces import make_space as make_space
    from rminas.api import rank as rank
    from rminas.api import run as run
    from rminas.config import load_config as load_config

# Name -> module, imported when the name is used.
_LOADED = {
    "run": "rminas.api",
    "rank": "rminas.api",
    "load_config": "rminas.config",
    "make_space": "common.spaces",
    "build_network": "common.networks",
}

__all__ = ["__version__", "build_network", "load_config", "make_space", "rank", "run"]


def __getattr__(name: str) -> Any:
    if name not in _LOADED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LOADED[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
