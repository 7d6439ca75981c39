"""Any network as a tapped one: what hooks let out, what happens to copies, and what is said about wrong names."""

from __future__ import annotations

import copy
import doctest
import pickle

import pytest
import torch
from torch import Tensor, nn
from unlike import unlike_start

from common.errors import InputError
from common.networks import taps as module_under_test
from common.networks.base import in_mode
from common.networks.taps import HookedNetwork, as_tapped, list_taps
from common.networks.teachers import build_teacher


class Small(nn.Module):
    """Two convolutions; the second is followed by a ReLU that works in place and is not asked for its result."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.relu, self.linear = nn.ReLU(inplace=True), nn.Linear(5, 6)
        self.idle = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.relu(self.first(x)))
        self.relu(y)
        return self.linear(y.mean((2, 3)))


def test_the_example_of_the_docstring() -> None:
    assert doctest.testmod(module_under_test) == (0, 4)


def test_features_are_what_the_named_modules_put_out_before_anything_changes_them_in_place() -> None:
    torch.manual_seed(0)
    small, x = Small(), torch.randn(2, 3, 8, 8)
    first = small.first(x)
    second = small.second(first.relu())
    logits, taps = as_tapped(small, ("first", "second")).forward_taps(x)
    torch.testing.assert_close(taps, (first, second))
    assert min(map(torch.min, taps)) < 0
    torch.testing.assert_close(logits, small.linear(second.relu().mean((2, 3))))
    assert torch.equal(logits, small(x))


def test_gradients_of_features_and_logits_reach_the_weights() -> None:
    torch.manual_seed(0)
    network, x = as_tapped(Small(), ("second",)), torch.randn(2, 3, 8, 8)
    logits, (second,) = network.forward_taps(x)
    (logits.sum() + second.square().sum()).backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) == ("idle" in name), name


def test_hooks_read_our_networks_as_these_read_themselves() -> None:
    own = unlike_start(build_teacher("resnet20", 10))
    assert as_tapped(own) is own
    hooked = as_tapped(own, ("layer1", "layer2", "layer3"))
    x = torch.randn(2, 3, 16, 16)
    for ours, theirs in zip(own.forward_taps(x)[1], hooked.forward_taps(x)[1], strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(own(x), hooked(x))


def test_copies_and_pickled_networks_work_and_nothing_is_left_on_the_original() -> None:
    torch.manual_seed(0)
    network, x = as_tapped(build_teacher("resnet20", 10), ("layer1.0.bn1", "layer3")).eval(), torch.randn(4, 3, 16, 16)
    expected = network.forward_taps(x)[1]
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert isinstance(twin, HookedNetwork)
        for ours, theirs in zip(twin.forward_taps(x)[1], expected, strict=True):
            assert torch.equal(ours, theirs)
    training = in_mode(network, "train")
    assert isinstance(training, HookedNetwork)
    assert not torch.equal(training.forward_taps(x)[1][1], expected[1])
    assert torch.equal(network.forward_taps(x)[1][1], expected[1])
    assert not any(module._forward_hooks for module in network.modules())


def test_wrong_taps_are_named_with_what_is_near() -> None:
    network = build_teacher("torchvision:resnet18", 4, taps=("layer1",))
    assert isinstance(network, HookedNetwork)
    resnet = network.module
    names = list_taps(resnet)
    assert {"layer1", "layer1.0.conv2", "fc"} <= {*names}
    assert "" not in names
    with pytest.raises(InputError, match=r"tap 'layer5': ResNet has no module of that name; near to it: .*layer4"):
        as_tapped(resnet, ("layer1", "layer5"))
    with pytest.raises(InputError, match=r"tap 'zzz': .*; the outermost are conv1, bn1"):
        as_tapped(resnet, ("zzz",))
    with pytest.raises(InputError, match=r"Small does not say where its features are.*first, second"):
        as_tapped(Small())


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def test_what_lets_out_no_features_or_logits_is_said() -> None:
    x = torch.randn(2, 3, 8, 8)
    with pytest.raises(InputError, match="tap 'idle': this module of Small does not run"):
        as_tapped(Small(), ("idle",)).forward_taps(x)
    with pytest.raises(InputError, match="tap '0': this Pair puts out a tuple, not a tensor"):
        as_tapped(nn.Sequential(Pair()), ("0",)).forward_taps(x)
    with pytest.raises(InputError, match=r"Sequential gives \(2, 4, 6, 6\) instead of logits"):
        as_tapped(nn.Sequential(nn.Conv2d(3, 4, 3)), ("0",)).forward_taps(x)
    with pytest.raises(InputError, match="Sequential gives tuple instead of logits"):
        as_tapped(nn.Sequential(nn.Flatten(), Pair()), ("0",)).forward_taps(x)
