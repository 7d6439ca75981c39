"""The ImageNet teacher: torchvision's ResNet-152 by its own weights, FB's weights, and the download."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models.resnet import Bottleneck, ResNet
from unlike import unlike_start

from common.errors import InputError
from common.networks.teachers import build_teacher, load_teacher


def watched(network: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits of torchvision's network, and what its max-pool, layer2 and layer4 give."""
    taps: list[Tensor] = []
    for name in ("maxpool", "layer2", "layer4"):
        getattr(network, name).register_forward_hook(lambda _, __, output: taps.append(output))
    with torch.inference_mode():
        return network(x), taps


def assert_same(network: Any, x: Tensor, logits: Tensor, taps: list[Tensor]) -> None:
    with torch.inference_mode():
        found, found_taps = network.forward_taps(x)
    torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4 * float(logits.abs().max()))
    assert len(found_taps) == len(taps) == 3
    for ours, theirs in zip(found_taps, taps, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def test_torchvisions_state_dict_gives_torchvisions_logits_and_features() -> None:
    theirs = unlike_start(resnet.resnet152(num_classes=9))
    with torch.device("meta"):  # no initial weights, which would take longer than all the rest
        ours = build_teacher("fbresnet152", 9).eval()
    ours.load_state_dict(theirs.state_dict(), assign=True)
    x = torch.randn(1, 3, 64, 64)
    logits, taps = watched(theirs, x)
    assert 1e-3 < logits.std() < 1e30
    assert [tuple(tap.shape) for tap in taps] == [(1, 64, 16, 16), (1, 512, 8, 8), (1, 2048, 2, 2)]
    assert_same(ours, x, logits, taps)


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """ResNet-152 with one block a stage instead of 3, 8, 36 and 3: the same names, and fast."""
    monkeypatch.setattr(
        "torchvision.models.resnet152", lambda num_classes: ResNet(Bottleneck, [1, 1, 1, 1], num_classes)
    )


def fb_network(num_classes: int) -> nn.Module:
    """As the FB-ResNet-152 is: every convolution has a bias."""
    network = ResNet(Bottleneck, [1, 1, 1, 1], num_classes)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.bias = nn.Parameter(torch.zeros(module.out_channels))
    return unlike_start(network)


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_fbs_weights_give_fbs_logits_and_features(mode: str, tmp_path: Path) -> None:
    theirs = fb_network(10)
    state = {key.replace("fc.", "last_linear."): value.clone() for key, value in theirs.state_dict().items()}
    assert "layer1.0.downsample.0.bias" in state
    assert "conv1.bias" in state
    torch.save(state, tmp_path / "fb.pth")
    ours = load_teacher("fbresnet152", tmp_path / "fb.pth", 10)
    x = torch.randn(3, 3, 64, 64)
    assert_same(ours.train(mode == "train"), x, *watched(theirs.train(mode == "train"), x))


@pytest.mark.usefixtures("thin")
def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(build_teacher("fbresnet152", 10).state_dict(), path)
    load_teacher("fbresnet152", path, 10)
    with pytest.raises(InputError, match="a fbresnet152 of 10 classes, the data set has 1000"):
        load_teacher("fbresnet152", path, 1000)
    torch.save(build_teacher("resnet20", 10).state_dict(), path)
    with pytest.raises(InputError, match="not the weights of fbresnet152"):
        load_teacher("fbresnet152", path, 10)
    state = {key: value for key, value in fb_network(10).state_dict().items() if key != "layer2.0.bn3.running_mean"}
    torch.save(state, path)
    with pytest.raises(InputError, match=r"1 keys missing \('layer2.0.bn3.running_mean' first\), 1 keys too many"):
        load_teacher("fbresnet152", path, 10)


@pytest.mark.usefixtures("thin")
def test_torchvisions_weights_are_downloaded_once_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    theirs = unlike_start(ResNet(Bottleneck, [1, 1, 1, 1], 1000))
    asked: list[tuple[str, str]] = []

    def download(url: str, dst: str, hash_prefix: str) -> None:
        asked.append((url, hash_prefix))
        torch.save(theirs.state_dict(), dst)

    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    x = torch.randn(1, 3, 64, 64)
    for _ in range(2):
        assert_same(load_teacher("fbresnet152", "torchvision", 1000), x, *watched(theirs, x))
        for name in ("maxpool", "layer2", "layer4"):
            getattr(theirs, name)._forward_hooks.clear()
    assert asked == [("https://download.pytorch.org/models/resnet152-394f9c45.pth", "394f9c45")]
    assert [*tmp_path.rglob("resnet152-394f9c45.pth")]
    with pytest.raises(InputError, match="of 1000 classes, the data set has 10"):
        load_teacher("fbresnet152", "torchvision", 10)


@pytest.mark.parametrize("error", [URLError("Name or service not known"), RuntimeError("invalid hash value\nmore")])
def test_a_download_that_fails_is_one_line_with_the_way_out(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", fail)
    reason = "Name or service not known|invalid hash value"
    with pytest.raises(InputError, match=rf"cannot be downloaded .*({reason})\); put https.*or name a file") as caught:
        load_teacher("fbresnet152", "torchvision", 1000)
    assert "\n" not in str(caught.value)
