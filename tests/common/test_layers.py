"""Who imports whom: read from the sources, functions included, so that no order of imports can hide anything."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = ("common", "renas", "rminas")
FORBIDDEN = {"common": ("renas", "rminas"), "renas": ("rminas",), "rminas": ("renas",)}
# What describes architectures and tables, and has to work where there is no torch.
WITHOUT_TORCH = ("common/spaces", "common/encoding", "common/benchmarks", "common/search", "common/runs")


@cache
def modules() -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for path in (file for top in TOP for file in (ROOT / top).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(node: ast.AST, inside_functions: bool) -> Iterator[str]:
    """The names that are imported under a node; what only type checkers see (`if TYPE_CHECKING`) is none."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() if not inside_functions:
                continue
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str() as module, names=names):
                yield from (f"{module}.{alias.name}" for alias in names)
        yield from imported(child, inside_functions)


@cache
def imports(name: str, inside_functions: bool) -> frozenset[str]:
    """Modules of ours that a module imports."""
    asked = set(imported(ast.parse(modules()[name].read_text(encoding="utf-8")), inside_functions))
    named = {one if one in modules() else one.rpartition(".")[0] for one in asked}
    return frozenset(named & modules().keys() - {name})


def test_the_graph_sees_what_is_there() -> None:
    assert "common.networks.nasbench201" in modules()
    assert "common.spaces.nasbench201" in imports("common.networks.nasbench201", False)
    assert "common.networks.taps" in imports("common.networks", True) - imports("common.networks", False)
    assert "common.networks.base" not in imports("common.networks", True)  # for type checkers only


@pytest.mark.parametrize("top", TOP)
def test_the_layers_hold_in_functions_too(top: str) -> None:
    for name in modules():
        if name.split(".")[0] == top:
            above = [other for other in imports(name, True) if other.split(".")[0] in FORBIDDEN[top]]
            assert not above, f"{name} imports {above}"


def run_by(name: str) -> set[str]:
    """What importing a module runs first: the modules it imports, and the packages that these are in and it is not."""
    packages = {package for other in imports(name, False) for package in ancestors(other)} - ancestors(name) - {name}
    return {*imports(name, False), *(packages & modules().keys())}


def ancestors(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts))}


def test_no_module_imports_itself_by_way_of_others() -> None:
    TopologicalSorter({name: run_by(name) for name in modules()}).prepare()  # raises CycleError, naming them


def test_a_circle_would_be_found() -> None:
    circle = {name: run_by(name) for name in modules()} | {"common.errors": {"common.networks.taps"}}
    with pytest.raises(CycleError, match=r"common\.networks\.taps"):
        TopologicalSorter(circle).prepare()


def test_spaces_import_no_networks_in_functions_either() -> None:
    for name in modules():
        if name.startswith("common.spaces"):
            found = [other for other in imports(name, True) if other.startswith(("common.networks", "common.training"))]
            assert not found, f"{name} imports {found}"


@pytest.mark.parametrize("package", WITHOUT_TORCH)
def test_a_package_and_all_its_modules_are_imported_without_torch(package: str) -> None:
    names = [name for name in modules() if f"{name}.".startswith(package.replace("/", ".") + ".")]
    assert names
    code = "import sys; sys.modules['torch'] = None; import importlib; [*map(importlib.import_module, sys.argv[1:])]"
    done = subprocess.run([sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_import_of_torch_would_be_found() -> None:
    code = "import sys; sys.modules['torch'] = None; import common.networks.base"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "ModuleNotFoundError: import of torch halted" in done.stderr


def test_spaces_tables_and_encodings_work_without_torch() -> None:
    code = """
import sys
sys.modules['torch'] = None
import numpy as np
from common.benchmarks import load_benchmark
from common.encoding import ENCODINGS, make_encoding
from common.networks import build_network
from common.spaces import SPACES, CategoricalSpace, make_space
spaces = [make_space(name) for name in SPACES]
spaces.append(CategoricalSpace.from_choices({"a": ["x", "y"], "b": [1, 2, 3]}, "own", costs=lambda arch: (1, 2)))
for space in spaces:
    rng = np.random.default_rng(0)
    arch = space.mutate(space.sample(rng), rng)
    codes = space.to_codes([space.parse(space.format(arch))])
    print(space.name, make_encoding("one_hot+costs").encode(space, codes).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 7
