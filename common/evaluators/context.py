"""What evaluators are made from: a space, a seed, and images, a teacher and a table that are loaded when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from common.networks import build_network
from common.seeds import rng_for, torch_seeded
from common.spaces.base import SearchSpace

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from common.benchmarks.table import BenchmarkTable
    from common.datasets.images import ImageSet
    from common.networks.base import TappedNetwork


def _nobody(what: str) -> Callable[[], Any]:
    def ask() -> Any:
        raise InputError(f"an evaluator needs {what}, and none was given")

    return ask


@dataclass(frozen=True, eq=False)
class Context:
    """Everything an evaluator may ask for. What is dear is loaded when the first one asks, once for all.

    load_images, load_teacher, load_table: called at most once. column: of the table, to be looked up. settings: of
    evaluators that have some, by the evaluator's name; a missing entry means its defaults.
    """

    space: SearchSpace
    seed: int = 0
    device: torch.device | str = "cpu"
    load_images: Callable[[], ImageSet] = field(default=_nobody("images"))
    load_teacher: Callable[[], TappedNetwork] = field(default=_nobody("a teacher"))
    load_table: Callable[[], BenchmarkTable] = field(default=_nobody("a table of trained architectures"))
    column: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 32  # of training-free scores whose settings name no other
    image_size: int = 0  # pixels along a side as candidates see the images; 0: all that there are

    @cached_property
    def images(self) -> ImageSet:
        return self.load_images()

    @cached_property
    def teacher(self) -> TappedNetwork:
        """On the device, in eval mode, frozen."""
        return self.load_teacher()

    @cached_property
    def table(self) -> BenchmarkTable:
        return self.load_table()

    def with_seed(self, seed: int) -> Context:
        """The same for another seed; what has been loaded is shared with it."""
        return Context(
            self.space,
            seed,
            self.device,
            lambda: self.images,
            lambda: self.teacher,
            lambda: self.table,
            self.column,
            self.settings,
            self.batch_size,
            self.image_size,
        )

    @cached_property
    def _batches(self) -> dict[int, tuple[Tensor, Tensor]]:
        return {}

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """`size` random training images as they are, (size, 3, H, W) float32 standardised, and their labels (size,).

        A larger batch begins with the images of a smaller one. No teacher has a say in it. Asked again for the same
        size, the same tensors come back.
        Raises: InputError when there are not so many.
        """
        import torch

        from common.datasets.batch import normalised, shrunk

        if size in self._batches:
            return self._batches[size]
        images = self.images
        if size > len(images.x_train):
            raise InputError(f"{images.source}: a batch of {size} images, there are {len(images.x_train)}")
        rows = rng_for(self.seed, "score batch").permutation(len(images.x_train))[:size]
        labels: np.ndarray = images.y_train[rows]
        x = shrunk(normalised(images, rows, "train", self.device), self.image_size)
        return self._batches.setdefault(size, (x, torch.from_numpy(labels).to(self.device)))


def build_seeded(space: SearchSpace, arch: Any, seed: int, device: torch.device | str = "cpu") -> TappedNetwork:
    """The network of an architecture with initial weights that depend on it and the seed, and on nothing else."""
    code = space.to_codes([arch])[0]
    with torch_seeded(rng_for(seed, "initial weights", *code.tolist())):
        network = build_network(space, arch)
    return network.to(device)
