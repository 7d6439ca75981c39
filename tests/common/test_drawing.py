"""Drawings of architectures: everything that is in a cell is in its picture, and nothing covers anything else."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from common.drawing import draw_architecture, write_figure
from common.drawing.layers import place
from common.errors import InputError
from common.spaces import SPACES, make_space
from common.spaces.sketch import Chain, Graph, operation

OWN = "examples/own_space.py:SPACE"


@pytest.mark.parametrize("name", [*sorted(SPACES), OWN])
def test_no_box_covers_another_and_all_is_inside_of_the_figure(name: str) -> None:
    space = make_space(name)
    for seed in range(2):
        figure = draw_architecture(space, space.sample(np.random.default_rng(seed)))
        width, height = figure.get_size_inches()
        axes = figure.axes[0]
        boxes = [patch.get_extents() for patch in axes.patches if isinstance(patch, (FancyBboxPatch, Circle))]
        assert len(boxes) >= 2
        dpi = figure.dpi
        for number, box in enumerate(boxes):
            assert 0 <= box.x0 < box.x1 <= width * dpi
            assert 0 <= box.y0 < box.y1 <= height * dpi
            assert not any(box.overlaps(other) for other in boxes[:number])
        for text in axes.texts:  # labels are inside of their boxes
            label = text.get_window_extent()
            over = [box for box in boxes if box.overlaps(label)]
            assert len(over) <= 1
            assert all(box.x0 <= label.x0 and label.x1 <= box.x1 for box in over)


def test_a_cell_of_nasbench201_is_drawn_without_what_is_dead() -> None:
    space = make_space("nasbench201")
    arch = space.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|none~2|")
    (sketch,) = space.sketches(arch)
    assert isinstance(sketch, Graph)
    assert [block.label for block in sketch.nodes.values()] == ["input", "avg pool 3×3", "output"]  # noqa: RUF001
    assert len(sketch.edges) == 2


def test_a_cell_of_nasbench101_and_a_genotype_have_all_their_edges() -> None:
    space = make_space("nasbench101")
    cell = space.parse("0111001000010000:input,conv3x3-bn-relu,maxpool3x3,output")
    (sketch,) = space.sketches(cell)
    assert isinstance(sketch, Graph)
    assert set(sketch.edges) == {("0", "1"), ("0", "2"), ("0", "3"), ("1", "2"), ("2", "3")}
    darts = make_space("darts", tied=False)
    normal, reduce = darts.sketches(darts.sample(np.random.default_rng(0)))
    assert isinstance(normal, Graph)
    assert (normal.title, reduce.title) == ("normal cell", "reduction cell")
    assert len(normal.edges) == 2 * 8 + 4  # into and out of every operation, and all nodes to the output
    tied = make_space("darts")
    assert len(tied.sketches(tied.sample(np.random.default_rng(0)))) == 1


def test_chains_show_the_layers_that_are_there() -> None:
    space = make_space("mobilenet")
    (sketch,) = space.sketches(space.parse("|".join(["k3e1,k5e6,-,-"] * 5)))
    assert isinstance(sketch, Chain)
    assert [len(blocks) for _, blocks in sketch.rows] == [2] * 5
    macro = make_space("macro")
    (sketch,) = macro.sketches(macro.parse("02012100"))
    assert isinstance(sketch, Chain)
    assert [len(blocks) for _, blocks in sketch.rows] == [2, 3, 1]


def test_layers_are_the_longest_ways_and_crossings_are_undone() -> None:
    nodes, edges = ["a", "b", "c", "d", "e"], [("a", "c"), ("a", "d"), ("b", "c"), ("c", "e"), ("d", "e"), ("a", "e")]
    placed = place(nodes, edges, dict.fromkeys(nodes, 1.0), 0.5)
    assert [set(row) & set(nodes) for row in placed.layers] == [{"a", "b"}, {"c", "d"}, {"e"}]
    assert len(placed.routes["a", "e"]) == 3
    assert (placed.y["a"] > placed.y["b"]) == (placed.y["d"] > placed.y["c"])  # no crossing
    for row in placed.layers:
        heights = [placed.y[name] for name in row]
        assert heights == sorted(heights, reverse=True)
        assert all(a - b >= 0.5 - 1e-9 for a, b in pairwise(heights))


@pytest.mark.parametrize("form", ["png", "pdf", "svg"])
def test_the_same_figure_is_the_same_file(form: str, tmp_path: Path) -> None:
    space = make_space("nasbench201")
    arch = space.sample(np.random.default_rng(5))
    files = [tmp_path / f"{number}.{form}" for number in range(2)]
    for file in files:
        write_figure(draw_architecture(space, arch), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    with pytest.raises(InputError, match="figures are written as png, pdf, svg"):
        write_figure(draw_architecture(space, arch), tmp_path / "cell.jpg")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nor_conv_3x3", "conv"),
        ("conv1x1-bn-relu", "light"),
        ("maxpool3x3", "pool"),
        ("skip_connect", "skip"),
        ("x", "other"),
    ],
)
def test_operations_are_told_apart(name: str, kind: str) -> None:
    assert operation(name).kind == kind


def test_arrows_end_where_boxes_begin() -> None:
    space = make_space("darts")
    axes = draw_architecture(space, space.sample(np.random.default_rng(1))).axes[0]
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 2 * 8 + 4
