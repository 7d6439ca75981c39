"""The README's tables are what the kept summaries say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import make_tables  # noqa: E402

from common.errors import InputError  # noqa: E402


def test_the_readme_holds_the_tables_that_the_summaries_make():
    text = (ROOT / "README.md").read_text()
    assert make_tables.with_tables(text) == text
    for name in make_tables.TABLES:
        assert f"<!-- table {name} -->" in text


def test_a_table_is_made_anew_and_the_rest_left_alone():
    text = "before\n<!-- table searches -->\nold\n<!-- end searches -->\nafter\n"
    made = make_tables.with_tables(text)
    assert made.startswith("before\n<!-- table searches -->\n| data set |")
    assert made.endswith("<!-- end searches -->\nafter\n")
    assert "old" not in made


def test_an_unknown_table_is_named():
    with pytest.raises(InputError, match="no table 'other'"):
        make_tables.with_tables("<!-- table other -->\n<!-- end other -->")
