"""What every search space must fulfil, the registered ones and one's own, whatever its architectures are."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.networks import build_network
from common.spaces import (
    SPACES,
    SearchSpace,
    Skeleton,
    SpaceExhausted,
    TensorSpace,
    UnknownOption,
    make_space,
    search_space,
)

DRAWS = 30
IMAGE_SIZE = 8
OWN = "staged_space:SPACE"
# By name or import path, a skeleton small enough for a CPU, and the (channels, side) of its networks' features.
SMALL: dict[str, tuple[dict[str, Any], list[tuple[int, int]]]] = {
    "darts": ({"channels": 4, "layers": 3}, [(16, 8), (32, 4), (64, 2)]),
    "macro": ({"channels": 4}, [(8, 4), (16, 2), (32, 1)]),
    "mobilenet": ({"width": 0.1}, [(8, 2), (8, 1), (16, 1)]),
    "nasbench101": ({"channels": 8}, [(8, 8), (16, 4), (32, 2)]),
    "nasbench201": ({"channels": 4, "cells_per_stage": 1}, [(4, 8), (8, 4), (16, 2)]),
    "proxyless": ({"width": 0.1}, [(8, 1), (16, 1), (1280, 1)]),
    OWN: ({}, [(-1, 8), (-1, 4), (-1, 2)]),  # as many channels as the architecture says
}


@pytest.fixture(params=[*sorted(SPACES), OWN])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def space(name: str) -> SearchSpace:
    return make_space(name, image_size=IMAGE_SIZE, num_classes=7, **SMALL[name][0])


@pytest.fixture(params=sorted(name for name in SPACES if isinstance(make_space(name), TensorSpace)))
def tensor_space(request: pytest.FixtureRequest) -> TensorSpace:
    skeleton, _ = SMALL[request.param]
    made = make_space(request.param, image_size=IMAGE_SIZE, num_classes=7, **skeleton)
    assert isinstance(made, TensorSpace)
    return made


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(space: SearchSpace, count: int = DRAWS, seed: int = 0) -> list[Any]:
    generator = rng(seed)
    return [space.sample(generator) for _ in range(count)]


def test_registry_knows_each_space_by_its_name_and_refuses_others(name: str, space: SearchSpace) -> None:
    assert space.name == ("own" if name == OWN else name)
    assert space.title
    if name in SPACES:
        with pytest.raises(InputError, match=rf"unknown search space 'nasbench999'.*{name}"):
            make_space("nasbench999")


def test_a_space_can_be_sent_to_another_process(space: SearchSpace) -> None:
    twin, arch = pickle.loads(pickle.dumps((space, space.sample(rng()))))
    assert twin == space
    assert arch == space.sample(rng())


def test_a_search_network_has_the_asked_images_and_classes(name: str, space: SearchSpace) -> None:
    made = search_space(name, Skeleton(num_classes=3, image_size=16))
    assert (made.name, made.num_classes, made.image_size) == (space.name, 3, 16)  # type: ignore[attr-defined]
    assert made.choices > made.to_codes(samples(made)).max()
    for option in space.network_options:
        value = 2 * getattr(space, option)
        assert getattr(space.for_search(Skeleton(7, IMAGE_SIZE, {option: value})), option) == value
    assert space.for_search(Skeleton(7, IMAGE_SIZE)) == space
    with pytest.raises(UnknownOption, match=r"no towers \(asked: 2\)") as caught:
        space.for_search(Skeleton(options={"towers": 2}))
    assert caught.value.option == "towers"


def test_unanimous_votes_elect_that_architecture(space: SearchSpace) -> None:
    for arch in samples(space):
        code = space.to_codes([arch])
        votes = np.eye(space.choices)[code[0]]
        assert space.to_codes([space.most_voted(votes)]).tolist() == code.tolist()


def test_text_round_trips(space: SearchSpace) -> None:
    for arch in samples(space):
        text = space.format(arch)
        assert space.parse(text) == arch
        assert space.parse(f"  {text}\n") == arch
        assert space.format(space.parse(text)) == text


def test_bad_text_is_named_in_one_line(space: SearchSpace) -> None:
    good = space.format(space.sample(rng()))
    for bad in ("", " ", "nonsense", good[:-1], good[1:], good + "x", "x" + good, good + good, "é" * len(good)):
        with pytest.raises(InputError) as caught:
            space.parse(bad)
        assert "\n" not in str(caught.value)


def test_codes_round_trip(space: SearchSpace) -> None:
    archs = samples(space)
    codes = space.to_codes(archs)
    assert codes.shape == (DRAWS, space.code_length)
    assert codes.dtype == np.uint8
    decoded = [space.from_code(code) for code in codes]
    np.testing.assert_array_equal(space.to_codes(decoded), codes)
    assert [*map(space.canonical_key, decoded)] == [*map(space.canonical_key, archs)]
    assert space.to_codes([]).shape == (0, space.code_length)


def test_architectures_are_values(space: SearchSpace) -> None:
    for arch in samples(space, 3):
        twin = space.parse(space.format(arch))
        assert twin is not arch
        assert len({arch, twin}) == 1
        field = next(iter(vars(arch)))
        with pytest.raises(AttributeError):
            setattr(arch, field, getattr(arch, field))


def test_the_same_seed_walks_the_same_way_and_another_one_does_not(space: SearchSpace) -> None:
    def walk(seed: int) -> list[Any]:
        generator = rng(seed)
        start = space.sample(generator)
        mutants = [start]
        for _ in range(5):
            mutants.append(space.mutate(mutants[-1], generator))
        return mutants + space.sample_distinct(5, generator)

    assert walk(3) == walk(3)
    assert walk(3) != walk(4)


def test_mutants_are_new_valid_architectures(space: SearchSpace) -> None:
    generator = rng(1)
    arch = space.sample(generator)
    for _ in range(DRAWS):
        mutant = space.mutate(arch, generator)
        assert space.canonical_key(mutant) != space.canonical_key(arch)
        assert space.parse(space.format(mutant)) == mutant
        arch = mutant  # walks away from the start, so that small and odd architectures come up too


def test_neighbours_are_distinct_others_that_neighbour_back(space: SearchSpace) -> None:
    for arch in samples(space, 5):
        key = space.canonical_key(arch)
        near = space.neighbours(arch)
        keys = [*map(space.canonical_key, near)]
        assert near  # a cell of input and output alone has but the edits of its dead vertices
        assert len({key, *keys}) == 1 + len(near)
        for other in near[:8]:
            assert key in {*map(space.canonical_key, space.neighbours(other))}


def test_one_hot_is_binary_and_tells_codes_apart(space: SearchSpace) -> None:
    codes = np.unique(space.to_codes(samples(space)), axis=0)
    hot = space.one_hot(codes)
    assert hot.dtype == np.float32
    assert hot.shape[0] == len(codes) > 1
    assert set(np.unique(hot)) == {0.0, 1.0}
    assert len(np.unique(hot, axis=0)) == len(codes)
    np.testing.assert_array_equal(space.one_hot(codes[:1]), hot[:1])
    assert space.one_hot(codes[:0]).shape == (0, hot.shape[1])
    assert space.one_hot(codes[:0]).dtype == np.float32


def test_values_are_placed_on_edges_of_an_acyclic_graph_and_nowhere_else(tensor_space: TensorSpace) -> None:
    codes = tensor_space.to_codes(samples(tensor_space))
    positions = tensor_space.types(codes).shape[1]
    values = rng().integers(1, 10**6, size=(len(codes), 3, positions))
    placed = tensor_space.edge_matrices(codes, values)
    assert placed.shape == (len(codes), 3, tensor_space.num_vertices, tensor_space.num_vertices)
    assert placed.dtype == values.dtype
    assert not np.tril(placed).any()
    assert placed.any(axis=(1, 2, 3)).any()
    np.testing.assert_array_equal(
        tensor_space.edge_matrices(codes, values.astype(np.float32)), placed.astype(np.float32)
    )
    for row, channel in itertools.product(range(len(codes)), range(3)):
        assert set(placed[row, channel].ravel()) - {0} <= set(values[row, channel])
    # where there is an edge depends on the architecture alone, not on what is placed
    edges = tensor_space.edge_matrices(codes, np.ones_like(values)) != 0
    np.testing.assert_array_equal(placed != 0, edges)
    np.testing.assert_array_equal(edges[:, 0], edges[:, 1])


def test_costs_are_counts_per_position_that_add_up(tensor_space: TensorSpace) -> None:
    codes = tensor_space.to_codes(samples(tensor_space))
    cell = tensor_space.costs(codes)
    totals = tensor_space.total_costs(codes)
    for part, total in zip(cell, totals, strict=True):
        assert part.shape == (len(codes), tensor_space.num_cells, tensor_space.types(codes).shape[1])
        assert part.dtype == np.int64
        assert total.shape == (len(codes),)
        assert part.min() >= 0
        assert part.any()
        skeleton = total - part.sum(axis=(1, 2))
        assert skeleton.min() == skeleton.max() > 0  # all that is not a cell costs the same for every architecture
    for index in (0, len(codes) - 1):
        np.testing.assert_array_equal(tensor_space.costs(codes[index : index + 1]).flops[0], cell.flops[index])
        assert tensor_space.total_costs(codes[index : index + 1])[1][0] == totals[1][index]


def test_built_networks_have_the_parameters_that_are_counted_for_what_is_live(space: SearchSpace) -> None:
    live = space.live_codes(space.to_codes(samples(space, 20)))
    built = [sum(p.numel() for p in build_network(space, space.from_code(code)).parameters()) for code in live]
    assert built == space.total_costs(live)[1].tolist()
    assert len({*built}) > 5


def test_live_codes_stand_for_the_same_functions_at_no_more_cost(space: SearchSpace) -> None:
    codes = space.to_codes(samples(space))
    live = space.live_codes(codes)
    assert (live.shape, live.dtype) == (codes.shape, codes.dtype)
    np.testing.assert_array_equal(space.live_codes(live), live)
    for code, kept in zip(codes, live, strict=True):
        assert space.canonical_key(space.from_code(kept)) == space.canonical_key(space.from_code(code))
    for total, less in zip(space.total_costs(codes), space.total_costs(live), strict=True):
        assert (less <= total).all()


def test_networks_train_on_images_and_let_out_their_features(name: str, space: SearchSpace) -> None:
    shapes = SMALL[name][1]
    archs = [arch for arch in samples(space, 20) if space.reaches_output(arch)][:4]
    assert len(archs) == 4
    for arch in archs:
        torch.manual_seed(0)
        network = build_network(space, arch)
        images = torch.randn(4, 3, IMAGE_SIZE, IMAGE_SIZE)
        logits, taps = network.forward_taps(images)
        assert logits.shape == (4, 7)
        assert torch.isfinite(logits).all()
        widths = [arch["width"] if width < 0 else width for width, _ in shapes]
        assert [tuple(tap.shape) for tap in taps] == [
            (4, width, side, side) for width, (_, side) in zip(widths, shapes, strict=True)
        ]
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
        for where, parameter in network.named_parameters():
            assert parameter.grad is not None, where
            assert torch.isfinite(parameter.grad).all(), where
        network.eval()
        assert torch.equal(network(images), network.forward_taps(images)[0])


def test_weights_follow_torchs_random_state(space: SearchSpace) -> None:
    arch = space.sample(rng())

    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.nn.utils.parameters_to_vector(build_network(space, arch).parameters())

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_distinct_samples_are_not_isomorphic(space: SearchSpace) -> None:
    found = space.sample_distinct(200, rng())
    assert len({*map(space.canonical_key, found)}) == len(found) == 200


def test_distinct_sampling_gives_up_after_a_bounded_number_of_draws_without_a_new_one(space: SearchSpace) -> None:
    one, two, three = space.sample_distinct(3, rng())
    draws: Iterator[Any]

    class Scripted(type(space)):  # type: ignore[misc]
        def sample(self, rng: np.random.Generator) -> Any:
            return next(draws)

    scripted = copy.copy(space)
    object.__setattr__(scripted, "__class__", Scripted)
    draws = iter([one, one, two, two, three])
    assert scripted.sample_distinct(3, rng(), max_tries=2) == [
        one,
        two,
        three,
    ]  # never two draws in a row without
    draws = itertools.chain([one, two], itertools.repeat(one, 17), [three])
    with pytest.raises(SpaceExhausted, match=rf"{space.name}: only 2 of 3 distinct .* 17 draws without a new one"):
        scripted.sample_distinct(3, rng(), max_tries=17)
    assert next(draws) is three
