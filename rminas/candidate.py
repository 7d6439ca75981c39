"""Training one candidate on the one batch, and the trajectory of its loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.networks.base import TappedNetwork
from rminas.objective import Objective


@dataclass(frozen=True)
class CandidateSettings:
    """SGD with momentum at a constant rate; the published values for NAS-Bench-201."""

    steps: int = 150  # updates; the loss of the forward pass after them is the candidate's
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    channels_last: bool = False


def train_candidate(network: TappedNetwork, x: Tensor, objective: Objective, settings: CandidateSettings) -> np.ndarray:
    """Trains `network` (batch norm by batch statistics) and returns its losses, (steps + 1,) float64.

    Entry s is the loss of the forward pass after s updates, NaN being +inf. Where `network`, `x` (B, 3, H, W) and the
    objective lie and of which type they are decides where and how it computes.
    """
    network.train()
    if settings.channels_last:
        network, x = network.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    # Read once at the end: a float() in the loop would make a GPU wait for every step.
    losses = torch.empty(settings.steps + 1, dtype=x.dtype, device=x.device)
    for step in range(settings.steps):
        loss = objective(*network.forward_taps(x))
        losses[step] = loss.detach()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        losses[-1] = objective(*network.forward_taps(x))
    trajectory = losses.double().cpu().numpy()
    return np.where(np.isnan(trajectory), np.inf, trajectory)


def untrainable(steps: int) -> np.ndarray:
    """The trajectory of a cell whose input does not reach its output, known without training: NaN, so +inf."""
    return np.full(steps + 1, np.inf)
