"""The DARTS network: a plain reading of its cells, shapes, the auxiliary head, drop path."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from common.networks import build_network
from common.networks.darts import AuxiliaryHead, Cell, DartsNetwork, FactorizedReduce, drop_images, make_op
from common.spaces.darts import DIL3, DIL5, OPS, SEP3, SEP5, CellPlan, Darts, Genotype
from common.spaces.darts import Cell as CellOps

MIXED = "40 51 20 12 71 33 60 64"
# Node 2 is zero, a pooling and a convolution work on it; node 3 has a `none`, node 5 both operations from one source.
ODD = "00 01 41 00 12 72 33 33"


def cell(text: str) -> CellOps:
    """From an operation's number and a source for each pair."""
    return tuple((int(pair[0]), int(pair[1])) for pair in text.split())


def genotype(normal: str, reduce: str) -> Genotype:
    return Genotype(cell(normal), cell(reduce))


def plain_cell(built: Cell, pairs: CellOps, before: Tensor, last: Tensor, stride: int) -> Tensor:
    """Node by node as DARTS writes it, `none` being a product with zero, on the modules of a built cell."""
    ops = iter(built.ops)
    inputs = [module(x) for module, x in zip(built.preprocess, (before, last), strict=True)]
    nodes = list(inputs)
    for node in range(2, 6):
        total: Tensor | float = 0.0
        for op, source in pairs[2 * node - 4 : 2 * node - 2]:
            step = stride if source < 2 else 1
            if OPS[op] == "none":
                zeros = inputs[1] if inputs[1].shape[1] == built.width else inputs[0]
                total = total + (zeros if source < 2 else nodes[source])[:, :, ::step, ::step] * 0.0
            else:
                total = total + next(ops)(nodes[source])
        nodes.append(total)
    assert next(ops, None) is None
    return torch.cat(nodes[2:], 1)


@pytest.mark.parametrize("layers", [3, 5])
@pytest.mark.parametrize(("normal", "reduce"), [(MIXED, MIXED), (ODD, MIXED), (MIXED, ODD), (ODD, ODD)])
def test_a_network_is_its_cells_read_plainly(normal: str, reduce: str, layers: int) -> None:
    torch.manual_seed(0)
    arch = genotype(normal, reduce)
    network = DartsNetwork(arch, 4, layers, 5, imagenet_stem=False).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)  # so that a convolution of zeros shows
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    before = last = network.stem(x)
    outputs = []
    for index, built in enumerate(network.cells):
        reduction = index in (layers // 3, 2 * layers // 3)
        pairs = arch.reduce if reduction else arch.normal
        before, last = last, plain_cell(built, pairs, before, last, 2 if reduction else 1)
        outputs.append(last)
    logits, taps = network.forward_taps(x)
    torch.testing.assert_close(logits, network.classifier(last.mean((2, 3))))
    for tap, index in zip(taps, (layers // 3 - 1, 2 * layers // 3 - 1, layers - 1), strict=True):
        torch.testing.assert_close(tap, outputs[index])


def test_none_and_unused_inputs_are_not_built() -> None:
    network = DartsNetwork(genotype("40 50 00 01 30 10 00 20", MIXED), 4, 8, 5, imagenet_stem=False)
    first = network.cells[0]
    assert [type(module) for module in first.preprocess] == [nn.Sequential, nn.Identity]
    assert len(first.ops) == 5
    names = [name for name, _ in network.cells[7].named_parameters()]
    assert not any(name.startswith("preprocess.1") for name in names)


def test_a_cell_of_nothing_is_zero() -> None:
    network = DartsNetwork(genotype("00 01 00 01 00 01 00 01", "00 01 00 01 00 01 00 01"), 4, 4, 5, imagenet_stem=False)
    logits, taps = network.forward_taps(torch.randn(2, 3, 8, 8))
    assert [(tuple(tap.shape), bool(tap.any())) for tap in taps] == [
        ((2, 16, 8, 8), False), ((2, 32, 4, 4), False), ((2, 64, 2, 2), False),
    ]  # fmt: skip
    torch.testing.assert_close(logits, network.classifier.bias.expand(2, 5))


@pytest.mark.parametrize(
    ("layers", "size", "imagenet_stem", "shapes"),
    [
        (8, 32, False, [(16, 32), (32, 16), (64, 8)]),
        (20, 8, False, [(16, 8), (32, 4), (64, 2)]),
        (8, 64, True, [(16, 8), (32, 4), (64, 2)]),
        (14, 32, True, [(16, 4), (32, 2), (64, 1)]),
    ],
)
def test_taps_are_the_last_cells_before_each_reduction_and_of_all(
    layers: int, size: int, imagenet_stem: bool, shapes: list[tuple[int, int]]
) -> None:
    network = DartsNetwork(genotype(MIXED, MIXED), 4, layers, 5, imagenet_stem).eval()
    with torch.no_grad():
        logits, taps = network.forward_taps(torch.randn(2, 3, size, size))
    assert logits.shape == (2, 5)
    assert [tuple(tap.shape) for tap in taps] == [(2, width, side, side) for width, side in shapes]


def test_the_space_chooses_the_stem_by_the_size_of_the_images() -> None:
    arch = genotype(MIXED, MIXED)
    small, large = (build_network(Darts(4, 3, 5, size), arch) for size in (64, 96))
    assert isinstance(small.stem_reduce, nn.Identity)
    with torch.no_grad():
        taps = large.forward_taps(torch.randn(2, 3, 96, 96))[1]
    assert [tap.shape[2] for tap in taps] == [12, 6, 3]


def test_too_few_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="2 layers"):
        DartsNetwork(genotype(MIXED, MIXED), 4, 2, 5, imagenet_stem=False)


# operations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("op", "side"),
    [(SEP3, 5), (SEP5, 9), (DIL3, 5), (DIL5, 9)],  # pixels of the input that one output pixel sees, at stride 1
)
def test_a_convolution_sees_its_published_field_of_view(op: int, side: int, stride: int) -> None:
    made = make_op(op, 2, stride).eval()
    for parameter in made.parameters():
        nn.init.constant_(parameter, 1.0)
    x = torch.ones(1, 2, 24, 24, requires_grad=True)
    out = made(x)
    assert out.shape == (1, 2, 24 // stride, 24 // stride)
    out[0, 0, 12 // stride, 12 // stride].backward()
    assert x.grad is not None
    rows, columns = (torch.nonzero(x.grad[0, 1].any(axis)).flatten() for axis in (1, 0))
    if stride == 2 and op in (SEP3, SEP5):  # the second of the two convolutions stands on every other pixel
        side = side + side // 2
    assert int(rows.max() - rows.min()) + 1 == side == int(columns.max() - columns.min()) + 1


def test_factorized_reduce_reads_even_and_odd_pixels() -> None:
    made = FactorizedReduce(1, 2).eval()
    for convolution in (made.even, made.odd):
        nn.init.ones_(convolution.weight)
    x = torch.arange(1.0, 17).view(1, 1, 4, 4) - 6  # 1 to 6 become nought or less
    out = made(x)[0] * (1 + 1e-5) ** 0.5
    torch.testing.assert_close(out, torch.tensor([[[0.0, 0.0], [3.0, 5.0]], [[0.0, 2.0], [8.0, 10.0]]]))


def test_poolings_leave_the_border_out_and_are_normalised() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    average, largest = (make_op(OPS.index(name), 1, 2) for name in ("avg_pool_3x3", "max_pool_3x3"))
    scale = (1 + 1e-5) ** 0.5
    torch.testing.assert_close(average.eval()(x)[0, 0] * scale, torch.tensor([[2.5, 4.0], [8.5, 10.0]]))
    torch.testing.assert_close(largest.eval()(x)[0, 0] * scale, torch.tensor([[5.0, 7.0], [13.0, 15.0]]))
    x = torch.randn(4, 1, 8, 8) * 5 + 3
    for pool in (average, largest):
        y = pool.train()(x).detach()
        assert abs(float(y.mean())) < 1e-5
        assert float(y.std(correction=0)) == pytest.approx(1, abs=1e-4)


# auxiliary head ----------------------------------------------------------------------------------------------------


def test_the_auxiliary_head_is_a_second_classifier_behind_the_second_reduction() -> None:
    torch.manual_seed(0)
    network = DartsNetwork(genotype(MIXED, MIXED), 4, 8, 5, imagenet_stem=False, auxiliary=True)
    assert network.auxiliary_head is not None
    seen: list[Tensor] = []
    network.cells[5].register_forward_hook(lambda module, inputs, output: seen.append(output))
    network.eval()
    x = torch.randn(2, 3, 32, 32)
    logits, auxiliary = network.forward_auxiliary(x)
    assert torch.equal(logits, network(x))
    assert torch.equal(auxiliary, network.auxiliary_head(seen[0]))
    assert auxiliary.shape == (2, 5)
    (logits.sum() + auxiliary.sum()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    without = DartsNetwork(genotype(MIXED, MIXED), 4, 8, 5, imagenet_stem=False)
    weights = 64 * 128 + 128 * 768 * 4 + 768 * 5 + 5 + 2 * (128 + 768)
    assert sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in without.parameters()) == weights
    with pytest.raises(ValueError, match="without auxiliary head"):
        without.forward_auxiliary(x)


@pytest.mark.parametrize(("side", "stride"), [(8, 3), (7, 2)])  # CIFAR, ImageNet
def test_the_auxiliary_head_pools_as_published(side: int, stride: int) -> None:
    head = AuxiliaryHead(6, 5).eval()
    seen: list[Tensor] = []
    head.features.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = torch.randn(2, 6, side, side)
    head(x)
    torch.testing.assert_close(seen[0], nn.AvgPool2d(5, stride)(x.relu()))


@pytest.mark.parametrize("side", [2, 3, 4, 5, 6, 16, 17])
def test_the_auxiliary_head_takes_features_of_other_sides(side: int) -> None:
    assert AuxiliaryHead(3, 5)(torch.randn(2, 3, side, side)).shape == (2, 5)


# drop path ---------------------------------------------------------------------------------------------------------


def test_dropped_images_are_zero_and_the_others_scaled_so_that_the_mean_stays() -> None:
    torch.manual_seed(0)
    x = torch.rand(4000, 2, 3, 3) + 1
    y = drop_images(x, 0.2)
    kept = y[:, 0, 0, 0] != 0
    assert float(kept.float().mean()) == pytest.approx(0.8, abs=0.02)  # 3 standard deviations
    torch.testing.assert_close(y[kept], x[kept] / 0.8)
    assert not y[~kept].any()


def whole_cell(text: str) -> Cell:
    return Cell(cell(text), CellPlan(4, 4, 4, reduction=False, after_reduction=False, halvings=0))


def test_drop_path_spares_identities_and_nothing_else() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 4, 4, 4)
    skips = whole_cell("30 31 30 31 30 31 30 31")
    torch.testing.assert_close(skips(x, x, 0.9), skips(x, x, 0.0))
    for op in (1, 2, 4, 5, 6, 7):
        made = whole_cell(f"{op}0 00 {op}1 00 30 00 00 01")
        nodes = made(x, x, 0.75).unflatten(1, (4, 4))
        dropped = (nodes == 0).all(dim=(2, 3, 4))
        assert dropped.float().mean(0)[:2].tolist() == pytest.approx([0.75, 0.75], abs=0.1)
        assert not torch.equal(dropped[:, 0], dropped[:, 1])  # an operation each by itself
        assert (dropped[:, 2].any(), dropped[:, 3].all()) == (False, True)
        there = ~dropped[:, 0]
        torch.testing.assert_close(nodes[there, 0], made(x, x, 0.0).unflatten(1, (4, 4))[there, 0] * 4)


def test_drop_path_acts_in_train_mode_only_and_follows_its_attribute() -> None:
    network = DartsNetwork(genotype(MIXED, MIXED), 4, 3, 5, imagenet_stem=False)
    x = torch.randn(4, 3, 8, 8)

    def differs() -> bool:
        torch.manual_seed(0)
        first = network(x)
        torch.manual_seed(1)
        return not torch.equal(first, network(x))

    assert network.drop_path == 0.0
    assert not differs()
    network.drop_path = 0.3
    assert differs()
    network.eval()
    assert not differs()
