"""One owner per folder: a lock that the kernel releases when its process dies, however it dies."""

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
from ..errors import InputError

LOCK = "lock"  # the file, within the folder; its text names the owner
LOOKS, LOOK_SECONDS = 5, 0.01
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # some network file systems


class HeldError(InputError):
    """The folder has another owner."""


@contextmanager
def owned(folder: Path, wait: bool = False) -> Iterator[None]:
    """Own a folder until the block ends.

    Raises
    ------
    HeldError
        If another process owns it, naming the process; with ``wait`` it is waited for instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    descriptor = _acquire(path, wait)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)  # still ours: whoever waits sees that the file is gone
        os.close(descriptor)


def owner(folder: Path) -> str | None:
    """Name the process that owns a folder, or None; the folder stays as it is."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # held, or the file system knows no locks: then its text is all there is
        return os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
    finally:
        os.close(descriptor)
    return None


def _acquire(path: Path, wait: bool) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, path, wait)
            if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner removed the file that we had opened: try the new one


def _lock(descriptor: int, path: Path, wait: bool) -> None:
    try:
        for _ in range(LOOKS):  # perhaps only :func:`owner`, which looks for a moment
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(LOOK_SECONDS)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
        if not wait:
            raise HeldError(f"{path.parent} is held by {holder}") from None
        warn(f"waiting for {holder}, which holds {path.parent}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        warn(f"warning: {path.parent}: the file system knows no locks; start one command at a time")
