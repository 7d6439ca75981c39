"""The networks that spaces build: what torch really runs is what the spaces count."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from common.networks import build_network
from common.networks.base import TappedNetwork
from common.networks.darts import depthwise
from common.networks.layers import EverySecond
from common.networks.macro import InvertedResidual
from common.networks.nasbench101 import Cell as CellNetwork101
from common.networks.nasbench201 import Cell as CellNetwork201
from common.networks.nasbench201 import Network201
from common.spaces.macro import Macro
from common.spaces.nasbench101 import Cell101, NasBench101
from common.spaces.nasbench201 import CONV1, CONV3, EDGES, NONE, POOL, SKIP, Cell201, NasBench201

MACRO = Macro(channels=8, image_size=16)
NB101 = NasBench101(channels=12, image_size=8)
NB201 = NasBench201(channels=4, cells_per_stage=2, image_size=8)


def num_params(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def run_watched(network: nn.Module, image_size: int, *kinds: type[nn.Module]) -> dict[str, tuple[nn.Module, int]]:
    """Runs one image; module name -> (module, pixels of its output) of every module of `kinds` that came up."""
    ran: dict[str, tuple[nn.Module, int]] = {}

    def note(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, _: Any, output: Tensor) -> None:
            assert name not in ran
            ran[name] = module, output.shape[2] * output.shape[3]

        return hook

    for name, module in network.named_modules():
        if isinstance(module, kinds):
            module.register_forward_hook(note(name))
    with torch.no_grad():
        network.eval()(torch.randn(1, 3, image_size, image_size))
    return ran


def macs(module: nn.Module, pixels: int) -> int:
    assert isinstance(module, nn.Conv2d)
    return module.weight.numel() * pixels


# NAS-Bench-101 -------------------------------------------------------------------------------------------------


def cells_101(count: int) -> list[Cell101]:
    """Random pruned cells, the smallest one and one where the input is added to the output."""
    rng = np.random.default_rng(2)
    drawn = [NB101.from_code(NB101.to_codes([NB101.sample(rng)])[0]) for _ in range(count)]
    skip = ((0, 1, 1, 1), (0, 0, 0, 1), (0, 0, 0, 1), (0, 0, 0, 0))
    return [Cell101(((0, 1), (0, 0)), ()), Cell101(skip, (0, 2)), *drawn]


def test_101_parameters_equal_the_cost_model() -> None:
    for arch in cells_101(20):
        assert num_params(build_network(NB101, arch)) == NB101.total_costs(NB101.to_codes([arch]))[1][0]


def test_101_flops_of_every_vertex_equal_the_cost_model() -> None:
    sums_seen = 0
    for arch in cells_101(12):
        network = build_network(NB101, arch)
        n = arch.num_vertices
        counted = np.zeros((9, 7), dtype=np.int64)
        with AdditionCounter() as additions:
            ran = run_watched(network, 8, nn.Conv2d, nn.MaxPool2d)
        cells = [name for name, module in network.named_modules() if isinstance(module, CellNetwork101)]
        assert len(cells) == 9
        for name, (module, pixels) in ran.items():
            cell = next((cell for cell in cells if name.startswith(f"{cell}.")), None)
            if cell is None:
                continue
            kind, place = name[len(cell) + 1 :].split(".")[:2]
            vertex = int(place) if kind == "projections" else int(place) + 1
            owner = network.get_submodule(cell)
            assert isinstance(owner, CellNetwork101)
            if isinstance(module, nn.MaxPool2d):
                flops = 9 * owner.channels[vertex] * pixels
            else:
                flops = 2 * macs(module, pixels)
            counted[cells.index(cell), 6 if vertex == n - 1 else vertex] += flops
        model = NB101.costs(NB101.to_codes([arch])).flops[0]
        sums = model - counted  # what the model counts besides convolutions and poolings: additions at each vertex
        assert (sums >= 0).all()
        fan_in = np.array(arch.matrix).sum(0)
        for v in range(1, n - 1):
            assert ((sums[:, v] > 0) == (fan_in[v] > 1)).all()
        assert sums.sum() == additions.elements
        sums_seen += additions.elements
    assert sums_seen > 0


class AdditionCounter(TorchDispatchMode):
    """Counts the elements that torch adds to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.add.Tensor:
            self.elements += out.numel()
        return out


def test_101_cell_computes_what_its_description_says() -> None:
    """Vertex 1 (5 wide) feeds 2 and the output, 2 and 3 (4 wide each) feed the output, the input feeds 1, 3, output."""
    matrix = (
        (0, 1, 0, 1, 1),
        (0, 0, 1, 0, 1),
        (0, 0, 0, 1, 1),
        (0, 0, 0, 0, 1),
        (0, 0, 0, 0, 0),
    )
    cell = CellNetwork101(matrix, (0, 2, 1), width_in=6, width=13)
    assert cell.channels == [6, 5, 4, 4, 13]
    x = torch.randn(2, 6, 5, 5)
    to_1, to_3, to_output = (cell.projections[v](x) for v in "134")
    one = cell.ops[0](to_1)
    two = nn.functional.max_pool2d(one[:, :4], 3, stride=1, padding=1)
    three = cell.ops[2](two + to_3)
    assert torch.allclose(cell(x), torch.cat([one, two, three], dim=1) + to_output)
    for projection, width in ((cell.projections["1"], 5), (cell.projections["3"], 4), (cell.projections["4"], 13)):
        kinds = [type(layer) for layer in projection]
        assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
        assert projection[0].weight.shape == (width, 6, 1, 1)


def test_101_batch_norm_and_first_weights_are_the_originals() -> None:
    torch.manual_seed(0)
    network = build_network(NasBench101(channels=64), cells_101(1)[-1])
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-5, 0.003)}
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            assert module.weight.detach().std().item() * fan_in**0.5 == pytest.approx(1.0, abs=0.1)


def test_101_dead_vertices_are_not_built() -> None:
    dead = Cell101(((0, 1, 1, 0), (0, 0, 0, 1), (0, 0, 0, 0), (0, 0, 0, 0)), (0, 0))
    alive = Cell101(((0, 1, 0), (0, 0, 1), (0, 0, 0)), (0,))
    assert {k: v.shape for k, v in build_network(NB101, dead).state_dict().items()} == {
        k: v.shape for k, v in build_network(NB101, alive).state_dict().items()
    }


# NAS-Bench-201 -------------------------------------------------------------------------------------------------


def cells_201(count: int) -> list[Cell201]:
    """Random cells, the empty one, and ones with dead edges."""
    rng = np.random.default_rng(1)
    dead_ends = [(CONV3, CONV1, CONV3, SKIP, NONE, NONE), (NONE, NONE, CONV1, CONV3, CONV3, CONV1)]
    return [Cell201((NONE,) * 6), *map(Cell201, dead_ends), *(NB201.sample(rng) for _ in range(count))]


def live_edges(arch: Cell201) -> set[int]:
    """Edges on a way from node 0 to node 3 without `none`."""
    live: set[int] = set()
    for way in ((0, 3), (0, 1, 3), (0, 2, 3), (0, 1, 2, 3)):
        edges = {EDGES.index(edge) for edge in itertools.pairwise(way)}
        if all(arch.ops[edge] != NONE for edge in edges):
            live |= edges
    return live


def live_twin(arch: Cell201) -> Cell201:
    """The cell with its dead edges emptied."""
    return Cell201(tuple(op if edge in live_edges(arch) else NONE for edge, op in enumerate(arch.ops)))


def test_201_parameters_equal_the_cost_model_of_the_live_cell() -> None:
    twins = 0
    for arch in cells_201(40):
        network, twin = build_network(NB201, arch), live_twin(arch)
        params = {a: int(NB201.total_costs(NB201.to_codes([a]))[1][0]) for a in (arch, twin)}
        assert num_params(network) == params[twin] <= params[arch]
        twins += params[twin] < params[arch]
    assert twins >= 2


def test_201_flops_of_every_edge_equal_the_cost_model() -> None:
    for arch in cells_201(15):
        network, twin = build_network(NB201, arch), live_twin(arch)
        counted = np.zeros((NB201.num_cells, len(EDGES)), dtype=np.int64)
        total = 16 * 10 + 16 * 2 * 2  # classifier; global pooling: one addition per element
        for name, (module, pixels) in run_watched(network, 8, nn.Conv2d, nn.BatchNorm2d).items():
            flops = macs(module, pixels) if isinstance(module, nn.Conv2d) else 2 * module.num_features * pixels
            total += flops
            if name.startswith("stages."):
                _, stage, index, _, op = name.split(".")[:5]
                cell = network.get_submodule(f"stages.{stage}.{index}")
                assert isinstance(cell, CellNetwork201)
                counted[2 * int(stage) + int(index), cell.edges[int(op)]] += flops
        codes = NB201.to_codes([twin])
        np.testing.assert_array_equal(NB201.costs(codes).flops[0], counted)
        assert NB201.total_costs(codes)[0][0] == total


def test_201_operations_that_cannot_reach_the_output_are_not_built() -> None:
    for arch in cells_201(40):
        cell = CellNetwork201(arch.ops, 4)
        assert set(cell.edges) == live_edges(arch)
        assert len(cell.ops) == len(live_edges(arch))


def test_201_a_cell_and_its_live_twin_share_weights_and_outputs() -> None:
    images = torch.randn(4, 3, 8, 8)
    for arch in cells_201(10):
        network, twin = build_network(NB201, arch), build_network(NB201, live_twin(arch))
        assert not torch.equal(network(images), twin(images))
        twin.load_state_dict(network.state_dict())
        assert torch.equal(network(images), twin(images))


def test_201_cell_computes_the_sum_over_all_edges() -> None:
    """Against a cell that builds and runs every edge; batch norm starts without offset, so dead ones give zeros."""
    x = torch.randn(4, 4, 6, 6)
    for arch in cells_201(40):
        cell = CellNetwork201(arch.ops, 4)
        built = dict(zip(cell.edges, cell.ops, strict=True))
        nodes: list[Tensor] = [x, *(torch.zeros_like(x) for _ in range(3))]
        for edge, (source, target) in enumerate(EDGES):
            op = arch.ops[edge]
            if op == SKIP:
                y = nodes[source]
            elif op == POOL:
                y = nn.functional.avg_pool2d(nodes[source], 3, stride=1, padding=1, count_include_pad=False)
            elif op == NONE:
                continue
            else:
                y = built[edge](nodes[source]) if edge in built else dead_convolution(op)(nodes[source])
            nodes[target] = nodes[target] + y
        assert torch.allclose(cell(x), nodes[3], atol=1e-6)


def dead_convolution(op: int) -> nn.Module:
    kernel = {CONV1: 1, CONV3: 3}[op]
    return nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(4))


def test_201_taps_are_the_stages_ends_and_the_last_one_is_rectified() -> None:
    network = build_network(NB201, Cell201((CONV3,) * 6))
    assert isinstance(network, Network201)
    seen: list[Tensor] = []
    for stage in network.stages:
        stage.register_forward_hook(lambda *call: seen.append(call[2]))
    logits, taps = network.forward_taps(torch.randn(2, 3, 8, 8))
    assert torch.equal(taps[0], seen[0])
    assert torch.equal(taps[1], seen[1])
    assert taps[2].min() == 0 < taps[2].max()
    assert seen[2].min() < 0
    assert torch.equal(logits, network.classifier(taps[2].mean((2, 3))))


def test_201_the_empty_cells_output_does_not_depend_on_the_image() -> None:
    network = build_network(NB201, Cell201((NONE,) * 6)).eval()
    logits = network(torch.randn(5, 3, 8, 8))
    assert torch.equal(logits, logits[:1].expand(5, -1))
    assert logits.std() > 0


# NAS-Bench-Macro -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_size", [32, 16, 9])
def test_macro_costs_are_what_runs(image_size: int) -> None:
    space = Macro(channels=8, image_size=image_size)
    rng = np.random.default_rng(0)
    for arch in [space.parse("00000000"), *(space.sample(rng) for _ in range(8))]:
        network = build_network(space, arch)
        ran = run_watched(network, image_size, nn.Conv2d)
        flops = sum(macs(module, pixels) for module, pixels in ran.values()) + 1280 * 10
        totals = space.total_costs(space.to_codes([arch]))
        assert [int(total[0]) for total in totals] == [flops, num_params(network)]


def test_macro_block_is_a_mobilenet_v2_block() -> None:
    block = InvertedResidual(8, 8, stride=1, kernel=5, expansion=6).eval()
    convolutions = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    assert [tuple(c.weight.shape) for c in convolutions] == [(48, 8, 1, 1), (48, 1, 5, 5), (8, 48, 1, 1)]
    x = torch.randn(2, 8, 6, 6)
    assert torch.equal(block(x), x + block.body(x))
    assert block.body(x).min() < 0  # no ReLU at the end
    strided = InvertedResidual(8, 16, stride=2, kernel=3, expansion=3).eval()
    assert torch.equal(strided(x), strided.body(x))


# equal keys, equal functions -----------------------------------------------------------------------------------


def test_cells_with_equal_keys_compute_the_same_with_the_same_weights() -> None:
    """NAS-Bench-201 cells with at most one convolution of a kind, so that it is clear which weights go where."""
    rng = np.random.default_rng(0)
    classes: defaultdict[str, list[Cell201]] = defaultdict(list)
    for code in NB201.all_codes():
        arch = NB201.from_code(code)
        ops = [arch.ops[edge] for edge in live_edges(arch)]
        if ops and ops.count(CONV1) <= 1 and ops.count(CONV3) <= 1:
            classes[NB201.canonical_key(arch)].append(arch)
    shared = [cells for cells in classes.values() if len({live_twin(arch) for arch in cells}) > 1]
    assert len(shared) > 100
    x = torch.randn(2, 4, 5, 5)
    for index in rng.choice(len(shared), size=60, replace=False):
        first, *others = (CellNetwork201(live_twin(arch).ops, 4) for arch in shared[index][:6])
        weights = {p.shape: p for p in first.parameters() if p.ndim == 4}
        for other in others:
            for parameter in other.parameters():
                if parameter.ndim == 4:
                    parameter.data.copy_(weights[parameter.shape])
            assert torch.allclose(first(x), other(x), atol=1e-5)


def test_macro_networks_with_equal_keys_compute_the_same_with_the_same_weights() -> None:
    images = torch.randn(2, 3, 16, 16)
    for texts in (("12102021", "12120021"), ("00001001", "00010010")):
        one, other = (build_network(MACRO, MACRO.parse(text)) for text in texts)
        assert isinstance(other, TappedNetwork)
        other.load_state_dict(one.state_dict())
        assert torch.equal(one(images), other(images))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("sides", [(8, 10), (7, 5), (2, 1)])
def test_a_dilated_reduction_of_darts_is_the_strided_dilated_convolution(kernel: int, sides: tuple[int, int]) -> None:
    convolution, one_by_one = (
        nn.Conv2d(6, 6, k, s, p, d, groups=g, bias=False).double()
        for k, s, p, d, g in ((kernel, 2, kernel - 1, 2, 6), (1, 1, 0, 1, 1))
    )
    reference = nn.Sequential(nn.ReLU(), convolution, one_by_one, nn.BatchNorm2d(6).double())
    made = nn.Sequential(*depthwise(6, kernel, 2, 2)).double()
    made.load_state_dict(reference.state_dict())
    x = torch.randn(2, 6, *sides, dtype=torch.float64)
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected, found = reference(one), made(two)
    torch.testing.assert_close(found, expected)
    expected.pow(3).sum().backward()
    found.pow(3).sum().backward()
    torch.testing.assert_close(two.grad, one.grad)
    torch.testing.assert_close(made[1].weight.grad, convolution.weight.grad)


def test_every_second_pixel_before_a_1x1_convolution_is_its_stride() -> None:
    strided = nn.Conv2d(6, 4, 1, stride=2, bias=False).double()
    x = torch.randn(2, 6, 8, 10, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected = strided(one)
    found = nn.functional.conv2d(EverySecond()(two), strided.weight)
    torch.testing.assert_close(found, expected)
    layouts: list[bool] = []
    two.register_hook(lambda gradient: layouts.append(gradient.is_contiguous(memory_format=torch.channels_last)))
    expected.sum().backward()
    found.sum().backward()
    torch.testing.assert_close(two.grad, one.grad)
    assert layouts == [True]
