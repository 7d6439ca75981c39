"""Training the predictor, exactly as the published demo does by default."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from common.metrics import kendall_tau
from common.seeds import torch_seeded
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
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    loss_of = make_loss(settings.loss)
    losses: list[float] = []
    taus: list[float] = []
    best_epoch, best_weights = 0, copy.deepcopy(network.state_dict())
    for epoch in range(settings.num_epochs):
        network.train()
        total = torch.zeros((), device=device)
        for batch in _batches(len(labels), settings.batch_size, rng):
            rows = torch.from_numpy(batch).to(device)
            x, y = inputs[rows], targets[rows]
            outputs = network(x)
            loss = loss_of(outputs, y)
            if settings.continuity:
                loss = loss + settings.continuity * continuity_term(outputs, x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
        losses.append(float(total) / len(labels))
        network.eval()
        with torch.inference_mode():
            taus.append(kendall_tau(network(inputs).cpu().numpy(), labels))
        if taus[-1] > taus[best_epoch] or math.isnan(taus[best_epoch]) or epoch == 0:
            best_epoch, best_weights = epoch, copy.deepcopy(network.state_dict())
        on_epoch(taus[-1])
    network.load_state_dict(best_weights)
    return FittedPredictor(network, standardizer, device), History(losses, taus, best_epoch)


def _batches(count: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Shuffled batches; a last one of a single architecture joins the one before it, having no pair of its own."""
    order = rng.permutation(count)
    starts = list(range(0, count, size))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], count], strict=True):
        yield order[start:stop]
