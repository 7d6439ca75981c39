"""What a smaller or larger batch, several batches, bf16 and less depth do to the ranking of the same random cells.

Trains every cell once per setting and batch; what is recorded in the folder is not trained again. Prints Markdown.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.cli import OneLineParser, run_command
from common.metrics import kendall_tau, mean_std
from common.runs.config import pairs
from rminas.config import Config, read_config

PROG = "python scripts/study_settings.py"
# By folder: what it is called, what differs from the config, and on how many batches it is tried.
SETTINGS = {
    "base": ("as configured", "", 4),
    "half_batch": ("half the images", "TRAIN.BATCH_SIZE 16", 2),
    "twice_batch": ("twice the images", "TRAIN.BATCH_SIZE 64", 1),
    "bf16": ("bf16 (autocast)", "TRAIN.PRECISION bf16", 1),
}
AVERAGED = (2, 4)  # batches of the first setting over which the logarithms of losses are averaged
STEPS = (10, 30, 60)


@dataclass(frozen=True)
class Trained:
    """The losses (n, steps + 1) of all cells under one setting on one batch, and the seconds of a cell."""

    losses: np.ndarray
    cell_s: float


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    add = parser.add_argument
    add("--cfg", type=Path, required=True, metavar="YAML", help="config file, as for python -m rminas")
    add("--cells", type=int, default=48, metavar="N", help="random cells, those of --rank N")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where losses are kept and found again")
    add("--table", type=Path, metavar="FILE", help="write the result as Markdown into this file too")
    add("settings", nargs="*", metavar="KEY VALUE", help="settings that override the file's")
    args = parser.parse_intermixed_args()
    base = pairs(args.settings)

    from rminas.rank import draw_cells
    from rminas.task import Truth, load_config_images, search_space_of

    config, _ = read_config(args.cfg, base)
    space = search_space_of(config, load_config_images(config))
    truth = Truth.load(config.benchmark.path, config.benchmark.dataset or config.data.name, space)
    archs = draw_cells(space, config.rng_seed, args.cells, truth)
    accuracy = np.array([truth.accuracy(arch) for arch in archs])

    lines = [
        "| | s a cell | " + " | ".join(f"tau, {step} updates" for step in STEPS) + " |",
        "|---|---|" + "---|" * len(STEPS),
    ]
    for name, (title, changed, count) in SETTINGS.items():
        other, _ = read_config(args.cfg, [*base, *pairs(changed.split())])
        made = [_train(other, archs, batch, args.out / f"{name}_{batch}") for batch in range(count)]
        lines.append(_row(title, made, accuracy, averaged=1))
        if not changed:
            lines += [_row(f"{title}, mean over {k} batches", made, accuracy, averaged=k) for k in AVERAGED]
    source = f"{args.cells} random cells of {space.title}, {truth.column.name} of {truth.table.source.title}"
    text = "\n".join([*lines, "", f"{source}. Mean ± std over batches, or groups of them."]) + "\n"
    print(text)
    if args.table:
        args.table.write_text(text)


def _row(name: str, made: list[Trained], accuracy: np.ndarray, averaged: int) -> str:
    """Taus of the mean logarithm over disjoint groups of `averaged` batches."""
    logs = np.log(np.stack([one.losses for one in made]))
    groups = logs[: len(logs) // averaged * averaged].reshape(-1, averaged, *logs.shape[1:]).mean(1)
    cells = [f"{averaged * np.mean([one.cell_s for one in made]):.1f}"]
    for step in STEPS:
        mean, std = mean_std(kendall_tau(-group[:, step], accuracy) for group in groups)
        cells.append(f"{mean:.3f} ± {std:.3f}" if len(groups) > 1 else f"{mean:.3f}")
    return f"| {name} | " + " | ".join(cells) + " |"


def _train(config: Config, archs: list[Any], batch: int, file: Path) -> Trained:
    """Batch 0 is that of the config's seed; the others only differ in the batch and the initial weights."""
    from tqdm import tqdm

    from common.devices import pick_device
    from common.runs import RunFolder
    from common.runs.config import nested
    from rminas.task import load_config_images, load_task, search_space_of

    folder = RunFolder.open(file, nested(config) | {"batch": batch})
    records = folder.records()
    if len(records) < len(archs):
        images = load_config_images(config)
        space = search_space_of(config, images)
        task, _ = load_task(config, space, images, pick_device(config.device), file)
        seed = config.rng_seed + batch
        evaluator = task.evaluator(seed, task.batch(seed))
        for arch in tqdm(archs[len(records) :], desc=file.name):
            started = time.perf_counter()
            losses = evaluator.trajectory(arch, {})
            folder.append({"arch": space.format(arch), "losses": losses, "train_s": time.perf_counter() - started})
        records = folder.records()
    losses = np.array([[np.inf if loss is None else loss for loss in record["losses"]] for record in records])
    return Trained(np.minimum(losses, 1e9)[: len(archs)], float(np.mean([record["train_s"] for record in records])))


if __name__ == "__main__":
    run_command(PROG, main)
