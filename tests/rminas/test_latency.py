"""`python -m rminas.latency`: what it measures, keeps, and hands to --max_latency."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rminas.latency
from common.errors import InputError
from common.search.latencies import load_latencies
from common.spaces import make_space
from rminas.latency import main, measure


class Sleeper(nn.Module):
    """Takes as many milliseconds as it is told, one forward pass after the other."""

    def __init__(self, *ms: float) -> None:
        super().__init__()
        self.ms = iter(ms)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.training
        time.sleep(next(self.ms) / 1000)
        return x


def test_the_median_of_what_comes_after_the_warmup_counts() -> None:
    timing = measure(Sleeper(80, 80, 20, 40, 20, 20, 60), torch.zeros(1, 3, 4, 4), warmup=2, runs=5)
    assert timing.ms == pytest.approx(20, abs=8)
    assert timing.ms_25 <= timing.ms <= timing.ms_75
    assert timing.ms_75 > 30


def words(out: Path, *more: str) -> list[str]:
    size = ["--image_size", "8", "--warmup", "0", "--runs", "2", "--device", "cpu"]
    return ["macro", *more, *size, "--out", str(out)]


def rows(out: Path) -> list[list[str]]:
    return list(csv.reader(out.read_text().splitlines()))


def test_a_table_is_extended_not_measured_again_and_bounds_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sub" / "latency.csv"
    main(words(out, "--count", "2"))
    first = rows(out)
    assert [len(first), *first[0]] == [3, "arch", "ms", "ms_25", "ms_75", "runs"]
    measured: list[Any] = []
    real = rminas.latency.measure
    monkeypatch.setattr(rminas.latency, "measure", lambda *a: measured.append(a) or real(*a))
    main(words(out, "--count", "3"))
    assert (len(measured), rows(out)[:3], len(rows(out))) == (1, first, 4)
    space = make_space("macro")
    known = load_latencies(out, space).of(space.to_codes([space.parse(row[0]) for row in first[1:]]))
    assert known.tolist() == [float(row[1]) for row in first[1:]]
    assert str(out) in capsys.readouterr().out


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "latency.csv"
    out.write_text("arch,accuracy\n00000000,1\n")
    for given, said in ((["00000000"], "no table of latencies"), (["xyz"], "not a NAS-Bench-Macro network")):
        with pytest.raises(InputError, match=said):
            main(words(out, *given))
    with pytest.raises(SystemExit, match="2"):
        main(["macro", "--runs", "0"])
    assert "argument --runs: '0' is not a whole number from 1" in capsys.readouterr().err
