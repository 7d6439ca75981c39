"""Where the numbers in README and docs/results come from: committed records, of clean revisions, and nothing else."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import kill_trials  # noqa: E402
import make_tables  # noqa: E402
import records  # noqa: E402
import report_scores  # noqa: E402

RESULTS = ROOT / "docs/results"
PAGES = sorted(RESULTS.glob("*.md"))
SLOW = ("scores", "rmi_price")  # draw samples anew
# Made from run folders that were not kept, as docs/results/README.md says: to be replaced, not to be added to.
NOT_KEPT = ("bench_renas.md", "bench_rminas_cpu.md")
# Numbers that are no results: versions, the best accuracies of the tables, what a budget is.
FACTS = {"3.10", "0.1", "94.07", "94.37", "73.51", "47.31"}


def maker(name: str) -> Callable[[], str] | None:
    """What makes a page whole: `page` of the study of its name. None where only tables between marks are made: these
    are held to the results by tests/tables, and the prose around them has no numbers of its own (below)."""
    if name == "scores":
        return lambda: report_scores.write_report(RESULTS / "scores")
    if not (ROOT / f"scripts/study_{name}.py").exists() or f"{name}.md" in NOT_KEPT:
        return None
    return importlib.import_module(f"study_{name}").page


WHOLE = [page.stem for page in PAGES if maker(page.stem)]


def prose(page: Path) -> str:
    """A page without its made tables and its blocks of commands."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"<!-- table (\S+) -->\n.*?<!-- end \1 -->", "", text, flags=re.DOTALL)
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in WHOLE]
)
def test_a_page_is_what_its_records_make(name: str):
    make = maker(name)
    assert make
    assert make() == (RESULTS / f"{name}.md").read_text(encoding="utf-8")


def test_every_page_of_results_is_made_from_what_is_committed():
    made = {*make_tables.documents(), *(RESULTS / f"{name}.md" for name in WHOLE)}
    assert {page.name for page in {*PAGES} - made} == {*NOT_KEPT}
    told = (RESULTS / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}]({name})" in told for name in NOT_KEPT)


@pytest.mark.parametrize("page", [ROOT / "README.md", RESULTS / "README.md", RESULTS / "papers.md"], ids=str)
def test_prose_beside_made_tables_has_no_numbers_of_its_own(page: Path):
    found = {*re.findall(r"(?<![\w.])\d*\.\d+(?![\w.])", prose(page))}
    assert found <= FACTS, f"{page.name}: {', '.join(sorted(found - FACTS))}: put it into a table made from results"


def test_no_results_are_of_a_changed_tree():
    rows = re.findall(r"^\| \[(\S+)\]\(\S+\) \| (.*) \|$", make_tables.revisions_table(str), re.MULTILINE)
    assert len(rows) > 50
    assert not [name for name, revisions in rows if "+" in revisions]
    for file in records.RECORDS.rglob("*.gz"):
        kept = records.read(file.relative_to(records.RECORDS).as_posix().removesuffix(".jsonl.gz"))
        assert kept.revisions
        assert not any("+" in revision for revision in kept.revisions), file


def test_every_command_was_killed_often_enough_and_none_was_wrong():
    trials = json.loads((RESULTS / "cluster/kills.json").read_text(encoding="utf-8"))
    assert {command: sum(trial["command"] == command for trial in trials) for command in kill_trials.COMMANDS} == (
        dict.fromkeys(kill_trials.COMMANDS, 20)
    )
    assert sum(trial["killed"] for trial in trials) >= 120
    assert not any(trial["wrong"] for trial in trials)
    assert all(trial["revision"] and "+" not in trial["revision"] for trial in trials)
