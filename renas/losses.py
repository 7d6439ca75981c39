"""Losses of the predictor: relativistic (pairwise ranking), plain regression, and the continuity term.

Torch is imported inside the functions, because the command line names the losses without computing any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from common.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    Loss = Callable[[Tensor, Tensor], Tensor]


def _logistic(z: Tensor) -> Tensor:
    from torch.nn import functional as F

    return F.softplus(-z)


def _hinge(z: Tensor) -> Tensor:
    return (1 - z).relu()


def _exponential(z: Tensor) -> Tensor:
    return (-z).exp()


# phi(z) of the pairwise loss (ReNAS, section 3.2); the published demo has the logistic one.
PHI: dict[str, Callable[[Tensor], Tensor]] = {"logistic": _logistic, "hinge": _hinge, "exponential": _exponential}
LOSSES = (*PHI, "mse")


def pairwise_loss(outputs: Tensor, labels: Tensor, phi: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean over the ordered pairs i != j of phi((o_i - o_j) sign(y_i - y_j)).

    A pair with equal labels adds the constant phi(0) and no gradient: nothing is known of its order.

    Args: outputs, labels: (n,), n >= 2.
    """
    n = len(outputs)
    margins = (outputs[:, None] - outputs[None, :]) * (labels[:, None] - labels[None, :]).sign()
    diagonal = n * phi(margins.new_zeros(()))
    return (phi(margins).sum() - diagonal) / (n * (n - 1))


def continuity_term(outputs: Tensor, features: Tensor) -> Tensor:
    """Mean over the pairs i != j of w_ij (o_i - o_j)^2: outputs of similar architectures stay close.

    w_ij = exp(-d_ij^2 / median d^2) with d the Euclidean distance of the standardised feature tensors. The paper asks
    for such a term ("continuity"); its released code has none, so this form is ours.

    Args: outputs: (n,). features: (n, C, V, V), standardised.
    """
    import torch

    n = len(outputs)
    flat = features.flatten(1)
    squared = torch.cdist(flat, flat).square()
    others = ~torch.eye(n, dtype=torch.bool, device=flat.device)
    weights = torch.exp(-squared / squared[others].median().clamp_min(1e-12)) * others
    return (weights * (outputs[:, None] - outputs[None, :]).square()).sum() / (n * (n - 1))


def make_loss(name: str) -> Loss:
    """The loss called `name`, of LOSSES: mse, or the pairwise loss with one of PHI."""
    from torch.nn import functional as F

    if name == "mse":
        return F.mse_loss
    if name not in PHI:
        raise InputError(f"unknown loss {name!r}; choose from mse, {', '.join(PHI)}")
    phi = PHI[name]
    return lambda outputs, labels: pairwise_loss(outputs, labels, phi)
