"""Networks of one's own: torchvision's ResNets as candidates, judged by how they imitate the features of a teacher.

    python -m rminas --cfg digits SPACE.NAME examples/own_network.py:SPACE NAME resnets \\
        TEACHER.NAME examples/own_network.py:build_teacher TEACHER.TAPS block1,block2,block3
    python examples/own_network.py
Taps are names of modules (common.networks.taps.list_taps lists them), as many in the candidates as in the teacher.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from common.spaces import CategoricalSpace

CHOICES = {"stage1": (1, 2, 3), "stage2": (1, 2, 3), "stage3": (1, 2, 3)}  # blocks


def build(arch: dict[str, int], num_classes: int) -> nn.Module:
    """A ResNet with as many blocks in its first three stages, one in the last, and a stem for small images."""
    network = ResNet(BasicBlock, [*arch.values(), 1], num_classes=num_classes)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return network


SPACE = CategoricalSpace.from_choices(CHOICES, "resnets", build, taps=("layer1", "layer2", "layer3"))


def build_teacher(num_classes: int) -> nn.Module:
    """A small network without shortcuts. (TEACHER.NAME takes torchvision's networks by name as well.)"""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (before, after) in enumerate(((3, 32), (32, 64), (64, 128)), start=1):
        convolution = nn.Conv2d(before, after, 3, stride=min(number, 2), padding=1)
        layers[f"block{number}"] = nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())
    layers["head"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, num_classes))
    return nn.Sequential(layers)


def main() -> None:
    from common.datasets.images import load_images
    from common.evaluators import Context, make_evaluator
    from common.networks.taps import as_tapped
    from common.training.classifier import ClassifierSettings, train_classifier
    from common.training.population import CandidateSettings
    from rminas.rmi import RmiSettings

    images, teacher = load_images("digits"), as_tapped(build_teacher(10), ("block1", "block2", "block3"))
    train_classifier(teacher, images, ClassifierSettings(3, batch_size=64, lr=0.05), np.random.default_rng(0))
    settings = {"rmi": RmiSettings(CandidateSettings(steps=20))}
    context = Context(SPACE, load_images=lambda: images, load_teacher=lambda: teacher, settings=settings)
    archs = [SPACE.parse(f"stage1={blocks},stage2=1,stage3=1") for blocks in (1, 3)]
    for name in ("params", "rmi"):
        print(f"{name}:", *(f"{make_evaluator(name, context).evaluate(arch).value:.4g}" for arch in archs))


if __name__ == "__main__":
    main()
