"""The search loop: random cells, then what the forest proposes, until enough positives; then the vote.

The state of a search is the list of its evaluations and nothing else, so it goes on from any prefix of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import InputError
from common.metrics import kendall_tau, spearman
from common.spaces import SearchSpace
from common.training.population import Bounds, Finished
from rminas.config import Config, Rminas
from rminas.draws import rng_for
from rminas.model import LossModel
from rminas.race import Race, foretell
from rminas.sampler import ForestSampler, SamplerSettings, freeze_threshold
from rminas.size import Size
from rminas.task import Truth
from rminas.vote import VOTES, Votes

WARMUP, FOREST = "warmup", "forest"
Election = Callable[[Size, Sequence["Evaluation"], list[int], int, int], Any]


@dataclass(frozen=True)
class Evaluation:
    """One evaluated architecture.

    losses: float64, +inf where it diverged or was never trainable; (steps + 1,), fewer when it was stopped on the way.
    """

    index: int
    phase: str
    arch: Any
    losses: np.ndarray
    train_s: float
    propose_s: float
    stopped: bool = False

    @property
    def loss(self) -> float:
        """The loss after the last update, +inf for a candidate that was stopped."""
        return math.inf if self.stopped else float(self.losses[-1])

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
    size: Size
    scores: np.ndarray  # (n,) of the evaluations, lower is better: losses times what the size makes of them
    threshold: float  # of the scores
    positive: np.ndarray  # (n,) bool
    voters: list[int]  # indices of the evaluations that voted, lowest score first
    elected: dict[str, Any]  # by every rule of ELECTIONS
    found: Any  # by RMINAS.VOTE
    gave_up: str


def by_votes(votes: Votes) -> Election:
    """What the voters' codes speak for (published)."""

    def elect(size: Size, evaluations: Sequence[Evaluation], voters: list[int], seed: int, steps: int) -> Any:
        space = size.space
        codes = space.to_codes([evaluations[i].arch for i in voters])
        return space.most_voted(votes(codes, space.choices))

    return elect


def by_model(size: Size, evaluations: Sequence[Evaluation], voters: list[int], seed: int, steps: int) -> Any:
    """The least score that a model of all evaluations foretells; those that diverged count as the worst."""
    known = [e for e in evaluations if np.isfinite(e.losses[0])]
    logs = foretell([e.losses for e in known], steps)
    worst = float(logs[np.isfinite(logs)].max())
    archs = [e.arch for e in known]
    model = LossModel.fit(size.space, archs, np.where(np.isfinite(logs), logs, worst))
    return model.least(archs, rng_for(seed, "model"), size)


# How the result is chosen from the evaluations; also a name for RMINAS.VOTE.
ELECTIONS: dict[str, Election] = {**{rule: by_votes(votes) for rule, votes in VOTES.items()}, "model": by_model}

# Architectures, and the bounds of each (none: nobody is stopped) -> their trajectories, as they finish.
Evaluate = Callable[[Sequence[Any], Sequence[Bounds]], Iterator[Finished]]


def read_evaluations(
    records: Iterable[dict[str, Any]], space: SearchSpace, seed: int, steps: int
) -> dict[int, Evaluation]:
    """The evaluations of one seed out of a run's records, by index. Raises InputError for a damaged record."""
    found: dict[int, Evaluation] = {}
    for record in records:
        if record.get("seed") != seed:
            continue
        try:
            index = int(record["index"])
            losses = np.array([np.inf if loss is None else loss for loss in record["losses"]], dtype=np.float64)
            if index in found or not 1 <= len(losses) <= steps + 1:
                raise ValueError(f"evaluation {index} with {len(losses)} losses")
            timing = float(record["train_s"]), float(record["propose_s"])
            arch, stopped = space.parse(record["arch"]), len(losses) <= steps
            found[index] = Evaluation(index, record["phase"], arch, losses, *timing, stopped)
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
    evaluate: Evaluate,
    seed: int,
    past: Mapping[int, Evaluation] | None = None,
    on_evaluation: Callable[[Evaluation, bool | None], object] = lambda evaluation, positive: None,
) -> Searched:
    """Searches, taking from `past` what has been evaluated before; `on_evaluation` gets each new evaluation.

    The search goes in rounds. What a round holds and where its candidates are stopped depends on the rounds before it
    alone, so that it does not matter in which order its candidates finish, nor where a search was killed. The warm-up
    is one round (of many where candidates race, since the later ones are judged by the earlier); after it a round has
    RMINAS.ROUND candidates, 1 as published.

    Raises: InputError when no cell of the warm-up has a finite loss, or `past` holds other cells than are proposed.
    """
    r = config.rminas
    identity = space.canonical_key if r.isomorphic_once else space.format
    sampler = ForestSampler(space, SamplerSettings(r.rf_warmup, r.rf_thresrate, r.forest, r.candidates), seed, identity)
    race = Race(r.race, r.race_full)
    evaluations: list[Evaluation] = []
    gave_up = ""
    while True:
        index = len(evaluations)
        # From the first round alone: later ones are of candidates that were chosen, or stopped by their losses.
        random = evaluations[: _warmup_round(0, r)]
        size = Size.learnt(space, r.size, [e.arch for e in random], [e.loss for e in random])
        factors = np.exp(size.log_factors([e.arch for e in evaluations]))
        scores = np.array([e.loss for e in evaluations]) * factors
        threshold, positive = _judge(scores, r.rf_warmup, r.rf_thresrate)
        found = int(positive[r.rf_warmup :].sum())
        if index >= r.rf_warmup and found >= r.rf_succ:
            break
        if index >= r.max_evaluations:
            gave_up = f"{found} of {r.rf_succ} positives after {index} evaluations (RMINAS.MAX_EVALUATIONS)"
            break
        started = time.perf_counter()
        seen = {identity(evaluation.arch) for evaluation in evaluations}
        if index < r.rf_warmup:
            phase = WARMUP
            archs = sampler.warmup_round(index, _warmup_round(index, r), seen)
        else:
            phase, count = FOREST, min(r.round, r.max_evaluations - index)
            archs = sampler.propose(index, count, seen, [e.arch for e in evaluations], positive)
        if not archs:
            gave_up = f"{found} of {r.rf_succ} positives when no unevaluated cell turned up after {index} evaluations"
            break
        trajectories = [e.losses * factor for e, factor in zip(evaluations, factors, strict=True)]
        goal = math.log(threshold) if threshold > 0 and phase == FOREST else None
        bounds = race.bounds(trajectories, goal, r.rf_thresrate, r.observe)
        own = np.exp(size.log_factors(archs))
        each = [{step: bound / factor for step, bound in bounds.items()} for factor in own.tolist()] if bounds else []
        limits = [math.nan] * len(archs) if phase == WARMUP else (threshold / own).tolist()
        propose_s = (time.perf_counter() - started) / len(archs)

        def keep(evaluation: Evaluation, first: int = index, limits: list[float] = limits) -> None:
            limit = limits[evaluation.index - first]
            on_evaluation(evaluation, None if math.isnan(limit) else evaluation.loss < limit)

        evaluations += evaluate_round(index, phase, archs, propose_s, past or {}, evaluate, each, r.observe, keep)
    order = np.argsort(scores, kind="stable")
    voters = [int(i) for i in order if positive[i]][: r.top]
    elected = {rule: elect(size, evaluations, voters, seed, r.observe) for rule, elect in ELECTIONS.items()}
    return Searched(evaluations, size, scores, threshold, positive, voters, elected, elected[r.vote], gave_up)


def _warmup_round(index: int, r: Rminas) -> int:
    """Candidates of the warm-up's round that begins at `index`."""
    left = r.rf_warmup - index
    if not r.race:
        return left
    return min(left, r.race_full if index == 0 else max(r.round, r.race_full // 2))


def evaluate_round(
    first: int,
    phase: str,
    archs: Sequence[Any],
    propose_s: float,
    past: Mapping[int, Evaluation],
    evaluate: Evaluate,
    bounds: Sequence[Bounds],
    steps: int,
    on_evaluation: Callable[[Evaluation], object],
) -> list[Evaluation]:
    """The evaluations of `archs`, numbered from `first` on and in order; what `past` has of them is not computed again.

    Raises: InputError when `past` holds others under these numbers.
    """
    done = {index: past[index] for index in range(first, first + len(archs)) if index in past}
    for index, evaluation in done.items():
        if evaluation.arch != archs[index - first]:
            raise InputError(
                f"evaluation {index} in the records is of another cell than this search evaluates there: "
                "another version or setting made them; name another OUT_DIR or NAME"
            )
    missing = [index for index in range(first, first + len(archs)) if index not in done]
    last = time.perf_counter()
    waiting, theirs = ([its[index - first] for index in missing] if its else [] for its in (archs, bounds))
    for position, losses in evaluate(waiting, theirs) if missing else ():
        index, now = missing[position], time.perf_counter()
        # From one finish to the next: these add up to the time the round has taken, however many ran at once.
        stopped = len(losses) <= steps
        done[index] = Evaluation(index, phase, archs[index - first], losses, now - last, propose_s, stopped)
        on_evaluation(done[index])
        last = time.perf_counter()
    return [done[index] for index in sorted(done)]


def _judge(scores: np.ndarray, warmup: int, quantile: float) -> tuple[float, np.ndarray]:
    """The threshold, frozen after the warm-up, and which scores are positive; before it NaN, and none."""
    if not len(scores):
        return float("nan"), np.zeros(0, dtype=bool)
    threshold = freeze_threshold(scores[:warmup], quantile)
    if np.isnan(threshold) and len(scores) >= warmup:
        raise InputError(f"none of the {warmup} cells of the warm-up has a finite loss: lower OPTIM.BASE_LR")
    return threshold, scores < threshold


def summarize_seed(searched: Searched, truth: Truth, seed: int, config: Config) -> dict[str, Any]:
    """What a search found, for the run's summary; accuracies in percent, times in seconds."""
    evaluations = searched.evaluations
    loss = np.array([evaluation.loss for evaluation in evaluations])
    accuracy = np.array([truth.accuracy(evaluation.arch) for evaluation in evaluations])
    known, trained = ~np.isnan(accuracy), np.isfinite(loss)
    score = np.where(trained, -loss, -np.finfo(np.float64).max)
    judged = -searched.scores
    best = int(np.argmin(loss))
    return {
        "seed": seed,
        "found": truth.look_up(searched.found),
        "elected": {rule: truth.look_up(arch) for rule, arch in searched.elected.items()},
        "lowest_loss": {**truth.look_up(evaluations[best].arch), "loss": float(loss[best])},
        "evaluations": len(evaluations),
        "without_training": sum(bool(np.isinf(e.losses[0])) for e in evaluations),
        "stopped": sum(e.stopped for e in evaluations),
        "updates": sum(len(e.losses) - 1 for e in evaluations if np.isfinite(e.losses[0])),
        "positives": int(searched.positive[config.rminas.rf_warmup :].sum()),
        "voters": len(searched.voters),
        "gave_up": searched.gave_up,
        "threshold": searched.threshold,
        "search_s": float(sum(e.train_s + e.propose_s for e in evaluations)),
        "propose_s": float(sum(e.propose_s for e in evaluations)),
        "kendall_tau": kendall_tau(score[known], accuracy[known]),
        "spearman": spearman(score[known], accuracy[known]),
        "kendall_tau_trained": kendall_tau(score[known & trained], accuracy[known & trained]),
        # Of what the search went by: the same as above where the size has no weight.
        "kendall_tau_scores": kendall_tau(judged[known & trained], accuracy[known & trained]),
        "size_exponent": searched.size.exponent,
    }
