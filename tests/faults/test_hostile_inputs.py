"""Damaged and hostile files, flags and settings: one line, exit code 2, no traceback, no code run, little memory."""

from __future__ import annotations

import bz2
import io
import json
import pickle
import re
import shutil
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hostile as h
import numpy as np
import pytest
import torch
from hostile import COMMANDS, Made, cfg, check, cut, evil, flipped, npy_bytes, npz_of, saved, text
from PIL import Image

from common.benchmarks.nasbench101.tfrecord import write_records
from common.cli import run_command
from common.errors import InputError
from common.networks.teachers import build_teacher
from common.runs.config import nested
from common.runs.folder import leaves
from rminas.config import Config, read_config
from rminas.retrain_config import RetrainConfig, read_retrain_config

GENOTYPE = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), "
    "('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], normal_concat=range(2, 6), "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=range(2, 6))"
)

TABLE = {"PATH": "table.csv", "DATASET": "cifar10"}


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread: None) -> None:
    """See `one_thread`."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# settings files ------------------------------------------------------------------------------------------------------

YAMLS: dict[str, Made] = {
    **h.NOT_REGULAR,
    "sparse": h.sparse,
    "noise": h.noise,
    "empty": text(""),
    "no UTF-8": text(b"DATA: {NAME: \xff\xfe}"),
    "nul": text(b"DATA: {NAME: 'a\0b'}"),
    "deep": text("a: " + "[" * 5000 + "]" * 5000),
    "deep in blocks": text("".join(" " * n + "a:\n" for n in range(300))),
    "half deep": text("a: " + "[" * 80 + "]" * 80),
    "bomb": text(h.YAML_BOMB),
    "bomb of keys": text(h.YAML_MERGE_BOMB),
    "bomb by merging": text(h.YAML_MERGE_BOMB.replace("k0:", "<<:")),
    "itself": text("DATA: &a {NAME: *a}"),
    "itself in a list": text("&a [*a, *a]"),
    "digits": text(f"RNG_SEED: {h.LONG}"),
    "digits in hex": text(f"RNG_SEED: 0x{h.LONG}"),
    "digits in a text": text(f"RNG_SEED: '{h.LONG}'"),
    "wrong tag": text("RNG_SEED: !!int x"),
    "wrong bool": text("TRAIN: {CHANNELS_LAST: !!bool maybe}"),
    "wrong time": text("RNG_SEED: !!timestamp x"),
    "python object": text("RNG_SEED: !!python/object/apply:os.system ['touch ran']"),
    "list as key": text("[1, 2]: 3"),
    "number as key": text("1: 2"),
    "nothing as key": text("~: 2"),
    "tab": text("DATA:\n\tNAME: digits"),
    "two documents": text("RNG_SEED: 0\n---\nRNG_SEED: 1"),
    "alias to nothing": text("DATA: *nothing"),
    "list as text": text("DATA: {NAME: [digits]}"),
    "date as number": text("RNG_SEED: 2020-01-01"),
    "bytes as number": text("RNG_SEED: !!binary aGVsbG8="),
    "null in a path": text('OUT_DIR: "a\\0b"\nDATA: {NAME: digits}'),
    "key of 100,000 letters": text("a" * 100_000 + ": 1"),
}


@pytest.mark.parametrize("command", ["rminas", "retrain"])
@pytest.mark.parametrize("kind", YAMLS)
def test_settings_files(tmp_path: Path, command: str, kind: str):
    check(tmp_path, (command, ["--cfg", "@c.yaml"], {"c.yaml": YAMLS[kind]}))


# settings: every number that can be absurd ---------------------------------------------------------------------------

SETTINGS = [
    ("SPACE.CELLS_PER_STAGE", "1000000"),
    ("SPACE.CELLS_PER_STAGE", "-1"),
    ("TRAIN.LAYERS", "1000000"),
    ("TRAIN.CHANNELS", "1000000"),
    ("TRAIN.CHANNELS", "1e6"),
    ("TRAIN.BATCH_SIZE", "1000000000000"),
    ("TRAIN.BATCH_SIZE", "100000"),
    ("RMINAS.POPULATION", "200000"),
    ("RMINAS.OBSERVE", "1e12"),
    ("RMINAS.OBSERVE", "1000000000000"),
    ("RMINAS.RF_WARMUP", "1000000000000"),
    ("RMINAS.RF_SUCC", "1000000000000"),
    ("RMINAS.FOREST", "1000000000000"),
    ("RMINAS.CANDIDATES", "1000000000000"),
    ("RMINAS.MAX_EVALUATIONS", "1000000000000"),
    ("RMINAS.POOL", "1000000000000"),
    ("RMINAS.POOL", "0"),
    ("RMINAS.TOP", "1000000000000"),
    ("RMINAS.ROUND", "1000000000000"),
    ("RMINAS.RACE_FULL", "1000000000000"),
    ("RMINAS.RACE", "nan"),
    ("RMINAS.SIZE", "inf"),
    ("RMINAS.RF_THRESRATE", "2"),
    ("RMINAS.LOSS_BETA", "1e400"),
    ("RMINAS.EVALUATOR", "nobody"),
    ("RMINAS.EVALUATOR", "+"),
    ("RMINAS.EVALUATOR", "no_such_module:thing"),
    ("RMINAS.STRATEGY", "/etc/passwd:x"),
    ("RMINAS.VOTE", "\n\n"),
    ("RNG_SEED", "inf"),
    ("RNG_SEED", "-1"),
    ("RNG_SEED", "9" * 30),
    ("RNG_SEED", "9" * 5000),
    ("SEEDS", "1000000000000"),
    ("SEEDS", "0"),
    ("DEVICE", "cuda:99"),
    ("EXECUTOR", "nobody"),
    ("OPTIM.BASE_LR", "nan"),
    ("OPTIM.BASE_LR", "0"),
    ("OPTIM.MOMENTUM", "1.5"),
    ("OPTIM.GRAD_CLIP", "-inf"),
    ("TEACHER.EPOCHS", "1000000000000"),
    ("TEACHER.BATCH_SIZE", "1"),
    ("TEACHER.BASE_LR", "-1"),
    ("TEACHER.NAME", "../../etc/passwd"),
    ("TEACHER.TAPS", "nothing,like,this"),
    ("DATA.NAME", "a\nb"),
    ("DATA.NAME", ""),
    ("DATA.NUM_CLASSES", "1000000000000"),
    ("DATA.IM_SIZE", "-5"),
    ("SPACE.NAME", "nowhere"),
    ("SPACE.NAME", "json:loads"),
    ("BENCHMARK.PATH", "/dev/zero"),
    ("BENCHMARK.DATASET", "nothing"),
    ("BENCHMARK.COLUMN", "nothing"),
    ("NO.SUCH.KEY", "1"),
    ("RMINAS.DRAWN", "1000000000000"),
    ("RMINAS.DRAWN", "5"),
    ("RMINAS.KEPT", "nan"),
    ("RMINAS.KEPT", "2"),
    ("RMINAS.FINALISTS", "1000000000000"),
    ("RMINAS.FINALISTS", "-1"),
    ("RMINAS.CHEAP", "nobody"),
    ("TEACHER.NUM_CLASSES", "1000000000000"),
    ("TRAIN.IM_SIZE", "1000000000000"),
    ("TRAIN.IM_SIZE", "3"),
    ("TRAIN.PRECISION", "float7"),
    ("RAY.CPUS", "0"),
    ("RAY.CPUS", "nan"),
    ("RAY.CPUS", "inf"),
    ("RAY.CPUS", "1e300"),
    ("RAY.GPUS", "-1"),
    ("RAY.GPUS", "inf"),
    ("RAY.GPUS", "1e300"),
    ("TRACKER", "nobody"),
    ("TRACKER", "os:system"),
    ("TRACKER", "json:loads"),
    ("BUDGET.MAX_PARAMS", "nan"),
    ("BUDGET.MAX_PARAMS", "inf"),
    ("BUDGET.MAX_PARAMS", "-1"),
    ("BUDGET.MAX_PARAMS", "0"),
    ("BUDGET.MAX_PARAMS", "1e-9"),
    ("BUDGET.MAX_PARAMS", "1.2.3M"),
    ("BUDGET.MAX_PARAMS", "9" * 5000),
    ("BUDGET.MAX_FLOPS", "60T"),
    ("BUDGET.MAX_FLOPS", "1e400"),
    ("BUDGET.MAX_LATENCY", "12"),
    ("BUDGET.LATENCY", "/dev/zero"),
]


@pytest.mark.parametrize(("key", "value"), SETTINGS)
def test_settings_of_a_search(tmp_path: Path, key: str, value: str):
    small = {"TEACHER": {"EPOCHS": 1}, "TRAIN": {"CHANNELS": 2}, "BENCHMARK": TABLE}
    files = {"c.yaml": cfg(**small), "table.csv": text(h.CSV)}
    check(tmp_path, ("rminas", ["--cfg", "@c.yaml", key, value], files))


NO_NUMBERS = ("words", "nan", "inf", "-inf", "1e400", h.LONG, "-" + h.LONG, "[1]", "{a: 1}", "")


@pytest.mark.parametrize("config", [Config, RetrainConfig])
def test_no_key_of_a_number_takes_what_is_none(config: type):
    read = read_config if config is Config else read_retrain_config
    numbers = {key: default for key, default in leaves(nested(config())).items() if not isinstance(default, str)}
    assert len(numbers) > 20
    accepted = []
    for key, default in numbers.items():
        read(None, [(key, str(default))])  # it is a key
        for value in NO_NUMBERS:
            try:
                read(None, [(key, value)])
            except InputError:
                continue
            accepted.append((key, value[:20]))
    assert not accepted


RETRAIN_SETTINGS = [
    ("TRAIN.LAYERS", "1000000"),
    ("TRAIN.LAYERS", "2"),
    ("TRAIN.CHANNELS", "1000000"),
    ("TRAIN.BATCH_SIZE", "1000000000000"),
    ("TRAIN.CUTOUT", "1000"),
    ("TRAIN.DROP_PATH_PROB", "1"),
    ("TRAIN.EVAL_PERIOD", "0"),
    ("OPTIM.MAX_EPOCH", "1000000000000"),
    ("OPTIM.WARMUP_EPOCH", "1000"),
    ("RNG_SEED", "inf"),
    ("SPACE.NAME", "nasbench201"),
]


@pytest.mark.parametrize(("key", "value"), RETRAIN_SETTINGS)
def test_settings_of_a_retraining(tmp_path: Path, key: str, value: str):
    words = ["--cfg", "@c.yaml", "--genotype", GENOTYPE, key, value]
    check(tmp_path, ("retrain", words, {"c.yaml": cfg()}))


# flags ---------------------------------------------------------------------------------------------------------------

FLAGS: list[tuple[str, list[Any]]] = [
    ("renas", ["--train_ratio", "nan"]),
    ("renas", ["--train_ratio", "2"]),
    ("renas", ["--train_ratio", "-1e400"]),
    ("renas", ["--train_num", "-5"]),
    ("renas", ["--train_num", h.LONG]),
    ("renas", ["--total_num", "0"]),
    ("renas", ["--total_num", "-1"]),
    ("renas", ["--count", "1000000000000"]),
    ("renas", ["--count", "0"]),
    ("renas", ["--budget", "1e9"]),
    ("renas", ["--budget", h.LONG]),
    ("renas", ["--seed", "-1"]),
    ("renas", ["--seed", "9" * 30]),
    ("renas", ["--seeds", "1000000000000"]),
    ("renas", ["--seeds", "100000"]),
    ("renas", ["--jobs", "100000"]),
    ("renas", ["--jobs", "0"]),
    ("renas", ["--lr", "nan"]),
    ("renas", ["--lr", "inf"]),
    ("renas", ["--num_epochs", "1000000000000"]),
    ("renas", ["--batch_size", "1"]),
    ("renas", ["--search", "ea", "--ea_population", "1000000000000"]),
    ("renas", ["--search", "nobody"]),
    ("renas", ["--search", "os:system"]),
    ("renas", ["--predictor", "json:loads"]),
    ("renas", ["--predictor", "missing.py:X"]),
    ("renas", ["--encoding", "nothing"]),
    ("renas", ["--encoding", "scores=/dev/zero", "--predictor", "boosting"]),
    ("renas", ["--features", "nothing"]),
    ("renas", ["--predictor", "boosting", "boosting.max_iter", "1000000000000"]),
    ("renas", ["--predictor", "boosting", "boosting.nothing", "1"]),
    ("renas", ["--predictor", "boosting", "boosting.max_iter"]),
    ("renas", ["--dataset", "nothing"]),
    ("renas", ["--label", "nothing"]),
    ("renas", ["--space", "nowhere"]),
    ("renas", ["--benchmark", "nothing"]),
    ("renas", ["--device", "tpu"]),
    ("renas", ["--out", "@table.csv"]),
    ("renas", ["--out", "@table.csv/inside"]),
    ("renas", ["--out", "/proc/nothing"]),
    ("renas", ["--out", "x" * 300]),
    ("compare", ["--strategies", ","]),
    ("compare", ["--strategies", "random,random"]),
    ("compare", ["--strategies", "nobody"]),
    ("compare", ["--budget", "0"]),
    ("compare", ["--budget", h.LONG]),
    ("compare", ["--seeds", "1000000000"]),
    ("compare", ["--jobs", "100000"]),
    ("compare", ["--predictors", "nobody"]),
    ("compare", ["--encoding", "one_hot"]),
    ("compare", ["active.batch", "1000000000000"]),
    ("compare", ["batch", "5"]),
    ("renas", ["--max_params", "nan"]),
    ("renas", ["--max_params", "1"]),
    ("renas", ["--max_flops", "-5"]),
    ("renas", ["--max_flops", h.LONG]),
    ("renas", ["--max_latency", "5"]),
    ("renas", ["--latency", "@table.csv"]),
    ("renas", ["--max_latency", "5", "--latency", "/dev/zero"]),
    ("renas", ["--max_latency", "5", "--latency", "nothing"]),
    ("renas", ["--max_latency", "5", "--latency", "@table.csv"]),
    ("renas", ["--search", "pareto", "--cost", "nothing"]),
    ("renas", ["--search", "pareto", "pareto.cost", "nothing"]),
    ("renas", ["--budget_seconds", "nan"]),
    ("renas", ["--budget_seconds", "-1"]),
    ("renas", ["--budget_seconds", "1e400"]),
    ("renas", ["--tracker", "nobody"]),
    ("renas", ["--tracker", "os:system"]),
    ("renas", ["--executor", "nobody"]),
    ("renas", ["--executor", "os:system"]),
    ("renas", ["--executor", "ray", "--ray_address", "nowhere"]),
    ("compare", ["--max_params", "1e-3"]),
    ("compare", ["--max_latency", "1e9", "--latency", "@table.csv/x"]),
    ("compare", ["--executor", "ray", "--ray_address", "\n"]),
    ("compare", ["--executor", "/etc/passwd:x"]),
]


@pytest.mark.parametrize(("command", "words"), FLAGS)
def test_flags_of_searches_in_a_table(tmp_path: Path, command: str, words: list[Any]):
    check(tmp_path, (command, ["--data_path", "@table.csv", *words], {"table.csv": text(h.CSV)}))


RMINAS_FLAGS: list[tuple[str, list[Any]]] = [
    ("rminas", ["--cfg", "nothing"]),
    ("rminas", ["--cfg", "nb201_digits", "--rank", "0"]),
    ("rminas", ["--cfg", "nb201_digits", "--rank", "1000000000"]),
    ("rminas", ["--cfg", "nb201_digits", "--rank", h.LONG]),
    ("rminas", ["--cfg", "nb201_digits", "--rank", "4", "--evaluators", "nobody"]),
    ("rminas", ["--cfg", "nb201_digits", "--rank", "4", "--evaluators", ","]),
    ("rminas", ["--cfg", "nb201_digits", "--evaluators", "params"]),
    ("rminas", ["--cfg", "nb201_digits", "--seed", "x"]),
    ("rminas", ["--cfg", "nb201_digits", "--seeds", "1e9"]),
    ("rminas", ["--cfg", "nb201_digits", "--device", "cuda"]),
    ("rminas", ["--cfg", "nb201_digits", "SEEDS"]),
    ("rminas", ["--cfg", "nb201_digits", "--rank", "4", "--evaluators", "params", "BENCHMARK.ZERO_COST", "/dev/zero"]),
    ("teacher", ["--epochs", "0"]),
    ("teacher", ["--epochs", "1000000000000"]),
    ("teacher", ["--batch_size", "1000000000000"]),
    ("teacher", ["--warmup_epochs", "1000000000000"]),
    ("teacher", ["--lr", "nan", "--epochs", "1"]),
    ("teacher", ["--batch_size", "1"]),
    ("teacher", ["--warmup_epochs", "10"]),
    ("teacher", ["--weight_decay", "nan", "--epochs", "1"]),
    ("teacher", ["--seed", "-1", "--epochs", "1"]),
    ("teacher", ["--teacher", "nobody"]),
    ("teacher", ["--dataset", "a b"]),
    ("teacher", ["--data_path", "nothing"]),
    ("retrain", ["--cfg", "@c.yaml"]),
    ("retrain", ["--cfg", "@c.yaml", "--genotype", "Genotype("]),
    ("retrain", ["--cfg", "@c.yaml", "--genotype", "(" * 10_000]),
    ("retrain", ["--cfg", "@c.yaml", "--genotype", "__import__('os').system('touch ran')"]),
    ("retrain", ["--cfg", "@c.yaml", "--genotype", GENOTYPE.replace("sep_conv_3x3', 0", f"sep_conv_3x3', {h.LONG}")]),
    ("retrain", ["--cfg", "@c.yaml", "--genotype", "nothing"]),
    ("retrain", ["--cfg", "@c.yaml", "--genotype", GENOTYPE, "--run_seed", "1"]),
    ("predict", ["--model", "nothing", "cell"]),
    ("predict", ["--model", "nothing", "--table", "builtin", "--top", "0"]),
    ("predict", ["--model", "nothing"]),
]


@pytest.mark.parametrize(("command", "words"), RMINAS_FLAGS)
def test_flags_of_other_commands(tmp_path: Path, command: str, words: list[Any]):
    check(tmp_path, (command, words, {"c.yaml": cfg()}))


SEARCHED = ["--cfg", "@c.yaml", "RMINAS.EVALUATOR", "params", "RMINAS.MAX_EVALUATIONS", "3"]
ELECTED = [*SEARCHED, "RMINAS.STRATEGY", "random", "RMINAS.VOTE"]
# Import paths of what is something else: no class or function, of other arguments, or making something else.
OTHERS: list[tuple[str, list[Any]]] = [
    *(("renas", ["--data_path", "@table.csv", flag, path])
      for flag in ("--search", "--predictor", "--space", "--tracker", "--executor")
      for path in ("os:sep", "builtins:reversed", "fractions:Fraction")),
    *(("renas", ["--data_path", "@table.csv", "--predictor", "boosting", "--encoding", path])
      for path in ("os:sep", "builtins:reversed", "fractions:Fraction")),
    *(("compare", ["--data_path", "@table.csv", "--strategies", path]) for path in ("os:sep", "builtins:reversed")),
    *(("rminas", [*SEARCHED, "RMINAS.STRATEGY", path]) for path in ("os:sep", "builtins:reversed", "os:system")),
    *(("rminas", [*ELECTED, path]) for path in ("os:sep", "os:getcwd", "nothing:at_all")),
    *(("rminas", [*SEARCHED, key, path])
      for key in ("SPACE.NAME", "EXECUTOR", "TRACKER") for path in ("os:sep", "builtins:reversed")),
    *(("teacher", ["--dataset", "digits", "--epochs", "1", "--teacher", path])
      for path in ("os:sep", "os:getcwd", "fractions:Fraction")),
    *(("rminas", ["--cfg", "@c.yaml", "--rank", "4", "--evaluators", path])
      for path in ("os:sep", "fractions:Fraction")),
    *(("renas", ["--data_path", "@table.csv", "--benchmark", path]) for path in ("os:sep", "os:getcwd")),
    ("rminas", [*SEARCHED, "RMINAS.EVALUATOR", "+".join(["params"] * 1000)]),
    ("rminas", [*SEARCHED, "RMINAS.EVALUATOR", "params++flops"]),
]  # fmt: skip


@pytest.mark.parametrize(("command", "words"), OTHERS)
def test_import_paths_of_something_else(tmp_path: Path, command: str, words: list[Any]):
    check(tmp_path, (command, words, {"table.csv": text(h.CSV), "c.yaml": cfg(BENCHMARK=TABLE, EXECUTOR="serial")}))


PREDICTOR = """
import numpy as np
from common.predictors import Predictor
class Own(Predictor):
    name = "own"
    def fit(self, features, values, rng, on_step=None):
        {fit}
    def predict(self, features):
        return {scores}
"""
STRATEGY = """
from common.search import Strategy
class Own(Strategy):
    name = "own"
    def propose(self, history{room}):
        {proposes}
"""
# A user's own part that fails: its file, what takes it, and what the line says.
FAILING: dict[str, tuple[str, list[Any], str]] = {
    "needs what is not there": ("import nosuchmodule", ["renas", "--predictor"], "nosuchmodule.*line 1"),
    "no Python": ("\ndef f(:\n", ["rminas", "RMINAS.EVALUATOR"], "SyntaxError.*line 2"),
    "fails when imported": ("x = 1\ny = x / 0\n", ["rminas", "RMINAS.STRATEGY"], "ZeroDivisionError.*line 2"),
    "fails to fit": (
        PREDICTOR.format(fit="raise KeyError('mine')", scores="0"),
        ["renas", "--predictor"],
        r"KeyError.*mine.*own_fails_to_fit\.py, line 7",
    ),
    "fails to predict": (
        PREDICTOR.format(fit="pass", scores="features @ np.zeros(2)"),
        ["renas", "--predictor"],
        r"ValueError.*own_fails_to_predict\.py, line 9",
    ),
    "too few scores": (
        PREDICTOR.format(fit="pass", scores="np.zeros(3)"),
        ["renas", "--predictor"],
        r"gives an array \(3,\) for .* expected one score each",
    ),
    "no room": (
        STRATEGY.format(room="", proposes="return []"),
        ["rminas", "RMINAS.STRATEGY"],
        r"expected propose\(self, history, room\)",
    ),
    "no proposal": (
        STRATEGY.format(room=", room", proposes="return [self.candidates]"),
        ["rminas", "RMINAS.STRATEGY"],
        "propose returns a list, expected a Proposal",
    ),
    "fails to propose": (
        STRATEGY.format(room=", room", proposes="return history.nothing"),
        ["rminas", "RMINAS.STRATEGY"],
        r"AttributeError.*own_fails_to_propose\.py, line 6",
    ),
}


@pytest.mark.parametrize("kind", FAILING)
def test_own_parts_that_fail(tmp_path: Path, kind: str):
    content, (command, *flag), said = FAILING[kind]
    file = f"own_{kind.replace(' ', '_')}.py"
    asked = ["--data_path", "@table.csv"] if command == "renas" else ["--cfg", "@c.yaml", "RMINAS.MAX_EVALUATIONS", "3"]
    if "EVALUATOR" not in flag[0] and command == "rminas":
        asked += ["RMINAS.EVALUATOR", "params"]
    files = {"table.csv": text(h.CSV), "c.yaml": cfg(BENCHMARK=TABLE, EXECUTOR="serial"), file: text(content)}
    assert re.search(said, h.refused(tmp_path, (command, [*asked, *flag, f"@{file}:Own"], files)).err)


TOOLS: list[tuple[str, list[Any]]] = [
    ("export", ["nasbench201", h.CELLS[0], "--to", "net.exe"]),
    ("export", ["nasbench201", h.CELLS[0], "--to", "/proc/net.py"]),
    ("export", ["nasbench201", h.CELLS[0], "--to", "x" * 300 + ".py"]),
    ("export", ["nasbench201", h.CELLS[0], "--to", "net.py", "--channels", "1000000000"]),
    ("export", ["nasbench201", h.CELLS[0], "--to", "net.py", "--channels", "-4"]),
    ("export", ["nasbench201", h.CELLS[0], "--to", "net.py", "--num_classes", "1000000000000"]),
    ("export", ["nasbench201", h.CELLS[0], "--to", "net.py", "--num_classes", "-1"]),
    ("export", ["nasbench201", h.CELLS[0], "--to", "net.py", "--image_size", "1"]),
    ("export", ["nasbench201", h.CELLS[0], "--to", "net.pt2", "--image_size", "1000000000"]),
    ("export", ["nasbench201", h.CELLS[0], "--to", "net.py", "--cells_per_stage", "1000000"]),
    ("export", ["nasbench201", h.CELLS[0], "--to", "net.py", "--layers", "5"]),
    ("export", ["darts", GENOTYPE, "--to", "net.py", "--layers", "1000000"]),
    ("export", ["darts", GENOTYPE, "--to", "net.py", "--layers", "1"]),
    ("export", ["darts", "(" * 10_000, "--to", "net.py"]),
    ("export", ["nasbench201", "x" * 100_000, "--to", "net.py"]),
    ("export", ["nasbench201", "", "--to", "net.py"]),
    ("export", ["os:system", "x", "--to", "net.py"]),
    ("export", ["/dev/zero", "--to", "net.py"]),
    ("export", ["nothing", "--to", "net.py"]),
    ("export", ["nasbench201", h.CELLS[0], "--to", "cell.svg", "--run_seed", h.LONG]),
    ("latency", ["nothing"]),
    ("latency", ["os:system"]),
    ("latency", ["nasbench201", "nothing"]),
    ("latency", ["nasbench201", "--count", "1000000000000"]),
    ("latency", ["nasbench201", "--count", h.LONG]),
    ("latency", ["nasbench201", "--seed", "-1"]),
    ("latency", ["nasbench201", "--image_size", "1000000000"]),
    ("latency", ["nasbench201", "--image_size", "-5"]),
    ("latency", ["nasbench201", "--num_classes", "1000000000000"]),
    ("latency", ["nasbench201", "--num_classes", "-1"]),
    ("latency", ["nasbench201", "--batch", "1000000000"]),
    ("latency", ["nasbench201", "--runs", "1000000000000"]),
    ("latency", ["nasbench201", "--warmup", "1000000000000"]),
    ("latency", ["nasbench201", "--device", "cuda"]),
    ("latency", ["nasbench201", "--out", "/proc/nothing"]),
    ("latency", ["nasbench201", "--out", "/proc/nothing/a.csv"]),
    ("report", ["nothing"]),
    ("report", ["/dev/zero"]),
    ("report", ["x" * 300]),
]


@pytest.mark.parametrize(("command", "words"), TOOLS)
def test_flags_of_tools(tmp_path: Path, command: str, words: list[Any]):
    check(tmp_path, (command, words, {}))


ROWS = "arch,ms\n" + "".join(f"{cell},{n}.5\n" for n, cell in enumerate(h.CELLS))
LATENCIES: dict[str, Made] = {
    **h.NOT_REGULAR,
    "noise": h.noise,
    "nothing in it": text(""),
    "sparse": lambda path: h.sparse(path, ROWS),
    "no UTF-8": text(b"arch,ms\n\xff,1\n"),
    "of nan": text(ROWS.replace("0.5", "nan")),
    "of infinity": text(ROWS.replace("0.5", "inf")),
    "below 0": text(ROWS.replace("0.5", "-1")),
    "of 5,000 digits": text(ROWS.replace("0.5", h.LONG)),
    "of text": text(ROWS.replace("0.5", "fast")),
    "of another space": text("arch,ms\n02012100,1\n"),
    "of an architecture twice": text(ROWS + f"{h.CELLS[0]},9\n"),
    "without architectures": text("arch,ms\n"),
    "with a field too many": text(ROWS + ",,,\n"),
    "with a null byte": text(ROWS.replace("0.5", "6\0")),
    "yaml that holds itself": text("&a [*a]"),
    "yaml bomb": text(h.YAML_BOMB),
    "yaml of code": text("!!python/object/apply:os.system ['touch ran']"),
    "a pickle of code": evil(torch_file=False),
}


@pytest.mark.parametrize("command", ["renas", "rminas"])
@pytest.mark.parametrize("kind", LATENCIES)
def test_tables_of_latencies(tmp_path: Path, command: str, kind: str):
    files = {"l": LATENCIES[kind], "t.csv": text(h.CSV), "c.yaml": cfg(RMINAS={"EVALUATOR": "params"})}
    words = {"renas": ["--data_path", "@t.csv"], "rminas": ["--cfg", "@c.yaml"]}[command]
    check(tmp_path, (command, [*words, "--max_latency", "1", "--latency", "@l"], files))


MEASURED = "arch,ms,ms_25,ms_75,runs\n"
MEASUREMENTS: dict[str, Made] = {
    **h.NOT_REGULAR,
    "noise": h.noise,
    "sparse": lambda path: h.sparse(path, MEASURED),
    "no UTF-8": text(b"arch,ms,ms_25,ms_75,runs\n\xff,1,1,1,1\n"),
    "of another header": text(ROWS),
    "of text": text(f"{MEASURED}{h.CELLS[0]},fast,1,1,1\n"),
    "of long numbers": text(f"{MEASURED}{h.CELLS[0]},1,1,1,{h.LONG}\n"),
    "with an endless field": text(MEASURED + "x" * 200_000 + ",1,1,1,1\n"),
    "nothing in it": text(""),
}


@pytest.mark.parametrize("kind", MEASUREMENTS)
def test_measured_latencies_that_are_gone_on_with(tmp_path: Path, kind: str):
    words = ["nasbench201", h.CELLS[1], "--runs", "1", "--warmup", "0", "--out", "@l.csv"]
    check(tmp_path, ("latency", words, {"l.csv": MEASUREMENTS[kind]}))


RUN = {"method": "RMI-NAS", "space": "nasbench201", "dataset": "digits",
       "runs": [{"seed": 0, "found": {"arch": h.CELLS[0]}}]}  # fmt: skip
TRAINED = {"method": "retraining", "space": "nasbench201", "dataset": "digits", "arch": h.CELLS[0], "epochs": 2,
           "final": {"test_acc": 90.0}}  # fmt: skip


def folder_of(summary: Any, **files: Made) -> Made:
    """A run folder; two underscores in the names of its files stand for the dot."""

    def write(path: Path) -> Path:
        path.mkdir()
        (path / "summary.json").write_text(summary if isinstance(summary, str) else json.dumps(summary))
        for name, make in files.items():
            make(path / name.replace("__", "."))
        return path

    return write


PAGES: dict[str, Made] = {
    "a list": folder_of([1]),
    "deep": folder_of(h.DEEP_JSON),
    "cut off": folder_of('{"runs": ['),
    "nothing": folder_of({}),
    "runs that are a number": folder_of({**RUN, "runs": 5}),
    "runs that are text": folder_of({**RUN, "runs": ["x"]}),
    "a run without a seed": folder_of({**RUN, "runs": [{"front": {"members": [{}]}}]}),
    "found in words": folder_of({**RUN, "runs": [{"seed": 0, "found": "this"}]}),
    "an architecture that is a list": folder_of({**RUN, "runs": [{"seed": 0, "found": {"arch": [1]}}]}),
    "means in words": folder_of({**RUN, "mean": "high"}),
    "a spread in words": folder_of({**RUN, "mean": {"test_acc": 1.0}, "std": 5, "n": 2}),
    "limits in words": folder_of({**RUN, "limits": "none"}),
    "members in words": folder_of({**RUN, "members": {"random": 5}}),
    "members without seeds": folder_of({"method": "comparison", "members": {}}),
    "a training without an end": folder_of({**TRAINED, "final": {"test_acc": "high"}}),
    "a training without an architecture": folder_of({"method": "retraining"}),
    "epochs of a list": folder_of(TRAINED, epochs__jsonl=text("[1]\n")),
    "epochs without numbers": folder_of(TRAINED, epochs__jsonl=text("{}\n")),
    "epochs in words": folder_of(TRAINED, epochs__jsonl=text('{"epoch": "one"}\n')),
    "epochs cut off": folder_of(TRAINED, epochs__jsonl=text('{"epoch": 1}\n{"ep')),
    "deep epochs": folder_of(TRAINED, epochs__jsonl=text(h.DEEP_JSON)),
    "epochs of no text": folder_of(TRAINED, epochs__jsonl=text(b"\xff\n")),
    **{f"epochs: {kind}": folder_of(TRAINED, epochs__jsonl=make) for kind, make in h.NOT_REGULAR.items()},
    **{f"a plot: {kind}": folder_of(RUN, search__png=make) for kind, make in h.NOT_REGULAR.items()},
    "a plot of 57 GiB": folder_of(RUN, search__png=h.sparse),
    "settings that are a bomb": folder_of(RUN, config__yaml=text(h.YAML_BOMB)),
    **{
        f"settings: {kind}": folder_of(RUN, config__json=make) for kind, make in h.NOT_REGULAR.items() if kind != "loop"
    },
    "settings of another form": folder_of(RUN, config__json=text('{"predictor": 5, "limits": [1]}')),
}


@pytest.mark.parametrize("kind", PAGES)
def test_folders_of_which_a_page_is_made(tmp_path: Path, kind: str):
    check(tmp_path, ("report", ["@run"], {"run": PAGES[kind]}))


EXPORTED: dict[str, Made] = {
    **{f"weights: {kind}": folder_of(TRAINED, checkpoint__pt=make) for kind, make in h.NOT_REGULAR.items()
       if kind != "loop"},
    "weights of code": folder_of(TRAINED, checkpoint__pt=evil()),
    "weights that are noise": folder_of(TRAINED, checkpoint__pt=h.noise),
    "weights of another network": folder_of(TRAINED, checkpoint__pt=saved({"a": torch.zeros(3)})),
    "a network of text": folder_of({**TRAINED, "network": "large"}),
    "a network of 10^9 channels": folder_of({**TRAINED, "network": {"channels": 10**9}}),
    "a network of unknown options": folder_of({**TRAINED, "network": {"colour": 5}}),
    "a network of channels in words": folder_of({**TRAINED, "network": {"channels": "many"}}),
    "images of text": folder_of({**RUN, "images": {"num_classes": "ten", "image_size": 8}}),
    "images that are a list": folder_of({**RUN, "images": [1]}),
    "images of 10^12 classes": folder_of({**RUN, "images": {"num_classes": 10**12, "image_size": 8}}),
    "a data set that is a list": folder_of({**RUN, "dataset": [1]}),
    "a space of code": folder_of({**RUN, "space": "os:system"}),
    "an architecture that is a list": folder_of({**RUN, "runs": [{"seed": 0, "found": {"arch": [1]}}]}),
    "an architecture of another space": folder_of({**RUN, "runs": [{"seed": 0, "found": {"arch": "0"}}]}),
}  # fmt: skip


@pytest.mark.parametrize("kind", EXPORTED)
def test_folders_that_are_exported(tmp_path: Path, kind: str):
    check(tmp_path, ("export", ["@run", "--to", "net.py"], {"run": EXPORTED[kind]}))


# tables of trained architectures -------------------------------------------------------------------------------------


def shards(changes: Callable[[Path], object] = lambda folder: None) -> Made:
    def write(folder: Path) -> Path:
        folder.mkdir()
        labels = np.full((6, 8), 0.9)
        labels[:, [0, 4]] = 500, 1000
        labels[:, 1:4] -= np.arange(6)[:, None] / 100
        np.save(folder / "data_0.npy", np.ones((6, 7, 5, 5), np.float32))
        np.save(folder / "label_0.npy", labels)
        changes(folder)
        return folder

    return write


def in_shards(name: str, make: Made) -> Made:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return shards(change)


def macro(**changes: Any) -> str:
    record = {"test_acc": [90.0, 91.0, 92.0], "mean_acc": 91.0, "params": 1000, "flops": 2000, **changes}
    return json.dumps({"02012100": record, "12012100": record})


def nb201(**changes: Any) -> dict[str, Any]:
    run = {"epochs": 200, "eval_acc1es": {"x-valid@199": 90.0, "ori-test@199": 91.0}, **changes}
    results = {"all_results": {("cifar10-valid", 777): run, ("cifar10", 777): run}}
    return {
        "meta_archs": [*h.CELLS],
        "arch2infos": {n: {"full": results, "less": results} for n in range(len(h.CELLS))},
    }


def tfrecord(*records: bytes) -> Made:
    def write(path: Path) -> Path:
        with path.open("wb") as file:
            write_records(file, [*records])
        return path

    return write


def nats(changes: Callable[[Path], object]) -> Made:
    def write(folder: Path) -> Path:
        folder.mkdir()
        meta = {"meta_archs": [*h.CELLS]}
        (folder / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(meta)))
        for n in range(len(h.CELLS)):
            results = {"200": nb201()["arch2infos"][0]["full"]}
            (folder / f"{n:06d}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(results)))
        changes(folder)
        return folder

    return write


def analognas(**changes: Any) -> bytes:
    """A pickle of the package's class, written by hand: a record of each attribute in `changes`."""
    values = {"baseline_accuracy": 90.0, "ptq_accuracy": 1.0, "qat_accuracy": 1.0, "noisy_accuracy": 1.0,
              "analog_accuracy": 1.0, **changes}  # fmt: skip
    keys = [(0, 0, 0, 0, 0, n) for n in range(5)]
    kind = type("Architecture", (), {"__module__": "analognasbench.data", "__qualname__": "Architecture"})
    module = type(sys)("analognasbench.data")
    module.Architecture = kind  # type: ignore[attr-defined]
    sys.modules.update({"analognasbench": type(sys)("analognasbench"), "analognasbench.data": module})
    try:
        made = {}
        for n, key in enumerate(keys):
            record = kind()
            vars(record).update(values)
            if not n:
                record.baseline_accuracy = changes.get("baseline_accuracy", 80.0)
            made[key] = record
        return pickle.dumps(made)
    finally:
        del sys.modules["analognasbench"], sys.modules["analognasbench.data"]


HUGE = npy_bytes(np.ones(3, np.float32), shape=(1 << 33, 7, 5, 5))
TABLES: dict[str, Made] = {
    **{kind: make for kind, make in h.NOT_REGULAR.items() if kind != "folder"},
    "empty folder": h.folder,
    "nothing in it": text(""),
    "noise": h.noise,
    "sparse csv": lambda path: h.sparse(path, h.CSV),
    "csv of one endless line": lambda path: h.sparse(path, "arch,a\n"),
    "csv without rows": text("arch,cifar10_test\n"),
    "csv without numbers": text(f"arch,cifar10_test\n{h.CELLS[0]},x\n"),
    "csv with infinity": text(h.CSV.replace("60.5", "inf")),
    "csv with nan": text(h.CSV.replace("60.5", "nan")),
    "csv above 100": text(h.CSV.replace("60.5", "160.5")),
    "csv of fractions": text("arch,cifar10_test\n" + "".join(f"{c},0.5\n" for c in h.CELLS)),
    "csv of 5,000 digits": text(h.CSV.replace("60.5", h.LONG)),
    "csv with an architecture twice": text(h.CSV + h.CSV.splitlines()[1] + "\n"),
    "csv of two spaces": text(h.CSV + "02012100,50,50\n"),
    "csv with a field too many": text(h.CSV + ",,,\n"),
    "csv with a null byte": text(h.CSV.replace("60.5", "6\0")),
    "csv with an open quote": text(h.CSV + '"' + "x" * 200_000),
    "csv in latin 1": text(h.CSV.encode() + "\u00e9,1,2\n".encode("latin1")),
    "csv in UTF-16": text(h.CSV.encode("utf-16")),
    "csv with a column twice": text(h.CSV.replace("cifar10_valid_12", "cifar10_test_200")),
    "csv of code": evil(torch_file=False),
    "torch file of code": evil(),
    "benchmark of code": evil(lambda touch: {"meta_archs": [touch], "arch2infos": {}}),
    "benchmark of code inside": evil(lambda touch: nb201(epochs=touch)),
    "benchmark of code, old format": lambda path: saved(
        {"meta_archs": [h.Touch(path.with_name("ran"))], "arch2infos": {}}, _use_new_zipfile_serialization=False
    )(path),
    "benchmark cut off": cut(saved(nb201())),
    "benchmark damaged": flipped(saved(nb201()), 0.3),
    "benchmark without results": saved({"meta_archs": [*h.CELLS], "arch2infos": {}}),
    "benchmark of other things": saved({"meta_archs": 5, "arch2infos": "text"}),
    "benchmark with an accuracy that holds itself": saved(nb201(eval_acc1es={"x-valid@199": h.holding_itself()})),
    "benchmark with a text for an accuracy": saved(nb201(eval_acc1es={"x-valid@199": "high"})),
    "benchmark above 100": saved(nb201(eval_acc1es={"x-valid@199": 1e9})),
    "benchmark of a million names": saved({"meta_archs": ["x"] * 1_000_000, "arch2infos": {}}),
    "json deep": text('{"02012100": {"test_acc": ' + h.DEEP_JSON),
    "json half deep": text('{"02012100": {"test_acc": ' + h.HALF_DEEP_JSON + "}}"),
    "json of 5,000 digits": text(macro(params=1).replace('"params": 1', f'"params": {h.LONG}')),
    "json of infinity": text(macro().replace("91.0", "1e999")),
    "json of NaN": text(macro().replace("91.0", "NaN")),
    "json cut off": cut(text(macro())),
    "json with a key twice": text(macro().replace("12012100", "02012100")),
    "json of text": text(macro(params="many")),
    "json of two runs": text(macro(test_acc=[90, 91])),
    "json of another mean": text(macro(mean_acc=5)),
    "json of another space": text(macro().replace("02012100", "9")),
    "json of a list": text(macro().replace('{"test_acc"', '[{"test_acc"', 1)),
    "tensors cut off": in_shards("data_0.npy", text(npy_bytes(np.ones((6, 7, 5, 5), np.float32))[:-4])),
    "tensors that promise 1 TiB": in_shards("data_0.npy", text(HUGE)),
    "tensors of objects": in_shards("data_0.npy", lambda p: np.save(p, np.array([{}] * 6)) or p),
    "tensors of code": in_shards("data_0.npy", evil(torch_file=False)),
    "tensors of text": in_shards("data_0.npy", text(npy_bytes(np.full((6, 7, 5, 5), "a")))),
    "tensors of negative shape": in_shards("data_0.npy", text(npy_bytes(np.ones(3, np.float32), shape=(-1, 7, 5, 5)))),
    "tensors without a size": in_shards("data_0.npy", text(npy_bytes(np.zeros(0, "V0"), shape=(1 << 40, 7, 5, 5)))),
    "tensors by column": in_shards(
        "data_0.npy", text(npy_bytes(np.asfortranarray(np.arange(1050.0).reshape(6, 7, 5, 5))))
    ),
    "tensors that are a folder": in_shards("data_0.npy", h.folder),
    "tensors that are a pipe": in_shards("data_0.npy", h.fifo),
    "tensors that never end": in_shards("data_0.npy", h.endless),
    "labels that are a pipe": in_shards("label_0.npy", h.fifo),
    "labels too few": in_shards("label_0.npy", text(npy_bytes(np.ones((3, 8))))),
    "labels that are an archive": in_shards("label_0.npy", npz_of({"a.npy": npy_bytes(np.ones((6, 8)))})),
    "labels of nan": in_shards("label_0.npy", text(npy_bytes(np.full((6, 8), np.nan)))),
    "labels of whole numbers": in_shards("label_0.npy", text(npy_bytes(np.ones((6, 8), int)))),
    "a shard missing": shards(lambda f: shutil.copy(f / "data_0.npy", f / "data_2.npy")),
    "a shard of number 10^9": shards(lambda f: shutil.copy(f / "data_0.npy", f / "data_1000000000.npy")),
    "a manifest of other parts": in_shards("shards.json", text('{"shards": 2, "cells": 6, "finished": true}')),
    "a manifest of other cells": in_shards("shards.json", text('{"shards": 1, "cells": 60, "finished": true}')),
    "a manifest that says no in words": in_shards("shards.json", text('{"shards": 1, "cells": 6, "finished": "no"}')),
    "a manifest that is a list": in_shards("shards.json", text("[1]")),
    "a deep manifest": in_shards("shards.json", text(h.DEEP_JSON)),
    "a manifest that is a pipe": in_shards("shards.json", h.fifo),
    "nats of code": nats(lambda f: evil(torch_file=False)(f / "plain") and (f / "000000.pickle.pbz2").write_bytes(
        bz2.compress((f / "plain").read_bytes()))),
    "nats without a file": nats(lambda f: (f / "000003.pickle.pbz2").unlink()),
    "nats with a bomb": nats(lambda f: (f / "000000.pickle.pbz2").write_bytes(bz2.compress(bytes(70 << 20), 1))),
    "nats with a pipe": nats(lambda f: (f / "000000.pickle.pbz2").unlink() or h.fifo(f / "000000.pickle.pbz2")),
    "nats cut off": nats(lambda f: cut(lambda p: p)(f / "000001.pickle.pbz2")),
    "nats of lists": nats(lambda f: (f / "000002.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps([1])))),
    "analognas that holds itself": text(analognas(baseline_accuracy=h.holding_itself())),
    "analognas of text": text(analognas(ptq_accuracy="high")),
    "analognas above 100": text(analognas(baseline_accuracy=1e6)),
    "analognas cut off": cut(text(analognas())),
    "analognas of code": text(b"\x80\x04\x8c\x12analognasbench.data" + pickle.dumps({}) + b"cos\nsystem\n."),
    "tfrecord cut off": cut(tfrecord(b'["abc", 108, "010", "input,output", "x"]')),
    "tfrecord damaged": flipped(tfrecord(*[b'["' + b"a" * 200 + b'"]'] * 9)),
    "tfrecord of other json": tfrecord(b'["a"]'),
    "tfrecord of deep json": tfrecord(b'["a", ' + b"[" * 50_000),
    "tfrecord of long numbers": tfrecord(b'["a", ' + h.LONG.encode() + b', "0", "input,output", ""]'),
    "tfrecord of no base64": tfrecord(f'["{"0" * 32}", 108, "0100", "input,output", "&&&"]'.encode()),
    "tfrecord of nothing": tfrecord(f'["{"0" * 32}", 108, "0100", "input,output", ""]'.encode()),
    "tfrecord that promises 1 MB more": text(struct.pack("<Q", 1 << 40) + bytes(4)),
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLES)
def test_tables(tmp_path: Path, kind: str):
    check(tmp_path, ("renas", ["--data_path", "@file", "--train_num", "2"], {"file": TABLES[kind]}))


@pytest.mark.parametrize(
    "kind", ["torch file of code", "csv of code", "json deep", "fifo", "noise", "benchmark cut off"]
)
def test_tables_of_a_search_that_trains(tmp_path: Path, kind: str):
    words = ["--cfg", "@c.yaml", "RMINAS.EVALUATOR", "params", "BENCHMARK.PATH", "@bench.json"]
    check(tmp_path, ("rminas", words, {"c.yaml": cfg(), "bench.json": TABLES[kind]}))


def test_a_damaged_cache_beside_a_file_is_made_anew(tmp_path: Path):
    path = saved(nb201())(tmp_path / "b.pth")
    from common.benchmarks import load_benchmark

    whole = load_benchmark(path)
    cache = tmp_path / ".b.pth.cache.npz"
    with np.load(cache) as stored:
        kept = dict(stored)
    made = {
        "an array": lambda p: p.write_bytes(npy_bytes(np.ones(3))),
        "noise": h.noise,
        "cut off": lambda p: np.savez(p, **kept) or cut(lambda q: q)(p),
        "deflated damage": lambda p: np.savez_compressed(p, **kept) or flipped(lambda q: q)(p),
        "members that are no arrays": npz_of({"fingerprint.npy": b"x", "codes": b"y"}),
        "other shapes": lambda p: np.savez(p, **kept | {"codes": kept["codes"][:2]}),
        "other types": lambda p: np.savez(p, **kept | {"values": kept["values"].astype("U9")}),
        "too much promised": h.zip_bomb,
        "code": evil(torch_file=False),
    }
    for name, make in made.items():
        make(cache)
        assert np.array_equal(load_benchmark(path).codes, whole.codes), name
        assert not (tmp_path / "ran").exists()


# images --------------------------------------------------------------------------------------------------------------

IMAGES = {
    "x_train": np.zeros((8, 8, 8, 3), np.uint8),
    "y_train": np.arange(8) % 2,
    "x_test": np.zeros((4, 8, 8, 3), np.uint8),
    "y_test": np.arange(4) % 2,
}
MEMBERS = {f"{name}.npy": npy_bytes(array) for name, array in IMAGES.items()}


def images(**changes: np.ndarray) -> Made:
    return npz_of({f"{name}.npy": npy_bytes(array) for name, array in {**IMAGES, **changes}.items()})


def pictures(changes: Callable[[Path], object], ending: str = "png") -> Made:
    def write(folder: Path) -> Path:
        for split in ("train", "test"):
            for kind in "ab":
                (folder / split / kind).mkdir(parents=True)
                Image.new("RGB", (8, 8)).save(folder / split / kind / f"0.{ending}")
        changes(folder / "train" / "a" / f"0.{ending}")
        return folder

    return write


def instead(make: Made) -> Callable[[Path], object]:
    return lambda path: path.unlink() or make(path)


def eps(path: Path) -> Path:
    """A program that never ends, which Pillow would have Ghostscript run."""
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n{} loop\n%%EOF\n")
    return path


def bomb_picture(path: Path) -> Path:
    head = Image.new("1", (8, 8))
    head.save(path, "PNG")
    content = bytearray(path.read_bytes())
    import zlib

    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    path.write_bytes(content)
    return path


SETS: dict[str, Made] = {
    **h.NOT_REGULAR,
    "noise": h.noise,
    "sparse": h.sparse,
    "a plain array": text(npy_bytes(np.ones(3))),
    "cut off": cut(images()),
    "damaged": flipped(images(x_train=np.random.default_rng(0).integers(0, 255, (99, 8, 8, 3)).astype(np.uint8)), 0.3),
    "damaged in a deflated part": flipped(npz_of(MEMBERS, zipfile.ZIP_DEFLATED), 0.05),
    "without test images": npz_of({k: v for k, v in MEMBERS.items() if "test" not in k}),
    "members that are no arrays": npz_of(dict.fromkeys(MEMBERS, b"hello")),
    "members without an ending": npz_of({k.removesuffix(".npy"): v for k, v in MEMBERS.items()}),
    "objects": images(x_train=np.array([{}] * 8)),
    "code": npz_of({**MEMBERS, "x_train.npy": pickle.dumps(h.Touch(Path("ran")))}),
    "an array that promises 57 GiB": npz_of(
        {**MEMBERS, "x_train.npy": npy_bytes(IMAGES["x_train"], shape=(20_000_000, 32, 32, 3))}
    ),
    "a bomb": lambda p: h.zip_bomb(p) and p,
    "encrypted": lambda p: images()(p) and p.write_bytes(_with_flag(p.read_bytes(), 1)) and p,
    "another version": npz_of({**MEMBERS, "x_train.npy": b"\x93NUMPY\x09\x00"}),
    "floats": images(x_train=np.zeros((8, 8, 8, 3))),
    "another size": images(x_test=np.zeros((4, 9, 9, 3), np.uint8)),
    "not square": images(x_train=np.zeros((8, 8, 9, 3), np.uint8)),
    "no images": images(x_train=np.zeros((0, 8, 8, 3), np.uint8), y_train=np.zeros(0, int)),
    "a scalar": images(x_train=np.array(5, np.uint8)),
    "labels too few": images(y_train=np.arange(5)),
    "labels too many": images(y_train=np.arange(9)),
    "labels of floats": images(y_train=np.arange(8.0)),
    "labels below 0": images(y_train=np.arange(8) - 1),
    "labels of 10^9 classes": images(y_train=np.arange(8) * 10**9),
    "a class missing": images(y_train=np.full(8, 3)),
    "a picture that is a pipe": pictures(instead(h.fifo)),
    "a picture that never ends": pictures(instead(h.endless)),
    "a picture that is a loop": pictures(instead(h.loop)),
    "a picture that is a folder": pictures(instead(h.folder)),
    "a picture that is noise": pictures(h.noise),
    "a picture that is cut off": pictures(cut(lambda p: p)),
    "a picture of a program": pictures(eps),
    "a picture of 60,000 pixels": pictures(bomb_picture),
    "a picture of another size": pictures(lambda p: Image.new("RGB", (9, 9)).save(p)),
    "a folder that holds itself": pictures(lambda p: (p.parent.parent / "c").symlink_to(p.parent.parent)),
    "a class without pictures": pictures(lambda p: p.unlink()),
    "a class in one split": pictures(lambda p: shutil.rmtree(p.parent)),
    "a folder without test": pictures(lambda p: shutil.rmtree(p.parents[2] / "test")),
    "a sparse picture": pictures(h.sparse),
}


def _with_flag(content: bytes, flag: int) -> bytes:
    made = bytearray(content)
    place = -1
    while (place := made.find(b"PK\x01\x02", place + 1)) >= 0:
        made[place + 8] |= flag
    return bytes(made)


@pytest.mark.parametrize("kind", SETS)
def test_images(tmp_path: Path, kind: str):
    words = ["--dataset", "mine", "--data_path", "@images", "--epochs", "1", "--batch_size", "4"]
    check(tmp_path, ("teacher", words, {"images": SETS[kind]}))


def test_a_pipe_in_the_place_of_a_batch_of_cifar_is_not_waited_for(tmp_path: Path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    h.fifo(tmp_path / "cifar-10-batches-py" / "data_batch_1")
    check(tmp_path, ("teacher", ["--dataset", "cifar10", "--data_path", tmp_path], {}))


# weights -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return build_teacher("resnet20", 10).state_dict()


Change = Callable[[dict[str, Any], Path], Any]
WEIGHTS: dict[str, Change] = {
    "code": lambda s, p: {**s, "evil": h.Touch(p.with_name("ran"))},
    "code under state_dict": lambda s, p: {"state_dict": h.Touch(p.with_name("ran"))},
    "a whole network": lambda s, p: build_teacher("resnet20", 10),
    "a list": lambda s, p: [1, 2],
    "a tensor": lambda s, p: torch.zeros(3),
    "keys that are numbers": lambda s, p: dict(enumerate(s.values())),
    "keys that are pairs": lambda s, p: {(k, k): v for k, v in s.items()},
    "scalars": lambda s, p: {k: torch.tensor(1.0) for k in s},
    "scalars in the classifier": lambda s, p: {**s, **{k: torch.tensor(1.0) for k in [*s][-2:]}},
    "numbers for tensors": lambda s, p: dict.fromkeys(s, 1.0),
    "sparse": lambda s, p: {**s, "linear.weight": s["linear.weight"].to_sparse()},
    "sparse rows": lambda s, p: {**s, "linear.weight": s["linear.weight"].to_sparse_csr()},
    "meta": lambda s, p: {**s, "linear.weight": s["linear.weight"].to("meta")},
    "quantised": lambda s, p: {
        **s, "linear.weight": torch.quantize_per_tensor(s["linear.weight"], 0.1, 0, torch.qint8)
    },
    "whole numbers": lambda s, p: {k: v.long() for k, v in s.items()},
    "complex": lambda s, p: {**s, "linear.weight": s["linear.weight"].to(torch.complex64)},
    "an absurd shape": lambda s, p: {**s, "linear.weight": torch.zeros(1).expand(10**9, 10**9)},
    "an absurd number of classes": lambda s, p: {**s, "linear.bias": torch.zeros(1).expand(10**12)},
    "another number of classes": lambda s, p: {**s, "linear.weight": torch.zeros(7, 64), "linear.bias": torch.zeros(7)},
    "without a key": lambda s, p: dict([*s.items()][1:]),
    "with a key more": lambda s, p: {**s, "more": torch.zeros(1)},
    "nothing": lambda s, p: {},
    "a state_dict that holds itself": lambda s, p: _itself(),
    "numpy": lambda s, p: {k: v.numpy() for k, v in s.items()},
}  # fmt: skip


def _itself() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["state_dict"] = made
    return made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights(tmp_path: Path, state: dict[str, torch.Tensor], kind: str):
    torch.save(WEIGHTS[kind](dict(state), tmp_path / "w.pt"), tmp_path / "w.pt")
    check(tmp_path, ("teacher", ["--weights", "@w.pt"], {}))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", ["cut", "flipped at the start", "flipped in the middle", "no code of ours"])
def test_damaged_weights(tmp_path: Path, state: dict[str, torch.Tensor], kind: str, legacy: bool):
    path = tmp_path / "w.pt"
    content = {**state, "evil": h.Touch(tmp_path / "ran")} if kind == "no code of ours" else state
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    if kind == "cut":
        cut(lambda p: p)(path)
    elif kind == "flipped at the start":
        flipped(lambda p: p, 0.0)(path)
    elif kind == "flipped in the middle" and legacy:
        pytest.skip("the old format has no checksums: turned bytes are other numbers")
    elif kind == "flipped in the middle":
        flipped(lambda p: p)(path)
    check(tmp_path, ("teacher", ["--weights", "@w.pt"], {}))


WEIGHT_FILES: dict[str, Made] = {
    **h.NOT_REGULAR,
    "noise": h.noise,
    "text": text("hello"),
    "nothing": text(""),
    "a bomb": lambda p: h.zip_bomb(p, "archive/data.pkl"),
    "a zip of something else": npz_of(MEMBERS),
    "sparse": h.sparse,
    "a pickle of code": evil(torch_file=False),
}


@pytest.mark.parametrize("kind", WEIGHT_FILES)
@pytest.mark.parametrize("name", ["resnet20", "nasbench201"])
def test_files_that_are_no_weights(tmp_path: Path, kind: str, name: str):
    check(tmp_path, ("teacher", ["--teacher", name, "--weights", "@w.pt"], {"w.pt": WEIGHT_FILES[kind]}))


def official(**changes: Any) -> dict[str, Any]:
    config = {"channel": 4, "num_cells": 1, "arch_str": h.CELLS[1]}
    run = {"arch_config": config, "net_state_dict": {"a": torch.zeros(1)}, **changes}
    return {"full": {"all_results": OrderedDict({("cifar10-valid", 777): run, ("cifar10", 777): run})}}


OFFICIAL: dict[str, Any] = {
    "of other trainings": {"full": {"all_results": {5: 5}}},
    "of trainings that are no pairs": {"full": {"all_results": {("a", "b", "c"): {}}}},
    "of a list": {"full": [1]},
    "without weights": official(net_state_dict=None),
    "of another cell": official(arch_config={"channel": 4, "num_cells": 1, "arch_str": "nothing"}),
    "of 10^9 channels": official(arch_config={"channel": 10**9, "num_cells": 1, "arch_str": h.CELLS[1]}),
    "of 10^9 cells": official(arch_config={"channel": 4, "num_cells": 10**9, "arch_str": h.CELLS[1]}),
    "of text for channels": official(arch_config={"channel": "x", "num_cells": 1, "arch_str": h.CELLS[1]}),
    "of keys that are no text": official(net_state_dict={5: torch.zeros(1)}),
    "of other weights": official(),
}


@pytest.mark.parametrize("kind", OFFICIAL)
def test_official_results_as_teachers(tmp_path: Path, kind: str):
    words = ["--teacher", "nasbench201", "--weights", "@w.pt"]
    check(tmp_path, ("teacher", words, {"w.pt": saved(OFFICIAL[kind])}))


def test_official_results_run_no_code(tmp_path: Path):
    for value in (lambda t: {"full": t}, lambda t: official(net_state_dict=t), lambda t: official(more=t)):
        check(tmp_path, ("teacher", ["--teacher", "nasbench201", "--weights", "@w.pt"], {"w.pt": evil(value)}))


# saved predictors ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The members of a saved predictor."""
    from common.benchmarks import load_benchmark
    from common.predictors import make_predictor

    folder = tmp_path_factory.mktemp("model")
    make_predictor("boosting", max_iter=2).fit(load_benchmark(text(h.CSV)(folder / "t.csv"))).save(folder / "m.npz")
    with zipfile.ZipFile(folder / "m.npz") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def described(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def write(members: dict[str, bytes]) -> dict[str, bytes]:
        about = json.loads(np.load(io.BytesIO(members["description.npy"])).tobytes())
        about = change(about)
        said = about if isinstance(about, str) else json.dumps(about)
        return {**members, "description.npy": npy_bytes(np.frombuffer(said.encode(), np.uint8))}

    return write


MODELS: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "deep": described(lambda a: h.DEEP_JSON),
    "of 5,000 digits": described(lambda a: json.dumps(a).replace('"seed": 0', f'"seed": {h.LONG}')),
    "a list": described(lambda a: [1]),
    "without a format": described(lambda a: {}),
    "of another format": described(lambda a: {**a, "format": 99}),
    "of another's class": described(lambda a: {**a, "predictor": "os:system"}),
    "of an encoding that reads a file": described(lambda a: {**a, "encoding": "scores=/dev/zero"}),
    "of a wrong setting": described(lambda a: {**a, "settings": {"max_iter": 10**12}}),
    "of settings that are a list": described(lambda a: {**a, "settings": [1]}),
    "of another's space": described(lambda a: {**a, "space": {"name": "os:system", "fields": {}}}),
    "of a space of 10^9 channels": described(lambda a: {**a, "space": {"name": "nasbench201", "fields": {"x": 1}}}),
    "without a probe": lambda m: {k: v for k, v in m.items() if "probe" not in k},
    "without training data": lambda m: {k: v for k, v in m.items() if k not in ("features.npy", "values.npy")},
    "with infinite features": lambda m: {**m, "values.npy": npy_bytes(np.full(6, np.inf))},
    "with features of another shape": lambda m: {**m, "features.npy": npy_bytes(np.ones((6, 2, 2, 2)))},
    "with a member that is no array": lambda m: {**m, "more.npy": b"hello"},
    "with objects": lambda m: {**m, "more.npy": npy_bytes(np.array([{}]))},
    "that promises 57 GiB": lambda m: {**m, "more.npy": npy_bytes(np.ones(3), shape=(1 << 33,))},
}


@pytest.mark.parametrize("kind", MODELS)
def test_saved_predictors(tmp_path: Path, model: dict[str, bytes], kind: str):
    npz_of(MODELS[kind](model))(tmp_path / "m.npz")
    check(tmp_path, ("predict", ["--model", "@m.npz", h.CELLS[0]], {}))


@pytest.mark.parametrize("kind", [*h.NOT_REGULAR, "noise"])
def test_files_that_are_no_predictors(tmp_path: Path, kind: str):
    make = {**h.NOT_REGULAR, "noise": h.noise}[kind]
    check(tmp_path, ("predict", ["--model", "@m.npz", h.CELLS[0]], {"m.npz": make}))


# genotypes -----------------------------------------------------------------------------------------------------------


def search_folder(content: str) -> Made:
    def write(path: Path) -> Path:
        path.mkdir()
        (path / "summary.json").write_text(content)
        return path

    return write


GENOTYPES: dict[str, Made] = {
    **h.NOT_REGULAR,
    "sparse": h.sparse,
    "noise": h.noise,
    "no UTF-8": text(b"Genotype(\xff)"),
    "nothing": text(""),
    "another text": text("hello"),
    "a search of another form": search_folder("[]"),
    "a search without runs": search_folder('{"space": "darts", "runs": 5}'),
    "a search of another space": search_folder('{"space": "macro", "runs": [{"seed": 0, "found": {"arch": "0"}}]}'),
    "a search of no number": search_folder('{"space": "darts", "runs": [{"seed": "x", "found": {"arch": "0"}}]}'),
    "a deep search": search_folder(h.DEEP_JSON),
    "a search whose summary is cut off": search_folder('{"space": "da'),
}


@pytest.mark.parametrize("kind", GENOTYPES)
def test_genotypes(tmp_path: Path, kind: str):
    check(tmp_path, ("retrain", ["--cfg", "@c.yaml", "--genotype", "@g"], {"c.yaml": cfg(), "g": GENOTYPES[kind]}))


# run folders ---------------------------------------------------------------------------------------------------------

RENAS = ["--data_path", "table.csv", "--predictor", "boosting", "--train_num", "2", "--count", "1", "--out", "run"]
RENAS += ["--device", "cpu", "boosting.max_iter", "2"]
COMPARE = ["--data_path", "table.csv", "--strategies", "random", "--budget", "2", "--seeds", "1", "--jobs", "1"]
COMPARE += ["--out", "run"]
RMINAS = ["--cfg", "c.yaml", "--rank", "4", "--evaluators", "params", "NAME", "run", "OUT_DIR", "."]
FOLDERS = {"renas": "run", "compare": "run", "rminas": "run_rank"}
WORDS: dict[str, list[Any]] = {"renas": RENAS, "compare": COMPARE, "rminas": RMINAS}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run of each command, in folders that tests copy."""
    with pytest.MonkeyPatch.context() as patch:
        for command, words in WORDS.items():
            folder = tmp_path_factory.getbasetemp() / "finished" / command
            folder.mkdir(parents=True)
            (folder / "table.csv").write_text(h.CSV)
            cfg(EXECUTOR="serial", BENCHMARK=TABLE)(folder / "c.yaml")
            patch.chdir(folder)
            with pytest.raises(SystemExit) as ended:
                run_command("made", lambda c=command, w=words: COMMANDS[c][1](w))  # type: ignore[misc]
            assert ended.value.code == 0, command
        yield tmp_path_factory.getbasetemp() / "finished"


def record(change: Callable[[dict[str, Any]], Any]) -> Made:
    """The first record changed; the others, if any, as they are."""

    def write(path: Path) -> Path:
        first, *others = path.read_text().splitlines(keepends=True)
        made = json.loads(first)
        made = change(made) or made
        path.write_text((made if isinstance(made, str) else json.dumps(made)) + "\n" + "".join(others) + first)
        return path

    return write


def replaced(make: Made) -> Made:
    def write(path: Path) -> Path:
        path.unlink()
        return make(path)

    return write


RECORDS: dict[str, Made] = {
    **{kind: replaced(make) for kind, make in h.NOT_REGULAR.items() if kind != "loop"},
    "a list": record(lambda r: "[1, 2]"),
    "a number": record(lambda r: "5"),
    "not JSON": record(lambda r: "hello"),
    "no UTF-8": lambda p: p.write_bytes(b"\xff\xfe\n" * 2) and p,
    "zeros": lambda p: p.write_bytes(bytes(100) + b"\n" + bytes(100) + b"\n") and p,
    "deep": record(lambda r: h.DEEP_JSON),
    "half deep": record(lambda r: '{"seed": ' + h.HALF_DEEP_JSON + "}"),
    "of 5,000 digits": record(lambda r: f'{{"seed": {h.LONG}}}'),
}
OF_SEEDS: dict[str, Made] = {
    "a seed alone": record(lambda r: {"seed": 0}),
    "a seed in words": record(lambda r: {**r, "seed": "zero"}),
    "nothing found": record(lambda r: {**r, "found": None}),
    "a row out of range": record(lambda r: {**r, "found": {**r["found"], "index": 10**6}}),
    "evaluations out of range": record(lambda r: {**r, "evaluated": [10**6]}),
    "evaluations below 0": record(lambda r: {**r, "evaluated": [-1]}),
    "training out of range": record(lambda r: {**r, "trained": [10**6]}),
    "an accuracy in words": record(lambda r: {**r, "found": {**r["found"], "test_acc": "high"}}),
    "a time in words": record(lambda r: {**r, "train_s": "long"}),
    "nothing but an object": record(lambda r: "{}"),
}
OF_SEARCHES: dict[str, Made] = {
    "a seed alone": record(lambda r: {"seed": 0}),
    "rows out of range": record(lambda r: {**r, "rows": [10**6, 1]}),
    "a label in words": record(lambda r: {**r, "label": ["a", "b"]}),
    "labels too few": record(lambda r: {**r, "label": []}),
    "no member": record(lambda r: {**r, "member": None}),
    "no time": record(lambda r: {**r, "seconds": None}),
}
OF_EVALUATIONS: dict[str, Made] = {
    "a seed alone": record(lambda r: {"seed": 0, "evaluator": "params"}),
    "an index in words": record(lambda r: {**r, "index": "one"}),
    "an infinite index": record(lambda r: json.dumps({**r, "index": 5}).replace('"index": 5', '"index": 1e999')),
    "an index below 0": record(lambda r: {**r, "index": -1}),
    "an index twice": record(lambda r: r),
    "another architecture": record(lambda r: {**r, "arch": h.CELLS[1]}),
    "no architecture": record(lambda r: {**r, "arch": None}),
    "a value in words": record(lambda r: {**r, "value": "high"}),
    "no trajectory": record(lambda r: {**r, "trajectory": 5}),
    "a time in words": record(lambda r: {**r, "evaluate_s": "long"}),
}
IN_FOLDERS: list[tuple[str, str, str, Made]] = [
    *(("renas", "evaluations.jsonl", kind, make) for kind, make in {**RECORDS, **OF_SEEDS}.items()),
    *(("compare", "evaluations.jsonl", kind, make) for kind, make in OF_SEARCHES.items()),
    *(("rminas", "evaluations.jsonl", kind, make) for kind, make in {**RECORDS, **OF_EVALUATIONS}.items()),
    *(("renas", "config.json", kind, replaced(make)) for kind, make in h.NOT_REGULAR.items() if kind != "loop"),
    ("renas", "config.json", "deep", text(h.DEEP_JSON)),
    ("renas", "config.json", "half deep", text('{"a": ' + h.HALF_DEEP_JSON + "}")),
    ("renas", "config.json", "a list", text("[1]")),
    ("renas", "config.json", "noise", h.noise),
    ("renas", "config.json", "of another run", text('{"method": "other"}')),
    ("rminas", "config.yaml", "bomb", text(h.YAML_BOMB)),
    ("rminas", "config.yaml", "code", text("!!python/object/apply:os.system ['touch ran']")),
    ("rminas", "config.yaml", "itself", text("a: &a {b: *a}")),
    ("rminas", "config.yaml", "a text", text("hello")),
    ("renas", "scores/seed_0.npy", "an archive", npz_of(MEMBERS)),
    ("renas", "scores/seed_0.npy", "code", evil(torch_file=False)),
    ("renas", "scores/seed_0.npy", "too few", text(npy_bytes(np.ones(3)))),
    ("renas", "scores/seed_0.npy", "text", text(npy_bytes(np.full(6, "a")))),
    ("renas", "scores/seed_0.npy", "promises 57 GiB", text(npy_bytes(np.ones(3), shape=(1 << 33,)))),
    ("renas", "scores/seed_0.npy", "pipe", replaced(h.fifo)),
]


@pytest.mark.parametrize(("command", "file", "kind", "make"), IN_FOLDERS, ids=lambda v: v if isinstance(v, str) else "")
def test_run_folders(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, command: str, file: str, kind: str, make: Made
):
    there = tmp_path / "there"
    shutil.copytree(finished / command, there)
    monkeypatch.chdir(there)
    path = there / FOLDERS[command] / file
    make(path)
    before = path.read_bytes() if path.is_file() and not path.is_symlink() else None
    check(tmp_path, (command, WORDS[command], {}))
    assert not (there / "ran").exists()
    assert before is None or path.read_bytes() == before  # as it was
