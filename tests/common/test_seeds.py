"""Explicit generators: one per role, and torch's global state as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from common.seeds import named_rngs, torch_seeded


def draws(rng: np.random.Generator) -> list[int]:
    return rng.integers(1 << 40, size=8).tolist()


def test_a_seed_gives_the_same_streams_again_and_another_seed_others():
    first, again, other = (named_rngs(seed, "sample", "train") for seed in (3, 3, 4))
    assert list(first) == ["sample", "train"]
    for role in first:
        expected = draws(first[role])
        assert draws(again[role]) == expected
        assert draws(other[role]) != expected


def test_roles_are_independent_of_each_other():
    rngs = named_rngs(0, "sample", "train", "search")
    seen = [tuple(draws(rng)) for rng in rngs.values()]
    assert len(set(seen)) == 3
    fresh = named_rngs(0, "sample", "train", "search")
    draws(fresh["sample"])  # a draw more in one place ...
    assert tuple(draws(fresh["train"])) == seen[1]  # ... shifts nothing elsewhere


def test_a_role_appended_later_leaves_the_earlier_ones_as_they_were():
    few, many = named_rngs(7, "sample", "train"), named_rngs(7, "sample", "train", "search")
    assert draws(few["sample"]) == draws(many["sample"])
    assert draws(few["train"]) == draws(many["train"])


def weights(rng: np.random.Generator) -> list[float]:
    with torch_seeded(rng):
        return torch.rand(6, dtype=torch.float64).tolist()


def test_torch_follows_the_generator_and_not_its_own_state():
    torch.manual_seed(1)
    first = weights(np.random.default_rng(5))
    torch.manual_seed(2)
    assert weights(np.random.default_rng(5)) == first
    assert weights(np.random.default_rng(6)) != first
    rng = np.random.default_rng(5)
    assert weights(rng) == first
    assert weights(rng) != first  # a second network from the same generator is another one


def test_torchs_state_is_left_as_it_was_even_after_an_error():
    before = torch.get_rng_state()
    weights(np.random.default_rng(5))
    assert torch.equal(torch.get_rng_state(), before)

    def failing() -> None:
        with torch_seeded(np.random.default_rng(5)):
            torch.rand(3)
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert torch.equal(torch.get_rng_state(), before)
