"""What the fast path covers, and that it steps aside for everything else: plain torch, and the same numbers as that."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from common.encoding import EncodedFeatures, FeatureTensor, encode
from common.seeds import torch_seeded
from common.spaces import make_space
from renas import fast
from renas.lenet import LeNet, Standardizer
from renas.predictor import LeNetPredictor
from renas.settings import LeNetSettings

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
SPACE = make_space("nasbench201")
SETTINGS = LeNetSettings(num_epochs=4, batch_size=8, weight_decay=0.1)  # with decay rounding is not amplified
Edit = Callable[[LeNet], object]


def codes(count: int, seed: int = 0) -> np.ndarray:
    return SPACE.to_codes(SPACE.sample_distinct(count, np.random.default_rng(seed)))


TENSORS = encode(SPACE, codes(22))  # type: ignore[arg-type]
LABELS = np.random.default_rng(0).normal(90, 2, 22)


# networks that somebody has changed --------------------------------------------------------------------------------


def swap(old: type[nn.Module], new: Callable[[], nn.Module]) -> Edit:
    def edit(network: LeNet) -> None:
        for part in (network.features, network.head):
            for place, layer in enumerate(part):
                if isinstance(layer, old):
                    part[place] = new()

    return edit


def set_all(kind: type[nn.Module], **attributes: Any) -> Edit:
    def edit(network: LeNet) -> None:
        for layer in network.modules():
            if isinstance(layer, kind):
                for name, value in attributes.items():
                    setattr(layer, name, value)

    return edit


def third_convolution(network: LeNet) -> None:
    network.features.extend([nn.Conv2d(128, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU()])


def wider(network: LeNet) -> None:
    network.features[3] = nn.Conv2d(network.features[0].out_channels, 64, 3, padding=1)
    network.features[4] = nn.BatchNorm2d(64)
    network.head[1] = nn.Linear(64 * 16, 120)


def hooked(network: LeNet) -> None:
    network.features[2].register_forward_hook(lambda layer, inputs, output: 2 * output)


def normed(network: LeNet) -> None:
    torch.nn.utils.parametrizations.weight_norm(network.head[3])


def double_forward(network: LeNet) -> None:
    forward = network.forward
    network.forward = lambda x: 2 * forward(x)  # type: ignore[method-assign]


class Signed(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


CHANGED: dict[str, Edit] = {
    "GELU": swap(nn.ReLU, nn.GELU),
    "SiLU": swap(nn.ReLU, nn.SiLU),
    "a subclass of ReLU": swap(nn.ReLU, Signed),
    "ReLU6": swap(nn.ReLU, nn.ReLU6),
    "dropout before the head": lambda network: network.head.insert(1, nn.Dropout(0.3)),
    "dropout in the features": lambda network: network.features.append(nn.Dropout2d(0.3)),
    "a third convolution": third_convolution,
    "a fourth dense layer": lambda network: network.head.extend([nn.ReLU(), nn.Linear(1, 1)]),
    "fewer channels": wider,
    "another eps": set_all(nn.BatchNorm2d, eps=1e-1),
    "another momentum": set_all(nn.BatchNorm2d, momentum=0.5),
    "a cumulative mean": set_all(nn.BatchNorm2d, momentum=None),
    "circular padding": set_all(nn.Conv2d, padding_mode="circular", _reversed_padding_repeated_twice=[1, 1, 1, 1]),
    "a forward hook": hooked,
    "a parametrized weight": normed,
    "a forward of its own": double_forward,
    "frozen features": lambda network: network.features.requires_grad_(False),
    "a frozen bias": lambda network: network.head[5].bias.requires_grad_(False),
    "no bias": lambda network: network.features[0].register_parameter("bias", None),
    "a gradient hook": lambda network: network.head[1].weight.register_hook(lambda grad: 3 * grad) and None,
}


class Changed(LeNetPredictor):
    """A predictor whose network somebody has changed, as an edit of its source would."""

    def __init__(self, edit: Edit, settings: LeNetSettings = SETTINGS, device: str = "cpu") -> None:
        super().__init__(settings)
        self.edit, self.device = edit, device

    def build_network(self, channels: int, vertices: int) -> nn.Module:
        network = LeNet(channels, vertices)
        self.edit(network)
        return network


def plain_losses(predictor: LeNetPredictor, seed: int) -> tuple[list[float], nn.Module, Standardizer]:
    """The training loop in ten lines of torch: losses, and the network after the epoch with the best tau."""
    rng = np.random.default_rng(seed)
    standardizer, device = Standardizer.fit(TENSORS), torch.device(predictor.device)
    with torch_seeded(rng):
        network = predictor.build_network(*TENSORS.shape[1:3]).to(device)
    x = torch.from_numpy(standardizer(TENSORS)).to(device)
    y = torch.from_numpy((LABELS - LABELS.min()) / np.ptp(LABELS)).float().to(device)
    adam = torch.optim.Adam(network.parameters(), lr=SETTINGS.lr, weight_decay=SETTINGS.weight_decay)
    losses, best, kept = [], -2.0, network.state_dict()
    for _ in range(SETTINGS.num_epochs):
        total = 0.0
        for rows in torch.from_numpy(rng.permutation(len(LABELS))).to(device).split(SETTINGS.batch_size):
            outputs = network.train()(x[rows])
            pairs = F.softplus(-(outputs[:, None] - outputs) * torch.sign(y[rows][:, None] - y[rows]))
            loss = pairs[~torch.eye(len(rows), dtype=torch.bool, device=device)].mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += loss.item() * len(rows)
        losses.append(total / len(LABELS))
        with torch.no_grad():
            tau = stats.kendalltau(network.eval()(x).cpu().numpy(), LABELS).statistic
        if tau > best:
            best, kept = tau, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    return losses, network.eval(), standardizer


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("change", ["nothing", *CHANGED])
def test_a_changed_network_trains_and_scores_as_plain_torch_does(change: str, device: str):
    predictor = Changed(CHANGED.get(change, lambda network: None), device=device)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        losses, network, standardizer = plain_losses(predictor, 3)
        torch.manual_seed(1)  # dropout draws from the global generator
        predictor.fit(TENSORS, LABELS, np.random.default_rng(3))
    assert predictor.curve.loss == pytest.approx(losses, rel=1e-4)
    assert len(set(losses)) == len(losses)
    others = codes(700, seed=1)
    tensors = encode(SPACE, others)  # type: ignore[arg-type]
    with torch.no_grad():
        expected = network(torch.from_numpy(standardizer(tensors)).to(device)).cpu().numpy()
    for scores in (
        predictor.predict(tensors),
        predictor.score(EncodedFeatures(FeatureTensor(), SPACE, others)),
    ):
        np.testing.assert_allclose(scores, expected, atol=2e-3 * expected.std(), rtol=1e-3)


def test_the_changes_matter():
    """Each of them gives other losses than the released network (but for what only scoring sees)."""
    released = plain_losses(Changed(lambda network: None), 3)[0]
    for change in ("GELU", "dropout before the head", "a third convolution", "another eps", "frozen features"):
        assert plain_losses(Changed(CHANGED[change]), 3)[0] != pytest.approx(released, rel=1e-4), change


# the check ---------------------------------------------------------------------------------------------------------


def released(shape: tuple[int, int, int] = (31, 4, 4)) -> LeNet:
    torch.manual_seed(0)
    return LeNet(*shape[:2])


@pytest.mark.parametrize("shape", [(31, 4, 4), (19, 7, 7), (1, 7, 7), (3, 1, 1), (3, 10, 10)])
def test_the_released_network_is_covered_trained_or_not(shape: tuple[int, int, int]):
    network = released(shape)
    assert fast.covers(network, shape)
    for _ in range(3):
        network.train()(torch.randn(5, *shape))
    before = copy.deepcopy(network.state_dict())
    torch.manual_seed(5)
    state = torch.get_rng_state()
    for training in (True, False):
        assert fast.covers(network.train(training), shape)
        assert network.training == training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())


def test_a_network_that_diverged_is_still_the_same_network():
    network = released()
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(math.nan)
    assert fast.covers(network, (31, 4, 4))


@pytest.mark.parametrize("shape", [(30, 4, 4), (31, 5, 5), (31, 4, 5), (31, 4), (31,)])
def test_tensors_of_another_shape_are_not_covered(shape: tuple[int, ...]):
    assert not fast.covers(released(), shape)


@pytest.mark.parametrize("change", CHANGED)
def test_a_changed_network_is_not_covered(change: str):
    network = released()
    CHANGED[change](network)
    assert not fast.covers(network, (31, 4, 4))


class Subclass(LeNet):
    pass


def test_other_classes_devices_and_precisions_are_not_covered():
    assert not fast.covers(nn.Identity(), (31, 4, 4))
    assert not fast.covers(Subclass(31, 4), (31, 4, 4))
    assert not fast.covers(released().double(), (31, 4, 4))
    assert not fast.covers(released().to("meta"), (31, 4, 4))


@pytest.fixture
def _global_hook() -> Iterator[None]:
    handle = nn.modules.module.register_module_forward_hook(lambda layer, inputs, output: output)
    yield
    handle.remove()


@pytest.mark.usefixtures("_global_hook")
def test_hooks_on_all_modules_are_seen():
    assert not fast.covers(released(), (31, 4, 4))


def gelu_forward(self: LeNet, x: Tensor) -> Tensor:
    return self.head(F.gelu(self.features(x))).squeeze(1)


def dropped_forward(self: LeNet, x: Tensor) -> Tensor:
    return self.head(F.dropout(self.features(x), 0.1, self.training)).squeeze(1)


def detached_forward(self: LeNet, x: Tensor) -> Tensor:
    return self.head(self.features(x).detach()).squeeze(1)


def column_forward(self: LeNet, x: Tensor) -> Tensor:
    return self.head(self.features(x))


def failing_forward(self: LeNet, x: Tensor) -> Tensor:
    raise RuntimeError("not finished")


@pytest.mark.parametrize("forward", [gelu_forward, dropped_forward, detached_forward, column_forward, failing_forward])
def test_an_edited_forward_is_noticed_by_what_it_computes(forward: Any, monkeypatch: pytest.MonkeyPatch):
    """The layers are all there, and in training, in evaluation or in the gradients only it differs."""
    monkeypatch.setattr(LeNet, "forward", forward)
    assert not fast.covers(released(), (31, 4, 4))


def test_a_forward_written_another_way_is_covered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(LeNet, "forward", lambda self, x: self.head(self.features(1.0 * x))[:, 0])
    assert fast.covers(released(), (31, 4, 4))
