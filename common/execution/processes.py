"""Evaluations in worker processes of this machine, one thread each."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children, get_context, parent_process
from threading import Thread

from common.evaluators.base import Evaluator, Outcome, Request
from common.execution.base import Executor


class Processes(Executor):
    """Each architecture by itself, several at once, each in a process whose torch has one thread.

    A small network does not fill two cores: two of them on one core each are faster than one on both. A lone
    architecture is evaluated in this process, with all its threads: there is nothing to run beside it.
    """

    def __init__(self, count: int = 0) -> None:
        """count: of processes; 0: one for each core this process may use."""
        self.count = count or usable_cores()
        self.name = f"processes ({self.count})"
        self._pool: ProcessPoolExecutor | None = None

    def run(self, evaluator: Evaluator, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        if self.count == 1 or len(requests) == 1:
            for position, (arch, bounds) in enumerate(requests):
                yield position, evaluator.evaluate(arch, bounds)
            return
        if self._pool is None:  # spawned, not forked: a fork of a process whose threads have computed may hang
            self._pool = ProcessPoolExecutor(self.count, get_context("spawn"), start_worker)
        futures = {
            self._pool.submit(evaluator.evaluate, arch, bounds): position
            for position, (arch, bounds) in enumerate(requests)
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
            for process in active_children():
                process.terminate()


def usable_cores() -> int:
    """Cores that this process may use; all of the machine's where the system does not say (macOS, Windows)."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def start_worker(threads: int = 1) -> None:
    """The initialiser of a worker process."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one, which ends it
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
