"""Every command in README and docs is one that the programs take: recorded by a shell, parsed by the real parsers."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "examples").glob("*.py"))
# Programs that the pages call; each is replaced by one that writes down how it was called.
STUBS = ("python", "python3", "pip", "curl", "renas", "rminas", ".venv/bin/python", ".venv/bin/pip", ".ci/run")
STUB = f"""#!{sys.executable} -I
import json, os, sys
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(sys.argv) + "\\n")
"""
# Commands that are not of this toolkit, and how far they are checked here.
NOT_OURS = {"curl": "needs the network", ".ci/run": "runs the whole suite"}


def blocks(page: Path) -> list[str]:
    """The shell commands of a page, or those that stand indented in the docstring of an example."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = (ast.get_docstring(ast.parse(text), clean=False) or "").splitlines()
    return ["\n".join(line.strip() for line in lines if line.startswith("    "))]


@cache
def calls(page: Path, folder: Path) -> list[list[str]]:
    """The commands of a page's shell blocks, [program, argument, ...], loops and variables expanded by bash itself."""
    for name in STUBS:
        stub = folder / (name if "/" in name else f"bin/{name}")
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(STUB)
        stub.chmod(0o755)
    (folder / ".venv/bin/activate").touch()
    log = folder / f"{page.stem}.jsonl"
    log.touch()
    for block in blocks(page):
        environment = {"PATH": f"{folder / 'bin'}", "CALLS": str(log)}
        bash = shutil.which("bash")
        assert bash
        done = subprocess.run([bash, "-euc", block], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{page.name}: {done.stderr}\n{block}"
    made = [json.loads(line) for line in log.read_text().splitlines()]
    return [[call[0].removeprefix(f"{folder}/").removeprefix("./").removeprefix("bin/"), *call[1:]] for call in made]


class _ParsedError(Exception):
    """Ends a program when its command line has been parsed."""


def parse(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """What the parser of `python ARGV...` makes of it. SystemExit if it does not take it."""
    parsed: list[argparse.Namespace] = []

    def stopping(method: Any) -> Any:
        def parse_and_stop(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> NoReturn:
            parsed.append(method(self, args, namespace))
            raise _ParsedError

        return parse_and_stop

    if argv[0] == "-m":
        name, rest = argv[1], argv[2:]
        module = "renas.cli" if name == "renas" else "rminas.cli" if name == "rminas" else name
    else:
        script = ROOT / argv[0]
        assert script.is_file(), f"no script {argv[0]}"
        module, rest = script.stem, argv[1:]
    main = importlib.import_module(module).main
    monkeypatch.setattr(sys, "argv", [module, *rest])
    intermixed, plain = argparse.ArgumentParser.parse_intermixed_args, argparse.ArgumentParser.parse_args
    for method in (intermixed, plain):
        monkeypatch.setattr(argparse.ArgumentParser, method.__name__, stopping(method))
    with pytest.raises(_ParsedError):
        main()
    monkeypatch.setattr(argparse.ArgumentParser, "parse_intermixed_args", intermixed)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", plain)
    return parsed[0]


def check_install(arguments: list[str]) -> None:
    """Extras that are asked for exist."""
    project = (ROOT / "pyproject.toml").read_text()
    for extra in re.findall(r"\.\[(\w+)\]", " ".join(arguments)):
        assert re.search(rf"^{extra} = \[", project, flags=re.MULTILINE), extra


def check(call: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Raises or exits for a command that this toolkit does not take."""
    program, *arguments = call
    program = program.removeprefix(".venv/bin/")
    if program in NOT_OURS:
        return None
    if program == "pip":
        return check_install(arguments)
    if program in ("renas", "rminas"):
        arguments = ["-m", program, *arguments]
    if arguments[:2] in (["-m", "venv"], ["-m", "pytest"]):
        return None
    if arguments[0].startswith("examples/"):
        assert (ROOT / arguments[0]).is_file(), arguments[0]
        return None
    args = parse(arguments, monkeypatch)
    if arguments[:2] == ["-m", "rminas"]:
        from common.runs.config import pairs
        from rminas.config import find_config, read_config

        read_config(find_config(args.cfg), pairs(args.settings))
    return None


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("bash"):
        pytest.skip("no bash to expand the pages' commands")
    return tmp_path_factory.mktemp("stubs")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_taken(page: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    for call in calls(page, stubs):
        try:
            check(call, monkeypatch)
        except SystemExit:
            pytest.fail(f"{page.name}: not taken: {' '.join(call)}")


def test_there_are_commands_and_loops_are_expanded(stubs: Path):
    assert [".venv/bin/python", "-m", "renas"] in calls(ROOT / "README.md", stubs)
    assert sum("TRAIN.BATCH_SIZE" in call for call in calls(ROOT / "docs/rminas.md", stubs)) >= 10


@pytest.mark.parametrize(
    "command",
    [
        "-m renas --no_such_flag 1",
        "-m renas --seeds none",
        "-m rminas --cfg configs/nb201_digits.yaml RMINAS.NO_SUCH_KEY 1",
        "-m rminas --cfg configs/none.yaml",
        "scripts/no_such_script.py",
        "scripts/make_tables.py --no_such_flag",
    ],
)
def test_a_wrong_command_is_noticed(command: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises((SystemExit, ValueError, AssertionError)):
        check(["python", *command.split()], monkeypatch)
