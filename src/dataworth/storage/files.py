"""Whole files: whoever reads one, also after a crash, finds the old content or the new."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError

Content = bytes | memoryview


class DamagedError(Exception):
    """A file is not what was written: one line that says which and how that is known."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError
        If the file holds none.
    FileNotFoundError
        If there is no file.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: no JSON object; restore it or remove its folder")
    return content


def write_json(path: Path, content: Any) -> None:
    """Replace a JSON file in one step."""
    write_whole(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def write_whole(path: Path, content: Content) -> None:
    """Replace a file in one step: whoever reads it, also after a crash, finds old or new."""
    with staged(path, content) as temporary:
        temporary.replace(path)
    sync(path.parent)


@contextmanager
def staged(path: Path, content: Content) -> Iterator[Path]:
    """Write a temporary file that is to replace ``path``, and wait until it is on the disk.

    Raises
    ------
    OSError
        Naming ``path`` and the bytes, if they do not fit; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            reason = f"{error.strerror} (writing {len(content):,} bytes)"
            raise OSError(error.errno, reason, str(path)) from None
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def sweep(*folders: Path) -> None:
    """Remove temporary files that a killed process left; only for the folders' owner."""
    for folder in folders:
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_digest(path: Path, digest: str) -> None:
    """Write what a file must hash to, beside it, as ``sha256sum --check`` reads it."""
    write_whole(digest_path(path), f"{digest}  {path.name}\n".encode())


def read_digest(path: Path) -> str | None:
    """Read the SHA-256 beside a file, or None where there is none."""
    try:
        return digest_path(path).read_text(errors="replace").split(" ")[0]
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
        content = path.read_bytes()
    except FileNotFoundError:
        raise DamagedError(f"{path} is missing") from None
    if (promised := read_digest(path)) is None:
        raise DamagedError(f"{path} has no SHA-256 beside it")
    if hashlib.sha256(content).hexdigest() != promised:
        raise DamagedError(f"{path} is damaged: its SHA-256 is not the one beside it")
    return content
