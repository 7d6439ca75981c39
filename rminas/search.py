"""The search loop: random cells, then what the forest proposes, until enough positives; then the vote.

The state of a search is the list of its evaluations and nothing else, so it goes on from any prefix of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import InputError
from common.metrics import kendall_tau, spearman
from common.spaces import SearchSpace
from rminas.config import Config
from rminas.sampler import ForestSampler, SamplerSettings, freeze_threshold
from rminas.task import Truth
from rminas.vote import VOTES

WARMUP, FOREST = "warmup", "forest"


@dataclass(frozen=True)
class Evaluation:
    """One evaluated architecture. losses: (steps + 1,) float64, +inf where it diverged or was never trainable."""

    index: int
    phase: str
    arch: Any
    losses: np.ndarray
    train_s: float
    propose_s: float

    @property
    def loss(self) -> float:
        """The score, lower is better: the loss after the last update."""
        return float(self.losses[-1])

    def record(self, space: SearchSpace, seed: int, positive: bool | None) -> dict[str, Any]:
        """As a line of the run's records; `positive` is None as long as no threshold is known."""
        return {
            "seed": seed,
            "index": self.index,
            "phase": self.phase,
            "arch": space.format(self.arch),
            "loss": self.loss,
            "positive": positive,
            "losses": self.losses,
            "train_s": self.train_s,
            "propose_s": self.propose_s,
        }


@dataclass(frozen=True)
class Searched:
    """A finished search. `gave_up` says why it ended before enough positives were found; empty if it did not."""

    evaluations: list[Evaluation]
    threshold: float
    positive: np.ndarray  # (n,) bool, of the evaluations
    voters: list[int]  # indices of the evaluations that voted, lowest loss first
    found: Any
    gave_up: str


def read_evaluations(records: Iterable[dict[str, Any]], space: SearchSpace, seed: int, steps: int) -> list[Evaluation]:
    """The evaluations of one seed out of a run's records, in order. Raises InputError when they are not 0, 1, 2, ..."""
    found: list[Evaluation] = []
    for record in records:
        if record.get("seed") != seed:
            continue
        try:
            losses = np.array([np.inf if loss is None else loss for loss in record["losses"]], dtype=np.float64)
            if record["index"] != len(found) or losses.shape != (steps + 1,):
                raise ValueError(f"evaluation {record['index']} with {len(losses)} losses")
            timing = float(record["train_s"]), float(record["propose_s"])
            found.append(Evaluation(record["index"], record["phase"], space.parse(record["arch"]), losses, *timing))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the records of seed {seed} are damaged after {len(found)} evaluations ({error})"
            ) from None
    return found


def check_reachable(config: Config, space: SearchSpace) -> None:
    """Raises InputError when the bounds of the search leave no room for the positives that are asked for."""
    r = config.rminas
    needed = r.rf_warmup + r.rf_succ
    if needed > r.max_evaluations:
        left = max(r.max_evaluations - r.rf_warmup, 0)
        raise InputError(
            f"RMINAS.RF_SUCC {r.rf_succ} can never be reached: RF_WARMUP {r.rf_warmup} leaves {left} of "
            f"MAX_EVALUATIONS {r.max_evaluations}; raise it to {needed} at least"
        )
    if space.size is not None and needed > space.size:
        raise InputError(
            f"RMINAS.RF_SUCC {r.rf_succ} can never be reached: RF_WARMUP and RF_SUCC ask for {needed} cells, "
            f"{space.title} has {space.size}"
        )


def search(
    config: Config,
    space: SearchSpace,
    evaluate: Callable[[Any], np.ndarray],
    seed: int,
    past: Sequence[Evaluation] = (),
    on_evaluation: Callable[[Evaluation, bool | None], object] = lambda evaluation, positive: None,
) -> Searched:
    """Searches from the evaluations in `past` on; `on_evaluation` gets each new one.

    Args: evaluate: from an architecture to its trajectory, (steps + 1,).
    Raises: InputError when no cell of the warm-up has a finite loss.
    """
    r = config.rminas
    identity = space.canonical_key if r.isomorphic_once else space.format
    sampler = ForestSampler(space, SamplerSettings(r.rf_warmup, r.rf_thresrate, r.forest, r.candidates), seed, identity)
    evaluations = list(past)
    seen = {identity(evaluation.arch) for evaluation in evaluations}
    gave_up = ""
    while True:
        index = len(evaluations)
        threshold, positive = _judge(evaluations, r.rf_warmup, r.rf_thresrate)
        found = int(positive[r.rf_warmup :].sum())
        if index >= r.rf_warmup and found >= r.rf_succ:
            break
        if index >= r.max_evaluations:
            gave_up = f"{found} of {r.rf_succ} positives after {index} evaluations (RMINAS.MAX_EVALUATIONS)"
            break
        started = time.perf_counter()
        if index < r.rf_warmup:
            phase, arch = WARMUP, sampler.warmup(index, seen)
        else:
            phase, arch = FOREST, sampler.propose(index, seen, [e.arch for e in evaluations], positive)
        if arch is None:
            gave_up = f"{found} of {r.rf_succ} positives when no unevaluated cell turned up after {index} evaluations"
            break
        propose_s = time.perf_counter() - started
        started = time.perf_counter()
        losses = evaluate(arch)
        evaluation = Evaluation(index, phase, arch, losses, time.perf_counter() - started, propose_s)
        evaluations.append(evaluation)
        seen.add(identity(arch))
        on_evaluation(evaluation, None if phase == WARMUP else evaluation.loss < threshold)
    order = np.argsort([evaluation.loss for evaluation in evaluations], kind="stable")
    voters = [int(i) for i in order if positive[i]][: r.top]
    codes = space.to_codes([evaluations[i].arch for i in voters])
    return Searched(evaluations, threshold, positive, voters, space.elect(VOTES[r.vote](codes, space.choices)), gave_up)


def _judge(evaluations: Sequence[Evaluation], warmup: int, quantile: float) -> tuple[float, np.ndarray]:
    """The threshold, frozen after the warm-up, and which evaluations are positive; before it NaN, and none."""
    losses = np.array([evaluation.loss for evaluation in evaluations])
    if not len(losses):
        return float("nan"), np.zeros(0, dtype=bool)
    threshold = freeze_threshold(losses[:warmup], quantile)
    if np.isnan(threshold) and len(losses) >= warmup:
        raise InputError(f"none of the {warmup} cells of the warm-up has a finite loss: lower OPTIM.BASE_LR")
    return threshold, losses < threshold


def summarize_seed(searched: Searched, truth: Truth, seed: int, config: Config) -> dict[str, Any]:
    """What a search found, for the run's summary; accuracies in percent, times in seconds."""
    evaluations = searched.evaluations
    loss = np.array([evaluation.loss for evaluation in evaluations])
    accuracy = np.array([truth.accuracy(evaluation.arch) for evaluation in evaluations])
    known, trained = ~np.isnan(accuracy), np.isfinite(loss)
    score = np.where(trained, -loss, -np.finfo(np.float64).max)
    best = int(np.argmin(loss))
    return {
        "seed": seed,
        "found": truth.look_up(searched.found),
        "lowest_loss": {**truth.look_up(evaluations[best].arch), "loss": float(loss[best])},
        "evaluations": len(evaluations),
        "without_training": sum(bool(np.isinf(e.losses[0])) for e in evaluations),
        "positives": int(searched.positive[config.rminas.rf_warmup :].sum()),
        "voters": len(searched.voters),
        "gave_up": searched.gave_up,
        "threshold": searched.threshold,
        "search_s": float(sum(e.train_s + e.propose_s for e in evaluations)),
        "propose_s": float(sum(e.propose_s for e in evaluations)),
        "kendall_tau": kendall_tau(score[known], accuracy[known]),
        "spearman": spearman(score[known], accuracy[known]),
        "kendall_tau_trained": kendall_tau(score[known & trained], accuracy[known & trained]),
    }
