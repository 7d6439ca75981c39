"""One ReNAS experiment: sample cells, train the predictor on them, search with it, look up what was found."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from common.benchmarks.table import BenchmarkTable, FeatureSource
from common.encoding import FeatureTensor, encode
from common.errors import InputError
from common.metrics import kendall_tau, rank_of, spearman
from common.seeds import named_rngs
from common.spaces import TensorSpace
from renas.predictor import LeNetPredictor, LeNetSettings
from renas.protocol import Columns
from renas.search import EvolutionSettings, distinct_rows, evolve

if TYPE_CHECKING:
    import torch

SEARCHES = ("topk", "ea")
PAPER_TRAIN_NUM = 424  # 0.1 % of NAS-Bench-101, the paper's budget


@dataclass(frozen=True)
class Experiment:
    """What every seed of a run shares."""

    table: BenchmarkTable
    columns: Columns
    protocol: str  # one of renas.protocol.PROTOCOLS
    parts: tuple[str, ...]
    n_train: int
    count: int  # candidates whose true accuracy is looked up after the search
    train: LeNetSettings
    search: str
    evolution: EvolutionSettings

    @property
    def features(self) -> FeatureSource:
        """The table's feature tensors: prepared ones where the table brings them, else encoded on the fly."""
        return FeatureTensor(",".join(self.parts)).source(self.table)


@dataclass(frozen=True)
class SeedResult:
    """A finished seed: its record (strict JSON) and the scores of all architectures, (N,) float32."""

    record: dict[str, Any]
    scores: np.ndarray


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
    table = experiment.table
    path, columns = table.source.path, experiment.columns
    if table.prepared is None and not isinstance(table.space, TensorSpace):
        title = table.space.title if table.space else "it"
        raise InputError(f"{path}: {title} has no feature tensors, which the predictor needs")
    _ = experiment.features  # the parts must be there
    labelled, reported = (~np.isnan(column.values) for column in (columns.label, columns.report))
    both = int(np.sum(labelled & reported))
    if not both:
        raise InputError(f"{path}: no architecture has both {columns.label.name} and {columns.report.name}")
    if int(reported.sum()) - min(experiment.n_train, both) < 2:
        raise InputError(
            f"{path}: {columns.report.name} is known of {int(reported.sum()):,} architectures only: with "
            f"{experiment.n_train:,} to train on, at least 2 must be left to test on"
        )


def run_seed(
    experiment: Experiment,
    seed: int,
    device: torch.device,
    on_step: Callable[[str, int, float], object] = lambda stage, count, value: None,
) -> SeedResult:
    """Runs one seed; `on_step(stage, count, value)` reports progress of the stages train, score and search."""
    table, columns = experiment.table, experiment.columns
    rngs = named_rngs(seed, "sample", "train", "search")
    label, report = columns.label.values, columns.report.values
    features = experiment.features
    labelled = np.flatnonzero(~np.isnan(label))
    trained = np.sort(rngs["sample"].choice(labelled, size=experiment.n_train, replace=False))

    started = time.perf_counter()
    tensors = features.rows(trained)
    _check_tensors(experiment, trained, tensors)
    predictor = LeNetPredictor(experiment.train)
    predictor.device = device.type
    predictor.fit(tensors, label[trained], rngs["train"], on_step=lambda done, tau: on_step("train", 1, tau))
    train_s = time.perf_counter() - started

    started = time.perf_counter()
    scores = predictor.score(features, on_scored=lambda count: on_step("score", count, math.nan))
    score_s = time.perf_counter() - started
    unscored = np.flatnonzero(~np.isfinite(scores))[:1]  # one will do: where the training diverged they are all
    _check_tensors(experiment, unscored, features.rows(unscored))

    started = time.perf_counter()
    searched: dict[str, Any] = {}
    ranked: Iterable[int]
    if experiment.search == "ea":
        space = table.space
        assert isinstance(space, TensorSpace)
        evolved = evolve(
            space,
            lambda archs: predictor.predict(encode(space, space.to_codes(archs), experiment.parts)),
            experiment.evolution,
            rngs["search"],
            on_scored=lambda count: on_step("search", count, math.nan),
        )
        ranked = (row for arch in evolved.archs if (row := table.index_of(arch)) is not None)
        searched = {
            "predictor_calls": len(evolved.archs),
            "best_score_after_round": evolved.best_after,
            "gave_up": evolved.gave_up,
        }
    else:
        ranked = np.argsort(-scores, kind="stable")
    usable = ~np.isnan(label) & ~np.isnan(report)
    if experiment.protocol == "demo":  # the best scored as they come, cells of the training sample among them
        candidates = list(islice((int(row) for row in ranked if usable[row]), experiment.count))
        evaluated = candidates
    else:
        candidates = distinct_rows(ranked, experiment.count, usable, table.key, known=trained)
        evaluated = [*candidates, *(int(row) for row in trained if usable[row])]
    search_s = time.perf_counter() - started
    if not evaluated:
        raise InputError(
            f"no architecture to choose from has both {columns.label.name} and {columns.report.name}: raise --count"
        )
    # An architecture trained for the predictor is as good a find as one that the predictor proposed.
    found = max(evaluated, key=lambda row: label[row])
    best_trained = max((int(row) for row in trained if usable[row]), key=lambda row: label[row], default=None)

    tested = np.ones(len(table), dtype=bool)
    tested[trained] = False
    tested &= ~np.isnan(report)
    tested_labelled = tested & ~np.isnan(label)
    tau = kendall_tau(scores[tested], report[tested])
    if np.array_equal(tested, tested_labelled):
        tau_labelled = tau
    else:
        tau_labelled = kendall_tau(scores[tested_labelled], report[tested_labelled])
    record = {
        "seed": seed,
        "kendall_tau": tau,
        "spearman": spearman(scores[tested], report[tested]),
        "n_test": int(tested.sum()),
        # The same over the architectures that have a label: other papers leave the degenerate cells out.
        "kendall_tau_labelled": tau_labelled,
        "n_test_labelled": int(tested_labelled.sum()),
        "found": _looked_up(experiment, found),
        "proposed_acc": float(np.mean(report[candidates])) if candidates else math.nan,  # of the candidates alone
        "candidates": [{**_looked_up(experiment, row), "score": float(scores[row])} for row in candidates],
        "best_trained": None if best_trained is None else _looked_up(experiment, best_trained),
        "trained": trained.tolist(),
        **predictor.details(),
        "train_s": train_s,
        "score_s": score_s,
        "search_s": search_s,
        **searched,
    }
    return SeedResult(record, scores)


def _check_tensors(experiment: Experiment, rows: np.ndarray, tensors: np.ndarray) -> None:
    """Raises InputError naming the first of `rows` whose tensor is not finite in the predictor's float32."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(tensors.astype(np.float32)).all(axis=(1, 2, 3))
    wrong = rows[~finite]
    if len(wrong):
        path = experiment.table.source.path
        raise InputError(f"{path}: row {wrong[0]}: its feature tensor holds values that are not finite in float32")


def _looked_up(experiment: Experiment, row: int) -> dict[str, Any]:
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
        "valid_acc": float(valid.values[row]) if valid.split == "valid" else math.nan,
        "test_acc": float(report[row]),
        "rank": rank,
        "rank_percent": 100 * rank / int(np.sum(~np.isnan(report))),
        "regret": float(np.nanmax(report) - report[row]),
    }
