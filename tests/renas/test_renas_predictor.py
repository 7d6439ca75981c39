"""The network and the standardisation in front of it, as the paper's notes and scikit-learn have them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

from renas.fast.convolution import Convolution
from renas.lenet import LeNet, Standardizer


def tensors(count: int = 40, seed: int = 0) -> np.ndarray:
    """Raw features of very different sizes; some entries constant, and one of them not a round number."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(count, 3, 4, 4)) * 10.0 ** rng.integers(-3, 9, size=(3, 4, 4))
    made[:, 0, 0] = 0
    made[:, 1, 2, 3] = 92_274_688
    made[:, 2, 1, 1] = 0.1
    return made


def fitted(data: np.ndarray) -> StandardScaler:
    return StandardScaler().fit(data.reshape(len(data), -1))


@pytest.mark.parametrize("count", [2, 3, 40, 424])
def test_standardizer_is_scikit_learns(count: int):
    data, other = tensors(count), tensors(50, seed=1)
    ours, theirs = Standardizer.fit(data), fitted(data)
    assert (ours.mean.shape, ours.mean.dtype, ours.scale.dtype) == ((3, 4, 4), np.float64, np.float64)
    np.testing.assert_allclose(ours.mean.ravel(), theirs.mean_, rtol=1e-12)
    np.testing.assert_allclose(ours.scale.ravel(), theirs.scale_, rtol=1e-12)
    for some in (data, other):
        expected = theirs.transform(some.reshape(len(some), -1)).reshape(some.shape)
        made = ours(some)
        assert made.dtype == np.float32
        np.testing.assert_allclose(made, expected, rtol=1e-6, atol=1e-6)


def test_standardised_training_tensors_have_mean_0_and_deviation_1():
    made = Standardizer.fit(tensors())(tensors()).astype(np.float64)
    varying = made.std(0) > 0
    assert np.count_nonzero(~varying) == 4 + 2
    assert np.abs(made.mean(0)).max() < 1e-6
    assert made.std(0)[varying] == pytest.approx(1, abs=1e-6)


def test_a_constant_entry_is_exactly_0_and_only_shifted_in_others():
    standardize = Standardizer.fit(tensors())
    constant = (slice(None), [0, 1, 2], [0, 2, 1], [0, 3, 1])
    assert not standardize(tensors())[constant].any()
    other = tensors() + 2
    assert standardize(other)[constant] == pytest.approx(2, abs=1e-6)


def test_float32_tensors_are_standardised_in_float64():
    data = tensors().astype(np.float32)
    data[:, 1, 0, 0] = 1e8 + 8 * np.arange(len(data))  # single precision could not tell the mean from its neighbours
    expected = fitted(data.astype(np.float64)).transform(data.astype(np.float64).reshape(len(data), -1))
    np.testing.assert_allclose(Standardizer.fit(data)(data).reshape(len(data), -1), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("channels", "vertices"), [(19, 7), (31, 4), (1, 7), (1, 4), (3, 10)])
def test_the_network_has_the_demos_layers(channels: int, vertices: int):
    width = {19: 38, 31: 62}.get(channels, 38)
    shapes = [tuple(parameter.shape) for parameter in LeNet(channels, vertices).parameters()]
    convolutions = [(width, channels, 3, 3), (width,), (width,), (width,), (128, width, 3, 3), (128,), (128,), (128,)]
    dense = [(120, 128 * vertices**2), (120,), (84, 120), (84,), (1, 84), (1,)]
    assert shapes == [*convolutions, *dense]
    if channels == 19:
        assert shapes[8] == (120, 6272)


def slow_forward(network: LeNet, x: Tensor) -> Tensor:
    """conv, batch norm with the batch's statistics, ReLU, twice; three dense layers, ReLU between."""
    w1, b1, g1, s1, w2, b2, g2, s2, *dense = network.parameters()
    for weight, bias, gain, shift in ((w1, b1, g1, s1), (w2, b2, g2, s2)):
        x = F.conv2d(x, weight, bias, padding=1)
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
        x = (x - mean) / (variance + 1e-5).sqrt() * gain[:, None, None] + shift[:, None, None]
        x = x.clamp_min(0)
    x = x.reshape(len(x), -1)
    for position, (weight, bias) in enumerate(zip(dense[::2], dense[1::2], strict=True)):
        x = x @ weight.T + bias
        if position < 2:
            x = x.clamp_min(0)
    return x[:, 0]


@pytest.mark.parametrize(("channels", "vertices"), [(19, 7), (31, 4), (1, 7)])
def test_a_forward_pass_is_that_of_the_layers_one_by_one(channels: int, vertices: int):
    torch.manual_seed(0)
    network = LeNet(channels, vertices).double().train()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # no gain of 1 or shift of 0 that would hide a mistake
        x = torch.randn(5, channels, vertices, vertices, dtype=torch.float64)
        made = network(x)
        assert made.shape == (5,)
        torch.testing.assert_close(made, slow_forward(network, x), rtol=1e-9, atol=1e-9)
        network.eval()
        assert not torch.allclose(network(x), made)  # running statistics, not the batch's
        torch.testing.assert_close(network(x[:1]), network(x)[:1])


@pytest.mark.parametrize("side", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("triangular", [True, False])
def test_the_products_of_a_convolution_are_the_convolution(side: int, triangular: bool):
    """Of maps that are constant but above the diagonal; twice, so that rows become columns and rows again."""
    torch.manual_seed(0)
    varying = np.triu(np.ones((side, side), dtype=bool), 1 if triangular and side > 1 else -side)
    maps = torch.randn(1, 3, side, side, dtype=torch.float64).repeat(5, 1, 1, 1)
    maps[:, :, torch.from_numpy(varying)] = torch.randn(5, 3, int(varying.sum()), dtype=torch.float64)
    x = maps[:, :, torch.from_numpy(varying)].permute(2, 1, 0).reshape(-1, 5)
    for width_in, width_out, turned in ((3, 4, False), (4, 2, True)):
        weight = torch.randn(width_out, width_in, 3, 3, dtype=torch.float64)
        made = F.conv2d(maps, weight.transpose(2, 3) if turned else weight, padding=1)
        conv = Convolution(varying, width_in, width_out)
        kernel = conv.stack(weight)
        assert torch.equal(conv.unstack(kernel), weight)
        still = maps * ~torch.from_numpy(varying.T if turned else varying)
        rest = F.conv2d(still[:1], weight.transpose(2, 3) if turned else weight, padding=1)[0]
        lines, places = conv.order.T
        rows, columns = (lines, places) if turned else (places, lines)
        out = rest[:, rows, columns].T.reshape(-1, 1).repeat(1, 5)
        for p in conv.products:
            out[p.to] += kernel[p.rows, p.columns] @ x[p.of]
        torch.testing.assert_close(out, made[:, :, rows, columns].permute(2, 1, 0).reshape(-1, 5))
        assert conv.size == int(conv.outputs.sum()) * width_out
        x, maps, varying = out[: conv.size], made, conv.outputs
