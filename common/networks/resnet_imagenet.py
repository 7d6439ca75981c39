"""ResNet-152 for ImageNet: the FB-ResNet-152 that RMI-NAS takes for its teacher, named as in torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from common.networks.base import TappedNetwork
from common.networks.checkpoints import download_weights, fill, fold_biases, read_checkpoint, state_dict_of

NAME = "fbresnet152"
TORCHVISION = "torchvision"  # instead of a file: the weights that torchvision publishes


class ResNet152(TappedNetwork):
    """torchvision's ResNet-152 under its own names; taps after the stem's max-pool, layer2 and layer4."""

    def __init__(self, num_classes: int) -> None:
        from torchvision.models import resnet152

        super().__init__()
        made = resnet152(num_classes=num_classes)
        self.conv1, self.bn1, self.relu, self.maxpool = made.conv1, made.bn1, made.relu, made.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = made.layer1, made.layer2, made.layer3, made.layer4
        self.fc: nn.Linear = made.fc

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        first: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        second: Tensor = self.layer2(self.layer1(first))
        third: Tensor = self.layer4(self.layer3(second))
        return self.fc(third.mean((2, 3))), (first, second, third)


def build(num_classes: int) -> ResNet152:
    return ResNet152(num_classes)


def load(path: Path, num_classes: int) -> ResNet152:
    """Trained: from a state dict in torchvision's form or that of the FB-ResNet-152 of pretrained-models, or, for the
    path `torchvision`, with the weights that torchvision publishes.

    Those are IMAGENET1K_V1, trained in the way of FB's (78.3 % top-1, FB's 77.4), and downloaded on first use.
    Raises: InputError when the file is missing, of another network or number of classes, or cannot be downloaded.
    """
    from torchvision.models import ResNet152_Weights

    file = download_weights(ResNet152_Weights.IMAGENET1K_V1.url) if str(path) == TORCHVISION else path
    network = build(num_classes)
    fill(network, NAME, file, in_torchvisions_form(state_dict_of(file, read_checkpoint(file))))
    return network


def in_torchvisions_form(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the FB-ResNet-152 as torchvision's network has them; any others as they are.

    FB's classifier is called `last_linear`, and FB's convolutions have a bias.
    """
    return fold_biases({key.replace("last_linear.", "fc."): value for key, value in state.items()})
