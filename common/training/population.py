"""Training many candidate networks on one shared batch: one at a time, or as one fused network, with early stops.

Both ways are the same mathematics (SGD on each candidate's own loss) and take the same arguments; which is faster
depends on the device and on the size of the images.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from common.networks.base import TappedNetwork
from common.training.fused import FusedPopulation, State, best_convolution, fuse
from common.training.tape import NotRecordable, Program, record

LOOK_EVERY = 10  # updates after which it is seen whether a candidate has diverged
IDLE = 6  # a fused population is put together anew when one candidate in so many has stopped
EAGER_UPDATES = 3  # of a fused population before its update is captured as a graph: kernels are chosen in these
MAX_WIDTH = 256
BYTES_PER_VALUE = (
    4  # copies of every value of the forward pass that training keeps or makes: value, gathered, gradients
)
USED_MEMORY = 0.7  # of what is free
UNKNOWN_MEMORY = 2 * 2**30  # bytes taken for free where the system does not say

LossBounds = Mapping[int, float]  # updates -> loss above which a candidate is stopped there
Finished = tuple[int, np.ndarray]  # position in the list of candidates, trajectory


class CandidateLoss(Protocol):
    """What candidates minimise; each candidate its own."""

    def __call__(self, logits: Tensor, taps: Sequence[Tensor]) -> Tensor:
        """The loss, a scalar, of logits (B, classes) and taps (B, ...)."""

    def each(self, logits: Tensor, taps: Sequence[Tensor]) -> Tensor:
        """The losses (K,) of logits (K, B, classes) and taps (K, B, features)."""


@dataclass(frozen=True)
class CandidateSettings:
    """SGD with momentum on one batch; the defaults are the published values for NAS-Bench-201."""

    steps: int = 150  # updates; the loss of the forward pass after them is the candidate's
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    cosine: bool = False  # the rate falls as a cosine to 0 over the steps, instead of staying
    grad_clip: float = 0.0  # norm to which a candidate's gradient is cut; 0: never
    channels_last: bool = False
    bf16: bool = False  # forward and backward pass under bfloat16 autocast; the loss is computed in float32

    def rate(self, step: int) -> float:
        """The learning rate of the update after `step` others."""
        return self.lr * 0.5 * (1 + math.cos(math.pi * step / self.steps)) if self.cosine else self.lr

    @property
    def fusable(self) -> bool:
        """Whether candidates that have come to different steps can take one update together."""
        return not self.cosine and not self.grad_clip


def train_candidate(
    network: TappedNetwork,
    x: Tensor,
    loss: CandidateLoss,
    settings: CandidateSettings,
    bounds: LossBounds | None = None,
) -> np.ndarray:
    """Trains `network` (batch norm by batch statistics) and returns its losses, float64.

    Entry s is the loss of the forward pass after s updates, NaN being +inf. There are steps + 1 of them, fewer where
    a bound has stopped the candidate, whose last entry is then above it. Once a loss is NaN it stays so, and nothing
    more is computed. Where `network`, `x` (B, 3, H, W) and the loss's targets lie and of which type they are decides
    where and how it computes.
    """
    network.train()
    if settings.channels_last and _safe_in_channels_last(network, x.device):
        network, x = _in_channels_last(network), x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    # Read only where something is decided: a float() in the loop would make a GPU wait for every step.
    losses = torch.empty(settings.steps + 1, dtype=x.dtype, device=x.device)
    looks = _looks(settings.steps, bounds or {})
    autocast = torch.autocast(x.device.type, torch.bfloat16, enabled=settings.bf16)
    for step in range(settings.steps):
        with autocast:
            outputs = network.forward_taps(x)
        value = loss(*outputs)
        losses[step] = value.detach()
        if step in looks and _decided(float(losses[step]), step, bounds or {}):
            return _trajectory(losses[: step + 1].cpu().numpy(), settings.steps)
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(step)
        optimizer.zero_grad()
        value.backward()
        if settings.grad_clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.grad_clip)
        optimizer.step()
    with torch.no_grad(), autocast:
        outputs = network.forward_taps(x)
    losses[-1] = loss(*outputs)
    return _trajectory(losses.cpu().numpy(), settings.steps)


@dataclass(eq=False)
class _Running:
    """A candidate on its way."""

    position: int
    program: Program
    state: State
    losses: list[np.ndarray] = field(default_factory=list)
    done: int = 0  # losses so far
    over: bool = False


def train_population(
    builders: Sequence[Callable[[], TappedNetwork]],
    x: Tensor,
    loss: CandidateLoss,
    settings: CandidateSettings,
    bounds: Sequence[LossBounds] | None = None,
    width: int = 0,
) -> Iterator[Finished]:
    """Trains candidates side by side as one fused network; yields (position, losses) as they finish.

    The losses are those of `train_candidate` up to rounding. Slots of candidates that have finished or been stopped go
    to the next ones. A network that cannot be fused is trained by itself.

    Args:
        builders: of the candidates' networks, on `x`'s device; called when there is room.
        bounds: of each candidate.
        width: candidates at once; 0: as many as the memory holds (`fitting_width`).
    Raises: ValueError when the settings cannot be fused (`fusable`).
    """
    if not settings.fusable:
        raise ValueError("learning rates that change and clipped gradients are for one candidate at a time")
    bounds = bounds or [{}] * len(builders)
    looks = set().union(*(_looks(settings.steps, limits) for limits in bounds))
    waiting = deque(enumerate(builders))
    running: list[_Running] = []
    shape = tuple(x.shape)
    convolution = best_convolution(x.device)
    while waiting or running:
        while waiting and (not running or len(running) < (width or fitting_width(running[0].program, x))):
            position, build = waiting.popleft()
            network = build()
            try:
                program = record(network, shape)
            except NotRecordable:
                yield position, train_candidate(network, x, loss, settings, bounds[position])
                continue
            state: State = {p: (p.detach(), None) for p in network.parameters()}
            running.append(_Running(position, program, state))
        if not running:
            return
        fused = fuse([r.program for r in running], [r.state for r in running], shape, convolution)
        stepper = _Stepper(fused, x, loss, settings)
        idle = 0
        while idle * IDLE < len(running):
            count = min(_to_next_look(r.done, looks) for r in running if not r.over)
            last = all(r.over or r.done + count > settings.steps for r in running)
            losses = stepper.advance(count, skip_last_update=last)
            for column, candidate in zip(losses.T, running, strict=True):
                if candidate.over:
                    continue
                candidate.losses.append(column)
                candidate.done += count
                step = candidate.done - 1
                if step == settings.steps or _decided(float(column[-1]), step, bounds[candidate.position]):
                    candidate.over = True
                    idle += 1
                    yield candidate.position, _trajectory(np.concatenate(candidate.losses), settings.steps)
        for which, candidate in enumerate(running):
            candidate.state = fused.state(which)
        running = [candidate for candidate in running if not candidate.over]


@dataclass(eq=False)
class _Stepper:
    """Updates of one fused population; on a GPU they become a CUDA graph, so that thousands of launches cost one."""

    fused: FusedPopulation
    x: Tensor
    loss: CandidateLoss
    settings: CandidateSettings
    graph: torch.cuda.CUDAGraph | None = None
    losses: Tensor | None = None  # of the graph's latest replay
    updates: int = 0

    def advance(self, count: int, skip_last_update: bool) -> np.ndarray:
        """The losses (count, K) of `count` forward passes, an update after each (the last one's may be left out).

        The host waits for the device once, at the end.
        """
        kept: list[Tensor] = []
        for step in range(count):
            if skip_last_update and step == count - 1:
                with torch.no_grad():
                    kept.append(self._losses())
            elif self.x.device.type == "cuda" and self.updates >= EAGER_UPDATES:
                kept.append(self._replay())
            else:
                kept.append(self._eager())
                self.updates += 1
        return torch.stack(kept).double().cpu().numpy()

    def _losses(self) -> Tensor:
        with torch.autocast(self.x.device.type, torch.bfloat16, enabled=self.settings.bf16):
            outputs = self.fused.forward(self.x)
        return self.loss.each(*outputs)

    def _eager(self) -> Tensor:
        if self.x.device.type != "cuda":
            return self._update()
        # What is to be captured has to have run on a stream of its own before (PyTorch's notes on CUDA graphs).
        side, here = torch.cuda.Stream(self.x.device), torch.cuda.current_stream(self.x.device)
        side.wait_stream(here)
        with torch.cuda.stream(side):
            losses = self._update()
        here.wait_stream(side)
        return losses

    def _update(self) -> Tensor:
        losses = self._losses()
        self.fused.zero_grad()
        losses.sum().backward()
        self.fused.sgd_step(self.settings.lr, self.settings.momentum, self.settings.weight_decay)
        return losses.detach()

    def _replay(self) -> Tensor:
        """One update by the graph, which is captured when it is first asked for (capturing computes nothing)."""
        if self.graph is None:
            torch.cuda.synchronize(self.x.device)
            self.fused.zero_grad()  # the gradients are to live in the graph's own memory
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.losses = self._update()
        self.graph.replay()
        assert self.losses is not None
        return self.losses.clone()


def fitting_width(program: Program, x: Tensor) -> int:
    """How many candidates like this one the free memory of x's device holds, at most MAX_WIDTH and at least 1."""
    own = sum(math.prod(made.shape) for made in program.instructions.values()) * x.element_size() * BYTES_PER_VALUE
    return max(1, min(MAX_WIDTH, int(USED_MEMORY * free_memory(x.device) / own)))


def free_memory(device: torch.device) -> int:
    """Bytes that are free on the device; a guess on a CPU whose system does not say (macOS, Windows)."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return UNKNOWN_MEMORY


def _in_channels_last(network: TappedNetwork) -> TappedNetwork:
    """The network in this layout, forward and backward.

    The gradient of joined features is a part of a larger one, in whose layout batch norm's backward pass is several
    times slower on a CPU than after a copy.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(_ask_for_gradient)
    return network.to(memory_format=torch.channels_last)


def _ask_for_gradient(module: nn.Module, inputs: object, output: Tensor) -> None:
    if output.requires_grad:
        output.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))


def _safe_in_channels_last(network: TappedNetwork, device: torch.device) -> bool:
    """Whether nothing in the network meets a fault of oneDNN: it overruns memory in the backward pass of strided 1x1
    convolutions of few channels in this layout (uxlfoundation/oneDNN#6035)."""
    return device.type != "cpu" or not any(
        isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.stride != (1, 1)
        for module in network.modules()
    )


def _looks(steps: int, bounds: LossBounds) -> set[int]:
    """After which numbers of updates the losses are read."""
    return {*range(LOOK_EVERY, steps, LOOK_EVERY), *(step for step in bounds if step < steps), steps}


def _to_next_look(done: int, looks: Iterable[int]) -> int:
    return min(look for look in looks if look >= done) + 1 - done


def _decided(loss: float, step: int, bounds: LossBounds) -> bool:
    return math.isnan(loss) or loss > bounds.get(step, math.inf)


def _trajectory(losses: np.ndarray, steps: int) -> np.ndarray:
    """Float64 with NaN as +inf; one that ends in NaN is filled up, since it would go on so."""
    found = np.where(np.isnan(losses), np.inf, losses.astype(np.float64))
    if np.isinf(found[-1]):
        found = np.concatenate([found, np.full(steps + 1 - len(found), np.inf)])
    return found
