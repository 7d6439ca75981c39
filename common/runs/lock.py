"""One process to a run folder: a lock that the system gives back when its holder ends, however it ends."""

from __future__ import annotations

import json
import os
import socket
import time
import weakref
from contextlib import suppress
from pathlib import Path

from common.errors import InputError
from common.inputs import read_json

LOCK_FILE = ".lock"
# Windows locks bytes and keeps others from reading them: one far behind what the file says of its holder.
_LOCKED_BYTE = 2**30


class FolderLock:
    """This process's hold on a folder, until the last of those who took it has released it, or the process ends.

    What counts is the system's lock on the file and not that the file is there, so that nothing that a killed process
    leaves behind keeps others out. The file says who holds it. Where the system or the file system knows no locks,
    there is none.
    """

    def __init__(self, file: Path, descriptor: int) -> None:
        self.users = 0
        self._close = weakref.finalize(self, _close, file, descriptor, os.getpid())

    @property
    def held(self) -> bool:
        return self._close.alive

    def release(self) -> None:
        self.users -= 1
        if not self.users:
            self._close()


_LOCKS: weakref.WeakValueDictionary[Path, FolderLock] = weakref.WeakValueDictionary()  # of this process


def lock_folder(folder: Path, setting: str) -> FolderLock | None:
    """The lock of an existing folder, None where it cannot be locked; one process may take it several times.

    Args: setting: where the user chooses the folder, for the message.
    Raises: InputError saying which process holds it.
    """
    return _lock_by(folder.resolve() / LOCK_FILE, folder, setting)


def lock_file(path: Path, setting: str) -> FolderLock | None:
    """As `lock_folder` of a single file, which need not be there; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return _lock_by(path.parent.resolve() / f".{path.name}{LOCK_FILE}", path, setting)


def _lock_by(file: Path, what: Path, setting: str) -> FolderLock | None:
    lock = _LOCKS.get(file)
    if lock is None or not lock.held:
        try:
            lock = FolderLock(file, _open_locked(file))
        except BlockingIOError:
            raise InputError(
                f"{what} is in use by {_holder(file)}: wait for it, end it, or choose another {setting}"
            ) from None
        except OSError:  # a folder that may only be read, a file system without locks
            return None
        _LOCKS[file] = lock
    lock.users += 1
    return lock


def _open_locked(file: Path) -> int:
    """The descriptor of the locked file. Raises BlockingIOError when it is another's."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
            if not _is_still(file, descriptor):  # its holder removed it between our opening and locking it
                os.close(descriptor)
                continue
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(holder).encode())
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:
        _lock_byte(descriptor)
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock_byte(descriptor: int) -> None:
    try:
        import msvcrt
    except ImportError:
        raise OSError("a system without locks") from None
    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError as error:
        raise BlockingIOError(*error.args) from None
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)


def _is_still(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _close(file: Path, descriptor: int, owner: int) -> None:
    """Closing is what unlocks; a fork of the holder has the same lock and leaves it to its parent."""
    ours = os.getpid() == owner
    if ours and os.name != "nt":  # while it is locked: afterwards it may be another's
        with suppress(OSError):
            file.unlink()
    with suppress(OSError):
        os.close(descriptor)
    if ours and os.name == "nt":  # which removes no open file, neither ours nor that of whoever has locked it since
        with suppress(OSError):
            file.unlink()


def _holder(file: Path) -> str:
    try:
        holder = read_json(file, 4096)
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has just been locked
        return "another process"
