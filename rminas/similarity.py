"""How alike two sets of features of the same images are: normalised HSIC with linear kernels (linear CKA)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def grams(taps: Sequence[Tensor]) -> Tensor:
    """(S, B, B) Gram matrices of S feature tensors, each (B, ...), of the same B images."""
    flat = []
    for tap in taps:
        if tap.dim() == 4 and tap.is_contiguous(memory_format=torch.channels_last):
            tap = tap.permute(0, 2, 3, 1)  # a Gram matrix does not see the order of the features; this one is no copy
        flat.append(tap.flatten(1))
    return torch.stack([features @ features.T for features in flat])


def centred(gram: Tensor) -> Tensor:
    """H G H with H = I - 11'/B, over the last two dimensions of (..., B, B): the biased HSIC's centring."""
    rows = gram.mean(-1, keepdim=True)
    return gram - rows - rows.mT + rows.mean(-2, keepdim=True)


def u_centred(gram: Tensor) -> Tensor:
    """U-centring of symmetric (..., B, B), B >= 4: inner products of two such matrices are the unbiased HSIC.

    Zero diagonal; off it G_ij - r_i / (B-2) - r_j / (B-2) + t / ((B-1)(B-2)) with r, t the sums of the rows and of
    all of G without its diagonal (Song et al. 2012 in the form of Szekely & Rizzo 2014).
    """
    count = gram.shape[-1]
    off = ~torch.eye(count, dtype=torch.bool, device=gram.device)
    gram = gram * off
    rows = gram.sum(-1, keepdim=True) / (count - 2)
    return (gram - rows - rows.mT + rows.sum(-2, keepdim=True) / (count - 1)) * off


CENTRINGS: dict[str, Callable[[Tensor], Tensor]] = {"biased": centred, "unbiased": u_centred}


def unit(matrices: Tensor) -> Tensor:
    """(..., B, B) scaled to Frobenius norm 1; NaN for a matrix of zeros (constant features)."""
    return matrices / matrices.square().sum((-2, -1), keepdim=True).sqrt()
