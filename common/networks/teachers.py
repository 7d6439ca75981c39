"""The teachers that candidates imitate: built by name, and loaded from published or own checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from common.errors import InputError
from common.networks.base import TappedNetwork
from common.networks.checkpoints import download_weights, fill, read_checkpoint, state_dict_of
from common.networks.taps import as_tapped
from common.registry import Registry

TORCHVISION = "torchvision"

# What builds a teacher: a function of the number of classes.
TEACHERS = Registry(
    "teacher",
    {
        "resnet20": "common.networks.resnet_cifar:build_resnet20",
        "resnet32": "common.networks.resnet_cifar:build_resnet32",
        "resnet101": "common.networks.resnet_bottleneck:build",
        "nasbench201": "common.networks.nasbench201_trained:build",
        "fbresnet152": "common.networks.resnet_imagenet:build",
    },
)
# What loads a teacher of a path and the number of classes, where published weights are no state dict of the network.
LOADERS = Registry(
    "loader of a teacher",
    {
        "resnet32": "common.networks.resnet_cifar:load_resnet32",
        "nasbench201": "common.networks.nasbench201_trained:load",
        "fbresnet152": "common.networks.resnet_imagenet:load",
    },
)


def build_teacher(name: str, num_classes: int, taps: Sequence[str] = ()) -> TappedNetwork:
    """An untrained teacher; its weights come from torch's global generator (`common.seeds.torch_seeded`).

    Args:
        name: a key of TEACHERS; the name of a classifier of torchvision, with `torchvision:` before it where a key of
            TEACHERS reads the same; or an import path `my_module:build` of what makes a network from the number of
            classes.
        taps: names of the modules whose outputs are its features (`as_tapped`); not needed for TEACHERS.
    Raises: InputError for a name that is none of these, and for taps that are missing or not there.
    """
    return as_tapped(_build(name, num_classes), taps)


def load_teacher(
    name: str, weights: str | Path, num_classes: int, device: torch.device | str = "cpu", taps: Sequence[str] = ()
) -> TappedNetwork:
    """A trained teacher on `device`, in eval mode, its parameters frozen.

    Args: weights: a state dict, or a checkpoint that keeps one under "state_dict" (published `.th` files, and what
    `python -m rminas.teacher` writes); a `module.` before every key is dropped. For networks of torchvision also the
    word `torchvision`: the weights that it publishes, downloaded on first use. For nasbench201 also a network of the
    official result files. name, taps: see `build_teacher`.
    Raises: InputError when the file is missing or unreadable, of another network, or for another number of classes.
    """
    path = Path(weights).expanduser()
    network: nn.Module
    if name in LOADERS:
        network = LOADERS.load(name)(path, num_classes)
    else:
        network = _build(name, num_classes)
        if str(weights) == TORCHVISION and (model := _torchvision_name(name)):
            from torchvision.models import get_model_weights

            path = download_weights(get_model_weights(model).DEFAULT.url)
        fill(network, name, path, state_dict_of(path, read_checkpoint(path)))
    return as_tapped(network, taps).to(device).eval().requires_grad_(False)


def check_teacher(name: str) -> None:
    """Raises InputError for a name that `build_teacher` does not know, before anything is loaded for it."""
    if _torchvision_name(name):
        return
    if name not in TEACHERS and ":" not in name:
        raise InputError(
            f"unknown teacher {name!r}; choose from {', '.join(TEACHERS)}, a classifier of torchvision (resnet18), or "
            "what builds your own as my_module:build"
        )
    TEACHERS.load(name)


def _build(name: str, num_classes: int) -> nn.Module:
    check_teacher(name)
    if model := _torchvision_name(name):
        from torchvision.models import get_model

        made = get_model(model, weights=None, num_classes=num_classes)
    else:
        made = TEACHERS.make(name, num_classes)
    if not isinstance(made, nn.Module):
        raise InputError(f"teacher {name!r} is a {type(made).__name__}, not a torch module")
    return made


def _torchvision_name(name: str) -> str:
    """What torchvision calls the network; empty if it is not one of torchvision's."""
    if name in TEACHERS:
        return ""
    import torchvision.models

    model = name.removeprefix(f"{TORCHVISION}:")
    return model if model in torchvision.models.list_models(module=torchvision.models) else ""
