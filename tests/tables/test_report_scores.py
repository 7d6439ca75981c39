"""How the powers of `combined` are chosen, and that its own are those."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import report_scores as report
from study_scores import RESULTS, SETS

from common.metrics import kendall_tau

TERMS = (*report.POWERS,)


def measured(name: str, ordered_by: str) -> Any:
    """Architectures whose accuracy is one term alone, the other terms being noise."""
    rng = np.random.default_rng(sorted(SETS).index(name))
    terms = {term: rng.normal(size=40) for term in TERMS}
    accuracy = dict.fromkeys(SETS[name].columns, 90 + terms[ordered_by])
    return SimpleNamespace(set=SETS[name], accuracy=accuracy, decides=SETS[name].development, terms=lambda: terms)


def test_taus_are_kendalls():
    rng = np.random.default_rng(0)
    orders, truth = rng.integers(5, size=(4, 30)).astype(float), rng.integers(9, size=30).astype(float)
    assert report.taus(orders, truth) == pytest.approx([kendall_tau(order, truth) for order in orders])


def test_a_space_has_the_mean_of_its_sets_and_what_a_surrogate_predicts_has_no_say():
    sets = [measured(name, by) for name, by in (("nb101_dev", "zico"), ("nb101_dev2", "snip"), ("darts_dev", "zico"))]
    alone = {term: float(term == "zico") for term in TERMS}
    made = report.taus_by_space(sets, [alone])
    noise = kendall_tau(sets[1].terms()["zico"], sets[1].terms()["snip"])
    assert made.keys() == {"nb101"}
    assert made["nb101"] == pytest.approx([(1 + noise) / 2])


def test_powers_serve_all_spaces_and_leave_out_the_one_that_has_no_say():
    chosen = report.chosen_powers([measured("nb201_dev", "zico"), measured("macro_dev", "naswot")])
    assert chosen["nb201"]["naswot"] > chosen["nb201"]["zico"]  # macro alone says so
    assert chosen["macro"]["zico"] > chosen["macro"]["naswot"]
    assert min(chosen[""]["zico"], chosen[""]["naswot"]) > 0


def test_the_powers_of_combined_are_those_that_the_development_samples_choose():
    sets = [
        report.Measured(name, RESULTS)
        for name, chosen in SETS.items()
        if chosen.development and "zico" in chosen.scores
    ]
    assert report.chosen_powers(sets)[""] == report.PRESENT
