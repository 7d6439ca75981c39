"""ReNAS-1 ... ReNAS-6 side by side: what is seen (type matrix or full tensor) against how the predictor is trained.

Runs `python -m renas` once per variant (resumable: finished seeds are not run again) and writes the table from the run
folders' summaries alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from common.cli import OneLineParser, run_command
from common.runs import write_atomic

PROG = "python scripts/reproduce_renas_variants.py"


class Variant(NamedTuple):
    """A row of the paper's table. The reading of 1 ... 6 is inferred from the published numbers, not stated there."""

    name: str
    features: str
    loss: str
    continuous: bool
    paper: str  # NAS-Bench-101, 424 training cells: test accuracy (%), rank of the found cell (%)


VARIANTS = (
    Variant("ReNAS-1", "type", "mse", False, "92.36 ± 0.27 (16.93)"),
    Variant("ReNAS-2", "type,flops,params", "mse", False, "93.03 ± 0.21 (6.09)"),
    Variant("ReNAS-3", "type", "logistic", False, "93.43 ± 0.26 (1.50)"),
    Variant("ReNAS-4", "type,flops,params", "logistic", False, "93.90 ± 0.21 (0.04)"),
    Variant("ReNAS-5", "type", "logistic", True, "93.48 ± 0.18 (1.21)"),
    Variant("ReNAS-6", "type,flops,params", "logistic", True, "93.95 ± 0.11 (0.02)"),
)


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("--data_path", help="as of python -m renas")
    parser.add_argument("--dataset", help="as of python -m renas")
    parser.add_argument("--train_num", default="424", help="as of python -m renas")
    parser.add_argument("--seeds", default="10", help="as of python -m renas")
    parser.add_argument("--continuity", default="0.1", help="weight of the continuity term in ReNAS-5 and 6")
    parser.add_argument("--out", type=Path, default=Path("runs/renas_variants"), help="where the run folders go")
    parser.add_argument("--table", type=Path, help="write the table into this Markdown file too")
    args = parser.parse_args()

    from renas.cli import main as renas

    passed = ["--train_num", args.train_num, "--seeds", args.seeds]
    passed += ["--data_path", args.data_path] if args.data_path else []
    passed += ["--dataset", args.dataset] if args.dataset else []
    summaries = []
    for variant in VARIANTS:
        folder = args.out / variant.name
        flags = ["--features", variant.features, "--loss", variant.loss, "--out", str(folder)]
        flags += ["--continuity", args.continuity] if variant.continuous else []
        print(f"\n{variant.name}: {' '.join(flags[:4])}{' with continuity' if variant.continuous else ''}")
        renas([*passed, *flags])
        summaries.append(json.loads((folder / "summary.json").read_text()))
    text = table(summaries, args.continuity)
    print(f"\n{text}", end="")
    if args.table:
        write_atomic(args.table, lambda file: file.write(text.encode()))


def table(summaries: list[dict[str, Any]], continuity: str) -> str:
    """The table in Markdown, a row per variant in the order of VARIANTS."""
    first = summaries[0]
    environment = first["environment"]
    lines = [
        f"# ReNAS-1 ... ReNAS-6 on {first['space']}, {first['dataset']}",
        "",
        f"Data: {first['source']['title']} (SHA-256 {first['source']['sha256'][:16]}...). Protocol "
        f"{first['protocol']}: trained on {first['label']} of {first['n_train']} cells, reported {first['report']}; "
        f"tau over the {first['n_test']:,} cells not trained on. Continuity weight {continuity}. "
        "Mean ± sample standard deviation.",
        "",
        "'Found' is the best by label among the training cells and the predictor's ten; 'proposed' is the mean "
        "reported accuracy of the ten alone, where chance and the training sample have no part.",
        "",
        "| variant | features | loss | n | Kendall tau | found, test % | proposed, test % | rank of found, % "
        "| paper (NAS-Bench-101): test % (rank %) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for variant, summary in zip(VARIANTS, summaries, strict=True):
        mean, std = summary["mean"], summary["std"]

        def cell(key: str, digits: int, mean: dict[str, float] = mean, std: dict[str, float] = std) -> str:
            return f"{mean[key]:.{digits}f} ± {std[key]:.{digits}f}"

        features = "type matrix" if variant.features == "type" else "full tensor"
        loss = {"mse": "MSE", "logistic": "ranking"}[variant.loss] + (" + continuity" if variant.continuous else "")
        lines.append(
            f"| {variant.name} | {features} | {loss} | {summary['n']} | {cell('kendall_tau', 3)} "
            f"| {cell('test_acc', 2)} | {cell('proposed_acc', 2)} | {cell('rank_percent', 2)} | {variant.paper} |"
        )
    lines += [
        "",
        "Which of the paper's variants is which is inferred from its numbers (see README, limits). "
        f"Made by `{PROG}`; revision {environment['revision']}, torch {environment['torch']}, {environment['device']}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(PROG, main)
