"""The Python in README and docs runs as it stands there, page by page, beside the examples."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Pages whose code names files of the reader's, which are not there; what it shows is tested elsewhere.
NOT_RUN = {"data.md": "tests/benchmarks/test_csv_table.py, tests/datasets"}


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page) and page.name not in NOT_RUN], ids=lambda page: page.name
)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    # Other tests load the examples from their own place, and a module's name stands for one file in a process.
    examples = {file.stem for file in (ROOT / "examples").glob("*.py")}
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry).name != "examples"])
    for name in examples:
        monkeypatch.delitem(sys.modules, name, raising=False)
    namespace: dict[str, object] = {}
    try:
        for block in blocks(page):
            exec(compile(block, page.name, "exec"), namespace)
    finally:
        for name in examples:
            sys.modules.pop(name, None)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name in NOT_RUN], ids=lambda page: page.name)
def test_the_rest_compiles(page: Path):
    for block in blocks(page):
        compile(block, page.name, "exec")
