"""The two newest snapshots of a run: whatever happens while one is written, one is whole.

``last.pt`` is the newest, ``previous.pt`` the one before. At every moment of :func:`save_snapshot`
one of them agrees with the SHA-256 beside it.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

from ..console import warn
from .files import (
    Content,
    DamagedError,
    digest_path,
    read_digest,
    read_verified,
    staged,
    sync,
    write_digest,
)

SNAPSHOTS = ("last.pt", "previous.pt")


def save_snapshot(folder: Path, content: Content) -> None:
    """Make ``content`` the newest snapshot and keep the one before."""
    last, previous = (folder / name for name in SNAPSHOTS)
    with staged(last, content) as temporary:
        digest = read_digest(last)
        if digest is not None and last.exists():
            write_digest(previous, digest)  # from here on ``previous`` is not used: it is not this
            last.replace(previous)
        write_digest(last, hashlib.sha256(content).hexdigest())
        temporary.replace(last)
    sync(folder)


def load_snapshot(folder: Path) -> dict[str, Any] | None:
    """Read the newest snapshot that is whole into CPU memory; None if there is none.

    What is damaged is set aside as ``.bad`` and reported. Nothing is unpickled but tensors and
    plain types.
    """
    damaged = False
    for name in SNAPSHOTS:
        if not (folder / name).exists():
            continue
        try:
            return _parse(folder / name)
        except DamagedError as error:
            damaged = True
            set_aside(folder / name)
            warn(f"warning: {error}; set aside as {name}.bad")
    if damaged:
        warn(f"warning: {folder} has no whole snapshot left: THE RUN STARTS OVER")
    return None


def remove_snapshots(folder: Path) -> None:
    """Remove the snapshots of a finished run."""
    for name in SNAPSHOTS:
        digest_path(folder / name).unlink(missing_ok=True)
        (folder / name).unlink(missing_ok=True)


def set_aside(path: Path) -> None:
    """Rename a damaged file, so that it is not read again and can be looked at."""
    digest_path(path).unlink(missing_ok=True)
    path.replace(path.with_name(f"{path.name}.bad"))


def _parse(path: Path) -> dict[str, Any]:
    import torch

    content = read_verified(path)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types on hostile bytes
        raise DamagedError(f"{path} is no snapshot ({type(error).__name__})") from None
    if not isinstance(state, dict) or not {"schema_version", "model", "epoch"} <= set(state):
        raise DamagedError(f"{path} is no snapshot of a run")
    return state
