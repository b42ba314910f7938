"""What the processes of a run tell each other; one alone answers itself.

Decisions travel over a group of their own between the hosts, tensors over torch's default group
(NCCL on CUDA, gloo elsewhere).

Raises
------
LostError
    From everything here, if another process ended or is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from .process_group import Team, is_writer, waiting

if TYPE_CHECKING:
    from torch import Tensor


PREPARING = timedelta(days=2)  # that a machine may decode pixels
Answer = TypeVar("Answer")


@contextmanager
def leader_first() -> Iterator[None]:
    """Let one process of each machine through the block, then its others; that may take hours."""
    if Team.size > 1 and Team.local_rank > 0:
        _meet()
    yield
    if Team.size > 1 and Team.local_rank == 0:
        _meet()


def from_writer(ask: Callable[[], Answer]) -> Answer:
    """Call a function in the writer alone; each process gets its answer, or its exception."""
    if Team.size == 1:
        return ask()
    import torch.distributed as dist

    box: list[Any] = [None, None]
    if is_writer():
        try:
            box[0] = ask()
        except Exception as error:
            box[1] = error
    with waiting():
        dist.broadcast_object_list(box, 0, group=Team.host)
    if box[1] is not None:
        raise box[1]
    answer: Answer = box[0]
    return answer


def from_all(value: Answer) -> list[Answer]:
    """Return the values of all processes, in their order."""
    if Team.size == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * Team.size
    with waiting():
        dist.all_gather_object(values, value, group=Team.host)
    return values


def largest(*values: int) -> list[int]:
    """Return the largest that any process has of each value."""
    if Team.size == 1:
        return list(values)
    import torch
    import torch.distributed as dist

    found = torch.tensor(values)
    with waiting():
        dist.all_reduce(found, dist.ReduceOp.MAX, group=Team.host)
    return found.tolist()


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replace tensors of one type by their sums over all processes, in one exchange."""
    import torch
    import torch.distributed as dist

    flat = torch.cat([tensor.flatten() for tensor in tensors])
    with waiting():
        dist.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


def copy_from_writer(tensors: Sequence[Tensor]) -> None:
    """Give tensors the writer's values."""
    if Team.size == 1:
        return
    import torch.distributed as dist

    for tensor in tensors:
        with waiting():
            dist.broadcast(tensor, 0)


def _meet() -> None:
    import torch.distributed as dist

    with waiting():
        dist.monitored_barrier(Team.host, timeout=PREPARING)
