"""Scores from a CSV of any space."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.benchmarks.scores import load_scores
from common.errors import InputError
from common.spaces import make_space
from common.spaces.macro import Macro


def test_scores_are_looked_up_by_the_text_the_space_writes(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("index,arch,nwot,cifar10_test_5,jacov\n0, 02012100,1.5,80,\n1,00000000,-2,70,3e4\n")
    expected = {"nwot": {"02012100": 1.5, "00000000": -2.0}, "jacov": {"00000000": 3e4}}
    for space in (None, "macro", Macro(), Macro(channels=8)):
        assert load_scores(path, space) == expected


def test_a_file_without_scores_or_with_a_bad_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    for text, message in (
        ("arch,cifar10_test_5\n02012100,80\n", "has accuracies but no scores: cifar10_test_5"),
        ("arch,nwot\n02012100,x\n00000000,1\n", "line 2: nwot is 'x', not a number"),
        ("arch,nwot\n02012100,1\n02012109,1\n", "line 3: not a NAS-Bench-Macro network"),
        ("text,nwot\n02012100,1\n", "not of kind 'csv'"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=f"^{path}: .*{message}"):
            load_scores(path)
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        load_scores(tmp_path / "none.csv")


@pytest.mark.shared
def test_published_scores_of_three_spaces_are_read(shared_data: Path) -> None:
    for file, space, count, scores in (
        ("nasbench201/zero_cost_proxies_cifar10.csv", "nasbench201", 9445, 13),
        ("nasbench101/zero_cost_292.csv", "nasbench101", 292, 11),
        ("darts/nb301_surrogate_zero_cost.csv", "darts", 1218, 12),
    ):
        found = load_scores(shared_data / file)
        assert len(found) == scores
        texts = list(found["jacov"])
        assert len(texts) == count
        assert all(make_space(space).format(make_space(space).parse(text)) == text for text in texts[::97])
