"""What the tests of Ray have its workers do; a module, so that they can import it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome
from common.evaluators.context import Context


@dataclass(frozen=True)
class Noted(Evaluator):
    """Doubles a number, and notes in a folder that it did; some numbers fail, or end their worker, a few times."""

    folder: str
    fails: tuple[tuple[int, int], ...] = ()  # number, how often
    dies: tuple[tuple[int, int], ...] = ()
    seconds: float = 0.0
    name = "noted"

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        number = int(arch)
        time.sleep(self.seconds)
        before = len(tried(self.folder, number))
        Path(self.folder, f"{number}_{before}_{os.getpid()}").touch()
        if number < 0:
            raise InputError("below 0")
        if before < dict(self.fails).get(number, 0):
            raise ZeroDivisionError("no way")
        if before < dict(self.dies).get(number, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        return Outcome(2.0 * number)


def tried(folder: str | Path, number: int) -> list[str]:
    return [path.name for path in Path(folder).glob(f"{number}_*")]


@dataclass(frozen=True)
class Counted(Evaluator):
    """RMI-NAS's own evaluator, which notes in the folder NOTES what it was asked for, and on which node."""

    inner: Evaluator
    name = "counted"

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        import ray

        where = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
        with Path(os.environ["NOTES"], f"{where}_{os.getpid()}").open("a") as file:
            file.write(f"{arch}\n")
        return self.inner.evaluate(arch, bounds)


def counted_rmi(context: Context) -> Evaluator:
    from rminas.rmi import make_rmi

    return Counted(make_rmi(context))


def cubed(shared: int, item: int) -> int:
    return shared + item**3


def negated(shared: None, item: int) -> int:
    return -item
