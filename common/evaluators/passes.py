"""One batch through an untrained network and back: what most training-free scores read, made once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property, update_wrapper
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from common.evaluators.own import number
from common.seeds import rng_for, torch_seeded

# (network, x (B, 3, H, W), y (B,)) -> a number, higher is better. The network may be changed: it is put right after.
Score = Callable[[nn.Module, Tensor, Tensor], float]

# What a pass can record beside the logits.
SIGNS, PATTERNS, GRADIENTS = "signs", "patterns", "gradients"

# Activation functions that are linear or nearly so on one side of zero and cut off on the other, as modules and
# functions alike call them. The sign of what goes in says which side an image is on.
RECTIFIERS = {
    F.relu,
    torch.relu,
    torch.relu_,
    Tensor.relu,
    Tensor.relu_,
    F.relu6,
    F.leaky_relu,
    F.elu,
    F.gelu,
    F.silu,
    F.hardswish,
}
_BITS = 21  # so many images make a number that float32 holds exactly; three of them one of int64


class Pass:
    """Forward and backward passes of a batch in train mode, each made when it is first asked for.

    Attributes: x: (B, 3, H, W), y: (B,) int64.
    """

    def __init__(self, network: nn.Module, x: Tensor, y: Tensor, record: frozenset[str]) -> None:
        """record: what the scores will look at, of SIGNS, PATTERNS, GRADIENTS."""
        self.x, self.y = x.detach(), y
        self._network, self._record = network, record
        self._signs = _Signs(len(x), x.device, SIGNS in record, PATTERNS in record)
        self._layers = [module for module in network.modules() if isinstance(module, LAYERS)]
        self._outputs: dict[nn.Module, list[Tensor]] = {layer: [] for layer in self._layers}

    @cached_property
    def logits(self) -> Tensor:
        """(B, classes), with the graph of how they came about where GRADIENTS are recorded."""
        gradients = GRADIENTS in self._record
        hooks = [layer.register_forward_hook(self._keep) for layer in self._layers] if gradients else []
        try:
            watching = self._signs if self._record - {GRADIENTS} else nullcontext()
            with watching, torch.set_grad_enabled(gradients):
                return cast(Tensor, self._network(self.x.requires_grad_(gradients)))
        finally:
            for hook in hooks:
                hook.remove()

    def _made(self) -> None:
        self.logits  # noqa: B018 (what else is recorded is recorded on the way to them)

    def _keep(self, module: nn.Module, _: Any, output: Tensor) -> None:
        self._outputs[module].append(output)

    @property
    def sign_kernel(self) -> Tensor:
        """(B, B) float64: for two images, the rectifiers' units (channels x pixels) whose inputs have equal signs."""
        self._made()
        return self._signs.kernel

    @property
    def patterns(self) -> Tensor:
        """(units,) int64, equal for units that let the same images of the batch through."""
        self._made()
        return torch.cat(self._signs.patterns) if self._signs.patterns else torch.zeros(0, dtype=torch.int64)

    @cached_property
    def image_gradients(self) -> Tensor:
        """(B, 3 H W): of the sum of all logits, with respect to the images."""
        (gradient,) = torch.autograd.grad(self.logits.sum(), self.x, retain_graph=True)
        return gradient.flatten(1)

    @property
    def weights(self) -> list[Tensor]:
        """Of the convolutional and linear layers."""
        return [layer.weight.detach() for layer in self._layers]

    @property
    def weight_gradients(self) -> list[Tensor]:
        """Of the mean cross-entropy, in the order of `weights`; zeros for a layer that the images do not pass."""
        return self._loss_gradients[0]

    @property
    def outputs(self) -> list[list[tuple[Tensor, Tensor]]]:
        """For every layer of `weights`, its outputs (one a call) and the cross-entropy's gradients at them."""
        return self._loss_gradients[1]

    @cached_property
    def _loss_gradients(self) -> tuple[list[Tensor], list[list[tuple[Tensor, Tensor]]]]:
        weights = [layer.weight for layer in self._layers]
        loss = F.cross_entropy(self.logits, self.y)
        outputs = [output for layer in self._layers for output in self._outputs[layer]]
        found = torch.autograd.grad(loss, [*weights, *outputs], retain_graph=True, allow_unused=True)
        known = [torch.zeros_like(a) if g is None else g for a, g in zip([*weights, *outputs], found, strict=True)]
        rest = iter(known[len(weights) :])
        pairs = [[(output.detach(), next(rest)) for output in self._outputs[layer]] for layer in self._layers]
        return known[: len(weights)], pairs

    @cached_property
    def half_gradients(self) -> list[tuple[Tensor, Tensor]]:
        """Gradients at the weights as `weight_gradients`, by each half of the batch alone, in passes of its own."""
        weights = [layer.weight for layer in self._layers]
        found = []
        for x, y in zip(self.x.detach().chunk(2), self.y.chunk(2), strict=True):
            with torch.enable_grad():
                loss = F.cross_entropy(self._network(x), y)
            gradients = torch.autograd.grad(loss, weights, allow_unused=True)
            found.append([torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)])
        return list(zip(*found, strict=True))


LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)  # whose weights and outputs the scores are about


class PassScore:
    """A score that is read off a pass: `(network, x, y) -> float` alone; `evaluate_scores` shares the pass."""

    def __init__(self, read: Callable[[Pass], float], record: frozenset[str]) -> None:
        self.read, self.record = read, record
        update_wrapper(self, read)
        del self.__dict__["__wrapped__"]  # its signature is that of a score

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor) -> float:
        return evaluate_scores([self], network, x, y)[0]

    def __reduce__(self) -> str:
        return self.read.__name__  # pickled by name, as functions are


def reads(*record: str) -> Callable[[Callable[[Pass], float]], PassScore]:
    """Decorates a function of a Pass that looks at what is named: SIGNS, PATTERNS, GRADIENTS."""
    return lambda read: PassScore(read, frozenset(record))


def evaluate_scores(scores: Sequence[Score], network: nn.Module, x: Tensor, y: Tensor, seed: int = 0) -> list[float]:
    """The values of several scores of one network, which is left as it was.

    A score has the same value in any company. Those that can share one forward pass and each of two backward passes (of
    the logits' sum to the images, of the cross-entropy to the weights), and the passes of the halves of the batch.
    Args: x: (B, 3, H, W), y: (B,) int64. seed: of what scores draw (random inputs, weights, dropout).
    Raises: InputError for a score that fails, or says something else than a number.
    """
    shared = [score for score in scores if isinstance(score, PassScore)]
    record = frozenset[str]().union(*(score.record for score in shared))
    values: dict[int, float] = {}
    if shared:
        with unchanged(network), torch_seeded(rng_for(seed, "pass")):
            made = Pass(network.train(), x, y, record)
            values = {id(score): number(score.read, made) for score in shared}
            del made
    for score in scores:
        if not isinstance(score, PassScore):
            with unchanged(network), torch_seeded(rng_for(seed, getattr(score, "__name__", "score"))):
                values[id(score)] = number(score, network.train(), x.detach(), y)
    return [values[id(score)] for score in scores]


@contextmanager
def unchanged(network: nn.Module) -> Iterator[None]:
    """Puts parameters, their gradients, buffers and modes of a network back to what they were when the block ends."""
    parameters = [(p, p.detach().clone(), p.grad, p.requires_grad) for p in network.parameters()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in network.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    modes = [(module, module.training) for module in network.modules()]
    for parameter, *_ in parameters:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, value, gradient, requires_grad in parameters:
            parameter.grad = None  # before the value: it may be of the type that the block made of it
            parameter.data = value
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient
        for module, name, buffer, value in buffers:
            module._buffers[name] = buffer  # a change of type makes another
            buffer.copy_(value)
        for module, training in modes:
            module.training = training


class _Signs(TorchFunctionMode):
    """Watches every rectifier that is called, as a module or as a function."""

    def __init__(self, batch: int, device: torch.device, kernel: bool, patterns: bool) -> None:
        super().__init__()
        self.kernel = torch.zeros(batch, batch, dtype=torch.float64, device=device)
        self.patterns: list[Tensor] = []
        self._want = kernel, patterns
        places = torch.arange(batch, device=device)
        # (parts, B): an image's power of two in its part; a part is exact in float32.
        parts = -(-batch // _BITS)
        self._powers = torch.zeros(parts, batch, device=device)
        self._powers[places // _BITS, places] = 2.0 ** (places % _BITS)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in RECTIFIERS or (func is F.hardtanh and _lower_bound(args, kwargs) == 0):  # nn.ReLU6 is the latter
            # Before the call: it may write over its input.
            self._watch(args[0] if args else kwargs["input"])
        return func(*args, **kwargs)

    @torch.no_grad()
    def _watch(self, x: Tensor) -> None:
        if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
            x = x.permute(0, 2, 3, 1)  # the units' order does not matter; this one is no copy
        on = (x.flatten(1) > 0).float()
        if self._want[0]:  # both on, and both off
            count, ons = on.shape[1], on.sum(1)
            self.kernel += (2 * (on @ on.T) + count - ons - ons[:, None]).double()
        if self._want[1]:
            self.patterns.append(_numbers(self._powers @ on))


def _lower_bound(args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    """Of a call of `F.hardtanh(input, min_val=-1.0, max_val=1.0)`."""
    return float(kwargs.get("min_val", args[1] if len(args) > 1 else -1.0))


def _numbers(parts: Tensor) -> Tensor:
    """(n,) int64 from the parts (p, n) of n bit patterns: the patterns themselves up to 63 images, a hash beyond."""
    number = torch.zeros_like(parts[0], dtype=torch.int64)
    for three in parts.long().split(3):
        word = sum((part << _BITS * place for place, part in enumerate(three)), torch.zeros_like(number))
        number = number * -7046029254386353131 + word  # 2^64 / golden ratio: odd, so that nothing is lost
    return number
