"""The tables of README and docs are what the committed summaries say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import make_tables  # noqa: E402
import records  # noqa: E402

from common.errors import InputError  # noqa: E402


@pytest.mark.parametrize("page", make_tables.documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_holds_the_tables_that_the_summaries_make(page: Path):
    text = page.read_text(encoding="utf-8")
    assert make_tables.with_tables(text, page.parent) == text


def test_every_table_stands_in_one_page():
    texts = [page.read_text(encoding="utf-8") for page in make_tables.documents()]
    for name in make_tables.TABLES:
        assert sum(f"<!-- table {name} -->" in text for text in texts) == 1, name


def test_links_of_a_table_follow_its_page():
    made = make_tables.with_tables("<!-- table rmi_searches -->\n<!-- end rmi_searches -->", ROOT / "docs")
    for place in ("results/rminas/search_", "results/records/rminas/"):
        assert f"({place}" in made
        assert f"(docs/{place}" in make_tables.with_tables(made, ROOT)


def test_a_missing_summary_is_an_error_and_not_a_missing_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(make_tables, "RESULTS", tmp_path)
    with pytest.raises(InputError, match=r"nb201_cifar10_screening\.json is missing"):
        make_tables.headline_table(str)
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    for table in (make_tables.headline_table, make_tables.rmi_searches_table):
        with pytest.raises(InputError, match=r"nb201_cifar10_published\.jsonl\.gz has no finished seed"):
            table(str)


def test_the_command_rewrites_what_is_out_of_date_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    page = tmp_path / "page.md"
    page.write_text("<!-- table renas-201 -->\nold\n<!-- end renas-201 -->\n")
    monkeypatch.setattr(sys, "argv", ["make_tables", str(page)])
    make_tables.main()
    assert "rewritten" in capsys.readouterr().out
    assert "| CIFAR-100 |" in page.read_text()
    make_tables.main()
    assert "up to date" in capsys.readouterr().out


def test_a_table_is_made_anew_and_the_rest_left_alone():
    text = "before\n<!-- table renas-201 -->\nold\n<!-- end renas-201 -->\nafter\n"
    made = make_tables.with_tables(text)
    assert made.startswith("before\n<!-- table renas-201 -->\n| images |")
    assert made.endswith("<!-- end renas-201 -->\nafter\n")
    assert "old" not in made


def test_an_unknown_table_is_named():
    with pytest.raises(InputError, match="no table 'other'"):
        make_tables.with_tables("<!-- table other -->\n<!-- end other -->")
