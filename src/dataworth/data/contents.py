"""Contents of the files of a local data set: one SHA-256, computed again when a file changes.

SHA-256 is what the cache has of each image anyway. Most processors have instructions for it, which
makes it faster than BLAKE2. xxHash is faster still, but two files of one hash are easily made.

``contents.json`` in the cache folder has the hashes of earlier readings by machine and folder, each
valid while all files have the sizes, times and inode numbers that they had. Among the times is that
of the inode (ctime), which a replacement changes even if the time of modification is kept.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import socket
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from ..errors import InputError
from ..storage.files import read_json, write_json

INDEX = "contents.json"
MAX_INDEXED = 100  # folders
MAX_FILE_BYTES = 512 * 2**20  # of an image file, refused before it is read
THREADS = 16  # more than cores, for network file systems
CHUNK = 256  # files per task of a thread
SETTLED_SECONDS = 2.0  # the coarsest time stamps: a file may change twice with the same one


@dataclass(frozen=True, eq=False)
class LocalFiles:
    """The files that a data set is read from, and the state that they had then."""

    folder: Path
    names: Sequence[str]  # relative to the folder
    max_bytes: float  # larger files are not read
    signature: str  # SHA-256 of names, sizes, times and inode numbers
    changed: float  # when the last file changed, in seconds since the epoch

    @classmethod
    def of(cls, folder: Path, names: Iterable[str], max_bytes: float = math.inf) -> Self:
        """Note the state of files that exist.

        Parameters
        ----------
        folder : Path
        names : iterable of str
            Relative to the folder.
        max_bytes : float
            Of a file that is read.
        """
        existing, digest, changed = [], hashlib.sha256(), 0.0
        for name in names:
            with suppress(OSError):
                stat = os.stat(f"{folder}/{name}")  # noqa: PTH116  a Path per file takes longer
                state = stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino
                digest.update(f"{name}\0{state}\n".encode())
                changed = max(changed, stat.st_mtime, stat.st_ctime)
                existing.append(name)
        return cls(folder, existing, max_bytes, digest.hexdigest(), changed)

    def check_unchanged(self) -> None:
        """Refuse files that have changed since.

        Raises
        ------
        InputError
            Naming the folder.
        """
        if self.of(self.folder, self.names).signature != self.signature:
            raise InputError(
                f"--dataset {self.folder}: its files changed while they were read; "
                "start the command again"
            )

    def read(self) -> str:
        """Return the SHA-256 of names and contents, read by several threads.

        Raises
        ------
        InputError
            If a file cannot be read, or changes meanwhile.
        """
        digest, starts = hashlib.sha256(), range(0, len(self.names), CHUNK)
        with (
            ThreadPoolExecutor(THREADS) as pool,
            tqdm(total=len(self.names), desc="hashing", unit="file", disable=None) as bar,
        ):
            for lines in pool.map(self._lines, starts):
                digest.update(b"".join(lines))
                bar.update(len(lines))
        self.check_unchanged()
        return digest.hexdigest()

    def _lines(self, start: int) -> list[bytes]:
        return [
            f"{name}\0{_file_digest(f'{self.folder}/{name}', self.max_bytes)}\n".encode()
            for name in self.names[start : start + CHUNK]
        ]


@lru_cache(maxsize=2)
def content_digest(files: LocalFiles, cache_dir: Path) -> str:
    """Return the SHA-256 of names and contents, from the index in ``cache_dir`` if it is valid.

    Raises
    ------
    InputError
        If a file cannot be read, or changes meanwhile.
    """
    entry = _read_index(cache_dir).get(_index_key(files))
    if isinstance(entry, dict) and entry.get("signature") == files.signature:
        digest = entry.get("sha256")
        if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest):
            return digest
    return files.read()


def remember_contents(files: LocalFiles, cache_dir: Path) -> None:
    """Add files to the index in ``cache_dir``, unless they changed a moment ago."""
    index, key = _read_index(cache_dir), _index_key(files)
    entry = {"signature": files.signature, "sha256": content_digest(files, cache_dir)}
    if index.get(key) == entry or time.time() - files.changed < SETTLED_SECONDS:
        return
    others = [(other, value) for other, value in index.items() if other != key]
    with suppress(OSError):  # a cache that others share may be read-only
        write_json(cache_dir / INDEX, dict([*others[1 - MAX_INDEXED :], (key, entry)]))


def _index_key(files: LocalFiles) -> str:
    """Return machine and folder: elsewhere, times and inode numbers say nothing."""
    return f"{socket.gethostname()}:{files.folder.resolve()}"


def _read_index(cache_dir: Path) -> dict[str, Any]:
    try:
        return read_json(cache_dir / INDEX)
    except (InputError, OSError):
        return {}


def _file_digest(path: str, max_bytes: float) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                return f"{size} bytes"
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"--dataset: {path} cannot be read: {error.strerror}") from None
