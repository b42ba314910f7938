"""Snapshots of a run: the two newest are kept, so that one is intact after any crash.

``last.pt`` is the newest, ``previous.pt`` the one before. At every moment of :func:`save_snapshot`
at least one of them agrees with the SHA-256 beside it.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..console import warn
from ..errors import DamagedError
from .epoch_log import sync_epochs
from .files import (
    Content,
    digest_path,
    read_digest,
    read_verified,
    staged,
    sync,
    write_digest,
)

SNAPSHOTS = ("last.pt", "previous.pt")
Snapshot = dict[str, Any]  # tensors and plain types by name


def save_snapshot(folder: Path, content: Content) -> None:
    """Write the newest snapshot and keep the one before; the rows of its epochs come first."""
    sync_epochs(folder)
    last, previous = (folder / name for name in SNAPSHOTS)
    with staged(last, content) as temporary:
        digest = read_digest(last)
        if digest is not None and last.exists():
            write_digest(previous, digest)  # invalidates ``previous`` until the rename below
            last.replace(previous)
        write_digest(last, hashlib.sha256(content).hexdigest())
        temporary.replace(last)
    sync(folder)


def load_snapshot(
    folder: Path, check: Callable[[Snapshot], None] = lambda _: None
) -> Snapshot | None:
    """Load the newest intact snapshot into CPU memory; None if there is none.

    A damaged one is renamed to ``.bad`` and reported. Only tensors and plain types are unpickled.

    Parameters
    ----------
    folder : Path
    check : callable
        Raises DamagedError if a snapshot is not one of the run.
    """
    damaged = False
    for name in SNAPSHOTS:
        if not (folder / name).exists():
            continue
        try:
            state = _parse(folder / name)
            check(state)
            return state
        except DamagedError as error:
            damaged = True
            warn(f"warning: {error}; set aside as {set_aside(folder / name)}")
    if damaged:
        warn(f"warning: {folder} has no intact snapshot left: THE RUN STARTS OVER")
    return None


def remove_snapshots(folder: Path) -> None:
    """Remove the snapshots of a finished run."""
    for name in SNAPSHOTS:
        digest_path(folder / name).unlink(missing_ok=True)
        (folder / name).unlink(missing_ok=True)


def set_aside(path: Path) -> str:
    """Rename a damaged file so that it is not read again but can be inspected; return the name.

    It ends in ``.bad``, or ``.2.bad``, ``.3.bad``, where there is one already.
    """
    digest_path(path).unlink(missing_ok=True)
    counted = (f"{path.name}.{count}.bad" for count in itertools.count(2))
    names = itertools.chain([f"{path.name}.bad"], counted)
    name = next(name for name in names if not os.path.lexists(path.with_name(name)))
    path.replace(path.with_name(name))
    return name


def _parse(path: Path) -> Snapshot:
    import torch

    content = read_verified(path)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types on hostile bytes
        raise DamagedError(f"{path} is no snapshot ({type(error).__name__})") from None
    if not isinstance(state, dict) or not {"schema_version", "model", "epoch"} <= set(state):
        raise DamagedError(f"{path} is no snapshot of a run")
    return state
