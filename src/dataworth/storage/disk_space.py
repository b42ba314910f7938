"""Room on the disk, checked before hours of work depend on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError


@dataclass(frozen=True)
class Need:
    """What a folder is going to hold at most."""

    what: str
    folder: Path
    num_bytes: int

    def __str__(self) -> str:
        return f"{self.what} {self.num_bytes / 1e9:.2f} GB"


def check_room(needs: Sequence[Need]) -> None:
    """Refuse what will not fit or cannot be written.

    Raises
    ------
    InputError
        If a folder cannot be written, or a file system has less room than its folders need.
    """
    by_disk: dict[int, list[Need]] = {}
    for need in needs:
        by_disk.setdefault(_place(need.folder).stat().st_dev, []).append(need)
    for there in by_disk.values():
        needed, free = sum(need.num_bytes for need in there), free_bytes(there[0].folder)
        if needed > free:
            raise InputError(
                f"{there[0].folder}: {', '.join(map(str, there))} need {needed / 1e9:.2f} GB and "
                f"{free / 1e9:.2f} GB are free; free some space or name another folder"
            )


def free_bytes(folder: Path) -> int:
    """Bytes that the file system of a folder, which need not exist yet, has free."""
    return shutil.disk_usage(_place(folder)).free


def _place(folder: Path) -> Path:
    """Return the nearest folder that exists, if it can be written."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise InputError(f"{folder}: {place} is a file where a folder must be")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: {place} cannot be written")
    return place
