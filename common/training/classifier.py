"""Training and testing one classifier on images: SGD with momentum, cosine learning rate, published augmentation."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from common.datasets.batch import augmented, normalised
from common.datasets.images import ImageSet
from common.errors import InputError
from common.networks.base import in_mode
from common.networks.checkpoints import read_checkpoint
from common.runs.files import write_atomic

EVALUATION_BATCH = 500
SAVE_EVERY_S = 20.0  # a checkpoint costs a write of three times the weights: not after every epoch of a second


@dataclass(frozen=True)
class ClassifierSettings:
    """Hyper-parameters of `train_classifier`; the defaults are those of the published CIFAR-10 teacher's kind."""

    epochs: int = 200
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: int = 0  # the learning rate rises linearly over these, then falls as a cosine
    bf16: bool = False  # forward and backward pass under bfloat16 autocast, for GPUs


@dataclass
class History:
    """Per epoch: mean training loss and training accuracy (percent, augmented, while learning); seconds in all."""

    loss: list[float] = field(default_factory=list)
    train_acc: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0


def train_classifier(
    network: nn.Module,
    images: ImageSet,
    settings: ClassifierSettings,
    rng: np.random.Generator,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[int, float, float], object] = lambda epoch, loss, acc: None,
) -> History:
    """Trains the network in place on the training images, and leaves it in eval mode on `device`.

    A training that was killed goes on from `checkpoint` and ends, on a CPU bit for bit, as one that was not.

    Args:
        rng: decides order and augmentation; the initial weights are the network's own.
        checkpoint: written atomically every 20 s and at the end, read where it exists; None to keep none.
        on_epoch: called after every epoch with the number of finished epochs, its loss and its accuracy.
    Raises: InputError when the checkpoint is of other images, settings or weights, or the loss is not finite.
    """
    network.to(device)
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    history = History()
    start = hashlib.sha256(json.dumps(rng.bit_generator.state).encode()).hexdigest()
    identity = {"images": images.sha256, "random state at the start": start, **asdict(settings)}
    if checkpoint is not None and checkpoint.exists():
        history = _resume(checkpoint, identity, network, optimizer, rng)
    count = len(images.x_train)
    steps = math.ceil(count / settings.batch_size)
    autocast = torch.autocast(torch.device(device).type, torch.bfloat16) if settings.bf16 else nullcontext()
    started_s = saved_s = time.monotonic()
    before_s = history.elapsed_s
    for epoch in range(len(history.loss), settings.epochs):
        network.train()
        total, right = torch.zeros((), device=device), torch.zeros((), device=device)
        order = rng.permutation(count)
        for step in range(steps):
            rows = order[step * settings.batch_size : (step + 1) * settings.batch_size]
            x = augmented(images, rows, rng, device)
            if on_gpu:
                x = x.contiguous(memory_format=torch.channels_last)
            y = torch.from_numpy(images.y_train[rows]).to(device)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, epoch * steps + step, steps)
            with autocast:
                logits = network(x)
                loss = nn.functional.cross_entropy(logits.float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
            right += (logits.detach().argmax(1) == y).sum()
        if not math.isfinite(float(total)):
            raise InputError(f"the training loss is {float(total)} in epoch {epoch + 1}: lower the learning rate")
        history.loss.append(float(total) / count)
        history.train_acc.append(100.0 * float(right) / count)
        history.elapsed_s = before_s + time.monotonic() - started_s
        last = epoch + 1 == settings.epochs
        if checkpoint is not None and (last or time.monotonic() - saved_s > SAVE_EVERY_S):
            _save(checkpoint, identity, network, optimizer, rng, history)
            saved_s = time.monotonic()
        on_epoch(epoch + 1, history.loss[-1], history.train_acc[-1])
    network.eval()
    return history


def learning_rate(settings: ClassifierSettings, step: int, steps: int) -> float:
    """Of one update, counted from 0, with `steps` of them an epoch: linear warm-up, then a cosine that ends near 0."""
    warmup, total = settings.warmup_epochs * steps, settings.epochs * steps
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def evaluate(
    network: nn.Module, images: ImageSet, device: torch.device | str = "cpu", mode: str = "eval", split: str = "test"
) -> float:
    """Accuracy in percent on the images of a split as they are; the network is on `device`, its mode is kept.

    Args: mode: "eval", or "train" for batch norm on the statistics of each batch of 500.
    """
    was_training = network.training
    labels = {"train": images.y_train, "test": images.y_test}[split]
    asked = in_mode(network, mode)
    right = 0
    with torch.inference_mode():
        for start in range(0, len(labels), EVALUATION_BATCH):
            rows = slice(start, start + EVALUATION_BATCH)
            predicted = asked(normalised(images, rows, split, device)).argmax(1).cpu().numpy()
            right += int((predicted == labels[rows]).sum())
    network.train(was_training)
    return 100.0 * right / len(labels)


def check_same(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raises InputError naming the first setting in which the training stored at `path` is another than this one."""
    for key, value in here.items():
        if there.get(key) != value:
            raise InputError(
                f"{path}: of another training ({key} is {there.get(key)!r} there, {value!r} here); "
                "remove it or name another file"
            )


def _save(
    path: Path,
    identity: dict[str, Any],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
    history: History,
) -> None:
    stored = {
        "identity": identity,
        "state_dict": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": json.dumps(rng.bit_generator.state),
        "history": asdict(history),
    }
    write_atomic(path, lambda file: torch.save(stored, file))


def _resume(
    path: Path,
    identity: dict[str, Any],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
) -> History:
    """Puts everything back as it was when the checkpoint was written."""
    stored = read_checkpoint(path)
    check_same(path, stored.get("identity", {}), identity)
    try:
        network.load_state_dict(stored["state_dict"])
        optimizer.load_state_dict(stored["optimizer"])
        rng.bit_generator.state = json.loads(stored["rng"])
        return History(**stored["history"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path}: the checkpoint of another network, or damaged ({reason}); remove it") from None
