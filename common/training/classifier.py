"""Training and testing one classifier on images: SGD with momentum, cosine learning rate, published augmentation."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from common.datasets.batch import augmented, images_at_once, normalised
from common.datasets.images import ImageSet
from common.errors import InputError
from common.inputs import short
from common.networks.base import in_mode
from common.networks.checkpoints import read_checkpoint
from common.runs.files import write_atomic

EVALUATION_BATCH = 500  # less of large images
SAVE_EVERY_S = 20.0  # a checkpoint costs a write of three times the weights: not after every epoch of a second

Past = TypeVar("Past")
Batches = Iterable[tuple[Tensor, Tensor]]  # (n, 3, H, W) float32 images, (n,) int64 labels
Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # of a batch: the mean loss, the logits (n, classes)


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


def _history(stored: Any) -> History:
    history = History(**stored)
    if not all(isinstance(value, float) for value in (*history.loss, *history.train_acc, history.elapsed_s)):
        raise TypeError("its history is no list of numbers")
    return history


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
    optimizer = sgd(network, settings)
    kept = Kept(checkpoint, identity_of(images, settings, rng), network, optimizer, rng)
    history = kept.load(_history) or History()
    count = len(images.x_train)
    steps = math.ceil(count / settings.batch_size)
    autocast = torch.autocast(torch.device(device).type, torch.bfloat16) if settings.bf16 else nullcontext()

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        order = rng.permutation(count)
        for step in range(steps):
            rows = order[step * settings.batch_size : (step + 1) * settings.batch_size]
            x = augmented(images, rows, rng, device)
            if on_gpu:
                x = x.contiguous(memory_format=torch.channels_last)
            yield x, torch.from_numpy(images.y_train[rows]).to(device)

    def objective(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with autocast:
            logits = network(x)
            return nn.functional.cross_entropy(logits.float(), y), logits

    started_s = time.monotonic()
    before_s = history.elapsed_s
    for epoch in range(len(history.loss), settings.epochs):
        network.train()
        rates = (learning_rate(settings, epoch * steps + step, steps) for step in range(steps))
        total, right = train_epoch(batches(), rates, optimizer, objective).tolist()
        history.loss.append(finite(total / count, epoch))
        history.train_acc.append(100.0 * right / count)
        history.elapsed_s = before_s + time.monotonic() - started_s
        kept.save(asdict(history), last=epoch + 1 == settings.epochs)
        on_epoch(epoch + 1, history.loss[-1], history.train_acc[-1])
    network.eval()
    return history


def sgd(network: nn.Module, settings: ClassifierSettings) -> torch.optim.SGD:
    return torch.optim.SGD(
        network.parameters(), lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )


def train_epoch(
    batches: Batches, rates: Iterable[float], optimizer: torch.optim.Optimizer, objective: Objective, clip: float = 0.0
) -> Tensor:
    """One update a batch, each at its learning rate: (2,), the summed loss of all images and how many were right.

    Args: clip: the largest norm of the gradient, which is scaled down to it; 0 for none.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    # Stays on the device: reading a number would make a GPU wait after every step.
    sums = torch.zeros(2, device=parameters[0].device)
    for (x, y), rate in zip(batches, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, logits = objective(x, y)
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        sums += torch.stack([loss.detach() * len(y), (logits.detach().argmax(1) == y).sum()])
    return sums


def finite(loss: float, epoch: int) -> float:
    """The mean loss of an epoch, counted from 0. Raises InputError when the training has diverged."""
    if not math.isfinite(loss):
        raise InputError(f"the training loss is {loss} in epoch {epoch + 1}: lower the learning rate")
    return loss


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
    labels = {"train": images.y_train, "test": images.y_test}[split]
    return 100.0 * count_right(network, images, device, mode, split) / len(labels)


def count_right(
    network: nn.Module,
    images: ImageSet,
    device: torch.device | str = "cpu",
    mode: str = "eval",
    split: str = "test",
    first: int = 0,
    stride: int = 1,
) -> int:
    """How many images of a split are classified right, in every `stride`-th batch from the `first` on.

    The network is on `device`, its mode is kept. Over all `first` below `stride`, the counts add up to the split's. A
    batch is 500 images; in eval mode fewer if they are large.
    """
    was_training = network.training
    labels = {"train": images.y_train, "test": images.y_test}[split]
    asked = in_mode(network, mode)
    batch = min(EVALUATION_BATCH, images_at_once(images.image_size))
    right = 0
    with torch.inference_mode():
        for start in range(first * batch, len(labels), stride * batch):
            rows = slice(start, start + batch)
            predicted = asked(normalised(images, rows, split, device)).argmax(1).cpu().numpy()
            right += int((predicted == labels[rows]).sum())
    network.train(was_training)
    return right


def check_same(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raises InputError naming the first setting in which the training stored at `path` is another than this one."""
    for key, value in here.items():
        if there.get(key) != value:
            raise InputError(
                f"{path}: of another training ({key} is {there.get(key)!r} there, {value!r} here); "
                "remove it or name another file"
            )


def identity_of(images: ImageSet, settings: ClassifierSettings, rng: np.random.Generator) -> dict[str, Any]:
    """What a training's result depends on, besides the network: a checkpoint is of this training or of another."""
    start = hashlib.sha256(json.dumps(rng.bit_generator.state).encode()).hexdigest()
    return {"images": images.sha256, "random state at the start": start, **asdict(settings)}


class Kept:
    """A training in a file: network, optimizer, generator and history, so that a killed one can go on.

    Args: path: None to keep nothing. identity: of `identity_of`. writes: whether `save` does anything.
    """

    def __init__(
        self,
        path: Path | None,
        identity: dict[str, Any],
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        rng: np.random.Generator,
        writes: bool = True,
    ) -> None:
        self.path, self.identity, self.writes = path, identity, writes
        self.network, self.optimizer, self.rng = network, optimizer, rng
        self.saved_s = time.monotonic()

    def save(self, history: Any, last: bool) -> None:
        """Writes the file atomically, at most every 20 s, and at the last epoch."""
        if self.path is None or not self.writes or not (last or time.monotonic() - self.saved_s > SAVE_EVERY_S):
            return
        stored = {
            "identity": self.identity,
            "state_dict": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "history": history,
        }
        write_atomic(self.path, lambda file: torch.save(stored, file))
        self.saved_s = time.monotonic()

    def load(self, read: Callable[[Any], Past]) -> Past | None:
        """Puts everything back as it was when the file was written; the history as `read` makes it, None without file.

        Raises: InputError when the file is of another training, or damaged.
        """
        if self.path is None or not self.path.exists():
            return None
        stored = read_checkpoint(self.path)
        there = stored.get("identity")
        check_same(self.path, there if isinstance(there, Mapping) else {}, self.identity)
        try:
            self.network.load_state_dict(stored["state_dict"])
            self.optimizer.load_state_dict(stored["optimizer"])
            self.rng.bit_generator.state = json.loads(stored["rng"])
            return read(stored["history"])
        except Exception as error:  # of three libraries, for damage of any kind
            raise InputError(
                f"{self.path}: the checkpoint of another network, or damaged ({short(error)}); remove it"
            ) from None
