"""What a smaller or larger batch, several batches, bf16 and less depth do to the ranking of the same random cells.

Trains every cell once per setting and batch; what is recorded in the folder is not trained again. Prints Markdown.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.cli import OneLineParser, run_command
from common.metrics import kendall_tau, mean_std
from common.runs.config import pairs
from rminas.config import read_config

if TYPE_CHECKING:
    from rminas.search import Evaluation
    from rminas.task import Task

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

    from common.devices import pick_device
    from rminas.rank import draw_cells
    from rminas.task import Truth, load_config_images, load_task, search_space_of

    config, _ = read_config(args.cfg, base)
    images = load_config_images(config)
    space = search_space_of(config, images)
    truth = Truth.load(config.benchmark.path, config.benchmark.dataset or config.data.name, space)
    archs = draw_cells(space, config.rng_seed, args.cells, truth)
    accuracy = np.array([truth.accuracy(arch) for arch in archs])
    task, _ = load_task(config, space, images, pick_device(config.device), args.out)

    lines = [
        "| | s a cell | " + " | ".join(f"tau, {step} updates" for step in STEPS) + " |",
        "|---|---|" + "---|" * len(STEPS),
    ]
    for name, (title, changed, count) in SETTINGS.items():
        other, _ = read_config(args.cfg, [*base, *pairs(changed.split())])
        changed_task = replace(task, config=other)
        made = [_train(changed_task, archs, batch, args.out / f"{name}_{batch}") for batch in range(count)]
        lines.append(_row(title, made, accuracy, averaged=1))
        if not changed:
            lines += [_row(f"{title}, mean over {k} batches", made, accuracy, averaged=k) for k in AVERAGED]
    source = f"{args.cells} random cells of {space.title}, {truth.column.name} of {truth.table.source.title}"
    text = "\n".join([*lines, "", f"{source}. Mean ± std over batches, or groups of them."]) + "\n"
    print(text)
    if args.table:
        args.table.write_text(text)


def _row(name: str, made: list[list[Evaluation]], accuracy: np.ndarray, averaged: int) -> str:
    """Taus of the mean logarithm over disjoint groups of `averaged` batches."""
    logs = np.log(np.minimum([[evaluation.losses for evaluation in one] for one in made], 1e9))
    cell_s = float(np.mean([evaluation.train_s for one in made for evaluation in one]))
    groups = logs[: len(logs) // averaged * averaged].reshape(-1, averaged, *logs.shape[1:]).mean(1)
    cells = [f"{averaged * cell_s:.1f}"]
    for step in STEPS:
        mean, std = mean_std(kendall_tau(-group[:, step], accuracy) for group in groups)
        cells.append(f"{mean:.3f} ± {std:.3f}" if len(groups) > 1 else f"{mean:.3f}")
    return f"| {name} | " + " | ".join(cells) + " |"


def _train(task: Task, archs: list[Any], batch: int, path: Path) -> list[Evaluation]:
    """Batch 0 is that of the config's seed; the others only differ in the batch and the initial weights."""
    from tqdm import tqdm

    from common.runs import RunFolder
    from common.runs.config import nested
    from rminas.evaluator import one_by_one
    from rminas.rank import rank_cells
    from rminas.search import read_evaluations

    steps, seed = task.config.rminas.observe, task.config.rng_seed + batch
    folder = RunFolder.open(path, nested(task.config) | {"batch": batch})
    past = read_evaluations(folder.records(), task.space, seed, steps)
    evaluate = partial(one_by_one, task.evaluator(seed, task.batch(seed)))
    with tqdm(total=len(archs), initial=len(past), desc=path.name) as bar:

        def keep(evaluation: Evaluation) -> None:
            folder.append(evaluation.record(task.space, seed, None))
            bar.update()

        return rank_cells(archs, evaluate, steps, past, keep)


if __name__ == "__main__":
    run_command(PROG, main)
