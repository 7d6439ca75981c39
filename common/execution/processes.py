"""Evaluations in worker processes of this machine, one thread each."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any

from common.errors import InputError
from common.evaluators.base import Evaluator, Outcome, Request
from common.execution.base import Executor, Item, Resources, Result, Shared

CANCELLING_S = 5.0  # at most, until a pool that is closed has cancelled what has not begun


class Processes(Executor):
    """Each architecture by itself, several at once, each in a process whose torch has one thread.

    A small network does not fill two cores: two of them on one core each are faster than one on both. A lone
    architecture is evaluated in this process, with all its threads: there is nothing to run beside it.
    """

    def __init__(self, count: int = 0) -> None:
        """count: of processes; 0: one for each core this process may use."""
        self.count = count or usable_cores()
        self.name = f"processes ({self.count})"
        self.one_at_a_time = self.count == 1
        self._pool: ProcessPoolExecutor | None = None
        self._futures: list[Future[Outcome]] = []  # of the last round

    @classmethod
    def of(cls, resources: Resources) -> Processes:
        check_jobs(resources.jobs, "the number of jobs")
        return cls(resources.jobs)

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
        self._futures = [*futures]
        for future in as_completed(futures):
            yield futures[future], result_of(future)

    def map(
        self, work: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """In a pool of its own, whose processes share the cores; where there are GPUs, each is given one in turn."""
        jobs = min(self.count, len(items))
        if jobs <= 1:
            yield from super().map(work, shared, items)
            return
        context = get_context("spawn")
        numbers = context.Value("i", 0)
        threads = max(1, usable_cores() // jobs)
        pool = ProcessPoolExecutor(jobs, context, _start_sharing, (work, shared, threads, numbers))
        try:
            futures = {pool.submit(_work, item): position for position, item in enumerate(items)}
            for future in as_completed(futures):
                yield futures[future], result_of(future)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Ends the workers, in the middle of an evaluation too."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            # The pool's thread cancels what has not begun. Workers that end before it has done so are a broken pool to
            # it, which fails on futures that it finds cancelled, with a traceback.
            until = time.monotonic() + CANCELLING_S
            while any(not (future.done() or future.running()) for future in self._futures) and time.monotonic() < until:
                time.sleep(0.01)
            self._pool, self._futures = None, []
            for process in active_children():
                process.terminate()


def result_of(future: Future[Result]) -> Result:
    """What a worker has made. Raises InputError where it ended before that."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise InputError(
            "a worker process ended before its work was done: memory may have run out (ask for fewer at a time); in a "
            'script of yours, what starts processes has to stand below `if __name__ == "__main__":`'
        ) from None


def usable_cores() -> int:
    """Cores that this process may use; all of the machine's where the system does not say (macOS, Windows)."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def check_jobs(jobs: int, what: str) -> None:
    """Raises InputError for more processes than make sense: every one holds torch and the data once more."""
    most = max(16, 4 * usable_cores())
    if jobs > most:
        raise InputError(f"{what} is {jobs}, expected at most {most} processes on {usable_cores()} cores")


def start_worker(threads: int = 1) -> None:
    """The initialiser of a worker process."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one, which ends it
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)


_work_of_this_process: list[Any] = []  # the function and what is shared


def _start_sharing(work: Callable[..., Any], shared: Any, threads: int, numbers: Any) -> None:
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of what has threads beside torch's, before it is loaded
    with numbers.get_lock():
        number = numbers.value
        numbers.value += 1
    start_worker(threads)
    _take_device(number)
    _work_of_this_process[:] = work, shared


def _take_device(number: int) -> None:
    """GPUs by their index, one a process; more processes than GPUs share them evenly."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


def _work(item: Any) -> Any:
    work, shared = _work_of_this_process
    return work(shared, item)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
