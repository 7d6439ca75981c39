"""README and docs: short enough to be read, links that lead somewhere, nothing of one machine."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import publish_results  # noqa: E402

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(ROOT.glob("docs/**/*.md"))
RESULTS = sorted(file for file in ROOT.glob("docs/results/**/*") if file.suffix in (".json", ".jsonl", ".md", ".csv"))
MACHINE_PATH = re.compile(r"(?<![\w.])(/work/|/tmp/|/root/|/home/|/Users/|[A-Z]:\\)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_the_readme_is_read_in_three_minutes():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def _anchors(page: Path) -> set[str]:
    """Headings as GitHub turns them into anchors."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        to = (page.parent / file).resolve() if file else page
        assert to.exists(), f"{_name(page)}: {target}"
        assert not anchor or anchor in _anchors(to), f"{_name(page)}: no heading for {target}"


@pytest.mark.parametrize("file", [*PAGES, *RESULTS], ids=_name)
def test_no_path_of_a_machine(file: Path):
    found = MACHINE_PATH.findall(file.read_text(encoding="utf-8"))
    assert not found, f"{_name(file)} holds {found[0]}...: python scripts/publish_results.py {_name(file)}"


def test_a_published_summary_keeps_everything_but_the_folders(tmp_path: Path):
    (tmp_path / "run").mkdir()
    made = '{"path": "/home/me/data/accuracy.csv", "acc": 93.5, "n": [1, {"OUT_DIR": "../runs/"}], "ops": "|a~0|/b"}'
    (tmp_path / "run" / "summary.json").write_text(made)
    publish_results.publish(tmp_path / "run" / "summary.json", tmp_path / "kept" / "x.json")
    kept = publish_results.json.loads((tmp_path / "kept" / "x.json").read_text())
    assert kept == {"path": "accuracy.csv", "acc": 93.5, "n": [1, {"OUT_DIR": "runs"}], "ops": "|a~0|/b"}


def test_windows_paths_are_cut_too():
    assert publish_results.without_machine_paths(r"C:\Users\me\accuracy.csv") == "accuracy.csv"
    assert publish_results.without_machine_paths("cifar10: 3 epochs") == "cifar10: 3 epochs"
