"""Recording and fusing: every kind of layer in company does what it does alone, and what cannot is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.networks.base import TappedNetwork
from common.networks.taps import as_tapped
from common.training.population import CandidateSettings, train_candidate, train_population
from common.training.tape import NotRecordable, record

WIDTH, SIDE, BATCH, CLASSES = 6, 8, 5, 4


class CrossEntropyAndTaps:
    """Cross-entropy, and how far the features are from zero."""

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels

    def __call__(self, logits: Tensor, taps: Sequence[Tensor]) -> Tensor:
        return F.cross_entropy(logits, self.labels) + 0.1 * sum((tap.square().mean() for tap in taps), torch.zeros(()))

    def each(self, logits: Tensor, taps: Sequence[Tensor]) -> Tensor:
        candidates = zip(logits, *taps, strict=True)
        return torch.stack([self(own, features) for own, *features in candidates])


class Around(TappedNetwork):
    """A layer between two convolutions; means of its output, and of what comes after, are the features."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.before, self.layer = nn.Conv2d(3, WIDTH, 3, padding=1), layer
        self.after, self.head = nn.Conv2d(width, 4, 1), nn.Linear(4, CLASSES)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        y = self.layer(self.before(x))
        z = torch.relu(self.after(y))
        means = z.mean((2, 3))
        return self.head(means), (y.mean((2, 3)), means)


class Does(nn.Module):
    """A layer that is a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def in_place(x: Tensor) -> Tensor:
    y = x * 2
    same = y
    y += x
    F.relu(y, inplace=True)
    return same * 3 + x.tanh()


def halves(x: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=1)
    c, d, e = torch.split(x, [1, 3, 2], dim=1)
    return torch.cat([b, a], dim=1) * torch.cat([e, d, c], 1)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "leaky relu": lambda: nn.LeakyReLU(0.2, inplace=True),
    "elu": lambda: nn.ELU(0.7),
    "celu": lambda: nn.CELU(0.7),
    "selu": nn.SELU,
    "relu6": nn.ReLU6,
    "hardtanh": lambda: nn.Hardtanh(-0.3, 0.4, inplace=True),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": lambda: nn.Softplus(2.0),
    "softsign": nn.Softsign,
    "logsigmoid": nn.LogSigmoid,
    "hardshrink": lambda: nn.Hardshrink(0.1),
    "softshrink": lambda: nn.Softshrink(0.1),
    "tanhshrink": nn.Tanhshrink,
    "threshold": lambda: nn.Threshold(0.1, -1.0),
    "batch norm": lambda: nn.BatchNorm2d(WIDTH),
    "group norm": lambda: nn.GroupNorm(3, WIDTH),
    "group norm without weights": lambda: nn.GroupNorm(2, WIDTH, affine=False),
    "instance norm": lambda: nn.InstanceNorm2d(WIDTH, affine=True),
    "layer norm": lambda: nn.LayerNorm([WIDTH, SIDE, SIDE]),
    "layer norm without weights": lambda: nn.LayerNorm([WIDTH, SIDE, SIDE], elementwise_affine=False),
    "average pooling": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    "max pooling": lambda: nn.MaxPool2d(3, 2, ceil_mode=True),
    "adaptive pooling": lambda: nn.AdaptiveAvgPool2d((3, None)),
    "adaptive pooling to a pixel": lambda: nn.AdaptiveAvgPool2d(1),
    "zero padding": lambda: nn.ZeroPad2d((1, 0, 2, 1)),
    "reflection padding": lambda: nn.ReflectionPad2d(2),
    "padding of channels": lambda: Does(lambda x: F.pad(x[:, :4], (0, 0, 0, 0, 1, 1), value=0.5)),
    "same padding": lambda: nn.Conv2d(WIDTH, WIDTH, (3, 5), padding="same", dilation=(2, 1)),
    "depthwise": lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH),
    "dropout of nothing": lambda: nn.Dropout(0.0),
    "arithmetic": lambda: Does(lambda x: (3 - x / 2 - x.square()) / (1 + x**2) - (-x) * 0.1 + x.clamp(-0.1, max=0.2)),
    "in place": lambda: Does(in_place),
    "halves": lambda: Does(halves),
    "a gate": lambda: Does(lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True))),
    "zeros": lambda: Does(lambda x: torch.zeros_like(x) + x + x.new_zeros(x.shape)),
}


def builder(layer: Callable[[], nn.Module], seed: int) -> Callable[[], TappedNetwork]:
    def build() -> TappedNetwork:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made = layer()
            with torch.no_grad():
                width = made(torch.randn(2, WIDTH, SIDE, SIDE)).shape[1]
            return Around(made, width).double()

    return build


def assert_fused_as_alone(builders: Sequence[Callable[[], TappedNetwork]], x: Tensor, steps: int = 4) -> None:
    objective = CrossEntropyAndTaps(torch.arange(len(x)) % CLASSES)
    settings = CandidateSettings(steps=steps, lr=0.05)
    together = dict(train_population(builders, x, objective, settings))
    for position, build in enumerate(builders):
        alone = train_candidate(build(), x, objective, settings)
        assert np.isfinite(alone).all()
        assert alone[steps] < alone[0]
        np.testing.assert_allclose(together[position], alone, rtol=1e-9)


def images(seed: int = 0, side: int = SIDE) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, 3, side, side, dtype=torch.float64, generator=generator)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_in_company_does_what_it_does_alone(name: str) -> None:
    companions = [builder(LAYERS[name], seed) for seed in range(3)]
    assert_fused_as_alone([*companions, builder(nn.ReLU, 9), builder(nn.Identity, 8)], images())


class Vectors(TappedNetwork):
    """Layers on vectors, behind a flattening."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.conv, self.layers = nn.Conv2d(3, 2, 3, stride=3), nn.Sequential(nn.Linear(8, 7), *layers)
        self.head = nn.Linear(7, CLASSES)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        y = self.conv(x)
        z = self.layers(y.view(y.size(0), -1))
        return self.head(z), (y, z)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("layer", [nn.LayerNorm, nn.BatchNorm1d, lambda width: nn.GroupNorm(7, width), nn.Identity])
def test_layers_of_vectors_in_company_do_what_they_do_alone(layer: Callable[[int], nn.Module]) -> None:
    def vectors(seed: int) -> Callable[[], TappedNetwork]:
        def build() -> TappedNetwork:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                return Vectors(layer(7), nn.GELU()).double()

        return build

    assert_fused_as_alone([*map(vectors, range(3))], images())


@pytest.mark.usefixtures("one_thread")
def test_a_torchvision_resnet18_is_recorded_and_trained_in_company_as_alone() -> None:
    from torchvision.models import resnet18

    def resnet(seed: int) -> Callable[[], TappedNetwork]:
        def build() -> TappedNetwork:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                return as_tapped(resnet18(num_classes=CLASSES), ("layer1", "layer2.0.bn1", "layer3")).double()

        return build

    program = record(resnet(0)(), (BATCH, 3, 32, 32))
    assert [program.instructions[tap].shape[1:] for tap in program.taps] == [(64, 8, 8), (128, 4, 4), (256, 2, 2)]
    assert len({program.taps}) == 1
    assert sum(made.kind == "conv2d" for made in program.instructions.values()) == 20
    assert_fused_as_alone([resnet(0), resnet(1)], images(side=32), steps=2)


# what is refused -----------------------------------------------------------------------------------------------------


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.conv(x))


def frozen() -> nn.Module:
    return nn.Conv2d(WIDTH, WIDTH, 1).requires_grad_(False)


def aliased(x: Tensor) -> Tensor:
    part = x[:, :3]
    part += 1
    return x


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Dropout(0.3), "dropout in train mode: fused candidates would get other masks"),
        (nn.Dropout2d(0.3), "dropout2d in train mode"),
        (nn.AlphaDropout(0.3), "alpha_dropout in train mode"),
        (nn.InstanceNorm2d(WIDTH, affine=True).requires_grad_(False), "group_norm with a weight that is not trained"),
        (nn.LayerNorm(SIDE), r"layer norm over \(8,\) of features of \(2, 6, 8, 8\)"),
        (Twice(), "conv2d with a weight that is used twice"),
        (frozen(), "conv2d with a weight that is not trained"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(WIDTH, WIDTH, 1)), "weight that is no parameter"),
        (nn.Conv2d(WIDTH, WIDTH, 2, padding="same"), "padding 'same' that is more on one side"),
        (nn.Linear(SIDE, SIDE), "a linear layer on images"),
        (Does(lambda x: x.cumsum(1)), "cumsum of features cannot be recorded"),
        (Does(lambda x: torch.cumsum(x, 1)), "cumsum cannot be recorded"),
        (Does(lambda x: x.to(x.dtype)), "to of features cannot be recorded"),
        (Does(lambda x: x.type(x.dtype)), "type of features cannot be recorded"),
        (Does(lambda x: x.sum(x.ndim - 1) if x.dtype else x), "dtype of features cannot be recorded"),
        (Does(lambda x: x @ x), r"does not take placeholders \(unsupported operand"),
        (Does(lambda x: x + torch.ones(1)), "neither a feature nor a number"),
        (Does(lambda x: torch.ones(1) + x), "add cannot be recorded"),
        (Does(lambda x: torch.clamp(x, torch.zeros(1))), "clamp with another tensor"),
        (Does(lambda x: torch.add(x, x, alpha=2)), "add with alpha"),
        (Does(lambda x: torch.add(x, x, out=x)), "add cannot be recorded with these arguments"),
        (Does(lambda x: x.mean()), "a mean over other axes"),
        (Does(lambda x: x.view(-1, 3, SIDE, SIDE)), "seen as"),
        (Does(lambda x: x[0]), "only channels, rows and columns"),
        (Does(lambda x: torch.cat([x, x])), "joining other axes"),
        (Does(lambda x: torch.chunk(x, 2, 2)[0]), "splitting other axes"),
        (Does(lambda x: 1 / x), "a number divided by features"),
        (Does(aliased), "in place on features that are seen from elsewhere"),
        (Does(lambda x: torch.ones(2, WIDTH, SIDE, SIDE)), "do not depend"),
    ],
)
def test_what_cannot_be_fused_is_refused_by_name(layer: nn.Module, message: str) -> None:
    class Network(TappedNetwork):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.conv = layer, nn.Conv2d(3, WIDTH, 1)

        def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            y = self.layer(self.conv(x))
            return y, (y,)

    with pytest.raises(NotRecordable, match=message) as caught:
        record(Network(), (2, 3, SIDE, SIDE))
    assert "\n" not in str(caught.value)


def test_recording_leaves_the_network_as_it_was() -> None:
    network = Around(nn.Sequential(nn.BatchNorm2d(WIDTH), nn.Dropout(0.5)), WIDTH).eval()
    before: dict[str, Any] = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(NotRecordable):
        record(network, (2, 3, SIDE, SIDE))
    assert not network.training
    after = network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items() if not key.endswith("batches_tracked"))
