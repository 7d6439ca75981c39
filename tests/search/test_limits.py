"""An architecture outside of the user's budget is never evaluated, whatever searches and wherever it chooses from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bowl import Bowl, quick_strategy

from common.budget import Budget, amount
from common.errors import InputError
from common.search import STRATEGIES, History, Pool, Proposal, Strategy, make_strategy, run_search
from common.search.candidates import Candidates, WholeSpace
from common.search.latencies import load_latencies
from common.search.limits import Limits
from common.spaces import SearchSpace, make_space
from rminas.forest import ForestSearch, ForestSettings

SPACES = ("nasbench201", "darts")
OFA = Path("ofa/note10_latency_160.yaml")


def limits_of(space: SearchSpace, **bounds: Any) -> Limits:
    made = Budget.of(**bounds).limits(space)
    assert made is not None
    return made


def flops_of(space: SearchSpace, archs: list[Any]) -> np.ndarray:
    return space.total_costs(space.to_codes(archs))[0]


def quick(name: str, space: SearchSpace, pool: Candidates) -> Strategy:
    if name != "forest":
        return quick_strategy(name, space, 1, pool=pool)
    return ForestSearch(space, 1, ForestSettings(warmup=15, quantile=0.3, positives=150, trees=5, candidates=50), pool)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("space_name", SPACES)
def test_no_strategy_evaluates_what_is_outside_of_a_space_limited(name: str, space_name: str) -> None:
    space = make_space(space_name)
    bound = float(np.median(flops_of(space, space.sample_distinct(50, np.random.default_rng(0)))))
    candidates = Limits(space, max_flops=bound).candidates(space)
    history = run_search(quick(name, space, candidates), Bowl(space), 30).history
    assert len(history) == 30
    assert flops_of(space, history.archs).max() <= bound


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_no_strategy_evaluates_what_is_outside_of_a_pool_limited(name: str) -> None:
    space = make_space("nasbench201")
    members = space.sample_distinct(150, np.random.default_rng(0))
    limits = limits_of(space, max_params="0.5M", max_flops="60M")
    pool = Pool(space, members, limits=limits)
    history = run_search(quick(name, space, pool), Bowl(space), 150).history
    flops, params = space.total_costs(space.to_codes(members))
    inside = {space.format(arch) for arch, f, p in zip(members, flops, params, strict=True) if f <= 60e6 and p <= 5e5}
    found = {space.format(arch) for arch in history.archs}
    assert found <= inside
    assert found == inside or name == "forest"  # which knows isomorphic ones apart, and looks at a few each time


def test_a_search_within_limits_goes_on_as_it_would_have() -> None:
    space = make_space("darts")
    candidates = limits_of(space, max_flops="45M").candidates(space)
    whole = run_search(quick_strategy("evolution", space, 3, pool=candidates), Bowl(space), 40).history
    resumed = quick_strategy("evolution", space, 3, pool=limits_of(space, max_flops="45M").candidates(space))
    assert list(resumed.propose(whole[:30], 10).archs) == whole.archs[30:31]


def test_a_bound_so_tight_that_hardly_any_draw_meets_it_is_walked_to() -> None:
    space = make_space("proxyless")
    codes = space.to_codes(space.sample_distinct(500, np.random.default_rng(0)))
    tight = float(space.total_costs(codes)[0].min()) * 0.8
    limits = Limits(space, max_flops=tight)
    candidates = WholeSpace(space, limits)
    drawn = candidates.random(3, np.random.default_rng(1))
    assert len(drawn) == 3
    assert flops_of(space, drawn).max() <= tight


def test_what_nothing_fits_is_said_before_anything_is_evaluated() -> None:
    space = make_space("nasbench201")
    with pytest.raises(
        InputError, match="no architecture of NAS-Bench-201 was found that has at most 1,000 parameters"
    ):
        limits_of(space, max_params=1000).candidates(space)
    with pytest.raises(InputError, match="none of 30 architectures has at most 1,000 FLOPs"):
        Pool(space, space.sample_distinct(30, np.random.default_rng(0)), limits=Limits(space, max_flops=1000))
    with pytest.raises(InputError, match="name the table of latencies"):
        limits_of(space, max_latency=3)
    with pytest.raises(InputError, match="no bound on them"):
        Budget.of(latency="table.csv").limits(space)
    with pytest.raises(InputError, match="max_flops is '6 apples', expected an amount above 0"):
        Budget.of(max_flops="6 apples")


def test_a_strategy_that_does_not_choose_from_its_candidates_is_stopped() -> None:
    class Stubborn(Strategy):
        name = "stubborn"

        def propose(self, history: History, room: int) -> Proposal:
            return Proposal([self.space.parse("22222222")], "own")

    space = make_space("macro")
    limits = limits_of(space, max_flops="50M")
    with pytest.raises(InputError, match="'stubborn' proposes what does not have at most 50,000,000 FLOPs"):
        run_search(Stubborn(space, 0, pool=limits.candidates(space)), Bowl(space), 5, limits=limits)


@pytest.mark.parametrize(
    ("text", "value"), [("500000", 5e5), ("0.5M", 5e5), ("5e5", 5e5), ("60 m", 6e7), ("1.2G", 1.2e9), ("3k", 3e3)]
)
def test_amounts_are_read_with_and_without_units(text: str, value: float) -> None:
    assert amount(text) == value
    assert amount("") == math.inf


@pytest.mark.parametrize("text", ["-1", "0", "M", "1T", "nan", "inf", "1e999"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no amount"):
        amount(text)


def test_latencies_of_a_csv_bound_a_search_to_the_architectures_it_lists(tmp_path: Path) -> None:
    space = make_space("macro")
    archs = space.sample_distinct(40, np.random.default_rng(0))
    file = tmp_path / "latency.csv"
    file.write_text("arch,ms\n" + "".join(f"{space.format(arch)},{place / 10}\n" for place, arch in enumerate(archs)))
    limits = limits_of(space, max_latency=1.5, latency=file)
    history = run_search(make_strategy("random", space, 0, limits.candidates(space)), Bowl(space), 100).history
    assert sorted(map(space.format, history.archs)) == sorted(map(space.format, archs[:16]))
    other = next(arch for arch in space.sample_distinct(60, np.random.default_rng(1)) if arch not in archs)
    assert not limits.admits(space.to_codes([other]))[0]  # nobody knows how long it takes


def test_latencies_of_blocks_add_up_as_once_for_all_adds_them(shared_data: Path) -> None:
    space = make_space("mobilenet", image_size=160)
    file = shared_data / OFA
    if not file.exists():
        pytest.skip(f"{file} is not there")
    import yaml

    means = {name: entry["mean"] for name, entry in yaml.safe_load(file.read_text()).items()}
    arch = space.parse("|".join(["k3e3,k5e6,-,-"] * 5))
    names = [
        "Conv-input:160x160x3-output:80x80x24",
        "expanded_conv-input:80x80x24-output:80x80x24-expand:24-kernel:3-stride:1-idskip:1-se:0-hs:0",
        "Conv_1-input:5x5x192-output:5x5x1152",
        "AvgPool2D-input:5x5x1152-output:1x1x1152",
        "Conv_2-input:1x1x1152-output:1x1x1536",
        "Logits-input:1x1x1536-output:1000",
    ]
    stages = (
        (80, 40, 24, 32, 2, 0, 0),
        (40, 20, 32, 48, 2, 1, 0),
        (20, 10, 48, 96, 2, 0, 1),
        (10, 10, 96, 136, 1, 1, 1),
    )
    for before, side, c, d, stride, se, hs in (*stages, (10, 5, 136, 192, 2, 1, 1)):
        first = f"expanded_conv-input:{before}x{before}x{c}-output:{side}x{side}x{d}-expand:{3 * c}-kernel:3"
        second = f"expanded_conv-input:{side}x{side}x{d}-output:{side}x{side}x{d}-expand:{6 * d}-kernel:5"
        names.append(f"{first}-stride:{stride}-idskip:0-se:{se}-hs:{hs}")
        names.append(f"{second}-stride:1-idskip:1-se:{se}-hs:{hs}")
    expected = sum(means[name] for name in names)
    of = load_latencies(file, space).of
    assert of(space.to_codes([arch]))[0] == pytest.approx(expected)
    assert math.isnan(of(space.to_codes([space.parse("|".join(["k3e1,-,-,-"] * 5))]))[0])  # not measured
    drawn = limits_of(space, max_latency=expected, latency=file).candidates(space).random(5, np.random.default_rng(0))
    assert (of(space.to_codes(drawn)) <= expected).all()
    with pytest.raises(InputError, match=r"has no Conv-input:224x224x3.*of other networks"):
        load_latencies(file, make_space("mobilenet"))
