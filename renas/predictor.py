"""ReNAS's predictor as one of the toolkit's: the demo's LeNet over feature tensors, trained by a relativistic loss.

Torch is imported inside the methods, because the command line shows the settings without training anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from common.encoding.base import FeatureSource
from common.errors import InputError
from common.predictors.base import Predictor
from renas.settings import LeNetSettings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from renas.lenet import Standardizer
    from renas.training import TrainingCurve

BLOCK = 2048  # architectures that pass through the network at once


class LeNetPredictor(Predictor):
    """The predictor of ReNAS as its demo trains it; see `renas.training.train_network`.

    A network of one's own: override `build_network` in a subclass.
    """

    name = "lenet"
    encoding = "tensor"
    Settings = LeNetSettings

    network: nn.Module
    standardizer: Standardizer
    curve: TrainingCurve

    def build_network(self, channels: int, vertices: int) -> nn.Module:
        """The network with fresh weights: standardised tensors (n, C, V, V) float32 in, scores (n,) out.

        Torch's current random state decides the weights.
        """
        from renas.lenet import LeNet

        return LeNet(channels, vertices)

    def check(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3:
            raise InputError(
                f"predictor {self.name!r} learns from feature tensors (C, V, V), not from features of shape {shape}: "
                "choose the encoding tensor, or another predictor"
            )

    def fit(
        self,
        features: np.ndarray,
        values: np.ndarray,
        rng: np.random.Generator,
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> None:
        """`rng` decides the initial weights, then the order of the batches of every epoch."""
        import torch

        from common.seeds import torch_seeded
        from renas.lenet import Standardizer
        from renas.training import train_network

        self.standardizer = Standardizer.fit(features)
        with torch_seeded(rng):
            self.network = self.build_network(*features.shape[1:3]).to(self._device)
        inputs = torch.from_numpy(self.standardizer(features)).to(self._device)
        epochs = self.settings.num_epochs
        self.curve = train_network(
            self.network,
            inputs,
            values,
            self.settings,
            rng,
            on_epoch=lambda epoch, tau: on_step((epoch + 1) / epochs, tau),
        )

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Scores (m,) float32, through the network itself."""
        import torch

        self.network.eval()
        with torch.inference_mode():
            blocks = [
                self.network(torch.from_numpy(self.standardizer(features[start : start + BLOCK])).to(self._device))
                for start in range(0, max(len(features), 1), BLOCK)
            ]
            return torch.cat(blocks).cpu().numpy()

    def score(self, source: FeatureSource, on_scored: Callable[[int], object] = lambda count: None) -> np.ndarray:
        """Scores (N,) float32 of everything in `source`, by the fast path where that covers the network."""
        from renas import fast

        if fast.covers(self.network, source.shape):
            return fast.score_all(self.network, self.standardizer, source, on_scored)
        return super().score(source, on_scored).astype(np.float32)

    @property
    def _device(self) -> torch.device:
        from common.devices import pick_device

        return pick_device(self.device)

    # for records and files ------------------------------------------------------------------------------------------

    def details(self) -> dict[str, Any]:
        """Loss and tau on the training architectures after each epoch, and the epoch that was kept."""
        return {"best_epoch": self.curve.best_epoch, "loss": self.curve.loss, "train_tau": self.curve.train_tau}

    def state(self) -> dict[str, np.ndarray]:
        weights = {f"network.{name}": value.cpu().numpy() for name, value in self.network.state_dict().items()}
        return {"mean": self.standardizer.mean, "scale": self.standardizer.scale, **weights}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Raises ValueError, KeyError or RuntimeError for arrays that are not those of this network."""
        import torch

        from common.seeds import torch_seeded
        from renas.lenet import Standardizer

        mean, scale = state["mean"], state["scale"]
        if mean.ndim != 3 or mean.shape != scale.shape or mean.shape[1] != mean.shape[2]:
            raise ValueError(f"mean and scale of shapes {mean.shape} and {scale.shape}")
        with torch_seeded(np.random.default_rng(0)):
            network = self.build_network(*mean.shape[:2])
        weights = {
            name.removeprefix("network."): torch.from_numpy(array.copy())
            for name, array in state.items()
            if name.startswith("network.")
        }
        network.load_state_dict(weights)
        self.standardizer, self.network = Standardizer(mean, scale), network.to(self._device)
