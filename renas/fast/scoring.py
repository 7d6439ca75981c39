"""Scores of a whole space on the CPU, on as many threads as torch has and the same whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch

from common.encoding.base import FeatureSource
from renas.fast.neighbourhoods import NeighbourhoodScorer
from renas.lenet import LeNet, Standardizer

BLOCK = 2**19  # architectures whose neighbourhoods are compared: 2 KB of memory each
CHUNK = 512  # architectures that pass through the network in one task: 22 KB each stay in the caches of its core


def score_all(
    network: LeNet,
    standardizer: Standardizer,
    source: FeatureSource,
    on_scored: Callable[[int], object] = lambda count: None,
) -> np.ndarray:
    """Scores (N,) float32 of everything in `source`; `on_scored` gets each finished chunk's size.

    By the distinct neighbourhoods of the tensors where they repeat, else through the network, in tasks of one thread
    each.
    """
    scores = np.empty(len(source), dtype=np.float32)
    network.eval()

    @torch.inference_mode()
    def predict(rows: slice) -> int:
        inputs = standardizer(source.rows(np.arange(rows.start, rows.stop)))
        scores[rows] = network(torch.from_numpy(inputs)).numpy()
        return rows.stop - rows.start

    scorer = NeighbourhoodScorer(network, standardizer)
    with _threads() as pool:
        for block in _chunks(range(len(source)), BLOCK):
            within = range(block.start, block.stop)
            made = scorer.score(source, within, pool, on_scored)
            if made is not None:
                scores[block] = made
            else:
                for count in pool.map(predict, _chunks(within, CHUNK)):
                    on_scored(count)
    return scores


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """As many as torch has, each of which runs torch on itself alone; what waits for them when this ends is dropped."""
    # Torch counts its threads per calling thread: the workers' setting leaves the caller's alone.
    pool = ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(rows: range, size: int) -> Iterator[slice]:
    for start in range(rows.start, rows.stop, size):
        yield slice(start, min(start + size, rows.stop))
