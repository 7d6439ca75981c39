"""The MobileNet space: networks priced by hand, skipped layers, text, votes and the shipped config."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.networks import build_network
from common.spaces import Skeleton, search_space
from common.spaces.mbconv import make_divisible
from common.spaces.mobilenet import MobileNet, MobileNetArch
from rminas.config import PUBLISHED, read_config

SPACE = MobileNet()
BARE = "|".join(["k3e1,-,-,-"] * 5)


def cost(text: str) -> np.ndarray:
    return np.concatenate(SPACE.total_costs(SPACE.to_codes([SPACE.parse(text)])))


def with_layer(stage: int, place: int, token: str) -> str:
    """BARE with one layer replaced, counted from 1."""
    stages = [stage.split(",") for stage in BARE.split("|")]
    stages[stage - 1][place - 1] = token
    return "|".join(map(",".join, stages))


@pytest.mark.parametrize(
    ("channels", "made"),
    [(19.2, 24), (28.8, 32), (48.0, 48), (96.0, 96), (134.4, 136), (192.0, 192), (1.6, 8), (12.0, 16), (11.2, 16)],
)
def test_widths_are_multiples_of_8_and_never_much_less(channels: float, made: int) -> None:
    assert make_divisible(channels) == made


def test_the_plan_is_ofa_mobilenet_v3_at_width_1_2() -> None:
    plan = SPACE.plan
    assert (plan.stem, plan.first[:5], plan.expand, plan.mix) == (24, (24, 24, 1, 3, 1), 1152, 1536)
    assert [tuple(stage) for stage in plan.stages] == [
        (32, 4, 2, "relu", False),
        (48, 4, 2, "relu", True),
        (96, 4, 2, "hswish", False),
        (136, 4, 1, "hswish", True),
        (192, 4, 2, "hswish", True),
    ]


def test_the_smallest_network_is_priced_by_hand() -> None:
    macs = 27 * 24 * 112**2 + (9 * 24 + 24 * 24) * 112**2  # stem and first block
    params = 27 * 24 + 2 * 24 + 9 * 24 + 24 * 24 + 2 * (24 + 24)
    for width_in, width, side, squeezed in ((24, 32, 56, 0), (32, 48, 28, 8), (48, 96, 14, 0), (96, 136, 14, 24),
                                            (136, 192, 7, 32)):  # fmt: skip
        macs += (9 * width_in + width_in * width) * side**2 + 2 * width_in * squeezed
        params += 9 * width_in + width_in * width + 2 * (width_in + width)
        params += 2 * width_in * squeezed + (width_in + squeezed if squeezed else 0)
    macs += 192 * 1152 * 7**2 + 1152 * 1536 + 1536 * 1000
    params += 192 * 1152 + 2 * 1152 + 1152 * 1536 + 1536 * 1000 + 1000
    assert cost(BARE).tolist() == [macs, params]


@pytest.mark.parametrize(
    ("stage", "place", "token", "instead", "macs", "params"),
    [
        # 32 -> 96 -> 32 channels at side 56
        (1, 2, "k3e3", None, (2 * 32 * 96 + 9 * 96) * 56**2, 2 * 32 * 96 + 9 * 96 + 2 * (96 + 96 + 32)),
        # 48 -> 144 -> 48 at side 28, 40 channels in squeeze-and-excitation
        (2, 4, "k5e3", None, (2 * 48 * 144 + 25 * 144) * 28**2 + 2 * 144 * 40,
         2 * 48 * 144 + 25 * 144 + 2 * (144 + 144 + 48) + 2 * 144 * 40 + 144 + 40),
        # 48 -> 288 at side 28, then stride 2 and 288 -> 96, instead of the block without expansion
        (3, 1, "k7e6", "k3e1", 48 * 288 * 28**2 + (49 * 288 + 288 * 96 - 9 * 48 - 48 * 96) * 14**2,
         48 * 288 + 49 * 288 + 288 * 96 + 4 * 288 - 9 * 48 - 48 * 96 - 2 * 48),
    ],
)  # fmt: skip
def test_a_layer_is_priced_by_hand(
    stage: int, place: int, token: str, instead: str | None, macs: int, params: int
) -> None:
    assert (cost(with_layer(stage, place, token)) - cost(BARE)).tolist() == [macs, params]
    assert with_layer(stage, place, instead or "-") == BARE


def test_choices_are_numbered_as_documented() -> None:
    arch = SPACE.parse("k3e1,-,k3e3,k3e6|k3e3,k5e3,k5e6,k7e3|k7e6,-,-,-|k5e6,-,k3e3,-|k3e6,k7e6,-,-")
    assert arch.layers == (0, 0, 1, 2, 1, 3, 4, 5, 6, 0, 0, 0, 4, 0, 1, 0, 2, 6, 0, 0)
    hot = SPACE.one_hot(SPACE.to_codes([arch]))
    assert np.flatnonzero(hot[0]).tolist() == [7 * layer + choice for layer, choice in enumerate(arch.layers)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BARE.replace("k3e1", "-", 1), "layer 1 of stage 1 is '-' .*; known there: k3e1, k3e3"),
        (with_layer(4, 2, "k3e1"), "layer 2 of stage 4 is 'k3e1' .*; known there: -, k3e3"),
        (with_layer(2, 3, "k3e4"), "layer 3 of stage 2 is 'k3e4'"),
        (with_layer(2, 3, "K3E3"), "layer 3 of stage 2 is 'K3E3'"),
        (with_layer(2, 3, " k3e3"), "layer 3 of stage 2 is ' k3e3'"),
        (BARE + ",-", "need 5 stages with 4, 4, 4, 4, 4 layers"),
        (BARE.rpartition("|")[0], "need 5 stages"),
    ],
)
def test_text_of_another_make_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SPACE.parse(text)


def test_skipped_layers_may_stand_anywhere_behind_the_first_of_their_stage() -> None:
    one = SPACE.parse("k3e3,-,k5e6,-|k3e1,-,-,k7e3|" + "|".join(["k3e3,k3e3,k3e3,k3e3"] * 3))
    other = SPACE.parse("k3e3,k5e6,-,-|k3e1,k7e3,-,-|" + "|".join(["k3e3,k3e3,k3e3,k3e3"] * 3))
    assert one != other
    assert SPACE.canonical_key(one) == SPACE.canonical_key(other) == SPACE.format(other)
    small = MobileNet(width=0.1, image_size=16, num_classes=3)
    outputs = []
    for arch in (one, other):
        torch.manual_seed(0)
        outputs.append(build_network(small, arch).eval()(torch.ones(1, 3, 16, 16)))
    assert torch.equal(*outputs)
    for text in ("k5e6,k3e3,-,-", "k3e3,k5e6,k3e3,-", "k3e1,k3e3,k5e6,-", "k3e3,k3e3,k5e6,k3e3"):
        others = "|".join(["k3e3,-,-,-"] * 4)
        assert SPACE.canonical_key(SPACE.parse(f"{text}|{others}")) != SPACE.canonical_key(
            SPACE.parse(f"k3e3,k5e6,-,-|{others}")
        )


def test_every_choice_comes_up_at_every_layer_about_equally_often() -> None:
    rng = np.random.default_rng(0)
    codes = SPACE.to_codes([SPACE.sample(rng) for _ in range(2000)])
    counts = np.stack([np.bincount(column, minlength=7) for column in codes.T])
    assert counts.shape == (20, 7)
    assert 200 < counts.min() <= counts.max() < 380  # 286 expected


def test_the_most_voted_choice_of_every_layer_is_elected_and_a_stage_never_begins_with_nothing() -> None:
    votes = np.zeros((20, 7))
    votes[:, 0] = 2.0
    votes[5, 4], votes[6, 3], votes[7, 6] = 3.0, 2.0, 1.9
    assert SPACE.format(SPACE.most_voted(votes)) == with_layer(2, 2, "k5e6")


def test_values_check_themselves() -> None:
    for layers in ((0,) * 19, (0,) * 21, (0,) * 19 + (7,), (0,) * 19 + (-1,)):
        with pytest.raises(ValueError, match="need 20 choices in"):
            MobileNetArch(layers)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"channels": 16}, r"no channels \(asked: 16\)"),
        ({"layers": 8}, r"no layers \(asked: 8\)"),
        ({"cells_per_stage": 5}, r"no cells_per_stage \(asked: 5\)"),
    ],
)
@pytest.mark.parametrize("name", ["mobilenet", "proxyless"])
def test_another_size_of_the_network_is_refused(name: str, asked: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=rf"{message}; it has networks of one size only"):
        search_space(name, Skeleton(options=asked))


@pytest.mark.parametrize(
    ("file", "space", "data"),
    [
        ("mb_imagenet", "mobilenet", "imagenet"),
        ("proxyless_imagenet", "proxyless", "imagenet"),
        ("macro_cifar10", "macro", "cifar10"),
    ],
)
def test_the_shipped_config_says_the_published_settings(file: str, space: str, data: str, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    config, _ = read_config(root / "configs" / f"{file}.yaml", [])
    (tmp_path / "bare.yaml").write_text(f"SPACE: {{NAME: {space}}}\nDATA: {{NAME: {data}}}")
    bare, _ = read_config(tmp_path / "bare.yaml", [])
    assert (config.space, config.data.name) == (bare.space, data)
    assert (config.optim, config.train, config.rminas) == (bare.optim, bare.train, bare.rminas)
    assert bare.rminas.observe == PUBLISHED[space]["RMINAS.OBSERVE"]


def test_the_archives_name_of_the_space_is_known(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("SPACE: {NAME: ofa}\nOPTIM: {BASE_LR: 0.025}\nTRAIN: {BATCH_SIZE: 32}")
    config, _ = read_config(tmp_path / "a.yaml", [])
    r = config.rminas
    assert (config.space.name, r.observe, r.rf_warmup, r.top, r.forest) == ("mobilenet", 250, 200, 30, 140)
