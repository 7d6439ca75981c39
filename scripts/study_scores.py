"""Training-free scores of random trained architectures of several spaces: measured, and held against their accuracies.

`measure SET` computes scores of a fixed random sample into docs/results/scores/SET, and `train SET` the RMI loss;
started again, they go on. `price` times all scores beside RMI. scripts/report_scores.py makes the tables of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from common.benchmarks import load_benchmark
from common.benchmarks.table import BenchmarkTable
from common.cli import OneLineParser, run_command
from common.datasets.images import load_images
from common.errors import InputError
from common.evaluators import EVALUATORS, Context, make_evaluator
from common.evaluators.training_free import evaluate_each
from common.runs import RunFolder, environment, write_json
from common.seeds import rng_for
from common.spaces import SearchSpace

PROG = "python scripts/study_scores.py"
ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs/results/scores"
SEED = 0  # of the samples, the batch and the weights

PASS = ("naswot", "swap", "jacov", "grad_norm", "snip", "fisher", "plain", "l2_norm")
OTHERS = ("synflow", "zen", "zico", "receptive_field")
OURS = ("mean_field", "combined", "steady")  # the two latter on as many images as without any setting
NB201_ZERO_COST = "nasbench201/zero_cost_proxies_cifar10.csv"
NB101_ZERO_COST = "nasbench101/zero_cost_292.csv"
# Names of the published columns, where they are not ours.
PUBLISHED = {"naswot": "nwot"}


@dataclass(frozen=True)
class StudySet:
    """A random sample of a table's architectures and what is computed of them.

    file, columns: of the data folder; accuracies to be ordered. development: what is chosen may be chosen on it.
    reference: file with published scores of the same architectures, and only those that it has are drawn; without: a
    file whose architectures are not drawn; after: a set whose architectures are not. network: what differs from the
    published network.
    """

    title: str
    file: str
    columns: tuple[str, ...]
    count: int
    batch_size: int
    development: bool = False
    reference: str = ""
    without: str = ""
    after: str = ""
    network: tuple[tuple[str, int], ...] = ()
    scores: tuple[str, ...] = (*PASS, *OTHERS, "mean_field")


NB201, NB101 = "nasbench201/accuracy_full.csv", "nasbench101/valid_20001.csv"
NB301 = "darts/nb301_surrogate_zero_cost.csv"
NB201_COLUMNS = ("cifar10_test_200", "cifar100_test_200", "imagenet16_120_test_200")
NARROW101, SMALL_DARTS = (("channels", 16),), (("channels", 16), ("layers", 8))
# Sets of which nothing may be learnt but once: what is chosen is chosen on the development sets.
SETS = {
    "nb201": StudySet(
        "NAS-Bench-201", NB201, NB201_COLUMNS, 300, 64, reference=NB201_ZERO_COST, scores=PASS + OTHERS + OURS
    ),
    "nb201_dev": StudySet(
        "NAS-Bench-201, development",
        NB201,
        NB201_COLUMNS,
        100,
        64,
        development=True,
        reference=NB201_ZERO_COST,
        after="nb201",
    ),
    "nb201_grasp": StudySet(
        "NAS-Bench-201, GraSP", NB201, NB201_COLUMNS, 50, 64, True, NB201_ZERO_COST, after="nb201", scores=("grasp",)
    ),
    "nb101": StudySet(
        "NAS-Bench-101", NB101, ("cifar10_valid_108",), 300, 32, without=NB101_ZERO_COST, network=NARROW101
    ),
    "nb101_dev": StudySet(
        "NAS-Bench-101, development",
        NB101_ZERO_COST,
        ("cifar10_valid_108",),
        100,
        32,
        development=True,
        reference=NB101_ZERO_COST,
        network=NARROW101,
    ),
    "nb101_dev2": StudySet(
        "NAS-Bench-101, uniform, development",
        NB101,
        ("cifar10_valid_108",),
        150,
        32,
        development=True,
        after="nb101",
        network=NARROW101,
    ),
    "macro": StudySet("NAS-Bench-Macro", "nasbench_macro/nas-bench-macro_cifar10.json", ("cifar10_test_50",), 300, 16),
    "macro_dev": StudySet(
        "NAS-Bench-Macro, development",
        "nasbench_macro/nas-bench-macro_cifar10.json",
        ("cifar10_test_50",),
        100,
        16,
        development=True,
        after="macro",
    ),
    "darts500": StudySet(
        "DARTS, 200 epochs", "darts/darts_cifar10_500.csv", ("cifar10_valid_200",), 300, 16, network=SMALL_DARTS
    ),
    "darts500_dev": StudySet(
        "DARTS, 200 epochs, development",
        "darts/darts_cifar10_500.csv",
        ("cifar10_valid_200",),
        200,
        16,
        development=True,
        after="darts500",
        network=SMALL_DARTS,
    ),
    "darts107": StudySet(
        "DARTS, 600 epochs",
        "darts/darts_cifar10_600epochs_107.csv",
        ("cifar10_test_600",),
        107,
        16,
        network=SMALL_DARTS,
    ),
    "darts_dev": StudySet(
        "DARTS, surrogate accuracies, development",
        NB301,
        ("surrogate_valid",),
        100,
        16,
        development=True,
        reference=NB301,
        network=SMALL_DARTS,
    ),
}


def load_table(chosen: StudySet, data: Path) -> BenchmarkTable:
    """The set's table, its space with the set's network."""
    table = load_benchmark(data / chosen.file)
    assert table.space is not None
    space: Any = table.space
    return replace(table, space=replace(space, **dict(chosen.network)))


def sample_rows(name: str, table: BenchmarkTable, data: Path) -> list[int]:
    """Rows of the set's architectures: random, no two isomorphic, each with its accuracies and a way to the output."""
    chosen = SETS[name]
    space = table.space
    assert space is not None
    known = np.all([~np.isnan(table.columns[column].values) for column in chosen.columns], axis=0)
    for file, wanted in ((chosen.reference, True), (chosen.without, False)):
        if file:
            other = load_benchmark(data / file)
            known &= [(other.index_of(table.arch(row)) is not None) == wanted for row in range(len(table))]
    taken = set()
    if chosen.after:
        before = load_table(SETS[chosen.after], data)
        taken = {before.key(row) for row in sample_rows(chosen.after, before, data)}
    rows: list[int] = []
    for row in rng_for(SEED, "study").permutation(np.flatnonzero(known)).tolist():
        if table.key(row) not in taken and space.reaches_output(table.arch(row)):
            taken.add(table.key(row))
            rows.append(row)
        if len(rows) == chosen.count:
            break
    return rows


def measure(name: str, data: Path, limit: int, folder: Path) -> None:
    """Computes what the set's folder lacks, one record an architecture."""
    import torch

    torch.set_num_threads(1)
    chosen = SETS[name]
    table = load_table(chosen, data)
    space = table.space
    assert space is not None
    published = load_benchmark(data / chosen.reference) if chosen.reference else None
    context = image_context(space, data, chosen.batch_size)
    evaluators = {score: make_evaluator(score, context) for score in (*chosen.scores, "params", "flops")}
    config = {"set": name, "file": chosen.file, "sha256": table.source.sha256, "seed": SEED}
    config |= {"batch_size": chosen.batch_size, "network": dict(chosen.network)}
    with RunFolder.open(folder / name, config) as run:
        found = merged(run.records())
        for row in sample_rows(name, table, data)[:limit]:
            arch = table.arch(row)
            text = space.format(arch)
            missing = [score for score in evaluators if score not in found.get(text, {}).get("scores", {})]
            if not missing:
                continue
            started = time.process_time()
            outcomes = evaluate_each([evaluators[score] for score in missing], arch)
            record = {
                "arch": text,
                "scores": {score: outcome.value for score, outcome in zip(missing, outcomes, strict=True)},
                "accuracy": {column: table.columns[column].values[row] for column in chosen.columns},
                "revision": revision(),
                "cpu_s": round(time.process_time() - started, 4),
            }
            if published is not None:
                there = published.index_of(arch)
                record["published"] = {
                    key: column.values[there] for key, column in published.columns.items() if key not in chosen.columns
                }
            run.append(record)


def train(name: str, data: Path, limit: int, folder: Path) -> None:
    """RMI losses, as `combined_rmi` takes them, of a measured set's first architectures, as records in its folder."""
    import torch

    torch.set_num_threads(1)
    with RunFolder.open(folder / name, json.loads((folder / name / "config.json").read_text())) as run:
        table = load_table(SETS[name], data)
        assert table.space is not None
        made: Any = make_evaluator("combined_rmi", rmi_context(table.space, data))
        _, rmi = made.parts
        for text, record in [*merged(run.records()).items()][:limit]:
            if "rmi" not in record:
                started = time.process_time()
                losses = -rmi.evaluate(table.space.parse(text)).trajectory
                seconds = round(time.process_time() - started, 4)
                run.append(
                    {"arch": text, "scores": {}, "rmi": losses, "rmi_cpu_s": seconds, "rmi_revision": revision()}
                )


def rmi_context(space: SearchSpace, data: Path, updates: int = 0) -> Context:
    """What the RMI loss of the published CIFAR-10 search is computed from, but for the number of updates."""
    from common.networks.teachers import load_teacher
    from common.training.population import CandidateSettings
    from rminas.rmi import RmiSettings

    return replace(
        image_context(space, data, 32),
        load_teacher=lambda: load_teacher("resnet20", data / "teachers/resnet20_cifar10.th", 10),
        settings={"rmi": RmiSettings(CandidateSettings(steps=updates, channels_last=True))},
    )


def image_context(space: SearchSpace, data: Path, batch_size: int) -> Context:
    sizes = {score: {"batch_size": batch_size} for score in EVALUATORS if score not in OURS}
    return Context(
        space,
        SEED,
        load_images=lambda: load_images("cifar10", data / "cifar/cifar10_subset.npz"),
        settings=sizes | {"mean_field": {"batch_size": 2}},  # of the graph, which is the same for any
    )


def revision() -> str:
    return str(environment("cpu")["revision"])


def price(data: Path, folder: Path, cells: int = 3, updates: int = 7) -> None:
    """CPU seconds and GFLOP of a NAS-Bench-201 network by every score, and of RMI updates, interleaved.

    Each of the cells is put through all of them in an order of its own, twice: what is shared with other work on the
    machine hits all alike. The first time is for warming up.
    """
    import torch

    torch.set_num_threads(1)
    table = load_table(SETS["nb201"], data)
    space = table.space
    assert space is not None
    context = image_context(space, data, 32)
    scores = (*PASS, *OTHERS, *OURS, "grasp")
    asked = {score: [make_evaluator(score, context)] for score in scores}
    asked["all of one pass"] = [make_evaluator(score, context) for score in (*PASS, "receptive_field", "combined")]
    asked["combined_rmi"] = [make_evaluator("combined_rmi", rmi_context(space, data))]
    asked[f"rmi, {updates} updates"] = [make_evaluator("rmi", rmi_context(space, data, updates))]
    archs = [table.arch(row) for row in sample_rows("nb201", table, data)[:cells]]
    rng = rng_for(SEED, "price")
    seconds: dict[str, list[float]] = {name: [] for name in asked}
    flops: dict[str, list[float]] = {name: [] for name in asked}
    for arch in archs:
        for timed in (False, True):
            for name in rng.permutation([*asked]):
                started = time.process_time()
                if timed:
                    evaluate_each(asked[name], arch)
                    seconds[name].append(time.process_time() - started)
                else:
                    flops[name].append(flops_of(partial(evaluate_each, asked[name], arch)))
    archs_text = [space.format(arch) for arch in archs]
    write_json(
        folder / "price.json",
        {
            "environment": environment("cpu (1 threads)"),
            "batch_size": 32,
            "rmi_updates": updates,
            "archs": archs_text,
            "cpu_s": seconds,
            "flops": flops,
        },
    )


def flops_of(run: Callable[[], object]) -> int:
    """What torch counts while `run` computes, backward passes included."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Counter(TorchDispatchMode):  # FlopCounterMode also follows modules, which torch.autograd.grad does not allow
        total = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if func.overloadpacket in flop_registry:
                self.total += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
            return out

    with Counter() as counter:
        run()
    return counter.total


def merged(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """One record an architecture, with the scores of all that there are of it."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        known = found.get(record["arch"], {"scores": {}})
        found[record["arch"]] = {**known, **record, "scores": {**known["scores"], **record["scores"]}}
    return found


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("what", choices=("measure", "train", "price"), help="compute scores, RMI losses, or prices")
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all if none is named")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of the data files")
    parser.add_argument("--limit", type=int, default=10**9, help="architectures of a set")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    args = parser.parse_args()
    if args.what == "price":
        price(args.data, args.results)
        return
    for name in args.sets or SETS:
        if name not in SETS:
            raise InputError(f"unknown set {name!r}; choose from {', '.join(SETS)}")
        (measure if args.what == "measure" else train)(name, args.data, args.limit, args.results)


if __name__ == "__main__":
    run_command(PROG, main)
