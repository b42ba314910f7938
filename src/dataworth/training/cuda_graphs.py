"""How the training step is executed: directly, or recorded as a CUDA graph and replayed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .state import TrainState

WARM_UP = 3  # steps before a capture: cuDNN chooses kernels, the allocator fills its pool
# (what the pixel store makes images of, labels, images in the batch on all ranks, learning rate)
Step = Callable[[tuple[Tensor, ...], Tensor, int, float | Tensor], None]
Graph = tuple[torch.cuda.CUDAGraph | None, tuple[Tensor, ...], Tensor, Tensor]


@dataclass
class DirectStep:
    """The step, called as it is written."""

    step: Step
    state: TrainState
    device: torch.device
    is_compiled: bool = False  # by torch.compile: the first batch of each size compiles
    preparing_seconds: float = 0.0  # spent on compiling and recording, once for all runs
    batch_sizes: set[int] = field(default_factory=set)

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
        """
        began = time.perf_counter()
        self.step(inputs, labels, batch_size, rate)
        if self.is_compiled and len(labels) not in self.batch_sizes:
            self.batch_sizes.add(len(labels))
            self.preparing_seconds += time.perf_counter() - began


@dataclass
class GraphedStep(DirectStep):
    """The step, recorded once per batch size as a CUDA graph and replayed.

    A replay costs the host microseconds, where launching AlexNet's kernels one by one costs more
    than they take on a fast GPU. Without CUDA the same buffers are used and nothing is recorded.
    """

    graphs: dict[int, Graph] = field(default_factory=dict)

    def __call__(
        self, inputs: tuple[Tensor, ...], labels: Tensor, batch_size: int, rate: float
    ) -> None:
        """Copy the batch into the buffers of its size and replay; parameters as in DirectStep."""
        if batch_size not in self.graphs:  # not the shard's size: all ranks record together
            began = time.perf_counter()
            self.graphs[batch_size] = self._record(inputs, labels, batch_size, rate)
            self.preparing_seconds += time.perf_counter() - began
        graph, static_inputs, static_labels, static_rate = self.graphs[batch_size]
        for static, given in zip(static_inputs, inputs, strict=True):
            static.copy_(given, non_blocking=True)
        static_labels.copy_(labels, non_blocking=True)
        static_rate.fill_(rate)
        if graph is None:
            self.step(static_inputs, static_labels, batch_size, static_rate)
        else:
            graph.replay()

    def _record(
        self, inputs: tuple[Tensor, ...], labels: Tensor, batch_size: int, rate: float
    ) -> Graph:
        """Warm up, capture, and restore every tensor and the random state."""
        static_inputs, static_labels = tuple(t.clone() for t in inputs), labels.clone()
        static_rate = torch.tensor(rate, dtype=torch.float64, device=self.device)
        static = (static_inputs, static_labels, batch_size, static_rate)
        if self.device.type != "cuda":
            return None, static_inputs, static_labels, static_rate
        tensors = [*self.state.tensors(), self.state.sums]
        values = [tensor.clone() for tensor in tensors]
        random_state = torch.cuda.get_rng_state(self.device)
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self.step(*static)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        self.state.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        # Another thread may cut the next batch, and allocate memory for it, meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.step(*static)
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)
        torch.cuda.set_rng_state(random_state, self.device)
        return graph, static_inputs, static_labels, static_rate
