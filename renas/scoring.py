"""Scores from a trained predictor, for a few architectures or for a whole space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from common.benchmarks.table import FeatureSource
from renas.neighbourhoods import NeighbourhoodScorer
from renas.predictor import LeNet, Standardizer

BLOCK = 2**19  # architectures whose neighbourhoods are compared: 2 KB of memory each
# Architectures per task of the network itself. On the CPU their activations (22 KB each) stay in the caches of the core
# that runs it; a GPU wants more at once.
CPU_CHUNK, GPU_CHUNK = 512, 16_384


@dataclass(frozen=True)
class FittedPredictor:
    """A trained predictor with its standardisation: raw feature tensors in, scores out (higher is better)."""

    network: LeNet
    standardizer: Standardizer
    device: torch.device

    @torch.inference_mode()
    def predict(self, tensors: np.ndarray) -> np.ndarray:
        """Scores (n,) float32 of raw feature tensors (n, C, V, V), through the network itself."""
        self.network.eval()
        return self.network(torch.from_numpy(self.standardizer(tensors)).to(self.device)).cpu().numpy()

    def score(self, source: FeatureSource, on_scored: Callable[[int], object] = lambda count: None) -> np.ndarray:
        """Scores (N,) float32 of everything in `source`; `on_scored` gets each finished chunk's size.

        On the CPU by the distinct neighbourhoods of the tensors where they repeat, else through the network, in tasks
        of one thread each, so that the scores do not depend on the number of threads; on a GPU through the network,
        one chunk after the other.
        """
        scores = np.empty(len(source), dtype=np.float32)

        def predict(rows: slice) -> int:
            scores[rows] = self.predict(source.rows(np.arange(rows.start, rows.stop)))
            return rows.stop - rows.start

        if self.device.type != "cpu":
            for rows in _chunks(range(len(source)), GPU_CHUNK):
                on_scored(predict(rows))
            return scores
        scorer = NeighbourhoodScorer(self.network, self.standardizer)
        with _threads() as pool:
            for block in _chunks(range(len(source)), BLOCK):
                within = range(block.start, block.stop)
                made = scorer.score(source, within, pool, on_scored)
                if made is not None:
                    scores[block] = made
                else:
                    for count in pool.map(predict, _chunks(within, CPU_CHUNK)):
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
