"""The ProxylessNAS-like space: depths and blocks, networks priced by hand, the vote."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import InputError
from common.spaces.proxyless import DEPTHS, Proxyless, ProxylessArch, depth_of
from rminas.vote import vote_sum

SPACE = Proxyless()
SHALLOW = "|".join(["k3e3,-,-,-"] * 5) + "|k3e3"


def cost(text: str) -> np.ndarray:
    return np.concatenate(SPACE.total_costs(SPACE.to_codes([SPACE.parse(text)])))


def stage_text(*tokens: str) -> str:
    """A network whose first stage has these blocks, the others one each."""
    return ",".join([*tokens, *["-"] * (4 - len(tokens))]) + SHALLOW[len("k3e3,-,-,-") :]


def depths(arch: ProxylessArch) -> list[int]:
    return [depth_of(stage) for stage in arch.stages(arch.layers)]


def test_the_shallowest_network_is_priced_by_hand() -> None:
    macs = 27 * 32 * 112**2 + (9 * 32 + 32 * 16) * 112**2  # stem and first block
    params = 27 * 32 + 2 * 32 + 9 * 32 + 32 * 16 + 2 * (32 + 16)
    for width_in, width, before, side in ((16, 24, 112, 56), (24, 40, 56, 28), (40, 80, 28, 14), (80, 96, 14, 14),
                                          (96, 192, 14, 7), (192, 320, 7, 7)):  # fmt: skip
        hidden = 3 * width_in
        macs += width_in * hidden * before**2 + (9 * hidden + hidden * width) * side**2
        params += width_in * hidden + 9 * hidden + hidden * width + 2 * (2 * hidden + width)
    macs += 320 * 1280 * 7**2 + 1280 * 1000
    params += 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert cost(SHALLOW).tolist() == [macs, params]


def test_a_further_layer_is_priced_by_hand() -> None:
    added = cost(stage_text("k3e3", "k5e6")) - cost(SHALLOW)  # 24 -> 144 -> 24 channels at side 56
    weights = 2 * 24 * 144 + 25 * 144
    assert added.tolist() == [weights * 56**2, weights + 2 * (144 + 144 + 24)]


def test_the_head_of_thinner_networks_stays_and_that_of_wider_ones_grows() -> None:
    assert [Proxyless(width=width).plan.expand for width in (0.5, 1.0, 1.4)] == [1280, 1280, 1792]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (stage_text("k3e3", "-", "k3e3"), "stage 1 has a gap"),
        (stage_text("-"), "stage 1 has a gap"),
        (stage_text("-", "k3e3"), "stage 1 has a gap"),
        (SHALLOW[: -len("k3e3")] + "-", "stage 6 has a gap"),
        (SHALLOW + ",-", "need 6 stages with 4, 4, 4, 4, 4, 1 layers"),
        (stage_text("k3e1"), "layer 1 of stage 1 is 'k3e1'"),
        (stage_text("k9e3"), "layer 1 of stage 1 is 'k9e3'"),
    ],
)
def test_text_of_another_make_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SPACE.parse(text)


@pytest.mark.parametrize(
    "layers", [(1, 0, 1, 0), (0, 1, 0, 0), (0, 0, 0, 0), (1, 1, 0, 1), (7, 0, 0, 0), (1, 0, 0), (1, 0, 0, 0, 0)]
)
def test_values_check_themselves(layers: tuple[int, ...]) -> None:
    others = (1, 0, 0, 0) * 4 + (1,)
    ProxylessArch((1, 0, 0, 0, *others))
    with pytest.raises(ValueError, match=r"stage \d has a gap|need 21 choices"):
        ProxylessArch((*layers, *others))


def test_every_depth_and_every_block_comes_up_about_equally_often() -> None:
    rng = np.random.default_rng(0)
    archs = [SPACE.sample(rng) for _ in range(2000)]
    drawn = np.array([depths(arch) for arch in archs])
    for column, most in zip(drawn.T, DEPTHS, strict=True):
        counts = np.bincount(column, minlength=most + 1)
        assert counts[0] == 0
        assert 0.8 < counts[1:].min() * most / 2000 <= counts[1:].max() * most / 2000 < 1.2
    codes = SPACE.to_codes(archs)
    blocks = np.bincount(codes[codes > 0])
    assert np.abs(blocks[1:] * 6 / blocks.sum() - 1).max() < 0.1


def test_neighbours_change_a_block_or_the_end_of_a_stage() -> None:
    near = SPACE.neighbours(SPACE.parse(SHALLOW))
    assert len(near) == 5 * (5 + 6) + 5  # another block, or a second layer; the last stage has but its one
    near = SPACE.neighbours(SPACE.parse(stage_text("k3e3", "k3e6", "k5e3")))
    assert len(near) == (3 * 5 + 6 + 1) + 4 * (5 + 6) + 5  # and one layer less
    assert sum(depths(arch)[0] == 2 for arch in near) == 1


def test_the_space_counts_its_networks() -> None:
    assert SPACE.size == (6 + 6**2 + 6**3 + 6**4) ** 5 * 6


def elected(*stages: tuple[str, ...]) -> str:
    """The first stage that is elected by networks with these first stages."""
    codes = SPACE.to_codes([SPACE.parse(stage_text(*stage)) for stage in stages])
    return SPACE.format(SPACE.most_voted(vote_sum(codes, SPACE.choices))).partition("|")[0]


def test_the_most_voted_depth_is_elected_though_more_have_its_next_layer() -> None:
    assert elected(("k3e3",), ("k3e3",), ("k3e3", "k3e3"), ("k3e3",) * 3, ("k3e3",) * 4) == "k3e3,-,-,-"
    assert elected(("k3e3",), ("k3e3",) * 3, ("k3e3",) * 4, ("k3e3",) * 4) == "k3e3,k3e3,k3e3,k3e3"
    assert elected(("k3e3",) * 3, ("k3e3",) * 2) == "k3e3,k3e3,-,-"  # a tie goes to the lower depth


def test_of_every_layer_the_most_voted_block_is_elected_by_all_that_have_the_layer() -> None:
    votes = (("k3e3", "k7e6"), ("k5e6", "k3e6"), ("k5e6", "k3e6", "k3e3"), ("k3e3", "k7e6", "k3e3", "k3e3"), ("k5e6",))
    assert elected(*votes) == "k5e6,k3e6,-,-"  # ties between k3e6 and k7e6 go to the lower choice


def test_votes_without_a_voter_elect_a_network_all_the_same() -> None:
    assert SPACE.format(SPACE.most_voted(np.zeros((21, 7)))) == SHALLOW
