"""Label-free searches by screening beside what they have to beat, and what the defaults were chosen by.

`run` makes the reported searches (seeds 0 to 9), `develop` those that defaults were chosen on (seeds from 100 on),
`time` measures whole commands on both cores of a machine that does nothing else, beside a stretch of the published
search, `loaded` README's two commands on a machine that is at work. Summaries go to docs/results/screening; `page`
writes docs/results/screening.md from them and from nothing else. What has been run is not run again.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from folds import place
from publish_results import publish

from common.benchmarks import load_benchmark
from common.cli import OneLineParser, run_command
from common.errors import InputError
from common.metrics import bootstrap_interval, mean_std, number, with_spread
from common.runs import environment, write_atomic, write_json

PROG = "python scripts/study_screening.py"
ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "docs/results/screening", ROOT / "docs/results/screening.md"
SEEDS, FIRST_DEVELOPED, DEVELOPED = 10, 100, 4
BENCH = ROOT / "docs/results/bench_rminas_cpu.md"
UPDATES, EVALUATIONS = 150, 220  # of a published candidate; of a search that ended (docs/rminas.md)


@dataclass(frozen=True)
class Task:
    """A space with images and accuracies. goal: the mean that is asked for, percent; None where none is."""

    title: str
    config: str
    images: str
    table: str
    goal: float | None = None


TASKS = {
    "nb201_cifar10": Task("NAS-Bench-201, CIFAR-10", "nb201_cifar10_screen", "cifar/cifar10_subset.npz",
        "nasbench201/accuracy_full.csv", 94.30),
    "nb201_cifar100": Task("NAS-Bench-201, CIFAR-100", "nb201_cifar100_screen", "cifar/cifar100_subset.npz",
        "nasbench201/accuracy_full.csv", 73.30),
    "nb201_imagenet16": Task("NAS-Bench-201, ImageNet16-120 by a stand-in (Tiny-ImageNet, other classes)",
        "nb201_imagenet16_screen", "tiny_imagenet/tiny_imagenet120_32px.npz", "nasbench201/accuracy_full.csv", 46.3),
    "nb201_digits": Task("NAS-Bench-201, digits (accuracies of AnalogNAS-Bench)", "nb201_digits_screen", "", ""),
    "macro_cifar10": Task("NAS-Bench-Macro, CIFAR-10", "macro_cifar10_screen", "cifar/cifar10_subset.npz",
        "nasbench_macro/nas-bench-macro_cifar10.json"),
    "darts_cifar10": Task("DARTS, CIFAR-10", "darts_cifar10_screen", "cifar/cifar10_subset.npz", ""),
}  # fmt: skip
LIKE = {
    "darts_cifar10": "darts/darts_cifar10_500.csv"
}  # trained architectures of spaces whose found one is in no table
FIRST = ("nb201_digits_screen", "nb201_digits_fast")  # as README has them
COLUMNS = {"nb201_cifar10": "cifar10_test_200", "nb201_cifar100": "cifar100_test_200",
    "nb201_imagenet16": "imagenet16_120_test_200"}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "five cells a stage": {"SPACE.CELLS_PER_STAGE": 5},
}


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("part", choices=("run", "develop", "time", "loaded", "page"))
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="where images and tables are; loaded and page need none"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/study_screening"), help="where the runs go")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="of run: searches of a task")
    parser.add_argument("--only", default="", metavar="NAMES", help=f"of run and time: tasks of {', '.join(TASKS)}")
    parser.add_argument(
        "--stretch", type=float, default=40.0, metavar="S", help="of time: of the published search; 0: none"
    )
    args = parser.parse_args()
    if args.part == "page":
        write_atomic(PAGE, lambda out: out.write(page().encode()))
        return
    if args.part == "loaded":
        loaded(args.runs)
        return
    if args.data is None:
        raise InputError("--data names the folder of images and tables")
    names = [name for name in args.only.split(",") if name] or [*TASKS]
    for name in names:
        if name not in TASKS:
            raise InputError(f"unknown task {name}; choose from {', '.join(TASKS)}")
    if args.part == "run":
        for name in names:
            report(name, args.data, args.runs, args.seeds)
    elif args.part == "develop":
        develop(args.data, args.runs)
    else:
        measure(names, args.stretch, args.data, args.runs)


# running -----------------------------------------------------------------------------------------------------------


def settings_of(task: Task, data: Path) -> dict[str, Any]:
    files = {"DATA.PATH": task.images, "BENCHMARK.PATH": task.table}
    return {key: str(data / file) for key, file in files.items() if file}


def report(name: str, data: Path, runs: Path, seeds: int = SEEDS) -> None:
    """The searches of a task, and what they have to beat."""
    import rminas

    task = TASKS[name]
    said = {**settings_of(task, data), "SEEDS": seeds, "OUT_DIR": str(runs), "EXECUTOR": "serial"}
    done = rminas.run(task.config, say=print, **said, NAME=f"{name}_screening")
    print(done.report)
    publish(done.folder, RESULTS / f"{name}_screening.json")
    baselines(name, data)


def baselines(name: str, data: Path) -> None:
    """What the whole table holds, and what jacov x params alone would choose; without a table, what is predicted."""
    if TASKS[name].table:
        write_json(RESULTS / f"{name}_table.json", whole_table(name, data))
    if name in COLUMNS:
        write_json(RESULTS / f"{name}_jacov_params.json", jacov_params(COLUMNS[name]))
    if name in LIKE and (summary := _summary(f"{name}_screening")):
        found = [run["found"]["arch"] for run in summary["runs"]]
        made = place(found, load_benchmark(data / LIKE[name])) | {"environment": environment("cpu")}
        write_json(RESULTS / f"{name}_place.json", made)


def jacov_params(column: str, draws: int = 1000, size: int = 60) -> dict[str, Any]:
    """Accuracies of the best by the sum of the log ranks of jacov and params, of `size` random cells of those measured.

    Of the 300 random NAS-Bench-201 cells of docs/results/scores, scored on CIFAR-10 images.
    """
    from study_scores import RESULTS as SCORES
    from study_scores import merged

    from common.evaluators.combination import combine
    from common.runs import RunFolder
    from common.seeds import rng_for

    records = [*merged(RunFolder(SCORES / "nb201").records()).values()]
    scores = np.array([[number(r["scores"][key], -np.inf) for r in records] for key in ("jacov", "params")])
    truth = np.array([r["accuracy"][column] for r in records])
    rng = rng_for(0, "jacov x params")
    found = []
    for _ in range(draws):
        rows = rng.choice(len(records), size, replace=False)
        found.append(float(truth[rows[np.argmax(combine(scores[:, rows]))]]))
    mean, std = mean_std(found)
    return {"column": column, "cells": len(records), "of": size, "draws": draws, "mean": mean, "std": std,
        "best_of_all": float(truth[np.argmax(combine(scores))]), "environment": environment("cpu")}  # fmt: skip


def whole_table(name: str, data: Path) -> dict[str, Any]:
    """Of all architectures of a task's table: mean, deviation and median of the accuracy, and the largest network's."""
    from common.spaces import make_space
    from rminas.accuracy import AccuracyTable
    from rminas.config import load_config

    task = TASKS[name]
    config = load_config(task.config)
    space = make_space(config.space.name)
    dataset = config.benchmark.dataset or config.data.name
    table = AccuracyTable.load(str(data / task.table), dataset, space)
    values = table.column.values
    assert table.table.codes is not None
    sizes = space.total_costs(table.table.codes)[1]
    return {
        "column": table.column.name,
        "networks": len(values),
        "best": float(values.max()),
        "mean": float(values.mean()),
        "std": float(values.std()),
        "median": float(np.median(values)),
        "most_parameters": float(values[sizes == sizes.max()].mean()),
        "environment": environment("cpu"),
    }


def develop(data: Path, runs: Path) -> None:
    """Variants on NAS-Bench-201, CIFAR-10, with other seeds."""
    import rminas

    task = TASKS["nb201_cifar10"]
    for variant, changes in VARIANTS.items():
        label = f"develop_{variant.replace(' ', '_')}"
        said = {**settings_of(task, data), "EXECUTOR": "serial", **changes, "OUT_DIR": str(runs), "NAME": label}
        done = rminas.run(task.config, say=print, **said, RNG_SEED=FIRST_DEVELOPED, SEEDS=DEVELOPED)
        publish(done.folder, RESULTS / f"{label}.json")


def measure(names: Sequence[str], stretch_s: float, data: Path, runs: Path) -> None:
    """Wall seconds of whole commands, from the start of Python to its end, with new run folders, once each."""
    found: dict[str, Any] = {"environment": environment("cpu (all cores)"), "seconds": {}}
    for name in names:
        seconds, _ = command(TASKS[name].config, settings_of(TASKS[name], data), runs, f"timed_{name}")
        found["seconds"][name] = seconds
        write_json(RESULTS / "time.json", found)
    if not stretch_s:
        return
    task = TASKS["nb201_cifar10"]
    weights = {"TEACHER.WEIGHTS": str(data / "teachers/resnet20_cifar10.th"), "RNG_SEED": 0}
    seconds, folder = command("nb201_cifar10", settings_of(task, data) | weights, runs, "timed_published", stretch_s)
    lines = (folder / "evaluations.jsonl").read_text().splitlines() if (folder / "evaluations.jsonl").exists() else []
    found["published"] = {"seconds": seconds, "evaluations": len(lines),
        "evaluate_s": sum(json.loads(line)["evaluate_s"] for line in lines)}  # fmt: skip
    write_json(RESULTS / "time.json", found)


def loaded(runs: Path) -> None:
    """Wall seconds of what README begins with, once each, whatever else the machine does, and its load at the end."""
    found: dict[str, Any] = {"environment": environment("cpu (all cores)"), "seconds": {}, "load": {}}
    for config in FIRST:
        found["seconds"][config], _ = command(config, {}, runs, f"loaded_{config}")
        found["load"][config] = round(os.getloadavg()[0], 1)  # processes that ran or waited, mean over the last minute
        write_json(RESULTS / "loaded.json", found)


def command(config: str, settings: dict[str, Any], runs: Path, name: str, limit: float = 0.0) -> tuple[float, Path]:
    """Seconds that a command has taken, or the limit at which it was ended, and its run folder."""
    folder = runs / name
    if folder.exists():
        raise InputError(f"{folder} is there: a timing begins with a new folder")
    said = {**settings, "OUT_DIR": str(runs), "NAME": name}
    words = [sys.executable, "-m", "rminas", "--cfg", config, *(str(word) for pair in said.items() for word in pair)]
    started = time.perf_counter()
    with subprocess.Popen(words, cwd=ROOT) as process:
        try:
            process.wait(limit or None)
        except subprocess.TimeoutExpired:
            process.terminate()
    return time.perf_counter() - started, folder


# the page ----------------------------------------------------------------------------------------------------------


def page() -> str:
    return "\n".join([*_head(), *_found(), *_stages(), *_times(), *_loaded(), *_developed()])


def _summary(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def _link(name: str, text: str) -> str:
    return f"[{text}](screening/{name}.json)"


INTRODUCTION = f"""Made by `{PROG} page` from the summaries in [screening/](screening/).
What happens in such a search stands in [rminas.md](../rminas.md#screening). No accuracy, no teacher and no training is
used: accuracies are looked up of what was found. Test accuracies after 200 epochs (NAS-Bench-201), after 50 (Macro);
intervals are 95 % bootstrap intervals of the mean over the seeds."""
SECONDS = """jacov x params: of the 300 random cells of [scores.md](scores.md), scored on CIFAR-10 images. Seconds: of
one core that other work shared (evaluations, the predictor's choices, the vote; not the start of Python), so that they
are upper bounds. Of whole commands on two cores see below, where these were measured."""
DEVELOPMENT = """Seeds from 100 on, by CIFAR-10 accuracies: the score (`steady`: on the development samples of
[scores.md](scores.md), and on the NAS-Bench-201 cells of four convolutions 3x3 or more), sixty evaluations, the
exploration (kappa 1 in place of 2), cells a stage, and the vote in place of the best score. CIFAR-100 and
ImageNet16-120 accuracies of what two of these searches would have chosen were printed beside; no search on their
images was made before all was chosen."""


def _head() -> list[str]:
    return ["# Searches without labels, by screening", "", INTRODUCTION, ""]


def _table(*columns: str) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _found() -> Iterator[str]:
    yield from ("## What was found", "")
    yield from _table("task", "method", "n", "found, %", "interval", "goal", "reached", "regret", "search s")
    for name, task in TASKS.items():
        if summary := _summary(f"{name}_screening"):
            yield _row(name, task, summary)
        if alone := _summary(f"{name}_jacov_params"):
            link = _link(f"{name}_jacov_params", f"best jacov x params of {alone['of']} random")
            said = f"{alone['mean']:.2f} ± {alone['std']:.2f} | | | | |"
            yield f"| {task.title} | {link} | {alone['draws']} draws | {said} |"
        if table := _summary(f"{name}_table"):
            largest, best = table["most_parameters"], table["best"]
            spread = f"{table['mean']:.2f} ± {table['std']:.2f}, median {table['median']:.2f}"
            link = _link(f"{name}_table", "the largest network of all")
            yield f"| {task.title} | {link} | | {largest:.2f} | | | | {best - largest:.2f} | |"
            yield (
                f"| {task.title} | a random choice (all {table['networks']:,}) | | {spread} | | | "
                f"| {best - table['mean']:.2f} | |"
            )
    yield from ("", SECONDS, "")
    for name in LIKE:
        if made := _summary(f"{name}_place"):
            shares, link = ", ".join(f"{share:.0%}" for share in made["better_than"]), _link(f"{name}_place", "places")
            yield from (
                f"{TASKS[name].title}: what was found is in no table. A Gaussian process that learnt the",
                f"{made['column']} of {made['architectures']} trained genotypes (Kendall tau {made['kendall_tau']:.2f}",
                f"on those left out) {link} it above {shares} of them: predicted, of a network unlike most of those.",
                "",
            )


def _row(name: str, task: Task, summary: dict[str, Any]) -> str:
    found = [number(run["found"]["test_acc"]) for run in summary["runs"]]
    seconds = [run["search_s"] for run in summary["runs"]]
    mean, std = mean_std(found)
    said, interval, asked, reached, regret = "not known", "", "", "", ""
    if np.isfinite(mean):
        said = f"**{with_spread(mean, std, len(found), 2, '±')}**"
        interval = "{:.2f} to {:.2f}".format(*bootstrap_interval(found))
        regret = f"{summary['mean']['regret']:.2f}"
        if task.goal is not None:
            asked, reached = f"{task.goal:.2f}", "yes" if mean >= task.goal else "no"
    took = f"{np.mean(seconds):.0f} ({min(seconds):.0f} to {max(seconds):.0f})"
    link = _link(f"{name}_screening", "**screening**")
    cells = (task.title, link, len(found), said, interval, asked, reached, regret, took)
    return f"| {' | '.join(map(str, cells))} |"


def _stages() -> Iterator[str]:
    yield from (
        "## Stage by stage",
        "",
        "Means over the seeds; lost: what the stage has cost of the best accuracy.",
        "",
    )
    yield from _table("task", "stage", "candidates left", "of the time", "best left, %", "lost")
    for name, task in TASKS.items():
        summary = _summary(f"{name}_screening")
        for same in zip(*(run["stages"] for run in summary["runs"]), strict=True) if summary else ():
            left, share, best, lost = (
                float(np.mean([number(stage[key]) for stage in same])) for key in ("out", "share", "best_out", "lost")
            )
            known = f"{best:.2f} | {lost:.2f}" if np.isfinite(best) else " | "
            yield f"| {task.title} | {same[0]['stage']} | {left:.0f} | {share:.0%} | {known} |"
    yield ""


def _times() -> Iterator[str]:
    made = _summary("time")
    if not made:
        return
    yield from (
        "## Whole commands on two cores",
        "",
        f"`{PROG} time`, revision {made['environment']['revision']}, once",
    )
    yield from ("each, on a machine that did little else, from the start of Python to its end:", "")
    for name, seconds in made["seconds"].items():
        yield f"- {TASKS[name].title}: {seconds:.0f} s"
    if published := made.get("published"):
        count = published["evaluations"]
        said = f"- the published rules, CIFAR-10: a stretch of {published['seconds']:.0f} s, {count} evaluations made"
        if count:
            each = published["evaluate_s"] / count
            said += f", {each:.1f} s each ({UPDATES} updates, on both cores): {EVALUATIONS * each / 60:.0f} minutes "
            said += f"for the {EVALUATIONS} of a search that ran to its end"
        yield said
    if bench := re.search(r"^\| processes \|.*\| (\d+) \|[^|]*\|$", BENCH.read_text(), flags=re.MULTILINE):
        minutes = float(bench[1]) / 300 * EVALUATIONS / 60
        yield f"- the published rules: {minutes:.0f} minutes for the {EVALUATIONS} evaluations of a search that ended,"
        yield "  by the rate of a [measured stretch](bench_rminas_cpu.md)"
    yield ""


def _loaded() -> Iterator[str]:
    if made := _summary("loaded"):
        revision, cores = (made["environment"][key] for key in ("revision", "cores"))
        yield from (
            "## README's commands while other work runs",
            "",
            f"`{PROG} loaded`, revision {revision}, once each, from the start of Python to its end, with nothing at",
            f"hand (a teacher, where there is one, is trained on the spot), on {cores} cores. Load: the mean number of",
            "processes that computed or waited to, over the last minute of the command:",
            "",
        )
        for config, seconds in made["seconds"].items():
            yield f"- `python -m rminas --cfg {config}`: {seconds:.0f} s, load {made['load'][config]}"
        yield ""


def _developed() -> Iterator[str]:
    names = [path.stem for path in sorted(RESULTS.glob("develop_*.json"))]
    yield from ("## What it was chosen on", "", DEVELOPMENT, "")
    if names:
        yield from _table("variant", "n", "by vote (20)", "by the best score", "by smoothed scores", "search s")
    for name in names:
        summary = _summary(name)
        assert summary is not None
        cells = [_link(name, name.removeprefix("develop_").replace("_", " ")), str(summary["n"])]
        for rule in ("sum", "best", "smoothed"):
            mean, std = mean_std([number(run["chosen_by"][rule]["test_acc"]) for run in summary["runs"]])
            cells.append(with_spread(mean, std, summary["n"], 2, "±"))
        yield f"| {' | '.join([*cells, format(summary['mean']['search_s'], '.0f')])} |"
    yield ""


if __name__ == "__main__":
    run_command(PROG, main)
