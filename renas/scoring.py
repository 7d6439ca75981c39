"""Scores from a trained predictor, for a few architectures or for a whole space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
import torch

from common.benchmarks.table import FeatureSource
from renas.folding import FoldedLeNet
from renas.predictor import LeNet, Standardizer

# Architectures per task. On the CPU their activations (22 KB each) stay in the caches of the core that runs it; a GPU
# wants more at once.
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

        On the CPU the chunks run side by side through the folded network, one thread each, so that the scores do not
        depend on the number of threads; on a GPU they run one after the other through the network itself.
        """
        scores = np.empty(len(source), dtype=np.float32)
        if self.device.type != "cpu":
            for rows in _chunks(len(source), GPU_CHUNK):
                scores[rows] = self.predict(source.rows(rows))
                on_scored(len(rows))
            return scores
        folded = FoldedLeNet(self.network, self.standardizer)

        def run(rows: np.ndarray) -> int:
            tensors = source.rows(rows)
            scores[rows] = folded(tensors) if folded.fits(tensors) else self.predict(tensors)
            return len(rows)

        threads = torch.get_num_threads()
        # Torch counts its threads per calling thread: the workers' setting leaves the caller's alone.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            waiting: set[Future[int]] = set()
            for rows in _chunks(len(source), CPU_CHUNK):
                waiting.add(pool.submit(run, rows))
                if len(waiting) > 2 * threads:  # few chunks ahead: an interrupt ends soon, memory stays small
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        on_scored(future.result())
            for future in waiting:
                on_scored(future.result())
        return scores


def _chunks(total: int, size: int) -> Iterator[np.ndarray]:
    for start in range(0, total, size):
        yield np.arange(start, min(start + size, total))
