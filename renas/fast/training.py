"""Training steps of the LeNet on the CPU: the forward and the backward pass written out, without autograd.

A batch is cut into parts that run side by side, one thread each, and meet where batch norm or the loss needs all of
them; they do not depend on the number of threads. Activations are columns (positions * channels, architectures),
convolutions are products of contiguous slices (`renas.fast.convolution`), and what can be is done line by line of a
map, because a line stays in the cache. A convolution's own bias is left out: batch norm takes it away again, so its
gradient is zero, and only the running mean gets to see it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from renas.fast.convolution import Convolution, Product
from renas.lenet import LeNet

PART = 256  # architectures per part, at most: a line of their second map, 0.9 MB, stays in a core's cache
EVALUATED = 1024  # architectures that are evaluated at a time

R = TypeVar("R")


class Weights(NamedTuple):
    """The parameters of a LeNet in its order, or their gradients; kernels and positions as `Convolution` has them."""

    kernel1: Tensor
    bias1: Tensor
    gain1: Tensor
    shift1: Tensor
    kernel2: Tensor
    bias2: Tensor
    gain2: Tensor
    shift2: Tensor
    dense1: Tensor
    dense_bias1: Tensor
    dense2: Tensor
    dense_bias2: Tensor
    dense3: Tensor
    dense_bias3: Tensor

    @property
    def shapes(self) -> list[torch.Size]:
        return [weight.shape for weight in self]

    @classmethod
    def views(cls, flat: Tensor, shapes: list[torch.Size]) -> Weights:
        """Views of a flat tensor."""
        pieces = flat.split([shape.numel() for shape in shapes])
        return cls(*(piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)))


class Norm:
    """Batch norm and ReLU of maps (positions * C, n): relu(z * scale + shift)."""

    def __init__(self, mean: Tensor, variance: Tensor, gain: Tensor, shift: Tensor, eps: float) -> None:
        """Args: mean, variance, gain, shift: (C,), one value a channel."""
        self.mean = mean[:, None]
        self.inverse = (variance[:, None] + eps).rsqrt()
        self.scale = gain[:, None] * self.inverse
        self.shift = shift[:, None] - self.mean * self.scale
        self.at_zero = self.shift.relu()  # what z = 0 becomes

    def __call__(self, z: Tensor, out: Tensor) -> Tensor:
        split = (-1, len(self.scale), z.shape[1])
        torch.mul(z.view(split), self.scale, out=out.view(split)).add_(self.shift).relu_()
        return out

    def backward(self, errors: Tensor, count: int, error_at_zero: Tensor | float = 0.0) -> tuple[Tensor, ...]:
        """Gradients of gain and shift (C,), and a, b (C, 1) of dz = scale * (dy - a z - b).

        Args, of y = z * scale + shift:
            errors: (2, positions * C, 1), sums of dy and of dy * z; error_at_zero: the sum of dy where z is 0.
            count: how many there are of a channel.
        """
        shift, product = errors.view(2, -1, *self.scale.shape).sum(1)
        shift = shift + error_at_zero
        gain = self.inverse * (product - self.mean * shift)
        a = self.inverse * gain / count
        return gain[:, 0], shift[:, 0], a, shift / count - self.mean * a


Slices = list[tuple[Tensor, Tensor, Tensor]]  # per product of a convolution, its views of output, kernel and input


class Line(NamedTuple):
    """A line of the second map."""

    place: slice
    z: Tensor
    active: Tensor
    scratch: Tensor
    forward: Slices
    evaluation: Slices  # into scratch
    backward_kernel: Slices
    backward_input: Slices


class Part:
    """One part of a batch: its activations and its share of the gradients, with the views that the products take."""

    def __init__(self, count: int, training: FastTraining) -> None:
        weights, first, second = training.weights, training.first, training.second
        new = weights.kernel1.new_empty
        self.flat = torch.zeros_like(training.flat)
        self.gradient = Weights.views(self.flat, weights.shapes)
        self.x = new(len(training.inputs), count)
        self.z1, self.active1, self.error1 = (new(first.size, count) for _ in range(3))
        self.forward1 = _slices(first.products, self.z1, weights.kernel1, self.x)
        self.backward1 = _slices(first.products, self.z1, self.gradient.kernel1, self.x)
        z, active = (new(second.size, count) for _ in range(2))
        scratch = new(max(place.stop - place.start for place, _ in second.lines), count)
        self.lines = [
            Line(
                place,
                z[place],
                active[place],
                scratch[: place.stop - place.start],
                _slices(products, z, weights.kernel2, self.active1),
                _slices(products, scratch, weights.kernel2, self.active1, place.start),
                _slices(products, z, self.gradient.kernel2, self.active1),
                _slices(products, z, training.scaled_kernel2, self.error1),
            )
            for place, products in second.lines
        ]
        self.hidden: list[Tensor] = []  # of the dense layers
        self.error = new(1, count)  # gradient of the outputs


class FastTraining:
    """Adam on a LeNet over standardised tensors, as autograd would have it up to rounding. A context manager."""

    def __init__(self, network: LeNet, inputs: Tensor, lr: float, weight_decay: float) -> None:
        """`inputs`: (n, C, V, V)."""
        self.network, self.lr, self.weight_decay = network, lr, weight_decay
        conv1, self.norm1, _, conv2, self.norm2, _ = network.features
        assert isinstance(conv1, nn.Conv2d)
        assert isinstance(conv2, nn.Conv2d)
        side = inputs.shape[-1]
        varying = np.triu(np.ones((side, side), dtype=bool), 1)
        if not varying.any() or inputs[:, :, torch.from_numpy(~varying)].any():
            varying[:] = True
        self.first = Convolution(varying, conv1.in_channels, conv1.out_channels)
        self.second = Convolution(self.first.outputs, conv2.in_channels, conv2.out_channels)
        self.constant_taps = self.second.constant_taps.to(inputs.dtype)
        self.places = torch.from_numpy(self.second.order @ [side, 1])
        self.area = side * side
        self.inputs = inputs[:, :, torch.from_numpy(varying)].permute(2, 1, 0).flatten(0, 1).contiguous()

        packed = self._packed(Weights(*(parameter.detach() for parameter in network.parameters())))
        self.flat = torch.cat([weight.flatten() for weight in packed])
        self.weights = Weights.views(self.flat, packed.shapes)
        self.moments = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        self.steps = torch.zeros(())
        self.scaled_kernel2 = torch.empty_like(self.weights.kernel2)
        self.workspace: dict[tuple[int, int], Part] = {}  # by place in the batch and size
        self.threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> FastTraining:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()

    # what is trained ------------------------------------------------------------------------------------------------

    def _packed(self, weights: Weights) -> Weights:
        """A LeNet's parameters as they are held here."""
        dense = weights.dense1.view(len(weights.dense1), -1, self.area)[:, :, self.places]
        return weights._replace(
            kernel1=self.first.stack(weights.kernel1),
            kernel2=self.second.stack(weights.kernel2.transpose(2, 3)),
            dense1=dense.transpose(1, 2).flatten(1),
        )

    def _unpacked(self, weights: Weights) -> Weights:
        dense = torch.empty_like(weights.dense1).view(len(weights.dense1), -1, self.area)
        dense[:, :, self.places] = weights.dense1.view(len(dense), self.area, -1).transpose(1, 2)
        return weights._replace(
            kernel1=self.first.unstack(weights.kernel1),
            kernel2=self.second.unstack(weights.kernel2).transpose(2, 3),
            dense1=dense.flatten(1),
        )

    def state(self) -> list[Tensor]:
        """A copy of what `load` takes."""
        return [tensor.clone() for tensor in (self.flat, *self.network.buffers())]

    @torch.no_grad()
    def load(self, state: list[Tensor]) -> None:
        """Puts the weights and running statistics of `state` into the network."""
        flat, *statistics = state
        weights = self._unpacked(Weights.views(flat, self.weights.shapes))
        tensors = [*self.network.parameters(), *self.network.buffers()]
        for tensor, value in zip(tensors, (*weights, *statistics), strict=True):
            tensor.copy_(value)

    # passes ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def outputs(self) -> np.ndarray:
        """Scores (n,) of all inputs by the network as it would be used: batch norm with its running statistics."""
        w = self.weights
        norm1 = _running_norm(self.norm1, w.gain1, w.shift1, w.bias1)
        norm2 = _running_norm(self.norm2, w.gain2, w.shift2, w.bias2)
        constant = self._constant(norm1.at_zero)
        unvarying = constant[self.second.size :]
        bias = self._bias(norm2(unvarying, unvarying))

        def run(part: Part) -> Tensor:
            self._forward1(part)
            norm1(part.z1, part.active1)
            hidden = bias.repeat(1, part.x.shape[1])
            for line in part.lines:
                line.scratch.copy_(constant[line.place])
                _convolve(line.evaluation)
                hidden.addmm_(w.dense1[:, line.place], norm2(line.scratch, line.scratch))
            return self._head(hidden)[-1]

        blocks = torch.arange(self.inputs.shape[1]).split(EVALUATED)
        return torch.cat([scores for rows in blocks for scores in self._each(run, self._parts(rows))], 1)[0].numpy()

    def step(self, rows: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
        """One step of Adam on the architectures `rows` (n,); returns the loss, `loss_of` their outputs (n,)."""
        w, n = self.weights, len(rows)
        count = n * self.area
        with torch.no_grad():
            parts = self._parts(rows)
            norm1 = _batch_norm(self.norm1, w.gain1, w.shift1, w.bias1, self._sum(self._forward1, parts), count)
            constant = self._constant(norm1.at_zero)
            unvarying = constant[self.second.size :]  # positions that are the same for all
            moments = self._sum(partial(self._forward2, norm1, constant), parts)
            moments = torch.cat([moments, n * torch.stack([unvarying, unvarying.square()])], 1)
            norm2 = _batch_norm(self.norm2, w.gain2, w.shift2, w.bias2, moments, count)
            unvarying_active = norm2(unvarying, torch.empty_like(unvarying))
            outputs = torch.cat(self._each(partial(self._forward3, norm2, self._bias(unvarying_active)), parts), 1)[0]
        loss = loss_of(outputs.requires_grad_())
        (error,) = torch.autograd.grad(loss, outputs)
        with torch.no_grad():
            for part, errors in zip(parts, error.split([part.x.shape[1] for part in parts]), strict=True):
                part.error = errors[None]
            errors = self._sum(self._backward3, parts)
            hidden = torch.stack([part.gradient.dense_bias1 for part in parts]).sum(0)[:, None]
            unvarying_error = (w.dense1[:, self.second.size :].T @ hidden) * (unvarying_active > 0)
            errors = torch.cat([errors, torch.stack([unvarying_error, unvarying_error * unvarying])], 1)
            gain2, shift2, a, b = norm2.backward(errors, count)
            torch.mul(w.kernel2.view(3, len(a), -1), norm2.scale, out=self.scaled_kernel2.view(3, len(a), -1))
            sums = self._sum(partial(self._backward2, a, b), parts)
            # What the taps that see a constant position get, from all architectures at once.
            dy, z = errors[0].view(self.area, -1), moments[0].view(self.area, -1)
            taps_error = torch.einsum("pab,po->aob", self.constant_taps, dy - a.T * z - n * b.T).reshape(-1, 1)
            at_zero_error = (self.scaled_kernel2.view(len(taps_error), -1).T @ taps_error) * (norm1.at_zero > 0)
            gain1, shift1, a, b = norm1.backward(sums, count, at_zero_error)
            self._each(partial(self._backward1, a, b), parts)

            total, *others = (part.flat for part in parts)
            for other in others:
                total += other
            g = parts[0].gradient
            torch.mm(hidden, unvarying_active.T, out=g.dense1[:, self.second.size :])
            g.kernel2.view(len(taps_error), -1).addmm_(taps_error, norm1.at_zero.T)
            g.kernel1.view(3, len(gain1), -1).mul_(norm1.scale)
            g.kernel2.view(3, len(gain2), -1).mul_(norm2.scale)
            made = (g.gain1, gain1), (g.shift1, shift1), (g.gain2, gain2), (g.shift2, shift2)
            for place, value in made:
                place.copy_(value)
            self._adam(total)
        return loss.detach()

    def _forward1(self, part: Part) -> Tensor:
        """First convolution; returns, as _forward2, the sums over the architectures of z and z * z."""
        part.z1.zero_()
        _convolve(part.forward1)
        return _moments(part.z1)

    def _forward2(self, norm1: Norm, constant: Tensor, part: Part) -> Tensor:
        norm1(part.z1, part.active1)
        moments = []
        for line in part.lines:
            line.z.copy_(constant[line.place])
            _convolve(line.forward)
            moments.append(_moments(line.z))
        return torch.cat(moments, 1)

    def _forward3(self, norm2: Norm, bias: Tensor, part: Part) -> Tensor:
        """Dense layers; returns the outputs (1, n)."""
        hidden = bias.repeat(1, part.x.shape[1])
        for line in part.lines:
            hidden.addmm_(self.weights.dense1[:, line.place], norm2(line.z, line.active))
        part.hidden = self._head(hidden)
        return part.hidden[-1]

    def _head(self, hidden: Tensor) -> list[Tensor]:
        """Activations of the first and second dense layer, and the outputs (1, n)."""
        w = self.weights
        first = hidden.relu_()
        second = torch.addmm(w.dense_bias2[:, None], w.dense2, first).relu_()
        return [first, second, torch.addmm(w.dense_bias3[:, None], w.dense3, second)]

    def _backward3(self, part: Part) -> Tensor:
        """Leaves dy in `active`; returns, as _backward2, the sums over the architectures of dy and dy * z."""
        w, gradient, error = self.weights, part.gradient, part.error
        first, second, _ = part.hidden
        torch.mm(error, second.T, out=gradient.dense3)
        torch.sum(error, 1, out=gradient.dense_bias3)
        error = (w.dense3.T @ error).mul_(second > 0)
        torch.mm(error, first.T, out=gradient.dense2)
        torch.sum(error, 1, out=gradient.dense_bias2)
        error = (w.dense2.T @ error).mul_(first > 0)
        torch.sum(error, 1, out=gradient.dense_bias1)
        sums = []
        for line in part.lines:
            torch.mm(error, line.active.T, out=gradient.dense1[:, line.place])
            torch.mm(w.dense1[:, line.place].T, error, out=line.scratch)
            sums.append(_errors(_through_relu(line.active, line.scratch), line.z, line.scratch))
        return torch.cat(sums, 1)

    def _backward2(self, a: Tensor, b: Tensor, part: Part) -> Tensor:
        """Leaves dy of the first map in `active1`."""
        part.gradient.kernel2.zero_()
        part.error1.zero_()
        for line in part.lines:
            _backward_norm(line.z, line.active, a, b)
            _convolve_kernel(line.backward_kernel)
            for dz, kernel, dx in line.backward_input:
                dx.addmm_(kernel.T, dz)
        return _errors(_through_relu(part.active1, part.error1), part.z1, part.error1)

    def _backward1(self, a: Tensor, b: Tensor, part: Part) -> None:
        part.gradient.kernel1.zero_()
        _backward_norm(part.z1, part.active1, a, b)
        _convolve_kernel(part.backward1)

    def _constant(self, at_zero: Tensor) -> Tensor:
        """What the constant positions of the first map, (C_1, 1) each, give the second map, (V * V * C_2, 1)."""
        taps = (self.weights.kernel2.view(-1, len(at_zero)) @ at_zero).view(3, -1, 3)
        return torch.einsum("pab,aob->po", self.constant_taps, taps).reshape(-1, 1)

    def _bias(self, unvarying: Tensor) -> Tensor:
        """(120, 1): bias of the first dense layer, and what the second map's constant positions give it."""
        return torch.addmm(self.weights.dense_bias1[:, None], self.weights.dense1[:, self.second.size :], unvarying)

    def _adam(self, gradient: Tensor) -> None:
        # Not the optimizer class, whose import takes longer than a second.
        first, second = self.moments
        adam([self.flat], [gradient], [first], [second], [], [self.steps], fused=True, amsgrad=False, maximize=False,
             beta1=0.9, beta2=0.999, lr=self.lr, weight_decay=self.weight_decay, eps=1e-8)  # fmt: skip

    # parts ----------------------------------------------------------------------------------------------------------

    def _parts(self, rows: Tensor) -> list[Part]:
        """An even number of parts of nearly the same size, with the inputs of `rows`; a single row is one part."""
        parts = []
        for index, chunk in enumerate(rows.tensor_split(min(2 * math.ceil(len(rows) / (2 * PART)), len(rows)))):
            key = index, len(chunk)
            if key not in self.workspace:
                self.workspace[key] = Part(len(chunk), self)
            parts.append(self.workspace[key])
            torch.index_select(self.inputs, 1, chunk, out=parts[-1].x)
        return parts

    def _each(self, run: Callable[[Part], R], parts: list[Part]) -> list[R]:
        return list(map(run, parts) if self.threads == 1 else self.pool.map(torch.no_grad()(run), parts))

    def _sum(self, run: Callable[[Part], Tensor], parts: list[Part]) -> Tensor:
        return torch.stack(self._each(run, parts)).sum(0)


def _slices(products: Iterable[Product], out: Tensor, kernel: Tensor, x: Tensor, start: int = 0) -> Slices:
    """Of an output that is held from row `start` on."""
    return [(out[p.to.start - start : p.to.stop - start], kernel[p.rows, p.columns], x[p.of]) for p in products]


def _convolve(slices: Slices) -> None:
    for out, kernel, x in slices:
        out.addmm_(kernel, x)


def _convolve_kernel(slices: Slices) -> None:
    """Gradient of the kernel from that of the output."""
    for dz, kernel, x in slices:
        kernel.addmm_(dz, x.T)


def _moments(z: Tensor) -> Tensor:
    """(2, rows, 1): sums of z and z * z."""
    return torch.stack([z.sum(1, keepdim=True), torch.linalg.vector_norm(z, dim=1, keepdim=True).square()])


def _through_relu(active: Tensor, error: Tensor) -> Tensor:
    """Makes the gradient before a ReLU out of what came out of it, in its place, and the gradient of that."""
    return active.sign_().mul_(error)


def _errors(dy: Tensor, z: Tensor, scratch: Tensor) -> Tensor:
    """(2, rows, 1): sums of dy and dy * z."""
    return torch.stack([dy.sum(1, keepdim=True), torch.mul(dy, z, out=scratch).sum(1, keepdim=True)])


def _backward_norm(z: Tensor, dy: Tensor, a: Tensor, b: Tensor) -> None:
    """z becomes dy - a z - b."""
    z.view(-1, len(a), z.shape[1]).mul_(-a).sub_(b)
    z.add_(dy)


def _batch_norm(layer: nn.Module, gain: Tensor, shift: Tensor, bias: Tensor, moments: Tensor, count: int) -> Norm:
    """Batch norm by the statistics of a batch, which its running ones take in."""
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.momentum is not None
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.num_batches_tracked is not None
    mean, square = moments.view(2, -1, len(gain)).sum(1) / count
    variance = (square - mean.square()).clamp_min(0)
    layer.num_batches_tracked += 1
    layer.running_mean.lerp_(mean + bias, layer.momentum)
    layer.running_var.lerp_(variance * (count / (count - 1)), layer.momentum)
    return Norm(mean, variance, gain, shift, layer.eps)


def _running_norm(layer: nn.Module, gain: Tensor, shift: Tensor, bias: Tensor) -> Norm:
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return Norm(layer.running_mean - bias, layer.running_var, gain, shift, layer.eps)
