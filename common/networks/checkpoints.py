"""Reading weights from files without running code from them, and putting them into networks."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import InputError
from common.inputs import short, size_of
from common.runs.files import cache_folder


def read_checkpoint(path: Path, admitted: Sequence[Any] = ()) -> dict[str, Any]:
    """What torch saved in a file, without running code from it. Raises InputError when there is no such thing.

    Args: admitted: what the file may hold beside tensors, numbers, texts and containers, as
        `torch.serialization.safe_globals` takes it.
    """
    if not path.exists():
        raise InputError(
            f"{path}: no such weights file; one is trained by python -m rminas.teacher --teacher NAME --dataset NAME"
        )
    size = size_of(path)
    try:
        _check_zip(path, size)
        with torch.serialization.safe_globals([*admitted]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old kinds of tensors, which are refused below
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own words advise to let the file run code
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it holds {found[1]}" if found else "it is damaged or holds something else"
        raise InputError(f"{path}: not a PyTorch checkpoint of plain tensors ({reason})") from None
    except Exception as error:  # a damaged file fails in any way
        reason = "no format of torch's" if "weights_only" in str(error) else short(error).partition(". ")[0]
        raise InputError(f"{path}: not a PyTorch checkpoint of plain tensors ({reason})") from None
    if not isinstance(stored, Mapping):
        raise InputError(f"{path}: holds a {type(stored).__name__} instead of weights by name")
    return dict(stored)


def _check_zip(path: Path, size: int) -> None:
    """Raises ValueError for a zip that would unfold to more than it is, since torch compresses nothing, and for one
    whose checksums are wrong, which torch does not look at.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        promised = sum(member.file_size for member in archive.infolist())
        if promised > size:
            raise ValueError(f"it promises {promised:,} bytes out of {size:,}")
        if wrong := archive.testzip():
            raise ValueError(f"the checksum of {wrong} in it is wrong")


def state_dict_of(path: Path, stored: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors by name out of a checkpoint, or out of a bare state dict."""
    inner = stored.get("state_dict", stored)
    if not isinstance(inner, Mapping) or not all(isinstance(value, Tensor) for value in inner.values()):
        raise InputError(f"{path}: no weights in it, neither by name nor under 'state_dict'; keys: {_some(stored)}")
    for key, value in inner.items():
        if not isinstance(key, str):
            raise InputError(f"{path}: weights under the name {key!r}, which is no text")
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            what = "quantised" if value.is_quantized else f"{value.layout} on {value.device}"
            raise InputError(f"{path}: {key!r} is a tensor of another kind ({what}); save plain ones")
    return {key.removeprefix("module."): value for key, value in inner.items()}


def fill(network: nn.Module, name: str, path: Path, state: Mapping[str, Tensor]) -> None:
    """Loads `state` into the network. Raises InputError naming the first key or shape that does not fit."""
    # Older torch kept no such counts, and nothing here reads them.
    own = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    missing, unexpected = [k for k in own if k not in state], [k for k in state if k not in own]
    if missing or unexpected:
        parts = [f"{len(keys)} keys {what} ({keys[0]!r} first)"
                 for what, keys in (("missing", missing), ("too many", unexpected)) if keys]  # fmt: skip
        raise InputError(f"{path}: not the weights of {name}: {', '.join(parts)}")
    differing = [key for key in own if own[key].shape != state[key].shape]
    classifier = list(own)[-2:]  # weight and bias of the last layer
    if differing and set(differing) <= set(classifier) and state[differing[0]].ndim:
        there, here = state[differing[0]].shape[0], own[differing[0]].shape[0]
        raise InputError(f"{path}: a {name} of {there} classes, the data set has {here}")
    if differing:
        key = differing[0]
        raise InputError(f"{path}: {key!r} is {tuple(state[key].shape)}, {name} has {tuple(own[key].shape)}")
    wrong = [key for key in own if own[key].is_floating_point() != state[key].is_floating_point()]
    if wrong:
        raise InputError(f"{path}: {wrong[0]!r} is {state[wrong[0]].dtype}, {name} has {own[wrong[0]].dtype}")
    network.load_state_dict(state, strict=False)


def fold_biases(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without the biases of convolutions that a batch norm follows, by the names of ResNets.

    The batch norm takes such a bias off again with the mean, so it is subtracted from the running mean instead.
    """
    made = dict(state)
    for key in list(made):
        mean = re.sub(r"conv(\d)\.bias$", r"bn\1.running_mean", key)
        mean = re.sub(r"(downsample|shortcut)\.0\.bias$", r"\1.1.running_mean", mean)
        if mean != key and mean in made:
            made[mean] = made[mean] - made.pop(key)
    return made


def download_weights(url: str) -> Path:
    """A weights file in the cache folder, downloaded on first use and checked against the hash in its name.

    Raises: InputError when it is not there and cannot be downloaded.
    """
    from torch.hub import download_url_to_file

    file = cache_folder() / "teachers" / url.rpartition("/")[2]
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            download_url_to_file(url, str(file), hash_prefix=file.stem.rpartition("-")[2])
        except (OSError, RuntimeError) as error:  # no network (URLError is an OSError); a wrong hash
            reason = str(getattr(error, "reason", None) or error).partition("\n")[0]
            raise InputError(
                f"weights cannot be downloaded into {file.parent} ({reason}); put {url} there, or name a file"
            ) from None
    return file


def _some(keys: Mapping[str, Any]) -> str:
    return ", ".join(map(str, list(keys)[:5])) or "none"
