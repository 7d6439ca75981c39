"""The processes of one training: one alone, or as many as `torchrun` started, each with a device of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from common.devices import pick_device
from common.errors import InputError


@dataclass(frozen=True)
class Processes:
    """This process among those that train together. The first, of rank 0, is the one that writes."""

    device: torch.device
    rank: int = 0
    count: int = 1

    def total(self, sums: Tensor) -> Tensor:
        """The sum of all processes' tensors, the same in each; `sums` is overwritten."""
        if self.count > 1:
            dist.all_reduce(sums)
        return sums

    def joined(self, module: nn.Module) -> nn.Module:
        """The module with gradients that are the mean over the processes', and the weights of the first at the start.

        Buffers go their own ways until `share_buffers`: batch norm does not read its running statistics in training.
        """
        if self.count == 1:
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        # A static graph, because a cell may hold weights that its output does not depend on.
        return DistributedDataParallel(module, device_ids=ids, broadcast_buffers=False, static_graph=True)

    def share_buffers(self, module: nn.Module) -> None:
        """Gives every process the buffers of the first."""
        if self.count > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The block runs in the first process before it runs in the others, which then find what it wrote."""
        if self.count > 1 and self.rank:
            dist.barrier()
        try:
            yield
        finally:
            if self.count > 1 and not self.rank:
                dist.barrier()


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """The processes that torchrun started (by its environment variables), or this one alone; left at the end.

    Every process of a machine has the GPU of its own number (nccl), or all compute on the CPU (gloo).

    Args: device: auto, cpu or cuda. Raises: InputError when there is no such device, or there are too few GPUs.
    """
    where = pick_device(device)
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(where)
        return
    if where.type == "cuda":
        here, local = torch.cuda.device_count(), int(os.environ["LOCAL_WORLD_SIZE"])
        if local > here:
            raise InputError(f"{local} processes on a machine with {here} GPUs: start one for each (--nproc_per_node)")
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
    yield Processes(where, int(os.environ["RANK"]), count)
    dist.destroy_process_group()  # not after an error: others that wait for this process would see it leave, and fail
