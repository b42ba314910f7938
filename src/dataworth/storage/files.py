"""Atomic file writes, JSON, and files with a SHA-256 beside them."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import DamagedError, InputError

Content = bytes | memoryview
MAX_BYTES = 2**30  # of a stored file that is no weights: metrics.json of 1,000 classes has 0.1 GB
WEIGHT_BYTES = 2**40  # of weights and snapshots


def read_stored(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Read a stored file, which may be anything in the study of a stranger.

    Parameters
    ----------
    path : Path
    max_bytes : int
        Refused above; the memory of this machine bounds it too.

    Raises
    ------
    OSError
        If it is missing, no regular file (a FIFO blocks its reader, a device never ends), or too
        large.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "no regular file; remove it", str(path))
        max_bytes = min(max_bytes, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        if status.st_size > max_bytes:
            reason = f"{status.st_size:,} bytes are more than {max_bytes:,}; restore or remove it"
            raise OSError(errno.EFBIG, reason, str(path))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def read_stored_text(path: Path) -> str:
    """Read a stored text file as :func:`read_stored`; bytes that are no UTF-8 are replaced."""
    text = read_stored(path).decode(errors="replace")
    return io.StringIO(text, newline=None).read()  # CRLF as LF


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises
    ------
    InputError
        If the file holds no JSON object.
    FileNotFoundError
        If there is no file.
    """
    return parse_json(read_stored(path), path)


def parse_json(content: bytes, path: Path) -> dict[str, Any]:
    """Parse the content of a file that holds a JSON object.

    Raises
    ------
    InputError
        If it holds none, naming the file.
    """
    try:
        value = json.loads(content, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{path} is damaged: no JSON object; restore it or remove its folder")
    return value


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("write_json writes no such number")
    return number


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file atomically."""
    write_whole(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """Encode a value as the JSON that :func:`write_json` writes."""
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def write_whole(path: Path, content: Content) -> None:
    """Replace a file atomically: a reader, also after a crash, sees the old content or the new."""
    with staged(path, content) as temporary:
        temporary.replace(path)
    sync(path.parent)


@contextmanager
def staged(path: Path, content: Content) -> Iterator[Path]:
    """Write a temporary file that the caller renames to ``path``; it is on the disk by then.

    Raises
    ------
    OSError
        If it cannot be written, naming ``path`` and the bytes; the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with named_errors(path, len(content)):
            temporary.unlink(missing_ok=True)  # of a killed process with the same number
            with temporary.open("xb") as file:  # a new file: a symbolic link is not followed
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def named_errors(path: Path, num_bytes: int | None = None) -> Iterator[None]:
    """Write a file; an error that names none, or a temporary one, names it and the free space.

    Parameters
    ----------
    path : Path
    num_bytes : int or None
        To be written, where it is known.

    Raises
    ------
    OSError
        With ``path``, and the bytes in its text.
    """
    try:
        yield
    except OSError as error:
        named = error.filename is not None
        if named and not Path(os.fsdecode(error.filename)).name.startswith(f".{path.name}."):
            raise
        size = "" if num_bytes is None else f"writing {num_bytes:,} bytes, "
        with suppress(OSError):
            folder = next(parent for parent in path.absolute().parents if parent.exists())
            size += f"{shutil.disk_usage(folder).free:,} free on the disk"
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"{reason} ({size})", str(path)) from None


def remove_temporary_files(*folders: Path) -> None:
    """Remove temporary files of killed processes; only while holding the folders' locks."""
    for folder in folders:
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)


def open_in_place(path: Path, flags: int) -> int:
    """Open a regular file that is written in place; return its descriptor.

    Raises
    ------
    InputError
        If it is a symbolic link, which may lead to any file of the user, or no regular file.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError(f"{path} is a symbolic link and is not followed; remove it") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path} is no regular file; remove it")
    return descriptor


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_digest(path: Path, digest: str) -> None:
    """Write the SHA-256 of a file beside it, in the format of ``sha256sum --check``."""
    write_whole(digest_path(path), f"{digest}  {path.name}\n".encode())


def read_digest(path: Path) -> str | None:
    """Read the SHA-256 beside a file, or None where there is none."""
    try:
        return read_stored_text(digest_path(path)).split(" ")[0]
    except FileNotFoundError:
        return None


def digest_path(path: Path) -> Path:
    """Return the path of the SHA-256 of a file."""
    return path.with_name(f"{path.name}.sha256")


def write_verified(path: Path, content: Content) -> None:
    """Replace a file whose SHA-256 lies beside it."""
    write_digest(path, hashlib.sha256(content).hexdigest())
    write_whole(path, content)


def read_verified(path: Path) -> bytes:
    """Read a file and compare it with the SHA-256 beside it.

    Raises
    ------
    DamagedError
        If they differ, or one of them is missing.
    """
    try:
        content = read_stored(path, WEIGHT_BYTES)
    except FileNotFoundError:
        raise DamagedError(f"{path} is missing") from None
    if (expected := read_digest(path)) is None:
        raise DamagedError(f"{path} has no SHA-256 beside it")
    if hashlib.sha256(content).hexdigest() != expected:
        raise DamagedError(f"{path} is damaged: its SHA-256 is not the one beside it")
    return content
