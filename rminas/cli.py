"""The command line of RMI-NAS: a config file, KEY VALUE overrides, and the search or the ranking they describe."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import OneLineParser
from common.errors import InputError
from common.runs.config import describe, nested, pairs
from rminas.config import Config, read_config

if TYPE_CHECKING:
    from common.runs import RunFolder
    from rminas.search import Evaluate, Evaluation
    from rminas.task import Task, Truth

PROG = "python -m rminas"
CONFIG_FILE, INPUTS_FILE = "config.yaml", "inputs.json"
# What another start of the same run may change: the results of a seed do not depend on these.
FREE = ("NAME", "OUT_DIR", "RNG_SEED", "SEEDS", "DEVICE")
FLAGS = {"device": "DEVICE", "seed": "RNG_SEED", "seeds": "SEEDS", "out": "OUT_DIR"}


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        PROG,
        "Search with RMI-NAS: train candidates for some steps on one batch to imitate a teacher's representations, let "
        "a random forest choose the next ones, and let the best vote. `configs/nb201_digits.yaml` needs no download.",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "keys of the config file and of KEY VALUE:\n" + describe(Config)
    add = parser.add_argument
    add("--cfg", type=Path, required=True, metavar="YAML", help="config file")
    add("--rank", type=int, metavar="N", help="do not search: train N random cells, and tell how well the loss, "
        "parameters, FLOPs and given zero-cost scores rank them")  # fmt: skip
    for flag, name in FLAGS.items():
        add(f"--{flag}", metavar="X", help=f"the same as {name} X")
    add("settings", nargs="*", metavar="KEY VALUE", help="settings that override the file's")
    return parser


@dataclass(frozen=True)
class Prepared:
    """Everything a search or a ranking needs, checked, with its run folder open."""

    config: Config
    folder: RunFolder
    task: Task
    truth: Truth
    seeds: range
    drawn: dict[int, list[Any]]  # by seed, the architectures that are to be ranked
    shared: dict[str, Any]  # of the summary: what all seeds have in common


def main(argv: list[str] | None = None) -> None:
    """Parses, runs what is missing, writes the run folder and prints the report. Raises InputError on bad input."""
    args = make_parser().parse_intermixed_args(argv)
    if args.rank is not None and args.rank < 2:
        raise InputError(f"--rank {args.rank}: at least 2 cells are needed to rank any")
    flags = [(FLAGS[flag], value) for flag in FLAGS if (value := getattr(args, flag)) is not None]
    config, notes = read_config(args.cfg, [*flags, *pairs(args.settings)])
    for note in notes:
        print(f"note: {note}")
    prepared = _prepare(config, args.cfg.stem, args.rank)
    if args.rank is None:
        _search(prepared)
    else:
        _rank(prepared)


def _prepare(config: Config, stem: str, rank: int | None) -> Prepared:
    from common.devices import device_title, pick_device
    from common.runs import RunFolder, environment
    from rminas.rank import draw_cells
    from rminas.search import check_reachable
    from rminas.task import Truth, load_config_images, load_task, search_space_of

    device = pick_device(config.device)
    images = load_config_images(config)
    space = search_space_of(config, images)
    truth = Truth.load(config.benchmark.path, config.benchmark.dataset or config.data.name, space)
    seeds = range(config.rng_seed, config.rng_seed + config.seeds)
    if rank is None:
        check_reachable(config, space)
    drawn = {} if rank is None else {seed: draw_cells(space, seed, rank, truth) for seed in seeds}
    path = Path(config.out_dir).expanduser() / ((config.name or stem) + ("" if rank is None else "_rank"))
    folder = RunFolder.open(path, nested(config), CONFIG_FILE, FREE, setting="OUT_DIR or NAME")
    with _TeacherProgress(config) as progress:
        task, teacher = load_task(config, space, images, device, path, progress)
    tested = f"{teacher.test_acc:.2f} % on {teacher.test_images:,} test images"
    print(f"teacher {teacher.name}: {tested}, in {teacher.mode} mode")
    inputs = {"images_sha256": images.sha256, "teacher_sha256": teacher.sha256}
    folder.pin(INPUTS_FILE, inputs, setting="OUT_DIR or NAME")
    source = truth.table.source
    shared = {
        "method": "RMI-NAS",
        "space": config.space.name,
        "dataset": config.data.name,
        "images": {"source": images.source, "sha256": images.sha256},
        "teacher": asdict(teacher),
        "benchmark": {**asdict(source), "column": truth.column.name, "best": truth.best},
        "environment": environment(device_title(device)),
        "settings": nested(config),
    }
    return Prepared(config, folder, task, truth, seeds, drawn, shared)


@contextmanager
def _engine(prepared: Prepared) -> Iterator[Callable[[int], Evaluate]]:
    """From a seed to how its candidates are evaluated; processes are ended with the block."""
    from rminas.draws import rng_for
    from rminas.evaluator import choose_engine

    config, task = prepared.config, prepared.task
    first = task.evaluator(config.rng_seed, task.batch(config.rng_seed))  # takes minutes where the images are large
    sample = task.space.sample(rng_for(config.rng_seed, "warmup"))
    engine = choose_engine(config.rminas.engine, config.rminas.population, first, sample)
    prepared.shared["engine"] = engine.name

    def evaluate(seed: int) -> Evaluate:
        return partial(engine, first if seed == first.seed else task.evaluator(seed, task.batch(seed)))

    try:
        yield evaluate
    finally:
        engine.close()


def _search(prepared: Prepared) -> None:
    from rminas.report import summarize, terminal_report, write_search_plot
    from rminas.search import read_evaluations, search, summarize_seed

    config, folder, task, truth = prepared.config, prepared.folder, prepared.task, prepared.truth
    records = folder.records()
    searches = []
    most = config.rminas.max_evaluations if config.rminas.rf_succ else config.rminas.rf_warmup
    with _engine(prepared) as evaluate:
        for seed in prepared.seeds:
            past = read_evaluations(records, task.space, seed, config.rminas.observe)
            positives = sum(bool(record.get("positive")) for record in records if record["seed"] == seed)
            with _Progress(f"seed {seed}", most, past, positives) as progress:

                def keep(
                    evaluation: Evaluation, positive: bool | None, seed: int = seed, bar: _Progress = progress
                ) -> None:
                    folder.append(evaluation.record(task.space, seed, positive))
                    bar.update(evaluation, positive)

                searches.append((seed, search(config, task.space, evaluate(seed), seed, past, keep)))
    runs = [summarize_seed(searched, truth, seed, config) for seed, searched in searches]
    summary = summarize(runs, prepared.shared)
    folder.write_summary(summary)
    write_search_plot(searches, truth, folder.path)
    print(terminal_report(summary, folder.path))


def _rank(prepared: Prepared) -> None:
    from common.benchmarks.scores import load_scores
    from rminas.rank import rank_cells, summarize_ranking
    from rminas.report import rank_report, write_rank_plot
    from rminas.search import read_evaluations

    config, folder, task, truth = prepared.config, prepared.folder, prepared.task, prepared.truth
    zero_cost = load_scores(config.benchmark.zero_cost, task.space) if config.benchmark.zero_cost else {}
    records = folder.records()
    rankings, runs = [], []
    with _engine(prepared) as evaluate:
        for seed, archs in prepared.drawn.items():
            past = read_evaluations(records, task.space, seed, config.rminas.observe)
            with _Progress(f"seed {seed}", len(archs), past) as progress:

                def keep(evaluation: Evaluation, seed: int = seed, bar: _Progress = progress) -> None:
                    folder.append(evaluation.record(task.space, seed, None))
                    bar.update(evaluation, None)

                rankings.append(rank_cells(archs, evaluate(seed), config.rminas.observe, past, keep))
            runs.append(summarize_ranking(rankings[-1], truth, seed, zero_cost))
    summary = {**prepared.shared, "n": len(runs), "runs": runs}
    folder.write_summary(summary)
    write_rank_plot(rankings, runs, truth, folder.path)
    print(rank_report(summary, folder.path))


class _TeacherProgress:
    """A tqdm bar over the epochs of a teacher that is trained here; it appears with the first one."""

    def __init__(self, config: Config) -> None:
        self.epochs = config.teacher.epochs
        self.bar: Any = None

    def __enter__(self) -> _TeacherProgress:
        return self

    def __call__(self, epoch: int, loss: float, acc: float) -> None:
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(total=self.epochs, desc="teacher", unit="epoch", initial=epoch - 1)
        self.bar.set_postfix_str(f"loss {loss:.3f}, training accuracy {acc:.1f} %", refresh=False)
        self.bar.update(1)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


class _Progress:
    """A tqdm bar over one seed's evaluations, with positives and the lowest loss."""

    def __init__(self, title: str, total: int, past: dict[int, Evaluation], positives: int = 0) -> None:
        self.title, self.total, self.done = title, total, len(past)
        self.best = min((evaluation.loss for evaluation in past.values()), default=float("inf"))
        self.positives = positives

    def __enter__(self) -> _Progress:
        from tqdm import tqdm

        self.bar = tqdm(total=self.total, desc=self.title, unit="cell", initial=self.done)
        return self

    def update(self, evaluation: Evaluation, positive: bool | None) -> None:
        self.best = min(self.best, evaluation.loss)
        self.positives += bool(positive)
        found = "" if positive is None else f"{self.positives} positives, "
        self.bar.set_postfix_str(f"{evaluation.phase}: {found}lowest loss {self.best:.4f}", refresh=False)
        self.bar.update(1)

    def __exit__(self, *_: object) -> None:
        self.bar.close()
