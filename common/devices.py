"""Choosing where torch computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.errors import InputError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")


def pick_device(name: str) -> torch.device:
    """The torch device called `name`; auto is cuda where there is one. Raises InputError for others, and
    when cuda is asked in vain."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no CUDA device; use --device cpu or auto")
    try:
        return torch.device(name)
    except RuntimeError:
        raise InputError(f"device {name!r}: expected one of {', '.join(DEVICES)}") from None


def device_title(device: torch.device) -> str:
    """A name a reader of results can place: the GPU's, or cpu with its thread count."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({torch.get_num_threads()} threads)"
