"""The progress bar: seen on a terminal, silent elsewhere, and right about what an earlier run has done."""

from __future__ import annotations

import io
import sys

import pytest

from common.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_appears_with_the_first_count_and_grows_to_a_new_total(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with ProgressBar(10, "teacher", "epoch") as bar:
        assert terminal.getvalue() == ""
        bar.show(3, "loss 1.000", before=2)
        bar.show(5, "loss 0.500", total=20)
        assert bar._bar is not None
        assert (bar._bar.n, bar._bar.total, bar._bar.initial) == (5, 20, 2)
    said = terminal.getvalue()
    assert "teacher" in said
    assert "5/20" in said
    assert "loss 0.500" in said


def test_it_is_silent_where_nobody_looks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    with ProgressBar(2) as bar:
        for done in (1, 2):
            bar.show(done, "words", total=3)
    bar.close()
    assert file.getvalue() == ""
