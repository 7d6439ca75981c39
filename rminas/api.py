"""What the command line does, as functions: `run` searches, `rank` compares evaluators; both leave a run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.benchmarks.scores import load_scores
from common.datasets import data_set
from common.devices import device_title, pick_device
from common.drawing import save_found
from common.errors import InputError
from common.evaluators import OF_ARCH, Context, Evaluator, load_members, make_evaluator, words_of
from common.evaluators.composite import Several, leaves
from common.execution import EXECUTORS, Executor, Resources
from common.execution.processes import usable_cores
from common.progress import ProgressBar
from common.registry import file_name
from common.runs import RunFolder, environment
from common.runs.config import nested
from common.search import Evaluation, History, read_history
from common.search.screening import Screening
from rminas.accuracy import AccuracyTable
from rminas.config import Config, Optim, Train, load_config
from rminas.inputs import Inputs, make_search_space
from rminas.ranking import draw_archs, evaluate_list, joined, split, summarize_ranking
from rminas.report import (
    as_loss,
    rank_report,
    summarize,
    terminal_report,
    write_front_plot,
    write_rank_plot,
    write_search_plot,
)
from rminas.rng import rng_for
from rminas.search import (
    SearchOutcome,
    check_reachable,
    expected_evaluations,
    is_positive,
    make_search,
    search,
    summarize_seed,
)
from rminas.teacher import epochs_on

if TYPE_CHECKING:
    import torch

    from common.training.population import CandidateSettings
    from rminas.rmi import RmiSettings

CONFIG_FILE, INPUTS_FILE = "config.yaml", "inputs.json"
# What another start of the same run may change: the results of a seed do not depend on these.
FREE = ("NAME", "OUT_DIR", "RNG_SEED", "SEEDS", "DEVICE", "RAY", "TRACKER")
SETTING = "OUT_DIR or NAME"  # where the user chooses the folder
COMPARED = ("params", "flops")  # what the config's evaluator is ranked beside
FINAL = "final"  # stage of the records of finalists
MOST_RANKED = 10**6
TRAINED = "rmi"  # the evaluator that needs the images and a teacher
WITHOUT_IMAGES = ("params", "flops", "table")  # evaluators that need neither

Say = Callable[[str], object]


@dataclass(frozen=True)
class SearchRun:
    """A finished search, of one seed or several.

    folder: of its files. summary: what `summary.json` holds. outcomes: by seed. found: by seed, the architectures.
    """

    folder: Path
    summary: dict[str, Any]
    outcomes: dict[int, SearchOutcome]

    @property
    def found(self) -> dict[int, Any]:
        return {seed: outcome.found for seed, outcome in self.outcomes.items()}

    @property
    def histories(self) -> dict[int, History]:
        return {seed: outcome.history for seed, outcome in self.outcomes.items()}

    @property
    def report(self) -> str:
        """For people."""
        return terminal_report(self.summary, self.folder)


@dataclass(frozen=True)
class RankRun:
    """A finished ranking. histories: by seed and evaluator, the evaluations of the same architectures."""

    folder: Path
    summary: dict[str, Any]
    histories: dict[int, dict[str, History]]

    @property
    def report(self) -> str:
        """For people."""
        return rank_report(self.summary, self.folder)


def run(config: str | Path | Config | None = None, *, say: Say = lambda line: None, **overrides: Any) -> SearchRun:
    """Searches as a config says, seed by seed; goes on where the same run was killed.

    Args: config, overrides: see `load_config`. say: gets lines for people while it runs.
    Raises: InputError when something that the settings name is not there or does not fit.
    """
    settings = load_config(config, **overrides)
    return run_config(settings, _name_of(config, settings), say)


def run_config(settings: Config, name: str, say: Say = lambda line: None) -> SearchRun:
    """`run` with resolved settings. name: of the run's folder in OUT_DIR."""
    r = settings.rminas
    screening = r.strategy == Screening.name
    asked = [r.evaluator, *[r.cheap] * bool(r.size or screening), *[r.final] * bool(screening and r.finalists)]
    with _open(settings, name, asked, say) as job:
        check_reachable(r, job.space)
        job.start()
        outcomes = {seed: _search_seed(job, seed) for seed in job.seeds}
        runs = [summarize_seed(outcome, job.accuracies) for outcome in outcomes.values()]
        summary = summarize(runs, job.shared())
        job.folder.write_summary(summary)
        write_search_plot([*outcomes.values()], settings.rminas.evaluator, job.accuracies, job.folder.path)
        write_front_plot(job.space, [*outcomes.values()], settings.rminas.evaluator, job.folder.path)
        save_found(job.space, {seed: outcome.found for seed, outcome in outcomes.items()}, job.folder.path)
        return SearchRun(job.folder.path, summary, outcomes)


def rank(
    config: str | Path | Config | None = None,
    count: int = 100,
    evaluators: Sequence[str] | None = None,
    *,
    say: Say = lambda line: None,
    **overrides: Any,
) -> RankRun:
    """Tells how well evaluators rank `count` random architectures of a table of trained ones.

    Args: evaluators: their names, or import paths of your own; by default the config's with parameters and FLOPs.
        The others as for `run`.
    Raises: InputError as `run` does, and when there is no table, or it has not so many architectures.
    """
    settings = load_config(config, **overrides)
    return rank_config(settings, _name_of(config, settings), count, evaluators, say)


def rank_config(
    settings: Config, name: str, count: int, evaluators: Sequence[str] | None = None, say: Say = lambda line: None
) -> RankRun:
    """`rank` with resolved settings. name: of the run's folder in OUT_DIR, without its ending `_rank`."""
    if count < 2:
        raise InputError(f"--rank {count}: at least 2 cells are needed to rank any")
    if count > MOST_RANKED:
        raise InputError(f"--rank {count}: at most {MOST_RANKED:,} cells are ranked")
    names = [*dict.fromkeys(evaluators or (settings.rminas.evaluator, *COMPARED))]
    with _open(settings, name + "_rank", names, say) as job:
        if job.limits is not None:
            raise InputError("--rank ranks random architectures whatever they cost: leave BUDGET out, or search")
        drawn = {seed: draw_archs(job.space, seed, count, job.accuracies) for seed in job.seeds}
        file = settings.benchmark.zero_cost
        zero_cost = load_scores(file, job.space) if file else {}
        job.start()
        histories = {seed: _evaluate_lists(job, names, seed, archs) for seed, archs in drawn.items()}
        runs = [
            summarize_ranking(seed, drawn[seed], made, job.accuracies, zero_cost) for seed, made in histories.items()
        ]
        summary = {**job.shared(), "evaluators": names, "n": len(runs), "runs": runs}
        job.folder.write_summary(summary)
        write_rank_plot(histories[job.seeds[0]], runs, job.accuracies, job.folder.path)
        return RankRun(job.folder.path, summary, histories)


def _name_of(config: str | Path | Config | None, settings: Config) -> str:
    """The name of the run's folder."""
    named = config.stem if isinstance(config, Path) else Path(config).stem if isinstance(config, str) else ""
    return settings.name or named or f"{file_name(settings.space.name)}_{Path(settings.data.name).stem}"


class _Job:
    """Everything the seeds of a run share: what it reads, its folder, and where evaluations run."""

    def __init__(self, settings: Config, path: Path, names: Sequence[str], say: Say) -> None:
        """Checks what can be checked before anything is made. names: of the evaluators. Raises InputError."""
        self.settings, self.path, self.names = settings, path, names
        for name in names:
            load_members(name)  # not after the minutes that a teacher for another one takes
        self.device = pick_device(settings.device)
        self.seeds = range(settings.rng_seed, settings.rng_seed + settings.seeds)
        self.bar = ProgressBar(settings.teacher.epochs, "teacher", "epoch")
        self.inputs = Inputs(settings.data, settings.teacher, self.device, path, epochs_on(self.bar), say)
        seen = any(_needs_images(name) for name in names)
        images = self.inputs.load_images if seen else None
        self.space = make_search_space(settings, images)
        # Of the network as it is published: candidates may be trained in a smaller one.
        self.limits = settings.budget.limits(make_search_space(settings, images, published=True))
        if self.limits is not None:
            self.limits.candidates(self.space)  # there must be some
        benchmark = settings.benchmark
        dataset = benchmark.dataset or data_set(settings.data.name).name
        known = (benchmark.path, dataset, self.space, benchmark.column, benchmark.latency)
        self.accuracies = AccuracyTable.load(*known)
        self.context = Context(
            self.space,
            self.seeds[0],
            self.device,
            self.inputs.load_images,
            self.inputs.load_teacher,
            lambda: self.accuracies.table,
            self.accuracies.column.name,
            {TRAINED: rmi_settings(settings)},
            settings.train.batch_size,
            settings.train.im_size,
        )
        self.folder: RunFolder
        self.records: list[dict[str, Any]] = []
        self._contexts: dict[int, Context] = {}
        self._evaluators: dict[tuple[str, int], Evaluator] = {}
        self._executors: dict[str, Executor] = {}

    def start(self) -> None:
        """Opens the folder and makes the first seed's evaluators, which may train a teacher or take minutes."""
        self.folder = RunFolder.open(self.path, nested(self.settings), CONFIG_FILE, FREE, setting=SETTING)
        self.records = self.folder.records()
        for name in self.names:
            self.evaluator(name, self.seeds[0])
        if checksums := self.inputs.checksums():
            self.folder.pin(INPUTS_FILE, checksums, setting=SETTING, grows=True)  # other evaluators need other inputs
        self.folder.track(self.settings.tracker)

    def evaluator(self, name: str, seed: int) -> Evaluator:
        made = self._evaluators.get((name, seed))
        if made is None:
            # One context a seed: evaluators that have the same batch can share passes.
            context = self._contexts.setdefault(seed, self.context.with_seed(seed))
            made = self._evaluators[name, seed] = make_evaluator(name, context)
            self.bar.close()
        return made

    def executor(self, name: str) -> Executor:
        """Where the evaluations of an evaluator run."""
        if name not in self._executors:
            first = self.evaluator(name, self.seeds[0])
            sample = self.space.sample(rng_for(self.seeds[0], "warmup"))
            ray = self.settings.ray
            resources = Resources(self.settings.rminas.population, ray.address, ray.cpus, ray.gpus)
            self._executors[name] = make_executor(self.settings.executor, resources, first, sample, self.device)
        return self._executors[name]

    def past(self, records: Iterable[Mapping[str, Any]], name: str, seed: int) -> dict[int, Evaluation]:
        """The evaluations of a seed that an earlier start has made. Raises InputError when they are damaged."""
        past = read_history(records, self.space, seed)
        wanted = self.settings.rminas.observe + 1 if name == TRAINED else 0
        for evaluation in past.values():
            count = len(evaluation.outcome.trajectory)
            if (
                wanted
                and not evaluation.outcome.failed
                and not (0 < count <= wanted and (count == wanted) != evaluation.outcome.stopped)
            ):
                raise InputError(
                    f"the records of seed {seed} are damaged: evaluation {evaluation.index} holds {count} losses"
                )
        return past

    def shared(self) -> dict[str, Any]:
        """Of the summary: what all seeds have in common."""
        settings = self.settings
        executors = {name: executor.name for name, executor in self._executors.items()}
        return {
            "method": "RMI-NAS",
            "space": settings.space.name,
            "dataset": settings.data.name,
            "dataset_title": data_set(settings.data.name).title,
            **self.inputs.described(),
            "benchmark": self.accuracies.described(),
            "environment": environment(device_title(self.device)),
            "settings": nested(settings),
            "evaluator": settings.rminas.evaluator,
            "executor": next(iter(executors.values())) if len(executors) == 1 else executors,
        }

    def close(self) -> None:
        self.bar.close()
        for executor in self._executors.values():
            executor.close()
        if hasattr(self, "folder"):
            self.folder.close()


def _needs_images(name: str) -> bool:
    """Whether an evaluator may ask for images; a user's own does not when it is a function of the architecture."""
    return any(
        part not in WITHOUT_IMAGES and not isinstance(member, Evaluator) and words_of(member) != OF_ARCH
        for part, member in load_members(name).items()
    )


@contextmanager
def _open(settings: Config, name: str, names: Sequence[str], say: Say) -> Iterator[_Job]:
    job = _Job(settings, Path(settings.out_dir).expanduser() / name, names, say)
    try:
        yield job
    finally:
        job.close()


def rmi_settings(settings: Config) -> RmiSettings:
    """How candidates imitate the teacher, by the settings of a run."""
    from rminas.rmi import RmiSettings

    r = settings.rminas
    return RmiSettings(
        training=candidate_settings(r.observe, settings.optim, settings.train),
        batch_size=settings.train.batch_size,
        pool=r.pool,
        beta=r.loss_beta,
        hsic=r.hsic,
        teacher_mode=settings.teacher.mode,
        width=r.population,
    )


def candidate_settings(steps: int, optim: Optim, train: Train) -> CandidateSettings:
    """How candidates are trained, by the settings of a run."""
    from common.training.population import CandidateSettings

    return CandidateSettings(
        steps=steps,
        lr=optim.base_lr,
        momentum=optim.momentum,
        weight_decay=optim.weight_decay,
        cosine=optim.lr_policy == "cosine",
        grad_clip=optim.grad_clip,
        channels_last=train.channels_last,
        bf16=train.precision == "bf16",
    )


def make_executor(name: str, resources: Resources, evaluator: Evaluator, sample: Any, device: torch.device) -> Executor:
    """The executor called `name`. "auto": what is fastest for training candidates, one at a time for all else.

    On a GPU that is the fused network, where that of `sample` can be one. On a CPU separate networks are faster than a
    fused one (at 8, 16 and 32 px, in channels-last, by 1.4 to 2 times), and those go to processes.
    """
    if name == "auto":
        name = "serial"
        trains = any(leaf.name == TRAINED for leaf in leaves(evaluator))
        if trains and device.type == "cpu" and (resources.jobs or usable_cores()) > 1:
            name = "processes"
        elif evaluator.name == TRAINED and device.type != "cpu" and evaluator.fuses(sample):  # type: ignore[attr-defined]
            name = "together"
    made: Executor = EXECUTORS.load(name).of(resources)
    return made


def _search_seed(job: _Job, seed: int) -> SearchOutcome:
    settings, r = job.settings, job.settings.rminas
    evaluator = job.evaluator(r.evaluator, seed)
    cheap = job.evaluator(r.cheap, seed) if r.size or r.strategy == Screening.name else None
    past = job.past((record for record in job.records if record.get("stage") != FINAL), r.evaluator, seed)
    strategy = make_search(r, job.space, seed, cheap)
    done = _Progress(past, sum(bool(e.get("positive")) for e in job.records if e.get("seed") == seed))
    with ProgressBar(expected_evaluations(r, done.count, done.positives), f"seed {seed}", "cell") as bar:

        def keep(evaluation: Evaluation, history: History) -> None:
            positive = is_positive(strategy, evaluation, history)
            job.folder.append(evaluation.record(job.space, seed) | {"positive": positive})
            done.add(evaluation, positive)
            total = expected_evaluations(r, done.count, done.positives)
            bar.show(done.count, done.said(evaluation.phase, r.evaluator), total, before=done.count - 1)

        executor = job.executor(r.evaluator)
        finals = partial(_evaluate_finals, job, seed)
        return search(settings.rminas, job.space, evaluator, seed, cheap, executor, past, keep, finals, job.limits)


def _evaluate_finals(job: _Job, seed: int, archs: Sequence[Any]) -> History:
    name = job.settings.rminas.final
    past = job.past((record for record in job.records if record.get("stage") == FINAL), name, seed)
    with ProgressBar(len(archs), f"seed {seed}, {FINAL}", "cell") as bar:

        def keep(evaluation: Evaluation, history: History) -> None:
            job.folder.append({"stage": FINAL} | evaluation.record(job.space, seed))
            bar.show(evaluation.index + 1)

        return evaluate_list(archs, job.evaluator(name, seed), job.executor(name), past, keep)


def _evaluate_lists(job: _Job, names: Sequence[str], seed: int, archs: Sequence[Any]) -> dict[str, History]:
    """What every evaluator says of the architectures; those that can share passes through a network do."""
    from common.evaluators.training_free import TrainingFree

    past = {
        name: job.past((record for record in job.records if record.get("evaluator") == name), name, seed)
        for name in names
    }
    groups: dict[Any, list[str]] = {}
    for name in names:
        shares = any(isinstance(leaf, TrainingFree) for leaf in leaves(job.evaluator(name, seed)))
        groups.setdefault(frozenset(past[name]) if shares and len(past[name]) < len(archs) else name, []).append(name)
    made: dict[str, History] = {}
    for group in groups.values():
        made |= _evaluate_group(job, group, seed, archs, [past[name] for name in group])
    return {name: made[name] for name in names}


def _evaluate_group(
    job: _Job, names: Sequence[str], seed: int, archs: Sequence[Any], pasts: Sequence[Mapping[int, Evaluation]]
) -> dict[str, History]:
    """The same of evaluators of whose evaluations the same are left to make; each gets an equal share of the time."""
    parts = [job.evaluator(name, seed) for name in names]
    lone = len(parts) == 1
    past = pasts[0] if lone else {i: joined([past[i] for past in pasts]) for i in pasts[0]}
    done = _Progress(pasts[0])
    with ProgressBar(len(archs), f"seed {seed}, {', '.join(names)}", "cell") as bar:

        def keep(evaluation: Evaluation, history: History) -> None:
            shares = [evaluation] if lone else split(evaluation)
            for name, share in zip(names, shares, strict=True):
                job.folder.append({"evaluator": name} | share.record(job.space, seed))
            done.add(shares[0], None)
            bar.show(done.count, done.said("", names[0]), before=done.count - 1)

        evaluator = parts[0] if lone else Several(tuple(parts))
        history = evaluate_list(archs, evaluator, job.executor(names[0]), past, keep)
    shares = [[evaluation] if lone else split(evaluation) for evaluation in history]
    return {name: History(tuple(share[k] for share in shares)) for k, name in enumerate(names)}


class _Progress:
    """What a bar says of a seed's evaluations: how many, positives, and the best value."""

    def __init__(self, past: Mapping[int, Evaluation], positives: int = 0) -> None:
        self.count, self.positives = len(past), positives
        self.best = max((e.value for e in past.values() if not np.isnan(e.value)), default=-np.inf)
        self.judged = False

    def add(self, evaluation: Evaluation, positive: bool | None) -> None:
        self.count += 1
        self.positives += bool(positive)
        self.judged = positive is not None
        self.best = max(self.best, evaluation.value)

    def said(self, phase: str, evaluator: str) -> str:
        name, value = as_loss(evaluator, self.best)
        found = f"{self.positives} positives, " if self.judged else ""
        return f"{phase}{': ' if phase else ''}{found}{'lowest' if name == 'loss' else 'best'} {name} {value:.4f}"
