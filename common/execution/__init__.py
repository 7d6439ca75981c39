"""Executors by name. A new one is one module and one line here."""

from common.execution.base import Executor, Resources
from common.registry import Registry

EXECUTORS = Registry(
    "executor",
    {
        "serial": "common.execution.serial:Serial",
        "processes": "common.execution.processes:Processes",
        "ray": "common.execution.ray:Ray",
        "together": "common.execution.together:Together",
    },
    Executor,
)

__all__ = ["EXECUTORS", "Executor", "Resources"]
