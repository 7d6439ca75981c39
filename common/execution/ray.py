"""Evaluations on a cluster, or on this machine's cores, by Ray (the extra `ray`)."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError
from common.evaluators.base import Evaluator, Outcome, Request
from common.execution.base import Executor, Item, Resources, Result, Shared, evaluate
from common.inputs import short

ATTEMPTS = 3  # of a job that fails for its own reason
LOST = 10  # times that a job is run again because its worker or node was lost
IN_FLIGHT = 1000  # jobs that wait or run at a time: Ray's scheduler is slow with very many
LOCAL = "local"
WAIT_S = 10.0  # for a cluster to answer
SETTINGS = (
    b"\4"  # type of the frame that a server of HTTP/2, as Ray's are, begins with, and its client after a greeting
)
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS + bytes(5)


class Ray(Executor):
    """Each architecture by itself, as a task of a Ray cluster.

    What the tasks share (the batch, the teacher's features, a table) lies in the object store once. A task whose worker
    or node is lost runs again; one that fails three times for its own reason is an outcome that says so, and the search
    goes on. Outcomes arrive in any order; this process alone keeps records.
    """

    one_at_a_time, remote = False, True

    def __init__(self, resources: Resources = Resources()) -> None:  # noqa: B008 (it is frozen)
        """resources: `jobs` are the cores of a Ray that is started here; `address`: "" or "local" to start one,
        "auto" for the cluster this machine belongs to, or host:port. Raises InputError where there is none.
        """
        self.resources = resources
        self._ray = _import_ray()
        self._ours = not self._ray.is_initialized()
        if self._ours:
            _connect(self._ray, resources)
        self._check_resources()
        where = resources.address if resources.address not in ("", LOCAL) else "this machine"
        self.name = f"ray ({where})"
        self._dumps = self._ray.cloudpickle.dumps  # which also takes what stands in a notebook or a script
        options = {"num_cpus": resources.cpus, "num_gpus": resources.gpus, "max_retries": LOST}
        self._task = self._ray.remote(**options)(_do)
        self._kept: tuple[Any, Any, Any] = None, None, None  # the last work, what it shared, and where both lie

    @classmethod
    def of(cls, resources: Resources) -> Ray:
        return cls(resources)

    def _check_resources(self) -> None:
        """Raises InputError where no node has what a task asks for: it would wait for ever."""
        wanted = {"CPU": self.resources.cpus, "GPU": self.resources.gpus}
        there = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(all(node.get(what, 0) >= count for what, count in wanted.items()) for node in there):
            self.close()
            most = ", ".join(f"{max(node.get(what, 0) for node in there):g} {what}s" for what in wanted)
            raise InputError(
                f"RAY.CPUS {wanted['CPU']:g}, RAY.GPUS {wanted['GPU']:g}: no node has as many (at most {most})"
            )

    def run(self, evaluator: Evaluator, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        for position, made, failed in self._results(evaluate, evaluator, requests):
            lost = Outcome(-np.inf, np.array([-np.inf]), failed=failed)
            yield position, lost if failed else made

    def map(
        self, work: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item]
    ) -> Iterator[tuple[int, Result]]:
        """As tasks. Raises RuntimeError naming the first that fails three times."""
        for position, made, failed in self._results(work, shared, items):
            if failed:
                raise RuntimeError(f"job {position} failed {ATTEMPTS} times: {failed}")
            yield position, made

    def _results(self, work: Callable[..., Any], shared: Any, items: Sequence[Any]) -> Iterator[tuple[int, Any, str]]:
        """Positions, results, and why there is none; in the order in which they finish."""
        from ray.exceptions import RayError, RayTaskError

        waiting = deque((position, 1) for position in range(len(items)))
        running: dict[Any, tuple[int, int]] = {}  # task -> position, attempt
        kept = self._keep(work, shared)
        try:
            while waiting or running:
                while waiting and len(running) < IN_FLIGHT:
                    position, attempt = waiting.popleft()
                    running[self._task.remote(kept, kept.hex(), sys.path, self._dumps(items[position]),
                                              self.resources.cpus)] = position, attempt  # fmt: skip
                for task in self._ray.wait([*running], num_returns=1)[0]:
                    position, attempt = running.pop(task)
                    try:
                        yield position, pickle.loads(self._ray.get(task)), ""
                    except RayTaskError as error:  # its own reason
                        if isinstance(error.cause, InputError):
                            raise error.cause from None
                        if attempt < ATTEMPTS:
                            waiting.append((position, attempt + 1))
                        else:
                            yield position, None, f"{type(error.cause).__name__}: {short(error.cause)}"
                    except RayError as error:  # lost too often: it may be what kills its worker
                        yield position, None, f"lost {LOST} times ({type(error).__name__})"
        finally:
            for task in running:
                self._ray.cancel(task)

    def _keep(self, work: Callable[..., Any], shared: Any) -> Any:
        """Where the work and what it shares lie in the object store."""
        if self._kept[0] is not work or self._kept[1] is not shared:
            self._kept = work, shared, self._ray.put(self._dumps((work, shared)))
        return self._kept[2]

    def close(self) -> None:
        if self._ours:
            self._ray.shutdown()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise InputError("EXECUTOR ray: Ray is not installed: pip install 'relativistic-nas[ray]'") from None
    return ray


def _connect(ray: Any, resources: Resources) -> None:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    local = resources.address in ("", LOCAL)
    options = {"num_cpus": resources.jobs or None, "include_dashboard": False} if local else {}
    try:
        if not local:
            _knock(resources.address)
        ray.init(address=LOCAL if local else resources.address, log_to_driver=False, logging_level="ERROR", **options)
    except Exception as error:  # of several kinds, none of which is a bug
        raise InputError(
            f"RAY.ADDRESS {resources.address or LOCAL}: no Ray there ({short(error, 120)}): start one with "
            "ray start --head, or leave RAY.ADDRESS empty for one of this machine"
        ) from None


def _knock(address: str) -> None:
    """Raises OSError where nobody listens, or nobody of Ray's kind: Ray itself would try for ever."""
    if address == "auto":
        place = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir()), "ray", "ray_current_cluster")
        address = os.environ.get("RAY_ADDRESS") or (place.read_text().strip() if place.is_file() else "")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal() and "/" not in host:
        with socket.create_connection((host, int(port)), WAIT_S) as peer:
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                peer.sendall(HELLO)
                if peer.recv(9)[3:4] != SETTINGS:
                    raise OSError("something else answers")


_known: dict[str, tuple[Callable[..., Any], Any]] = {}  # of a worker: what was shared last, unpickled once


def _do(kept: bytes, key: str, path: list[str], item: bytes, cpus: float) -> bytes:
    """A task: the work on an item, both pickled, so that modules of the user's own can be made known first."""
    import torch

    sys.path.extend(place for place in path if place not in sys.path)
    torch.set_num_threads(max(1, int(cpus)))
    if key not in _known:
        _known.clear()
        _known[key] = pickle.loads(kept)
    work, shared = _known[key]
    return pickle.dumps(work(shared, pickle.loads(item)))
