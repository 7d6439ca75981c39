"""What a run says at its end: summaries, plots and the reports on the terminal, all made from its records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.benchmarks.table import accuracy_line
from common.metrics import bootstrap_interval, mean_std, number, summarize_series, with_spread
from common.search.screening import INITIAL
from rminas.accuracy import PREDICTED
from rminas.forest import WARMUP

if TYPE_CHECKING:
    from common.search import History
    from common.spaces import SearchSpace
    from rminas.accuracy import AccuracyTable
    from rminas.search import SearchOutcome

PROG = "python -m rminas.report"
AVERAGED = ("kendall_tau", "kendall_tau_trained", "spearman", "evaluations", "positives", "search_s")
AVERAGED_FOUND = ("test_acc", "rank", "regret")


def summarize(runs: list[dict[str, Any]], shared: dict[str, Any]) -> dict[str, Any]:
    """A search's summary: what its seeds share, each seed's finding, mean and sample standard deviation over them."""
    series = {key: [float(run[key]) for run in runs] for key in AVERAGED}
    series |= {key: [number(run["found"][key]) for run in runs] for key in AVERAGED_FOUND}
    stats, benchmark = summarize_series(series), shared["benchmark"]
    return {
        **shared,
        "n": len(runs),
        "runs": runs,
        **stats,
        "accuracy": accuracy_line(stats["mean"]["test_acc"], benchmark["best"], benchmark["built_in"])
        + f" ({PREDICTED})" * (benchmark["kind"] == PREDICTED),
    }


def as_loss(evaluator: str, value: float) -> tuple[str, float]:
    """What people call an evaluator's value, and the number they know it by."""
    return ("loss", -value) if evaluator == "rmi" else (evaluator, value)


def terminal_report(summary: dict[str, Any], folder: Path) -> str:
    """The report of a search for people; its last line is like that of the ReNAS demo."""
    n, runs, mean, std = summary["n"], summary["runs"], summary["mean"], summary["std"]
    evaluator = summary["evaluator"]
    called, _ = as_loss(evaluator, 0.0)
    best = f"{'lowest' if called == 'loss' else 'highest'} {called}"
    lines = [
        *_head(summary),
        f"candidates evaluated: {summary['executor']}",
        f"tau is Kendall's between {'-' if called == 'loss' else ''}{called} and accuracy over the evaluated cells, "
        "stopped ones below all others",
        "",
        f"  seed  evaluations  positives  voters     tau    found %    rank  regret  {best + ' %':>{len(best) + 2}}  "
        "search s",
    ]
    for run in runs:
        found = run["found"]
        rank = number(found["rank"])
        lines.append(
            f"{run['seed']:6d}  {run['evaluations']:11d}  {run['positives']:9d}  {run['voters']:6d}  "
            f"{run['kendall_tau']:6.3f}  {found['test_acc']:9.2f}  {rank:6.0f}  {found['regret']:6.2f}  "
            f"{run['best_value']['test_acc']:{len(best) + 2}.2f}  {run['search_s']:8.1f}"
        )
    lines += ["", *(f"seed {run['seed']} gave up: {run['gave_up']}" for run in runs if run["gave_up"])]
    known = not math.isnan(mean["test_acc"])
    rules = [rule for rule in runs[0]["chosen_by"] if all(rule in run["chosen_by"] for run in runs)] if known else []
    for rule in rules:
        acc, spread = mean_std(number(run["chosen_by"][rule]["test_acc"]) for run in runs)
        lines.append(f"chosen by {rule:6} {with_spread(acc, spread, n, 2)} %")
    lines += _stage_lines([run["stages"] for run in runs])
    cost = f"{mean['search_s']:.1f} s (n = {n})"
    if known:
        lines.append(
            f"found {with_spread(mean['test_acc'], std['test_acc'], n, 2)} %, regret "
            f"{with_spread(mean['regret'], std['regret'], n, 2)}, tau "
            f"{with_spread(mean['kendall_tau'], std['kendall_tau'], n, 3)}, {cost}"
        )
    else:
        title = summary["benchmark"]["title"]
        why = f"there is {title}" if _unknown(summary) else f"{title} does not hold it"
        lines.append(f"found, without an accuracy: {why}; {cost}")
    rows = ["" if (index := run["found"]["index"]) is None else f" (row {index})" for run in runs]
    for run in runs:
        front = run.get("front") or {"members": []}
        lines += [f"front: {m['cost']:,} {front['cost']}, {m['value']:.4f}: {m['arch']}" for m in front["members"]]
    lines += [f"found by seed {run['seed']}: {run['found']['arch']}{row}" for run, row in zip(runs, rows, strict=True)]
    if (latency := f"{PREDICTED}_latency_ms") in runs[0]["found"]:
        times = ", ".join(f"{number(run['found'][latency]):.1f}" for run in runs)
        lines.append(f"{PREDICTED} latency on a phone, {runs[0]['found']['resolution']} px: {times} ms")
    lines.append(f"files: {folder}")
    return "\n".join([*lines, f"search model acc: {summary['accuracy']}"] if known else lines)


def _stage_lines(stages: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """Of a screening: candidates, time and what was lost in accuracy, stage by stage, means over the seeds."""
    if not stages[0]:
        return []
    lines = ["", f"{'stage':24}  candidates left  seconds  of the time  best left %  lost"]
    for same in zip(*stages, strict=True):
        out, seconds, share, best, lost = (
            float(np.mean([number(stage[key]) for stage in same]))
            for key in ("out", "seconds", "share", "best_out", "lost")
        )
        lines.append(f"{same[0]['stage']:24}  {out:15.0f}  {seconds:7.1f}  {share:11.0%}  {best:11.2f}  {lost:4.2f}")
    return [*lines, ""]


def _unknown(summary: Mapping[str, Any]) -> bool:
    """Whether there is no table at all."""
    return math.isnan(number(summary["benchmark"]["best"])) and summary["benchmark"]["kind"] != PREDICTED


def rank_report(summary: dict[str, Any], folder: Path) -> str:
    """The report of a ranking for people: every score's taus, one seed below the other."""
    lines = _head(summary)
    for run in summary["runs"]:
        partial = run["n_common"] < run["n"]
        width = max(24, *(len(row["score"]) for row in run["rows"]))
        header = f"{'score':{width}}  {'n':>5}  {'kendall':>8}  {'spearman':>8}  {'s a cell':>9}"
        lines += [
            "",
            f"seed {run['seed']}: {run['n']} random cells, no two isomorphic, evaluated in {run['evaluate_s']:.1f} s",
        ]
        lines.append(header + (f"   on the {run['n_common']} cells that all scores have" if partial else ""))
        for row in run["rows"]:
            seconds = "" if row["evaluate_s"] is None else f"{row['evaluate_s']:.4f}"
            line = f"{row['score']:{width}}  {row['n']:5d}  {row['kendall_tau']:8.3f}  {row['spearman']:8.3f}"
            line += f"  {seconds:>9}"
            if partial:
                line += f"   {row['kendall_tau_common']:8.3f}  {row['spearman_common']:8.3f}"
            lines.append(line.rstrip())
        lines += [f"{row['score']} has no finite value of any cell" for row in run["rows"] if row.get("finite") == 0]
    return "\n".join([*lines, "", f"files: {folder}"])


def _head(summary: dict[str, Any]) -> list[str]:
    teacher, images, benchmark = summary["teacher"], summary["images"], summary["benchmark"]
    known = f"{benchmark['column']} of {benchmark['title']}, best {number(benchmark['best']):.2f} %"
    source = f": images from {images['source']}" if images else ""
    lines = [f"RMI-NAS on {summary['space']}, {summary['dataset_title']}{source}"]
    if teacher:
        lines.append(
            f"teacher {teacher['name']} ({teacher['weights']}), {teacher['test_acc']:.2f} % on "
            f"{teacher['test_images']:,} test images in {teacher['mode']} mode"
        )
    if benchmark["kind"] == PREDICTED:
        known = f"{benchmark['column']} by {benchmark['title']}"
    return [*lines, f"accuracies: {benchmark['title'] if _unknown(summary) else known}"]


def write_search_plot(
    outcomes: Sequence[SearchOutcome], evaluator: str, accuracies: AccuracyTable, folder: Path
) -> None:
    """`search.png`: what the search went by (first seed), that against the true accuracy, and what it had found when.

    All panels go by the scores that decide what is positive: losses, weighed by the cheap score where there is one. The
    second and third are left out where no accuracy is known.
    """
    known = [accuracies.accuracies(outcome.history.archs) for outcome in outcomes]
    some = any(np.isfinite(values).any() for values in known)
    figure, axes = _figure(3 if some else 1)
    name, sign = _axis(evaluator, weighed=outcomes[0].search.judged.weighing.slope != 0)
    first, judged, left = outcomes[0], outcomes[0].search.judged, axes[0]
    index = np.arange(len(judged.scores))
    for mask, color, label in ((~judged.positive, "tab:gray", "other"), (judged.positive, "tab:red", "positive")):
        if mask.any():
            left.plot(index[mask], sign * judged.scores[mask], ".", color=color, markersize=4, label=label)
    if np.isfinite(judged.threshold):
        left.axhline(sign * judged.threshold, color="tab:red", linewidth=1, label="threshold")
    random = sum(evaluation.phase in (WARMUP, INITIAL) for evaluation in first.history)
    if random:
        left.axvline(random - 0.5, color="black", linestyle=":", label="random | chosen")
    left.set(xlabel="evaluation", ylabel=name, title=f"seed {first.search.seed}")
    if left.get_legend_handles_labels()[0]:
        left.legend()
    if some:
        middle, few = axes[1], len(outcomes) <= 8
        for outcome, accuracy in zip(outcomes, known, strict=True):
            title = f"seed {outcome.search.seed}" if few else None
            middle.plot(sign * outcome.search.judged.scores, accuracy, ".", markersize=4, alpha=0.6, label=title)
        middle.set(xlabel=name, title=f"all evaluations of {len(outcomes)} seed{'s' * (len(outcomes) > 1)}")
        if few:
            middle.legend()
        _plot_progress(axes[2], outcomes, known, accuracies)
        _scale_accuracies(axes[1:], accuracies)
    _save(figure, folder / "search.png")


def _plot_progress(
    axes: Any, outcomes: Sequence[SearchOutcome], known: Sequence[np.ndarray], accuracies: AccuracyTable
) -> None:
    """The accuracy of the best by score so far, the mean of the seeds with its 95 % interval, beside baselines.

    Baselines: the largest network so far, for which nothing is trained, the table's median and its best.
    """
    space = outcomes[0].search.space
    for label, color, scores in (
        ("best score so far", "tab:blue", [outcome.search.judged.scores for outcome in outcomes]),
        (
            "most parameters so far",
            "tab:gray",
            [space.total_costs(space.to_codes(o.history.archs))[1] for o in outcomes],
        ),
    ):
        curves = [accuracy[_leaders(s)] for s, accuracy in zip(scores, known, strict=True)]
        longest = max(map(len, curves))  # a search that ended keeps what it had
        rows = np.array([np.concatenate([curve, np.full(longest - len(curve), curve[-1])]) for curve in curves])
        with_any = np.flatnonzero(np.isfinite(rows).any(0))
        steps, rows = with_any + 1, rows[:, with_any]
        axes.plot(steps, np.nanmean(rows, 0), color=color, label=label)
        if len(curves) > 1:
            low, high = np.array([bootstrap_interval(column, draws=500) for column in rows.T]).T
            axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    for number_found, outcome in enumerate(outcomes):
        if np.isfinite(found := accuracies.accuracy(outcome.found)):
            legend = None if number_found else "found"
            axes.plot(len(outcome.history), found, "*", color="tab:red", markersize=9, alpha=0.7, label=legend)
    if np.isfinite(accuracies.best):
        axes.axhline(accuracies.best, color="black", linewidth=1, linestyle="--", label="best of the table")
        median = float(np.nanmedian(accuracies.column.values))
        axes.axhline(median, color="black", linewidth=1, linestyle=":", label="median of the table (random choice)")
    band = ", band: 95 % interval" if len(outcomes) > 1 else ""
    axes.set(xlabel="evaluations", title=f"mean of {len(outcomes)} seed{'s' * (len(outcomes) > 1)}{band}")
    axes.legend(fontsize="small", loc="lower right")


def _leaders(scores: np.ndarray) -> np.ndarray:
    """(n,) after each of n evaluations, which of them has the highest score, the earliest of equals; NaN is lowest."""
    scores = np.nan_to_num(scores, nan=-np.inf, neginf=-np.inf, posinf=np.inf)
    rising = np.concatenate([[True], scores[1:] > np.maximum.accumulate(scores)[:-1]])
    return np.maximum.accumulate(np.where(rising, np.arange(len(scores)), 0))


def write_front_plot(space: SearchSpace, outcomes: Sequence[SearchOutcome], evaluator: str, folder: Path) -> None:
    """`front.png` and .pdf: values against the cost that they were traded for; of a search for a front only."""
    if not outcomes[0].front:
        return
    from common.drawing import draw_front, save_figure
    from common.search.pareto import costs_of

    kind = outcomes[0].front["cost"]
    seeds = [(o.history.values, costs_of(space, o.history.archs, kind)) for o in outcomes]
    save_figure(draw_front(seeds, kind, f"-{evaluator}" if evaluator == "rmi" else evaluator), folder / "front")


def write_rank_plot(
    histories: Mapping[str, History], summaries: list[dict[str, Any]], accuracies: AccuracyTable, folder: Path
) -> None:
    """`rank.png`: tau by number of updates where something trains, tau of every score, the first evaluator's values.

    All taus with 95 % intervals, of the architectures (first seed). Args: histories: of the first seed, by evaluator.
    """
    stepped, rows = bool(summaries[0]["kendall_tau_by_step"]), summaries[0]["rows"]
    figure, axes = _figure(1 + bool(rows) + stepped)
    name, history = next(iter(histories.items()))
    label, sign = _axis(name, weighed=False)
    panel = iter(axes)
    if stepped:
        by_step = next(panel)
        for summary in summaries:
            steps = np.arange(len(summary["kendall_tau_by_step"]))
            (line,) = by_step.plot(steps, summary["kendall_tau_by_step"], label=f"seed {summary['seed']}")
            band = np.array(summary["kendall_tau_interval_by_step"], dtype=np.float64)
            by_step.fill_between(steps, band[:, 0], band[:, 1], color=line.get_color(), alpha=0.15, linewidth=0)
        free = [row for row in rows if row["score"] in ("params", "FLOPs")]
        for row, style in zip(free, (":", "--"), strict=False):
            by_step.axhline(row["kendall_tau"], color="gray", linestyle=style, linewidth=1, label=row["score"])
        by_step.set(xlabel="updates", ylabel="Kendall tau of the values on the way", title="bands: 95 % intervals")
        by_step.legend()
    if rows:
        taus = next(panel)
        for summary, shift in zip(summaries, np.linspace(-0.25, 0.25, len(summaries) + 2)[1:-1], strict=True):
            middle = np.array([row["kendall_tau"] for row in summary["rows"]], dtype=np.float64)
            ends = np.array([row["kendall_tau_interval"] for row in summary["rows"]], dtype=np.float64).T
            places = np.arange(len(middle)) + shift
            taus.errorbar(middle, places, xerr=np.abs(ends - middle), fmt="o", markersize=4, capsize=2,
                label=f"seed {summary['seed']}")  # fmt: skip
        taus.set_yticks(range(len(rows)), [row["score"] for row in rows])
        taus.invert_yaxis()
        taus.axvline(0, color="black", linewidth=0.5)
        taus.set(xlabel="Kendall tau, with 95 % intervals", title=f"{summaries[0]['n']} random architectures")
        if len(summaries) > 1:
            taus.legend()
    values = next(panel)
    values.plot(sign * history.values, accuracies.accuracies(history.archs), ".", markersize=4)
    values.set(xlabel=label)
    _scale_accuracies([values], accuracies)
    _save(figure, folder / "rank.png")


def _axis(evaluator: str, weighed: bool) -> tuple[str, float]:
    """How an axis of scores is called, and the sign they are shown with."""
    name, sign = as_loss(evaluator, 1.0)
    return name + (", weighed by the cheap score" if weighed else ""), sign


def _scale_accuracies(panels: Sequence[Any], accuracies: AccuracyTable) -> None:
    """Accuracies so that all are seen: percent short of the best, plus a half, on a logarithmic scale, best above.

    A few networks at chance level would squeeze all others into a corner of a linear scale; which it is where nobody
    knows the best.
    """
    best = accuracies.best
    for axes in panels:
        axes.set_ylabel(f"{accuracies.column.name} (%)")
    if math.isnan(best):
        return

    def forward(values: np.ndarray) -> np.ndarray:
        return -np.log(np.maximum(best + 0.5 - values, 0.05))

    def inverse(values: np.ndarray) -> np.ndarray:
        return best + 0.5 - np.exp(-values)

    for axes in panels:
        low = float(np.nanmin([axes.dataLim.y0, best - 1.0]))
        axes.set_yscale("function", functions=(forward, inverse))
        axes.set_ylim(low - 0.06 * (best - low), best + 0.08)
        steps = (0.3, 1, 2, 5, 10, 20, 40, 80)
        axes.set_yticks([best, *(best - step for step in steps if best - step > low - 0.06 * (best - low))])
        axes.yaxis.set_major_formatter("{x:.1f}")


def _figure(columns: int) -> Any:
    from common.drawing.figures import new_figure

    figure = new_figure(5.5 * columns, 4.5, "constrained")
    axes = figure.subplots(1, columns, squeeze=False)
    return figure, list(axes[0])


def _save(figure: Any, path: Path) -> None:
    from common.drawing import write_figure

    write_figure(figure, path, dpi=120)


def main(argv: list[str] | None = None) -> None:
    """Writes finished runs as one page of HTML."""
    from common.page.command import page_command

    page_command(PROG, argv)


if __name__ == "__main__":
    from common.cli import run_command

    run_command(PROG, main)
