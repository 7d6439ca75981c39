"""The config: both published dialects, types, overrides, unknown keys, and every YAML that ships."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.errors import InputError
from common.runs.config import nested, pairs
from common.spaces import Skeleton, search_space
from common.spaces.darts import Darts
from common.spaces.nasbench201 import NasBench201
from rminas.config import Config, find_config, load_config, read_config
from rminas.retrain_config import read_retrain_config

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = """
RNG_SEED: 7
SEARCH: {DATASET: 'cifar100', IM_SIZE: 32}
DATA_LOADER: {BACKEND: 'custom'}
OUT_DIR: 'experiment/a'
OPTIM: {BASE_LR: 0.2, MOMENTUM: 0.8, WEIGHT_DECAY: 5e-3, MAX_EPOCH: 150}
TRAIN: {BATCH_SIZE: 64, CHANNELS: 8, LAYERS: 8, CHECKPOINT_PERIOD: 10}
"""
XNAS = """
SPACE: {NAME: infer_nb201}
LOADER: {DATASET: cifar100, NUM_CLASSES: 100, BATCH_SIZE: 64}
OPTIM: {BASE_LR: 0.2, MOMENTUM: 0.8, WEIGHT_DECAY: 0.005, MAX_EPOCH: 150}
TRAIN: {CHANNELS: 8, LAYERS: 8}
RMINAS: {LOSS_BETA: 0.7, RF_WARMUP: 90, RF_THRESRATE: 0.1, RF_SUCC: 20}
BENCHMARK: {NB201PATH: some.pth}
OUT_DIR: experiment/a
"""


def read(tmp_path: Path, text: str, *words: str) -> Config:
    path = tmp_path / "made.yaml"
    path.write_text(text)
    return read_config(path, pairs(words))[0]


def refused(tmp_path: Path, text: str, *words: str) -> str:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, *words)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_defaults_are_the_published_settings_for_nasbench201():
    config = Config()
    assert (config.optim.base_lr, config.optim.momentum, config.optim.weight_decay) == (0.1, 0.9, 5e-4)
    assert (config.train.channels, config.space.cells_per_stage, config.train.batch_size) == (0, 0, 32)
    assert search_space("nasbench201", Skeleton()) == NasBench201(channels=16, cells_per_stage=5)
    r = config.rminas
    assert (r.observe, r.loss_beta, r.pool, r.rf_warmup, r.rf_thresrate) == (150, 0.8, 16, 100, 0.05)
    assert (r.forest, r.rf_succ, r.top, r.candidates, r.vote, r.hsic) == (30, 100, 50, 1000, "sum", "biased")
    assert config.teacher.mode == "eval"


def test_both_dialects_load_into_the_same_settings(tmp_path):
    archive, xnas = read(tmp_path, ARCHIVE), read(tmp_path, XNAS)
    assert (archive.rng_seed, archive.data.im_size, archive.data.name) == (7, 32, "cifar100")
    assert (archive.train.batch_size, archive.train.channels, archive.optim.weight_decay) == (64, 8, 0.005)
    assert (xnas.rminas.loss_beta, xnas.rminas.rf_warmup, xnas.rminas.rf_succ) == (0.7, 90, 20)
    assert (xnas.space.name, xnas.benchmark.path, xnas.data.num_classes) == ("nasbench201", "some.pth", 100)
    assert archive == replace(
        xnas, rng_seed=7, data=replace(xnas.data, num_classes=0, im_size=32), rminas=Config().rminas,
        train=archive.train, benchmark=Config().benchmark,
    )  # fmt: skip


def test_keys_of_the_dialects_that_decide_nothing_are_noted(tmp_path):
    path = tmp_path / "made.yaml"
    path.write_text(ARCHIVE)
    notes = read_config(path, [])[1]
    assert len(notes) == 3
    assert any("OPTIM.MAX_EPOCH has no effect: the steps of a candidate are RMINAS.OBSERVE" in note for note in notes)


@pytest.mark.parametrize("dataset", ["imagenet16", "imagenet16_120", "ImageNet16-120"])
def test_imagenet16_has_several_names(tmp_path, dataset: str):
    assert read(tmp_path, f"LOADER: {{DATASET: {dataset}}}").data.name == "imagenet16_120"


@pytest.mark.parametrize(
    ("engine", "executor"), [("one", "serial"), ("workers", "processes"), ("fused", "together"), ("auto", "auto")]
)
def test_the_engines_of_old_configs_are_executors(tmp_path, engine: str, executor: str):
    assert read(tmp_path, f"RMINAS: {{ENGINE: {engine}}}").executor == executor
    assert read(tmp_path, "{}", "RMINAS.ENGINE", engine) == read(tmp_path, "{}", "EXECUTOR", executor)


def test_a_config_is_found_by_name_from_anywhere(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("nb201_digits", "nb201_digits.yaml"):
        assert find_config(name) == ROOT / "configs" / "nb201_digits.yaml"
    (tmp_path / "nb201_digits.yaml").write_text("{}")
    assert find_config("nb201_digits.yaml") == Path("nb201_digits.yaml")  # one's own comes first
    with pytest.raises(InputError, match=r"nb201_digit: no such config file; by name there are darts_cifar10"):
        find_config("nb201_digit")


@pytest.mark.parametrize("folder", ["", f"{ROOT}/configs/"])
def test_a_config_of_the_other_command_is_told(tmp_path, monkeypatch: pytest.MonkeyPatch, folder: str):
    monkeypatch.chdir(tmp_path)
    search, retraining = f"{folder}nb201_digits", f"{folder}darts_20layer_cifar"
    ending = ".yaml" if folder else ""
    assert find_config(retraining + ending, retraining=True).is_file()
    with pytest.raises(InputError, match=rf"a retraining: python -m rminas\.retrain --cfg {retraining}"):
        find_config(retraining + ending)
    with pytest.raises(InputError, match=rf"a search: python -m rminas --cfg {search}"):
        find_config(search + ending, retraining=True)
    with pytest.raises(InputError, match=r"by name there are darts_14layer_imagenet, darts_20layer_cifar$"):
        find_config("darts", retraining=True)


def test_a_config_is_changed_by_keyword():
    made = load_config("nb201_digits", observe=7, optim__base_lr=0.2, **{"data.name": "cifar10"}, SEEDS=3)
    assert (made.rminas.observe, made.optim.base_lr, made.data.name, made.seeds) == (7, 0.2, "cifar10", 3)
    assert made.rminas.rf_warmup == 50
    assert load_config(made) == made
    assert load_config(made, seeds=4) == replace(made, seeds=4)
    assert load_config() == Config()
    for wrong, said in ((("base_lr", 1), "unknown key BASE_LR"), (("observe", "many"), "RMINAS.OBSERVE is 'many'")):
        with pytest.raises(InputError, match=said):
            load_config("nb201_digits", **{wrong[0]: wrong[1]})


def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        yield from flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]


def test_shipped_configs_say_only_what_differs():
    """Every value is another than the key would have without it: the defaults, the space's or the images'."""
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        tree = yaml.safe_load(path.read_text())
        said = dict(flat(tree))
        for key, value in said.items():
            if key in ("DATA.NAME", "SPACE.NAME"):  # what everything else follows from
                continue
            rest = [(other, str(v)) for other, v in said.items() if other != key]
            reader = read_config if "layer" not in path.stem else read_retrain_config
            without, _ = reader(None, rest)
            there = nested(without)
            for part in key.split("."):
                there = there[part]
            assert there != value, f"{path.name}: {key} {value} is the default"


def test_overrides_win_and_are_read_by_the_type_of_the_key(tmp_path):
    config = read(
        tmp_path, ARCHIVE, "OUT_DIR", "other/", "OPTIM.BASE_LR", "1e-2", "TRAIN.CHANNELS_LAST", "False",
        "LOADER.BATCH_SIZE", "16", "rminas.observe", "7", "DATA.PATH", "5",
    )  # fmt: skip
    assert (config.out_dir, config.optim.base_lr, config.train.channels_last) == ("other/", 0.01, False)
    assert (config.train.batch_size, config.rminas.observe, config.data.path) == (16, 7, "5")


@pytest.mark.parametrize(
    ("text", "words", "parts"),
    [
        ("OPTIM: {BASE_RL: 0.1}", (), ("made.yaml: unknown key OPTIM.BASE_RL", "did you mean OPTIM.BASE_LR?")),
        ("RMINAS: {RF_SUC: 1}", (), ("RMINAS.RF_SUC", "did you mean RMINAS.RF_SUCC?")),
        ("OBSERVE: 3", (), ("OBSERVE", "did you mean RMINAS.OBSERVE?")),
        ("OPTIM: 3", (), ("unknown key OPTIM",)),
        ("{}", ("TRAIN.CHANELS", "3"), ("command line: unknown key TRAIN.CHANELS", "TRAIN.CHANNELS?")),
        ("{}", ("XYZXYZ", "3"), ("unknown key XYZXYZ; known: ", "TRAIN.CHANNELS")),
        ("TRAIN: {CHANNELS: many}", (), ("TRAIN.CHANNELS is 'many', expected a whole number",)),
        ("TRAIN: {CHANNELS: 16.5}", (), ("TRAIN.CHANNELS is 16.5, expected a whole number",)),
        ("TRAIN: {CHANNELS: true}", (), ("TRAIN.CHANNELS is True, expected a whole number",)),
        ("TRAIN: {CHANNELS: [1, 2]}", (), ("TRAIN.CHANNELS is [1, 2], expected a whole number",)),
        ("TRAIN: {CHANNELS: -1}", (), ("TRAIN.CHANNELS is -1, expected from 0 to 4096",)),
        ("TRAIN: {CHANNELS: }", (), ("TRAIN.CHANNELS is None, expected a whole number",)),
        ("OPTIM: {BASE_LR: .nan}", (), ("OPTIM.BASE_LR is nan, expected a number",)),
        ("OPTIM: {BASE_LR: true}", (), ("OPTIM.BASE_LR is True, expected a number",)),
        ("TRAIN: {CHANNELS_LAST: 1}", (), ("TRAIN.CHANNELS_LAST is 1, expected true or false",)),
        ("RMINAS: {VOTE: max}", (), ("RMINAS.VOTE is 'max', expected one of best, greedy, index, model, smoothed",)),
        ("SPACE: {NAME: infer_nb301}", (), ("SPACE.NAME is 'infer_nb301', expected one of darts", "as my_module:NAME")),
        ("{}", ("RMINAS.OBSERVE", "150.0"), ("RMINAS.OBSERVE is '150.0', expected a whole number",)),
        ("{}", ("RMINAS.OBSERVE", "0"), ("RMINAS.OBSERVE is 0, expected from 1 to 1e+06",)),
        ("{}", ("RMINAS.KEPT", "0"), ("RMINAS.KEPT is 0.0, expected above 0 and at most 1",)),
        *(
            ("{}", ("NAME", name), (f"NAME is {name!r}, expected the name of a folder in OUT_DIR, without ..",))
            for name in ("../../x", "a/../../x", "/tmp/x", ".")
        ),
        ("{}", ("RMINAS.OBSERVE",), ("'RMINAS.OBSERVE' has no value",)),
        ("[1, 2]", (), ("expected settings as KEY: value, found list",)),
        ("a: [1", (), ("not YAML",)),
        (
            "{SEARCH: {DATASET: cifar10}, LOADER: {DATASET: cifar100}}", (),
            ("SEARCH.DATASET and LOADER.DATASET mean the same and differ",),
        ),
    ],
)  # fmt: skip
def test_bad_settings_are_one_line_naming_the_key(tmp_path, text: str, words: tuple[str, ...], parts: tuple[str, ...]):
    message = refused(tmp_path, text, *words)
    for part in parts:
        assert part in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read"):
        read_config(tmp_path / "none.yaml", [])


def test_the_saved_config_loads_to_the_same_settings(tmp_path):
    config = read(tmp_path, XNAS, "OPTIM.WEIGHT_DECAY", "1e-7")
    assert read(tmp_path, yaml.safe_dump(nested(config))) == config


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("nb201_*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_loads(path: Path):
    config, _ = read_config(path, [])
    assert config.space.name == "nasbench201"
    if path.stem.endswith("_screen"):
        return  # another search, on a stand-in for one of the data sets
    assert config.data.name.replace("_120", "") == path.stem.removeprefix("nb201_").removesuffix("_fast")
    if config.data.name != "digits" and not path.stem.endswith("_fast"):  # the published settings throughout
        train = replace(config.train, channels=0)  # says the space's own 16
        assert (config.optim, train, config.rminas) == (Config().optim, Config().train, Config().rminas)


def test_the_fast_config_trains_as_published_but_for_less_long():
    fast, published = (read_config(ROOT / "configs" / f"nb201_cifar10{kind}.yaml", [])[0] for kind in ("_fast", ""))
    assert (fast.optim, fast.space, fast.data, fast.teacher) == (
        published.optim,
        published.space,
        published.data,
        published.teacher,
    )
    changed = {"observe", "rf_succ", "size", "race", "round", "vote"}
    theirs = {key: getattr(published.rminas, key) for key in changed}
    assert replace(fast.rminas, **theirs) == published.rminas
    assert fast.rminas.observe < published.rminas.observe


def test_the_archives_nasbench201_configs_and_digits_ship():
    shipped = {path.stem for path in (ROOT / "configs").glob("nb201_*.yaml")}
    assert shipped == {
        "nb201_cifar10",
        "nb201_cifar10_fast",
        "nb201_cifar100",
        "nb201_imagenet16",
        "nb201_digits",
        "nb201_digits_fast",
        "nb201_digits_screen",
        "nb201_cifar10_screen",
        "nb201_cifar100_screen",
        "nb201_imagenet16_screen",
    }


def test_the_screening_has_defaults_of_its_own_behind_what_is_said(tmp_path):
    config = read(tmp_path, "RMINAS: {STRATEGY: screening, CHEAP: params}\nSPACE: {NAME: mobilenet}")
    assert (config.rminas.evaluator, config.rminas.vote, config.rminas.cheap) == ("steady", "sum", "params")
    assert config.rminas.rf_warmup == 15  # the space's published 200 are the forest's
    for path in (ROOT / "configs").glob("*_screen.yaml"):
        made = read_config(path, [])[0]
        assert (made.rminas.strategy, made.rminas.evaluator) == ("screening", "steady")
        assert made.benchmark.dataset in ("", "imagenet16_120", "cifar10")


@pytest.mark.parametrize(("dataset", "batch"), [("cifar10", 128), ("cifar100", 128), ("imagenet", 32)])
def test_the_archives_darts_configs_say_the_published_settings(tmp_path, dataset: str, batch: int):
    config, _ = read_config(ROOT / "configs" / f"darts_{dataset}.yaml", [])
    default = read(tmp_path, "SPACE: {NAME: infer_darts}")
    assert (config.space.name, config.data.name, config.train.batch_size) == ("darts", dataset, batch)
    assert (config.optim, config.rminas) == (default.optim, default.rminas)
    assert (default.optim.base_lr, default.optim.weight_decay, default.train.batch_size) == (0.025, 3e-4, 128)
    assert (default.rminas.observe, default.rminas.forest) == (250, 98)
    assert (config.train.channels, config.train.layers) == (0, 0)  # the space's own
    assert search_space("darts", Skeleton()) == Darts(channels=16, layers=8)


def test_a_spaces_own_defaults_stand_behind_what_is_said(tmp_path):
    macro = read(tmp_path, "SPACE: {NAME: nasbenchmacro}")
    assert (macro.space.name, macro.rminas.observe, macro.train.batch_size) == ("macro", 30, 64)
    said = read(tmp_path, "SPACE: {NAME: macro}\nTRAIN: {BATCH_SIZE: 32}", "RMINAS.OBSERVE", "150")
    assert (said.rminas.observe, said.train.batch_size) == (150, 32)
    assert read(tmp_path, "{}", "SPACE.NAME", "macro").rminas.observe == 30
