"""The published ReNAS demo done in the straightforward way, for comparison only (see scripts/bench_renas.py).

Float64 arrays of the whole space, scikit-learn's scaler, a Python list of (tensor, label), a DataLoader with one worker
for training and for scoring. Prints its stage times as one line of JSON.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kendalltau
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader

from common.cli import OneLineParser, run_command
from renas.lenet import LeNet

PROG = "python scripts/straightforward_renas.py"
Samples = list[tuple[torch.Tensor, float]]


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("--data_path", type=Path, required=True, help="folder of the demo's shards")
    parser.add_argument("--shards", type=int, help="use the first N shards only")
    parser.add_argument("--train_ratio", type=float, default=0.001, help="share of the rows to train on")
    parser.add_argument("--num_epochs", type=int, default=200, help="training epochs")
    parser.add_argument("--batch_size", type=int, default=1024, help="rows per batch")
    parser.add_argument("--count", type=int, default=10, help="best scored rows to look up")
    args = parser.parse_args()

    started = time.perf_counter()
    data, labels = load(args.data_path, args.shards)
    rng = np.random.default_rng(0)
    trained = rng.choice(len(data), size=int(len(data) * args.train_ratio), replace=False)
    samples = prepare(data, labels, trained)
    loaded = time.perf_counter()
    torch.manual_seed(0)
    network = LeNet(*data.shape[1:3])
    orders = [rng.permutation(len(trained)) for _ in range(args.num_epochs)]
    train(network, [samples[row] for row in trained], orders, args.batch_size)
    fitted = time.perf_counter()
    scores = score(network, samples, args.batch_size)
    scored = time.perf_counter()
    found = labels[np.argsort(-scores)[: args.count]].max()
    stages = {"load_s": loaded - started, "train_s": fitted - loaded, "score_s": scored - fitted, "rows": len(data)}
    print(f"search model acc: {100 * found:.2f}")
    print(json.dumps(stages))


def load(folder: Path, shards: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """All tensors (N, 19, 7, 7) float64 and final test accuracies (N,)."""
    count = shards or len(list(folder.glob("data_*.npy")))
    data = np.concatenate([np.load(folder / f"data_{i}.npy") for i in range(count)])
    labels = np.concatenate([np.load(folder / f"label_{i}.npy") for i in range(count)])
    return data, labels[:, -1]


def prepare(data: np.ndarray, labels: np.ndarray, trained: np.ndarray) -> Samples:
    """Standardised and min-max scaled on the training rows, as a list of (float32 tensor, label)."""
    flat = data.reshape(len(data), -1)
    scaler = StandardScaler().fit(flat[trained])
    tensors = scaler.transform(flat).reshape(data.shape)
    low, high = labels[trained].min(), labels[trained].max()
    targets = (labels - low) / (high - low)
    return [(torch.tensor(tensor, dtype=torch.float32), float(y)) for tensor, y in zip(tensors, targets, strict=True)]


def train(
    network: LeNet, samples: Samples, orders: list[np.ndarray], batch_size: int, lr: float = 1e-3
) -> list[tuple[float, float]]:
    """Trains in the given order of samples per epoch, keeps the epoch of the best tau; (loss, tau) of every epoch."""
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    labels = np.array([y for _, y in samples])
    history: list[tuple[float, float]] = []
    best, best_weights = -2.0, network.state_dict()
    for order in orders:
        network.train()
        total = 0.0
        for x, y in DataLoader(samples, batch_size, sampler=order.tolist(), num_workers=1):  # type: ignore[arg-type]
            outputs = network(x)
            differences = outputs[:, None] - outputs[None, :]
            signs = torch.sign(y[:, None] - y[None, :]).float()
            losses = torch.log1p(torch.exp(-differences * signs))
            off_diagonal = ~torch.eye(len(y), dtype=torch.bool)
            loss = losses[off_diagonal].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
        tau = kendalltau(score(network, samples, batch_size), labels).statistic
        history.append((total / len(samples), tau))
        if tau > best:
            best, best_weights = tau, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(best_weights)
    return history


@torch.no_grad()
def score(network: LeNet, samples: Samples, batch_size: int) -> np.ndarray:
    """Scores (N,) of all samples, through a loader with one worker."""
    network.eval()
    return torch.cat([network(x) for x, _ in DataLoader(samples, batch_size, num_workers=1)]).numpy()


if __name__ == "__main__":
    run_command(PROG, main)
