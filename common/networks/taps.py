"""Any network as a tapped one: its features are read by forward hooks at modules that are named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import cast

from torch import Tensor, nn

from common.errors import InputError
from common.networks.base import TappedNetwork

SHOWN = 12  # names in a message


def as_tapped(module: nn.Module, taps: Sequence[str] = ()) -> TappedNetwork:
    """`module` with its features let out.

    Args:
        module: gives logits (B, classes) for images (B, 3, H, W).
        taps: names of modules in it (`list_taps`), shallow to deep: what they put out, tensors (B, ...), are the
            features. Without names the module has to have a `forward_taps` of its own, which is then used.
    Raises: InputError for a name that is not there, with those that are near to it; for no names where they are needed.

    >>> import torch
    >>> from torchvision.models import resnet18
    >>> network = as_tapped(resnet18(num_classes=10), ("layer1", "layer2", "layer4"))
    >>> [tuple(features.shape) for features in network.forward_taps(torch.zeros(2, 3, 32, 32))[1]]
    [(2, 64, 8, 8), (2, 128, 4, 4), (2, 512, 1, 1)]
    """
    if not taps:
        if hasattr(module, "forward_taps"):
            return cast(TappedNetwork, module)
        raise InputError(f"{_title(module)} does not say where its features are: name modules as taps{_known(module)}")
    names = list_taps(module)
    for name in taps:
        if name not in names:
            near = get_close_matches(name, names, SHOWN, 0.5)
            hint = f"; near to it: {', '.join(near)}" if near else _known(module)
            raise InputError(f"tap {name!r}: {_title(module)} has no module of that name{hint}")
    return HookedNetwork(module, taps)


def list_taps(module: nn.Module) -> list[str]:
    """The names that taps can have, those of all modules inside `module`, outer before inner."""
    return [name for name, _ in module.named_modules() if name]


class HookedNetwork(TappedNetwork):
    """A network in `module`, read at the modules `taps`. Of a module that runs several times, the last output counts.

    The hooks are there only while `forward_taps` runs: copies and pickled networks have none to lose.
    """

    def __init__(self, module: nn.Module, taps: Sequence[str]) -> None:
        super().__init__()
        self.module, self.taps = module, tuple(taps)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Raises: InputError when a tap did not run or gave no tensor, or the network gives no logits (B, classes)."""
        found: dict[str, Tensor] = {}
        hooks = [self.module.get_submodule(name).register_forward_hook(_keep(found, name)) for name in self.taps]
        try:
            logits = self.module(x)
        finally:
            for hook in hooks:
                hook.remove()
        missing = [name for name in self.taps if name not in found]
        if missing:
            raise InputError(f"tap {missing[0]!r}: this module of {_title(self.module)} does not run in a forward pass")
        if not _is_tensor(logits) or len(logits.shape) != 2:
            got = tuple(logits.shape) if _is_tensor(logits) else type(logits).__name__
            raise InputError(f"{_title(self.module)} gives {got} instead of logits (images, classes)")
        return logits, tuple(found[name] for name in self.taps)


def _keep(found: dict[str, Tensor], name: str) -> Callable[[nn.Module, object, Tensor], Tensor]:
    """A hook that keeps the output and hands a copy on, since an operation behind may work in place."""

    def keep(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        if not _is_tensor(output):
            raise InputError(f"tap {name!r}: this {_title(module)} puts out a {type(output).__name__}, not a tensor")
        found[name] = output
        return output.clone()

    return keep


def _is_tensor(value: object) -> bool:
    """Whether it is a tensor, or stands for one (`common.training.tape`)."""
    return isinstance(value, Tensor) or hasattr(type(value), "__torch_function__")


def _title(module: nn.Module) -> str:
    return type(module).__name__


def _known(module: nn.Module) -> str:
    outer = [name for name, _ in module.named_children()]
    return f"; the outermost are {', '.join(outer[:SHOWN])}" if outer else ""
