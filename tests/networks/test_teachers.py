"""The teachers: the published networks by independent references, and what is said about weights that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from unlike import unlike_start

from common.datasets.images import ImageSet, load_images
from common.errors import InputError
from common.networks.teachers import TEACHERS, build_teacher, load_teacher
from common.spaces.nasbench201 import EDGES, OPS, NasBench201
from common.training.classifier import evaluate


@pytest.mark.parametrize("name", sorted(TEACHERS))
def test_every_teacher_gives_logits_and_three_feature_maps(name: str) -> None:
    network = build_teacher(name, 7).eval()
    with torch.inference_mode():
        logits, taps = network.forward_taps(torch.randn(2, 3, 16, 16))
    widths, sizes = {
        "resnet20": ((16, 32, 64), (16, 8, 4)),
        "resnet32": ((16, 32, 64), (16, 8, 4)),
        "resnet101": ((256, 1024, 2048), (16, 4, 2)),
        "nasbench201": ((16, 32, 64), (16, 8, 4)),
        "fbresnet152": ((64, 512, 2048), (4, 2, 1)),
    }[name]
    assert logits.shape == (2, 7)
    assert [tap.shape for tap in taps] == [(2, w, s, s) for w, s in zip(widths, sizes, strict=True)]


def resnet_reference(w: dict[str, Tensor], x: Tensor, blocks: int) -> tuple[Tensor, list[Tensor]]:
    """A CIFAR ResNet written as in the paper, from its weights; projections where there are weights of such."""

    def norm(x: Tensor, key: str) -> Tensor:
        mean, var, scale, shift = (w[f"{key}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, scale, shift)

    x = F.relu(norm(F.conv2d(x, w["conv1.weight"], padding=1), "bn1"))
    taps = []
    for stage in (1, 2, 3):
        for block in range(blocks):
            key = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            y = F.relu(norm(F.conv2d(x, w[f"{key}.conv1.weight"], stride=stride, padding=1), f"{key}.bn1"))
            y = norm(F.conv2d(y, w[f"{key}.conv2.weight"], padding=1), f"{key}.bn2")
            if f"{key}.shortcut.0.weight" in w:
                x = norm(F.conv2d(x, w[f"{key}.shortcut.0.weight"], stride=stride), f"{key}.shortcut.1")
            elif stride == 2:
                quarter = torch.zeros_like(y)[:, : y.shape[1] // 4]
                x = torch.cat((quarter, x[:, :, ::2, ::2], quarter), dim=1)
            x = F.relu(x + y)
        taps.append(x)
    return F.linear(x.mean((2, 3)), w["linear.weight"], w["linear.bias"]), taps


def assert_same(network: Any, x: Tensor, logits: Tensor, taps: list[Tensor]) -> None:
    with torch.inference_mode():
        found, found_taps = network.forward_taps(x)
    torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-5)
    assert len(found_taps) == len(taps)
    for ours, theirs in zip(found_taps, taps, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_resnet20_is_the_papers_with_parameter_free_shortcuts() -> None:
    network = unlike_start(build_teacher("resnet20", 10))
    assert sum(p.numel() for p in network.parameters()) == 269_722
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert_same(network, x, *resnet_reference(network.state_dict(), x, blocks=3))


def test_resnet32_has_five_blocks_a_stage_and_projections() -> None:
    network = unlike_start(build_teacher("resnet32", 100))
    assert sum(p.numel() for p in network.parameters()) == 472_756
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert_same(network, x, *resnet_reference(network.state_dict(), x, blocks=5))


def test_resnet32_takes_weights_with_downsamples_and_a_biased_stem_for_what_they_were(tmp_path: Path) -> None:
    ours = unlike_start(build_teacher("resnet32", 10))
    bias, x = torch.randn(16), torch.randn(2, 3, 16, 16)
    state = {key.replace("shortcut", "downsample"): value for key, value in ours.state_dict().items()}
    torch.save({"state_dict": {**state, "conv1.bias": bias}}, tmp_path / "w.pt")
    loaded = load_teacher("resnet32", tmp_path / "w.pt", 10)
    ours.conv1.register_forward_hook(lambda _, __, output: output + bias.view(-1, 1, 1))
    with torch.inference_mode():
        torch.testing.assert_close(loaded(x), ours(x), rtol=1e-4, atol=1e-4)


def test_resnet101_is_torchvisions_with_a_stem_for_small_images() -> None:
    from torchvision.models import resnet101

    network = unlike_start(build_teacher("resnet101", 100))
    theirs = resnet101(num_classes=100).eval()
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), network.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        first = theirs.layer1(theirs.relu(theirs.bn1(theirs.conv1(x))))
        third = theirs.layer3(theirs.layer2(first))
        assert_same(network, x, theirs(x), [first, third, theirs.layer4(third)])


# weights -----------------------------------------------------------------------------------------------------------


def published(network: nn.Module) -> dict[str, Any]:
    """As the CIFAR-10 checkpoint is: `module.` before the names, no batch counts, accuracy beside them."""
    state = {f"module.{k}": v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    return {"best_prec1": 91.7, "state_dict": state}


@pytest.mark.parametrize("form", ["published", "bare"])
def test_weights_arrive_and_the_teacher_is_frozen_in_eval_mode(form: str, tmp_path: Path) -> None:
    network = unlike_start(build_teacher("resnet20", 10))
    torch.save(published(network) if form == "published" else network.state_dict(), tmp_path / "w.th")
    loaded = load_teacher("resnet20", tmp_path / "w.th", 10)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded(x), network(x))
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


def test_weights_that_do_not_fit_are_named_with_what_is_wrong(tmp_path: Path) -> None:
    def refuse(content: Any, message: str, name: str = "resnet20", classes: int = 10) -> None:
        path = tmp_path / "w.th"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(InputError) as caught:
            load_teacher(name, path, classes)
        assert message in str(caught.value)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    network = build_teacher("resnet20", 10)
    state = network.state_dict()
    refuse(published(network), "a resnet20 of 10 classes, the data set has 100", classes=100)
    refuse(published(network), "'conv1.0.weight' first", name="resnet101")
    refuse({key: value for key, value in state.items() if key != "bn1.bias"}, "1 keys missing ('bn1.bias' first)")
    refuse({**state, "extra": torch.zeros(1)}, "1 keys too many ('extra' first)")
    refuse({**state, "conv1.weight": torch.zeros(8, 3, 3, 3)}, "'conv1.weight' is (8, 3, 3, 3), resnet20 has (16, 3")
    refuse({"epoch": 3, "best": 9.1}, "no weights in it")
    refuse([1, 2], "holds a list")
    refuse(b"", "not a PyTorch checkpoint")
    refuse(b"no checkpoint", "not a PyTorch checkpoint")
    with pytest.raises(InputError, match=r"none\.th: no such weights file"):
        load_teacher("resnet20", tmp_path / "none.th", 10)
    with pytest.raises(InputError, match="unknown teacher 'vgg'; choose from resnet20"):
        build_teacher("vgg", 10)


# others' networks --------------------------------------------------------------------------------------------------

TAPS = ("layer1", "layer2", "layer4")


@pytest.mark.parametrize("name", ["resnet18", "torchvision:resnet18"])
def test_torchvisions_networks_are_teachers_by_their_names(name: str, tmp_path: Path) -> None:
    from torchvision.models import resnet18

    theirs = unlike_start(resnet18(num_classes=7))
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    loaded = load_teacher(name, tmp_path / "w.pt", 7, taps=TAPS)
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        logits, taps = loaded.forward_taps(x)
        assert torch.equal(logits, theirs(x))
        assert [tuple(tap.shape) for tap in taps] == [(2, 64, 8, 8), (2, 128, 4, 4), (2, 512, 1, 1)]
    assert not any(p.requires_grad for p in loaded.parameters())
    with pytest.raises(InputError, match=r"a .*resnet18 of 7 classes, the data set has 8"):
        load_teacher(name, tmp_path / "w.pt", 8, taps=TAPS)
    with pytest.raises(InputError, match=r"ResNet does not say where its features are.*layer1, layer2"):
        load_teacher(name, tmp_path / "w.pt", 7)


def test_our_resnet101_is_not_torchvisions() -> None:
    with torch.device("meta"):
        assert build_teacher("resnet101", 10).conv1[0].stride == (1, 1)  # type: ignore[index, union-attr]
        theirs = build_teacher("torchvision:resnet101", 10, taps=("layer1",))
    assert theirs.module.conv1.stride == (2, 2)  # type: ignore[union-attr]


def test_a_teacher_of_ones_own_is_reached_by_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_teacher.py").write_text(
        "from torch import nn\n"
        "def build(num_classes):\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, num_classes))\n"
        "size = len\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    network = build_teacher("own_teacher:build", 5, taps=("1",))
    logits, taps = network.forward_taps(torch.randn(2, 3, 8, 8))
    assert (logits.shape, [tap.shape for tap in taps]) == ((2, 5), [(2, 4, 6, 6)])
    torch.save({"state_dict": network.state_dict()}, tmp_path / "w.pt")  # as a trained teacher of ours is written
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(load_teacher("own_teacher:build", tmp_path / "w.pt", 5, taps=("1",))(x), network(x))
    with pytest.raises(InputError, match="has nothing called 'built'"):
        build_teacher("own_teacher:built", 5)


class Touch:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "evil": Touch(tmp_path / "ran")}, tmp_path / "w.th")
    with pytest.raises(InputError, match="not a PyTorch checkpoint of plain tensors"):
        load_teacher("resnet20", tmp_path / "w.th", 10)
    assert not (tmp_path / "ran").exists()


# official NAS-Bench-201 results ------------------------------------------------------------------------------------


class OfficialNetwork(nn.Module):
    """The benchmark's network with the official names, every edge built, `none` included."""

    def __init__(self, ops: tuple[int, ...], channels: int, cells: int, classes: int) -> None:
        super().__init__()
        self.ops = ops
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.cells = nn.ModuleList()
        for stage in range(3):
            width = channels * 2**stage
            if stage:
                self.cells.append(self._reduction(width))
            for _ in range(cells):
                self.cells.append(nn.Module())
                layers = [self._conv(width, width, int(OPS[o][-1])) if "conv" in OPS[o] else nn.Module() for o in ops]
                for layer, op in zip(layers, ops, strict=True):
                    layer.kind = OPS[op]  # type: ignore[assignment]
                self.cells[-1].layers = nn.ModuleList(layers)
        self.lastact = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, classes)

    @staticmethod
    def _conv(width_in: int, width: int, kernel: int, stride: int = 1) -> nn.Module:
        module = nn.Module()
        conv = nn.Conv2d(width_in, width, kernel, stride, kernel // 2, bias=False)
        module.op = nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(width))
        return module

    def _reduction(self, width: int) -> nn.Module:
        block = nn.Module()
        block.conv_a, block.conv_b = self._conv(width // 2, width, 3, 2), self._conv(width, width, 3)
        block.downsample = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(width // 2, width, 1, bias=False))
        return block

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for cell in self.cells:
            if hasattr(cell, "downsample"):
                x = cell.conv_b.op(cell.conv_a.op(x)) + cell.downsample(x)  # type: ignore[operator]
                continue
            nodes = [x]
            for target in (1, 2, 3):
                incoming = [e for e, edge in enumerate(EDGES) if edge[1] == target]
                nodes.append(sum(self._apply_edge(cell.layers[e], nodes[EDGES[e][0]]) for e in incoming))  # type: ignore
            x = nodes[-1]
        return self.classifier(self.lastact(x).mean((2, 3)))

    @staticmethod
    def _apply_edge(layer: Any, x: Tensor) -> Tensor:
        if layer.kind == "none":
            return torch.zeros_like(x)
        if layer.kind == "skip_connect":
            return x
        if layer.kind == "avg_pool_3x3":
            return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return layer.op(x)


def official_file(path: Path, cell: str, runs: dict[tuple[str, int], int], weights: bool = True) -> dict[Any, Any]:
    """Written with the benchmark's own classes; returns the trained networks."""
    api_utils = pytest.importorskip("nas_201_api.api_utils")
    results = api_utils.ArchResults(9930, cell)
    networks = {}
    for (dataset, seed), classes in runs.items():
        network = unlike_start(OfficialNetwork(NasBench201().parse(cell).ops, 16, 2, classes))
        config = {"channel": 16, "num_cells": 2, "arch_str": cell, "class_num": classes}
        state = network.state_dict() if weights else None
        results.update(
            dataset, seed, api_utils.ResultsCount(dataset, state, {}, {}, 0.1, 1.0, config, seed, 200, [0.1])
        )
        networks[dataset, seed] = network
    torch.save({"full": results.state_dict(), "less": {}}, path)
    return networks


CELL = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


def test_a_trained_benchmark_network_is_rebuilt_from_the_official_result_file(tmp_path: Path) -> None:
    runs = {("cifar100", 777): 100, ("ImageNet16-120", 888): 120, ("ImageNet16-120", 777): 120}
    networks = official_file(tmp_path / "cell.pth", CELL, runs)
    x = torch.randn(2, 3, 16, 16)
    for key, classes in {("ImageNet16-120", 777): 120, ("cifar100", 777): 100}.items():
        loaded = load_teacher("nasbench201", tmp_path / "cell.pth", classes)
        with torch.inference_mode():
            torch.testing.assert_close(loaded(x), networks[key](x), rtol=1e-4, atol=1e-4)
    with pytest.raises(
        InputError, match="no training on a data set of 10 classes; there are: ImageNet16-120, cifar100"
    ):
        load_teacher("nasbench201", tmp_path / "cell.pth", 10)


def test_result_files_without_weights_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cell.pth"
    official_file(path, CELL, {("cifar10", 777): 10}, weights=False)
    with pytest.raises(InputError, match="without the network's weights"):
        load_teacher("nasbench201", path, 10)
    official_file(path, CELL.replace("|nor_conv_3x3~0|+|nor_conv_1x1~0|", "|none~0|+|nor_conv_1x1~0|", 1)
                  .replace("none~1", "nor_conv_1x1~1"), {("cifar10", 777): 10})  # fmt: skip
    with pytest.raises(InputError, match="a convolution behind a node without input"):
        load_teacher("nasbench201", path, 10)
    torch.save({"full": {"arch_str": CELL}}, path)
    with pytest.raises(InputError, match="not an official result file"):
        load_teacher("nasbench201", path, 10)
    path.write_bytes(b"neither")
    with pytest.raises(InputError, match="not a PyTorch checkpoint"):
        load_teacher("nasbench201", path, 10)
    with pytest.raises(InputError, match="no such weights file"):
        load_teacher("nasbench201", tmp_path / "none.pth", 10)


def test_weights_of_cell_9930_trained_here_are_loaded(tmp_path: Path) -> None:
    network = unlike_start(build_teacher("nasbench201", 120))
    torch.save({"state_dict": network.state_dict()}, tmp_path / "w.pt")
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(load_teacher("nasbench201", tmp_path / "w.pt", 120)(x), network(x))


# the published teacher ---------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_the_published_resnet20_classifies_cifar10_as_it_should(shared_data: Path) -> None:
    images = load_images("cifar10", shared_data / "cifar" / "cifar10_subset.npz")
    some = ImageSet(**{**vars(images), "x_test": images.x_test[:500], "y_test": images.y_test[:500]})
    teacher = load_teacher("resnet20", shared_data / "teachers" / "resnet20_cifar10.th", 10)
    assert evaluate(teacher, some) > 89
    assert np.isclose(evaluate(teacher, some, mode="train"), 88, atol=4)


@pytest.mark.shared
def test_the_published_resnet32_classifies_cifar100_as_it_should(shared_data: Path) -> None:
    images = load_images("cifar100", shared_data / "cifar" / "cifar100_subset.npz")
    teacher = load_teacher("resnet32", shared_data / "teachers" / "resnet32_cifar100.pt", 100)
    assert evaluate(teacher, images) == pytest.approx(69.9, abs=0.1)


@pytest.mark.shared
def test_the_published_resnet32_classifies_tiny_imagenet_as_it_should(shared_data: Path) -> None:
    teacher = load_teacher("resnet32", shared_data / "teachers" / "resnet32_tinyimagenet32.pt", 200)
    with np.load(shared_data / "tiny_imagenet" / "tiny_imagenet120_32px.npz") as stored:
        x, y = (torch.from_numpy(stored[key]) for key in ("x_test", "y_test"))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        found = [teacher(((part / 255 - mean) / std).permute(0, 3, 1, 2)).argmax(1) for part in x.split(400)]
    assert (torch.cat(found) == y).float().mean() == pytest.approx(0.49, abs=0.005)
