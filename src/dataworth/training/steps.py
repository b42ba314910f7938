"""One optimiser step: as written, compiled, or replayed as a CUDA graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..data.loaders import Loader
from ..devices import autocast
from ..distributed.collectives import all_reduce_sum
from ..evaluation.metrics import label_ranks
from .state import TrainState

WARM_UP = 3  # steps before a capture: kernels are chosen, buffers are made


@dataclass
class Tally:
    """Sums over an epoch, kept on the device so that no step waits for the host."""

    sums: Tensor  # float64 (3,): loss in nats, top-1 errors, top-5 errors
    num_images: int = 0

    @classmethod
    def empty(cls, device: torch.device) -> Tally:
        """Start counting."""
        kind = torch.float32 if device.type == "mps" else torch.float64
        return cls(torch.zeros(3, dtype=kind, device=device))

    def reset(self) -> None:
        """Start an epoch."""
        self.sums.zero_()
        self.num_images = 0

    def resume(self, sums: Tensor, num_images: int) -> None:
        """Go on within an epoch."""
        self.sums.copy_(sums)
        self.num_images = num_images

    def means(self) -> tuple[float, float, float]:
        """Return mean loss, top-1 and top-5 error; the one place where the host waits."""
        loss, top_1, top_5 = (self.sums / self.num_images).tolist()
        return loss, top_1, top_5


class Step(Protocol):
    """Make one step with a batch of a loader's inputs."""

    @property
    def tally(self) -> Tally:
        """Sums of the epoch."""
        ...

    @property
    def preparing_seconds(self) -> float:
        """Time that compiling and recording took, once for all runs."""
        ...

    def __call__(
        self, inputs: tuple[Tensor, ...], labels: Tensor, total: int | None = None
    ) -> None:
        """Change the weights; ``total`` counts the batch in all processes (None: it is whole)."""
        ...


@dataclass
class EagerStep:
    """The step as it is written."""

    state: TrainState
    loader: Loader
    label_smoothing: float
    precision: str
    forward: Callable[[Tensor], Tensor]  # the model, or its compiled form
    compiled_sizes: set[int] | None = None  # batch sizes met so far; None: nothing is compiled
    preparing_seconds: float = 0.0
    tally: Tally = field(init=False)

    def __post_init__(self) -> None:
        self.tally = Tally.empty(self.loader.device)

    def __call__(
        self, inputs: tuple[Tensor, ...], labels: Tensor, total: int | None = None
    ) -> None:
        """Forward, backward, update."""
        began = time.perf_counter()
        total = total or len(labels)
        self.run(inputs, labels, total)
        self.tally.num_images += total
        if self.compiled_sizes is not None and len(labels) not in self.compiled_sizes:
            self.compiled_sizes.add(len(labels))
            self.preparing_seconds += time.perf_counter() - began

    def run(self, inputs: tuple[Tensor, ...], labels: Tensor, total: int) -> None:
        """Do everything that happens on the device."""
        with autocast(self.loader.device, self.precision):
            logits = self.forward(self.loader.images(inputs)).float()  # (b, classes)
        loss = cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        if is_part := total > len(labels):
            loss = loss * (len(labels) / total)  # the others have theirs
        self.state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        ranks = label_ranks(logits.detach(), labels)
        sums = [loss.detach() * total, (ranks >= 1).sum(), (ranks >= 5).sum()]
        if is_part:
            sums = self._add_up(sums)
        self.state.optimizer.step()
        self.tally.sums += torch.stack([value.to(self.tally.sums.dtype) for value in sums])

    def _add_up(self, sums: list[Tensor]) -> list[Tensor]:
        """Add the gradients of all processes, and the sums, in one exchange."""
        parameters = self.state.model.parameters()
        gradients = [p.grad for p in parameters if p.grad is not None]
        own = [value.float() for value in sums]
        all_reduce_sum([*gradients, *own])
        return own


@dataclass
class GraphStep:
    """The eager step, recorded once per batch size as a CUDA graph and replayed.

    A replay costs the host microseconds, where launching AlexNet's kernels one by one costs more
    than they take on a fast GPU. Without CUDA the same buffers are used and nothing is recorded.
    """

    eager: EagerStep
    graphs: dict[int, tuple[torch.cuda.CUDAGraph | None, tuple[Tensor, ...], Tensor]] = field(
        default_factory=dict
    )

    @property
    def tally(self) -> Tally:
        """Sums of the epoch."""
        return self.eager.tally

    @property
    def preparing_seconds(self) -> float:
        """Time that warming up and recording took."""
        return self.eager.preparing_seconds

    def __call__(
        self, inputs: tuple[Tensor, ...], labels: Tensor, total: int | None = None
    ) -> None:
        """Copy the batch into the recorded buffers and replay."""
        total = total or len(labels)  # not every share grows with it: all record at the same step
        if total not in self.graphs:
            began = time.perf_counter()
            self.graphs[total] = self._record(inputs, labels, total)
            self.eager.preparing_seconds += time.perf_counter() - began
        graph, own_inputs, own_labels = self.graphs[total]
        for own, given in zip(own_inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        own_labels.copy_(labels, non_blocking=True)
        if graph is None:
            self.eager.run(own_inputs, own_labels, total)
        else:
            graph.replay()
        self.tally.num_images += total

    def _record(
        self, inputs: tuple[Tensor, ...], labels: Tensor, total: int
    ) -> tuple[torch.cuda.CUDAGraph | None, tuple[Tensor, ...], Tensor]:
        own_inputs, own_labels = tuple(t.clone() for t in inputs), labels.clone()
        device = self.eager.loader.device
        if device.type != "cuda":
            return None, own_inputs, own_labels
        state, sums = self.eager.state, self.tally.sums
        before = [t.clone() for t in (*state.tensors(), sums)]
        random_state = torch.cuda.get_rng_state(device)
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self.eager.run(own_inputs, own_labels, total)
        torch.cuda.current_stream(device).wait_stream(side)
        state.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        # Another thread may cut the next batch, and allocate memory for it, meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.eager.run(own_inputs, own_labels, total)
        for tensor, value in zip((*state.tensors(), sums), before, strict=True):
            tensor.copy_(value)  # the warm-up leaves no trace
        torch.cuda.set_rng_state(random_state, device)
        return graph, own_inputs, own_labels


def build_step(
    state: TrainState, loader: Loader, label_smoothing: float, precision: str, compiling: str
) -> Step:
    """Build the step that ``--compile`` names.

    ``auto`` records a CUDA graph on CUDA and is eager elsewhere; ``on`` also compiles the model;
    ``off`` is eager everywhere.
    """
    forward: Callable[[Tensor], Tensor] = state.model
    if compiling == "on":
        forward = torch.compile(state.model, dynamic=False)
    sizes = set[int]() if compiling == "on" else None
    eager = EagerStep(state, loader, label_smoothing, precision, forward, sizes)
    graph = compiling != "off" and loader.device.type == "cuda"
    return GraphStep(eager) if graph else eager
