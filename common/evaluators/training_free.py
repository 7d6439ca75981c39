"""Training-free scores as evaluators: an untrained network, one batch, a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome
from common.evaluators.composite import Composite, leaves
from common.evaluators.context import Context, build_seeded
from common.evaluators.own import told_of
from common.evaluators.passes import Score, evaluate_scores
from common.seeds import rng_for
from common.spaces.base import SearchSpace


@dataclass(frozen=True, eq=False)
class TrainingFree(Evaluator):
    """A score of the untrained network of an architecture.

    The network is float32 and in train mode, on x's device; its weights, and what a score draws, depend on the seed and
    the architecture alone. An architecture whose input does not reach its output gets -inf and no network is built; so
    does one whose score is not a finite number.

    Attributes: score: (network, x, y) -> float, higher is better. x: (B, 3, H, W) float32, y: (B,) int64.
    """

    name: str
    score: Score
    space: SearchSpace[Any]
    seed: int
    x: Tensor
    y: Tensor

    @classmethod
    def make(cls, context: Context, name: str, score: Score) -> TrainingFree:
        """With a context's space and seed, on as many of its images as the setting `batch_size` of `name` says."""
        size = context.settings.get(name, {}).get("batch_size", context.batch_size)
        return cls(name, score, context.space, context.seed, *context.batch(size))

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        return evaluate_each([self], arch)[0]


def evaluate_each(evaluators: Sequence[Evaluator], arch: Any) -> list[Outcome]:
    """The outcomes that several evaluators give one architecture, the same as one by one.

    Training-free scores of the same batch and seed, parts of composites among them, share the network, and as many
    passes through it as they can.
    """
    asked = [leaf for evaluator in evaluators for leaf in leaves(evaluator)]
    found: dict[int, Outcome] = {}
    for leaf in asked:
        if id(leaf) in found:
            continue
        if not isinstance(leaf, TrainingFree):
            found[id(leaf)] = leaf.evaluate(arch)
            continue
        alike = [e for e in asked if isinstance(e, TrainingFree) and _same_task(e, leaf)]
        found |= {id(e): Outcome(value) for e, value in zip(alike, _values(alike, arch), strict=True)}

    def outcome(evaluator: Evaluator) -> Outcome:
        if isinstance(evaluator, Composite):
            return evaluator.join([outcome(part) for part in evaluator.parts])
        return found[id(evaluator)]

    return [outcome(evaluator) for evaluator in evaluators]


def _same_task(a: TrainingFree, b: TrainingFree) -> bool:
    return a.space is b.space and a.seed == b.seed and a.x is b.x and a.y is b.y


def _values(evaluators: Sequence[TrainingFree], arch: Any) -> list[float]:
    """The values of evaluators that differ in their scores only."""
    first = evaluators[0]
    space, seed, x = first.space, first.seed, first.x
    if not space.reaches_output(arch):
        return [-math.inf] * len(evaluators)
    network = build_seeded(space, arch, seed, x.device)
    if x.device.type == "cpu" and x.dim() == 4:  # convolutions of small networks are faster so
        x, network = x.contiguous(memory_format=torch.channels_last), network.to(memory_format=torch.channels_last)
    drawn = int(rng_for(seed, "scores", *space.to_codes([arch])[0].tolist()).integers(2**31))
    with told_of(space, arch):
        values = evaluate_scores([evaluator.score for evaluator in evaluators], network, x, first.y, drawn)
    return [value if math.isfinite(value) else -math.inf for value in values]
