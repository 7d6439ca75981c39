"""Rewrites the tables in README.md and docs/ from the summaries in docs/results, and from nothing else.

A table stands between `<!-- table NAME -->` and `<!-- end NAME -->`. A summary that is missing is an error: a table
never leaves a row out in silence.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import kill_trials
import machine_differences
import records
import simulate_cluster
from paper_tables import TABLES as PAPER_TABLES
from paper_tables import PaperTable, listing_page
from tables_darts import SEARCH as DARTS_SEARCH
from tables_renas import DATASETS, FOUND_201, LABELS, accuracy, on_201, tau
from tables_rminas import (
    AS_PUBLISHED,
    FEWER_UPDATES,
    IS_RACED,
    PUBLISHED_SEARCH,
    RACED_SEARCH,
    RACED_SEARCHES,
    RmiRun,
)
from tables_rminas import PUBLISHED as RMI_PUBLISHED

from common.cli import OneLineParser, run_command
from common.errors import InputError
from common.metrics import mean_std, with_spread
from common.runs import write_atomic

PROG = "python scripts/make_tables.py"
ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs/results"
RMINAS = RESULTS / "rminas"

Link = Callable[[Path], str]  # a file of ours as the address that the document with the table must use


def main() -> None:
    parser = OneLineParser(PROG, __doc__ or "")
    parser.add_argument("files", nargs="*", type=Path, help="documents to rewrite (default: README.md and docs/)")
    args = parser.parse_args()
    for file in args.files or documents():
        print(f"{file}: {'rewritten' if rewrite(file) else 'up to date'}")


def rewrite(file: Path) -> bool:
    """Makes the tables of a document anew; whether that changed it."""
    before = file.read_text(encoding="utf-8")
    after = with_tables(before, file.resolve().parent)
    if after != before:
        write_atomic(file, lambda out: out.write(after.encode()))
    return after != before


def documents() -> list[Path]:
    """The README and every page of docs/ that holds a table."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in pages if "<!-- table " in page.read_text(encoding="utf-8")]


def with_tables(text: str, folder: Path = ROOT) -> str:
    """`text` of a document in `folder` with every marked table made anew. Raises InputError for an unknown table."""

    def link(file: Path) -> str:
        return os.path.relpath(file, folder).replace(os.sep, "/")

    def make(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in TABLES:
            raise InputError(f"no table {name!r}; known: {', '.join(TABLES)}")
        return f"<!-- table {name} -->\n{TABLES[name](link)}\n<!-- end {name} -->"

    return re.sub(r"<!-- table (?P<name>\S+) -->\n.*?<!-- end (?P=name) -->", make, text, flags=re.DOTALL)


# the README's table ------------------------------------------------------------------------------------------------


def headline_table(link: Link) -> str:
    """One row a method, of NAS-Bench-201: what it costs, how well it ranks, what it finds, what its paper printed."""
    lines = [
        "| method | images | what it costs | Kendall tau | found, test % (n) | published |",
        "|---|---|---|---|---|---|",
    ]
    for dataset in DATASETS:
        kept, published = records.read(on_201(dataset).name), FOUND_201[dataset]
        lines.append(
            f"| [ReNAS]({link(RESULTS / 'papers.md')}#renas-201) | {dataset} | {LABELS} + 10 trained cells "
            f"| {records.spread(tau(kept), 3)} | {_found(accuracy(kept, 'found'), len(kept.records))} "
            f"| {published[0]:.2f} ± {published[1]:.2f} |"
        )
    acc, std = RMI_PUBLISHED["RMI-NAS"][0]["cifar10"]
    for what, where, run in (
        (AS_PUBLISHED, "rminas-201-published", PUBLISHED_SEARCH),
        (IS_RACED, "rminas-201", RACED_SEARCH),
    ):
        _, runs = _kept(run)
        found, taus, updates = ([run[key] for run in runs] for key in ("found", "kendall_tau", "updates"))
        accuracies = records.spread([cell["test_acc"] for cell in found], 2)
        lines.append(
            f"| [{what}]({link(RESULTS / 'papers.md')}#{where}) | cifar10 "
            f"| {sum(updates) / len(runs):,.0f} updates of small networks | {records.spread(taus, 3)} "
            f"| **{accuracies}** ({len(runs)}) | {acc:.2f} ± {std:.2f} |"
        )
    rows = (*_screening_rows(link), *_search_rows(link), *_predictor_rows(link), *_score_rows(link))
    return "\n".join([*lines, *rows])


def _found(accuracy: str, n: int) -> str:
    return f"**{accuracy}** ({n})" if n else "not yet"


def _screening_rows(link: Link) -> Iterator[str]:
    """Searches without labels."""
    for dataset in ("cifar10", "cifar100", "imagenet16"):
        file = RESULTS / "screening" / f"nb201_{dataset}_screening.json"
        s = _read(file)
        cost = f"one pass of {s['mean']['evaluations']:.0f} untrained networks"
        images = dataset if dataset != "imagenet16" else "imagenet16 (scores: a stand-in's images)"
        found = f"**{_pm(s, 'test_acc', 2)}** ({s['n']})"
        yield f"| [search without labels]({link(RESULTS / 'screening.md')}) | {images} | {cost} | | {found} | |"


def _search_rows(link: Link) -> list[str]:
    """Searches at one budget of trained cells, with what each has chosen by validation at the end."""
    file = RESULTS / "search" / "nasbench201_cifar10_q150.json"
    s = _read(file)
    rows = []
    for member, title in (
        ("active", "active search with a predictor"),
        ("evolution", "regularised evolution"),
        ("random", "random search"),
    ):
        found, n = s["members"][member]["report"], s["members"][member]["n"]
        accuracy = _spread(found["mean"][-1], found["std"][-1], n, 2)
        rows.append(f"| [{title}]({link(file)}) | cifar10 | {s['budget']} trained cells | | **{accuracy}** ({n}) | |")
    return rows


def _predictor_rows(link: Link) -> list[str]:
    """The predictor on graph features by number of labels, which are validation accuracies of one seed."""
    lines = (RESULTS / "predictors" / "nb201_cifar10" / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
    rows = []
    for labels in (156, 469):
        taus = [
            record["methods"]["auto"]["tau"]
            for record in map(json.loads, lines)
            if record["labels"] == labels and record["label"] == "validation, one seed"
        ]
        if not taus:
            raise InputError(f"no record with {labels} labels: run scripts/study_predictors.py first")
        rows.append(
            f"| [predictor on graph features]({link(RESULTS / 'predictors.md')}) | cifar10 | {labels} trained cells "
            f"| {_spread(*mean_std(taus), len(taus), 3)} ({len(taus)}) | | |"
        )
    return rows


def _score_rows(link: Link) -> list[str]:
    """Training-free scores against counting parameters, on the random cells of their study."""
    from report_scores import Measured, tau

    measured = Measured("nb201", RESULTS / "scores")
    column = "cifar10_test_200"
    return [
        f"| [{title}]({link(RESULTS / 'scores.md')}) | cifar10 | {cost} "
        f"| {tau(measured.scores[score], measured.accuracy[column]):.3f} ({len(measured.records)} cells) | | |"
        for score, title, cost in (
            ("combined", "training-free scores, combined", "one pass over one batch, no training"),
            ("params", "the number of parameters", "nothing"),
        )
    ]


# RMI-NAS -----------------------------------------------------------------------------------------------------------


def rmi_searches_table(link: Link) -> str:
    """Searches of which records are kept, then those of which a summary is."""
    lines = records.head(
        "search", "space, images", "updates, racing, weight of the size", "n", "found, test %", "rank", "by vote",
        "by the model", "evaluations", "updates a candidate", "seconds", "Kendall tau",
    )  # fmt: skip
    kept = (PUBLISHED_SEARCH, RACED_SEARCH, FEWER_UPDATES, *RACED_SEARCHES.values(), DARTS_SEARCH)
    rows = [_search_row(run.name.rpartition("/")[2], records.file_of(run.name), *_kept(run), link) for run in kept]
    for file in sorted(RMINAS.glob("search_*.json")):
        s = _read(file)
        name = file.stem.removeprefix("search_")
        rows.append(_search_row(name, file, s["settings"], s["runs"], link))
    return "\n".join([*lines, *rows])


def _kept(run: RmiRun) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    kept = records.read(run.name)
    if not kept.records:
        raise InputError(f"{records.file_of(run.name)} has no finished seed: run scripts/reproduce.py first")
    return kept.config, kept.records


def _search_row(name: str, file: Path, settings: dict[str, Any], runs: list[dict[str, Any]], link: Link) -> str:
    r = settings["RMINAS"]
    race = f"z = {r['RACE']:g}, rounds of {r['ROUND']}" if r["RACE"] else "no racing"
    race += f", size {r['SIZE']:g}" if r.get("SIZE") else ""
    updates = sum(run["updates"] for run in runs) / sum(run["evaluations"] for run in runs)
    known = all(run["found"]["test_acc"] is not None for run in runs)
    found = f"**{records.spread([run['found']['test_acc'] for run in runs], 2)}**" if known else "not known"
    return records.row(
        f"[{name}]({link(file)})",
        f"{settings['SPACE']['NAME']}, {settings['DATA']['NAME']}",
        f"{r['OBSERVE']}, {race}",
        len(runs),
        found,
        records.spread([run["found"]["rank"] for run in runs], 0) if known else "",
        _chosen(runs, "sum"),
        _chosen(runs, "model"),
        f"{mean_std(run['evaluations'] for run in runs)[0]:.0f}",
        f"{updates:.0f}",
        f"{mean_std(run['search_s'] for run in runs)[0]:.0f}",
        records.spread([run["kendall_tau"] for run in runs], 3) if known else "",
    )


def _chosen(runs: list[dict[str, Any]], rule: str) -> str:
    """What another rule would have chosen from the same evaluations."""
    choices = [run.get("chosen_by") or run["elected"] for run in runs]  # `elected` in runs of 0.1
    found = [choice[rule]["test_acc"] if rule in choice else None for choice in choices]
    return "" if None in found else records.spread(found, 2)


# where the results come from ---------------------------------------------------------------------------------------


def revisions_table(link: Link) -> str:
    """Every committed result with the revisions that made it."""
    lines = records.head("results", "revision")
    files = [file for pattern in ("*.json", "evaluations.jsonl", "*.jsonl.gz") for file in RESULTS.rglob(pattern)]
    made = {file: _revisions(file) for file in sorted(files)}
    for file, revisions in made.items():
        if file.name == "config.json":  # of the evaluations beside it
            continue
        name = re.sub(r"(/evaluations)?\.jsonl?(\.gz)?$", "", file.relative_to(RESULTS).as_posix())
        lines.append(records.row(f"[{name}]({link(file)})", ", ".join(revisions) or "not recorded"))
    return "\n".join(lines)


def _revisions(file: Path) -> list[str]:
    """The revisions that a summary or its records name, in their order."""
    if file.suffix == ".gz":
        return records.read(file.relative_to(records.RECORDS).as_posix().removesuffix(".jsonl.gz")).revisions
    if file.suffix == ".jsonl":
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    else:
        content = json.loads(file.read_text(encoding="utf-8"))
        lines = content if isinstance(content, list) else [content]
    made = [line.get("environment", line) for line in lines if isinstance(line, dict)]
    found = [line.get(key, "") for line in made for key in ("revision", "rmi_revision")]
    return [*dict.fromkeys(revision for revision in found if revision)]


def _page_of(table: PaperTable, link: Link) -> str:
    assert table.page
    revisions = {revision: None for run in table.runs for revision in records.read(run.name).revisions}
    made = f"\n\nRevisions: {', '.join(revisions)}." if revisions else ""
    return table.page() + made


TABLES: dict[str, Callable[[Link], str]] = {
    "headline": headline_table,
    "rmi_searches": rmi_searches_table,
    "revisions": revisions_table,
    "papers": lambda link: listing_page(),
    "simulation": lambda link: simulate_cluster.table(),
    "kills": lambda link: kill_trials.table(),
    "machines": lambda link: machine_differences.table(),
    **{table.name: partial(_page_of, table) for table in PAPER_TABLES if table.page},
}


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise InputError(f"{file} is missing")
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _pm(summary: dict[str, Any], key: str, digits: int) -> str:
    return _spread(summary["mean"][key], summary["std"][key], summary["n"], digits)


def _spread(mean: float, std: float, n: int, digits: int) -> str:
    return with_spread(mean, std, n, digits, sign="±")


if __name__ == "__main__":
    run_command(PROG, main)
