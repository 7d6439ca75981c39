"""The released LeNet on a CPU, faster: training steps and the scores of whole spaces, written out.

Why this exists: ReNAS trains a tiny network for hundreds of steps and then scores 423,624 cells with it. In torch most
of that time on a CPU goes into unfolding maps of 7 x 7 for the convolutions, into kernel launches of microseconds, and
into computing the same neighbourhoods of tensors over and over. Knowing that the maps are zero below the diagonal, that
batch norm takes a bias away again, and that over a space few of the 3x3 and 5x5 neighbourhoods are distinct saves most
of it; `scripts/bench_renas.py` measures how much. No library can do that, because nothing in the network itself says
so: it follows from what the tensors of a whole space are like. oneDNN and torch.compile speed up each convolution, not
the ones that need not be done, and the compiler alone takes longer to start than this takes to train.

It is used for nothing but what it was written for: `covers` checks the network, layer by layer and by its outputs and
gradients, and everything else (a changed layer, a hook, frozen weights, a GPU) is left to plain torch. Tests hold it to
plain torch, step by step.
"""

from renas.fast.coverage import covers
from renas.fast.scoring import score_all
from renas.fast.training import FastTraining

__all__ = ["FastTraining", "covers", "score_all"]
