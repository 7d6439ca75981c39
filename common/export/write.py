"""Writing a found network: as source, as a program of torch.export, as ONNX, or drawn."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from common.export.found import Found
from common.runs import write_atomic
from common.seeds import rng_for, torch_seeded

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMS = (".py", ".pt2", ".onnx", ".svg", ".png", ".pdf")
CHECKED = 2  # images


def export(found: Found, path: Path) -> list[Path]:
    """Writes what the file's name asks for; the files that were written.

    .py has its weights beside it (.pt) where there are some, and computes what our network does, to the last bit on the
    same weights: that is checked before it is written. .pt2 is read by `torch.export.load`; .onnx needs the packages
    onnx and onnxscript. Both hold the weights, fresh ones where nothing was trained, and take any number of images.
    Raises: InputError for another name, and for a network that cannot be written so.
    """
    form = path.suffix.lower()
    if form not in FORMS:
        raise InputError(f"{path}: what to write is told by the ending: {', '.join(FORMS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if form in (".svg", ".png", ".pdf"):
        from common.drawing import draw_architecture, write_figure

        write_figure(draw_architecture(found.space, found.arch), path)
        return [path]
    network = build_found(found)
    if form == ".py":
        return _write_source(found, network, path)
    {".pt2": _write_program, ".onnx": _write_onnx}[form](network, _images(found), path)
    return [path]


def build_found(found: Found) -> nn.Module:
    """The network with its weights, fresh ones where it was not trained, in eval mode.

    Raises: InputError for weights of another network.
    """
    from common.networks import build_plain

    with torch_seeded(rng_for(0, "weights")):
        network = build_plain(found.space, found.arch)
    if found.weights:
        own = network.state_dict()
        try:  # without an auxiliary head, which is for training alone
            network.load_state_dict({key: value for key, value in found.weights.items() if key in own})
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise InputError(f"{found.where}: weights of another network ({reason})") from None
    return network.eval()


def _images(found: Found) -> Tensor:
    import torch

    size = getattr(found.space, "image_size", 32)
    return torch.randn(CHECKED, 3, size, size, generator=torch.Generator().manual_seed(0))


def _write_source(found: Found, network: nn.Module, path: Path) -> list[Path]:
    import torch

    from common.export.source import network_source

    x = _images(found)
    with torch.inference_mode():
        logits = network(x)
    title = f"A network of {found.space.title}"
    source = network_source(network, title, found.text, x.shape[-1], logits.shape[-1])
    made = run_source(source).build()
    made.load_state_dict(network.state_dict())
    with torch.inference_mode():
        if not torch.equal(made.eval()(x), logits):
            raise InputError(f"{type(network).__name__}: its source computes something else: export to .pt2 or .onnx")
    write_atomic(path, lambda out: out.write(source.encode()))
    if not found.weights:
        return [path]
    weights = path.with_suffix(".pt")
    write_atomic(weights, lambda out: torch.save(network.state_dict(), out))
    return [path, weights]


def run_source(source: str) -> Any:
    """The module that a source is. It is ours: nothing that came from a file is run."""
    module = types.ModuleType("exported")
    module.__file__ = "exported.py"
    exec(compile(source, "exported.py", "exec"), module.__dict__)
    return module


def _write_program(network: nn.Module, x: Tensor, path: Path) -> None:
    import torch

    shapes = ({0: torch.export.Dim("images", min=1)},)
    program = torch.export.export(network, (x,), dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    write_atomic(path, lambda out: out.write(buffer.getvalue()))


def _write_onnx(network: nn.Module, x: Tensor, path: Path) -> None:
    import torch

    _need("onnx", "onnxscript")
    shapes = ({0: torch.export.Dim("images", min=1)},)
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"]}
    program = _quietly(
        lambda: torch.onnx.export(network, (x,), dynamo=True, verbose=False, dynamic_shapes=shapes, **names)
    )
    data = program.model_proto.SerializeToString()
    write_atomic(path, lambda out: out.write(data))


def _need(*packages: str) -> None:
    from importlib.util import find_spec

    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise InputError(f"ONNX needs {' and '.join(missing)}: pip install {' '.join(missing)}")


def _quietly(make: Callable[[], Any]) -> Any:
    """Without what the exporter prints and warns."""
    import contextlib
    import warnings

    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        return make()
