"""The notebook runs from top to bottom, as a reader runs it, in a folder of its own."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "tour.ipynb"


def run_cells(path: Path) -> list[Any]:
    """The value that each code cell ends with; None for one that ends with a statement."""
    shown: list[Any] = []
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"cell {number}", "exec"), namespace)
        value = ast.Expression(last.value) if isinstance(last, ast.Expr) else None
        shown.append(None if value is None else eval(compile(value, f"cell {number}", "eval"), namespace))
    return shown


def test_the_tour_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    table, best, tau, searches, own_tau, space, scores, found = run_cells(NOTEBOOK)
    assert table[0] == 15_625
    assert len(best) == 3
    assert tau > 0.6
    assert own_tau > 0.5
    assert space[0] == 27
    assert found[2] == 20
    assert searches is scores is None
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("random", "evolution", "params", "naswot", "jacov"))
