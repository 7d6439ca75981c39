"""What a network computes, as a list of instructions: recorded once by sending a placeholder through its forward.

Why not `torch.fx` or `torch.export`? Recording happens for every candidate, and has to be cheap beside building it. For
a NAS-Bench-201 network (15 cells, 312 nodes; one core, November 2026) it takes 33 ms here, against 93 ms for building
the network; fx takes 162 ms to trace and another 1,600 ms to find the shapes (`ShapeProp` on fake tensors; 1,000 ms if
it computes), and export 3,000 ms. Besides, fx does not run the forward hooks of built-in modules, so that features read
by hooks (`common.networks.taps`) would be missed; and it gives calls of modules, functions and methods as they were
written, so that the tables below, of what each means and of the shape it makes, would be needed all the same. What
records here is PyTorch's own protocol for such placeholders, `__torch_function__`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
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

    Raises: NotRecordable, naming it, for what a fused network could not do as each candidate does it by itself: a
    function without an entry in the tables below, random masks (dropout), batch norm on running statistics, weights
    that are used twice or not trained.
    """
    tape = _Tape()
    was_training = network.training
    network.train()
    try:
        logits, taps = network.forward_taps(cast(Tensor, Traced(tape, 0, shape)))
    except (TypeError, AttributeError) as error:  # operators, and what asks for other things than tensors have
        raise NotRecordable(f"the forward pass does not take placeholders ({error})") from error
    finally:
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
        self.used: set[int] = set()  # parameters, by identity

    def write(
        self,
        kind: str,
        inputs: Sequence[Traced],
        shape: Shape,
        static: tuple[Any, ...] = (),
        parameters: Sequence[Tensor | None] = (),
    ) -> Traced:
        for parameter in parameters:
            if parameter is None:
                continue
            if not isinstance(parameter, nn.Parameter):
                raise NotRecordable(f"{kind} with a weight that is no parameter")
            if not parameter.requires_grad:
                raise NotRecordable(f"{kind} with a weight that is not trained")
            if id(parameter) in self.used:
                raise NotRecordable(f"{kind} with a weight that is used twice")
            self.used.add(id(parameter))
        kept = tuple(cast("nn.Parameter | None", parameter) for parameter in parameters)
        self.instructions.append(Instruction(kind, static, tuple(x.value for x in inputs), kept, tuple(shape)))
        return Traced(self, len(self.instructions), shape)


class Traced:
    """Stands for a tensor of known shape while a network is recorded.

    What works in place makes a new value too, and the placeholder then stands for that one. (A view would have to
    change with it: see `become`.)
    """

    def __init__(self, tape: _Tape, value: int, shape: Shape) -> None:
        self.tape, self.value, self.shape = tape, value, torch.Size(shape)
        self.requires_grad = True
        self.has_views = False

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        recorder, name = RECORDERS.get(func), getattr(func, "__name__", str(func))
        if recorder is None:
            raise NotRecordable(f"{name} cannot be recorded")
        return _recorded(recorder, name, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        """Methods of tensors that are functions of RECORDERS by the same name, such as `x.relu()` and `x.relu_()`."""
        if name.startswith("__"):  # protocols of Python, which ask whether it is there
            raise AttributeError(name)
        recorder = RECORDERS.get(getattr(torch, name.removesuffix("_"), None))
        if recorder is None:
            raise NotRecordable(f"{name} of features cannot be recorded")

        def method(*args: Any, **kwargs: Any) -> Any:
            made = _recorded(recorder, name, (self, *args), kwargs)
            return self.become(made) if name.endswith("_") else made

        return method

    def become(self, made: Traced) -> Traced:
        """Stands for another value from now on. Raises NotRecordable where it has views, or is one."""
        if self.has_views:
            raise NotRecordable("an operation in place on features that are seen from elsewhere too")
        self.value, self.shape = made.value, made.shape
        return self

    def seen_as(self, made: Traced) -> Traced:
        """`made`, a view of this one."""
        self.has_views = made.has_views = True
        return made

    def again(self) -> Traced:
        """The same value as a tensor of its own."""
        return Traced(self.tape, self.value, self.shape)

    def dim(self) -> int:
        return len(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def size(self, axis: int | None = None) -> Any:
        return self.shape if axis is None else self.shape[axis]

    def __len__(self) -> int:
        return self.shape[0]

    def __add__(self, other: Any) -> Traced:
        return _add(self, other)

    __radd__ = __add__

    def __iadd__(self, other: Any) -> Traced:
        return self.become(_add(self, other))

    def __sub__(self, other: Any) -> Traced:
        return _sub(self, other)

    def __rsub__(self, other: Any) -> Traced:
        return _add(-self, other)

    def __isub__(self, other: Any) -> Traced:
        return self.become(_sub(self, other))

    def __neg__(self) -> Traced:
        return _pointwise(torch.neg)(self)

    def __mul__(self, other: Any) -> Traced:
        return _mul(self, other)

    __rmul__ = __mul__

    def __imul__(self, other: Any) -> Traced:
        return self.become(_mul(self, other))

    def __truediv__(self, other: Any) -> Traced:
        return _div(self, other)

    def __rtruediv__(self, other: Any) -> Traced:
        return _div(other, self)

    def __itruediv__(self, other: Any) -> Traced:
        return self.become(_div(self, other))

    def __pow__(self, exponent: Any) -> Traced:
        return _pointwise(torch.pow)(self, _number("pow", exponent))

    def __getitem__(self, key: Any) -> Traced:
        keys = key if isinstance(key, tuple) else (key,)
        whole = slice(None)
        if len(self.shape) != 4 or keys[0] != whole or not all(isinstance(k, slice) for k in keys):
            raise NotRecordable("only channels, rows and columns of images can be cut out")
        spans = [range(*k.indices(n)) for k, n in zip((*keys, whole, whole, whole)[1:4], self.shape[1:], strict=True)]
        static = tuple((s.start, s.stop, s.step) for s in spans)
        return self.seen_as(self.tape.write("crop", [self], (self.shape[0], *(len(s) for s in spans)), static))

    def view(self, *shape: Any) -> Traced:
        """Only as a flattening of all axes but the first."""
        asked = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
        width = math.prod(self.shape[1:])
        if len(asked) != 2 or asked[0] not in (self.shape[0], -1) or asked[1] not in (width, -1):
            raise NotRecordable(f"features of {tuple(self.shape)} seen as {asked}")
        return _flatten(self, 1)

    reshape = view

    def new_zeros(self, *shape: Any, **_: Any) -> Traced:
        asked = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
        if len(asked) < 2 or asked[0] != self.shape[0]:
            raise NotRecordable(f"zeros of {asked} beside features of {tuple(self.shape)}")
        return self.tape.write("zeros", [self], asked, asked[1:])

    def contiguous(self, **_: Any) -> Traced:
        return self


Recorder = Callable[..., Any]  # gives a Traced, or several


def _recorded(recorder: Recorder, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    try:
        return recorder(*args, **kwargs)
    except TypeError as error:  # arguments that the recorder does not know
        raise NotRecordable(f"{name} cannot be recorded with these arguments ({error})") from error


# operations on two values, or on a value and a number ----------------------------------------------------------------


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise NotRecordable(f"{name} with something that is neither a feature nor a number")
    return value


def _two(kind: str, a: Traced, b: Traced) -> Traced:
    if len(a.shape) != len(b.shape) or a.shape[:2] != b.shape[:2]:
        raise NotRecordable(f"{kind} of {tuple(a.shape)} and {tuple(b.shape)}")
    return a.tape.write(kind, [a, b], torch.broadcast_shapes(a.shape, b.shape))


def _add(a: Any, b: Any, alpha: int = 1) -> Traced:
    if alpha != 1:
        raise NotRecordable("add with alpha")
    if isinstance(a, Traced) and isinstance(b, Traced):
        return _two("add", a, b)
    number, traced = (a, b) if isinstance(b, Traced) else (b, a)
    if _number("add", number) == 0:  # sum() of features starts from 0
        return traced.again()
    return _pointwise(torch.add)(traced, number)


def _sub(a: Any, b: Any, alpha: int = 1) -> Traced:
    return _add(a, -b, alpha)  # which is exact


def _mul(a: Any, b: Any) -> Traced:
    if isinstance(a, Traced) and isinstance(b, Traced):
        return _two("mul", a, b)
    number, traced = (a, b) if isinstance(b, Traced) else (b, a)
    return _pointwise(torch.mul)(traced, _number("mul", number))


def _div(a: Any, b: Any) -> Traced:
    if isinstance(a, Traced) and isinstance(b, Traced):
        return _two("div", a, b)
    if not isinstance(a, Traced):
        raise NotRecordable("a number divided by features")
    return _pointwise(torch.div)(a, _number("div", b))


# operations with weights ---------------------------------------------------------------------------------------------


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _conv2d(
    x: Traced,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Traced:
    stride, dilation = _pair(stride), _pair(dilation)
    if padding == "same":
        spans = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        if any(span % 2 for span in spans):
            raise NotRecordable("conv2d with padding 'same' that is more on one side")
        padding = [span // 2 for span in spans]
    padding = _pair(0 if padding == "valid" else padding)
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


def _instance_norm(
    x: Traced,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Traced:
    if not use_input_stats:
        raise NotRecordable("instance norm on running statistics")
    return x.tape.write("group_norm", [x], x.shape, (x.shape[1], eps), (weight, bias))


def _group_norm(
    x: Traced, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Traced:
    return x.tape.write("group_norm", [x], x.shape, (num_groups, eps), (weight, bias))


def _layer_norm(
    x: Traced,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Traced:
    """Over all axes but the first. Over fewer it would be over channels alone, moved to the end: blocks keep theirs."""
    if tuple(normalized_shape) != tuple(x.shape[1:]):
        raise NotRecordable(f"layer norm over {tuple(normalized_shape)} of features of {tuple(x.shape)}")
    return x.tape.write("layer_norm", [x], x.shape, (eps,), (weight, bias))


def _linear(x: Traced, weight: Tensor, bias: Tensor | None = None) -> Traced:
    if len(x.shape) != 2:
        raise NotRecordable("a linear layer on images")
    return x.tape.write("linear", [x], (x.shape[0], weight.shape[0]), (tuple(weight.shape),), (weight, bias))


# pooling, padding, joining -------------------------------------------------------------------------------------------


def _pooled(
    x: Traced, kernel: tuple[int, int], stride: tuple[int, int], padding: Any, dilation: Any, ceil_mode: bool
) -> Shape:
    sides = []
    for n, k, s, p, d in zip(x.shape[2:], kernel, stride, _pair(padding), _pair(dilation), strict=True):
        span = n + 2 * p - d * (k - 1) - 1
        side = (-(-span // s) if ceil_mode else span // s) + 1
        sides.append(side - 1 if ceil_mode and (side - 1) * s >= n + p else side)  # none begins in the padding behind
    return (*x.shape[:2], *sides)


def _steps(kernel_size: Any, stride: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    kernel = _pair(kernel_size)
    return kernel, kernel if stride is None or stride == [] else _pair(stride)


def _avg_pool2d(
    x: Traced,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Traced:
    kernel, step = _steps(kernel_size, stride)
    static = (kernel, step, _pair(padding), bool(ceil_mode), bool(count_include_pad), divisor_override)
    return x.tape.write("avg_pool2d", [x], _pooled(x, kernel, step, padding, 1, ceil_mode), static)


def _max_pool2d(
    x: Traced,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Traced:
    kernel, step = _steps(kernel_size, stride)
    static = (kernel, step, _pair(padding), _pair(dilation), bool(ceil_mode))
    return x.tape.write("max_pool2d", [x], _pooled(x, kernel, step, padding, dilation, ceil_mode), static)


def _adaptive_avg_pool2d(x: Traced, output_size: Any) -> Traced:
    asked = (output_size, output_size) if isinstance(output_size, int) or output_size is None else output_size
    sides = tuple(side if to is None else int(to) for side, to in zip(x.shape[2:], asked, strict=True))
    if sides == (1, 1):
        return _mean(x, (2, 3), keepdim=True)
    return x.tape.write("adaptive_avg_pool2d", [x], (*x.shape[:2], *sides), sides)


def _mean(x: Traced, dim: Any = None, keepdim: bool = False) -> Traced:
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    if len(x.shape) != 4 or sorted(d % 4 for d in dims) != [2, 3]:
        raise NotRecordable("a mean over other axes than rows and columns")
    return x.tape.write("mean", [x], (*x.shape[:2], 1, 1) if keepdim else x.shape[:2], (keepdim,))


def _flatten(x: Traced, start_dim: int = 0, end_dim: int = -1) -> Traced:
    if start_dim != 1 or end_dim % len(x.shape) != len(x.shape) - 1:
        raise NotRecordable("a flattening of other axes than all but the first")
    return x.seen_as(x.tape.write("flatten", [x], (x.shape[0], math.prod(x.shape[1:]))))


def _pad(x: Traced, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Traced:
    """Rows and columns, and with zeros or another number channels too."""
    if len(x.shape) != 4 or len(pad) not in ((2, 4, 6) if mode == "constant" else (4,)):
        raise NotRecordable(f"padding {tuple(pad)} ({mode}) of {tuple(x.shape)}")
    before_after = [*pad, *(0,) * (6 - len(pad))]
    added = [sum(before_after[i : i + 2]) for i in (4, 2, 0)]
    shape = (x.shape[0], *(side + more for side, more in zip(x.shape[1:], added, strict=True)))
    return x.tape.write("pad", [x], shape, (tuple(pad), mode, value))


def _cat(tensors: Sequence[Traced], dim: int = 0) -> Traced:
    first = tensors[0]
    if dim % len(first.shape) != 1:
        raise NotRecordable("joining other axes than the channels")
    width = sum(x.shape[1] for x in tensors)
    return first.tape.write("cat", list(tensors), (first.shape[0], width, *first.shape[2:]))


def _split(x: Traced, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Traced, ...]:
    width, sizes = x.shape[1], split_size_or_sections
    if dim % len(x.shape) != 1:
        raise NotRecordable("splitting other axes than the channels")
    if isinstance(sizes, int):
        sizes = [min(sizes, width - start) for start in range(0, width, sizes)]
    stops = list(accumulate(sizes))
    return tuple(x[:, stop - size : stop] for stop, size in zip(stops, sizes, strict=True))


def _chunk(x: Traced, chunks: int, dim: int = 0) -> tuple[Traced, ...]:
    return _split(x, -(-x.shape[dim] // chunks), dim)


def _dropout(name: str) -> Recorder:
    """Nothing where nothing is dropped."""

    def recorder(x: Traced, p: float = 0.5, training: bool = True, inplace: bool = False) -> Traced:
        if training and p:
            raise NotRecordable(f"{name} in train mode: fused candidates would get other masks than each by itself")
        return x

    return recorder


# what acts on every value by itself ----------------------------------------------------------------------------------

POINTWISE: tuple[Callable[..., Tensor], ...] = (
    F.relu, F.relu6, F.hardtanh, F.hardswish, F.hardsigmoid, F.leaky_relu, F.elu, F.celu, F.selu, F.silu, F.mish,
    F.gelu, F.softplus, F.softsign, F.logsigmoid, F.hardshrink, F.softshrink, F.threshold, F.tanhshrink, torch.sigmoid,
    torch.tanh, torch.abs, torch.neg, torch.exp, torch.square, torch.sqrt, torch.clamp,
)  # fmt: skip
DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.alpha_dropout, F.feature_alpha_dropout)


def _pointwise(function: Callable[..., Any]) -> Recorder:
    """Recorder of a function of one tensor and numbers. With `inplace` the placeholder itself becomes the result."""
    signature = inspect.signature(function) if inspect.isfunction(function) else None  # built-in ones have none

    def recorder(x: Traced, *args: Any, **kwargs: Any) -> Traced:
        inplace = False
        if signature is not None:
            bound = signature.bind(x, *args, **kwargs)
            bound.apply_defaults()
            _, *rest = bound.arguments.items()
            args, kwargs = (), dict(rest)
            inplace = kwargs.pop("inplace", False)
        for value in (*args, *kwargs.values()):
            if not isinstance(value, (int, float, str, type(None))):
                raise NotRecordable(f"{function.__name__} with another tensor")
        made = x.tape.write("pointwise", [x], x.shape, (function, args, tuple(sorted(kwargs.items()))))
        return x.become(made) if inplace else made

    return recorder


RECORDERS: dict[Any, Recorder] = {
    **{function: _pointwise(function) for function in POINTWISE},
    torch.relu: _pointwise(F.relu),
    torch.add: _add,
    torch.sub: _sub,
    torch.mul: _mul,
    torch.div: _div,
    torch.pow: Traced.__pow__,
    F.conv2d: _conv2d,
    F.batch_norm: _batch_norm,
    F.instance_norm: _instance_norm,
    F.group_norm: _group_norm,
    F.layer_norm: _layer_norm,
    F.linear: _linear,
    F.avg_pool2d: _avg_pool2d,
    F.max_pool2d: _max_pool2d,
    torch.max_pool2d: _max_pool2d,
    F.adaptive_avg_pool2d: _adaptive_avg_pool2d,
    F.pad: _pad,
    **{function: _dropout(function.__name__) for function in DROPOUTS},
    torch.cat: _cat,
    torch.concat: _cat,
    torch.split: _split,
    torch.chunk: _chunk,
    torch.mean: _mean,
    torch.flatten: _flatten,
    torch.clone: lambda x, memory_format=None: x.again(),
    torch.zeros_like: lambda x: x.new_zeros(x.shape),
}
