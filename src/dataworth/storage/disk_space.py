"""Disk space: check that what a command will write fits, before hours of work depend on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError


@dataclass(frozen=True)
class DiskUsage:
    """Upper bound of the bytes that a command will write to a folder."""

    what: str
    folder: Path
    num_bytes: int

    def __str__(self) -> str:
        return f"{self.what} {self.num_bytes / 1e9:.2f} GB"


def check_disk_space(usages: Sequence[DiskUsage]) -> None:
    """Refuse what will not fit or cannot be written.

    Raises
    ------
    InputError
        If a folder cannot be written, or a file system has less free space than its folders need.
    """
    by_disk: dict[int, list[DiskUsage]] = {}
    for usage in usages:
        by_disk.setdefault(_existing_parent(usage.folder).stat().st_dev, []).append(usage)
    for on_disk in by_disk.values():
        folder = on_disk[0].folder
        needed, free = sum(usage.num_bytes for usage in on_disk), free_bytes(folder)
        if needed > free:
            raise InputError(
                f"{folder}: {', '.join(map(str, on_disk))} need {needed / 1e9:.2f} GB and "
                f"{free / 1e9:.2f} GB are free; free some space or name another folder"
            )


def free_bytes(folder: Path) -> int:
    """Free bytes of the file system of a folder, which need not exist yet."""
    return shutil.disk_usage(_existing_parent(folder)).free


def _existing_parent(folder: Path) -> Path:
    """Return the nearest parent (or the folder itself) that exists, if it can be written."""
    parent = folder.absolute()
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise InputError(f"{folder}: {parent} is a file where a folder must be")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: {parent} cannot be written")
    return parent
