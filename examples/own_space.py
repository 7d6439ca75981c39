"""A search space of one's own, 81 networks; `python examples/own_space.py OUT.csv` trains them on digits in a minute.

    python -m renas --data_path examples/own_space.csv --space examples/own_space.py:SPACE --predictor boosting \\
        --train_num 20 --count 5
    python -m rminas --cfg digits SPACE.NAME examples/own_space.py:SPACE BENCHMARK.PATH examples/own_space.csv NAME own
"""

from __future__ import annotations

import csv
import sys
from collections import OrderedDict

import numpy as np
from torch import nn

from common.datasets.batch import normalised
from common.datasets.images import ImageSet, load_images
from common.seeds import rng_for, torch_seeded
from common.spaces import CategoricalSpace
from common.training.classifier import ClassifierSettings, train_classifier

KERNELS = {"conv3": 3, "conv1": 1, "depthwise": 3}


def build(arch: dict[str, str], num_classes: int) -> nn.Module:
    """A network of four layers of 16 channels, the third at half the resolution."""
    layers: dict[str, nn.Module] = {"stem": nn.Conv2d(3, 16, 3, padding=1, bias=False)}
    for name, kind in arch.items():
        stride, groups = 2 if name == "layer3" else 1, 16 if kind == "depthwise" else 1
        conv = nn.Conv2d(16, 16, KERNELS[kind], stride, KERNELS[kind] // 2, groups=groups, bias=False)
        layers[name] = nn.Sequential(conv, nn.BatchNorm2d(16), nn.ReLU())
    layers["head"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes))
    return nn.Sequential(OrderedDict(layers))


CHOICES = {f"layer{number}": tuple(KERNELS) for number in (1, 2, 3, 4)}
SPACE = CategoricalSpace.from_choices(CHOICES, "four_layers", build, taps=("layer1", "layer2", "layer4"))


def train(code: tuple[int, ...], images: ImageSet, epochs: int = 5) -> tuple[float, float]:
    """Accuracies (%) of an architecture on either half of the test images, after `epochs` on the training images."""
    rng = rng_for(0, "own space", *code)
    with torch_seeded(rng):
        network = build(dict(SPACE.from_code(np.array(code))), images.num_classes)
    train_classifier(network, images, ClassifierSettings(epochs, batch_size=64), rng)
    right = network(normalised(images, slice(None), "test")).argmax(1).numpy() == images.y_test
    return 100 * float(np.mean(right[::2])), 100 * float(np.mean(right[1::2]))


if __name__ == "__main__":
    with open(sys.argv[1], "w", newline="") as file:
        csv.writer(file).writerow(["arch", "digits_valid", "digits_test"])
        for code in np.ndindex(3, 3, 3, 3):
            accuracies = train(code, load_images("digits"))
            csv.writer(file).writerow(
                [SPACE.format(SPACE.from_code(np.array(code))), *(f"{a:.2f}" for a in accuracies)]
            )
