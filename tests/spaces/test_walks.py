"""The random walks of every space stay what they have been: results of old seeds can be had again."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from common.spaces import make_space

# By space: SHA-256 of what 20 samples, 20 mutants in a row and the neighbours of the last one look like, and of their
# one-hot codes. Recorded in November 2026, before the categorical spaces got a common base.
RECORDED = {
    "darts": "42fa55bf89239827c045db391f2e2db449ea371ff0b34c7d87224a2eff05bee5",
    "macro": "d33133a25b121ba67bebab2bcd9ae324910c72694ebd78ed418bad533d50f057",
    "mobilenet": "5bf56d954d87a8816b6d4c48b17e2a3b6de97d0cf337807ae99a20bcf24a3116",
    "nasbench101": "29f450cbbd7198b43967fcdd79ca5c2e75bff726bf4242d22120deb02fba6067",
    "nasbench201": "f626773eac683ecff63d9a59bbc770738632b42e225866292a9f6692b453d05f",
    "proxyless": "d560a7558dd700509bd1e1e8401c277f4d9224791e8f4581298b8c6b7e210a39",
}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_samples_mutants_and_neighbours_of_a_seed_are_those_recorded(name: str):
    space, rng = make_space(name), np.random.default_rng(0)
    walk = [space.sample(rng) for _ in range(20)]
    for _ in range(20):
        walk.append(space.mutate(walk[-1], rng))
    walk += space.neighbours(walk[-1])
    digest = hashlib.sha256("\n".join(map(space.format, walk)).encode())
    digest.update(space.one_hot(space.to_codes(walk)).tobytes())
    assert digest.hexdigest() == RECORDED[name]
