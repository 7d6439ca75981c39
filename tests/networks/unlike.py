"""Networks whose every statistic and scale is another, for the tests of all networks."""

from __future__ import annotations

import torch
from torch import nn


def unlike_start(network: nn.Module) -> nn.Module:
    """Random batch-norm statistics, scales and biases, so that none of them can be mixed up unseen."""
    generator = torch.Generator().manual_seed(1)
    for key, value in network.state_dict().items():
        if value.dim() == 1 and value.is_floating_point():
            value.uniform_(0.5, 1.5, generator=generator)
            if key.endswith("bias"):
                value.sub_(1.0)
    return network.eval()
