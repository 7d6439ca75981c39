"""NASWOT: how differently an untrained network's rectifiers treat the images of a batch (Mellor et al. 2021)."""

from __future__ import annotations

import torch

from common.evaluators.passes import SIGNS, Pass, reads


@reads(SIGNS)
def naswot(run: Pass) -> float:
    """log |det K|, K_ij the number of rectifier units in whose inputs images i and j have the same sign.

    Mellor, Turner, Storkey & Crowley, Neural Architecture Search without Training, ICML 2021, section 3: K_ij = N_A -
    Hamming distance of the binary codes of i and j, N_A units in all. One forward pass, in train mode as published.
    -inf when two images have the same code. (Activations other than ReLU count by the sign of their input too, which is
    not in the paper: see `passes.RECTIFIERS`.)
    """
    return float(torch.linalg.slogdet(run.sign_kernel).logabsdet)
