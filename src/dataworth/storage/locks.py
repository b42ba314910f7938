"""Folder locks: one process at a time; the kernel releases the lock when that process dies."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..console import warn
from ..errors import HeldError
from .files import open_in_place

LOCK = "lock"  # file name, within the folder; its text names the process that holds the lock
TRIES, TRY_SECONDS = 5, 0.01
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # some network file systems


@contextmanager
def lock_folder(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the exclusive lock of a folder until the block ends.

    Raises
    ------
    HeldError
        If another process holds it, naming the process; with ``wait`` it is waited for instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    descriptor = _acquire(path, wait)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)  # before the release: a waiting process sees that it is gone
        os.close(descriptor)


def lock_holder(folder: Path) -> str | None:
    """Name the process that holds the lock of a folder, or None; nothing is written."""
    try:
        descriptor = open_in_place(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # held, or no locks on this file system: then the text is all there is
        return _read_holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def _read_holder(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"


def _acquire(path: Path, wait: bool) -> int:
    while True:
        descriptor = open_in_place(path, os.O_RDWR | os.O_CREAT)
        try:
            _lock(descriptor, path, wait)
            with suppress(FileNotFoundError):  # removed, perhaps between two looks at it
                if path.stat().st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed the file after we opened it: try the new one


def _lock(descriptor: int, path: Path, wait: bool) -> None:
    try:
        for _ in range(TRIES):  # it may be held for a moment by a call of lock_holder
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(TRY_SECONDS)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _read_holder(descriptor)
        if not wait:
            raise HeldError(f"{path.parent} is held by {holder}") from None
        warn(f"waiting for {holder}, which holds {path.parent}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        warn(
            f"warning: {path.parent}: its file system supports no locks; "
            "start one command at a time"
        )
