"""The study of predictors by number of labels: scripts/study_predictors.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import study_predictors as study  # noqa: E402

from common.errors import InputError  # noqa: E402
from common.spaces import make_space  # noqa: E402


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sets of 60 networks whose value is their number, by which their codes say nothing; results go elsewhere."""
    space = make_space("macro")
    archs = space.sample_distinct(60, np.random.default_rng(0))
    lines = [f"{space.format(arch)},{row},{row % 7}" for row, arch in enumerate(archs)]
    (tmp_path / "table.csv").write_text("\n".join(["arch,cifar10_valid,cifar10_test", *lines]) + "\n")
    labels = {"validation, one seed": "cifar10_valid", "test": "cifar10_test"}
    made = study.StudySet("Made", "table.csv", "cifar10_test", labels, (10, 20), goals=(0.8, 0.9))
    monkeypatch.setattr(study, "SETS", {"nb201_cifar10": made})
    monkeypatch.setattr(study, "RESULTS", tmp_path / "results")
    members = lambda loaded, one_hot: iter([("", study.by("ensemble", loaded.features, members="gp,svr"))])  # noqa: E731
    monkeypatch.setattr(study, "reported", members)
    study.load_set.cache_clear()
    return tmp_path


def test_a_study_goes_seed_by_seed_stops_in_time_and_goes_on(data: Path) -> None:
    """Both labels of a sample are learnt from the same architectures, and the page counts the samples."""
    study.measure("nb201_cifar10", data, 1, False, 2, 0.0)
    assert [record["key"] for record in study.records_of("nb201_cifar10")] == ["validation, one seed 10 0"]
    study.measure("nb201_cifar10", data, 1, False, 2, np.inf)
    records = study.records_of("nb201_cifar10")
    assert [(r["seed"], r["labels"]) for r in records] == [(s, n) for s in (0, 1) for n in (10, 10, 20, 20)]
    assert {*records[0]["methods"]} == {"ensemble", "gp", "svr"}
    page = study.page()
    assert "| labels | 10 (n=2) | 20 (n=2) |" in page
    assert "| our goal | 0.800 | 0.900 |" in page
    with pytest.raises(InputError, match="development set"):
        study.measure("nb201_cifar10", data, 1, True, 1, np.inf)


def test_the_ceiling_is_the_order_of_the_labels_themselves(data: Path) -> None:
    study.write_ceilings(data)
    taus = json.loads((data / "results/noise.json").read_text())["tau"]
    from scipy.stats import kendalltau

    assert taus == {"Made": pytest.approx(kendalltau(np.arange(60), np.arange(60) % 7).statistic)}


def test_what_was_tried_is_told_as_paired_differences(data: Path) -> None:
    """By hand: +.010 and +.030 are 20 thousandths with a standard error of 10; a seed without its pair counts not."""
    lines = ["old,T,5,1,.5", "old,T,5,2,.6", "new,T,5,1,.51", "new,T,5,2,.63", "new,T,5,3,.9", "once,T,5,2,.55"]
    (data / "results").mkdir()
    (data / "results/tried.csv").write_text("\n".join(["method,table,labels,seed,tau", *lines]) + "\n")
    text = study.tried()
    assert "| old | 0.550 |" in text
    assert "| new | +20 +- 10 (2) |" in text
    assert "| once | -50 (1) |" in text


def test_goals_are_compared_with_the_mean_of_honest_labels(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [("validation, one seed", 10, 0.7), ("validation, one seed", 10, 0.8), ("test", 10, 1.0)]
    found += [("validation, one seed", 20, 0.91)]
    records = [{"label": of, "labels": size, "methods": {"auto": {"tau": tau}}} for of, size, tau in found]
    monkeypatch.setattr(study, "records_of", lambda name: records)
    text = study.overview()
    assert "| Made | 10 | 0.750 +- 0.071 (2) | 0.800 | -0.050 | 1.000 (1) |  |" in text
    assert "| Made | 20 | 0.910 (1) | 0.900 | reached |  |  |" in text
