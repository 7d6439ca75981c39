"""The folder of one run: what was asked, what was found so far, and enough to rebuild every number in it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.runs.files import plain, write_json

CONFIG, RECORDS, SUMMARY = "config.json", "evaluations.jsonl", "summary.json"


@dataclass(frozen=True)
class RunFolder:
    """`OUT/<name>/` of one resolved config.

    `evaluations.jsonl` gets one line per finished evaluation, flushed to disk at once; a run started again in the
    same folder finds them through `records` and need not repeat them.
    """

    path: Path

    @classmethod
    def open(cls, path: Path, config: dict[str, Any]) -> RunFolder:
        """The folder at `path`, made if need be, with `config` saved.

        Raises: InputError when the folder holds a run of another config, naming the settings that differ.
        """
        file = path / CONFIG
        wanted = json.loads(json.dumps(plain(config)))
        if file.exists():
            there = cls._read_json(file)
            differing = [key for key in {**there, **wanted} if there.get(key) != wanted.get(key)]
            if differing:
                shown = "; ".join(f"{k} is {there.get(k)!r} there, {wanted.get(k)!r} here" for k in differing[:3])
                raise InputError(f"{path} holds a run with other settings ({shown}): choose another --out or remove it")
        else:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise InputError(f"{path} exists and is not a run folder (no {CONFIG} in it): choose another --out")
            try:
                write_json(file, wanted)
            except OSError as error:
                raise InputError(f"cannot write into {path}: {error.strerror or error}") from None
        return cls(path)

    def records(self) -> list[dict[str, Any]]:
        """The finished evaluations, oldest first. A last line cut off by a crash is dropped from the file."""
        file = self.path / RECORDS
        if not file.exists():
            return []
        found: list[dict[str, Any]] = []
        whole = 0
        lines = file.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines, start=1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("cut off")
                found.append(json.loads(line))
            except ValueError:
                if number < len(lines):
                    raise InputError(f"{file}: line {number} is not JSON; repair or remove it") from None
                os.truncate(file, whole)
                break
            whole += len(line)
        return found

    def append(self, record: dict[str, Any]) -> None:
        """Adds one finished evaluation; it is on disk when this returns."""
        with (self.path / RECORDS).open("ab") as file:
            file.write((json.dumps(plain(record)) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())

    def write_summary(self, summary: dict[str, Any]) -> None:
        write_json(self.path / SUMMARY, summary)

    @staticmethod
    def _read_json(file: Path) -> dict[str, Any]:
        try:
            return dict(json.loads(file.read_text()))
        except ValueError:
            raise InputError(f"{file} is not JSON; repair or remove it") from None


def environment(device: str) -> dict[str, Any]:
    """Versions, machine and code revision, for the record."""
    packages = ("torch", "numpy", "scipy", "scikit-learn")
    versions = {name: metadata.version(name) for name in packages}
    return {
        "python": platform.python_version(),
        **versions,
        "device": device,
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "platform": sys.platform,
        "revision": _revision(),
    }


def _revision() -> str:
    """The git revision of the code, with a + where the tree has uncommitted changes; empty outside a checkout."""
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        revision = git("rev-parse", "--short=12", "HEAD")
        return revision + ("+" if revision and git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.TimeoutExpired):
        return ""
