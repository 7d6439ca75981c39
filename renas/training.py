"""Training the predictor, exactly as the published demo does by default."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from common.metrics import kendall_tau
from renas import fast
from renas.losses import continuity_term, make_loss

if TYPE_CHECKING:
    from renas.settings import LeNetSettings


@dataclass(frozen=True)
class TrainingCurve:
    """Mean training loss and Kendall tau on the training architectures per epoch; the epoch that was kept."""

    loss: list[float]
    train_tau: list[float]
    best_epoch: int


def train_network(
    network: nn.Module,
    inputs: Tensor,
    labels: np.ndarray,
    settings: LeNetSettings,
    rng: np.random.Generator,
    on_epoch: Callable[[int, float], object] = lambda epoch, tau: None,
) -> TrainingCurve:
    """Trains a network in place: min-max labels, a relativistic loss over the pairs of a batch, Adam.

    The weights of the epoch with the best Kendall tau on the training architectures are kept, as in the demo (the
    tau is that of the network as it would be used: batch norm with its running statistics).

    Args:
        network: (n, C, V, V) -> (n,). inputs: (n, C, V, V), standardised, on its device. labels: (n,), higher is
            better, finite. rng: decides the order of the batches.
        on_epoch: called with its number and the training tau after every epoch.
    """
    spread = float(labels.max() - labels.min()) or 1.0
    targets = torch.from_numpy(((labels - labels.min()) / spread).astype(np.float32)).to(inputs.device)
    loss_of = make_loss(settings.loss)

    def batch_loss(rows: Tensor, outputs: Tensor) -> Tensor:
        loss = loss_of(outputs, targets[rows])
        if settings.continuity:
            loss = loss + settings.continuity * continuity_term(outputs, inputs[rows])
        return loss

    losses: list[float] = []
    taus: list[float] = []
    best_epoch, best_state = 0, None
    with _start(network, inputs, settings) as training:
        for epoch in range(settings.num_epochs):
            total = torch.zeros((), device=inputs.device)
            for batch in _batches(len(labels), settings.batch_size, rng):
                rows = torch.from_numpy(batch).to(inputs.device)
                total += training.step(rows, partial(batch_loss, rows)) * len(batch)
            losses.append(float(total) / len(labels))
            taus.append(kendall_tau(training.outputs(), labels))
            if best_state is None or taus[-1] > taus[best_epoch] or math.isnan(taus[best_epoch]):
                best_epoch, best_state = epoch, training.state()
            on_epoch(epoch, taus[-1])
        if best_state is not None:
            training.load(best_state)
    return TrainingCurve(losses, taus, best_epoch)


def _batches(count: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Shuffled batches; a last one of a single architecture joins the one before it, having no pair of its own."""
    order = rng.permutation(count)
    starts = list(range(0, count, size))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], count], strict=True):
        yield order[start:stop]


class TorchTraining:
    """The steps of the loop above, by torch and autograd."""

    def __init__(self, network: nn.Module, inputs: Tensor, lr: float, weight_decay: float) -> None:
        self.network, self.inputs = network, inputs
        self.optimizer = torch.optim.Adam(network.parameters(), lr=lr, weight_decay=weight_decay)

    def step(self, rows: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
        """One step of Adam on the inputs `rows` (n,); returns the loss, `loss_of` their outputs (n,)."""
        loss = loss_of(self.network.train()(self.inputs[rows]))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    @torch.inference_mode()
    def outputs(self) -> np.ndarray:
        """Scores (n,) of all inputs by the network as it would be used: batch norm with its running statistics."""
        return self.network.eval()(self.inputs).cpu().numpy()

    def state(self) -> Any:
        """A copy of what `load` takes: weights and running statistics."""
        return copy.deepcopy(self.network.state_dict())

    def load(self, state: Any) -> None:
        """Puts a state into the network."""
        self.network.load_state_dict(state)


class Training(Protocol):
    """What the loop needs of `TorchTraining` and of `renas.fast.FastTraining`, which does the same for a CPU."""

    def step(self, rows: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Tensor: ...
    def outputs(self) -> np.ndarray: ...
    def state(self) -> Any: ...
    def load(self, state: Any) -> None: ...


def _start(network: nn.Module, inputs: Tensor, settings: LeNetSettings) -> AbstractContextManager[Training]:
    if inputs.device.type == "cpu" and fast.covers(network, inputs.shape[1:]):
        return fast.FastTraining(network, inputs, settings.lr, settings.weight_decay)
    return nullcontext(TorchTraining(network, inputs, settings.lr, settings.weight_decay))
