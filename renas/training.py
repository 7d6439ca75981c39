"""Training the predictor, exactly as the published demo does by default."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from common.metrics import kendall_tau
from common.seeds import torch_seeded
from renas.cpu_training import CpuTraining
from renas.losses import continuity_term, make_loss
from renas.predictor import LeNet, Standardizer
from renas.scoring import FittedPredictor


@dataclass(frozen=True)
class TrainSettings:
    """The demo's hyper-parameters (its flags' names) and the paper's loss variants."""

    lr: float = 1e-3
    weight_decay: float = 0.0
    num_epochs: int = 200
    batch_size: int = 1024
    loss: str = "logistic"
    continuity: float = 0.0  # weight of the continuity term


@dataclass(frozen=True)
class History:
    """Mean training loss and Kendall tau on the training architectures per epoch; the epoch that was kept."""

    loss: list[float]
    train_tau: list[float]
    best_epoch: int


def fit_predictor(
    tensors: np.ndarray,
    labels: np.ndarray,
    settings: TrainSettings,
    rng: np.random.Generator,
    device: torch.device,
    on_epoch: Callable[[float], object] = lambda tau: None,
) -> tuple[FittedPredictor, History]:
    """A predictor trained on n architectures: standardised tensors, min-max labels, Adam.

    The weights of the epoch with the best Kendall tau on the training architectures are kept, as in the demo (the
    tau is that of the network as it would be used: batch norm with its running statistics).

    Args:
        tensors: (n, C, V, V) raw feature tensors, n >= 2. labels: (n,), higher is better, finite.
        rng: decides the initial weights and the order of the batches.
        on_epoch: called with the training tau after every epoch.
    """
    standardizer = Standardizer.fit(tensors)
    inputs = torch.from_numpy(standardizer(tensors)).to(device)
    spread = float(labels.max() - labels.min()) or 1.0
    targets = torch.from_numpy(((labels - labels.min()) / spread).astype(np.float32)).to(device)
    with torch_seeded(rng):
        network = LeNet(tensors.shape[1], tensors.shape[2]).to(device)
    loss_of = make_loss(settings.loss)
    losses: list[float] = []
    taus: list[float] = []
    best_epoch, best_state = 0, None
    with _start(network, inputs, settings) as training:
        for epoch in range(settings.num_epochs):
            total = torch.zeros((), device=device)
            for batch in _batches(len(labels), settings.batch_size, rng):
                rows = torch.from_numpy(batch).to(device)

                def loss(outputs: Tensor, rows: Tensor = rows) -> Tensor:
                    made = loss_of(outputs, targets[rows])
                    if settings.continuity:
                        made = made + settings.continuity * continuity_term(outputs, inputs[rows])
                    return made

                total += training.step(rows, loss) * len(batch)
            losses.append(float(total) / len(labels))
            taus.append(kendall_tau(training.outputs(), labels))
            if best_state is None or taus[-1] > taus[best_epoch] or math.isnan(taus[best_epoch]):
                best_epoch, best_state = epoch, training.state()
            on_epoch(taus[-1])
        if best_state is not None:
            training.load(best_state)
    return FittedPredictor(network, standardizer, device), History(losses, taus, best_epoch)


class Training(Protocol):
    """A network in training over given inputs (n, C, V, V)."""

    def step(self, rows: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
        """One step of the optimizer on the inputs `rows` (n,); returns the loss, `loss_of` their outputs (n,)."""
        ...

    def outputs(self) -> np.ndarray:
        """Scores (n,) of all inputs by the network as it would be used: batch norm with its running statistics."""
        ...

    def state(self) -> Any:
        """A copy of what `load` takes: weights and running statistics."""
        ...

    def load(self, state: Any) -> None:
        """Puts a state into the network."""
        ...


def _start(network: LeNet, inputs: Tensor, settings: TrainSettings) -> AbstractContextManager[Training]:
    if inputs.device.type == "cpu":
        return CpuTraining(network, inputs, settings.lr, settings.weight_decay)
    return nullcontext(TorchTraining(network, inputs, settings.lr, settings.weight_decay))


class TorchTraining:
    """Adam by torch and autograd: the definition of what CpuTraining does, and what a GPU runs."""

    def __init__(self, network: LeNet, inputs: Tensor, lr: float, weight_decay: float) -> None:
        self.network, self.inputs = network, inputs
        self.optimizer = torch.optim.Adam(network.parameters(), lr=lr, weight_decay=weight_decay)

    def step(self, rows: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
        loss = loss_of(self.network.train()(self.inputs[rows]))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    @torch.inference_mode()
    def outputs(self) -> np.ndarray:
        return self.network.eval()(self.inputs).cpu().numpy()

    def state(self) -> Any:
        return copy.deepcopy(self.network.state_dict())

    def load(self, state: Any) -> None:
        self.network.load_state_dict(state)


def _batches(count: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Shuffled batches; a last one of a single architecture joins the one before it, having no pair of its own."""
    order = rng.permutation(count)
    starts = list(range(0, count, size))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], count], strict=True):
        yield order[start:stop]
