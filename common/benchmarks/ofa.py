"""Once-for-All's predictors of MobileNet networks: accuracies that were *predicted*, latencies summed from a table.

Nobody has trained the networks of this space one by one. Cai et al. (ICLR 2020) published a small network that predicts
the ImageNet accuracy that a sub-network of their trained supernet has, and the latency of every block measured on a
phone. Neither is a measurement of the network asked for: say "predicted" wherever they are shown.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError
from common.inputs import read_yaml
from common.spaces.mbconv import Block, Chain, halved
from common.spaces.mobilenet import MobileNet

SPACE = MobileNet()  # width 1.2, 224 pixels: what both were made for
KERNELS, EXPANSIONS, RESOLUTIONS = (3, 5, 7), (3, 4, 6), range(112, 225, 16)
LEAST_DEPTH = 2  # layers of a stage in OFA; ours may have one
LAYERS = ("0", "2", "4", "6")  # linear layers of the published state dict
SHAPES = ((400, 128), (400, 400), (400, 400), (1, 400))


@dataclass(frozen=True, eq=False)
class AccuracyPredictor:
    """The published predictor: 128 zeros and ones, three hidden layers of 400 rectified units, a share of 1."""

    path: str
    sha256: str
    weights: tuple[tuple[np.ndarray, np.ndarray], ...]  # of each layer (out, in) and (out,)

    @classmethod
    def load(cls, path: str | Path) -> AccuracyPredictor:
        """From `acc_predictor.pth`, of which nothing is run. Raises InputError when it is something else."""
        from common.networks.checkpoints import read_checkpoint

        state = read_checkpoint(Path(path).expanduser())
        weights = []
        for layer, shape in zip(LAYERS, SHAPES, strict=True):
            pair = [np.asarray(state.get(f"{layer}.{part}")) for part in ("weight", "bias")]
            if [part.shape for part in pair] != [shape, shape[:1]]:
                raise InputError(
                    f"{path}: not OFA's accuracy predictor, whose layer {layer} is {shape[0]} x {shape[1]}"
                )
            weights.append((pair[0].astype(np.float64), pair[1].astype(np.float64)))
        return cls(str(path), hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest(), tuple(weights))

    def accuracies(self, archs: Sequence[Chain], resolution: int = 224) -> np.ndarray:
        """(n,) predicted ImageNet top-1 accuracies, percent; NaN for networks that OFA's own space does not have."""
        features = np.array([features_of(arch, resolution) for arch in archs]).reshape(len(archs), SHAPES[0][1])
        values = features
        for weight, bias in self.weights[:-1]:
            values = np.maximum(values @ weight.T + bias, 0)
        weight, bias = self.weights[-1]
        return 100 * (values @ weight.T + bias)[:, 0]


def features_of(arch: Chain, resolution: int) -> np.ndarray:
    """(128,) what the predictor sees: by layer one-hot kernels, by layer one-hot expansions, the resolution one-hot.

    The layers of a stage stand together, those that are missing have no ones. All NaN for a network that OFA does not
    have: with an expansion of 1, or a stage of one layer. Raises: InputError for another resolution.
    """
    if resolution not in RESOLUTIONS:
        raise InputError(f"OFA's predictor knows images of {', '.join(map(str, RESOLUTIONS))} pixels, not {resolution}")
    kernels, expansions = np.zeros((20, len(KERNELS))), np.zeros((20, len(EXPANSIONS)))
    for number, blocks in enumerate(SPACE.blocks(arch)):
        if len(blocks) < LEAST_DEPTH or any(block.expansion not in EXPANSIONS for block in blocks):
            return np.full(SHAPES[0][1], np.nan)
        for place, block in enumerate(blocks, start=4 * number):
            kernels[place, KERNELS.index(block.kernel)] = 1
            expansions[place, EXPANSIONS.index(block.expansion)] = 1
    size = np.zeros(len(RESOLUTIONS))
    size[RESOLUTIONS.index(resolution)] = 1
    return np.concatenate([kernels.ravel(), expansions.ravel(), size])


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Mean milliseconds of every block on a phone, for images of one size."""

    path: str
    resolution: int
    means: Mapping[str, float]

    @classmethod
    def load(cls, path: str | Path) -> LatencyTable:
        """From one of OFA's `note10_latency_*.yaml`. Raises InputError when it is something else."""
        read = read_yaml(Path(path).expanduser())
        try:
            means = {key: float(entry["mean"]) for key, entry in read.items()}
            (stem,) = (key for key in means if key.startswith("Conv-input:"))
            resolution = int(stem.removeprefix("Conv-input:").split("x")[0])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise InputError(f"{path}: not a table of OFA's latencies (entries `block: {{mean: ms}}`)") from None
        return cls(str(path), resolution, means)

    def latency(self, arch: Chain) -> float:
        """Milliseconds, the sum over all blocks; NaN where one of them was not measured."""
        plan, side = SPACE.plan, halved(self.resolution)
        keys = [f"Conv-input:{_shape(self.resolution, 3)}-output:{_shape(side, plan.stem)}"]
        for block in [plan.first, *(block for stage in SPACE.blocks(arch) for block in stage)]:
            after = halved(side, block.stride)
            keys.append(_key(block, side, after))
            side = after
        last = plan.stages[-1].width
        keys += [
            f"Conv_1-input:{_shape(side, last)}-output:{_shape(side, plan.expand)}",
            f"AvgPool2D-input:{_shape(side, plan.expand)}-output:{_shape(1, plan.expand)}",
            f"Conv_2-input:{_shape(1, plan.expand)}-output:{_shape(1, plan.mix)}",
            f"Logits-input:{_shape(1, plan.mix)}-output:{SPACE.num_classes}",
        ]
        return sum(self.means.get(key, math.nan) for key in keys)


def _key(block: Block, side: int, after: int) -> str:
    said: dict[str, Any] = {"expand": block.hidden, "kernel": block.kernel, "stride": block.stride}
    said |= {"idskip": int(block.shortcut), "se": int(block.se), "hs": int(block.act == "hswish")}
    ends = f"expanded_conv-input:{_shape(side, block.width_in)}-output:{_shape(after, block.width)}"
    return "-".join([ends, *(f"{name}:{value}" for name, value in said.items())])


def _shape(side: int, channels: int) -> str:
    return f"{side}x{side}x{channels}"
