"""Everything that `python -m renas` does, as one function."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.benchmarks import load_benchmark
from common.budget import Budget
from common.devices import device_title, pick_device
from common.drawing import save_found
from common.errors import InputError
from common.execution import EXECUTORS, Executor, Resources
from common.predictors import Predictor, Ranker, load_predictor
from common.progress import ProgressBar
from common.runs import RunFolder, environment, write_atomic
from common.runs.arrays import read_npy
from common.runs.config import make_settings
from common.search import STRATEGIES
from renas.experiment import Experiment, PredictorChoice, SeedResult, check_experiment, run_seed, train_count
from renas.plots import write_plots
from renas.protocol import choose_columns, choose_seconds
from renas.report import check_record, summarize, terminal_report
from renas.settings import COUNT, EVOLVED, MOST_SEEDS, TOPK, EvolvedSettings

if TYPE_CHECKING:
    from common.benchmarks.csv_table import Frame
    from common.benchmarks.table import BenchmarkTable
    from common.spaces import SearchSpace

DEFAULT_PREDICTOR = "lenet"
FREE = ("data_path", "data")  # settings that another start of the same run may change: what the data are called now


@dataclass(frozen=True)
class RunResult:
    """A finished run, as it stands in its folder. `print(result)` shows the report.

    records: one a seed, see the folder's `evaluations.jsonl`. summary: means and deviations over the seeds.
    """

    experiment: Experiment
    records: list[dict[str, Any]]
    summary: dict[str, Any]
    folder: Path

    def __str__(self) -> str:
        return terminal_report(self.experiment, self.summary, self.folder)

    @property
    def found(self) -> list[str]:
        """The architecture that each seed found, as text."""
        return [record["found"]["arch"] for record in self.records]

    def scores(self, seed: int) -> np.ndarray:
        """(N,) the predicted scores of all rows of the table. Raises InputError where nothing was predicted."""
        return _load_scores(self.folder, seed, len(self.experiment.table))

    def predictor(self, seed: int) -> Ranker:
        """The predictor of a seed. Raises InputError where there was none."""
        choice, space = self.experiment.predictor, self.experiment.table.space
        if choice is None or not self.experiment.predicts:
            raise InputError(f"{self.folder}: --search {self.experiment.search} saves no predictor")
        return load_predictor(_predictor_file(self.folder, seed), choice.cls, choice.encoding, space)


def run(
    data: str | Path | Frame | BenchmarkTable | None = None,
    *,
    benchmark: str | None = None,
    dataset: str | None = None,
    space: SearchSpace | type[SearchSpace] | str | None = None,
    total_num: int | None = None,
    train_ratio: float | None = None,
    train_num: int | None = None,
    count: int = COUNT,
    budget: int | None = None,
    budget_seconds: float | None = None,
    seconds: str | None = None,
    protocol: str = "honest",
    label: str | None = None,
    report: str | None = None,
    predictor: str | type[Predictor] | None = None,
    encoding: str | None = None,
    settings: Mapping[str, Any] | None = None,
    search: str = TOPK,
    search_settings: Mapping[str, Any] | None = None,
    max_params: str | float | None = None,
    max_flops: str | float | None = None,
    max_latency: str | float | None = None,
    latency: str | Path | None = None,
    seed: int = 0,
    seeds: int = 1,
    jobs: int = 1,
    executor: str = "processes",
    ray_address: str = "",
    device: str = "auto",
    tracker: str = "",
    out: str | Path | None = None,
    tell: Callable[[str], object] = lambda said: None,
) -> RunResult:
    """Runs ReNAS over a table of trained architectures, or another search that it is compared with.

    Seeds that the run folder holds are not run again.

    Args:
        data, benchmark, dataset, space: as `load_benchmark` takes them (`benchmark` is its `kind`).
        total_num: use the first N rows only. train_ratio, train_num: architectures to train the predictor on.
        count: best-scored architectures that are evaluated after that. budget: architectures evaluated in all, by
            default those two together.
        budget_seconds: seconds of training that a strategy may spend, by the column `seconds` (by default the table's
            only one, see `renas.protocol.choose_seconds`), beside `budget` where that is given too.
        protocol, label, report: see `renas.protocol.choose_columns`.
        predictor, encoding, settings: as `make_predictor` takes them; by default lenet, or the strategy's own.
        search: topk (as published), ea (evolution on predicted scores), or a strategy of `common.search` or of one's
            own (`my_module:MyClass`), which spends the whole budget on true values. search_settings: its settings.
        max_params, max_flops, max_latency, latency: see `common.budget.Budget`. What is outside is left out of
            the table: never evaluated, and not among what ranks and regrets are of.
        seed, seeds: the first seed, and how many, counted up. jobs: of them at a time, in processes of their own that
            share the cores; another number of threads gives other rounding errors. executor: where they run
            (`common.execution`), ray_address: of the cluster for "ray".
        device: auto, cpu or cuda. tracker: see `RunFolder.track`.
        out: the run folder, by default runs/renas/<name made from the settings>.
        tell: gets a line for people now and then.
    Raises: InputError for bad input, before anything is trained or written.
    """
    torch_device = pick_device(device)
    for name, value in (("seeds", seeds), ("jobs", jobs), ("count", count)):
        if value < 1:
            raise InputError(f"{name} is {value}, expected at least 1")
    if seeds > MOST_SEEDS:
        raise InputError(f"seeds is {seeds}, expected at most {MOST_SEEDS:,}")
    table = load_benchmark(data, kind=benchmark, dataset=dataset, space=space)
    if total_num is not None:
        table = table.head(total_num)
    limits = Budget.of(max_params=max_params, max_flops=max_flops, max_latency=max_latency, latency=latency)
    table = limits.within(table)
    columns = choose_columns(table, dataset, protocol, label, report)
    own = search in (TOPK, EVOLVED)
    choice = None
    if own or predictor is not None:
        choice = PredictorChoice.of(predictor or DEFAULT_PREDICTOR, encoding, settings)
    elif encoding is not None or settings:
        raise InputError(f"encoding and settings are a predictor's: name the one that --search {search} is to use")
    labelled = int(np.sum(~np.isnan(columns.label.values)))
    timed = _check_time(budget_seconds, seconds, search)
    evolved, strategy_settings = EvolvedSettings(), None
    if search == EVOLVED:
        evolved = make_settings(EvolvedSettings, search_settings or {}, f"search {search}")
    elif own and search_settings:
        raise InputError(f"search {search} has no settings: {', '.join(search_settings)}")
    elif not own:
        settings_class = getattr(STRATEGIES.load(search), "Settings", None)
        if settings_class is not None:
            strategy_settings = make_settings(settings_class, search_settings or {}, f"search {search}")
    experiment = Experiment(
        table=table,
        columns=columns,
        protocol=protocol,
        predictor=choice,
        search=search,
        n_train=_train_count(
            table, labelled, train_num, train_ratio, count, labelled if timed and budget is None else budget, own
        ),
        count=count,
        evolved=evolved,
        strategy_settings=strategy_settings,
        seconds=choose_seconds(table, columns, seconds) if timed else None,
        budget_seconds=math.inf if budget_seconds is None else budget_seconds,
        limits=limits,
    )
    check_experiment(experiment)
    config = _config(experiment)
    where = {"data_path": table.source.path, "data": table.source.title}
    path = Path(out) if out is not None else Path("runs/renas") / _name(config)
    wanted = range(seed, seed + seeds)
    with RunFolder.open(path, where | config, free=FREE) as folder:
        done = {record["seed"] for record in folder.records(partial(check_record, experiment))}
        folder.track(tracker)
        missing = [each for each in wanted if each not in done]
        if len(missing) < len(wanted):
            tell(f"{path}: {len(wanted) - len(missing)} of {len(wanted)} seeds are already there")
        where_run = EXECUTORS.load(executor).of(Resources(jobs, ray_address))
        for result in _results(experiment, missing, wanted, torch_device.type, where_run):
            folder.check_place()
            _save(path, result)  # before the record: a recorded seed is complete
            folder.append({**result.record, "device": device_title(torch_device)})
        # As read back, so that the report of a resumed run is made from exactly what the files hold.
        by_seed = {record["seed"]: record for record in folder.records(partial(check_record, experiment))}
        records = [by_seed[each] for each in wanted]
        summary = summarize(experiment, records, _environment(device_title(torch_device)))
        folder.write_summary(summary)
        scores = _load_scores(path, records[0]["seed"], len(table)) if experiment.predicts else None
        write_plots(experiment, records, scores, path)
        if table.space is not None:
            save_found(table.space, {r["seed"]: table.arch(r["found"]["index"]) for r in records}, path)
    return RunResult(experiment, records, summary, path)


def _check_time(budget_seconds: float | None, seconds: str | None, search: str) -> bool:
    """Whether the budget is in seconds. Raises InputError for one that is not above 0, or that nothing is made of."""
    if budget_seconds is None:
        if seconds is not None:
            raise InputError(f"--seconds {seconds} is the column that --budget_seconds is counted in: give that too")
        return False
    if not budget_seconds > 0:
        raise InputError(f"--budget_seconds {budget_seconds:g}: must be above 0")
    if search in (TOPK, EVOLVED):
        raise InputError(f"--budget_seconds is for strategies; --search {search} trains on a number of architectures")
    return True


def _train_count(
    table: BenchmarkTable,
    labelled: int,
    train_num: int | None,
    train_ratio: float | None,
    count: int,
    budget: int | None,
    own: bool,
) -> int:
    """Architectures evaluated before the last `count`: those that ReNAS trains on."""
    if budget is None:
        return train_count(len(table), labelled, train_num, train_ratio)
    if train_num is not None or train_ratio is not None:
        raise InputError("--budget and --train_num or --train_ratio say the same: give one of them")
    if own:
        return train_count(len(table), labelled, budget - count, None)
    if budget < 1:
        raise InputError(f"--budget {budget}: at least 1 architecture must be evaluated")
    return budget - count


def _results(
    experiment: Experiment, missing: list[int], wanted: Iterable[int], device: str, executor: Executor
) -> Iterator[SeedResult]:
    """Finished seeds, one after the other or, of several jobs, as they finish."""
    total = len(list(wanted))
    with executor:
        if executor.one_at_a_time or (len(missing) < 2 and not executor.remote):
            for seed in missing:
                with _Progress(experiment, f"seed {seed} ({list(wanted).index(seed) + 1}/{total})") as progress:
                    result = run_seed(experiment, seed, device, on_step=progress)
                yield result
            return
        with ProgressBar(len(missing), "seeds", "seed") as bar:
            bar.show(0)  # the first to finish may take minutes
            for finished, (_, result) in enumerate(executor.map(_run_seed, (experiment, device), missing), start=1):
                yield result
                bar.show(finished)


def _run_seed(shared: tuple[Experiment, str], seed: int) -> SeedResult:
    experiment, device = shared
    return run_seed(experiment, seed, device)


# identity and files -------------------------------------------------------------------------------------------------


def _config(experiment: Experiment) -> dict[str, Any]:
    """The resolved settings that decide the result of a seed; seeds, device and folder are not among them."""
    table, columns, choice = experiment.table, experiment.columns, experiment.predictor
    source = asdict(table.source)
    if source["sha256"]:  # the same content under another name is the same
        del source["path"], source["title"]
    config: dict[str, Any] = {
        "method": "ReNAS",
        "space": table.space.name if table.space else "tensors",
        "source": source,
        "dataset": columns.report.dataset,
        "protocol": experiment.protocol,
        "label": columns.label.name,
        "report": columns.report.name,
        "n_total": len(table),
        "search": experiment.search,
    }
    if experiment.predicts:
        config |= {"n_train": experiment.n_train, "count": experiment.count}
    else:
        config["budget"] = experiment.budget
        if experiment.seconds is not None:
            config |= {"budget_seconds": experiment.budget_seconds, "seconds": experiment.seconds.name}
    if choice is not None:
        config["predictor"] = {"name": choice.name, "encoding": choice.encoding, "settings": _plain(choice.settings)}
    if experiment.search == EVOLVED:
        config["search_settings"] = asdict(experiment.evolved)
    elif experiment.strategy_settings is not None:
        config["search_settings"] = _plain(experiment.strategy_settings)
    if experiment.limits.given:
        config["limits"] = experiment.limits.given
    return config


def _plain(settings: Any) -> dict[str, Any]:
    return asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else {}


def _name(config: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    size = f"n{config['n_train']}" if "n_train" in config else f"{Path(config['search']).name}_{config['budget']}"
    words = (config["space"], config["dataset"] or config["report"], config["protocol"], size, digest)
    return "_".join(words).replace(":", ".").replace("/", ".")


def _environment(device: str) -> dict[str, Any]:
    import torch

    return environment(device) | {"torch_threads": torch.get_num_threads()}


def _predictor_file(folder: Path, seed: int) -> Path:
    return folder / "predictors" / f"seed_{seed}.npz"


def _scores_file(folder: Path, seed: int) -> Path:
    return folder / "scores" / f"seed_{seed}.npy"


def _save(folder: Path, result: SeedResult) -> None:
    seed = result.record["seed"]
    if result.scores is not None:
        write_atomic(_scores_file(folder, seed), partial(np.save, arr=result.scores, allow_pickle=False))
    if result.ranker is not None:
        result.ranker.save(_predictor_file(folder, seed))


def _load_scores(folder: Path, seed: int, count: int) -> np.ndarray:
    path = _scores_file(folder, seed)
    if not path.exists():
        raise InputError(f"{path} is gone, but its seed is recorded: remove the run folder and run again")
    try:
        scores = read_npy(path)
    except InputError:
        scores = np.empty(0)
    if scores.shape != (count,) or scores.dtype.kind != "f":
        raise InputError(f"{path} does not hold {count:,} scores: remove the run folder and run again")
    return scores


class _Progress:
    """One bar a seed over the stages of its search, each the same share of it."""

    def __init__(self, experiment: Experiment, title: str) -> None:
        stages = {TOPK: ["train", "score"], EVOLVED: ["train", "score", "search"]}.get(experiment.search, ["search"])
        self.done = dict.fromkeys(stages, 0.0)
        self.bar = ProgressBar(len(stages), title, form="{desc} |{bar}| {elapsed} {postfix}")

    def __call__(self, stage: str, done: float, tau: float) -> None:
        self.done[stage] = done
        said = f"{stage} {done:.0%}" + (f", train tau {tau:.3f}" if not np.isnan(tau) else "")
        self.bar.show(sum(self.done.values()), said)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
