"""Collective operations between ranks; no-ops in a single process.

Python objects travel over a gloo group between the hosts, tensors over torch's default group
(NCCL on CUDA, gloo elsewhere). Every operation raises ProcessLostError if another rank has ended
or does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from .process_group import Group, is_rank_zero, lost_processes_named

if TYPE_CHECKING:
    from torch import Tensor, nn

CACHE_TIMEOUT = timedelta(days=2)  # that one rank of a machine may spend on decoding images
Value = TypeVar("Value")


@contextmanager
def local_rank_zero_first() -> Iterator[None]:
    """Run the block on local rank 0 of each machine, then on its other ranks."""
    if Group.size > 1 and Group.local_rank > 0:
        _barrier()
    yield
    if Group.size > 1 and Group.local_rank == 0:
        _barrier()


def on_rank_zero(function: Callable[[], Value]) -> Value:
    """Call a function on rank 0 alone and broadcast its result, or its exception, to all ranks."""
    if Group.size == 1:
        return function()
    import torch.distributed as dist

    box: list[Any] = [None, None]  # result, exception
    if is_rank_zero():
        try:
            box[0] = function()
        except Exception as error:
            box[1] = error
    with lost_processes_named():
        dist.broadcast_object_list(box, 0, group=Group.gloo)
    if box[1] is not None:
        raise box[1]
    value: Value = box[0]
    return value


def all_gather(value: Value) -> list[Value]:
    """Return the values of all ranks, in order of rank."""
    if Group.size == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * Group.size
    with lost_processes_named():
        dist.all_gather_object(values, value, group=Group.gloo)
    return values


def all_reduce_max(*values: int) -> list[int]:
    """Return the maximum of each value over all ranks."""
    if Group.size == 1:
        return list(values)
    import torch
    import torch.distributed as dist

    maxima = torch.tensor(values)
    with lost_processes_named():
        dist.all_reduce(maxima, dist.ReduceOp.MAX, group=Group.gloo)
    return maxima.tolist()


def all_reduce_sum(tensors: Sequence[Tensor]) -> None:
    """Replace tensors of one dtype by their sums over all ranks, in one all-reduce."""
    import torch
    import torch.distributed as dist

    flat = torch.cat([tensor.flatten() for tensor in tensors])
    with lost_processes_named():
        dist.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


def all_reduce_gradients(model: nn.Module, values: Sequence[Tensor]) -> list[Tensor]:
    """Sum the gradients of a model over all ranks, in place, and scalars with them.

    Parameters
    ----------
    model : Module
        Its parameters have gradients.
    values : sequence of Tensor of shape ()

    Returns
    -------
    list of float32 Tensor of shape ()
        Sums of ``values``: they travel in the same all-reduce.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    sums = [value.float() for value in values]
    all_reduce_sum([*gradients, *sums])
    return sums


def broadcast(tensors: Sequence[Tensor]) -> None:
    """Overwrite tensors with the values of rank 0."""
    if Group.size == 1:
        return
    import torch.distributed as dist

    for tensor in tensors:
        with lost_processes_named():
            dist.broadcast(tensor, 0)


def _barrier() -> None:
    import torch.distributed as dist

    with lost_processes_named():
        dist.monitored_barrier(Group.gloo, timeout=CACHE_TIMEOUT)
