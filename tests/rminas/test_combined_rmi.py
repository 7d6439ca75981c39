"""The combination of training-free scores with the RMI loss of a short training of a shallow network."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from common.datasets.images import load_images
from common.evaluators import Context, Outcome, make_evaluator
from common.networks.teachers import build_teacher
from common.spaces import SPACES, make_space
from common.training.population import CandidateSettings
from rminas import combined_rmi
from rminas.combined_rmi import POWER, CombinedRmi, with_loss
from rminas.rmi import RmiSettings, make_rmi

SPACE = make_space("nasbench201", channels=4, cells_per_stage=3, image_size=8)
CELL = SPACE.parse("|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|")
DEAD = SPACE.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
RMI = RmiSettings(CandidateSettings(steps=2, lr=0.05), batch_size=8, pool=2)


def context() -> Context:
    def teacher() -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return build_teacher("resnet20", 10).eval()

    return Context(
        SPACE, load_images=lambda: load_images("digits"), load_teacher=teacher,
        settings={"rmi": RMI, "combined": {"batch_size": 16}},
    )  # fmt: skip


def test_the_value_is_that_of_the_scores_less_the_mean_logarithm_of_the_losses_after_updates():
    losses = np.array([9.0, 4.0, 2.0, 1.0])
    expected = 7.0 - POWER * math.log(4 * 2 * 1) / 3
    assert with_loss(np.array(7.0), losses) == pytest.approx(expected)
    joined = CombinedRmi(()).join([Outcome(7.0), Outcome(-5.0, -losses)])
    assert joined.value == pytest.approx(expected)
    assert with_loss(np.array([7.0, 8.0]), np.stack([losses, losses])) == pytest.approx([expected, expected + 1])


def test_what_one_of_the_two_finds_unusable_is_so():
    good = Outcome(1.0, -np.ones(8))
    for outcomes in ([Outcome(-math.inf), good], [good, Outcome(-math.inf, np.full(8, -np.inf))]):
        assert CombinedRmi(()).join(outcomes).value == -math.inf


def test_by_name_it_joins_combined_with_a_training_of_its_own_length_of_the_shallow_network(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(combined_rmi, "UPDATES", 4)
    given = context()
    made = make_evaluator("combined_rmi", given)
    assert made.name == "combined_rmi"
    short = replace(RMI, training=replace(RMI.training, steps=4))
    rmi = make_rmi(replace(given, space=replace(SPACE, cells_per_stage=1), settings={"rmi": short}))
    losses = -rmi.evaluate(CELL).trajectory
    combined = make_evaluator("combined", given).evaluate(CELL).value
    assert losses.shape == (5,)
    assert made.evaluate(CELL).value == pytest.approx(float(with_loss(np.array(combined), losses)), rel=1e-6)
    assert made.evaluate(DEAD).value == -math.inf


def test_a_shallow_space_has_the_same_architectures_in_networks_that_are_not_deeper():
    assert SPACE.shallow() == replace(SPACE, cells_per_stage=1)
    for name in SPACES:
        space = make_space(name)
        arch = space.sample(np.random.default_rng(0))
        assert space.format(arch) == space.shallow().format(arch)
        codes = space.to_codes([arch])
        assert space.shallow().total_costs(codes)[0] <= space.total_costs(codes)[0]
