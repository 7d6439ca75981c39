"""Worker processes of this machine."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

from common.errors import InputError
from common.evaluators import NO_BOUNDS, Bounds, Evaluator, Outcome, Request
from common.execution.processes import Processes


class Dies(Evaluator):
    """As if its process were killed for its memory."""

    name = "dies"

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        os._exit(1)


class Fails(Evaluator):
    """One of many, which is seen while others are computed and more wait."""

    name = "fails"

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        time.sleep(0.2 if arch else 0.0)
        if not arch:
            raise InputError("this one fails")
        return Outcome(float(arch))


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_evaluation_that_fails_is_all_that_is_said():
    """The workers are ended while others compute and more wait: the pool's own thread is not to fail on that."""
    with pytest.raises(InputError, match="this one fails"), Processes(2) as processes:
        list(processes.run(Fails(), [Request(arch) for arch in range(30)]))
    for thread in threading.enumerate():
        if type(thread).__name__ == "_ExecutorManagerThread":
            thread.join(30)


def test_a_worker_that_ends_before_its_work_is_done_is_one_line():
    with Processes(2) as processes, pytest.raises(InputError, match="a worker process ended before") as caught:
        list(processes.run(Dies(), [Request(0), Request(1)]))
    assert "\n" not in str(caught.value)
