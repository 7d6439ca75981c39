"""ReNAS (Xu et al., CVPR 2021): a predictor that ranks architectures, and what it has to be compared with.

What a notebook needs is here, and imported when it is used:

>>> import renas
>>> table = renas.load_benchmark()  # the one that pip installs; or a path, a data frame
>>> predictor = renas.make_predictor("boosting").fit(table.sample(100, seed=0))
>>> len(predictor.rank(table)[:10])  # architectures, best first
10
>>> renas.make_space("nasbench201").size
15625

`renas.run` does what `python -m renas` does, and `predictor.save` and `renas.load_predictor` keep what was learnt.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from relativistic_nas import refuse_foreign_common

refuse_foreign_common()  # before anything of it is imported

from common import __version__  # noqa: E402

if TYPE_CHECKING:
    from common.benchmarks import load_benchmark
    from common.predictors import load_predictor, make_predictor
    from common.spaces import make_space
    from renas.api import RunResult, run

_HOMES = {
    "load_benchmark": "common.benchmarks",
    "load_predictor": "common.predictors",
    "make_predictor": "common.predictors",
    "make_space": "common.spaces",
    "run": "renas.api",
    "RunResult": "renas.api",
}

__all__ = ["RunResult", "__version__", "load_benchmark", "load_predictor", "make_predictor", "make_space", "run"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
