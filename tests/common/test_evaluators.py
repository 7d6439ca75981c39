"""Evaluators from names and from a user's own functions, and that nothing is loaded that none of them asks for."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import InputError
from common.evaluators import EVALUATORS, Context, make_evaluator
from common.evaluators.own import ArchScore
from common.evaluators.training_free import evaluate_each
from common.spaces import make_space

SPACE = make_space("nasbench201", channels=4, cells_per_stage=1, image_size=8)
CELL = SPACE.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|none~2|")
DEAD = SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|")
OWN = """
from common.evaluators import Evaluator, Outcome

def width(network, x, y):
    assert network.training and x.shape == (32, 3, 8, 8) and y.shape == (32,)
    return sum(p.abs().sum().item() for p in network.parameters())

def undefined(network, x, y):
    return float("nan")

def threes(arch):
    return arch.ops.count(3)

class Constant(Evaluator):
    name = "constant"
    def evaluate(self, arch, bounds={}):
        return Outcome(7.0)

constant = Constant()

def of_seed(context):
    made = Constant()
    made.name = f"seed {context.seed}"
    return made

def nothing(context):
    return None

def wrong(a, b):
    return 0

def fails(network, x, y):
    return network.no_such_part

def says_text(network, x, y):
    return "good"

def says_nothing(arch):
    return None

def divides(arch):
    return 1 / 0

def cannot(context):
    return context.no_such_part
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / f"own_scores_{tmp_path.name}.py"
    path.write_text(OWN)
    return path


def context(**given: Any) -> Context:
    from common.datasets.images import load_images

    return Context(SPACE, 3, load_images=lambda: load_images("digits"), **given)


def test_costs_need_no_images_and_are_the_spaces_own():
    flops, params = SPACE.total_costs(SPACE.to_codes([CELL]))
    values = {name: make_evaluator(name, Context(SPACE)).evaluate(CELL).value for name in ("params", "flops")}
    assert values == {"params": params[0], "flops": flops[0]}


def test_a_users_own_is_a_function_of_a_network_of_an_architecture_or_of_the_context_or_an_evaluator(own: Path):
    made = {name: make_evaluator(f"{own}:{name}", context()) for name in ("width", "threes", "constant", "of_seed")}
    width = made["width"]
    assert width.evaluate(CELL).value == width.evaluate(CELL).value > 0
    assert make_evaluator(f"{own}:width", context().with_seed(4)).evaluate(CELL).value != width.evaluate(CELL).value
    assert width.evaluate(DEAD).value == -math.inf
    assert make_evaluator(f"{own}:undefined", context()).evaluate(CELL).value == -math.inf
    assert made["threes"].evaluate(CELL).value == CELL.ops.count(3)
    assert made["constant"].evaluate(CELL).value == 7
    assert made["of_seed"].name == "seed 3"
    for evaluator in made.values():
        assert pickle.loads(pickle.dumps(evaluator)).evaluate(CELL).value == evaluator.evaluate(CELL).value


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such", "unknown evaluator 'no_such'; choose from "),
        ("{own}:missing", "has nothing called 'missing'"),
        ("{own}:wrong", "expected a function of (network, x, y), of (arch) or of (context), or an Evaluator"),
        ("{own}:nothing", "made a NoneType, expected an Evaluator"),
        ("{own}:width", "an evaluator needs images, and none was given"),
        ("table", "an evaluator needs a table of trained architectures, and none was given"),
    ],
)
def test_what_cannot_be_made_is_one_line(own: Path, name: str, said: str):
    with pytest.raises(InputError) as caught:
        make_evaluator(name.format(own=own), Context(SPACE))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fails", "fails: AttributeError: "),
        ("says_text", "says 'good', expected a number"),
        ("says_nothing", "says None, expected a number"),
        ("divides", "fails: ZeroDivisionError: division by zero ("),
        ("cannot", "fails: AttributeError: 'Context' object has no attribute 'no_such_part' ("),
    ],
)
@pytest.mark.parametrize("beside", ["", "naswot+"])
def test_a_users_own_that_fails_is_one_line_that_names_it_and_the_architecture(
    own: Path, name: str, said: str, beside: str
):
    with pytest.raises(InputError) as caught:
        evaluate_each([make_evaluator(f"{beside}{own}:{name}", context())], CELL)
    line = str(caught.value)
    assert f"{own.stem}:{name} {said}" in line
    assert line.startswith("|") == (name != "cannot")  # which has not come as far as an architecture
    assert (f"{own.name}, line " in line) == ("fails" in said)
    assert "\n" not in line


def test_what_a_users_own_refuses_and_a_lack_of_memory_stay_what_they_are():
    def refuses(arch: Any) -> float:
        raise InputError("not this one")

    def is_full(arch: Any) -> float:
        raise MemoryError

    with pytest.raises(InputError, match=r"^\|.*\|: not this one$"):
        ArchScore("own", refuses, SPACE).evaluate(CELL)
    with pytest.raises(MemoryError):
        ArchScore("own", is_full, SPACE).evaluate(CELL)


def test_what_is_dear_is_loaded_once_and_shared_by_seeds():
    from common.datasets.images import load_images

    loads: list[str] = []

    def load() -> Any:
        loads.append("images")
        return load_images("digits")

    first = Context(SPACE, 0, load_images=load)
    assert not loads
    second = first.with_seed(1)
    x, y = first.batch(8)
    assert np.array_equal(first.batch(12)[0][:8], x)
    assert not np.array_equal(second.batch(8)[0], x)
    assert x.shape == (8, 3, 8, 8)
    assert y.shape == (8,)
    assert loads == ["images"]
    with pytest.raises(InputError, match="a batch of 9999 images"):
        first.batch(9999)


def test_a_table_is_looked_up():
    from common.benchmarks import load_benchmark

    table = load_benchmark(None)
    look_up = make_evaluator("table", Context(SPACE, load_table=lambda: table, column=next(iter(table.columns))))
    assert look_up.evaluate(table.arch(5)).value == next(iter(table.columns.values())).values[5]
    assert "table" in EVALUATORS
