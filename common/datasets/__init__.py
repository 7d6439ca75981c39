"""Image data sets by name. A new one of ours is one record in a module and one line here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from common.errors import InputError
from common.registry import Registry

if TYPE_CHECKING:
    from common.datasets.record import DataSet

DATASETS = Registry(
    "data set",
    {
        "cifar10": "common.datasets.cifar:CIFAR10",
        "cifar100": "common.datasets.cifar:CIFAR100",
        "imagenet16_120": "common.datasets.imagenet16:IMAGENET16_120",
        "imagenet": "common.datasets.imagenet:IMAGENET",
        "tinyimagenet120": "common.datasets.tinyimagenet:TINYIMAGENET120",
        "tinyimagenet120_16": "common.datasets.tinyimagenet:TINYIMAGENET120_16",
        "digits": "common.datasets.digits:DIGITS",
    },
)


def data_set(name: str) -> DataSet:
    """What is known of a data set: a key of DATASETS, a record of one's own as `my_module:MY_SET`, or any other name.

    Another name is a data set of one's own, of which everything is found out when its images are read (from the path
    that is given with the name).
    Raises: InputError for an import path that names no DataSet, and for a name with other characters than words have.
    """
    from common.datasets.record import DataSet

    if name in DATASETS or ":" in name:
        found = DATASETS.load(name)
        if not isinstance(found, DataSet):
            raise InputError(f"data set {name!r}: a {type(found).__name__} instead of a common.datasets.DataSet")
        return found
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"unknown data set {name!r}; choose from {', '.join(DATASETS)}, or name your own with letters")
    return DataSet(name)


def __getattr__(name: str) -> object:
    if name == "DataSet":
        from common.datasets.record import DataSet

        return DataSet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
