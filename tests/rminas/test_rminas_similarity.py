"""Linear CKA: its invariances, hand-made values, and the unbiased form against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import linear_cka

from rminas.loss import RmiLoss


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def unbiased_hsic(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """Song et al. 2012, equation 5, as printed."""
    n = len(k)
    k, l = (m * (1 - np.eye(n)) for m in (k, l))  # noqa: E741
    one = np.ones(n)
    middle = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return float(np.trace(k @ l) + middle - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3))


@pytest.mark.parametrize("hsic", ["biased", "unbiased"])
def test_cka_is_one_for_rotated_scaled_and_shifted_features(hsic: str):
    x = features(9, 5)
    rotation, _ = torch.linalg.qr(features(5, 5, seed=1))
    assert linear_cka(x, 3 * x @ rotation + 2, hsic).item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("hsic", ["biased", "unbiased"])
def test_cka_is_symmetric_and_blind_to_widths_and_layout(hsic: str):
    x, y = features(8, 2, 3, 3), features(8, 7, 2, 2, seed=1)
    expected = linear_cka(x, y, hsic).item()
    assert linear_cka(y, x, hsic).item() == pytest.approx(expected, abs=1e-12)
    assert linear_cka(x.contiguous(memory_format=torch.channels_last), y, hsic).item() == pytest.approx(expected)
    assert linear_cka(x.flatten(1), y.flatten(1), hsic).item() == pytest.approx(expected, abs=1e-12)
    assert expected < 0.99


def test_cka_of_two_centred_vectors_is_their_squared_cosine():
    x, y = torch.tensor([[-1.0], [0.0], [1.0]]), torch.tensor([[1.0], [-2.0], [1.0]])
    assert linear_cka(x, y).item() == pytest.approx(0, abs=1e-6)
    assert linear_cka(x, torch.tensor([[-2.0], [1.0], [1.0]])).item() == pytest.approx(9 / 12, abs=1e-6)


def test_the_unbiased_form_is_the_ratio_of_unbiased_hsics():
    x, y = features(10, 4), features(10, 6, seed=1)
    y[:, 0] = x[:, 0] * 3
    k, l = (x @ x.T).numpy(), (y @ y.T).numpy()  # noqa: E741
    expected = unbiased_hsic(k, l) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(l, l))
    assert linear_cka(x, y, "unbiased").item() == pytest.approx(expected, rel=1e-10)
    assert abs(expected - linear_cka(x, y).item()) > 0.01


def test_independent_features_look_alike_to_the_biased_form_only():
    wide = [(features(16, 400, seed=2 * s), features(16, 400, seed=2 * s + 1)) for s in range(20)]
    assert np.mean([linear_cka(x, y).item() for x, y in wide]) > 0.8
    assert abs(np.mean([linear_cka(x, y, "unbiased").item() for x, y in wide])) < 0.05


@pytest.mark.parametrize("hsic", ["biased", "unbiased"])
def test_constant_features_give_nan(hsic: str):
    assert torch.isnan(linear_cka(torch.zeros(6, 3), features(6, 3).float(), hsic))


def test_different_numbers_of_images_are_refused():
    with pytest.raises(ValueError, match="5 images on one side, 6"):
        linear_cka(features(5, 2), features(6, 2))


@pytest.mark.parametrize("hsic", ["biased", "unbiased"])
def test_the_loss_weighs_similarity_and_cross_entropy(hsic: str):
    ours, theirs = [features(6, 3), features(6, 4, seed=1)], [features(6, 5, seed=2), features(6, 2, seed=3)]
    logits, labels = features(6, 10, seed=4), torch.arange(6)
    rmi = sum(1 - linear_cka(a, b, hsic) for a, b in zip(ours, theirs, strict=True))
    expected = 0.3 * rmi + 0.7 * torch.nn.functional.cross_entropy(logits, labels)
    assert RmiLoss.of(theirs, labels, 0.3, hsic)(logits, ours).item() == pytest.approx(expected.item(), rel=1e-12)
