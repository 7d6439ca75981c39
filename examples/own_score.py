"""Two cheap scores of one's own, without training: of an untrained network and a batch, and of the architecture alone.

    python -m rminas --cfg configs/nb201_digits.yaml --rank 30 \\
        --evaluators params,examples/own_score.py:feature_rank,examples/own_score.py:convolutions
    python examples/own_score.py

Higher is better. What a score needs beyond these arguments it gets as a function of (context): common/evaluators.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.networks.base import TappedNetwork
from common.spaces.nasbench201 import OPS, Cell201


@torch.inference_mode()
def feature_rank(network: TappedNetwork, x: Tensor, y: Tensor) -> float:
    """How many directions the last features of an untrained network use: the entropy of their singular values.

    Args: x: (B, 3, H, W) images. y: (B,) labels, not needed here.
    """
    features = network.forward_taps(x)[1][-1].flatten(1)
    share = torch.linalg.svdvals(features - features.mean(0))
    share = share / share.sum()
    return float(torch.special.entr(share).sum())


def convolutions(arch: Cell201) -> float:
    """Pixels that a cell's convolutions look at, summed over its edges."""
    return float(sum({"nor_conv_1x1": 1, "nor_conv_3x3": 9}.get(OPS[op], 0) for op in arch.ops))


def main() -> None:
    from scipy.stats import kendalltau

    from common.benchmarks import load_benchmark
    from common.datasets.images import load_images
    from common.evaluators import Context, make_evaluator
    from common.spaces import make_space

    table = load_benchmark().sample(40, seed=0)
    space = make_space("nasbench201", num_classes=10, image_size=8, cells_per_stage=1)
    context = Context(space, load_images=lambda: load_images("digits"))
    for name in ("params", "examples/own_score.py:feature_rank", "examples/own_score.py:convolutions"):
        evaluator = make_evaluator(name, context)
        scores = [evaluator.evaluate(arch).value for arch in table.archs]
        print(f"{name}: Kendall tau {kendalltau(scores, table.values()).statistic:.3f} over {len(scores)} cells")


if __name__ == "__main__":
    main()
