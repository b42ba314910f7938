"""Where pixels lie, and how a batch of crops is made of them.

Two sources behind one protocol: :class:`Resident` (the whole cache lies on the device, a batch is
a gather there) and :class:`Streamed` (the cache stays a memory map on the host, a batch is cut
there and copied). Both give the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..devices import free_memory
from ..errors import InputError
from .augmentation import EpochPlan
from .prepare import PreparedData
from .splits import Split
from .subsets import Indices
from .transforms import gather, resample

SHARE = 0.5  # of the device's free memory that resident pixels may take under auto
Batch = tuple[tuple[Tensor, ...], Tensor]  # what a source makes images of; labels int64 (b,)


class Source(Protocol):
    """Where pixels lie, and how a batch of crops is made of them."""

    side: int  # of a cached image, in pixels
    device: torch.device

    def batches(
        self, split: Split, plan: EpochPlan, size: int, slices: list[slice]
    ) -> Iterator[Batch]:
        """Yield, for each slice of the plan, what :meth:`crops` needs, and the labels."""
        ...

    def crops(self, inputs: tuple[Tensor, ...], size: int) -> Tensor:
        """Make crops (b, size, size, 3), values in [0, 255], of inputs, on the device alone."""
        ...


class Resident:
    """All pixels on the device; a batch is a few small vectors and a gather."""

    def __init__(self, pixels: NDArray[np.uint8], device: torch.device) -> None:
        self.side, self.device = pixels.shape[1], device
        self.pixels = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
        step = max(1, 2**28 // pixels[:1].nbytes)  # 256 MiB at a time: the host holds no copy
        for start in range(0, len(pixels), step):
            part = np.array(pixels[start : start + step])
            self.pixels[start : start + step] = torch.from_numpy(part).to(device)

    def batches(
        self, split: Split, plan: EpochPlan, size: int, slices: list[slice]
    ) -> Iterator[Batch]:
        """Copy the epoch's plan to the device once; yield views of it."""
        columns = (split.rows[plan.order], *plan.columns, split.labels[plan.order])
        table = torch.from_numpy(np.stack(columns)).to(self.device)
        for chosen in slices:
            yield tuple(table[:-1, chosen]), table[-1, chosen]

    def crops(self, inputs: tuple[Tensor, ...], size: int) -> Tensor:
        """Gather and mirror on the device; a box that is resized has a height and a width too."""
        rows, *columns = inputs
        if len(columns) == 3:
            return gather(self.pixels, size, rows, *columns)
        return resample(self.pixels[rows], size, *columns)


class Streamed:
    """Pixels in a memory map on the host; crops are cut there and copied while training goes on."""

    def __init__(self, pixels: NDArray[np.uint8], device: torch.device) -> None:
        self.pixels, self.side, self.device = pixels, pixels.shape[1], device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def batches(
        self, split: Split, plan: EpochPlan, size: int, slices: list[slice]
    ) -> Iterator[Batch]:
        """Cut the next batch while the current one is used; on the CPU itself, cut in line."""
        if not slices:  # a process may have no batch of a small validation split
            return
        cut = partial(self._cut, split, plan, size)
        if self.device.type == "cpu":
            yield from map(cut, slices)
            return
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(cut, slices[0])
            for following in [*slices[1:], None]:
                batch = coming.result()
                if following is not None:
                    coming = pool.submit(cut, following)
                if self.stream is not None:
                    torch.cuda.current_stream(self.device).wait_stream(self.stream)
                    for tensor in (*batch[0], batch[1]):
                        tensor.record_stream(torch.cuda.current_stream(self.device))
                yield batch

    def crops(self, inputs: tuple[Tensor, ...], size: int) -> Tensor:
        """Return what was cut; boxes that are resized come as whole images and columns."""
        pixels, *columns = inputs
        return resample(pixels, size, *columns) if columns else pixels

    def _cut(self, split: Split, plan: EpochPlan, size: int, chosen: slice) -> Batch:
        rows, columns = split.rows[plan.order[chosen]], [c[chosen] for c in plan.columns]
        if plan.height is None:
            tensors = [self._copy(rows, size, *columns)]
        else:
            none = np.zeros_like(rows)
            whole = self._copy(rows, self.side, none, none, none)
            tensors = [whole, *map(torch.from_numpy, columns)]
        tensors.append(torch.from_numpy(split.labels[plan.order[chosen]]))
        if self.stream is None:
            *inputs, labels = (tensor.to(self.device) for tensor in tensors)
        else:
            with torch.cuda.stream(self.stream):
                *inputs, labels = (t.to(self.device, non_blocking=True) for t in tensors)
        return tuple(inputs), labels

    def _copy(
        self, rows: Indices, size: int, top: Indices, left: Indices, mirrored: Indices
    ) -> Tensor:
        """Copy a crop of each image to host memory, (b, size, size, 3)."""
        pinned = self.stream is not None
        out = torch.empty((len(rows), size, size, 3), dtype=torch.uint8, pin_memory=pinned)
        # One slice per image: four times faster than one fancy index over the memory map.
        for target, row, y, x in zip(out.numpy(), rows, top, left, strict=True):
            target[:] = self.pixels[row, y : y + size, x : x + size]
        for i in np.flatnonzero(mirrored):
            # As channels-last (1, 3, size, size): torch's flip is then ten times numpy's.
            out[i] = out[i].permute(2, 0, 1)[None].flip(-1)[0].permute(1, 2, 0)
        return out


def resides(data: PreparedData, device: torch.device, residency: str) -> bool:
    """Settle whether the pixels lie on the device.

    Raises
    ------
    InputError
        If ``residency`` is device and they do not fit into its free memory.
    """
    needed, free = num_bytes(data), free_memory(device)
    if residency == "device" and needed > free:
        raise InputError(
            f"--residency device: the pixels take {needed / 1e9:.1f} GB and {device} has "
            f"{free / 1e9:.1f} GB free; use --residency host"
        )
    # On the CPU the memory map is in memory already: a second copy would gain nothing.
    auto = device.type != "cpu" and needed <= SHARE * free
    return auto if residency == "auto" else residency == "device"


def describe_place(data: PreparedData, device: torch.device, residency: str) -> str:
    """Say how many pixels there are and where they will lie."""
    resident = resides(data, device, residency)
    where = f"resident on {device}" if resident else "streamed from the cache"
    return f"{num_bytes(data) / 1e9:.2f} GB of pixels, {where}"


def num_bytes(data: PreparedData) -> int:
    """Bytes of all cached pixels."""
    return sum(images.nbytes for images in data.images.values())


class Sources:
    """The pixel sources of a study: made once, shared by all its runs."""

    def __init__(self, data: PreparedData, device: torch.device, residency: str = "auto") -> None:
        make = Resident if resides(data, device, residency) else Streamed
        self.data, self.device = data, device
        self.by_name: dict[str, Source] = {
            name: make(images, device) for name, images in data.images.items()
        }
