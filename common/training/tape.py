"""What a network computes, as a list of instructions: recorded once by sending a placeholder through its forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.networks.base import TappedNetwork

Shape = tuple[int, ...]


class NotRecordable(RuntimeError):
    """The network uses something that instructions cannot say; it has to be run as it is."""


@dataclass(frozen=True, eq=False)
class Instruction:
    """One operation on values that are known by number; value 0 is the input of the network.

    kind: a key of KINDS. static: whatever else decides what is computed (strides, ...), hashable. shape: of the result,
    the images first. parameters: what is trained, or None where an operation has none at that place.
    """

    kind: str
    static: tuple[Any, ...]
    inputs: tuple[int, ...]
    parameters: tuple[nn.Parameter | None, ...]
    shape: Shape


@dataclass(frozen=True, eq=False)
class Program:
    """The instructions of one network by the value that they make, in an order in which they can be run."""

    instructions: dict[int, Instruction]
    logits: int
    taps: tuple[int, ...]


def record(network: TappedNetwork, shape: Shape) -> Program:
    """The program of a network in train mode for inputs of `shape` (B, 3, H, W); nothing is computed.

    Raises: NotRecordable when its forward pass uses a function that has no entry in KINDS, or a batch norm that is not
    on batch statistics.
    """
    tape = _Tape()
    was_training = network.training
    network.train()
    logits, taps = network.forward_taps(cast(Tensor, Traced(tape, 0, shape)))
    network.train(was_training)
    outputs = [logits, *taps]
    if not all(isinstance(output, Traced) for output in outputs):
        raise NotRecordable("the network's outputs do not depend on its input")
    first, *rest = (cast(Traced, output).value for output in outputs)
    return Program(_live(tape.instructions, [first, *rest]), first, tuple(rest))


def _live(instructions: list[Instruction], outputs: Sequence[int]) -> dict[int, Instruction]:
    """Value -> instruction, without those that no output needs, in order."""
    needed = set(outputs)
    for value in range(len(instructions), 0, -1):
        if value in needed:
            needed.update(instructions[value - 1].inputs)
    return {value: made for value, made in enumerate(instructions, 1) if value in needed}


class _Tape:
    def __init__(self) -> None:
        self.instructions: list[Instruction] = []

    def write(
        self,
        kind: str,
        inputs: Sequence[Traced],
        shape: Shape,
        static: tuple[Any, ...] = (),
        parameters: Sequence[Tensor | None] = (),
    ) -> Traced:
        for parameter in parameters:
            if not (parameter is None or isinstance(parameter, nn.Parameter)):
                raise NotRecordable(f"{kind} with a weight that is no parameter")
        kept = tuple(cast("nn.Parameter | None", parameter) for parameter in parameters)
        self.instructions.append(Instruction(kind, static, tuple(x.value for x in inputs), kept, shape))
        return Traced(self, len(self.instructions), shape)


class Traced:
    """Stands for a tensor of known shape while a network is recorded."""

    def __init__(self, tape: _Tape, value: int, shape: Shape) -> None:
        self.tape, self.value, self.shape = tape, value, torch.Size(shape)
        self.requires_grad = True

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Traced:
        written = RECORDERS.get(func)
        if written is None:
            raise NotRecordable(f"{getattr(func, '__name__', func)} cannot be recorded")
        return written(*args, **(kwargs or {}))

    def dim(self) -> int:
        return len(self.shape)

    def size(self, axis: int | None = None) -> Any:
        return self.shape if axis is None else self.shape[axis]

    def __add__(self, other: Any) -> Traced:
        return _binary("add", self, other)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Traced:
        return _binary("mul", self, other)

    __rmul__ = __mul__

    def __getitem__(self, key: Any) -> Traced:
        keys = key if isinstance(key, tuple) else (key,)
        whole = slice(None)
        if len(self.shape) != 4 or keys[0] != whole or not all(isinstance(k, slice) for k in keys):
            raise NotRecordable("only channels, rows and columns of images can be cut out")
        spans = [range(*k.indices(n)) for k, n in zip((*keys, whole, whole, whole)[1:4], self.shape[1:], strict=True)]
        static = tuple((s.start, s.stop, s.step) for s in spans)
        return self.tape.write("crop", [self], (self.shape[0], *(len(s) for s in spans)), static)

    def mean(self, dim: Any = None, keepdim: bool = False) -> Traced:
        dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
        if len(self.shape) != 4 or sorted(d % 4 for d in dims) != [2, 3]:
            raise NotRecordable("a mean over other axes than rows and columns")
        shape = (*self.shape[:2], 1, 1) if keepdim else self.shape[:2]
        return self.tape.write("mean", [self], shape, (keepdim,))

    def flatten(self, start: int = 0, end: int = -1) -> Traced:
        if start != 1 or end % len(self.shape) != len(self.shape) - 1:
            raise NotRecordable("a flattening of other axes than all but the first")
        width = 1
        for side in self.shape[1:]:
            width *= side
        return self.tape.write("flatten", [self], (self.shape[0], width))


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _binary(kind: str, a: Any, b: Any) -> Traced:
    if not (isinstance(a, Traced) and isinstance(b, Traced)):
        number, traced = (a, b) if isinstance(b, Traced) else (b, a)
        if not isinstance(number, (int, float)) or not isinstance(traced, Traced):
            raise NotRecordable(f"{kind} with something that is neither a feature nor a number")
        if number == (0 if kind == "add" else 1):  # sum() of features starts from 0
            return traced
        return traced.tape.write(f"{kind}_number", [traced], traced.shape, (float(number),))
    shape = torch.broadcast_shapes(a.shape, b.shape)
    if len(a.shape) != len(b.shape) or a.shape[:2] != b.shape[:2]:
        raise NotRecordable(f"{kind} of {tuple(a.shape)} and {tuple(b.shape)}")
    return a.tape.write(kind, [a, b], shape)


def _conv2d(
    x: Traced,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Traced:
    if isinstance(padding, str):
        raise NotRecordable("padding given as a word")
    stride, padding, dilation = _pair(stride), _pair(padding), _pair(dilation)
    sides = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(x.shape[2:], padding, dilation, weight.shape[2:], stride, strict=True)
    ]
    static = (tuple(weight.shape), stride, padding, dilation, groups)
    return x.tape.write("conv2d", [x], (x.shape[0], weight.shape[0], *sides), static, (weight, bias))


def _batch_norm(
    x: Traced,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Traced:
    if not training:
        raise NotRecordable("batch norm on running statistics")
    return x.tape.write("batch_norm", [x], x.shape, (eps,), (weight, bias))


def _linear(x: Traced, weight: Tensor, bias: Tensor | None = None) -> Traced:
    if len(x.shape) != 2:
        raise NotRecordable("a linear layer on images")
    return x.tape.write("linear", [x], (x.shape[0], weight.shape[0]), (tuple(weight.shape),), (weight, bias))


def _pooled(x: Traced, kernel: Any, stride: Any, padding: Any, dilation: Any = 1, ceil_mode: bool = False) -> Shape:
    if ceil_mode:
        raise NotRecordable("pooling with ceil_mode")
    kernel, padding, dilation = _pair(kernel), _pair(padding), _pair(dilation)
    stride = kernel if stride is None or stride == [] else _pair(stride)
    sides = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    return (*x.shape[:2], *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sides))


def _avg_pool2d(
    x: Traced,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Traced:
    shape = _pooled(x, kernel_size, stride, padding, 1, ceil_mode)
    kernel = _pair(kernel_size)
    step = kernel if stride is None or stride == [] else _pair(stride)
    static = (kernel, step, _pair(padding), False, bool(count_include_pad), divisor_override)
    return x.tape.write("avg_pool2d", [x], shape, static)


def _max_pool2d(
    x: Traced,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Traced:
    shape = _pooled(x, kernel_size, stride, padding, dilation, ceil_mode)
    kernel = _pair(kernel_size)
    step = kernel if stride is None or stride == [] else _pair(stride)
    return x.tape.write("max_pool2d", [x], shape, (kernel, step, _pair(padding), _pair(dilation)))


def _adaptive_avg_pool2d(x: Traced, output_size: Any) -> Traced:
    if _pair(output_size) != (1, 1):
        raise NotRecordable("adaptive pooling to more than one pixel")
    return x.mean((2, 3), keepdim=True)


def _cat(tensors: Sequence[Traced], dim: int = 0) -> Traced:
    first = tensors[0]
    if dim % len(first.shape) != 1:
        raise NotRecordable("joining other axes than the channels")
    width = sum(x.shape[1] for x in tensors)
    return first.tape.write("cat", list(tensors), (first.shape[0], width, *first.shape[2:]))


def _unary(kind: str) -> Callable[..., Traced]:
    def written(x: Traced, *_: Any, **__: Any) -> Traced:
        return x.tape.write(kind, [x], x.shape)

    return written


def _hardtanh(x: Traced, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Traced:
    return x.tape.write("hardtanh", [x], x.shape, (float(min_val), float(max_val)))


RECORDERS: dict[Any, Callable[..., Traced]] = {
    F.conv2d: _conv2d,
    F.batch_norm: _batch_norm,
    F.linear: _linear,
    F.relu: _unary("relu"),
    torch.relu: _unary("relu"),
    F.relu6: lambda x, inplace=False: _hardtanh(x, 0.0, 6.0),
    F.hardtanh: _hardtanh,
    F.hardswish: _unary("hardswish"),
    F.hardsigmoid: _unary("hardsigmoid"),
    torch.sigmoid: _unary("sigmoid"),
    torch.zeros_like: _unary("zeros_like"),
    F.avg_pool2d: _avg_pool2d,
    F.max_pool2d: _max_pool2d,
    torch.max_pool2d: _max_pool2d,
    F.adaptive_avg_pool2d: _adaptive_avg_pool2d,
    torch.cat: _cat,
    torch.add: lambda a, b: _binary("add", a, b),
    torch.mul: lambda a, b: _binary("mul", a, b),
    torch.mean: lambda x, dim=None, keepdim=False: x.mean(dim, keepdim),
    torch.flatten: lambda x, start_dim=0, end_dim=-1: x.flatten(start_dim, end_dim),
}
