"""The process group of one training run: world size, ranks, how each batch is sharded.

Most often there is one process and nothing here does anything. torchrun or Ray Train start several.
Rank 0 alone writes, prints and holds locks; the other ranks follow its decisions
(``collectives.on_rank_zero``). If one rank fails, all of them end, and the same command resumes.
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

from ..errors import InputError, ProcessLostError
from ..signals import SignalInterrupt, received_signal

if TYPE_CHECKING:
    import torch

TIMEOUT = 600.0  # seconds that a process may keep the others waiting within training


class Group:
    """The process group that this process belongs to; of size 1 by default."""

    rank, size, local_rank, local_size = 0, 1, 0, 1
    gloo: Any = None  # group for Python objects, on the hosts


def world_size() -> int:
    """Return the number of processes that train a run together."""
    return Group.size


def rank() -> int:
    """Return the rank of this process, from 0."""
    return Group.rank


def is_rank_zero() -> bool:
    """Whether this is the rank that writes and prints."""
    return Group.rank == 0


def errors_fatal_to_group() -> tuple[type[Exception], ...]:
    """Return the exceptions after which a rank must end, because the others wait for it."""
    return (Exception,) if Group.size > 1 else ()


def own_device(name: str) -> torch.device:
    """Return the device of this rank: :func:`dataworth.devices.pick_device` for its local rank.

    Parameters
    ----------
    name : str
        ``auto``, or a device as torch names it.
    """
    from ..devices import pick_device

    return pick_device(name, Group.local_rank, Group.local_size)


@contextmanager
def lost_processes_named() -> Iterator[None]:
    """Turn torch's errors about lost ranks into one line.

    Raises
    ------
    ProcessLostError
        If another rank has ended or does not answer.
    """
    try:
        yield
    except RuntimeError as error:
        reason = str(error).split(". ")[0].splitlines()[0]
        raise ProcessLostError(
            f"another process of this run ended, or was silent for {TIMEOUT:.0f} s ({reason}); "
            "the same command resumes from the last snapshot"
        ) from None


@contextmanager
def joined_process_group() -> Iterator[None]:
    """Join the process group that torchrun or Ray Train made, if any; leave it after success.

    Raises
    ------
    ProcessLostError
        If another rank does not join.
    """
    made = "torch" in sys.modules and _is_initialized()  # by Ray, say
    if not made and os.environ.get("WORLD_SIZE", "1") == "1":
        yield
        return
    _join(made)
    try:
        with _muted():
            yield
    except (InputError, SignalInterrupt):
        if made or is_rank_zero():
            raise
        sys.exit(128 + number if (number := received_signal()) else 2)  # rank 0 prints the reason
    finally:
        Group.rank, Group.size, Group.local_rank, Group.local_size = 0, 1, 0, 1
        Group.gloo = None
    if not made:  # not after a failure: the others may be gone
        gc.collect()  # CUDA graphs hold the group; destroying it before them aborts
        import torch.distributed as dist

        dist.destroy_process_group()


def require_single_process(command: str) -> None:
    """Refuse to run under torchrun.

    Raises
    ------
    InputError
        If the environment names a world size above 1.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError(f"{command} works in one process; start it without torchrun")


def shard(start: int, stop: int) -> slice:
    """Return this rank's shard of the images from ``start`` to ``stop`` of a batch."""
    n = stop - start
    bounds = (start + n * (Group.rank + i) // Group.size for i in (0, 1))
    return slice(*bounds)


def rank_key(*key: int) -> tuple[int, ...]:
    """Return the key of this rank's random stream; that of rank 0 is unchanged."""
    return (*key, Group.rank) if Group.rank else key


def _is_initialized() -> bool:
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def _join(made: bool) -> None:
    import torch.distributed as dist

    timeout = timedelta(seconds=TIMEOUT)
    with lost_processes_named():
        if not made:
            dist.init_process_group(timeout=timeout)
        Group.gloo = dist.new_group(backend="gloo", timeout=timeout)
    Group.rank, Group.size = dist.get_rank(), dist.get_world_size()
    Group.local_rank = int(os.environ.get("LOCAL_RANK", Group.rank))
    Group.local_size = int(os.environ.get("LOCAL_WORLD_SIZE", Group.size))


@contextmanager
def _muted() -> Iterator[None]:
    """Discard the output of every rank but 0."""
    if is_rank_zero():
        yield
        return
    with Path(os.devnull).open("w") as null, redirect_stdout(null), redirect_stderr(null):
        yield
