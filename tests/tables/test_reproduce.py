"""`scripts/reproduce.py`: what is kept, what is run again, and tables that are made from the records alone."""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import make_tables  # noqa: E402
import paper_tables  # noqa: E402
import records  # noqa: E402
import reproduce  # noqa: E402
import tables_chains  # noqa: E402
import tables_darts  # noqa: E402
import tables_renas  # noqa: E402
import tables_rminas  # noqa: E402

from common.errors import InputError  # noqa: E402

PAGE = ROOT / "docs/results/papers.md"
CLEAN = {"revision": "0123456789ab", "torch": "9"}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for records."""
    monkeypatch.setattr(records, "RECORDS", tmp_path / "records")
    return tmp_path / "records"


def a_record(seed: int, **values: Any) -> dict[str, Any]:
    return {"seed": seed, "seconds": 2.0, "environment": CLEAN, **values}


@dataclass
class MadeRun:
    """A run whose records are its seeds."""

    name: str = "made/run"
    seeds: int = 5
    first: int = 0
    files: tuple[str, ...] = ()

    def make(self, seeds: Sequence[int], data: Path, runs: Path) -> Iterator[tuple[dict[str, Any], list]]:
        for seed in seeds:
            yield {"labels": 3}, [a_record(seed)]


def a_table(*runs: MadeRun, **values: Any) -> paper_tables.PaperTable:
    return paper_tables.PaperTable("made", "ReNAS", "a made table", "reproduced", "made", str, runs, **values)


# records -----------------------------------------------------------------------------------------------------------


def test_records_come_back_in_the_order_of_their_seeds_and_the_first_of_a_seed_stays(kept: Path):
    records.keep("a/run", {"labels": 424}, [a_record(2, tau=0.2), a_record(0, tau=0.0)])
    records.keep("a/run", {"labels": 424}, [a_record(1, tau=0.1), a_record(0, tau=9.0)])
    found = records.read("a/run")
    assert [(line["seed"], line["tau"]) for line in found.records] == [(0, 0.0), (1, 0.1), (2, 0.2)]
    assert found.seeds == {0, 1, 2}
    assert found.config == {"labels": 424}
    assert found.revisions == [CLEAN["revision"]]


def test_the_same_records_make_the_same_bytes(kept: Path):
    records.keep("a", {}, [a_record(0), a_record(1)])
    before = records.file_of("a").read_bytes()
    time.sleep(0.01)
    records.file_of("a").unlink()
    records.keep("a", {}, [a_record(1)])
    records.keep("a", {}, [a_record(0)])
    assert records.file_of("a").read_bytes() == before


def test_nothing_of_a_machine_and_nothing_that_is_no_json_is_kept(kept: Path):
    records.keep("a", {"file": "/home/me/data/x.csv"}, [a_record(0, at="/tmp/run/y.npz", tau=float("nan"))])
    text = gzip.decompress(records.file_of("a").read_bytes()).decode()
    assert "/home" not in text
    assert "/tmp" not in text
    assert records.read("a").records[0]["tau"] is None


@pytest.mark.parametrize("revision", ["0123456789ab+", ""])
def test_records_of_a_changed_tree_are_refused(kept: Path, revision: str):
    with pytest.raises(InputError, match="tree with changes"):
        records.keep("a", {}, [a_record(0, environment={"revision": revision})])
    assert not records.file_of("a").exists()


def test_another_setting_is_refused_and_named_but_a_new_one_is_not(kept: Path):
    records.keep("a", {"labels": 424, "source": {"sha256": "aa"}}, [a_record(0)])
    with pytest.raises(InputError, match=r"another source\.sha256"):
        records.keep("a", {"labels": 424, "source": {"sha256": "bb"}}, [a_record(1)])
    records.keep("a", {"labels": 424, "source": {"sha256": "aa"}, "device": "cpu"}, [a_record(1)])
    assert records.read("a").seeds == {0, 1}


DAMAGED = {
    "empty": b"",
    "no gzip": b"not gzip",
    "no settings": gzip.compress(b"{}\n"),
    "cut": gzip.compress(b'{"config": {}}\n[1'),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)  # the bytes hold the time, by which no test is named
def test_a_damaged_file_is_named(kept: Path, content: bytes):
    kept.mkdir()
    records.file_of("a").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.jsonl\.gz is damaged"):
        records.read("a")


def test_evaluations_stand_beside_finished_seeds(kept: Path):
    records.keep("a", {}, [a_record(7, index=1), a_record(7, index=0)])
    assert records.read("a").seeds == set()
    assert [line["index"] for line in records.read("a").evaluations] == [0, 1]
    records.keep("a", {}, [a_record(7, found=1)])
    assert records.read("a").seeds == {7}


# the command -------------------------------------------------------------------------------------------------------


def run_command(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["reproduce", *words])
    reproduce.main()


def test_the_list_has_every_table_with_data_time_state_and_command(capsys: pytest.CaptureFixture[str]):
    reproduce.tell()
    said = capsys.readouterr().out
    for table in paper_tables.TABLES:
        block = said[said.index(f"{table.name} (") :].split("\n    ")
        assert table.title in block[0]
        assert any(block[1].startswith(state) for state in ("reproduced", "cited", "begun", "not yet", "beyond"))
        assert block[2].startswith("needs ")
    assert "scripts/reproduce.py renas-tau\n" in said


def test_only_missing_seeds_are_run_and_a_limit_ends_it(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    records.keep("made/run", {"labels": 3}, [a_record(1)])
    far, past = time.monotonic() + 99, time.monotonic() - 1
    reproduce.make([a_table(MadeRun())], tmp_path, tmp_path, 3, past)
    assert records.read("made/run").seeds == {0, 1}
    reproduce.make([a_table(MadeRun()), a_table(MadeRun())], tmp_path, tmp_path, 3, far)
    assert records.read("made/run").seeds == {0, 1, 2}
    reproduce.make([a_table(MadeRun())], tmp_path, tmp_path, None, far)
    assert records.read("made/run").seeds == {*range(5)}
    capsys.readouterr()
    reproduce.make([a_table(MadeRun())], tmp_path, tmp_path, None, far)
    assert capsys.readouterr().out == "made/run: all seeds are there\n"


def test_bad_input_is_told_before_anything_is_run(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match="no table 'renas'; there are: renas-features, "):
        run_command(monkeypatch, "renas")
    with pytest.raises(InputError, match=r"needs .*none\.csv"):
        reproduce.make([a_table(MadeRun(files=("none.csv",)))], tmp_path, tmp_path, None, 0)
    monkeypatch.delenv("NAS_DATA_DIR", raising=False)
    with pytest.raises(InputError, match="--data names the folder"):
        run_command(monkeypatch, "renas-201")
    with pytest.raises(InputError, match="--data nope: no such folder"):
        run_command(monkeypatch, "renas-201", "--data", "nope")
    with pytest.raises(InputError, match="no table 'renas'"):
        run_command(monkeypatch, "renas", "--pages")
    with pytest.raises(SystemExit, match="2"):
        run_command(monkeypatch, "renas-201", "--seeds", "-3")
    with pytest.raises(InputError, match="--collect needs one table"):
        run_command(monkeypatch, "renas-201", "--collect", str(tmp_path), "--revision", "a")
    with pytest.raises(InputError, match="is not the folder of a search"):
        run_command(monkeypatch, "rminas-201-published", "--collect", str(tmp_path), "--revision", "a")
    with pytest.raises(InputError, match="by its own name"):  # of a table with two runs
        run_command(monkeypatch, "rminas-darts-tau", "--collect", str(tmp_path), "--revision", "a")
    with pytest.raises(InputError, match="is not the folder of a search"):
        run_command(monkeypatch, "rminas-darts-tau", "--collect", str(tmp_path / "darts107_rank"), "--revision", "a")


def test_a_search_of_hours_is_taken_over_and_gone_on_with(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import rminas
    from common.runs import RunFolder

    run = replace(tables_rminas.PUBLISHED_SEARCH, paths={})
    begun = tmp_path / "begun"
    began: list[dict[str, Any]] = []
    monkeypatch.setattr(rminas, "run", lambda *args, **options: began.append(options) or _stop())
    with pytest.raises(KeyboardInterrupt):
        next(run.make([7], tmp_path, begun))  # leaves a folder without evaluations
    folder = begun / run.name
    (folder / "inputs.json").write_text('{"images_sha256": "aa"}')
    whole = [{"seed": 7, "index": index, "value": -0.5} for index in (1, 0)]
    text = "".join(json.dumps(line) + "\n" for line in whole)
    (folder / "evaluations.jsonl").write_text(text + '{"seed": 7, "ind')  # being written
    records.keep(run.name, *run.collected(folder, CLEAN))
    assert [line["index"] for line in records.read(run.name).evaluations] == [0, 1]
    with pytest.raises(KeyboardInterrupt):
        next(run.make([7], tmp_path, tmp_path / "elsewhere"))
    again = RunFolder(tmp_path / "elsewhere" / run.name).records()
    assert sorted(again, key=lambda line: line["index"]) == whole[::-1]
    assert began[0]["RNG_SEED"] == 7


def test_only_a_summary_by_the_runs_own_table_is_kept(kept: Path, tmp_path: Path):
    run = replace(tables_rminas.PUBLISHED_SEARCH, paths={"BENCHMARK__PATH": "there/official.csv"})
    summary = {"runs": [{"seed": 7, "search_s": 3.0}], "benchmark": {"title": "official"}, "environment": CLEAN}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "inputs.json").write_text("{}")
    (tmp_path / "evaluations.jsonl").write_text('{"seed": 7, "index": 0}\n')
    for judge, seeds in (("elsewhere/other.csv", set()), ("elsewhere/official.csv", {7})):
        (tmp_path / "config.yaml").write_text(f"NAME: a\nSEEDS: 1\nBENCHMARK:\n  PATH: {judge}\n")
        records.keep(run.name, *run.collected(tmp_path, CLEAN))
        assert records.read(run.name).seeds == seeds
    assert records.read(run.name).config == {"inputs": {}}  # what judges is no setting of the search
    assert records.read(run.name).records[0]["benchmark"] == {"title": "official"}


def test_a_ranking_is_kept_and_gone_on_with(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from common.runs import RunFolder

    run = tables_rminas.RmiRun("a/b", "nb201_digits", {}, rank=4, evaluators=("params", "flops"))
    ((config, made),) = run.make([7], tmp_path, tmp_path / "one")
    assert config["SPACE"]["NAME"] == "nasbench201"
    assert "BENCHMARK" not in config
    *lines, summary = made
    assert {(line["evaluator"], line["index"]) for line in lines} == {(e, i) for e in run.evaluators for i in range(4)}
    assert [row["score"] for row in summary["rows"]] == ["params", "FLOPs"]
    clean = [{**line, "environment": CLEAN} for line in lines]
    records.keep(run.name, config, clean[:5])
    assert len(records.read(run.name).evaluations) == 5
    ((_, again),) = run.make([7], tmp_path, tmp_path / "two")  # elsewhere, from what is kept
    assert [line["value"] for line in again[:-1]] != []
    assert {(x["evaluator"], x["index"], x["value"]) for x in again[:-1]} == {
        (x["evaluator"], x["index"], x["value"]) for x in lines
    }
    there = RunFolder(tmp_path / "two" / "a/b_rank").records()
    assert {records.place_of(line) for line in there[:5]} == {records.place_of(line) for line in clean[:5]}


def _stop() -> Any:
    raise KeyboardInterrupt


def test_the_state_says_how_far_it_is(kept: Path):
    two = MadeRun("made/one"), MadeRun("made/two")
    table = a_table(*two, time="an hour")
    assert (table.state_now(), table.minutes()) == ("not yet", "an hour")
    records.keep("made/one", {}, [a_record(seed) for seed in range(5)])
    assert table.state_now() == "begun: 1 of 2 settings have their seeds (n = 0 to 5)"
    records.keep("made/two", {}, [a_record(seed, seconds=22.0) for seed in range(3)])
    assert table.state_now() == "reproduced, n = 3 to 5"
    assert table.minutes() == "2 min"  # 5 seeds of 2 s, 5 of 22 s
    records.keep("made/once", {}, [a_record(0)])
    assert a_table(MadeRun("made/once", seeds=1)).state_now() == "reproduced, n = 1"  # all that there are


# tables ------------------------------------------------------------------------------------------------------------


def test_a_deleted_table_comes_back_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = PAGE.read_text(encoding="utf-8")
    begin, end = text.index("<!-- table renas-201 -->\n"), text.index("<!-- end renas-201 -->")
    page = tmp_path / "papers.md"
    page.write_text(text[: begin + len("<!-- table renas-201 -->\n")] + text[end:], encoding="utf-8")
    monkeypatch.setattr(reproduce, "documents", lambda: [page])
    run_command(monkeypatch, "renas-201", "--pages")
    assert page.read_bytes() == PAGE.read_bytes()


def test_every_table_with_a_page_has_its_section():
    text = PAGE.read_text(encoding="utf-8")
    for table in paper_tables.TABLES:
        assert (f"\n## {table.name}\n" in text) == (table.page is not None), table.name


def looked_up(index: int, label: float, test_acc: float, rank_percent: float) -> dict[str, Any]:
    return {"index": index, "label": label, "test_acc": test_acc, "rank_percent": rank_percent}


def test_a_row_of_renas_is_what_its_records_say(kept: Path):
    for seed, tau in ((0, 0.6), (1, 0.7)):
        record = a_record(
            seed,
            kendall_tau=tau,
            found=looked_up(3, 92.0, 94.0 + seed, 0.5),
            candidates=[looked_up(1, 90.0, 93.0, 2.0), looked_up(3, 92.0, 94.0, 0.5)],
            best_trained=looked_up(9, 91.0, 93.5, 1.0),
        )
        records.keep(tables_renas.on_201("cifar10").name, {}, [record])
    row = next(line for line in tables_renas.found_201_page().splitlines() if line.startswith("| CIFAR-10 "))
    assert row == (
        "| CIFAR-10 | 2 | **94.50 ± 0.71** | 93.99 ± 0.25 | +0.51 | 93.50 ± 0.00 | 93.00 ± 0.00 | 94.00 ± 0.00 "
        "| 0.650 ± 0.071 |"
    )


def test_what_a_search_chose_is_the_first_with_the_best_label():
    record = {"rows": [4, 2, 0, 1], "label": [80.0, 85.0, 85.0, 90.0]}
    reported = {"a": np.array([1.0, 2.0, 3.0, 4.0, 5.0])}
    assert tables_rminas.chosen(record, 1, reported) == {"index": 4, "a": 5.0}
    assert tables_rminas.chosen(record, 3, reported) == {"index": 2, "a": 3.0}
    assert tables_rminas.chosen(record, 9, reported) == {"index": 1, "a": 2.0}  # it had ended


def test_seeds_are_run_in_blocks_of_consecutive_ones(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables_rminas, "BLOCK", 3)
    assert [*tables_rminas.blocks([0, 1, 2, 3, 7, 8])] == [[0, 1, 2], [3], [7, 8]]
    assert [*tables_rminas.blocks([])] == []


def test_the_cost_of_renas_is_that_of_its_network():
    import torch
    from torch import nn

    from renas.lenet import LeNet

    macs = 0

    def count(layer: Any, inputs: Any, output: torch.Tensor) -> None:
        nonlocal macs
        macs += layer.weight.numel() * (output[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1)

    network = LeNet(31, 4).eval()
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    network(torch.zeros(1, 31, 4, 4))
    assert tables_rminas.lenet_gflop(0, 1) == pytest.approx(2 * macs / 1e9)
    assert tables_rminas.lenet_gflop(1, 0) == pytest.approx(600 * tables_rminas.lenet_gflop(0, 1))


def test_a_renas_run_keeps_what_tables_need_and_no_more(tmp_path: Path):
    import csv

    from common.spaces import make_space

    space = make_space("nasbench201")
    archs = space.sample_distinct(60, np.random.default_rng(0))
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch", "cifar10_valid_200", "cifar10_test_200"])
        writer.writerows([space.format(arch), 80 + place / 10, 81 + place / 10] for place, arch in enumerate(archs))
    run = tables_renas.RenasRun("a", "table.csv", "cifar10", labels=20, settings={"num_epochs": 2})
    (config, (record,)), *others = run.make([3], tmp_path, tmp_path / "runs")
    assert not others
    assert {"seed", "kendall_tau", "candidates", "best_trained", "found", "seconds", "environment"} <= record.keys()
    assert not {*tables_renas.LEFT_OUT} & record.keys()
    assert config["source"]["sha256"]
    assert "data_path" not in config
    assert record["seed"] == 3


def test_a_search_run_looks_up_all_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import csv

    from common.spaces import make_space

    space = make_space("nasbench201")
    archs = space.sample_distinct(30, np.random.default_rng(0))
    columns = [f"{name}_{split}" for name in tables_renas.DATASETS for split in ("valid_12", "test_200")]
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch", *columns])
        for place, arch in enumerate(archs):
            writer.writerow([space.format(arch), *(40 + place + number / 10 for number in range(6))])
    monkeypatch.setattr(tables_rminas, "EVALUATED", (10, 30))
    run = tables_rminas.SearchRun("a", "random", "cifar10", {}, file="table.csv")
    ((config, made),) = run.make([0, 1], tmp_path, tmp_path / "runs")
    assert [record["seed"] for record in made] == [0, 1]
    best = made[0]["chosen"]["30"]  # all were seen
    assert best == {"index": 29, "cifar10": 69.1, "cifar100": 69.3, "imagenet16_120": 69.5}
    assert config["label"] == "cifar10_valid_12"


def test_the_published_genotypes_have_the_flops_that_were_published():
    """Million FLOPs of 20 layers of 36 channels, as the authors of FairDARTS list them; 528 is in DARTS's paper."""
    from common.spaces import make_space

    space = make_space("darts", channels=36, layers=20)
    for name, published in {"DARTS (2nd)": 528, "SNAS": 422, "PC-DARTS": 558, "FairDARTS-D": 532}.items():
        flops, _ = space.total_costs(space.to_codes([space.parse(tables_darts.genotype(name))]))
        assert flops[0] / 1e6 == pytest.approx(published, rel=0.003), name


def test_genotypes_are_placed_by_every_table(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from common.seeds import rng_for
    from common.spaces import make_space

    space = make_space("darts")
    archs = space.sample_distinct(30, rng_for(0, "genotypes"))
    costs = space.total_costs(space.to_codes(archs))[1]
    rows = [f'"{space.format(arch)}",{cost / 1e4}' for arch, cost in zip(archs, costs, strict=True)]
    (tmp_path / "made.csv").write_text("\n".join(["genotype,cifar10_valid_acc", *rows]) + "\n")
    monkeypatch.setattr(tables_darts, "TABLES", {"made": ("made.csv", "cifar10_valid_200")})
    with pytest.raises(InputError, match=f"no genotype of '{tables_darts.SEARCHED}' to place"):
        next(tables_darts.PLACES.make([0], tmp_path, tmp_path))
    records.keep(tables_darts.SEARCH.name, {}, [a_record(2, found={"arch": space.format(archs[0])}, evaluations=28)])
    ((config, made),) = tables_darts.PLACES.make([0], tmp_path, tmp_path)
    assert config["genotypes"][tables_darts.SEARCHED] == space.format(archs[0])
    assert config["genotypes"]["PC-DARTS"] == tables_darts.genotype("PC-DARTS")
    placed = made[0]["places"]["made"]
    assert len(placed["predicted"]) == len(placed["names"]) == len(tables_darts.genotypes())
    records.keep(tables_darts.PLACES.name, config, [{**made[0], "environment": CLEAN}])
    assert "; 28 networks evaluated." in tables_darts.darts_page()
    lines = {line.split(" | ")[0].strip("| "): line for line in tables_darts.darts_page().splitlines()}
    assert lines["PC-DARTS"].startswith("| PC-DARTS | 1 | 2.57 ± 0.07 | 2.71 ± 0.11 | ")
    assert "better than" in lines["PC-DARTS"]
    assert lines["NASNet-A"] == "| NASNet-A | 1800 | 2.65 |  |  |"  # no genotype of this space


def test_the_known_run_climbs_above_what_is_drawn(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables_chains, "DRAWN", 30)
    ((config, (record,)),) = tables_chains.KNOWN.make([7], shared_data, tmp_path)
    assert config["max_flops"] == tables_chains.MOST_FLOPS
    assert record["random"] < record["best_random"] < record["uphill"]
    assert record["largest"] <= record["best_random"]


def test_make_tables_knows_the_papers_tables():
    assert {"papers", "renas-tau", "rminas-201", "costs"} <= make_tables.TABLES.keys()


def test_the_tau_of_trained_genotypes_is_told_with_its_interval(kept: Path):
    first = next(iter(tables_darts.RANKINGS.values()))
    rows = [
        {"score": "rmi", "kendall_tau": 0.25, "kendall_tau_interval": [0.046, 0.454], "n": 40},
        {"score": "params", "kendall_tau": 0.5, "kendall_tau_interval": [0.3, 0.7], "n": 40},
    ]
    trained = {"seed": 7, "index": 0, "evaluator": "rmi", "environment": CLEAN}
    records.keep(first.name, {}, [trained, a_record(7, rows=rows)])
    page = tables_darts.tau_page()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines()]
    assert lines[2:4] == [["rmi", "0.250, 0.05 to 0.45 (40)", ""], ["params", "0.500, 0.30 to 0.70 (40)", ""]]
    assert "1 of 40 and 0 of 40" in page
