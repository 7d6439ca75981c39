"""DARTS: genotypes as text that nobody evaluates, codes that keep what tables hold, elections, costs by hand."""

from __future__ import annotations

import csv
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import InputError
from common.networks import build_network
from common.spaces import Skeleton
from common.spaces.darts import EDGES, OPS, STATES, Cell, Darts, Genotype
from rminas.vote import vote_index, vote_sum

TIED, FREE = Darts(), Darts(tied=False)
SMALL = Darts(channels=4, layers=3, num_classes=7, image_size=8, tied=False)
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
    "normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), "
    "('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
    "reduce_concat=[2, 3, 4, 5])"
)


def cell(text: str) -> Cell:
    """From an operation's number and a source for each pair: `41 40 ...`."""
    return tuple((int(pair[0]), int(pair[1])) for pair in text.split())


def both(text: str) -> Genotype:
    return Genotype(cell(text), cell(text))


def random_cell(rng: np.random.Generator) -> Cell:
    """Any cell: `none`, any order, both operations from one source."""
    return tuple((int(rng.integers(len(OPS))), int(rng.integers(2 + place // 2))) for place in range(8))


def random_genotypes(count: int, seed: int = 0) -> list[Genotype]:
    rng = np.random.default_rng(seed)
    return [Genotype(random_cell(rng), random_cell(rng)) for _ in range(count)]


# text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [TIED, FREE])
def test_any_genotype_round_trips_as_text_and_as_code_in_both_kinds_of_space(space: Darts) -> None:
    archs = random_genotypes(100)
    codes = space.to_codes(archs)
    assert [space.from_code(code) for code in codes] == archs
    assert [space.parse(space.format(arch)) for arch in archs] == archs
    np.testing.assert_array_equal(codes, TIED.to_codes(archs))
    assert codes.max() == len(STATES) - 1 < space.choices


@pytest.mark.shared
def test_all_500_published_genotypes_round_trip(shared_data: Path) -> None:
    with (shared_data / "darts" / "darts_cifar10_500.csv").open(newline="") as file:
        texts = [row["genotype"] for row in csv.DictReader(file)]
    archs = [TIED.parse(text) for text in texts]
    assert len(archs) == 500
    assert [TIED.format(arch) for arch in archs] == texts
    assert [TIED.from_code(code) for code in TIED.to_codes(archs)] == archs
    assert len({*map(TIED.canonical_key, archs)}) == 500
    ops = [op for arch in archs for op, _ in arch.normal]
    pairs = [node for arch in archs for node in zip(arch.normal[::2], arch.normal[1::2], strict=True)]
    assert ops.count(0) == 497  # of the 4,000
    assert sum(one[1] == other[1] for one, other in pairs) == 637  # both operations of a node from one source


def test_text_may_be_spelled_as_the_darts_code_prints_it() -> None:
    arch = TIED.parse(DARTS_V2)
    assert arch.normal == cell("40 41 40 41 41 30 30 62")
    assert arch.reduce == cell("10 11 32 11 10 32 32 11")
    assert TIED.format(arch) == DARTS_V2
    for spelled in (
        DARTS_V2.replace("[2, 3, 4, 5]", "range(2, 6)"),
        DARTS_V2.replace("[2, 3, 4, 5]", "(5, 3, 2, 4)"),
        DARTS_V2.replace("'", '"').replace(" ", "\n  "),
        DARTS_V2.replace("=[(", "=((").replace("),", "],", 1).replace("((", "([", 1).replace(")],", ")),"),
    ):
        assert spelled != DARTS_V2
        assert TIED.parse(spelled) == arch


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("('sep_conv_3x3', 0)", "('conv_3x3', 0)", "unknown operation 'conv_3x3' in normal"),
        ("('max_pool_3x3', 0)", "('max_pool_3x3', 2)", "reduce has an operation into node 2 from 2, not from 0 to 1"),
        ("('max_pool_3x3', 0)", "('max_pool_3x3', True)", "item 0 of reduce is not a pair"),
        ("('max_pool_3x3', 0)", "('max_pool_3x3', 0.0)", "item 0 of reduce is not a pair"),
        ("('max_pool_3x3', 0)", "('max_pool_3x3', -1)", "item 0 of reduce is not a pair"),
        ("('max_pool_3x3', 0)", "(1, 0)", "item 0 of reduce is not a pair"),
        ("('max_pool_3x3', 0)", "('max_pool_3x3', 0, 0)", "item 0 of reduce is not a pair"),
        ("('max_pool_3x3', 0)", "*[('max_pool_3x3', 0)]", "item 0 of reduce is not a pair"),
        ("('max_pool_3x3', 0), ", "", "reduce has 7 operations instead of 8"),
        ("('max_pool_3x3', 0), ", "('max_pool_3x3', 0), " * 2, "reduce has 9 operations instead of 8"),
        ("normal=[", "normal=None and [", "normal has 0 operations"),
        ("normal_concat=[2, 3, 4, 5]", "normal_concat=[3, 4, 5]", "normal_concat is neither"),
        ("normal_concat=[2, 3, 4, 5]", "normal_concat=[2, 3, 4, 5, print()]", "normal_concat is neither"),
        ("normal_concat=[2, 3, 4, 5]", "normal_concat=[2, 3, 4, 5, 2]", "normal_concat is neither"),
        ("reduce_concat=[2, 3, 4, 5]", "reduce_concat=['2', '3', '4', '5']", "reduce_concat is neither"),
        ("reduce_concat=[2, 3, 4, 5]", "reduce_concat=range(2, 5)", "reduce_concat is neither"),
        ("reduce_concat=[2, 3, 4, 5]", "reduce_concat=range(2, 6, 1)", "reduce_concat is neither"),
        ("reduce_concat=[2, 3, 4, 5]", "reduce_concat=exit(2, 6)", "reduce_concat is neither"),
        ("normal_concat=[2, 3, 4, 5], ", "", "each of normal, normal_concat, reduce, reduce_concat is needed once"),
        ("normal_concat=[2, 3, 4, 5]", "**{}", "is needed once"),
        ("normal_concat=[2, 3, 4, 5]", "normal=[]", "is needed once|not of the form"),
        ("reduce_concat=", "reduce_concat=[2, 3, 4, 5], reduce_concat=", "is needed once|not of the form"),
        ("Genotype(", "Genotype(1, ", "is needed once"),
        ("Genotype(", "Genotype(more=1, ", "is needed once"),
        ("Genotype", "genotypes.Genotype", "not of the form"),
        ("Genotype", "PRIMITIVES", "not of the form"),
        ("[2, 3, 4, 5])", "[2, 3, 4, 5]).normal", "not of the form"),
        ("[2, 3, 4, 5])", "[2, 3, 4, 5]); 1", "not of the form"),
    ],
)
def test_a_wrong_genotype_is_refused_in_one_line(old: str, new: str, message: str) -> None:
    assert old in DARTS_V2
    with pytest.raises(InputError, match=f"not a DARTS genotype: .*({message})") as caught:
        TIED.parse(DARTS_V2.replace(old, new, 1))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("place", ["{}", "[{}]", "Genotype({})", "('sep_conv_3x3', {})", "op", "concat", "source"])
@pytest.mark.parametrize(
    "attack",
    [
        "open({0!r}, 'w')",
        "__import__('pathlib').Path({0!r}).touch()",
        "[].__class__.__base__.__subclasses__()[0] and open({0!r}, 'w')",
        "(lambda: open({0!r}, 'w'))()",
        "[open({0!r}, 'w') for _ in 'x'][0]",
        "(f := open({0!r}, 'w'))",
        'f"{{open({0!r}, chr(119))}}"',
    ],
)
def test_malicious_text_is_refused_without_running_it(tmp_path: Path, attack: str, place: str) -> None:
    trap = tmp_path / "sprung"
    code = attack.format(str(trap))
    eval(code)  # it would spring, if it were run
    assert trap.exists()
    trap.unlink()
    whole = {
        "op": DARTS_V2.replace("'sep_conv_3x3'", code, 1),
        "concat": DARTS_V2.replace("[2, 3, 4, 5]", code, 1),
        "source": DARTS_V2.replace(" 0)", f" {code})", 1),
    }
    with pytest.raises(InputError) as caught:
        TIED.parse(whole.get(place, place.replace("{}", code)))
    assert "\n" not in str(caught.value)
    assert not trap.exists()


@pytest.mark.parametrize(
    "text", ["(" * 300, "-" * 3900 + "1", "[" * 100_000, "a." * 1900 + "a", "\0", "9" * 3999, "x" * 10**6, "\\\n"]
)
def test_text_that_would_strain_a_parser_is_refused_at_once(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(InputError, match="not a DARTS genotype") as caught:
        TIED.parse(text)
    assert time.perf_counter() - started < 1
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


def test_text_far_longer_than_any_genotype_is_not_even_parsed() -> None:
    with pytest.raises(InputError, match=r"not a DARTS genotype: 4\d{3} characters"):
        TIED.parse(DARTS_V2.replace(" ", " " * 100))


@pytest.mark.parametrize(
    ("normal", "message"),
    [
        ("40 41 40 41 40 41 40", "normal has 7 operations instead of 8"),
        ("80 41 40 41 40 41 40 41", r"normal has operation 8, not in \[0, 8\)"),
        ("42 41 40 41 40 41 40 41", "normal has an operation into node 2 from 2, not from 0 to 1"),
        ("40 41 40 43 40 41 40 41", "normal has an operation into node 3 from 3, not from 0 to 2"),
    ],
)
def test_values_check_themselves(normal: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Genotype(cell(normal), cell("40 41 40 41 40 41 40 41"))


# codes -------------------------------------------------------------------------------------------------------------


def test_random_genotypes_use_only_the_eight_states_that_votes_are_cast_in() -> None:
    rng = np.random.default_rng(0)
    archs = [FREE.sample(rng) for _ in range(2000)]
    codes = FREE.to_codes(archs)
    assert set(np.unique(codes)) == set(range(8))
    assert all(STATES[op].ops == (op,) for op in range(1, 8))
    for half in (codes[:, :14], codes[:, 14:]):
        for node, start in ((2, 0), (3, 2), (4, 5), (5, 9)):
            edges = half[:, start : start + node] != 0
            assert (edges.sum(1) == 2).all()
            np.testing.assert_allclose(edges.mean(0), 2 / node, atol=0.05)  # any two sources, evenly
        np.testing.assert_allclose([(half == op).sum() / 16_000 for op in range(1, 8)], 1 / 7, atol=0.01)
    assert sum(arch.normal == arch.reduce for arch in archs) < 3
    tied = [TIED.sample(rng) for _ in range(200)]
    assert all(arch.normal == arch.reduce for arch in tied)
    assert (TIED.size, FREE.size) == (180 * 49**4, (180 * 49**4) ** 2)


def test_a_code_is_the_operation_on_every_edge_and_one_hot_is_the_samplers_14_by_7() -> None:
    arch = both("40 51 20 12 71 33 60 64")
    code = TIED.to_codes([arch])
    assert EDGES[:5] == ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert code[0, :14].tolist() == code[0, 14:].tolist() == [4, 5, 2, 0, 1, 0, 7, 0, 3, 6, 0, 0, 0, 6]
    hot = TIED.one_hot(code).reshape(14, 7)
    np.testing.assert_array_equal(hot, np.eye(8)[code[0, :14]][:, 1:])
    np.testing.assert_array_equal(FREE.one_hot(code).reshape(2, 14, 7), [hot, hot])


def test_one_hot_leaves_none_out_and_shows_both_operations_of_one_source() -> None:
    hot = TIED.one_hot(TIED.to_codes([both("00 41 30 50 02 02 11 10")])).reshape(14, 7)
    assert {(*EDGES[edge], int(op) + 1) for edge, op in np.argwhere(hot)} == {
        (1, 2, 4), (0, 3, 3), (0, 3, 5), (0, 5, 1), (1, 5, 1),
    }  # fmt: skip


def test_a_code_that_is_no_genotype_is_refused() -> None:
    code = TIED.to_codes([both("40 41 40 41 40 41 40 41")])[0]
    code[0] = 0
    with pytest.raises(ValueError, match="1 operations into node 2 instead of 2"):
        TIED.from_code(code)


def test_a_tied_space_will_not_encode_or_walk_from_untied_genotypes() -> None:
    arch = Genotype(cell("40 41 40 41 40 41 40 41"), cell("40 41 40 41 40 41 40 51"))
    with pytest.raises(ValueError, match="space with tied=False"):
        TIED.one_hot(TIED.to_codes([arch]))
    for walk in (TIED.neighbours, lambda arch: TIED.mutate(arch, np.random.default_rng(0))):
        with pytest.raises(ValueError, match="space with tied=False"):
            walk(arch)
    assert FREE.one_hot(FREE.to_codes([arch])).shape == (1, 196)


def test_neighbours_change_one_operation_or_one_source() -> None:
    arch = both("40 51 20 12 71 33 60 64")
    near = TIED.neighbours(arch)
    # 8 operations with 6 others each; sources: none for node 2, then 1, 2 and 3 others for each of two
    assert len(near) == 8 * 6 + 2 * (1 + 2 + 3)
    for other in near:
        assert other.normal == other.reduce
        assert len({*arch.normal} - {*other.normal}) == 1
        assert all(len({source for _, source in other.normal[i : i + 2]}) == 2 for i in (0, 2, 4, 6))
    free = FREE.neighbours(arch)
    assert len(free) == 2 * len(near)
    assert all((other.normal == arch.normal) != (other.reduce == arch.reduce) for other in free)


# votes -------------------------------------------------------------------------------------------------------------


def votes_for(*edges: tuple[int, int, int, float]) -> np.ndarray:
    """(28, choices) with votes of the normal cell: source, node, operation, how many."""
    votes = np.zeros((28, TIED.choices))
    for source, node, op, count in edges:
        votes[EDGES.index((source, node)), op] = count
    return votes


def test_every_node_keeps_the_two_edges_whose_best_operation_has_most_votes() -> None:
    votes = votes_for(
        (0, 2, 4, 1), (1, 2, 3, 9),
        (0, 3, 1, 5), (0, 3, 2, 5), (1, 3, 4, 6), (2, 3, 7, 7),  # 10 votes for edge 0, but 5 for its best operation
        (0, 4, 5, 3), (1, 4, 6, 3), (2, 4, 5, 3), (3, 4, 7, 3),  # all tie
        (0, 5, 0, 50), (2, 5, 2, 1), (4, 5, 2, 2), (4, 5, 1, 2),  # 'no edge' is no operation; operations tie
    )  # fmt: skip
    elected = TIED.most_voted(votes)
    assert elected.normal == cell("40 31 41 72 50 61 22 14")
    assert elected.reduce == elected.normal


def test_an_untied_space_elects_each_cell_by_its_own_votes() -> None:
    votes = votes_for((0, 2, 4, 1), (1, 2, 3, 9))
    votes[14:] = votes_for((0, 2, 7, 1), (1, 2, 6, 9))[:14]
    elected = FREE.most_voted(votes)
    assert elected.normal == cell("40 31 10 11 10 11 10 11")
    assert elected.reduce == cell("70 61 10 11 10 11 10 11")
    assert TIED.most_voted(votes).reduce == elected.normal


def test_votes_of_published_cells_count_their_operations() -> None:
    odd = both("50 00 32 31 00 01 20 20")  # `none`, both from one source, sources falling
    codes = TIED.to_codes([both("40 41 40 41 40 41 40 41"), both("50 41 30 32 60 63 70 14"), odd, odd])
    elected = TIED.most_voted(vote_sum(codes, TIED.choices)).normal
    assert elected[:2] == cell("50 41")  # sep_conv_5x5 three times, against once
    assert elected[4:] == cell("40 41 20 41")  # avg_pool_3x3 four times, as two of a cell count two


def test_the_archives_rule_keeps_the_edges_with_the_highest_operation_numbers() -> None:
    codes = TIED.to_codes([both("40 41 60 71 40 41 20 34")] * 3 + [both("40 41 20 12 40 41 70 71")] * 2)
    assert TIED.most_voted(vote_sum(codes, TIED.choices)).normal == cell("40 41 60 71 40 41 20 34")
    # node 5: edge 0 votes 3 to 2 for operation 2, edge 1 has 2 votes for operation 7, edge 4 has 3 for operation 3
    assert TIED.most_voted(vote_index(codes, TIED.choices)).normal == cell("40 41 60 71 40 41 71 34")


# identity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("40 51 20 12 71 33 60 64", "51 40 12 20 33 71 64 60"),  # order within the nodes
        ("40 51 20 00 71 03 60 64", "40 51 20 01 71 00 60 64"),  # where a `none` comes from
        ("00 01 20 32 71 33 60 64", "00 01 20 00 71 33 60 64"),  # a skip from a node that is zero
        ("40 51 20 11 72 33 60 64", "20 11 40 51 73 32 60 64"),  # nodes 2 and 3 have changed places
        ("40 51 20 11 72 32 63 63", "20 11 40 51 62 62 73 33"),  # 2 and 3, then 4 and 5
    ],
)
def test_genotypes_that_are_one_network_share_a_key(one: str, other: str) -> None:
    plain = cell("40 41 40 41 40 41 40 41")
    assert TIED.canonical_key(both(one)) == TIED.canonical_key(both(other))
    assert TIED.canonical_key(Genotype(plain, cell(one))) == TIED.canonical_key(Genotype(plain, cell(other)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("40 51 20 12 71 33 60 64", "41 50 20 12 71 33 60 64"),
        ("40 51 20 12 71 33 60 64", "40 51 20 12 71 33 60 63"),
        ("40 40 20 12 71 33 60 64", "40 00 20 12 71 33 60 64"),  # twice, with weights of its own each time
        ("00 01 20 42 71 33 60 64", "00 01 20 00 71 33 60 64"),  # a convolution of zeros learns an offset
    ],
)
def test_genotypes_of_different_networks_have_different_keys(one: str, other: str) -> None:
    plain = cell("40 41 40 41 40 41 40 41")
    assert TIED.canonical_key(both(one)) != TIED.canonical_key(both(other))
    assert TIED.canonical_key(Genotype(plain, cell(one))) != TIED.canonical_key(Genotype(plain, cell(other)))
    assert TIED.canonical_key(Genotype(cell(one), plain)) != TIED.canonical_key(Genotype(plain, cell(one)))


def test_renumbered_nodes_keep_key_function_and_costs() -> None:
    """With weights that depend on a layer's shape alone, the order of channels does not show in the logits."""
    torch.manual_seed(0)
    x = torch.rand(2, 3, 8, 8)

    def logits(arch: Genotype) -> torch.Tensor:
        network = build_network(SMALL, arch).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.constant_(module.weight, 1.3 / module.weight[0].numel())
            elif isinstance(module, nn.Linear):
                nn.init.constant_(module.weight, 1.0)
                nn.init.constant_(module.bias, 0.5)
        with torch.no_grad():
            return network(x)[:, 0]

    seen, found = 0, []
    for arch in random_genotypes(6, seed=1):
        for order in itertools.permutations(range(2, 6)):
            number = {0: 0, 1: 1, **{node: 2 + place for place, node in enumerate(order)}}
            pairs = [(op, number[source], number[2 + place // 2]) for place, (op, source) in enumerate(arch.normal)]
            if order == (2, 3, 4, 5) or any(source >= node for _, source, node in pairs):
                continue
            renumbered = tuple((op, source) for op, source, _ in sorted(pairs, key=lambda pair: pair[2]))
            other = Genotype(renumbered, arch.reduce)
            assert FREE.canonical_key(other) == FREE.canonical_key(arch)
            torch.testing.assert_close(logits(other), logits(arch))
            assert len({*map(int, FREE.total_costs(FREE.to_codes([arch, other]))[0])}) == 1
            seen += 1
            break
        found.append(logits(arch))
    assert seen > 2
    assert len({tuple(values.tolist()) for values in found}) > 4  # and what differs does show


@pytest.mark.parametrize(
    ("normal", "reduce", "reaches"),
    [
        ("40 41 40 41 40 41 40 41", "40 41 40 41 40 41 40 41", True),
        (
            "00 01 22 12 32 03 64 43",
            "00 01 22 12 32 03 64 43",
            False,
        ),  # the one of 500 that was never better than chance
        ("40 00 42 42 42 42 42 42", "40 01 42 42 42 42 42 42", True),
        ("40 01 42 42 42 42 42 42", "00 01 42 42 42 42 42 42", False),  # cell 7 from 5, a dead reduction
        ("01 41 42 42 42 42 42 42", "00 01 42 42 42 42 42 42", False),
        ("40 41 42 42 42 42 42 42", "00 01 42 42 42 42 42 42", True),  # past both dead reductions
        ("00 01 42 42 42 42 42 42", "40 41 42 42 42 42 42 42", False),
    ],
)
def test_reaching_the_output_is_what_the_network_does(normal: str, reduce: str, reaches: bool) -> None:
    arch = Genotype(cell(normal), cell(reduce))
    space = Darts(channels=2, num_classes=3, image_size=8)
    assert space.reaches_output(arch) == reaches
    torch.manual_seed(0)
    network = build_network(space, arch).train()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.bias)
        logits = network(torch.randn(4, 3, 8, 8))
    assert (logits.std(0).max() > 1e-5) == reaches


# costs -------------------------------------------------------------------------------------------------------------


def test_a_network_of_skips_is_priced_by_hand() -> None:
    skips = both("30 31 30 31 30 31 30 31")
    stem, head = 27 * 12, 64 * 7
    # 1x1 convolutions before each cell: from 12 and 12 to 4 channels, 12 and 16 to 8, 16 and 32 to 16
    before = (24 * 4, 28 * 8, 48 * 16)
    # a skip costs only where it halves the side, as two 1x1 convolutions to half of the channels each
    skip = (0, 8 * 8 * 8, 8 * 16 * 16)
    flops = stem * 64 + before[0] * 64 + before[1] * 64 + skip[1] * 16 + before[2] * 16 + skip[2] * 4 + head
    norms = 12 + 2 * (4 + 8 + 16) + 8 * (8 + 16)
    params = stem + sum(before) + sum(skip) + 2 * norms + head + 7
    assert [int(total[0]) for total in SMALL.total_costs(SMALL.to_codes([skips]))] == [flops, params]
    assert (flops, params) == (70_336, 4_947)


@pytest.mark.parametrize(
    ("pair", "flops", "params"),
    [
        ("00", 0, 0),
        ("10", 0, 2 * 4),
        ("20", 0, 2 * 4),
        ("30", 0, 0),
        ("40", 2 * (9 * 4 + 16) * 64, 2 * (9 * 4 + 16 + 8)),
        ("50", 2 * (25 * 4 + 16) * 64, 2 * (25 * 4 + 16 + 8)),
        ("60", (9 * 4 + 16) * 64, 9 * 4 + 16 + 8),
        ("70", (25 * 4 + 16) * 64, 25 * 4 + 16 + 8),
    ],
)
def test_an_operation_of_a_normal_cell_is_priced_by_hand(pair: str, flops: int, params: int) -> None:
    reduce = cell("30 31 30 31 30 31 30 31")
    archs = [Genotype(cell(f"30 31 30 31 30 31 {pair} {last}"), reduce) for pair, last in ((pair, "31"), ("00", "31"))]
    for total, price in zip(SMALL.total_costs(SMALL.to_codes(archs)), (flops, params), strict=True):
        assert total[0] - total[1] == price


def test_published_networks_have_their_known_numbers_of_parameters() -> None:
    """3,349,342 as DARTS' own code counts them for CIFAR-10 (3.3 M in the paper), 4.7 M for ImageNet.

    Theirs have no batch norm behind the five poolings of each of the two reduction cells.
    """
    code = FREE.to_codes([FREE.parse(DARTS_V2)])
    params = Darts(36, 20, 10, 32).total_costs(code)[1]
    assert params.tolist() == [3_349_342 + 5 * 2 * (72 + 144)]
    params = Darts(48, 14, 1000, 224).total_costs(code)[1]
    assert params.tolist() == [4_718_752 + 5 * 2 * (96 + 192)]


def macs_of(network: nn.Module, x: torch.Tensor) -> int:
    """Multiply-accumulates of the convolutions and linear layers that run, an image."""
    total = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        total += module.weight.numel() * output[0, 0].numel() if output.ndim == 4 else module.weight.numel()

    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(x)
    return total


@pytest.mark.parametrize(
    "space",
    [
        Darts(channels=4, layers=5, num_classes=7, image_size=8),
        Darts(channels=3, layers=6, num_classes=2, image_size=16),
        Darts(channels=5, layers=4, num_classes=7, image_size=96),
    ],
)
def test_costs_are_those_of_the_network_that_is_built(space: Darts) -> None:
    rng = np.random.default_rng(5)
    archs = [*random_genotypes(4, seed=4), *(space.sample(rng) for _ in range(2))]
    flops, params = space.total_costs(space.to_codes(archs))
    for index, arch in enumerate(archs):
        network = build_network(space, arch)
        assert params[index] == sum(p.numel() for p in network.parameters())
        assert flops[index] == macs_of(network.eval(), torch.zeros(1, 3, space.image_size, space.image_size))
    assert len({*flops.tolist()}) == len(archs)


def test_a_thousand_genotypes_are_priced_in_no_time() -> None:
    codes = TIED.to_codes(TIED.sample_distinct(1000, np.random.default_rng(0)))
    started = time.perf_counter()
    flops, _ = TIED.total_costs(codes)
    assert time.perf_counter() - started < 1
    np.testing.assert_array_equal(flops[7:8], TIED.total_costs(codes[7:8])[0])


# skeleton ----------------------------------------------------------------------------------------------------------


def test_the_search_network_is_the_published_one_unless_told_otherwise() -> None:
    assert Darts().for_search(Skeleton()) == Darts(16, 8, 10, 32, tied=True)
    assert Darts().for_search(Skeleton(100, 224, {"channels": 8, "layers": 5})) == Darts(8, 5, 100, 224)
    assert [Darts(image_size=size).imagenet_stem for size in (32, 64, 96, 224)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("skeleton", "message"),
    [
        ({"options": {"layers": 2}}, "2 layers; two reductions need 3 at least"),
        ({"image_size": 30}, "image size 30 cannot be halved 2 times; take a multiple of 4"),
        ({"image_size": 112}, "image size 112 cannot be halved 5 times; take a multiple of 32"),
        ({"image_size": 96, "options": {"channels": 1}}, "1 channel; the stem"),
    ],
)
def test_an_impossible_skeleton_is_refused(skeleton: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"DARTS: {message}"):
        Darts().for_search(Skeleton(**skeleton))
