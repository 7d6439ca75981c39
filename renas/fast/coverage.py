"""Whether a network is exactly the one that the fast path was written for."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as modules

from renas.lenet import LeNet

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
WEIGHTED = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
LEARNT: dict[type[nn.Module], list[str]] = {layer: ["weight", "bias"] for layer in WEIGHTED}
COUNTED: dict[type[nn.Module], list[str]] = {nn.BatchNorm2d: ["running_mean", "running_var", "num_batches_tracked"]}
TRIED = 4  # architectures on which the outputs are compared


def covers(network: nn.Module, shape: Sequence[int]) -> TypeGuard[LeNet]:
    """Whether the fast path computes what `network` computes from tensors of `shape` (C, V, V), and learns as it does.

    The network must be a `LeNet` as released: the very classes of layers in their order with their sizes, kernels,
    padding and batch-norm constants, all weights trainable, on a CPU, no hooks, nothing added or overridden. Because
    the source of a class can be edited too, its outputs and gradients on random tensors are held against the layers
    written down here.
    """
    return type(network) is LeNet and _has_the_layers(network, shape) and _computes_the_same(network, shape)


def _layers(channels: int, side: int, width: int) -> list[tuple[str, type[nn.Module], dict[str, object]]]:
    """Names, classes and attributes of everything in a LeNet, in order."""
    conv: dict[str, object] = {"kernel_size": (3, 3), "padding": (1, 1), "padding_mode": "zeros"}
    conv |= {"stride": (1, 1), "dilation": (1, 1), "groups": 1}
    norm: dict[str, object] = {"eps": 1e-5, "momentum": 0.1, "affine": True, "track_running_stats": True}
    return [
        ("", LeNet, {}),
        ("features", nn.Sequential, {}),
        ("features.0", nn.Conv2d, conv | {"in_channels": channels, "out_channels": width}),
        ("features.1", nn.BatchNorm2d, norm | {"num_features": width}),
        ("features.2", nn.ReLU, {}),
        ("features.3", nn.Conv2d, conv | {"in_channels": width, "out_channels": 128}),
        ("features.4", nn.BatchNorm2d, norm | {"num_features": 128}),
        ("features.5", nn.ReLU, {}),
        ("head", nn.Sequential, {}),
        ("head.0", nn.Flatten, {"start_dim": 1, "end_dim": -1}),
        ("head.1", nn.Linear, {"in_features": 128 * side**2, "out_features": 120}),
        ("head.2", nn.ReLU, {}),
        ("head.3", nn.Linear, {"in_features": 120, "out_features": 84}),
        ("head.4", nn.ReLU, {}),
        ("head.5", nn.Linear, {"in_features": 84, "out_features": 1}),
    ]


def _has_the_layers(network: nn.Module, shape: Sequence[int]) -> bool:
    if len(shape) != 3 or shape[1] != shape[2]:
        return False
    channels, side = shape[:2]
    wanted = _layers(channels, side, max(38, 2 * channels))
    found = list(network.named_modules())
    if [(name, type(layer)) for name, layer in found] != [(name, cls) for name, cls, _ in wanted]:
        return False
    return not any(getattr(modules, f"_global{hooks}") for hooks in HOOKS) and all(
        _is_plain(layer) and all(getattr(layer, name) == value for name, value in attributes.items())
        for (_, layer), (_, _, attributes) in zip(found, wanted, strict=True)
    )


def _is_plain(layer: nn.Module) -> bool:
    """Nothing hooked in, added or overridden; what a layer of its class learns is there, trainable and on the CPU."""
    if any(getattr(layer, hooks) for hooks in HOOKS) or "forward" in vars(layer):
        return False
    if list(layer._parameters) != LEARNT.get(type(layer), []) or list(layer._buffers) != COUNTED.get(type(layer), []):
        return False
    buffers, weights = list(layer._buffers.values()), list(layer._parameters.values())
    return all(type(buffer) is Tensor and buffer.device.type == "cpu" for buffer in buffers) and all(
        type(weight) is nn.Parameter
        and weight.device.type == "cpu"
        and weight.dtype is torch.float32
        and weight.is_contiguous()
        and weight.requires_grad
        and not weight._backward_hooks
        and not weight._post_accumulate_grad_hooks
        for weight in weights
    )


def _computes_the_same(network: nn.Module, shape: Sequence[int]) -> bool:
    """In double precision, in training and in evaluation: outputs, gradients, and what batch norm has counted."""
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            x = torch.randn(TRIED, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
            for training in (True, False):
                twin = copy.deepcopy(network).double().train(training)
                state = {name: value.detach().clone() for name, value in twin.state_dict().items()}
                weights = [state[name].requires_grad_() for name, _ in twin.named_parameters()]
                theirs, ours = twin(x), _forward(state, x, training)
                if theirs.shape != ours.shape:
                    return False
                their_gradients = torch.autograd.grad(theirs.square().sum(), list(twin.parameters()))
                our_gradients = torch.autograd.grad(ours.square().sum(), weights)
                pairs = [(theirs, ours), *zip(their_gradients, our_gradients, strict=True)]
                pairs += [(value, state[name]) for name, value in twin.named_buffers()]
                if not all(_close(a, b) for a, b in pairs):
                    return False
    except Exception:  # whatever it is that fails: plain torch will show it
        return False
    return True


def _forward(state: dict[str, Tensor], x: Tensor, training: bool) -> Tensor:
    """(n,): the network as the fast path has it; counts running statistics in `state`."""
    for conv, norm in (("features.0", "features.1"), ("features.3", "features.4")):
        x = F.conv2d(x, state[f"{conv}.weight"], state[f"{conv}.bias"], padding=1)
        statistics = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        x = F.batch_norm(x, *statistics, state[f"{norm}.weight"], state[f"{norm}.bias"], training, 0.1, 1e-5).relu()
        state[f"{norm}.num_batches_tracked"] += int(training)
    x = x.flatten(1)
    for dense in ("head.1", "head.3", "head.5"):
        x = F.linear(x, state[f"{dense}.weight"], state[f"{dense}.bias"])
        x = x if dense == "head.5" else x.relu()
    return x.squeeze(1)


def _close(a: Tensor, b: Tensor) -> bool:
    a, b = a.detach().double(), b.detach().double()
    size = float(b.abs().nan_to_num(0, 0, 0).max()) if b.numel() else 0.0
    return bool(torch.isclose(a, b, rtol=1e-7, atol=1e-9 * size + 1e-12, equal_nan=True).all())
