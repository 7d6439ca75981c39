"""Parameters and FLOPs as scores: larger networks first. What every other score has to beat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome, Request
from common.evaluators.context import Context
from common.spaces.base import SearchSpace

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class CostEvaluator(Evaluator):
    """`kind` ("params" or "flops") of the whole network, by the space's own cost model."""

    space: SearchSpace
    kind: str = "params"

    def __post_init__(self) -> None:
        if self.kind not in ("params", "flops"):
            raise InputError(f"unknown cost {self.kind!r}; choose from params, flops")

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.kind

    def evaluate(self, arch: Any, bounds: Bounds = NO_BOUNDS) -> Outcome:
        return next(outcome for _, outcome in self.evaluate_together([Request(arch)]))

    def evaluate_together(self, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        """All at once: a space counts thousands as fast as a few."""
        flops, params = self.space.total_costs(self.space.to_codes([request.arch for request in requests]))
        for position, value in enumerate((flops if self.kind == "flops" else params).tolist()):
            yield position, Outcome(float(value))


def make_params(context: Context) -> CostEvaluator:
    return CostEvaluator(context.space, "params")


def make_flops(context: Context) -> CostEvaluator:
    return CostEvaluator(context.space, "flops")


def counted_params(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """The trainable parameters of any network."""
    return float(sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad))


def counted_flops(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """FLOPs of one image's forward pass by `torch.utils.flop_counter`: 2 a multiply-accumulate of matrix products and
    convolutions, and nothing else.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(x[:1])
    return float(counter.get_total_flops())
