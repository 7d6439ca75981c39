"""Norm of the weights: of an untrained network, a way of counting its layers and their widths."""

from __future__ import annotations

from common.evaluators.passes import Pass, reads


@reads()
def l2_norm(run: Pass) -> float:
    """sum over convolutional and linear layers of || W ||_2, a baseline of NAS-Bench-Suite-Zero (NeurIPS 2022)."""
    return sum(float(weight.norm()) for weight in run.weights)
