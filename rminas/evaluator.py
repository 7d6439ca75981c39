"""How candidates are evaluated: from architectures to trajectories of their losses, by one of several engines."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.networks import build_network
from common.networks.base import TappedNetwork
from common.seeds import torch_seeded
from common.spaces import SearchSpace
from common.training.population import Bounds, CandidateSettings, Finished, train_candidate, train_population
from common.training.tape import NotRecordable, record
from rminas.draws import rng_for
from rminas.objective import Objective


@dataclass(frozen=True)
class Evaluator:
    """One seed's task for any architecture: imitate the teacher on the one batch.

    The initial weights depend on the seed and the architecture, and not on when it is evaluated: so the same cell gets
    the same loss in a search, in a ranking and in whatever order or company it is evaluated.
    """

    space: SearchSpace
    seed: int
    x: Tensor  # (B, 3, H, W)
    objective: Objective
    settings: CandidateSettings

    def build(self, arch: Any) -> TappedNetwork:
        """The untrained network, on x's device and of x's type."""
        with torch_seeded(rng_for(self.seed, "weights", *self.space.to_codes([arch])[0].tolist())):
            network = build_network(self.space, arch)
        return network.to(device=self.x.device, dtype=self.x.dtype)

    def trajectory(self, arch: Any, bounds: Bounds) -> np.ndarray:
        """See `train_candidate`; all +inf for an architecture whose input does not reach its output."""
        if not self.space.reaches_output(arch):
            return np.full(self.settings.steps + 1, np.inf)
        return train_candidate(self.build(arch), self.x, self.objective, self.settings, bounds)


# From architectures, and the bounds of each (none: nobody is stopped), to their trajectories.
Engine = Callable[[Evaluator, Sequence[Any], Sequence[Bounds]], Iterator[Finished]]


def one_by_one(evaluator: Evaluator, archs: Sequence[Any], bounds: Sequence[Bounds]) -> Iterator[Finished]:
    """Each architecture by itself, in this process, with all its threads."""
    for position, (arch, its) in enumerate(zip(archs, bounds or [{}] * len(archs), strict=True)):
        yield position, evaluator.trajectory(arch, its)


def fused(evaluator: Evaluator, archs: Sequence[Any], bounds: Sequence[Bounds], width: int = 0) -> Iterator[Finished]:
    """`width` of them at once as one network; 0: as many as the memory holds."""
    positions = [i for i, arch in enumerate(archs) if evaluator.space.reaches_output(arch)]
    for position in sorted({*range(len(archs))} - {*positions}):
        yield position, evaluator.trajectory(archs[position], {})
    builders = [partial(evaluator.build, archs[position]) for position in positions]
    settings = replace(evaluator.settings, channels_last=False)
    its = [bounds[position] for position in positions] if bounds else None
    for which, losses in train_population(builders, evaluator.x, evaluator.objective, settings, its, width):
        yield positions[which], losses


@dataclass(frozen=True)
class Workers:
    """Each architecture by itself, several at once, each in a process of one thread.

    A small network does not fill two cores: two of them on one core each are faster than one on both.
    """

    pool: ProcessPoolExecutor

    @classmethod
    def start(cls, count: int) -> Workers:
        """Spawned, not forked: a fork of a process whose threads have computed may hang."""
        return cls(ProcessPoolExecutor(count, get_context("spawn"), _start_worker))

    def __call__(self, evaluator: Evaluator, archs: Sequence[Any], bounds: Sequence[Bounds]) -> Iterator[Finished]:
        futures = {}
        for position, (arch, its) in enumerate(zip(archs, bounds or [{}] * len(archs), strict=True)):
            if evaluator.space.reaches_output(arch):
                futures[self.pool.submit(evaluator.trajectory, arch, its)] = position
            else:  # known without a process
                yield position, evaluator.trajectory(arch, {})
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one, which ends it
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@dataclass(frozen=True)
class Engines:
    """The engine of a run and, for the record, its name.

    `__call__` runs a lone architecture in this process: there is nothing to run beside it.
    """

    name: str
    width: int  # candidates at once; 0: as many as the memory holds
    engine: Engine

    def __call__(self, evaluator: Evaluator, archs: Sequence[Any], bounds: Sequence[Bounds]) -> Iterator[Finished]:
        lone = len(archs) == 1 and isinstance(self.engine, Workers)
        return (one_by_one if lone else self.engine)(evaluator, archs, bounds)

    def close(self) -> None:
        """Ends the processes, if there are any, at once: what they are still at is wanted no more."""
        if isinstance(self.engine, Workers):
            self.engine.pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()


def choose_engine(name: str, population: int, evaluator: Evaluator, arch: Any) -> Engines:
    """The engine called `name`; "auto": fused on a GPU where the network of `arch` can be, else workers on the cores.

    On a CPU separate networks are faster than a fused one: at 8, 16 and 32 px, in channels-last, by 1.4 to 2 times.
    Args: population: candidates at once; 0: as many as the memory holds (fused), one a core (workers).
    """
    if name == "auto":
        name = "workers" if evaluator.x.device.type == "cpu" else "fused"
        if name == "fused" and not _fusable(evaluator, arch):
            name = "one"
    cores = population or len(os.sched_getaffinity(0))
    if name == "workers" and cores > 1:
        return Engines(f"workers ({cores})", cores, Workers.start(cores))
    if name == "fused":
        how = population or "as many as the memory holds"
        return Engines(f"fused ({how})", population, partial(fused, width=population))
    return Engines("one at a time", 1, one_by_one)


def _fusable(evaluator: Evaluator, arch: Any) -> bool:
    try:
        record(evaluator.build(arch), tuple(evaluator.x.shape))
    except NotRecordable:
        return False
    return evaluator.settings.fusable
