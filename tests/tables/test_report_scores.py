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
    return SimpleNamespace(set=SETS[name], accuracy=accuracy, scores=dict.fromkeys(range(9)), terms=lambda: terms)


def test_taus_are_kendalls():
    rng = np.random.default_rng(0)
    orders, truth = rng.integers(5, size=(4, 30)).astype(float), rng.integers(9, size=30).astype(float)
    assert report.taus(orders, truth) == pytest.approx([kendall_tau(order, truth) for order in orders])


def test_margins_are_above_what_is_asked_of_the_space_and_surrogate_accuracies_have_no_say():
    sets = [measured("nb201_dev", "zico"), measured("darts_dev", "snip"), measured("darts500_dev", "zico")]
    alone = {term: float(term == "zico") for term in TERMS}
    above = report.margins(sets, [alone])
    assert above.keys() == {"nb201", "darts"}
    assert above["nb201"] == pytest.approx([1 - np.mean([0.76, 0.75, 0.70])])
    assert above["darts"] == pytest.approx([0.5])


def test_powers_serve_the_worst_space_and_leave_out_the_one_that_has_no_say():
    chosen = report.chosen_powers([measured("nb201_dev", "zico"), measured("macro_dev", "l2_norm")])
    assert chosen["nb201"]["l2_norm"] > chosen["nb201"]["zico"]  # macro alone says so
    assert chosen["macro"]["zico"] > chosen["macro"]["l2_norm"]
    assert min(chosen[""]["zico"], chosen[""]["l2_norm"]) > 0


def test_the_powers_of_combined_are_those_that_the_development_samples_choose():
    sets = [
        report.Measured(name, RESULTS)
        for name, chosen in SETS.items()
        if chosen.development and "zico" in chosen.scores
    ]
    assert report.chosen_powers(sets)[""] == report.PRESENT
