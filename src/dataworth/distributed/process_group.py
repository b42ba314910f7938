"""The processes that train one run together, a share of every batch each; most often only one.

torchrun starts them, or whoever else has made a process group. The first of them, the writer, is
the only one that writes, prints and holds locks; the others follow what it finds. Where one fails,
all of them end: the same command goes on. What they tell each other is in ``exchanges``.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..signals import Stop, requested

if TYPE_CHECKING:
    import torch

PATIENCE = 600.0  # seconds that a process may keep the others waiting within training


class LostError(InputError):
    """Another process of the run has ended, or is silent."""


class Team:
    """Who takes part."""

    rank, size, local_rank, local_size = 0, 1, 0, 1
    host: Any = None  # the group that decisions travel over


def num_processes() -> int:
    """Count the processes that train a run together."""
    return Team.size


def rank() -> int:
    """Return which of them this is, from 0."""
    return Team.rank


def is_writer() -> bool:
    """Whether this process writes and prints."""
    return Team.rank == 0


def fatal() -> tuple[type[Exception], ...]:
    """Return what one process must not get over: the others would wait for it."""
    return (Exception,) if Team.size > 1 else ()


def own_device(name: str) -> torch.device:
    """Return the device of this process: :func:`dataworth.devices.pick_device` for its local rank.

    Parameters
    ----------
    name : str
        ``auto``, or a device as torch names it.
    """
    from ..devices import pick_device

    return pick_device(name, Team.local_rank, Team.local_size)


@contextmanager
def waiting() -> Iterator[None]:
    """Wait for the other processes.

    Raises
    ------
    LostError
        If one has ended or is silent.
    """
    try:
        yield
    except RuntimeError as error:
        reason = str(error).split(". ")[0].splitlines()[0]
        raise LostError(
            f"another process of this run ended, or was silent for {PATIENCE:.0f} s ({reason}); "
            "the same command goes on from the last snapshot"
        ) from None


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that were started with this one, if any; leave them when all went well.

    Raises
    ------
    LostError
        If one of them does not come.
    """
    made = "torch" in sys.modules and _is_initialized()  # by Ray, say
    if not made and os.environ.get("WORLD_SIZE", "1") == "1":
        yield
        return
    _join(made)
    try:
        with _muted():
            yield
    except (InputError, Stop):
        if made or is_writer():
            raise
        sys.exit(128 + number if (number := requested()) else 2)  # the writer says why
    finally:
        Team.rank, Team.size, Team.local_rank, Team.local_size = 0, 1, 0, 1
        Team.host = None
    if not made:  # not after a failure: the others could be waited for in vain
        gc.collect()  # recorded steps hold the group; one that is destroyed before them aborts
        import torch.distributed as dist

        dist.destroy_process_group()


def refuse_several(command: str) -> None:
    """Refuse to be started several times at once.

    Raises
    ------
    InputError
        If torchrun did so.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError(f"{command} works in one process; start it without torchrun")


def share(start: int, stop: int) -> slice:
    """Return this process's part of the images from ``start`` to ``stop`` of a batch."""
    n = stop - start
    bounds = (start + n * (Team.rank + i) // Team.size for i in (0, 1))
    return slice(*bounds)


def own_stream(*key: int) -> tuple[int, ...]:
    """Turn the key of a random stream into this process's; the first one's stays as it is."""
    return (*key, Team.rank) if Team.rank else key


def _is_initialized() -> bool:
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def _join(made: bool) -> None:
    import torch.distributed as dist

    patience = timedelta(seconds=PATIENCE)
    with waiting():
        if not made:
            dist.init_process_group(timeout=patience)
        Team.host = dist.new_group(backend="gloo", timeout=patience)
    Team.rank, Team.size = dist.get_rank(), dist.get_world_size()
    Team.local_rank = int(os.environ.get("LOCAL_RANK", Team.rank))
    Team.local_size = int(os.environ.get("LOCAL_WORLD_SIZE", Team.size))


@contextmanager
def _muted() -> Iterator[None]:
    """Let only the writer be heard."""
    if is_writer():
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
