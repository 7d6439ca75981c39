"""Ray as executor, on two nodes that are processes of this machine: the same results, and nothing lost with a node."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")

from ray.cluster_utils import Cluster  # noqa: E402
from ray_work import Noted, cubed, negated, tried  # noqa: E402

from common.errors import InputError  # noqa: E402
from common.evaluators.base import Request  # noqa: E402
from common.execution import EXECUTORS, Executor, Resources  # noqa: E402
from rminas.cli import main  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from kill_trials import COMMANDS, contents, write_inputs  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _path() -> Iterator[None]:
    """Of the workers, which Ray starts."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `ray_work.Counted` notes; of the nodes, which have the environment of the time when they start."""
    os.environ["NOTES"] = str(tmp_path_factory.mktemp("notes"))
    return Path(os.environ["NOTES"])


@pytest.fixture(scope="module")
def cluster(_path: None, notes: Path) -> Iterator[Cluster]:
    """A head that takes no work, and two nodes of one core."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.parametrize(
    "address",
    [
        "auto",
        "127.0.0.1:9",
        "nowhere",
        "ray://127.0.0.1:9",
        "127.0.0.1:99999999",
        "\u00e9" * 99 + ".:1",
        "::::",
        "[::1]:9",
    ],
)
def test_a_cluster_that_is_not_there_is_one_line(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")  # of one that has ended, for auto
    with pytest.raises(InputError, match=rf"RAY\.ADDRESS {re.escape(address)}: no Ray there") as caught:
        EXECUTORS.load("ray").of(Resources(address=address))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", None])
def test_a_port_at_which_something_else_listens_is_one_line(answer: bytes | None, monkeypatch: pytest.MonkeyPatch):
    """Which hangs up, is a web server, or says nothing."""
    monkeypatch.setattr("common.execution.ray.WAIT_S", 0.5)

    def serve() -> None:
        peer, _ = server.accept()
        if answer is None:
            ended.wait(10)
        else:
            peer.sendall(answer)
        peer.close()

    ended = Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(InputError, match=rf"RAY\.ADDRESS {address}: no Ray there"):
            EXECUTORS.load("ray").of(Resources(address=address))
        ended.set()


@pytest.mark.parametrize("asked", [{"cpus": 2.0}, {"gpus": 0.5}, {"cpus": 1e3, "gpus": 1e3}])
def test_what_no_node_has_is_not_waited_for(cluster: Cluster, asked: dict[str, float]):
    with pytest.raises(InputError, match=r"RAY\.CPUS .*: no node has as many \(at most 1 CPUs, 0 GPUs\)"):
        EXECUTORS.load("ray").of(Resources(address=cluster.address, **asked))


@pytest.fixture
def executor(cluster: Cluster) -> Iterator[Executor]:
    with EXECUTORS.load("ray").of(Resources(address=cluster.address)) as made:
        yield made


def outcomes(executor: Executor, evaluator: Noted, numbers: list[int]) -> list[Any]:
    made = dict(executor.run(evaluator, [Request(number) for number in numbers]))
    return [made[position] for position in range(len(numbers))]


def test_outcomes_are_those_of_this_process_and_every_one_is_made_once(executor: Executor, tmp_path: Path):
    found = outcomes(executor, Noted(str(tmp_path)), [*range(12)])
    assert [outcome.value for outcome in found] == [2.0 * number for number in range(12)]
    assert all(len(tried(tmp_path, number)) == 1 for number in range(12))


def test_a_task_that_fails_three_times_is_an_outcome_that_says_so(executor: Executor, tmp_path: Path):
    found = outcomes(executor, Noted(str(tmp_path), fails=((1, 2), (2, 99))), [0, 1, 2, 3])
    assert [outcome.failed for outcome in found] == ["", "", "ZeroDivisionError: no way", ""]
    assert [outcome.value for outcome in found] == [0.0, 2.0, float("-inf"), 6.0]
    assert [len(tried(tmp_path, number)) for number in range(4)] == [1, 3, 3, 1]


def test_a_task_is_run_again_when_its_worker_dies(executor: Executor, tmp_path: Path):
    found = outcomes(executor, Noted(str(tmp_path), dies=((1, 2),)), [0, 1, 2])
    assert [(outcome.value, outcome.failed) for outcome in found] == [(0.0, ""), (2.0, ""), (4.0, "")]
    assert len(tried(tmp_path, 1)) == 3


def test_bad_input_is_the_users_and_not_tried_again(executor: Executor, tmp_path: Path):
    with pytest.raises(InputError, match="below 0"):
        outcomes(executor, Noted(str(tmp_path)), [-1])
    assert len(tried(tmp_path, -1)) == 1


def test_whole_jobs_are_mapped(executor: Executor):
    assert dict(executor.map(cubed, 5, [1, 2, 3])) == {0: 6, 1: 13, 2: 32}
    assert dict(executor.map(negated, None, [1, 2])) == {0: -1, 1: -2}  # another work, which shares nothing


# commands ------------------------------------------------------------------------------------------------------------


def run(tmp_path: Path, name: str, *words: str) -> Path:
    place = tmp_path / "inputs"
    if not place.exists():
        write_inputs(place)
    files = ("DATA.PATH", str(place / "few.npz"), "BENCHMARK.PATH", str(place / "table.csv"), "RMINAS.ROUND", "4")
    main(["--cfg", str(place / "tiny.yaml"), "--out", str(tmp_path), "NAME", name, *files, *words])
    return tmp_path / (name + ("_rank" if "--rank" in words else ""))


def untimed(tree: Any) -> Any:
    if isinstance(tree, dict):
        left_out = ("settings", "executor", "environment", "weights", "source", "path")
        return {k: untimed(v) for k, v in tree.items() if not k.endswith("_s") and k not in left_out}
    return [untimed(item) for item in tree] if isinstance(tree, list) else tree


def results(folder: Path) -> tuple[Any, Any]:
    """Records in the order of their index, and the summary; times left out."""
    records = [untimed(json.loads(line)) for line in (folder / "evaluations.jsonl").read_text().splitlines()]
    records.sort(key=lambda record: (record.get("evaluator", ""), record["index"]))
    return records, untimed(json.loads((folder / "summary.json").read_text()))


@pytest.fixture(scope="module")
def by_processes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    os.environ["OMP_NUM_THREADS"] = "1"
    return results(run(tmp_path_factory.mktemp("processes"), "made", "EXECUTOR", "processes"))


def test_a_search_has_the_results_of_processes(cluster: Cluster, tmp_path: Path, by_processes: tuple[Any, Any]):
    made = run(tmp_path, "made", "EXECUTOR", "ray", "RAY.ADDRESS", cluster.address)
    assert results(made) == by_processes


@pytest.mark.slow
def test_a_ranking_has_the_results_of_processes(cluster: Cluster, tmp_path: Path):
    words = ("--rank", "40", "--evaluators", "rmi,params", "EXECUTOR")
    made = run(tmp_path, "made", *words, "ray", "RAY.ADDRESS", cluster.address)
    assert results(made) == results(run(tmp_path, "other", *words, "processes"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["renas", "compare"])
def test_seeds_and_comparisons_have_the_results_of_one_machine(
    cluster: Cluster, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    module, words = COMMANDS[name]
    command = importlib.import_module(module).main
    found = []
    for folder, more in (("here", []), ("there", ["--executor", "ray", "--ray_address", cluster.address])):
        write_inputs(tmp_path / folder)
        monkeypatch.chdir(tmp_path / folder)
        command([*words, *more])
        found.append(contents(tmp_path / folder / "out"))
    here, there = found
    assert here.keys() == there.keys()
    assert [file for file in here if here[file] != there[file]] == []


@pytest.mark.slow
def test_a_node_that_dies_costs_what_it_was_doing(cluster: Cluster, tmp_path: Path):
    node = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    with EXECUTORS.load("ray").of(Resources(address=cluster.address)) as executor:
        found = {}
        for position, outcome in executor.run(Noted(str(tmp_path), seconds=0.4), [Request(n) for n in range(24)]):
            found[position] = outcome.value
            if len(found) == 6:
                cluster.remove_node(node, allow_graceful=False)
    assert found == {number: 2.0 * number for number in range(24)}
    again = sum(len(tried(tmp_path, number)) - 1 for number in range(24))
    assert 0 <= again <= 2  # what was in flight on two cores


@pytest.mark.slow
def test_a_node_that_dies_changes_nothing_in_a_search(
    cluster: Cluster, tmp_path: Path, notes: Path, by_processes: tuple[Any, Any]
):
    """Whoever counts sees the same architectures as often as without the death, but for what the node had at hand."""
    node = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    records, whole = tmp_path / "made" / "evaluations.jsonl", len(by_processes[0])
    done: list[int] = []

    def kill() -> None:
        end = time.monotonic() + 120
        while not done and time.monotonic() < end:
            count = len(records.read_bytes().splitlines()) if records.exists() else 0
            if count >= 3 and [*notes.glob(f"{node.node_id}_*")]:
                cluster.remove_node(node, allow_graceful=False)
                done.append(count)
            time.sleep(0.02)

    killer = Thread(target=kill)
    killer.start()
    words = ("RMINAS.EVALUATOR", "ray_work:counted_rmi", "EXECUTOR")
    try:
        made = results(run(tmp_path, "made", *words, "ray", "RAY.ADDRESS", cluster.address))
    finally:
        killer.join()
    assert done
    assert done[0] < whole
    asked = [line for file in notes.iterdir() for line in file.read_text().splitlines()]
    assert 0 <= len(asked) - len(made[0]) <= 2  # what was in flight on two cores
    assert made == results(run(tmp_path, "other", *words, "processes"))
    assert [(r["index"], r["arch"], r["value"]) for r in made[0]] == [
        (r["index"], r["arch"], r["value"]) for r in by_processes[0]
    ]


@pytest.mark.slow
def test_a_killed_driver_goes_on(cluster: Cluster, tmp_path: Path, by_processes: tuple[Any, Any]):
    place = tmp_path / "inputs"
    write_inputs(place)
    words = ["--cfg", str(place / "tiny.yaml"), "--out", str(tmp_path), "NAME", "made",
             "DATA.PATH", str(place / "few.npz"), "BENCHMARK.PATH", str(place / "table.csv"), "RMINAS.ROUND", "4",
             "EXECUTOR", "ray", "RAY.ADDRESS", cluster.address]  # fmt: skip
    records = tmp_path / "made" / "evaluations.jsonl"
    with subprocess.Popen([sys.executable, "-m", "rminas", *words], cwd=tmp_path, start_new_session=True) as process:
        end = time.monotonic() + 120
        while not (records.exists() and len(records.read_bytes().splitlines()) >= 3):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    before = records.read_text().splitlines(keepends=True)
    assert len(before) < len(by_processes[0])
    made = run(tmp_path, "made", "EXECUTOR", "ray", "RAY.ADDRESS", cluster.address)
    after = records.read_text().splitlines(keepends=True)
    assert after[: len(before) - 1] == before[:-1]
    assert results(made) == by_processes
