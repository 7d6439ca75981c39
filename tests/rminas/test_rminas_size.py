"""The size of a network beside its loss: by hand, without weight, and in a search, a race and an election."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.metrics import kendall_tau, mean_std
from common.runs.files import plain
from common.spaces import SPACES, make_space
from common.training.population import Bounds
from rminas.config import Config
from rminas.model import LossModel
from rminas.race import Race
from rminas.search import read_evaluations, search
from rminas.size import Size
from rminas.task import Truth

ROOT = Path(__file__).resolve().parents[2]
SPACE = make_space("nasbench201")
SMALL = {
    "rf_warmup": 30,
    "rf_thresrate": 0.1,
    "rf_succ": 8,
    "candidates": 50,
    "forest": 8,
    "observe": 4,
    "race_full": 16,
}


def config(**changes: Any) -> Config:
    return replace(Config(), rminas=replace(Config().rminas, **{**SMALL, **changes}))


def cells(count: int) -> list[Any]:
    rng = np.random.default_rng(0)
    drawn = (SPACE.sample(rng) for _ in range(50 * count))
    return [cell for cell in drawn if SPACE.reaches_output(cell)][:count]


def parameters(archs: Sequence[Any]) -> np.ndarray:
    return SPACE.total_costs(SPACE.to_codes(archs))[1].astype(float)


def trajectory(arch: Any) -> np.ndarray:
    """Made losses that fall, distinct for distinct cells, and know nothing of the size."""
    rng = np.random.default_rng(SPACE.to_codes([arch])[0].tolist())
    return (0.2 + rng.random()) * np.array([4.0, 3.0, 2.0, 1.5, 1.0]) * np.exp(0.2 * rng.standard_normal(5))


def evaluate(archs: Sequence[Any], bounds: Sequence[Bounds]) -> Iterator[tuple[int, np.ndarray]]:
    for position, arch in enumerate(archs):
        losses, its = trajectory(arch), bounds[position] if bounds else {}
        stop = next((step for step in sorted(its) if losses[step] > its[step]), 4)
        yield position, losses[: stop + 1] if SPACE.reaches_output(arch) else np.full(5, np.inf)


def test_loss_and_size_count_in_their_own_spreads():
    archs, weight = cells(40), 0.6
    losses = np.random.default_rng(1).uniform(0.1, 1, 40)
    size = Size.learnt(SPACE, weight, archs, losses.tolist())
    logs, sizes = np.log(losses), np.log(parameters(archs))
    by_hand = logs / logs.std() - weight * sizes / sizes.std()
    found = logs + size.log_factors(archs)
    np.testing.assert_allclose((found - found.mean()) / logs.std(), by_hand - by_hand.mean(), rtol=1e-10, atol=1e-10)
    assert size.log_factors(archs).mean() == pytest.approx(0)
    assert size.log_factors([]).shape == (0,)


def test_without_weight_or_spread_the_loss_is_alone():
    archs, losses = cells(10), [0.5, *np.linspace(0.1, 1, 9)]
    alone = Size(SPACE)
    assert Size.learnt(SPACE, 0.0, archs, losses) == alone
    assert Size.learnt(SPACE, 1.0, archs[:1] * 3, losses[:3]) == alone
    assert Size.learnt(SPACE, 1.0, archs[:3], [np.inf, 0.3, np.inf]) == alone
    assert not alone.log_factors(archs).any()


def test_infinite_losses_say_nothing_of_the_spread():
    archs, losses = cells(12), [*np.linspace(0.1, 1, 10), np.inf, np.inf]
    assert Size.learnt(SPACE, 1.0, archs, losses) == Size.learnt(SPACE, 1.0, archs[:10], losses[:10])


@pytest.mark.parametrize("name", sorted(set(SPACES) - {"nasbench101"}))
def test_every_space_has_sizes(name: str):
    space = make_space(name)
    archs = [space.sample(np.random.default_rng(seed)) for seed in range(20)]
    size = Size.learnt(space, 1.0, archs, np.linspace(0.1, 1, 20).tolist())
    assert size.exponent > 0
    assert np.isfinite(size.log_factors(archs)).all()
    assert np.std(size.log_factors(archs)) > 0


def test_a_search_with_weight_goes_for_larger_networks_and_without_it_does_not():
    plain, sized = (search(config(size=weight), SPACE, evaluate, seed=0) for weight in (0.0, 2.0))
    assert [e.arch for e in plain.evaluations[:30]] == [e.arch for e in sized.evaluations[:30]]
    assert np.array_equal(plain.scores, [e.loss for e in plain.evaluations])
    factors = np.exp(sized.size.log_factors([e.arch for e in sized.evaluations]))
    np.testing.assert_allclose(sized.scores, np.array([e.loss for e in sized.evaluations]) * factors)
    assert np.array_equal(sized.positive, sized.scores < sized.threshold)
    means = [np.log(parameters([e.arch for e in done.evaluations[30:]])).mean() for done in (plain, sized)]
    assert means[1] > means[0] + 0.3
    sizes = parameters([e.arch for e in sized.evaluations])
    finite = np.isfinite(sized.scores)
    assert kendall_tau(-sized.scores[finite], sizes[finite]) > 0.5


def test_the_weight_is_learnt_from_the_first_round_and_stays():
    done = search(config(size=1.0, race=1.0, round=5), SPACE, evaluate, seed=0)
    first = done.evaluations[:16]
    assert done.size == Size.learnt(SPACE, 1.0, [e.arch for e in first], [e.loss for e in first])
    assert any(e.stopped for e in done.evaluations)


def test_in_a_race_larger_networks_are_given_more_room():
    """Candidates are stopped by their loss times their factor, against a bound learnt from such products."""
    asked: list[tuple[Any, Bounds]] = []

    def noting(archs: Sequence[Any], bounds: Sequence[Bounds]) -> Iterator[tuple[int, np.ndarray]]:
        asked.extend(zip(archs, bounds, strict=True) if bounds else [])
        return evaluate(archs, bounds)

    done = search(config(size=1.5, race=1.0, round=6), SPACE, noting, seed=1)
    factors = np.exp(done.size.log_factors([e.arch for e in done.evaluations]))
    before = [e.losses * factor for e, factor in zip(done.evaluations, factors, strict=True)][:-6]
    expected = Race(1.0, 16).bounds(before, np.log(done.threshold), 0.1, 4)
    assert expected
    for (arch, bounds), factor in zip(asked[-6:], factors[-6:], strict=True):
        assert arch in [e.arch for e in done.evaluations[-6:]]
        assert bounds == {step: pytest.approx(bound / factor) for step, bound in expected.items()}
    assert len({bounds[max(bounds)] for _, bounds in asked[-6:]}) > 1


def test_a_search_with_weight_goes_on_from_its_records():
    settings = config(size=1.0, race=1.5, round=4)
    whole = search(settings, SPACE, evaluate, seed=2)
    lines = [json.loads(json.dumps(plain(e.record(SPACE, 2, None)))) for e in whole.evaluations[:33]]
    again = search(settings, SPACE, evaluate, 2, read_evaluations(lines, SPACE, 2, steps=4))
    assert [e.arch for e in again.evaluations] == [e.arch for e in whole.evaluations]
    assert np.array_equal(again.scores, whole.scores)
    assert again.elected == whole.elected


def test_the_model_elects_by_loss_and_size():
    archs = cells(60)
    model = LossModel.fit(SPACE, archs, np.zeros(60))  # foretells the same of all
    heaviest = model.least(archs, np.random.default_rng(0), Size(SPACE, exponent=1.0, typical=1e5))
    everything = [cell for cell in map(SPACE.from_code, SPACE.all_codes()) if SPACE.reaches_output(cell)]  # type: ignore[attr-defined]
    assert parameters([heaviest])[0] == parameters(everything).max()


def test_the_study_of_the_weight_reads_run_folders(tmp_path: Path):
    """Its first row is of the loss alone, its last of the parameters alone; one line for a folder that is no run."""
    searches = {seed: search(config(), SPACE, evaluate, seed) for seed in (0, 1)}
    records = [plain(e.record(SPACE, seed, None)) for seed, done in searches.items() for e in done.evaluations]
    (tmp_path / "config.yaml").write_text("RMINAS: {OBSERVE: 4}\n")
    (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    command = [sys.executable, str(ROOT / "scripts" / "study_size.py")]
    said = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=True).stdout
    rows = [line.split("|")[1:-1] for line in said.splitlines() if line.startswith("|")][2:]
    truth = Truth.load("", "cifar10", SPACE)
    expected: dict[str, list[float]] = {"0": [], "size alone": []}
    for seed in (0, 1):
        random = [r for r in records if r["seed"] == seed and r["phase"] == "warmup" and r["loss"] is not None]
        archs = [SPACE.parse(record["arch"]) for record in random]
        accuracy = np.array([truth.accuracy(arch) for arch in archs])
        expected["0"].append(kendall_tau(-np.array([record["loss"] for record in random]), accuracy))
        expected["size alone"].append(kendall_tau(parameters(archs), accuracy))
    assert [row[0].strip() for row in (rows[0], rows[-1])] == list(expected)
    for row, taus in zip((rows[0], rows[-1]), expected.values(), strict=True):
        assert row[1].strip() == "{:.3f} ± {:.3f}".format(*mean_std(taus))
    refused = subprocess.run([*command, str(tmp_path / "no")], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "not a run folder" in refused.stderr
    assert refused.stderr.count("\n") == 1
