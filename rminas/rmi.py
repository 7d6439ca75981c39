"""The value of an architecture by RMI-NAS: how well it imitates a teacher after a few updates on one batch.

Zheng et al., CVPR 2022: a candidate is trained on the one batch of well-classified images with a loss of
representation mutual information (`rminas.loss`); the loss after the last update says how good it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from common.datasets.batch import select_batch, shrunk
from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome, Request
from common.evaluators.context import Context
from common.networks import build_network
from common.networks.base import TappedNetwork, in_mode
from common.seeds import torch_seeded
from common.spaces.base import SearchSpace
from common.training.population import CandidateSettings, LossBounds, train_candidate, train_population
from common.training.tape import NotRecordable, record
from rminas.loss import RmiLoss
from rminas.rng import rng_for


@dataclass(frozen=True)
class RmiSettings:
    """How candidates imitate the teacher; the defaults are the published values for NAS-Bench-201.

    batch_size, pool: the batch is the best classified `batch_size` of `pool` times as many images. beta, hsic: see
    RmiLoss. teacher_mode: batch norm of the teacher, "eval", or "train" as published. width: candidates that are fused
    at once; 0: as many as the memory holds.
    """

    training: CandidateSettings = field(default_factory=CandidateSettings)
    batch_size: int = 32
    pool: int = 16
    beta: float = 0.8
    hsic: str = "biased"
    teacher_mode: str = "eval"
    width: int = 0


@dataclass(frozen=True, eq=False)
class RmiEvaluator(Evaluator):
    """Trains a candidate to imitate the teacher; its value is the negative loss after the last update.

    The trajectory holds the negative losses after 0, 1, ... updates. An architecture whose input does not reach its
    output is not trained: -inf throughout. The initial weights depend on the seed and the architecture and not on when
    it is evaluated, so that it gets the same value in a search, in a ranking, and in whatever order or company.
    """

    space: SearchSpace
    seed: int
    x: Tensor  # (B, 3, H, W)
    loss: RmiLoss
    training: CandidateSettings
    width: int = 0
    name = "rmi"

    def build(self, arch: Any) -> TappedNetwork:
        """The untrained network, on x's device and of x's type."""
        with torch_seeded(rng_for(self.seed, "weights", *self.space.to_codes([arch])[0].tolist())):
            network = build_network(self.space, arch)
        return network.to(device=self.x.device, dtype=self.x.dtype)

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        if not self.space.reaches_output(arch):
            return self._outcome(np.full(self.training.steps + 1, np.inf))
        losses = train_candidate(self.build(arch), self.x, self.loss, self.training, _loss_bounds(bounds))
        return self._outcome(losses)

    def evaluate_together(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """As one fused network (`train_population`); one by one where the settings do not allow that."""
        if not self.training.fusable:
            yield from super().evaluate_together(requests)
            return
        trainable = [i for i, request in enumerate(requests) if self.space.reaches_output(request.arch)]
        for position in sorted({*range(len(requests))} - {*trainable}):
            yield position, self.evaluate(requests[position].arch)
        builders = [partial(self.build, requests[position].arch) for position in trainable]
        bounds = [_loss_bounds(requests[position].bounds) for position in trainable]
        training = replace(self.training, channels_last=False)
        for which, losses in train_population(builders, self.x, self.loss, training, bounds, self.width):
            yield trainable[which], self._outcome(losses)

    def fuses(self, arch: Any) -> bool:
        """Whether candidates like this one can be trained as one fused network."""
        try:
            record(self.build(arch), tuple(self.x.shape))
        except NotRecordable:
            return False
        return self.training.fusable

    def _outcome(self, losses: np.ndarray) -> Outcome:
        stopped = len(losses) <= self.training.steps
        return Outcome(-np.inf if stopped else -float(losses[-1]), -losses, stopped)


def _loss_bounds(bounds: Bounds) -> LossBounds:
    return {step: -value for step, value in bounds.items()}


def make_rmi(context: Context) -> RmiEvaluator:
    """The evaluator of a context, with its own batch. Takes minutes where the images are large.

    Raises: InputError when there are too few images, or the teacher has fewer classes.
    """
    settings = context.settings.get("rmi", RmiSettings())
    batch = select_batch(
        context.images,
        context.teacher,
        settings.batch_size,
        rng_for(context.seed, "batch"),
        settings.pool,
        settings.teacher_mode,
        context.device,
    )
    with torch.no_grad():
        _, taps = cast(TappedNetwork, in_mode(context.teacher, settings.teacher_mode)).forward_taps(batch.x)
    loss = RmiLoss.of(taps, batch.y, settings.beta, settings.hsic)
    x = shrunk(batch.x, context.image_size)  # CKA compares Gram matrices: the teacher may see more pixels
    return RmiEvaluator(context.space, context.seed, x, loss, settings.training, settings.width)
