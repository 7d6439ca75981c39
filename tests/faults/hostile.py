"""Making damaged and hostile files, and running a command on them with bounds on its time and memory."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml

from common.cli import run_command
from common.page.command import page_command
from renas import cli as renas_cli
from renas import compare, predict
from rminas import cli as rminas_cli
from rminas import export, latency, retrain, teacher

CPU_S, WALL_S = 5, 60  # wall: the machine is shared
MEMORY = 1 << 30  # bytes that a refusal may take, far below what the hostile files ask for

CELLS = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
    "|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|",
    "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|",
    "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|",
    "|skip_connect~0|+|none~0|none~1|+|skip_connect~0|skip_connect~1|none~2|",
)
CSV = "arch,cifar10_valid_12,cifar10_test_200\n" + "".join(
    f"{cell},{60 + n}.5,{70 + n}.5\n" for n, cell in enumerate(CELLS)
)
COMMANDS = {
    "renas": (renas_cli.PROG, renas_cli.main),
    "compare": (compare.PROG, compare.main),
    "predict": (predict.PROG, predict.main),
    "rminas": (rminas_cli.PROG, rminas_cli.main),
    "retrain": (retrain.PROG, retrain.main),
    "teacher": (teacher.PROG, teacher.main),
    "export": (export.PROG, export.main),
    "latency": (latency.PROG, latency.main),
    "report": ("report", partial(page_command, "report")),
}
DIGITS = {"DATA": {"NAME": "digits"}, "DEVICE": "cpu"}


class TookTooLong(BaseException):
    """Nothing that a command catches."""


class Refused(NamedTuple):
    code: int
    out: str
    err: str


Made = Callable[[Path], Path]
Case = tuple[str, list[Any], dict[str, Made]]  # command; words, "@name" standing for the file of that name; files


def run(prog: str, main: Callable[..., None], argv: list[Any]) -> Refused:
    """What a command says, run in this process as its console script runs it, with bounds on time and memory."""
    words = [str(word) for word in argv]
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with bounded(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run_command(prog, lambda: main(words))
        except SystemExit as ended:
            code = ended.code
    return Refused(code, out.getvalue(), err.getvalue())


def refused(tmp_path: Path, case: Case) -> Refused:
    """What the command says; asserts that it refuses as it should."""
    command, words, files = case
    for name, make in files.items():
        make(tmp_path / name)
    found = run(*COMMANDS[command], [str(w).replace("@", f"{tmp_path}/") for w in words])
    assert found.code == 2, found
    assert found.err.count("\n") == 1, found.err
    assert ": error: " in found.err
    assert len(found.err) < 3000
    assert "weights_only" not in found.err
    assert not (tmp_path / "ran").exists()
    assert not list(tmp_path.rglob("*.part"))
    return found


def check(tmp_path: Path, case: Case) -> None:
    refused(tmp_path, case)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    def late(number: int, frame: Any) -> None:
        raise TookTooLong

    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    handlers = [(number, signal.signal(number, late)) for number in (signal.SIGALRM, signal.SIGVTALRM)]
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    signal.setitimer(signal.ITIMER_REAL, WALL_S)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        for number, handler in handlers:
            signal.signal(number, handler)


# disks and handles ---------------------------------------------------------------------------------------------------


def is_one_line(refused: Refused, said: str) -> None:
    assert refused.code == 2, refused
    assert refused.err.count("\n") == 1
    assert said in refused.err


@contextlib.contextmanager
def limit(what: int, most: int) -> Iterator[None]:
    before = resource.getrlimit(what)
    resource.setrlimit(what, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


@contextlib.contextmanager
def few_handles(spare: int) -> Iterator[None]:
    taken: list[int] = []
    with limit(resource.RLIMIT_NOFILE, max(map(int, os.listdir("/proc/self/fd"))) + 1 + spare):
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(spare):
            os.close(taken.pop())
        try:
            yield
        finally:
            for descriptor in taken:
                os.close(descriptor)


@contextlib.contextmanager
def small_disk(path: Path, pages: int = 0) -> Iterator[Path]:
    """A disk of so many pages of 4 KB, 0 for a large one. Skips the test where there is no right to mount one."""
    path.mkdir()
    size = ["-o", f"size={4 * pages}k"] if pages else []
    mount = ["mount", "-t", "tmpfs", *size, "none", str(path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


# files that are no data ----------------------------------------------------------------------------------------------


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def endless(path: Path) -> Path:
    path.symlink_to("/dev/zero")
    return path


def loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def sparse(path: Path, start: str = "") -> Path:
    """57 GiB of zeros that take no room on the disk."""
    path.write_text(start)
    os.truncate(path, 57 << 30)
    return path


def noise(path: Path) -> Path:
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    return path


NOT_REGULAR = {"fifo": fifo, "endless": endless, "loop": loop, "folder": folder}

# text ----------------------------------------------------------------------------------------------------------------

DEEP_JSON = "[" * 100_000 + "]" * 100_000
HALF_DEEP_JSON = "[" * 500 + "]" * 500
LONG = "9" * 5000
YAML_BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
)
YAML_MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{b}: &{b} {{{', '.join(f'k{n}: *{a}' for n in range(10))}}}\n"
    for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
)


def text(content: str | bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def cfg(**values: Any) -> Callable[[Path], Path]:
    return text(yaml.safe_dump({**DIGITS, **values}))


# pickles -------------------------------------------------------------------------------------------------------------


class Touch:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


def evil(value: Callable[[Touch], Any] = lambda touch: touch, torch_file: bool = True) -> Callable[[Path], Path]:
    """A file that would run code, with what `value` makes of it; `ran` beside it tells that it did."""

    def write(path: Path) -> Path:
        content = value(Touch(path.with_name("ran")))
        if torch_file:
            torch.save(content, path)
        else:
            path.write_bytes(pickle.dumps(content))
        return path

    return write


def saved(value: Any, **options: Any) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        torch.save(value, path, **options)
        return path

    return write


def pickled(value: Any) -> Callable[[Path], Path]:
    return text(pickle.dumps(value))


def holding_itself() -> list[Any]:
    made: list[Any] = []
    made.extend([made, made])
    return made


# arrays --------------------------------------------------------------------------------------------------------------


def npy_bytes(array: np.ndarray, **header: Any) -> bytes:
    """An `.npy`, some of whose header lies."""
    stream = io.BytesIO()
    if not header:
        np.save(stream, array)
        return stream.getvalue()
    said = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape, **header}
    np.lib.format.write_array_header_1_0(stream, said)
    return stream.getvalue() + array.tobytes()


def npz_of(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path

    return write


def zip_bomb(path: Path, name: str = "x_train.npy", gib: int = 2) -> Path:
    """Zeros that are a thousandth of their size when packed, behind a header that promises them."""
    head = npy_bytes(np.zeros(0, np.uint8), shape=((gib << 30) // 3072, 32, 32, 3))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w", force_zip64=True) as file:
        file.write(head)
        for _ in range(4):
            file.write(bytes(16 << 20))
    # The directory says how large it is unpacked: more than it is, so that the test itself needs not pack so much.
    content = bytearray(path.read_bytes())
    return path if gib < 1 else _promise(path, content, gib)


def _promise(path: Path, content: bytearray, gib: int) -> Path:
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = ((gib << 30) - 1).to_bytes(4, "little")
    path.write_bytes(content)
    return path


def cut(make: Callable[[Path], Path], share: float = 0.6) -> Callable[[Path], Path]:
    """The first part of what `make` writes."""

    def write(path: Path) -> Path:
        make(path)
        os.truncate(path, int(path.stat().st_size * share))
        return path

    return write


def flipped(make: Callable[[Path], Path], share: float = 0.5) -> Callable[[Path], Path]:
    """What `make` writes with 64 bytes turned over."""

    def write(path: Path) -> Path:
        make(path)
        content = bytearray(path.read_bytes())
        start = int(len(content) * share)
        for place in range(start, min(start + 64, len(content))):
            content[place] ^= 0xFF
        path.write_bytes(content)
        return path

    return write


def jsonl(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)
