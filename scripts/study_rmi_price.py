"""What the RMI loss costs and what it tells: Kendall tau against GFLOP a candidate, beside the training-free scores.

`train` computes losses of development cells by every setting of SETTINGS, cell by cell, into docs/results/rmi_price;
started again, it goes on. `flops` counts what an update costs by each. `page` writes docs/results/rmi_price.md and the
figure from these and from the records of scripts/study_scores.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tables_cheaper
from records import spread
from report_scores import OTHERS, PASS, Measured, spread_of, tau, with_interval
from study_scores import RESULTS as SCORES
from study_scores import SETS, flops_of, load_table, revision, rmi_context, sample_rows

from common.cli import OneLineParser, run_command
from common.errors import InputError
from common.metrics import kendall_tau, mean_std, pareto_front
from common.predictors import make_predictor
from common.runs import RunFolder, environment, write_atomic, write_json
from common.spaces import make_space

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from common.spaces import SearchSpace
    from rminas.loss import RmiLoss
    from rminas.rmi import RmiEvaluator

PROG = "python scripts/study_rmi_price.py"
RESULTS = SCORES.parent / "rmi_price"
REPORTED, DEVELOPMENT = "nb201", "nb201_dev"
COLUMN = "cifar10_test_200"
CELLS, UPDATES = 48, 20
STEPS = (1, 2, 5, 10, 20)
FULL, BASE = "full", "base"
BOTH = "combined and RMI"


@dataclass(frozen=True)
class Setting:
    """What differs from the loss that `combined_rmi` takes: one cell a stage, a batch of 32 images of 32 px.

    seed: of the batch and the weights. rmi, training: of RmiSettings and CandidateSettings. parts: the terms of the
    loss are recorded too.
    """

    title: str
    seed: int = 0
    shallow: bool = True
    image_size: int = 0
    rmi: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    parts: bool = False


SETTINGS = {
    BASE: Setting("as `combined_rmi` takes it", parts=True),
    "batch_1": Setting("a second batch, other weights", seed=1),
    "batch_2": Setting("a third one", seed=2),
    "batch_3": Setting("a fourth one", seed=3),
    "cka": Setting("CKA alone", rmi={"beta": 1.0}),
    "cross_entropy": Setting("cross-entropy alone", rmi={"beta": 0.0}),
    "unbiased": Setting("unbiased HSIC", rmi={"hsic": "unbiased"}),
    "16px": Setting("16 px for the candidate", image_size=16),
    "slow": Setting("a quarter of the learning rate", training={"lr": 0.025}),
    "fast": Setting("four times the learning rate", training={"lr": 0.4}),
    "half_batch": Setting("16 images", rmi={"batch_size": 16}),
    FULL: Setting("five cells a stage, as published", shallow=False),
}
AVERAGED = (BASE, "batch_1", "batch_2", "batch_3")
STAGES = 3


@dataclass(frozen=True)
class Recording:
    """A loss that keeps its terms: the cross-entropy and 1 - CKA of every stage, of every forward pass."""

    loss: RmiLoss
    seen: list[list[float]] = field(default_factory=list)

    def __call__(self, logits: Tensor, taps: Sequence[Tensor]) -> Tensor:
        import torch

        with torch.no_grad():
            terms = [replace(self.loss, beta=0.0)(logits, taps)]
            for stage, tap in enumerate(taps):
                alone = replace(self.loss, targets=self.loss.targets[stage : stage + 1], beta=1.0)
                terms.append(alone(logits, [tap]))
            self.seen.append([round(float(term), 5) for term in terms])
        return self.loss(logits, taps)

    def each(self, logits: Tensor, taps: Sequence[Tensor]) -> Tensor:
        return self.loss.each(logits, taps)


# measuring ---------------------------------------------------------------------------------------------------------


class Trainer:
    """Evaluators by setting, made when asked for: they share the images and the teacher."""

    def __init__(self, space: SearchSpace, data: Path) -> None:
        self.space, self.context = space, rmi_context(space, data)
        self.made = cache(self._make)

    def _make(self, name: str) -> RmiEvaluator:
        from rminas.rmi import make_rmi

        setting = SETTINGS[name]
        plain = self.context.settings["rmi"]
        rmi = replace(plain, **setting.rmi, training=replace(plain.training, **setting.training))
        context = replace(
            self.context,
            seed=setting.seed,
            space=self.space.shallow() if setting.shallow else self.space,
            image_size=setting.image_size,
            load_images=lambda: self.context.images,
            load_teacher=lambda: self.context.teacher,
            settings={"rmi": rmi},
        )
        return make_rmi(context)

    def evaluator(self, name: str, updates: int) -> RmiEvaluator:
        made = self.made(name)
        return replace(made, training=replace(made.training, steps=updates))


def train(data: Path, folder: Path, cells: int) -> None:
    import torch

    torch.set_num_threads(1)
    table = load_table(SETS[DEVELOPMENT], data)
    assert table.space is not None
    trainer = Trainer(table.space, data)
    config = {"set": DEVELOPMENT, "sha256": table.source.sha256, "updates": UPDATES}
    with RunFolder.open(folder / DEVELOPMENT, config) as run:
        done = {(record["arch"], record["setting"]) for record in run.records()}
        for row in sample_rows(DEVELOPMENT, table, data)[:cells]:
            arch = table.arch(row)
            text = table.space.format(arch)
            for name, setting in SETTINGS.items():
                if (text, name) in done:
                    continue
                started, evaluator = time.process_time(), trainer.evaluator(name, UPDATES)
                recording: Any = Recording(evaluator.loss)
                if setting.parts:
                    evaluator = replace(evaluator, loss=recording)
                losses = -evaluator.evaluate(arch).trajectory
                record = {
                    "arch": text,
                    "setting": name,
                    "losses": [round(float(loss), 6) for loss in losses],
                    "accuracy": {column: table.columns[column].values[row] for column in SETS[DEVELOPMENT].columns},
                    "revision": revision(),
                    "cpu_s": round(time.process_time() - started, 3),
                }
                run.append(record | ({"parts": recording.seen} if setting.parts else {}))


def count(data: Path, folder: Path) -> None:
    """FLOPs of trainings of one and of two updates, of the cells whose price by the scores is known."""
    table = load_table(SETS[DEVELOPMENT], data)
    assert table.space is not None
    trainer, cells = Trainer(table.space, data), _price()["archs"]
    found: dict[str, list[list[int]]] = {}
    for name in SETTINGS:
        found[name] = []
        for text in cells:
            arch = table.space.parse(text)
            trained_by = [partial(trainer.evaluator(name, updates).evaluate, arch) for updates in (1, 2)]
            found[name].append([flops_of(run) for run in trained_by])
    write_json(folder / "flops.json", {"environment": environment("cpu"), "archs": cells, "flops": found})


# what the records say ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """Something that orders architectures: values by row of its sample, and GFLOP a candidate. curve: what it joins."""

    title: str
    gflop: float
    values: np.ndarray
    curve: str = ""


def _price() -> dict[str, Any]:
    return dict(json.loads((SCORES / "price.json").read_text()))


@cache
def gflop(name: str, updates: int) -> float:
    """Of a training of so many updates and the forward pass after them, the median over the counted cells."""
    one, two = np.array(json.loads((RESULTS / "flops.json").read_text())["flops"][name]).T
    return float(np.median(one + (updates - 1) * (two - one))) / 1e9


def information(losses: np.ndarray, updates: int) -> np.ndarray:
    """(n,) the negative mean logarithm of positive losses (n, updates + 1 or more) after 1, 2, ... updates."""
    return np.asarray(-np.log(losses[:, 1 : updates + 1]).mean(-1))


def points(measured: Measured) -> list[Point]:
    """Scores, losses and both together, of the reported cells that were trained."""
    from rminas.combined_rmi import POWER

    rows, price, space = measured.trained, _price(), make_space("nasbench201")
    cost = {name: float(np.median(flops)) / 1e9 for name, flops in price["flops"].items()} | {"params": 0.0}
    found = [Point(name, cost[name], measured.scores[name][rows]) for name in ("params", *PASS, *OTHERS)]
    combined = measured.scores["combined"][rows]
    found.append(Point("combined", cost["combined"], combined))
    archs = [space.parse(measured.records[row]["arch"]) for row in rows]
    for updates in STEPS:
        price_of, logs = gflop(BASE, updates), information(measured.losses, updates)
        smooth = make_predictor("gp").fit(archs=archs, values=logs, space=space).predict(archs)
        many = f"{updates} update{'s' if updates > 1 else ''}"
        found += [
            Point(f"RMI, last loss after {many}", price_of, -measured.losses[:, updates], "RMI, last loss"),
            Point(f"RMI, all losses up to {many}", price_of, logs, "RMI, all losses"),
            Point(f"RMI, all losses up to {many}, smoothed", price_of, smooth, "RMI, all losses, smoothed"),
        ]
        dearer = cost["combined"] + price_of
        smooth_logs = smooth * logs.std()  # what is predicted is in standard deviations
        found += [
            Point(f"combined and RMI, {many}", dearer, combined + POWER * logs, BOTH),
            Point(f"combined and RMI, {many}, smoothed", dearer, combined + POWER * smooth_logs, f"{BOTH}, smoothed"),
        ]
    return found


PUBLISHED_STEPS = (10, 30, 60, 100, 150)


def published() -> list[tuple[int, list[float]]]:
    """Updates, and the taus of the published loss over the random networks of every published search."""
    seeds = tables_cheaper.said()["random"][tables_cheaper.FULL]
    return [(step, tables_cheaper.of_step(seeds, "tau", step, 0.0)) for step in PUBLISHED_STEPS]


def _said(scores: Sequence[np.ndarray], truth: np.ndarray) -> str:
    if len(scores) == 1:
        return with_interval(scores[0], truth)
    return "{:+.3f} ({:+.2f} to {:+.2f})".format(*spread_of(scores, truth))


@dataclass(frozen=True)
class Trained:
    """The development cells that were trained by every setting."""

    archs: list[str]
    losses: dict[str, np.ndarray]  # by setting, (n, updates + 1)
    parts: np.ndarray  # (n, updates + 1, 1 + STAGES): cross-entropy, and 1 - CKA by stage
    accuracy: np.ndarray  # (n,), percent
    combined: np.ndarray  # (n,)


def trained(folder: Path) -> Trained:
    records = RunFolder(folder / DEVELOPMENT).records()
    by_setting = {name: {r["arch"]: r for r in records if r["setting"] == name} for name in SETTINGS}
    archs = [arch for arch in by_setting[BASE] if all(arch in found for found in by_setting.values())]
    scored = Measured(DEVELOPMENT, SCORES)
    rows = {record["arch"]: row for row, record in enumerate(scored.records)}
    return Trained(
        archs,
        {name: np.array([found[arch]["losses"] for arch in archs]) for name, found in by_setting.items()},
        np.array([by_setting[BASE][arch]["parts"] for arch in archs]),
        np.array([by_setting[BASE][arch]["accuracy"][COLUMN] for arch in archs]),
        np.array([scored.scores["combined"][rows[arch]] for arch in archs]),
    )


# the page ----------------------------------------------------------------------------------------------------------


@cache
def shown() -> tuple[Measured, list[Point], Trained]:
    """What page and figure are made from: the reported cells, what orders them, and the development cells."""
    measured = Measured(REPORTED, SCORES)
    return measured, points(measured), trained(RESULTS)


def page() -> str:
    measured, every, made = shown()
    lines = ["# What the RMI loss tells, and what it costs", "", INTRODUCTION, "", WORTH, ""]
    lines += ["![tau against GFLOP a candidate](rmi_price.png)", "", *_curve(measured, every), ""]
    lines += ["## What the losses add to `combined`", "", ADDED, "", *_added(measured, every), ""]
    lines += ["## Where the information is", "", SETTINGS_TEXT, "", *_settings(made), ""]
    return "\n".join(lines)


def _table(*columns: str) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _truths(measured: Measured) -> dict[str, np.ndarray]:
    return {column: values[measured.trained] for column, values in measured.accuracy.items()}


def _curve(measured: Measured, every: Sequence[Point]) -> Iterator[str]:
    truths = _truths(measured)
    fronts = {column: front(every, truth) for column, truth in truths.items()}
    yield f"{len(measured.trained)} random NAS-Bench-201 cells; **bold**: on the Pareto front with the price."
    yield ""
    yield from _table("ordered by", "GFLOP a candidate", "share of the published price", *truths)
    whole = gflop(FULL, 150)
    for place in sorted(range(len(every)), key=lambda place: every[place].gflop):
        point = every[place]
        cells = []
        for column, truth in truths.items():
            said = _said([point.values], truth) if column == COLUMN else f"{tau(point.values, truth):.3f}"
            cells.append(f"**{said}**" if place in fronts[column] else said)
        share = f"1/{whole / point.gflop:.0f}" if point.gflop else "0"
        yield f"| {point.title} | {point.gflop:.2f} | {share} | {' | '.join(cells)} |"
    for updates, taus in published():
        price = gflop(FULL, updates)
        title = f"published loss, {updates} updates (other cells, {len(taus)} seeds)"
        yield f"| {title} | {price:.2f} | 1/{whole / price:.1f} | {spread(taus, 3)} | | |"


def front(every: Sequence[Point], truth: np.ndarray) -> set[int]:
    taus = np.array([tau(point.values, truth) for point in every])
    return {*pareto_front(taus, np.array([point.gflop for point in every])).tolist()}


def _added(measured: Measured, every: Sequence[Point]) -> Iterator[str]:
    truths = _truths(measured)
    alone = next(point for point in every if point.title == "combined")
    yield from _table("less `combined` alone", *truths)
    for point in every:
        if point.curve.startswith(BOTH):
            cells = [_said([point.values, alone.values], truth) for truth in truths.values()]
            yield f"| {point.title} | {' | '.join(cells)} |"


def _settings(made: Trained) -> Iterator[str]:
    from rminas.combined_rmi import POWER

    truth = made.accuracy
    base = information(made.losses[BASE], UPDATES)
    steps = [step for step in STEPS if step >= 5]
    yield from _table(
        "setting", f"GFLOP, {UPDATES} updates", *(f"all losses up to {step}" for step in steps),
        f"last loss, {UPDATES}", "less the first row's", "with `combined`",
    )  # fmt: skip

    def row(title: str, cost: float, values: Sequence[np.ndarray], last: np.ndarray | None) -> str:
        cells = [f"{kendall_tau(value, truth):.3f}" for value in values[:-1]]
        cells += [_said([values[-1]], truth), "" if last is None else f"{kendall_tau(last, truth):.3f}"]
        cells += ["" if values[-1] is base else _said([values[-1], base], truth)]
        cells += [f"{kendall_tau(made.combined + POWER * values[-1], truth):.3f}"]
        return f"| {title} | {cost:.1f} | {' | '.join(cells)} |"

    for name, setting in SETTINGS.items():
        losses = made.losses[name]
        values = [information(losses, step) for step in steps[:-1]]
        values.append(base if name == BASE else information(losses, UPDATES))
        yield row(setting.title, gflop(name, UPDATES), values, -losses[:, -1])
    for many in (2, len(AVERAGED)):
        values = [np.mean([information(made.losses[name], step) for name in AVERAGED[:many]], axis=0) for step in steps]
        cost = sum(gflop(name, UPDATES) for name in AVERAGED[:many])
        yield row(f"the first {many} batches, mean", cost, values, None)
    terms = {"cross-entropy": 0} | {f"1 - CKA of stage {stage}": stage for stage in range(1, STAGES + 1)}
    for title, place in terms.items():
        values = [information(made.parts[:, :, place], step) for step in steps]
        yield row(f"{title}, read from the first row's trainings", gflop(BASE, UPDATES), values,
                  -made.parts[:, -1, place])  # fmt: skip
    yield ""
    yield f"{len(truth)} development cells, {COLUMN}; `combined` alone: {_said([made.combined], truth)}."


def draw(measured: Measured, every: Sequence[Point], made: Trained) -> Figure:
    """Left the reported cells: scores, losses, both, and the front. Right the settings on the development cells."""
    from common.drawing.figures import new_figure

    figure = new_figure(13, 4.8, "constrained")
    left, right = figure.subplots(1, 2)
    truth = _truths(measured)[COLUMN]
    least = min(point.gflop for point in every if point.gflop) / 3  # what costs nothing is drawn here
    heights = np.array([tau(point.values, truth) for point in every])
    curves = dict.fromkeys(point.curve for point in every if point.curve)
    for color, curve in zip(("#b0b0b0", "#d08a2e", "#7a3b8f", "#2f5d8a", "#5aa9c9"), curves, strict=True):
        x, y, errors = [], [], []
        for point, height in zip(every, heights, strict=True):
            if point.curve == curve:
                _, low, high = spread_of([point.values], truth)
                x.append(point.gflop)
                y.append(height)
                errors.append((height - low, high - height))
        left.errorbar(x, y, np.transpose(errors), fmt="o-", color=color, markersize=4, capsize=2, label=curve)
    for place, (point, height) in enumerate(zip(every, heights, strict=True)):
        if not point.curve:
            main = point.title == "combined"
            mark, size = ("*", 11) if main else (".", 5)
            left.plot(max(point.gflop, least), height, mark, color="black", markersize=size)
            shift = (-20, 9) if main else (3, -7 if place % 2 else 2)
            left.annotate(point.title, (max(point.gflop, least), height), shift, fontsize=7, textcoords="offset points")
    steps, taus = [gflop(FULL, step) for step, _ in published()], [mean_std(made)[0] for _, made in published()]
    left.plot(steps, taus, "s--", color="#a33", markersize=4, label="published loss (other cells)")
    on = sorted(front(every, truth), key=lambda place: every[place].gflop)
    x = [max(every[place].gflop, least) for place in on]
    left.step([*x, max(steps)], [*heights[on], heights[on][-1]], where="post", color="#393", linewidth=1, zorder=0,
              label="Pareto front")  # fmt: skip
    left.set_title(f"{len(truth)} reported cells", fontsize=10)
    left.set_ylabel("Kendall tau with CIFAR-10 accuracy")
    left.legend(fontsize=7, loc="lower right")
    for name, setting in SETTINGS.items():
        if name not in AVERAGED[1:]:
            heights = np.array([kendall_tau(information(made.losses[name], s), made.accuracy) for s in STEPS])
            right.plot([gflop(name, s) for s in STEPS], heights, "o-", markersize=3, linewidth=1,
                       label=setting.title.replace("`", ""))  # fmt: skip
    x = [sum(gflop(name, s) for name in AVERAGED) for s in STEPS]
    means = [np.mean([information(made.losses[name], s) for name in AVERAGED], axis=0) for s in STEPS]
    right.plot(
        x, [kendall_tau(m, made.accuracy) for m in means], "ko-", markersize=3, linewidth=1, label="four batches"
    )
    right.axhline(kendall_tau(made.combined, made.accuracy), color="black", linestyle=":", label="combined")
    right.set_title(f"{len(made.accuracy)} development cells, all losses up to 1, 2, 5, 10, 20 updates", fontsize=10)
    right.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="GFLOP a candidate")
    return figure


INTRODUCTION = f"""Made by `{PROG} page` from the records in [scores/](scores/) and
[rmi_price/](rmi_price/) (`{PROG} flops`, `train`). The loss is that of the shallow network
(one cell a stage) on 32 images; GFLOP are torch's count, backward passes included, medians over three cells; the
teacher's passes, once for all candidates, are left out. "All losses": the negative mean of the logarithms of the losses
after 1, 2, ... updates. "Smoothed": the prediction of a Gaussian process on graph features that was fitted to these of
the sample itself; no accuracy is used. Intervals (95 %) are over the architectures; batch and weights are one seed."""
WORTH = """In short. Alone, the loss is not worth its price on NAS-Bench-201 where training-free scores are allowed:
neither as published nor made cheaper is it on the front. Whoever wants it all the same takes a shallow network, counts
all losses, and lets a predictor smooth them, which costs nothing. Beside `combined` it is worth its price only where an
interval of the second table is above 0; its power there was chosen with an earlier combination. What it knows is in the
representations: the third table's cross-entropy, alone or read from the same trainings, tells nothing."""
ADDED = """Differences of tau, with intervals of the differences (the same resampled cells): an interval that holds 0
says that the losses may add nothing."""
SETTINGS_TEXT = """Development cells, none of which is above. What differs from the first row is told; seeds of batch
and weights are one a row. "With `combined`": tau of `combined` and twice the losses, as `combined_rmi` adds them.
These cells are few: only what has an interval without 0 in "less the first row's" is told apart from the first row."""


def main() -> None:
    from common.drawing import save_figure

    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("part", choices=("train", "flops", "page"))
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where images, teacher and tables are")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--cells", type=int, default=CELLS, help="development cells")
    args = parser.parse_args()
    if args.part == "page":
        write_atomic(RESULTS.with_suffix(".md"), lambda out: out.write(page().encode()))
        save_figure(draw(*shown()), RESULTS)
        return
    if args.data is None:
        raise InputError("--data names the folder of images, teacher and tables")
    if args.part == "train":
        train(args.data, args.results, args.cells)
    else:
        count(args.data, args.results)


if __name__ == "__main__":
    run_command(PROG, main)
