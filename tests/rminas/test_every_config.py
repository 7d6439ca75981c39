"""Every shipped config run to its end with its sizes cut down, from files in the true formats; and what is refused."""

from __future__ import annotations

import hashlib
import itertools
import json
import pickle
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from common.cli import run_command
from common.datasets import data_set, imagenet16
from common.networks.teachers import build_teacher
from common.runs.config import pairs
from common.spaces import make_space
from rminas.cli import PROG, main
from rminas.config import read_config
from rminas.retrain_config import read_retrain_config

CONFIGS = {path.stem: path for path in sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))}
SCREENINGS = [name for name in CONFIGS if name.endswith("_screen")]
SEARCHES = [name for name in CONFIGS if "layer" not in name and name not in SCREENINGS]
SMALL = {
    "DEVICE": "cpu", "TRAIN.BATCH_SIZE": 4, "TEACHER.TEST_IMAGES": 2, "RMINAS.OBSERVE": 1, "RMINAS.POOL": 1,
    "RMINAS.RF_WARMUP": 4, "RMINAS.RF_THRESRATE": 0.5, "RMINAS.RF_SUCC": 1, "RMINAS.MAX_EVALUATIONS": 8,
    "RMINAS.FOREST": 2, "RMINAS.CANDIDATES": 20, "EXECUTOR": "serial",
}  # fmt: skip
SMALL_IN: dict[str, dict[str, Any]] = {
    "nasbench201": {"TRAIN.CHANNELS": 2, "SPACE.CELLS_PER_STAGE": 1},
    "darts": {"TRAIN.CHANNELS": 2, "TRAIN.LAYERS": 3},
    "macro": {"TRAIN.CHANNELS": 2},
    # Networks of one size, for images of 224 pixels.
    "mobilenet": {"RMINAS.RF_WARMUP": 2, "RMINAS.MAX_EVALUATIONS": 3},
    "proxyless": {"RMINAS.RF_WARMUP": 2, "RMINAS.MAX_EVALUATIONS": 3},
}
CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet16_120": 120, "imagenet": 2}
NAMED_SPACE = {"digits": "darts"}  # configs whose space the user names
WITHOUT_BUILT_IN_TABLE = ("macro_cifar10", "nb201_cifar100", "nb201_imagenet16")
SUMMARY = {"method", "space", "dataset", "runs", "mean", "std"}
RUN = {"seed", "found", "evaluations", "positives", "search_s", "kendall_tau"}
FOUND = {"arch", "index", "test_acc", "rank", "regret"}

Words = tuple[str, ...]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Few images of every data set in its own format, some of every class."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    made = {name: folder / name for name in CLASSES}
    for name in ("cifar10", "cifar100"):
        made[name] = folder / f"{name}.npz"
        x, y = rng.integers(256, size=(CLASSES[name], 32, 32, 3), dtype=np.uint8), np.arange(CLASSES[name])
        np.savez(made[name], x_train=x, y_train=y, x_test=x[:4], y_test=y[:4], class_names=y.astype(str))
    for split, kind, number in itertools.product(("train", "val"), ("n01440764", "n02102040"), range(2)):
        path = made["imagenet"] / split / kind / f"{kind}_{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=(40, 50, 3), dtype=np.uint8)).save(path)
    made["tinyimagenet120"] = folder / "tiny.npz"
    x, y = rng.integers(256, size=(120, 32, 32, 3), dtype=np.uint8), np.arange(120)
    np.savez(made["tinyimagenet120"], x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    made["imagenet16_120"].mkdir()
    sums = {}
    for number, name in enumerate((*imagenet16.TRAIN_FILES, *imagenet16.TEST_FILES)):
        labels = [*range(1 + number % 10, 131, 10), 1000]
        batch = {"data": rng.integers(256, size=(len(labels), 768), dtype=np.uint8), "labels": labels}
        content = pickle.dumps(batch)
        (made["imagenet16_120"] / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    with pytest.MonkeyPatch.context() as patch:  # made files do not have the md5 of the published ones
        for files in ("TRAIN_FILES", "TEST_FILES"):
            patch.setattr(imagenet16, files, {name: sums[name] for name in getattr(imagenet16, files)})
        yield made


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """teacher(name, classes): the weights of an untrained one, made when they are first asked for."""
    folder = tmp_path_factory.mktemp("teachers")

    @cache
    def make(name: str, classes: int) -> Path:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            torch.save(build_teacher(name, classes).state_dict(), folder / f"{name}_{classes}.pt")
        return folder / f"{name}_{classes}.pt"

    return make


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By space: a table of all NAS-Bench-201 cells, one of all Macro networks, one of 6 genotypes."""
    folder, rng = tmp_path_factory.mktemp("tables"), np.random.default_rng(0)
    made = {name: folder / file for name, file in
            (("nasbench201", "accuracy.csv"), ("macro", "macro.json"), ("darts", "genotypes.csv"))}  # fmt: skip
    space = make_space("nasbench201")
    cells = [space.format(space.from_code(np.array(code, np.uint8))) for code in itertools.product(range(5), repeat=6)]
    accuracies = rng.uniform(20, 90, size=(len(cells), 2))
    lines = [f"{i},{cell},{a:.4f},{b:.4f}" for i, (cell, (a, b)) in enumerate(zip(cells, accuracies, strict=True))]
    made["nasbench201"].write_text("\n".join(["index,arch,cifar100_test_200,imagenet16_120_test_12", *lines]) + "\n")
    records = {}
    for digits, mean in zip(itertools.product("012", repeat=8), rng.uniform(80, 93, size=3**8), strict=True):
        runs = [mean - 0.25, mean, mean + 0.25]
        records["".join(digits)] = {"test_acc": runs, "mean_acc": mean, "std": 0.2, "params": 10**6, "flops": 10**7}
    made["macro"].write_text(json.dumps(records))
    write_genotypes(made["darts"], genotypes(6))
    return made


def genotypes(count: int) -> list[str]:
    """As published lists hold them: the reduction cell is another than the normal one."""
    space = make_space("darts", tied=False)
    return [space.format(space.sample(np.random.default_rng(seed))) for seed in range(count)]


def write_genotypes(path: Path, texts: list[str]) -> None:
    path.write_text("".join(["genotype,cifar10_valid_acc\n", *(f'"{t}",{80 + i}\n' for i, t in enumerate(texts))]))


@pytest.fixture
def words_for(
    tmp_path: Path, images: dict[str, Path], teacher: Callable[[str, int], Path], tables: dict[str, Path]
) -> Callable[..., Words]:
    """words_for(config, KEY=VALUE, ...): the command line that runs it in the test's own folder, cut down.

    Without BENCHMARK.PATH in it, a table of DARTS networks is not named.
    """

    def make(name: str, **changes: Any) -> Words:
        config, _ = read_config(CONFIGS[name], [])
        data = config.data.name
        space = NAMED_SPACE.get(name, config.space.name)
        said = {**SMALL, **SMALL_IN[space], "SPACE.NAME": space, "OUT_DIR": tmp_path}
        if config.rminas.race:
            said |= {"RMINAS.RACE_FULL": 8, "RMINAS.RF_WARMUP": 9, "RMINAS.MAX_EVALUATIONS": 20}
        if data in CLASSES:
            said |= {"DATA.PATH": images[data], "DATA.NUM_CLASSES": CLASSES[data]}
        if config.teacher.epochs:
            said |= {"TEACHER.EPOCHS": 1, "TEACHER.BATCH_SIZE": 256}
        else:
            # The forward pass of a ResNet-152 takes longer than all else, so that one config does it for all.
            own = name == "mb_imagenet" or data != "imagenet"
            said["TEACHER.NAME"] = data_set(data).teacher if own else "resnet20"
            said["TEACHER.WEIGHTS"] = teacher(said["TEACHER.NAME"], CLASSES[data])
        if name in WITHOUT_BUILT_IN_TABLE:
            said["BENCHMARK.PATH"] = tables[config.space.name]
        said |= changes
        return ("--cfg", str(CONFIGS[name]), *(str(word) for pair in said.items() for word in pair))

    return make


def run(words: Words) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        run_command(PROG, lambda: main([*words]))
    return int(ended.value.code or 0)


def lines_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]


def summary_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def untimed(tree: Any) -> Any:
    """Without seconds, which no two runs share."""
    if isinstance(tree, dict):
        return {key: untimed(value) for key, value in tree.items() if not key.endswith("_s")}
    return [untimed(item) for item in tree] if isinstance(tree, list) else tree


def test_what_is_no_search_is_a_retraining() -> None:
    others = [name for name in CONFIGS if name not in (*SEARCHES, *SCREENINGS)]
    assert others == ["darts_14layer_imagenet", "darts_20layer_cifar"]
    for name in others:
        assert read_retrain_config(CONFIGS[name], [])[1] == []


@pytest.mark.parametrize("name", SEARCHES)
def test_a_config_is_searched_to_the_end(
    name: str, words_for: Callable[..., Words], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_for(name)
    assert run(words) == 0
    folder, settings = tmp_path / name, read_config(CONFIGS[name], pairs(words[2:]))[0]
    assert read_config(folder / "config.yaml", [])[0] == settings

    made, records, space = summary_in(folder), lines_in(folder), make_space(settings.space.name)
    assert made.keys() >= SUMMARY
    assert (made["method"], made["space"], made["dataset"]) == ("RMI-NAS", settings.space.name, settings.data.name)
    assert made["executor"] == "one at a time"
    assert made["teacher"]["name"] == settings.teacher.name or settings.data.name == "digits"
    (one,) = made["runs"]
    assert one.keys() >= RUN
    assert (one["seed"], one["evaluations"]) == (settings.rng_seed, len(records))
    assert settings.rminas.rf_warmup < len(records) <= settings.rminas.max_evaluations
    assert one["positives"] == sum(bool(record["positive"]) for record in records)
    assert one["search_s"] > 0
    for record in records:
        space.parse(record["arch"])
        assert len(record["trajectory"]) == 2 or record["stopped"]
        assert not record["stopped"] or (settings.rminas.race and not record["positive"])
    assert len({record["value"] for record in records}) > 1

    assert one["found"].keys() == FOUND
    space.parse(one["found"]["arch"])
    table = made["benchmark"]["best"] is not None
    assert table == (settings.space.name in ("nasbench201", "macro"))
    assert made["benchmark"]["built_in"] == (
        settings.data.name in ("cifar10", "digits") and settings.space.name == "nasbench201"
    )
    assert (" at best in AnalogNAS-Bench" in made["accuracy"]) == made["benchmark"]["built_in"]
    numbers = [one["found"][key] for key in ("index", "test_acc", "rank", "regret")]
    assert all((number is not None) == table for number in numbers)
    assert made["mean"]["test_acc"] == one["found"]["test_acc"]
    assert made["std"]["search_s"] == 0
    assert (folder / "search.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert one["found"]["arch"] in out
    assert str(folder) in out


@pytest.mark.parametrize("name", SCREENINGS)
def test_a_screening_config_is_searched_without_a_teacher(
    name: str, images: dict[str, Path], tables: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {
        "DEVICE": "cpu", "EXECUTOR": "serial", "TRAIN.BATCH_SIZE": 4, "RMINAS.DRAWN": 40, "RMINAS.RF_WARMUP": 5,
        "RMINAS.MAX_EVALUATIONS": 9, "OUT_DIR": tmp_path,
    }  # fmt: skip
    config = read_config(CONFIGS[name], [])[0]
    said |= SMALL_IN[config.space.name]
    if config.data.name in images:
        said["DATA.PATH"] = images[config.data.name]
    if config.space.name == "macro" or config.data.name not in ("cifar10", "digits"):
        said["BENCHMARK.PATH"] = tables[config.space.name]
    words = ("--cfg", str(CONFIGS[name]), *(str(word) for pair in said.items() for word in pair))
    assert run(words) == 0
    made, records = summary_in(tmp_path / name), lines_in(tmp_path / name)
    assert made["teacher"] is None
    assert made["settings"]["RMINAS"]["EVALUATOR"] == "steady"
    assert [record["phase"] for record in records] == ["initial"] * 5 + ["screening"] * 4
    (one,) = made["runs"]
    assert one["found"] == one["chosen_by"]["sum"]
    assert one["voters"] == 9
    stages = one["stages"]
    assert [stage["out"] for stage in stages] == [40, 10, 9, 9, 1]
    assert sum(stage["share"] for stage in stages) == pytest.approx(1)
    if one["found"]["regret"] is not None:
        assert sum(stage["lost"] for stage in stages) == pytest.approx(one["found"]["regret"])
    out = capsys.readouterr().out
    assert ("a stand-in for ImageNet16-120, not its classes" in out) == ("imagenet16" in name)
    assert "kept by the free score" in out


def test_finalists_are_evaluated_by_another_evaluator_and_a_killed_search_goes_on(
    images: dict[str, Path], tmp_path: Path
) -> None:
    said = {
        "DEVICE": "cpu", "EXECUTOR": "serial", "TRAIN.BATCH_SIZE": 4, "RMINAS.DRAWN": 40, "RMINAS.RF_WARMUP": 5,
        "RMINAS.MAX_EVALUATIONS": 9, "OUT_DIR": tmp_path, "RMINAS.FINALISTS": 3, "RMINAS.FINAL": "l2_norm",
        "DATA.PATH": images["cifar10"], **SMALL_IN["nasbench201"],
    }  # fmt: skip
    words = ("--cfg", "nb201_cifar10_screen", *(str(word) for pair in said.items() for word in pair))
    assert run(words) == 0
    folder = tmp_path / "nb201_cifar10_screen"
    made, records = summary_in(folder), lines_in(folder)
    finals = [record for record in records if record.get("stage") == "final"]
    assert len(finals) == 3
    assert made["runs"][0]["voters"] == 3
    assert made["runs"][0]["chosen_by"]["best"]["arch"] in [record["arch"] for record in finals]
    assert [stage["out"] for stage in made["runs"][0]["stages"]] == [40, 10, 9, 9, 3, 1]
    file = folder / "evaluations.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:10]))
    assert run(words) == 0
    assert untimed(lines_in(folder)) == untimed(records)


def test_a_killed_search_beside_a_table_that_knows_none_of_its_networks_goes_on_to_the_same_end(
    words_for: Callable[..., Words], tmp_path: Path, tables: dict[str, Path]
) -> None:
    words = words_for("darts_cifar10", **{"RMINAS.ROUND": 2, "BENCHMARK.PATH": tables["darts"]})
    folder = tmp_path / "darts_cifar10"
    assert run(words) == 0
    records, made = lines_in(folder), summary_in(folder)
    assert made["benchmark"]["best"] == 85  # percent
    assert made["runs"][0]["found"]["test_acc"] is None
    file = folder / "evaluations.jsonl"
    kept = file.read_text().splitlines(keepends=True)
    file.write_text("".join(kept[:5]) + kept[5][:300])
    (folder / "summary.json").unlink()
    (folder / "search.png").unlink()
    assert run(words) == 0
    assert untimed(lines_in(folder)) == untimed(records)
    assert untimed(summary_in(folder)) == untimed(made)
    assert (folder / "search.png").exists()


@pytest.mark.parametrize("name", ["macro_cifar10", "darts_cifar10"])
def test_networks_of_a_table_are_ranked(
    name: str, words_for: Callable[..., Words], tmp_path: Path, tables: dict[str, Path]
) -> None:
    table = tables[name.split("_")[0]]
    assert run((*words_for(name, **{"BENCHMARK.PATH": table, "RNG_SEED": 0}), "--rank", "4")) == 0
    folder = tmp_path / f"{name}_rank"
    archs = [record["arch"] for record in lines_in(folder)]
    known = {"darts": genotypes(6), "macro": list(json.loads(tables["macro"].read_text()))}[name.split("_")[0]]
    assert len(set(archs)) == 4
    assert len(archs) == 3 * 4  # by three evaluators
    assert set(archs) <= set(known)
    (one,) = summary_in(folder)["runs"]
    assert one["n"] == 4
    assert [row["score"] for row in one["rows"]] == ["RMI loss, step 1", "params", "FLOPs"]
    assert all(row["n"] == 4 and -1 <= row["kendall_tau"] <= 1 for row in one["rows"])
    assert (folder / "rank.png").read_bytes().startswith(b"\x89PNG")


# what is refused -----------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[Words], str]:
    """refused(words): the one line on the terminal of a command that ends with 2."""

    def check(words: Words) -> str:
        assert run(words) == 2
        err = capsys.readouterr().err
        said = [line for line in err.splitlines() if line.strip()]
        assert len(said) == 1, err
        assert said[0].startswith(f"{PROG}: error: ")
        return said[0]

    return check


def test_a_ranking_of_more_than_the_table_holds_is_refused(
    words_for: Callable[..., Words], tmp_path: Path, tables: dict[str, Path], refused: Callable[[Words], str]
) -> None:
    def say(count: int, path: Path) -> str:
        return refused((*words_for("darts_cifar10", **{"BENCHMARK.PATH": path}), "--rank", str(count)))

    known = "distinct architectures with cifar10_valid_200"
    assert f"--rank 7: {tables['darts']} holds 6 {known}" in say(7, tables["darts"])
    some = tmp_path.parent / "some.csv"  # of five one was not measured
    some.write_text(tables["darts"].read_text().split(",84\n")[0] + ",\n")
    assert f"--rank 5: {some} holds 4 {known}" in say(5, some)
    assert "--rank 7000: " in refused((*words_for("macro_cifar10"), "--rank", "7000"))
    said = refused((*words_for("darts_cifar10"), "--rank", "3"))
    assert "--rank 3: there is no table of trained DARTS networks (BENCHMARK.PATH) to compare with" in said
    assert not list(tmp_path.iterdir())  # it is seen before anything is made


def test_folders_that_are_not_imagenets_are_refused(
    words_for: Callable[..., Words], tmp_path: Path, refused: Callable[[Words], str]
) -> None:
    def say(path: object) -> str:
        return refused(words_for("darts_imagenet", **{"DATA.PATH": path}))

    assert f"{tmp_path / 'none'}: no such file or folder; imagenet was to be read from it" in say(tmp_path / "none")
    assert "imagenet is not downloaded: give its folder" in say("")
    for split in ("train", "val"):
        for kind in ("n01440764", "n02102040"):
            (tmp_path / "folder" / split / kind).mkdir(parents=True)
            (tmp_path / "folder" / split / kind / "a.JPEG").write_bytes(b"")
    (tmp_path / "folder" / "train" / "n02102040" / "a.JPEG").unlink()
    assert "train: no pictures in n02102040; fill or remove it" in say(tmp_path / "folder")


def test_tables_with_a_wrong_entry_or_of_another_space_are_refused(
    words_for: Callable[..., Words], tmp_path: Path, tables: dict[str, Path], refused: Callable[[Words], str]
) -> None:
    def say(config: str, path: Path) -> str:
        said = refused(words_for(config, **{"BENCHMARK.PATH": path}))
        assert f"{path}: " in said
        return said

    path = tmp_path / "genotypes.csv"
    write_genotypes(path, [genotypes(1)[0], genotypes(2)[1].replace("sep_conv_3x3", "sep_conv_9x9")])
    assert "line 3: not a DARTS genotype: unknown operation 'sep_conv_9x9'" in say("darts_cifar10", path)
    write_genotypes(path, [f"__import__('pathlib').Path('{tmp_path / 'ran'}').touch()"])
    assert "line 2: not a DARTS genotype" in say("darts_cifar10", path)
    assert not (tmp_path / "ran").exists()
    records = json.loads(tables["macro"].read_text())
    path = tmp_path / "macro.json"
    path.write_text(json.dumps({"01201201": records["01201201"], "0120120": records["01201202"]}))
    assert "need 8 digits 0, 1 or 2, got '0120120'" in say("macro_cifar10", path)
    assert "of macro, the search is in darts" in say("darts_cifar10", tables["macro"])
    assert "of darts, the search is in macro" in say("macro_cifar10", tables["darts"])
    assert not list(tmp_path.glob("*cifar10"))  # no run folder is left behind
