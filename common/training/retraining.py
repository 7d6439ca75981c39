"""Training a found network to the end: SGD, cosine, cutout, drop path, an auxiliary head, on one or several devices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.datasets.batch import augmented
from common.datasets.images import ImageSet
from common.errors import InputError
from common.training.classifier import (
    ClassifierSettings,
    Kept,
    count_right,
    finite,
    identity_of,
    learning_rate,
    sgd,
    train_epoch,
)
from common.training.processes import Processes

SMALLEST_SHARE = 2  # images of one process in a step: batch norm on 1 x 1 features needs more than one


@dataclass(frozen=True)
class RetrainSettings(ClassifierSettings):
    """Hyper-parameters of `retrain`; the defaults are DARTS' recipe for CIFAR. `batch_size` is of each process."""

    epochs: int = 600
    batch_size: int = 96
    lr: float = 0.025
    weight_decay: float = 3e-4
    clip: float = 5.0  # largest norm of the gradient; 0 for none
    label_smoothing: float = 0.0
    cutout: int = 16  # pixels a side; 0 for none
    drop_path: float = 0.2  # probability of leaving an operation out, reached at the end; 0 at the start
    auxiliary_weight: float = 0.4  # of the auxiliary head's loss; 0: the network needs no such head
    distill: float = 0.0  # weight of the teacher's word against the images' classes; 0: there needs to be no teacher
    temperature: float = 4.0  # at which the teacher is asked
    channels_last: bool = True  # memory layout on a GPU
    test_every: int = 1  # epochs from one test to the next; the last one is always tested


def retrain(
    network: nn.Module,
    images: ImageSet,
    settings: RetrainSettings,
    rng: np.random.Generator,
    processes: Processes,
    checkpoint: Path | None = None,
    on_step: Callable[[int, int], object] = lambda done, total: None,
    on_epoch: Callable[[list[dict[str, Any]]], object] = lambda records: None,
    teacher: nn.Module | None = None,
) -> list[dict[str, Any]]:
    """Trains the network in place on the training images: a record of every epoch; it ends in eval mode.

    A training that was killed goes on from `checkpoint` and ends, on a CPU bit for bit, as one that was not.

    With K processes a step is on K x batch_size images: every process takes every K-th of them, augments them by random
    numbers of its own, and all step along the mean of their gradients; batch norm is over each process's share, and its
    running statistics are those of the first. What is left for the last step of an epoch is shared evenly; images
    that would make shares unequal or smaller than 2 wait for another epoch's order.

    A record holds `epoch` (from 1), `loss` (mean of the objective, auxiliary loss included), `train_acc` (percent,
    augmented, while learning), `test_acc` and `test_error` (percent; None where not tested), `lr` and `drop_path` of
    its last step, `train_s` and `test_s`.

    Args:
        rng: the same in every process; decides order, augmentation and drop path, not the initial weights.
        checkpoint: written by the first process, atomically, every 20 s and at the end, read where it exists.
        on_step: called after every step with the number of steps done and that of all steps.
        on_epoch: called after every epoch with the records of all finished ones.
        teacher: on the processes' device and in its mode; needed where `settings.distill` is not 0.
    Raises: InputError when there are too few images, the checkpoint is of another training, or the loss is not finite.
    """
    device = processes.device
    shares = shares_of_epoch(images, settings, processes)
    network.to(device)
    # On CPUs, oneDNN (3.13) writes out of bounds in this layout: backward pass of a 1x1 convolution of stride 2 with
    # fewer than 16 input channels (github.com/uxlfoundation/oneDNN/issues/6035).
    channels_last = settings.channels_last and device.type == "cuda"
    if channels_last:
        network.to(memory_format=torch.channels_last)
    optimizer = sgd(network, settings)
    identity = {**identity_of(images, settings, rng), "processes": processes.count}
    kept = Kept(checkpoint, identity, network, optimizer, rng, writes=processes.rank == 0)
    records: list[dict[str, Any]] = kept.load(_records) or []
    objective = processes.joined(Objective(network, settings, teacher))
    steps = len(shares)

    for epoch in range(len(records), settings.epochs):
        started_s = time.monotonic()
        network.train()
        drop_path = settings.drop_path * epoch / settings.epochs
        if hasattr(network, "drop_path"):
            cast(Any, network).drop_path = drop_path
        order = rng.permutation(len(images.x_train))
        # Streams of one epoch and process alone, so that a checkpoint at its end need not hold their states.
        own = np.random.default_rng([int(rng.integers(2**63)), processes.rank])
        rates = [learning_rate(settings, epoch * steps + step, steps) for step in range(steps)]

        def batches(
            epoch: int = epoch, order: np.ndarray = order, own: np.random.Generator = own
        ) -> Iterator[tuple[Tensor, Tensor]]:
            for step, share in enumerate(shares, start=1):
                rows = order[share]
                x = augmented(images, rows, own, device, settings.cutout)
                if channels_last:
                    x = x.contiguous(memory_format=torch.channels_last)
                yield x, torch.from_numpy(images.y_train[rows]).to(device)
                on_step(epoch * steps + step, settings.epochs * steps)

        with _drop_path_seeded(own, device):
            sums = processes.total(train_epoch(batches(), rates, optimizer, objective, settings.clip))
        total, right = sums.tolist()
        seen = processes.count * sum(len(order[share]) for share in shares)
        loss = finite(total / seen, epoch)
        trained_s = time.monotonic()

        last = epoch + 1 == settings.epochs
        processes.share_buffers(network)
        acc = None
        if last or (epoch + 1) % settings.test_every == 0:
            acc = accuracy(network, images, processes)
        records.append(
            {
                "epoch": epoch + 1,
                "loss": loss,
                "train_acc": 100.0 * right / seen,
                "test_acc": acc,
                "test_error": None if acc is None else 100.0 - acc,
                "lr": rates[-1],
                "drop_path": drop_path,
                "train_s": trained_s - started_s,
                "test_s": time.monotonic() - trained_s,
            }
        )
        kept.save(records, last)
        on_epoch(records)
    network.eval()
    return records


def _records(stored: Any) -> list[dict[str, Any]]:
    """The records of a checkpoint. Raises TypeError or KeyError for something else."""
    numbers = ("epoch", "loss", "train_acc", "train_s", "test_s")
    for record in stored:
        if not all(isinstance(record[key], (int, float)) for key in numbers):
            raise TypeError("its history is no list of epochs")
        if not isinstance(record["test_error"], (float, type(None))):
            raise TypeError("its history has no test errors")
    return list(stored)


def shares_of_epoch(images: ImageSet, settings: RetrainSettings, processes: Processes) -> list[slice]:
    """For every step of an epoch, what this process takes of the order of the training images.

    Raises: InputError when they are too few for a single step.
    """
    count, together = len(images.x_train), processes.count
    shares = []
    for start in range(0, count, settings.batch_size * together):
        size = min(settings.batch_size, (count - start) // together)
        if size >= SMALLEST_SHARE:
            shares.append(slice(start + processes.rank, start + size * together, together))
    if not shares:
        raise InputError(f"{images.source}: {count} training images are too few for {together} processes")
    return shares


def accuracy(network: nn.Module, images: ImageSet, processes: Processes) -> float:
    """In percent, on the test images, which the processes share; the same in each of them."""
    right = count_right(network, images, processes.device, first=processes.rank, stride=processes.count)
    return 100.0 * float(processes.total(torch.tensor(right, device=processes.device))) / len(images.y_test)


class Objective(nn.Module):
    """The training loss of a network: a module, because it is in a module's `forward` that gradients are joined."""

    def __init__(self, network: nn.Module, settings: RetrainSettings, teacher: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.settings = network, settings
        self.teacher = (teacher,)  # not a part of what is trained

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy, label-smoothed, plus the weighted auxiliary head's, a scalar; and the logits (B, classes).

        With a teacher, (1 - distill) of that and distill of T^2 * KL(softmax(teacher / T) || softmax(logits / T)), the
        squared temperature keeping the gradients as large as they are at 1 (Hinton, Vinyals and Dean 2015, section 2).
        """
        loss, logits = self._classified(x, y)
        (teacher,), how = self.teacher, self.settings
        if teacher is None or not how.distill:
            return loss, logits
        with torch.no_grad():
            said = F.log_softmax(teacher(x).float() / how.temperature, dim=1)
        ours = F.log_softmax(logits.float() / how.temperature, dim=1)
        apart = F.kl_div(ours, said, reduction="batchmean", log_target=True)
        return (1 - how.distill) * loss + how.distill * how.temperature**2 * apart, logits

    def _classified(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        how = self.settings
        with torch.autocast(x.device.type, torch.bfloat16) if how.bf16 else nullcontext():
            if not how.auxiliary_weight:
                logits = self.network(x)
                return F.cross_entropy(logits.float(), y, label_smoothing=how.label_smoothing), logits
            logits, auxiliary = cast(Any, self.network).forward_auxiliary(x)
            losses = [F.cross_entropy(z.float(), y, label_smoothing=how.label_smoothing) for z in (logits, auxiliary)]
            return losses[0] + how.auxiliary_weight * losses[1], logits


@contextmanager
def _drop_path_seeded(rng: np.random.Generator, device: torch.device) -> Iterator[None]:
    """Torch's global generators, from which drop path draws on this device, seeded inside and restored after.

    Of this device alone: there are as many processes as GPUs.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(rng.integers(2**63)))
        yield
