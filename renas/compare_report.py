"""What a comparison says at its end: its summary, made from the records alone, and the report on the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.metrics import compare_paired, mean_std

if TYPE_CHECKING:
    from renas.compare import Member
    from renas.experiment import Experiment

SHOWN = (1 / 3, 2 / 3, 1.0)  # shares of the budget whose state the terminal shows
ROUNDED = 4  # decimals of curves


def summarize(members: Sequence[Member], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The summary of a comparison.

    Of every member, after each number of evaluations 1 ... budget, of the best architecture by the label until then:
    its regret (the pool's best label less its label), its reported value, and the shares of seeds that have chosen the
    pool's best by the label (`found`) or one of its best five (`top5`), or have evaluated the best by the reported
    column (`seen`). `paired` compares the two members with the least mean regret over all evaluations.
    """
    experiment = members[0].experiment
    optimum = optima(experiment)
    table, columns = experiment.table, experiment.columns
    found = {member.name: [r for r in records if r["member"] == member.name] for member in members}
    curves = {name: Curves.of(rows, experiment.budget, optimum) for name, rows in found.items()}
    return {
        "method": "comparison",
        "space": table.space.name if table.space else "tensors",
        "dataset": columns.report.dataset,
        "protocol": experiment.protocol,
        "label": columns.label.name,
        "report": columns.report.name,
        "unit": columns.label.unit,
        "note": columns.note,
        "budget": experiment.budget,
        "n_total": len(table),
        "limits": experiment.limits.given,
        **optimum,
        "source": {k: getattr(table.source, k) for k in ("kind", "title", "path", "bytes", "sha256")},
        "members": {
            member.name: {
                "settings": member.settings,
                "seeds": [int(r["seed"]) for r in found[member.name]],
                **curves[member.name].summary(),
                "seconds": mean_std(float(r["seconds"]) for r in found[member.name])[0],
            }
            for member in members
        },
        "paired": _paired(curves) if len(members) > 1 else None,
    }


def check_record(size: int, record: Mapping[str, Any]) -> None:
    """Fails, in any way, where a record lacks something that is used of it, or has rows beyond a table's `size`."""
    rows, values = record["rows"], [*record["label"], *record["report"], record["seconds"]]
    if not all(type(row) is int and 0 <= row < size for row in rows):
        raise ValueError("rows that the table lacks")
    if not all(value is None or type(value) in (int, float) for value in values) or record["seconds"] is None:
        raise ValueError("text in the place of numbers")
    if not len(rows) == len(record["label"]) == len(record["report"]):
        raise ValueError("lists of several lengths")
    if [type(record[key]) for key in ("member", "digest", "seed")] != [str, str, int]:
        raise ValueError("no member or no seed")


def optima(experiment: Experiment) -> dict[str, Any]:
    """What there is to be found: among all architectures that may be chosen, isomorphic ones once by the first row."""
    rows = np.flatnonzero(experiment.usable)[experiment.pool.rows]
    label, report = experiment.columns.label.values[rows], experiment.columns.report.values[rows]
    best = int(np.argmax(label))
    return {
        "n_pool": len(rows),
        "best_label": float(label[best]),
        "fifth_label": float(np.sort(label)[-5:][0]),
        "report_of_best_label": float(report[best]),
        "best_report": float(report.max()),
    }


class Curves:
    """How the searches of one member went: (seeds, budget) arrays.

    regret: best_label less the best label so far. report: the reported value of the architecture with that label.
    found: that label is best_label, or above; top5: fifth_label. seen: an architecture of best_report was evaluated.
    """

    def __init__(self, label: np.ndarray, report: np.ndarray, optimum: Mapping[str, float]) -> None:
        """label, report: (seeds, budget) as they were evaluated; -inf where a search had ended. NaN counts as that."""
        known = ~np.isnan(label) & ~np.isnan(report)
        label = np.where(known, label, -np.inf)
        best = np.maximum.accumulate(label, axis=1)
        # The place of the first evaluation that had the best label so far.
        improves = label > np.concatenate([np.full((len(label), 1), -np.inf), best[:, :-1]], axis=1)
        place = np.maximum.accumulate(np.where(improves, np.arange(label.shape[1]), 0), axis=1)
        self.regret = optimum["best_label"] - best
        self.report = np.where(np.isinf(best), np.nan, np.take_along_axis(report, place, axis=1))
        self.found = best >= optimum["best_label"]
        self.top5 = best >= optimum["fifth_label"]
        self.seen = np.maximum.accumulate(np.where(known, report, -np.inf), axis=1) >= optimum["best_report"]

    @classmethod
    def of(cls, records: Sequence[Mapping[str, Any]], budget: int, optimum: Mapping[str, float]) -> Curves:
        def padded(name: str) -> np.ndarray:
            rows = np.full((len(records), budget), np.nan)
            for row, record in zip(rows, records, strict=True):
                values = [math.nan if value is None else value for value in record[name]][:budget]
                row[: len(values)] = values
            return rows

        return cls(padded("label"), padded("report"), optimum)

    def summary(self) -> dict[str, Any]:
        counts = self.found.sum(axis=1)
        first = np.where(counts > 0, self.found.shape[1] - counts + 1, np.inf)  # the evaluation that found the best
        with np.errstate(invalid="ignore"):
            return {
                "n": len(self.regret),
                "regret": _bands(self.regret),
                "report": _bands(self.report),
                "found": _short(self.found.mean(axis=0)),
                "top5": _short(self.top5.mean(axis=0)),
                "seen": _short(self.seen.mean(axis=0)),
                "evaluations_to_best": [None if math.isinf(f) else int(f) for f in first],
                "final_regret": _short(self.regret[:, -1]),
                "final_report": _short(self.report[:, -1]),
            }


def _bands(values: np.ndarray) -> dict[str, list[float]]:
    """Mean, sample deviation, median and quartiles of (seeds, budget) values."""
    low, median, high = np.percentile(values, [25, 50, 75], axis=0, method="inverted_cdf")
    std = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
    return {
        "mean": _short(values.mean(axis=0)),
        "std": _short(std),
        "median": _short(median),
        "low": _short(low),
        "high": _short(high),
    }


def _short(values: np.ndarray) -> list[float]:
    return [round(float(value), ROUNDED) for value in values]


def _paired(curves: Mapping[str, Curves]) -> dict[str, Any]:
    """The best two members, seed by seed; a difference above 0 speaks for the first."""
    mean = {name: float(np.mean(np.where(np.isfinite(c.regret), c.regret, np.nan))) for name, c in curves.items()}
    order = sorted(mean, key=lambda name: math.inf if math.isnan(mean[name]) else mean[name])
    first, second = (curves[name] for name in order[:2])
    found: dict[str, Any] = {"first": order[0], "second": order[1]}
    for what, values in (
        ("mean_regret", (second.regret.mean(axis=1), first.regret.mean(axis=1))),
        ("final_regret", (second.regret[:, -1], first.regret[:, -1])),
        ("final_report", (first.report[:, -1], second.report[:, -1])),
    ):
        finite = np.isfinite(values).all()
        found[what] = asdict(compare_paired(*values)) if finite else None
    return found


# terminal ----------------------------------------------------------------------------------------------------------


def terminal_report(summary: Mapping[str, Any], folder: Path) -> str:
    """The report for people, made from a summary."""
    budget, members = summary["budget"], summary["members"]
    steps = sorted({max(1, round(budget * share)) for share in SHOWN})
    width = max(len(name) for name in members)
    best = f"{summary['best_label']:.2f} (reported {summary['report_of_best_label']:.2f})"
    lines = [
        f"{summary['n_pool']:,} architectures of {summary['source']['title']}, searched by {summary['label']}, "
        f"{summary['report']} reported",
        f"best label {best}, best reported {summary['best_report']:.2f}",
        "regret: best label less the best label so far; found: seeds that have the best label",
        "",
        " " * width + "".join(f"   after {step:<4d}" + " " * 22 for step in steps).rstrip(),
        f"{'search':{width}s}" + "".join("   regret +- std  reported   found" for _ in steps),
    ]
    for name, member in members.items():
        line = f"{name:{width}s}"
        for step in steps:
            regret, std = member["regret"]["mean"][step - 1], member["regret"]["std"][step - 1]
            found = round(member["found"][step - 1] * member["n"])
            line += f"  {regret:7.3f} +- {std:.2f} {member['report']['mean'][step - 1]:9.2f}  {found:3d}/{member['n']}"
        lines.append(line)
    if summary["note"]:
        lines.append(f"note: {summary['note']}")
    if summary["paired"]:
        lines += ["", *paired_lines(summary["paired"])]
    return "\n".join([*lines, f"files: {folder}"])


def paired_lines(paired: Mapping[str, Any]) -> list[str]:
    """The comparison of the best two, in words."""
    words = {
        "mean_regret": ("regret in the mean of all evaluations", "lower", "higher"),
        "final_regret": ("regret at the end", "lower", "higher"),
        "final_report": ("reported value at the end", "higher", "lower"),
    }
    lines = [f"{paired['first']} against {paired['second']}, seed by seed"]
    for what, (said, better, worse) in words.items():
        if made := paired[what]:
            mean, low, high, way = made["mean"], made["low"], made["high"], better
            if mean < 0:
                mean, low, high, way = -mean, -high, -low, worse
            lines.append(
                f"  {said}: {way} by {mean:.3f} [{low:.3f}, {high:.3f}] ({made['level']:.0%} bootstrap), "
                f"better on {made['better']} and worse on {made['worse']} of {made['n']} seeds, "
                f"sign test p = {made['p_value']:.2g}"
            )
    return lines
