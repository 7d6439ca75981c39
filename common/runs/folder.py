"""The folder of one run: what was asked, what was found so far, and enough to rebuild every number in it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from common.inputs import LINE, parse_json, read_json, read_yaml, short, size_of
from common.runs.files import plain, write_atomic, write_json
from common.runs.lock import LOCK_FILE, FolderLock, lock_folder

if TYPE_CHECKING:
    from common.trackers.base import Tracker

CONFIG, RECORDS, SUMMARY = "config.json", "evaluations.jsonl", "summary.json"


@dataclass(frozen=True)
class RunFolder:
    """`OUT/<name>/` of one resolved config.

    `evaluations.jsonl` gets one line per finished evaluation, flushed to disk at once; a run started again in the
    same folder finds them through `records` and need not repeat them. An opened folder is this process's until it is
    closed; a context manager.
    """

    path: Path
    lock: FolderLock | None = field(default=None, repr=False, compare=False)
    place: os.stat_result | None = field(default=None, repr=False, compare=False)  # of the folder when it was opened
    trackers: list[Tracker] = field(default_factory=list, repr=False, compare=False)  # that are shown every record

    @classmethod
    def open(
        cls,
        path: Path,
        config: dict[str, Any],
        file: str = CONFIG,
        free: Collection[str] = (),
        setting: str = "--out",
        alone: bool = True,
    ) -> RunFolder:
        """The folder at `path`, made if need be, with `config` saved in `file`, as JSON or YAML by its name.

        Args: free: keys that another start of the same run may change. setting: where the user chooses the folder.
            alone: no other process may have it open.
        Where a start of another config has left nothing but that, the folder is taken over.
        Raises: InputError when the folder holds a run of another config, naming the settings that differ, or is in use
        by another process, saying which.
        """
        if not (path / file).exists() and path.exists() and (not path.is_dir() or _holds_anything(path)):
            raise InputError(f"{path} exists and is not a run folder (no {file} in it): choose another {setting}")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write into {path}: {error.strerror or error}") from None
        folder = cls(path, lock_folder(path, setting) if alone else None, path.stat())
        try:
            there = path / file
            if alone and there.exists() and not _holds_anything(path, file) and {*cls._read(there)} == {*config}:
                there.unlink()  # of a start that failed before anything was made
            folder.pin(file, config, free, setting)
        except BaseException:
            folder.close()
            raise
        return folder

    def close(self) -> None:
        """Lets other processes have the folder, as the end of this process does; closing it again does nothing."""
        while self.trackers:
            self.trackers.pop().close()
        if self.lock is not None:
            self.lock.release()
            object.__setattr__(self, "lock", None)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def pin(
        self,
        file: str,
        values: dict[str, Any],
        free: Collection[str] = (),
        setting: str = "--out",
        grows: bool = False,
    ) -> None:
        """Saves what the results of this folder depend on; a later start must bring the same, save for `free` keys.

        Args: grows: a later start may leave keys out, or bring more of them, which are added.
        Raises: InputError naming what differs from what `file` holds.
        """
        path = self.path / file
        wanted = json.loads(json.dumps(plain(values)))
        if path.exists():
            stored = there = self._read(path)
            if grows:
                wanted, there = stored | wanted, wanted | stored
            ours, theirs = (leaves({k: v for k, v in tree.items() if k not in free}) for tree in (wanted, there))
            differing = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
            if differing:
                shown = "; ".join(f"{k} is {theirs.get(k)!r} there, {ours.get(k)!r} here" for k in differing[:3])
                raise InputError(
                    f"{self.path} holds a run with other settings ({shown}): choose another {setting} or remove it"
                )
            if stored == wanted:
                return
        try:
            if path.suffix == ".yaml":
                import yaml

                write_atomic(path, lambda out: out.write(yaml.safe_dump(wanted, sort_keys=False).encode()))
            else:
                write_json(path, wanted)
        except OSError as error:
            raise InputError(f"cannot write into {self.path}: {error.strerror or error}") from None

    def records(self, check: Callable[[dict[str, Any]], object] = lambda record: None) -> list[dict[str, Any]]:
        """The finished evaluations, oldest first. A last line cut off by a crash is dropped from the file.

        Args: check: looks at what will be used of a record, and fails in any way where it is not there.
        Raises: InputError naming the line that is damaged.
        """
        file = self.path / RECORDS
        if not file.exists():
            return []
        size_of(file)
        found: list[dict[str, Any]] = []
        with file.open("rb") as stream:
            whole = 0
            while line := stream.readline(LINE):
                where = f"{file}: line {len(found) + 1}"
                try:
                    if not line.endswith(b"\n"):
                        raise ValueError("cut off")
                    record = parse_json(line)
                    if not isinstance(record, dict):
                        raise ValueError("not a record")
                except ValueError:
                    if stream.read(1):
                        raise InputError(f"{where} is not JSON; repair or remove it") from None
                    os.truncate(file, whole)
                    break
                try:
                    check(record)
                except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                    said = short(error)
                    raise InputError(f"{where} is no record of this run ({said}); repair or remove it") from None
                found.append(record)
                whole += len(line)
        return found

    def append(self, record: dict[str, Any]) -> None:
        """Adds one finished evaluation; it is on disk when this returns. Raises InputError as `check_place`."""
        self.check_place()
        record = plain(record)
        with (self.path / RECORDS).open("ab") as file:
            file.write((json.dumps(record) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        for tracker in self.trackers:
            tracker.add(record)

    def track(self, name: str) -> None:
        """Has a tracker (`common.trackers`, or `my_module:MyTracker`; empty for none) show all records, now and later.

        Raises: InputError where there is none of that name, or it cannot be had.
        """
        if name:
            from common.trackers import TRACKERS

            tracker = TRACKERS.load(name)(self.path)
            self.trackers.append(tracker)
            for record in self.records():
                tracker.add(record)

    def check_place(self) -> None:
        """Raises InputError where the folder has been moved or replaced: what is written by its name would lie in
        another one.
        """
        try:
            there = self.path.stat()
        except OSError:
            there = None
        if self.place is not None and (there is None or not os.path.samestat(self.place, there)):
            raise InputError(f"{self.path} was moved or replaced while it was in use; put it back, and start again")

    def write_summary(self, summary: dict[str, Any]) -> None:
        self.check_place()
        write_json(self.path / SUMMARY, summary)

    @staticmethod
    def _read(file: Path) -> dict[str, Any]:
        kind = file.suffix[1:].upper()
        try:
            if kind == "YAML":
                return dict(read_yaml(file))
            return dict(read_json(file))
        except (ValueError, TypeError):
            raise InputError(f"{file} is not {kind}; repair or remove it") from None


def _holds_anything(folder: Path, *but: str) -> bool:
    """Beside some files, and the lock of a run that has only just begun, or was killed then."""
    return any(entry.name not in (LOCK_FILE, *but) for entry in folder.iterdir())


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys, so that a difference is named by its own key."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


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
    """The git revision of the code, with a + where the tree has uncommitted changes; empty outside a checkout.

    Changes in docs/ do not count: no result depends on them, and keeping results there must not spoil the next one.
    """
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        revision = git("rev-parse", "--short=12", "HEAD")
        changed = revision and git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
        return revision + ("+" if changed else "")
    except (OSError, subprocess.TimeoutExpired):
        return ""
