"""One experiment: which table, columns, predictor and search; and one seed of it, from the sample to what was found."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from common.benchmarks.table import BenchmarkTable, Column
from common.budget import Budget
from common.encoding import make_encoding
from common.errors import InputError
from common.evaluators.table import TableEvaluator
from common.metrics import hypervolume, kendall_tau, rank_of, spearman
from common.predictors import Predictor, Ranker, make_predictor
from common.search import Evaluation, History, Pool, Strategy, make_strategy, run_search
from common.search.pareto import ParetoSettings, code_costs, describe_front
from common.search.time_limit import TimeLimit
from renas.protocol import Columns
from renas.settings import EVOLVED, TOPK, EvolvedSettings
from renas.topk import PROPOSED, SAMPLED, OnStep, PredictorEvolution, PredictorTopK, RowEvaluator

PAPER_TRAIN_NUM = 424  # 0.1 % of NAS-Bench-101, the paper's budget


@dataclass(frozen=True)
class PredictorChoice:
    """A predictor that can be made afresh for every seed.

    name: registered, or an import path. encoding: as `make_encoding` takes it. settings: of the class's `Settings`.
    """

    name: str
    cls: type[Predictor]
    encoding: str
    settings: Any

    @classmethod
    def of(
        cls, predictor: str | type[Predictor], encoding: str | None = None, settings: Mapping[str, Any] | None = None
    ) -> PredictorChoice:
        """Arguments as of `make_predictor`. Raises InputError as that does."""
        made = make_predictor(predictor, encoding, **(settings or {}))
        name = predictor if isinstance(predictor, str) else f"{predictor.__module__}:{predictor.__qualname__}"
        # An encoding of one's own is known by its import path only.
        described = encoding if encoding and ":" in encoding else made.encoding.describe()
        return cls(name, type(made.predictor), described, made.predictor.settings)

    def make(self, device: str = "auto") -> Ranker:
        predictor = self.cls(self.settings)
        predictor.device = device
        return Ranker(predictor, make_encoding(self.encoding))


@dataclass(frozen=True)
class Experiment:
    """What every seed of a run shares.

    search: TOPK or EVOLVED, which train the predictor on `n_train` architectures and then evaluate `count` more; or a
    strategy of `common.search` (or an import path), which chooses all `budget` architectures that it evaluates, or
    fewer where `budget_seconds` of the column `seconds` are spent before.
    """

    table: BenchmarkTable
    columns: Columns
    protocol: str  # one of renas.settings.PROTOCOLS
    predictor: PredictorChoice | None  # None: the strategy's own
    search: str
    n_train: int
    count: int
    evolved: EvolvedSettings = field(default_factory=EvolvedSettings)
    strategy_settings: Any = None
    seconds: Column | None = None  # what an evaluation costs, of `budget_seconds`; None: one costs one of `budget`
    budget_seconds: float = math.inf
    limits: Budget = Budget()  # noqa: RUF009 (it is frozen): what the table was left within

    @property
    def predicts(self) -> bool:
        """Whether it is one of ReNAS's own searches, whose predictor scores all rows."""
        return self.search in (TOPK, EVOLVED)

    @property
    def budget(self) -> int:
        """Architectures evaluated."""
        return self.n_train + self.count

    @cached_property
    def labelled(self) -> np.ndarray:
        """(N,) bool: rows that may be trained on."""
        return ~np.isnan(self.columns.label.values)

    @cached_property
    def usable(self) -> np.ndarray:
        """(N,) bool: rows that may be chosen, because both label and report are known."""
        return self.labelled & ~np.isnan(self.columns.report.values)

    @cached_property
    def pool(self) -> Pool:
        """What strategies choose from: the usable rows."""
        return Pool.of_table(self.table, np.flatnonzero(self.usable))

    @property
    def where(self) -> str:
        return self.table.source.path or self.table.source.title


@dataclass(frozen=True)
class SeedResult:
    """A finished seed: its record (strict JSON); the scores (N,) of all rows and the predictor, where there was one."""

    record: dict[str, Any]
    scores: np.ndarray | None = None
    ranker: Ranker | None = None


def train_count(table_size: int, labelled: int, train_num: int | None, train_ratio: float | None) -> int:
    """How many architectures to train on, from the flags.

    floor(ratio * N) as in the demo (its default 0.001 gives 423 of 423,624). With neither flag, a benchmark smaller
    than NAS-Bench-101 gets the paper's 424 architectures (at most half of those that have a label), since 0.1 % of
    it would be a handful.

    Raises: InputError when fewer than 2 would be left to train on or none to test on.
    """
    if train_num is not None:
        asked, how = train_num, f"--train_num {train_num}"
    elif train_ratio is not None:
        if not 0 < train_ratio <= 1:
            raise InputError(f"--train_ratio {train_ratio:g}: must be above 0 and at most 1")
        asked, how = math.floor(table_size * train_ratio), f"--train_ratio {train_ratio:g} of {table_size:,}"
    else:
        small = min(PAPER_TRAIN_NUM, labelled // 2)
        asked, how = max(math.floor(table_size * 0.001), small), "the default"
    if asked < 2:
        raise InputError(f"{how} gives {asked} training architectures: at least 2 are needed to compare any")
    if asked > labelled or asked > table_size - 2:
        raise InputError(
            f"{how} gives {asked:,} training architectures, but only {labelled:,} of {table_size:,} have a label, and "
            "at least 2 must be left to test on"
        )
    return asked


def check_experiment(experiment: Experiment) -> None:
    """Raises InputError, before anything is trained or written, for an experiment that could not be finished."""
    where, columns = experiment.where, experiment.columns
    if not experiment.usable.any():
        raise InputError(f"{where}: no architecture has both {columns.label.name} and {columns.report.name}")
    if experiment.search != TOPK and experiment.table.space is None:
        raise InputError(
            f"{where}: --search {experiment.search} needs architectures to mutate, this holds tensors only"
        )
    if not experiment.predicts:
        make_search(experiment, 0, "cpu")  # the strategy must be there and take what it is given
        if experiment.seconds is None and experiment.budget > len(experiment.pool):
            raise InputError(
                f"{where}: {experiment.budget:,} architectures cannot be evaluated: it holds "
                f"{len(experiment.pool):,} to choose from, isomorphic ones counted once; lower --budget"
            )
        return
    assert experiment.predictor is not None
    ranker = experiment.predictor.make()
    ranker.predictor.check(ranker.encoding.source(experiment.table).shape)
    reported = int(np.sum(~np.isnan(columns.report.values)))
    if reported - min(experiment.n_train, int(experiment.usable.sum())) < 2:
        raise InputError(
            f"{where}: {columns.report.name} is known of {reported:,} architectures only: with "
            f"{experiment.n_train:,} to train on, at least 2 must be left to test on"
        )


def run_seed(
    experiment: Experiment, seed: int, device: str = "auto", on_step: OnStep = lambda stage, done, tau: None
) -> SeedResult:
    """Runs one seed: ReNAS as published, with whatever predictor the experiment has, or another strategy.

    `on_step` is told the share done of the stages train, score and search.
    """
    if not experiment.predicts:
        return _run_strategy(experiment, seed, device, on_step)
    search = make_topk(experiment, seed, device, on_step)
    history = run_search(search, RowEvaluator(experiment.columns.label.values), experiment.budget).history
    sampled, proposed = ([e.arch for e in history if e.phase == phase] for phase in (SAMPLED, PROPOSED))
    # An architecture trained for the predictor is as good a find as one that the predictor proposed, but in the demo.
    found = best_row(experiment, proposed if experiment.protocol == "demo" else [*proposed, *sampled])
    if found is None:
        names = f"{experiment.columns.label.name} and {experiment.columns.report.name}"
        raise InputError(f"no architecture to choose from has both {names}: raise --count")
    report = experiment.columns.report.values
    record = {
        "seed": seed,
        **agreement(experiment, search.scores, sampled),
        "found": look_up(experiment, found),
        "proposed_acc": float(np.mean(report[proposed])) if proposed else math.nan,  # of the candidates alone
        "candidates": [{**look_up(experiment, row), "score": float(search.scores[row])} for row in proposed],
        "best_trained": None if (best := best_row(experiment, sampled)) is None else look_up(experiment, best),
        "trained": sorted(sampled),
        "evaluated": [e.arch for e in history],
        **search.ranker.predictor.details(),
        **{f"{stage}_s": seconds for stage, seconds in search.seconds.items()},
        **search.notes,
    }
    return SeedResult(record, search.scores, search.ranker)


def make_topk(experiment: Experiment, seed: int, device: str, on_step: OnStep) -> PredictorTopK:
    assert experiment.predictor is not None
    parts = (
        experiment.table,
        seed,
        experiment.predictor.make(device),
        experiment.n_train,
        experiment.count,
        experiment.labelled,
        experiment.usable,
        experiment.protocol == "demo",
        on_step,
    )
    return PredictorEvolution(experiment.evolved, *parts) if experiment.search == EVOLVED else PredictorTopK(*parts)


def _run_strategy(experiment: Experiment, seed: int, device: str, on_step: OnStep) -> SeedResult:
    """A search on true evaluations from the first to the last."""
    started = time.perf_counter()

    def tell(evaluation: Evaluation, history: History) -> None:
        on_step("search", (evaluation.index + 1) / experiment.budget, math.nan)

    evaluator = TableEvaluator(experiment.table, experiment.columns.label.name)
    search = run_search(make_search(experiment, seed, device), evaluator, experiment.budget, on_evaluation=tell)
    rows = [_row_of(experiment, evaluation.arch) for evaluation in search.history]
    found = best_row(experiment, rows)
    if found is None:
        raise InputError(f"--search {experiment.search}: evaluated nothing that has a value ({search.ended})")
    record = {
        "seed": seed,
        "found": look_up(experiment, found),
        "evaluated": rows,
        "phases": [evaluation.phase for evaluation in search.history],
        "ended": search.ended,
        "search_s": time.perf_counter() - started,
    }
    if experiment.seconds is not None:
        record |= {"evaluations": len(rows), "spent_seconds": float(experiment.seconds.values[rows].sum())}
    if isinstance(experiment.strategy_settings, ParetoSettings):
        record["front"] = front_of(experiment, rows, experiment.strategy_settings.cost)
    return SeedResult(record)


def front_of(experiment: Experiment, rows: Sequence[int], kind: str) -> dict[str, Any]:
    """The front of evaluated rows by the label, as `describe_front` has it, each member with its reported value too.

    share: of the hypervolume of the front of all usable rows, from their median label and highest cost.
    """
    table, label = experiment.table, experiment.columns.label.values
    assert table.space is not None  # checked when the experiment was made
    assert table.codes is not None
    front = describe_front(table.space, [table.arch(row) for row in rows], label[list(rows)], kind)
    for member in front["members"]:
        row = table.index_of(table.space.parse(member["arch"]))
        member["report"] = float(experiment.columns.report.values[row])
    usable = np.flatnonzero(experiment.usable)
    costs = code_costs(table.space, table.codes, kind)
    reference = float(np.median(label[usable])), float(costs[usable].max())
    found, whole = (hypervolume(label[those], costs[those], *reference) for those in (np.array(rows), usable))
    return front | {"share": found / whole if whole else math.nan}


def make_search(experiment: Experiment, seed: int, device: str) -> Strategy:
    """The strategy of a search on true evaluations. Raises InputError for one that does not take what it is given."""
    table, choice = experiment.table, experiment.predictor
    assert table.space is not None  # checked when the experiment was made
    strategy = make_strategy(
        experiment.search,
        table.space,
        seed,
        pool=experiment.pool,
        settings=experiment.strategy_settings,
        predictor=None if choice is None else choice.make(device),
    )
    if experiment.seconds is None:
        return strategy
    seconds = experiment.seconds.values[np.flatnonzero(experiment.usable)[experiment.pool.rows]]
    return TimeLimit(strategy, lambda arch: float(seconds[experiment.pool.index(arch)]), experiment.budget_seconds)


def best_row(experiment: Experiment, rows: Sequence[int]) -> int | None:
    """The row with the best label among those that have both label and report, the first of equals; None if none."""
    label = experiment.columns.label.values
    return max((int(row) for row in rows if experiment.usable[row]), key=lambda row: label[row], default=None)


def agreement(experiment: Experiment, scores: np.ndarray, trained: Sequence[int]) -> dict[str, Any]:
    """How well the scores order what was not trained on, by the reported column.

    Once more over the architectures that have a label: other papers leave the degenerate cells out.
    """
    report = experiment.columns.report.values
    tested = ~np.isnan(report)
    tested[list(trained)] = False
    labelled = tested & experiment.labelled
    tau = kendall_tau(scores[tested], report[tested])
    same = np.array_equal(tested, labelled)
    return {
        "kendall_tau": tau,
        "spearman": spearman(scores[tested], report[tested]),
        "n_test": int(tested.sum()),
        "kendall_tau_labelled": tau if same else kendall_tau(scores[labelled], report[labelled]),
        "n_test_labelled": int(labelled.sum()),
    }


def look_up(experiment: Experiment, row: int) -> dict[str, Any]:
    """What the table knows of an architecture, accuracies in percent; rank 1 is the best reported value."""
    table, columns = experiment.table, experiment.columns
    report = columns.report.values
    valid = columns.label
    if valid.split != "valid":  # trained on test labels: still show a validation accuracy where there is one
        valid = next(iter(table.accuracies(columns.report.dataset, "valid")), columns.label)
    rank = rank_of(report[row], report)
    return {
        "arch": table.arch_text(row),
        "index": row,
        "label": float(columns.label.values[row]),
        "valid_acc": float(valid.values[row]) if valid.split == "valid" else math.nan,
        "test_acc": float(report[row]),
        "rank": rank,
        "rank_percent": 100 * rank / int(np.sum(~np.isnan(report))),
        "regret": float(np.nanmax(report) - report[row]),
    }


def _row_of(experiment: Experiment, arch: Any) -> int:
    row = experiment.table.index_of(arch)
    assert row is not None  # the pool holds the table's own
    return row
