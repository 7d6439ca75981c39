"""The teachers that candidates imitate: built by name, and loaded from published or own checkpoints."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import torch

from common.errors import InputError
from common.networks.base import TappedNetwork
from common.networks.checkpoints import fill, read_checkpoint, state_dict_of

# Name -> module with `build(num_classes)`, imported when it is asked for. Where the published weights are not a state
# dict of that network, the module also has `load(path, num_classes)`.
TEACHERS = {
    "resnet20": "common.networks.resnet_cifar",
    "resnet101": "common.networks.resnet_bottleneck",
    "nasbench201": "common.networks.nasbench201_trained",
    "fbresnet152": "common.networks.resnet_imagenet",
}


def build_teacher(name: str, num_classes: int) -> TappedNetwork:
    """An untrained teacher; its weights come from torch's global generator (`common.seeds.torch_seeded`).

    Raises: InputError for a name that is not a key of TEACHERS.
    """
    network: TappedNetwork = _module(name).build(num_classes)
    return network


def load_teacher(name: str, weights: str | Path, num_classes: int, device: torch.device | str = "cpu") -> TappedNetwork:
    """A trained teacher on `device`, in eval mode, its parameters frozen.

    Args: weights: a state dict, or a checkpoint that keeps one under "state_dict" (published `.th` files, and what
    `python -m rminas.teacher` writes); a `module.` before every key is dropped. For nasbench201 also a network of the
    official result files.
    Raises: InputError when the file is missing or unreadable, of another network, or for another number of classes.
    """
    path = Path(weights).expanduser()
    module = _module(name)
    if hasattr(module, "load"):
        network: TappedNetwork = module.load(path, num_classes)
    else:
        network = module.build(num_classes)
        fill(network, name, path, state_dict_of(path, read_checkpoint(path)))
    return network.to(device).eval().requires_grad_(False)


def _module(name: str) -> ModuleType:
    if name not in TEACHERS:
        raise InputError(f"unknown teacher {name!r}; choose from {', '.join(TEACHERS)}")
    return importlib.import_module(TEACHERS[name])
