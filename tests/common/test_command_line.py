"""What all command lines share: one line and exit code 2 for bad input, and help that shows defaults."""

from __future__ import annotations

import argparse
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.cli import OneLineParser, run_command
from common.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def parser() -> OneLineParser:
    made = OneLineParser("prog", "Does a thing.")
    made.add_argument("--count", type=int, default=10, help="how many")
    made.add_argument("--counter", type=int, help="no default to show")
    made.add_argument("--kind", choices=("a", "b"), default="a", help="which")
    return made


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--nonsense"], "--nonsense"),
        (["--nonsense=3"], "--nonsense=3"),
        (["stray"], "stray"),
        (["--count", "many"], "many"),
        (["--count"], "--count"),
        (["--kind", "c"], "'c'"),
        (["--kin", "a"], "--kin"),
    ],
)
def test_a_bad_flag_is_one_line_and_exit_code_2(argv: list[str], named: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        parser().parse_args(argv)
    out, err = capsys.readouterr()
    assert exit_.value.code == 2
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("prog: error: ")
    assert named in err
    assert "prog --help" in err


def test_help_shows_the_defaults_that_there_are(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        parser().parse_args(["--help"])
    text = capsys.readouterr().out
    assert exit_.value.code == 0
    assert "Does a thing." in text
    assert "how many (default: 10)" in text
    assert "no default to show\n" in text
    assert "None" not in text


def test_success_is_exit_code_0(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        run_command("prog", lambda: print("done"))
    assert exit_.value.code == 0
    assert capsys.readouterr() == ("done\n", "")


def test_bad_input_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]):
    def main() -> None:
        raise InputError("table.csv: line 3: no number")

    with pytest.raises(SystemExit) as exit_:
        run_command("prog", main)
    assert exit_.value.code == 2
    assert capsys.readouterr() == ("", "prog: error: table.csv: line 3: no number\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "runs/a"), "runs/a: Permission denied"),
        (OSError("931000 requested and 12784 written"), "931000 requested and 12784 written"),  # numpy, a full disk
    ],
)
def test_a_file_that_fails_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], error: OSError, said: str):
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as exit_:
        run_command("prog", main)
    assert exit_.value.code == 2
    assert capsys.readouterr() == ("", f"prog: error: {said}\n")


def test_an_interrupt_is_exit_code_130_and_says_how_to_go_on(capsys: pytest.CaptureFixture[str]):
    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as exit_:
        run_command("prog", main)
    out, err = capsys.readouterr()
    assert exit_.value.code == 130
    assert "prog: interrupted; the same command, given again" in err
    assert out == ""


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("a bug")])
def test_a_mistake_of_ours_keeps_its_traceback(error: Exception):
    def main() -> None:
        raise error

    with pytest.raises(type(error), match="a bug"):
        run_command("prog", main)


def test_exits_of_the_parser_pass_through():
    with pytest.raises(SystemExit) as exit_:
        run_command("prog", lambda: argparse.ArgumentParser().exit(7))
    assert exit_.value.code == 7


@pytest.mark.parametrize(("printed", "taken"), [("'x' * 9_999_999", "head -c 1"), ("'x'", "true")])
def test_a_reader_that_goes_away_is_no_traceback(printed: str, taken: str):
    """In the midst of printing, and before what waits in the buffer is written."""
    code = (
        f"import time; from common.cli import run_command; time.sleep(0.3); run_command('p', lambda: print({printed}))"
    )
    script = f'"$0" -c "$1" | {taken} >&2; exit "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (1, "x" if "head" in taken else "")


@pytest.mark.parametrize("module", ["renas", "rminas", "common.cli"])
def test_idle_threads_sleep_which_is_said_before_torch_is_there(module: str):
    """In commands and scripts alike; what somebody has said himself stays."""
    code = f"import os, sys, {module}; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    for said in ("PASSIVE", "ACTIVE"):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.stdout == f"{said} False\n", done.stderr
        environment["OMP_WAIT_POLICY"] = "ACTIVE"
