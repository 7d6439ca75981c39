"""Networks of MBConv blocks against torchvision's, against the spaces' costs, and their taps."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenetv2, mobilenetv3
from unlike import unlike_start

from common.networks import build_network
from common.networks.mobilenet import InvertedResidual
from common.spaces import make_space
from common.spaces.mobilenet import MobileNet
from common.spaces.proxyless import Proxyless

SMALL: dict[str, Any] = {"width": 0.2, "num_classes": 5, "image_size": 40}


def same_outputs(ours: nn.Module, theirs: nn.Module, size: int, leave_out: tuple[str, ...] = ()) -> None:
    """Puts our weights into their network, in order; `leave_out` are theirs that we lack, set to zero."""
    unlike_start(ours)
    values = iter(ours.state_dict().values())
    state = {k: torch.zeros_like(v) if k in leave_out else next(values) for k, v in theirs.state_dict().items()}
    assert next(values, None) is None
    theirs.load_state_dict(state)
    x = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        expected = theirs.eval()(x)
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_the_mobilenet_is_torchvisions_mobilenet_v3_with_these_blocks() -> None:
    space = MobileNet(width=1.0, num_classes=6)
    arch = space.parse(
        "k3e1,k5e3,-,k7e6|k5e6,-,-,k3e3|k7e3,k3e6,k3e3,k5e3|k3e1,-,k7e3,-|k5e3,k3e6,k5e6,k7e6"
    )  # fmt: skip
    widths, se = (24, 40, 80, 112, 160), (False, True, False, True, True)
    acts, strides = ("RE", "RE", "HS", "HS", "HS"), (2, 2, 2, 1, 2)
    settings = [mobilenetv3.InvertedResidualConfig(16, 3, 16, 16, False, "RE", 1, 1, 1.0)]
    width_in = 16
    for stage, width, excite, act, first in zip(space.format(arch).split("|"), widths, se, acts, strides, strict=True):
        stride = first
        for token in (token for token in stage.split(",") if token != "-"):
            kernel, expansion = int(token[1]), int(token[3])
            settings.append(
                mobilenetv3.InvertedResidualConfig(
                    width_in, kernel, width_in * expansion, width, excite, act, stride, 1, 1.0
                )
            )
            width_in, stride = width, 1
    theirs = mobilenetv3.MobileNetV3(settings, 1280, num_classes=6, norm_layer=nn.BatchNorm2d)
    same_outputs(build_network(space, arch), theirs, 48, leave_out=("classifier.0.bias",))


def test_the_proxyless_network_is_torchvisions_mobilenet_v2_with_these_stages() -> None:
    space = Proxyless(num_classes=6)
    arch = space.parse("k3e3,-,-,-|k3e6,k3e6,-,-|k3e3,k3e3,k3e3,-|k3e6,-,-,-|k3e6,k3e6,k3e6,k3e6|k3e6")
    settings = [
        [1, 16, 1, 1], [3, 24, 1, 2], [6, 40, 2, 2], [3, 80, 3, 2], [6, 96, 1, 1], [6, 192, 4, 2], [6, 320, 1, 1]
    ]  # fmt: skip
    norm = partial(nn.BatchNorm2d, eps=1e-3)
    theirs = mobilenetv2.MobileNetV2(num_classes=6, inverted_residual_setting=settings, norm_layer=norm)
    same_outputs(build_network(space, arch), theirs, 48)


@pytest.mark.parametrize("name", ["mobilenet", "proxyless"])
def test_what_runs_is_what_is_counted(name: str) -> None:
    space: Any = make_space(name, **SMALL)
    rng = np.random.default_rng(3)
    for _ in range(4):
        arch = space.sample(rng)
        network = build_network(space, arch).eval()
        macs = 0

        def count(module: nn.Module, _: Any, output: Tensor) -> None:
            nonlocal macs
            macs += module.weight.numel() * output.shape[2:].numel()  # type: ignore[union-attr, operator]

        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.register_forward_hook(count)
        with torch.inference_mode():
            network(torch.randn(1, 3, 40, 40))
        flops, params = space.total_costs(space.to_codes([arch]))
        assert (macs, sum(p.numel() for p in network.parameters())) == (flops[0], params[0])


def block_outputs(network: nn.Module, x: Tensor) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """What every block gives, the first being the fixed one, and the taps."""
    outputs: list[Tensor] = []
    for module in network.modules():
        if isinstance(module, InvertedResidual):
            module.register_forward_hook(lambda _, __, output: outputs.append(output))
    with torch.inference_mode():
        return outputs, network.eval().forward_taps(x)[1]  # type: ignore[operator]


def test_mobilenet_taps_are_blocks_4_12_and_20() -> None:
    space = MobileNet(**SMALL)
    deep = build_network(space, space.from_code(np.full(20, 1)))
    outputs, taps = block_outputs(deep, torch.randn(2, 3, 40, 40))
    assert len(outputs) == 21
    assert all(torch.equal(outputs[block], tap) for block, tap in zip((4, 12, 20), taps, strict=True))
    short = build_network(space, space.parse("k3e3,-,-,-|k3e3,-,-,-|k3e3,-,k5e3,-|k3e3,k3e3,-,-|k3e3,-,-,-"))
    outputs, taps = block_outputs(short, torch.randn(2, 3, 40, 40))
    assert len(outputs) == 8
    assert all(torch.equal(outputs[block], tap) for block, tap in zip((1, 4, 7), taps, strict=True))


def test_proxyless_taps_are_the_ends_of_stages_2_and_4_and_the_last_convolution() -> None:
    space = Proxyless(**SMALL)
    network = build_network(
        space, space.parse("k3e3,k3e3,-,-|k3e3,-,-,-|k3e3,k3e3,k3e3,-|k3e3,-,-,-|k5e3,k3e3,-,-|k3e3")
    )
    last: list[Tensor] = []
    network.expand.register_forward_hook(lambda _, __, output: last.append(output))  # type: ignore[union-attr]
    outputs, taps = block_outputs(network, torch.randn(2, 3, 40, 40))
    assert len(outputs) == 11
    assert torch.equal(taps[0], outputs[3])
    assert torch.equal(taps[1], outputs[7])
    assert torch.equal(taps[2], last[0])
    assert taps[2].shape == (2, 1280, 2, 2)
