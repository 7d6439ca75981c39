"""What a run says at its end: summary and the report on the terminal, made from its records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.benchmarks import BUILT_IN
from common.benchmarks.table import PERCENT, accuracy_line
from common.metrics import number, summarize_series, with_spread

if TYPE_CHECKING:
    from renas.experiment import Experiment

PROG = "python -m renas.report"
AVERAGED = ("kendall_tau", "kendall_tau_labelled", "spearman", "proposed_acc", "train_s", "score_s", "search_s")
AVERAGED_FOUND = ("valid_acc", "test_acc", "rank", "rank_percent", "regret")
# Of a record, what only its own line in evaluations.jsonl holds: long lists.
LONG = ("loss", "train_tau", "trained", "candidates", "evaluated", "phases")


def summarize(experiment: Experiment, records: list[dict[str, Any]], environment: dict[str, Any]) -> dict[str, Any]:
    """The run's summary: accuracies in percent, times in seconds, mean and sample standard deviation over the seeds."""
    table, columns = experiment.table, experiment.columns
    series = {key: [number(r[key]) for r in records] for key in AVERAGED if key in records[0]}
    series |= {key: [number(r["found"][key]) for r in records] for key in AVERAGED_FOUND}
    choice = experiment.predictor
    summary: dict[str, Any] = {
        "method": "ReNAS",
        "space": table.space.name if table.space else "tensors",
        "dataset": columns.report.dataset,
        "protocol": experiment.protocol,
        "label": columns.label.name,
        "report": columns.report.name,
        "note": columns.note,
        "search": experiment.search,
        "predictor": None if choice is None else f"{choice.name} on {choice.encoding}",
        "budget": experiment.budget,
        "limits": experiment.limits.given,
    }
    if experiment.predicts:
        summary |= {"n_train": experiment.n_train, "n_test": records[0]["n_test"]}
    stats, best = summarize_series(series), float(np.nanmax(columns.report.values))
    return summary | {
        "n": len(records),
        "best": best,  # of the reported column
        "accuracy": accuracy_line(stats["mean"]["test_acc"], best, table.source.kind == BUILT_IN),
        "source": {k: getattr(table.source, k) for k in ("kind", "title", "path", "bytes", "sha256")},
        "runs": [{key: value for key, value in record.items() if key not in LONG} for record in records],
        **stats,
        "environment": environment,
    }


def check_record(experiment: Experiment, record: Mapping[str, Any]) -> None:
    """Fails, in any way, where a record lacks something that is used of it, or it is of another table."""
    rows = range(len(experiment.table))
    found, best = record["found"], record.get("best_trained")
    numbers = [found[key] for key in ("label", *AVERAGED_FOUND)] + [record[key] for key in AVERAGED if key in record]
    numbers += [found["rank"], found["rank_percent"]] if best is None else [best["test_acc"]]
    needed = ("n_test", "trained", "kendall_tau", "spearman", "train_s", "score_s")
    for key in needed if experiment.predicts else ("search_s", "ended"):
        record[key]
    if not all(value is None or type(value) in (int, float) for value in numbers):
        raise ValueError("text in the place of numbers")
    if not all(type(row) is int and row in rows for row in (*record["evaluated"], *record.get("trained", ()))):
        raise ValueError("rows that the table lacks")
    if type(record["seed"]) is not int or found["index"] not in rows or not isinstance(found["arch"], str):
        raise ValueError("no seed or no architecture")


def terminal_report(experiment: Experiment, summary: dict[str, Any], folder: Path) -> str:
    """The report for people; its last line is the demo's."""
    table, columns = experiment.table, experiment.columns
    title = table.space.title if table.space else "prepared feature tensors"
    on = f", {summary['dataset']}" if summary["dataset"] else ""
    lines = [f"ReNAS on {title}{on}: {len(table):,} architectures from {table.source.title}"]
    if experiment.limits.given:
        lines.append("within " + ", ".join(f"{name} {bound}" for name, bound in experiment.limits.given.items()))
    lines += _what_was_done(experiment)
    if columns.note:
        lines.append(f"note: {columns.note}")
    lines += _predicted(summary) if experiment.predicts else _evaluated(summary)
    best = max(summary["runs"], key=lambda run: number(run["found"]["label"], -math.inf))["found"]
    unit = " %" if columns.report.unit == PERCENT else ""
    means = [f"tau {plus_minus(summary, 'kendall_tau', 3)}"] if experiment.predicts else []
    means.append(f"found {plus_minus(summary, 'test_acc', 2)}{unit}")
    means.append(f"regret {plus_minus(summary, 'regret', 2)}")
    lines += [
        "",
        f"{', '.join(means)} (n = {summary['n']})",
        f"found: {best['arch']} (row {best['index']}, rank {best['rank']} of {len(table):,})",
        f"files: {folder}",
        f"search model acc: {summary['accuracy']}",
    ]
    return "\n".join(lines)


def plus_minus(summary: dict[str, Any], key: str, digits: int) -> str:
    """Mean and deviation over the seeds; one seed has no deviation."""
    return with_spread(summary["mean"][key], summary["std"][key], summary["n"], digits)


def _what_was_done(experiment: Experiment) -> list[str]:
    columns, choice = experiment.columns, experiment.predictor
    label, reported = columns.label.name, f"its {columns.report.name} is reported"
    if not experiment.predicts:
        which = f"search {experiment.search}" + (f" with {choice.name} on {choice.encoding}" if choice else "")
        spent = f"{experiment.budget:,} architectures evaluated"
        if experiment.seconds is not None:
            spent = f"{experiment.budget_seconds:,g} s of training ({experiment.seconds.name})"
        return [f"{which}: {spent}; the best by {label}; {reported}"]
    assert choice is not None
    chosen_from = f"the predictor's {experiment.count}" + (" and these" if experiment.protocol == "honest" else "")
    return [
        f"protocol {experiment.protocol}: {choice.name} trained on {label} of {experiment.n_train:,} architectures; "
        f"the best by {label} of {chosen_from}; {reported}"
    ]


def _predicted(summary: dict[str, Any]) -> list[str]:
    lines = [
        f"Kendall tau and Spearman over the {summary['n_test']:,} architectures not trained on",
        "",
        "  seed     tau  spearman     found    rank  regret  best trained  train s  score s",
    ]
    for run in summary["runs"]:
        found, trained = run["found"], run["best_trained"]
        lines.append(
            f"{run['seed']:6d}  {number(run['kendall_tau']):6.3f}  {number(run['spearman']):8.3f}  "
            f"{found['test_acc']:8.2f}  {found['rank']:6d}  {found['regret']:6.2f}  "
            f"{trained['test_acc'] if trained else float('nan'):12.2f}  {run['train_s']:7.1f}  {run['score_s']:7.1f}"
        )
        if math.isnan(number(run["kendall_tau"])):
            lines.append(f"{'':8s}no ranking: training diverged or the scores are all the same; try a lower --lr")
    return lines


def _evaluated(summary: dict[str, Any]) -> list[str]:
    timed = "spent_seconds" in summary["runs"][0]
    lines = ["", "  seed     found    rank  regret  search s" + "  evaluations  seconds spent" * timed]
    for run in summary["runs"]:
        found = run["found"]
        lines.append(
            f"{run['seed']:6d}  {found['test_acc']:8.2f}  {found['rank']:6d}  {found['regret']:6.2f}  "
            f"{run['search_s']:8.1f}" + (f"  {run['evaluations']:11,d}  {run['spent_seconds']:13,.0f}" if timed else "")
        )
        if run["ended"]:
            lines.append(f"{'':8s}ended early: {run['ended']}")
        if "front" in run:
            lines += front_lines(run["front"])
    return lines


def front_lines(front: Mapping[str, Any]) -> list[str]:
    """The front of one seed for people: cost, value and architecture of each member."""
    lines = [f"{'':8s}front of {len(front['members'])}, {front['share']:.1%} of the hypervolume of the table's:"]
    lines += [f"{'':8s}{m['cost']:14,d} {front['cost']}  {m['value']:8.2f}  {m['arch']}" for m in front["members"]]
    return lines


def main(argv: list[str] | None = None) -> None:
    """Writes finished runs as one page of HTML."""
    from common.page.command import page_command

    page_command(PROG, argv)


if __name__ == "__main__":
    from common.cli import run_command

    run_command(PROG, main)
