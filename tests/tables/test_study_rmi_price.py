"""What the RMI loss costs and tells: its terms as they were on the way, its price, and what is on the front."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import study_rmi_price as study

from rminas.loss import RmiLoss


def test_a_recording_loss_is_the_loss_and_keeps_terms_that_add_up_to_it():
    torch.manual_seed(0)
    teacher = [torch.randn(8, 5, 4, 4) for _ in range(3)]
    loss = RmiLoss.of(teacher, torch.arange(8) % 4, beta=0.8)
    recording = study.Recording(loss)
    for _ in range(2):
        logits, taps = torch.randn(8, 4, requires_grad=True), [torch.randn(8, 6, 4, 4) for _ in range(3)]
        value = recording(logits, taps)
        assert value.requires_grad
        assert value.item() == loss(logits, taps).item()
        cross_entropy, *stages = recording.seen[-1]
        assert 0.8 * sum(stages) + 0.2 * cross_entropy == pytest.approx(value.item(), abs=1e-4)
    assert len(recording.seen) == 2
    same = study.Recording(loss)(torch.randn(8, 4), teacher)
    assert same.item() < value.item()


def test_the_mean_logarithm_leaves_out_the_loss_before_any_update():
    losses = np.array([[9.0, 1.0, np.e**2, 7.0]])
    assert study.information(losses, 2) == pytest.approx(-1)
    assert study.information(losses, 1) == pytest.approx(0)


def test_the_price_of_a_training_grows_by_an_update_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    counted = {"flops": {"base": [[3e9, 5e9], [30e9, 50e9], [300e9, 500e9]]}}  # the second cell is the median
    (tmp_path / "flops.json").write_text(json.dumps(counted))
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    study.gflop.cache_clear()
    assert [study.gflop("base", updates) for updates in (1, 2, 20)] == pytest.approx([30, 50, 410])
    study.gflop.cache_clear()


def test_on_the_front_is_what_nothing_cheaper_orders_better():
    truth = np.arange(5.0)
    points = [
        study.Point("dear and good", 9.0, truth),
        study.Point("cheap and fair", 1.0, np.array([1.0, 0, 2, 3, 4])),
        study.Point("dearer and no better", 2.0, np.array([1.0, 0, 2, 3, 4])),
        study.Point("free and poor", 0.0, -truth),
    ]
    assert study.front(points, truth) == {0, 1, 3}


def test_a_difference_of_taus_has_an_interval_of_the_same_resampled_cells():
    truth = np.arange(30.0)
    same, low, high = study.spread_of([truth, 2 * truth + 1], truth)
    assert (same, low, high) == (0, 0, 0)
    value, low, high = study.spread_of([truth, -truth], truth)
    assert value == pytest.approx(2)
    assert low == pytest.approx(2)
    assert high == pytest.approx(2)
