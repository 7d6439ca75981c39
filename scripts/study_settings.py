"""What a smaller or larger batch, several batches, bf16 and less depth do to the ranking of the same random cells.

Trains every cell once per setting and batch; what is recorded in the folder is not trained again. Prints Markdown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.cli import OneLineParser, run_command
from common.metrics import kendall_tau, mean_std
from common.runs.config import nested, pairs
from rminas.config import Config, find_config, read_config

if TYPE_CHECKING:
    from common.evaluators import Context
    from common.search import History

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
    add("--cfg", required=True, metavar="YAML", help="config file, as for python -m rminas")
    add("--cells", type=int, default=48, metavar="N", help="random cells, those of --rank N")
    add("--out", type=Path, required=True, metavar="FOLDER", help="where losses are kept and found again")
    add("--table", type=Path, metavar="FILE", help="write the result as Markdown into this file too")
    add("settings", nargs="*", metavar="KEY VALUE", help="settings that override the file's")
    args = parser.parse_intermixed_args()
    file, base = find_config(args.cfg), pairs(args.settings)

    from common.devices import pick_device
    from common.evaluators import Context
    from rminas.accuracy import AccuracyTable
    from rminas.api import rmi_settings
    from rminas.inputs import Inputs, make_search_space
    from rminas.ranking import draw_archs

    config, _ = read_config(file, base)
    device = pick_device(config.device)
    inputs = Inputs(config.data, config.teacher, device, args.out)
    space = make_search_space(config, inputs.load_images)
    table = AccuracyTable.load(config.benchmark.path, config.benchmark.dataset or config.data.name, space)
    archs = draw_archs(space, config.rng_seed, args.cells, table)
    accuracy = table.accuracies(archs)
    context = Context(space, config.rng_seed, device, inputs.load_images, inputs.load_teacher)

    steps = [step for step in STEPS if step <= config.rminas.observe]
    lines = [
        "| | s a cell | " + " | ".join(f"tau, {step} updates" for step in steps) + " |",
        "|---|---|" + "---|" * len(steps),
    ]
    for name, (title, changed, count) in SETTINGS.items():
        other, _ = read_config(file, [*base, *pairs(changed.split())])
        trained = replace(context, load_images=lambda: context.images, load_teacher=lambda: context.teacher,
                          settings={"rmi": rmi_settings(other)})  # fmt: skip
        made = [_train(trained, other, archs, batch, args.out / f"{name}_{batch}") for batch in range(count)]
        lines.append(_row(title, made, accuracy, steps, averaged=1))
        if not changed:
            lines += [_row(f"{title}, mean over {k} batches", made, accuracy, steps, averaged=k) for k in AVERAGED]
    source = f"{args.cells} random cells of {space.title}, {table.column.name} of {table.table.source.title}"
    text = "\n".join([*lines, "", f"{source}. Mean ± std over batches, or groups of them."]) + "\n"
    print(text)
    if args.table:
        args.table.write_text(text)


def _row(name: str, made: Sequence[History], accuracy: np.ndarray, steps: Sequence[int], averaged: int) -> str:
    """Taus of the mean logarithm over disjoint groups of `averaged` batches."""
    logs = np.log(np.minimum([[-evaluation.outcome.trajectory for evaluation in one] for one in made], 1e9))
    cell_s = float(np.mean([evaluation.evaluate_s for one in made for evaluation in one]))
    groups = logs[: len(logs) // averaged * averaged].reshape(-1, averaged, *logs.shape[1:]).mean(1)
    cells = [f"{averaged * cell_s:.1f}"]
    for step in steps:
        mean, std = mean_std(kendall_tau(-group[:, step], accuracy) for group in groups)
        cells.append(f"{mean:.3f} ± {std:.3f}" if len(groups) > 1 else f"{mean:.3f}")
    return f"| {name} | " + " | ".join(cells) + " |"


def _train(context: Context, config: Config, archs: list[Any], batch: int, path: Path) -> History:
    """Batch 0 is that of the config's seed; the others only differ in the batch and the initial weights."""
    from common.evaluators import make_evaluator
    from common.progress import ProgressBar
    from common.runs import RunFolder
    from common.search import Evaluation, read_history
    from rminas.ranking import evaluate_list

    seed = config.rng_seed + batch
    with RunFolder.open(path, nested(config) | {"batch": batch}) as folder, ProgressBar(len(archs), path.name) as bar:
        past = read_history(folder.records(), context.space, seed)
        done = len(past)

        def keep(evaluation: Evaluation, history: History) -> None:
            nonlocal done
            folder.append(evaluation.record(context.space, seed))
            done += 1
            bar.show(done, before=done - 1)

        return evaluate_list(archs, make_evaluator("rmi", context.with_seed(seed)), None, past, keep)


if __name__ == "__main__":
    run_command(PROG, main)
