"""Worker processes of this machine."""

from __future__ import annotations

import os
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


def test_a_worker_that_ends_before_its_work_is_done_is_one_line():
    with Processes(2) as processes, pytest.raises(InputError, match="a worker process ended before") as caught:
        list(processes.run(Dies(), [Request(0), Request(1)]))
    assert "\n" not in str(caught.value)
