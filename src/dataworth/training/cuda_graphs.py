"""How the training step is executed: directly, or recorded as a CUDA graph and replayed.

A recording is used only if its first replay does what the step itself does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from ..console import warn
from ..devices import random_state, set_random_state
from ..distributed.collectives import all_reduce_max
from ..distributed.process_group import is_rank_zero
from ..errors import InputError
from .state import TrainState

WARM_UP = 3  # steps before a capture: cuDNN chooses kernels, the allocator fills its pool
TOLERANCE = 2.0**-4  # of a loss and of an update: 16 roundings to bfloat16, of up to 2**-8 each
# (what the pixel store makes images of, labels, images in the batch on all ranks, learning rate)
Step = Callable[[tuple[Tensor, ...], Tensor, int, float | Tensor], None]
Call = Callable[[], None]


class RecordingError(Exception):
    """A replay differs from the step that was recorded."""


@dataclass
class DirectStep:
    """The step, called as it is written."""

    step: Step
    state: TrainState
    device: torch.device
    is_compiled: bool = False  # by torch.compile: the first batch of each size compiles
    preparing_seconds: float = 0.0  # spent on compiling and recording, once for all runs
    batch_sizes: set[int] = field(default_factory=set)  # compiled so far

    def __call__(
        self, inputs: tuple[Tensor, ...], labels: Tensor, batch_size: int, rate: float
    ) -> None:
        """Make one step.

        Parameters
        ----------
        inputs : tuple of Tensor
            What the pixel store makes images of.
        labels : int64 Tensor of shape (b,)
        batch_size : int
            Images of the batch on all ranks.
        rate : float
            Learning rate.

        Raises
        ------
        InputError
            If ``--compile on`` was asked for and fails.
        """
        is_first = self.is_compiled and len(labels) not in self.batch_sizes
        with self._preparing() if is_first else nullcontext():
            self.step(inputs, labels, batch_size, rate)
        self.batch_sizes.add(len(labels))

    @contextmanager
    def _preparing(self) -> Iterator[None]:
        """Time the block; with ``--compile on`` its failure is an input error."""
        began = time.perf_counter()
        try:
            yield
        except (InputError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if not self.is_compiled:
                raise
            raise InputError(f"--compile on: {_reason(error)}; use --compile auto") from error
        finally:
            self.preparing_seconds += time.perf_counter() - began


@dataclass
class CudaRecorder:
    """Records calls as CUDA graphs that share one memory pool."""

    device: torch.device

    @cached_property
    def pool(self) -> Any:
        """Memory of all graphs: they are replayed one at a time."""
        return torch.cuda.graph_pool_handle()

    def __call__(self, call: Call) -> Call:
        """Return the replay of a call, which has been warmed up."""
        graph = torch.cuda.CUDAGraph()
        try:
            # The outer context leaves the capture's stream, which an invalid capture does not.
            # Another thread may cut the next batch, and allocate memory for it, meanwhile.
            with (
                torch.cuda.stream(torch.cuda.current_stream(self.device)),
                torch.cuda.graph(graph, self.pool, capture_error_mode="thread_local"),
            ):
                call()
        except Exception:  # an invalid capture leaves the generator in the capture's mode
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
            generator.graphsafe_set_state(generator.clone_state())
            raise
        return graph.replay


@dataclass
class Recording:
    """The step of one batch size: its replay, the tensors that it reads, those it leaves."""

    replay: Call
    inputs: tuple[Tensor, ...]  # with the labels
    rate: Tensor
    gradients: list[Tensor | None]  # of each parameter; the pool's other recordings spare them


@dataclass
class GraphedStep(DirectStep):
    """The step, recorded once per batch size as a CUDA graph and replayed.

    A replay costs the host microseconds, where launching AlexNet's kernels one by one costs more
    than they take on a fast GPU. Where recording fails, or a replay differs from the step, all
    batches are stepped directly from then on, or with ``--compile on`` the run fails.
    """

    record: Callable[[Call], Call] = field(kw_only=True)  # CudaRecorder; returns the replay
    recordings: dict[int, Recording] = field(default_factory=dict)
    replayed: Recording | None = None  # last
    has_failed: bool = False

    def __call__(
        self, inputs: tuple[Tensor, ...], labels: Tensor, batch_size: int, rate: float
    ) -> None:
        """Copy the batch into the tensors of its size and replay; parameters as in DirectStep."""
        if not self.has_failed and batch_size not in self.recordings:  # not the shard's size:
            with self._preparing():  # all ranks record together
                self._prepare(inputs, labels, batch_size, rate)
        if self.has_failed:
            super().__call__(inputs, labels, batch_size, rate)
            return
        recording = self.recordings[batch_size]
        for static, given in zip(recording.inputs, (*inputs, labels), strict=True):
            static.copy_(given, non_blocking=True)
        recording.rate.fill_(rate)
        recording.replay()
        if recording is not self.replayed:
            self._set_gradients(recording.gradients)
            self.replayed = recording

    def _prepare(
        self, inputs: tuple[Tensor, ...], labels: Tensor, batch_size: int, rate: float
    ) -> None:
        """Record a batch size, or give up recording on all ranks and say why."""
        reason = ""
        try:
            self.recordings[batch_size] = self._record(inputs, labels, batch_size, rate)
        except InputError:
            raise
        except Exception as error:
            if self.is_compiled:
                raise
            reason = _reason(error)
        if all_reduce_max(bool(reason))[0]:
            self.recordings.clear()
            self.replayed, self.has_failed = None, True
            if is_rank_zero():
                reason = reason or "another process could not record it"
                warn(
                    f"note: training goes on without CUDA graphs, more slowly: recording the step "
                    f"of {batch_size} images failed: {reason}"
                )

    def _record(
        self, inputs: tuple[Tensor, ...], labels: Tensor, batch_size: int, rate: float
    ) -> Recording:
        """Record the step and compare its replay with it; leave the state as it was."""
        *copies, label_copies = (tensor.clone() for tensor in (*inputs, labels))
        static_rate = torch.tensor(rate, dtype=torch.float64, device=self.device)
        step = partial(self.step, tuple(copies), label_copies, batch_size, static_rate)
        with _side_stream(self.device):
            expected = self._outcome(step)
            repeats = [_difference(self._outcome(step), expected) for _ in range(WARM_UP - 1)]
        with self._restored():
            replay = self.record(step)
            gradients = [p.grad for p in self.state.model.parameters()]
        found = _difference(self._outcome(replay), expected)
        noise = torch.stack(repeats).amax(0)  # of kernels that add in any order
        update = _difference(expected, self._result())
        rounding = torch.finfo(torch.float32).eps * _norms(expected)
        allowed = torch.maximum(TOLERANCE * update, 2 * noise) + rounding
        if not (found <= allowed).all():
            loss, weights = (found / update).tolist()
            raise RecordingError(
                f"its replay changes the loss by {loss:.1g} and the update of the weights by "
                f"{weights:.1g} of what the step computes"
            )
        return Recording(replay, (*copies, label_copies), static_rate, gradients)

    def _outcome(self, call: Call) -> list[Tensor]:
        """Return the result of a call; leave the state as it was."""
        with self._restored():
            call()
            return [tensor.clone() for tensor in self._result()]

    def _result(self) -> list[Tensor]:
        """Return what a step is compared by: the sum of losses and the weights."""
        return [self.state.sums[:1], *(p.detach() for p in self.state.model.parameters())]

    @contextmanager
    def _restored(self) -> Iterator[None]:
        """Restore every tensor of the state, and the random state, after the block."""
        tensors = [*self.state.tensors(), self.state.sums]
        values, randomness = [tensor.clone() for tensor in tensors], random_state(self.device)
        try:
            yield
        finally:
            self._set_gradients([None] * len(tensors))
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)
            set_random_state(self.device, randomness)

    def _set_gradients(self, gradients: list[Tensor | None]) -> None:
        for parameter, gradient in zip(self.state.model.parameters(), gradients, strict=False):
            parameter.grad = gradient


def _difference(result: list[Tensor], other: list[Tensor]) -> Tensor:
    """Return the distances of two losses and of two sets of weights, shape (2,)."""
    return _norms([a - b for a, b in zip(result, other, strict=True)])


def _norms(result: list[Tensor]) -> Tensor:
    loss, *weights = (tensor.float().norm() for tensor in result)
    return torch.stack([loss, torch.stack(weights).norm()])


@contextmanager
def _side_stream(device: torch.device) -> Iterator[None]:
    """Run the block on another stream, as a capture needs its warm-up to be; nothing on the CPU."""
    if device.type != "cuda":
        yield
        return
    stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield
    current.wait_stream(stream)


def _reason(error: Exception) -> str:
    """Return the kind of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])
