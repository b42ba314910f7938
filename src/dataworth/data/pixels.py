"""Pixel stores: the cached images of a split on the device or on the host, cropped in batches.

Two implementations of :class:`PixelStore` give the same batches: :class:`DevicePixels` holds the
whole cache in device memory, where a batch is one indexing operation; :class:`HostPixels` keeps it
memory-mapped on the host, crops there and copies each batch to the device.
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

from ..devices import available_memory
from ..errors import InputError
from .augmentation import AugmentedEpoch
from .prepare import PreparedData
from .splits import Split
from .subsets import Indices
from .transforms import crop, resized_crop

MAX_SHARE = 0.5  # of the device's free memory that pixels may take with --residency auto
Batch = tuple[tuple[Tensor, ...], Tensor]  # inputs of PixelStore.crops; labels, int64 (b,)


class PixelStore(Protocol):
    """Pixels of one published split, from which batches of crops are made."""

    side: int  # of a cached image, in pixels
    device: torch.device

    def batches(
        self, split: Split, augmented: AugmentedEpoch, size: int, slices: list[slice]
    ) -> Iterator[Batch]:
        """Yield a batch for each slice of the epoch: the inputs of :meth:`crops`, and labels.

        Parameters
        ----------
        split : Split
            Images of this store.
        augmented : AugmentedEpoch
            Of as many images as the split has.
        size : int
            Side of the crops, in pixels.
        slices : list of slice
            Positions within the epoch.
        """
        ...

    def crops(self, inputs: tuple[Tensor, ...], size: int) -> Tensor:
        """Make crops (b, size, size, 3), values in [0, 255], by operations on the device alone."""
        ...


class DevicePixels:
    """All pixels in device memory; a batch is a few index vectors."""

    def __init__(self, pixels: NDArray[np.uint8], device: torch.device) -> None:
        self.side, self.device = pixels.shape[1], device
        self.pixels = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
        step = max(1, 2**28 // pixels[:1].nbytes)  # 256 MiB at a time: no full copy on the host
        for start in range(0, len(pixels), step):
            chunk = np.array(pixels[start : start + step])
            self.pixels[start : start + step] = torch.from_numpy(chunk).to(device)

    def batches(
        self, split: Split, augmented: AugmentedEpoch, size: int, slices: list[slice]
    ) -> Iterator[Batch]:
        """Copy the epoch's index vectors to the device once; yield views of them.

        Parameters
        ----------
        split, augmented, size, slices
            As in :class:`PixelStore`.
        """
        columns = (
            split.rows[augmented.order],
            *augmented.crop_columns,
            split.labels[augmented.order],
        )
        table = torch.from_numpy(np.stack(columns)).to(self.device)
        for positions in slices:
            yield tuple(table[:-1, positions]), table[-1, positions]

    def crops(self, inputs: tuple[Tensor, ...], size: int) -> Tensor:
        """Crop on the device; inputs with height and width are resized crops."""
        rows, *columns = inputs
        if len(columns) == 3:
            return crop(self.pixels, size, rows, *columns)
        return resized_crop(self.pixels[rows], size, *columns)


class HostPixels:
    """Pixels memory-mapped on the host; crops are copied to the device while it computes."""

    def __init__(self, pixels: NDArray[np.uint8], device: torch.device) -> None:
        # A view of the memory map, since slicing the map itself takes twice as long.
        self.pixels, self.side, self.device = np.asarray(pixels), pixels.shape[1], device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def batches(
        self, split: Split, augmented: AugmentedEpoch, size: int, slices: list[slice]
    ) -> Iterator[Batch]:
        """Prefetch one batch in a background thread; on the CPU, prepare each when it is needed.

        Parameters
        ----------
        split, augmented, size, slices
            As in :class:`PixelStore`.
        """
        if not slices:  # a rank may have no batch of a small validation split
            return
        prepare = partial(self._prepare, split, augmented, size)
        if self.device.type == "cpu":
            yield from map(prepare, slices)
            return
        with ThreadPoolExecutor(1) as pool:
            prefetched = pool.submit(prepare, slices[0])
            for next_slice in [*slices[1:], None]:
                batch = prefetched.result()
                if next_slice is not None:
                    prefetched = pool.submit(prepare, next_slice)
                if self.stream is not None:
                    torch.cuda.current_stream(self.device).wait_stream(self.stream)
                    for tensor in (*batch[0], batch[1]):
                        tensor.record_stream(torch.cuda.current_stream(self.device))
                yield batch

    def crops(self, inputs: tuple[Tensor, ...], size: int) -> Tensor:
        """Return the crops made on the host; resized crops come as whole images and their boxes."""
        pixels, *columns = inputs
        return resized_crop(pixels, size, *columns) if columns else pixels

    def _prepare(
        self, split: Split, augmented: AugmentedEpoch, size: int, positions: slice
    ) -> Batch:
        """Crop a batch on the host and copy it to the device."""
        rows = split.rows[augmented.order[positions]]
        columns = [column[positions] for column in augmented.crop_columns]
        if augmented.height is None:
            tensors = [self._copy(rows, size, *columns)]
        else:
            zeros = np.zeros_like(rows)
            whole_images = self._copy(rows, self.side, zeros, zeros, zeros)
            tensors = [whole_images, *map(torch.from_numpy, columns)]
        tensors.append(torch.from_numpy(split.labels[augmented.order[positions]]))
        if self.stream is None:
            *inputs, labels = (tensor.to(self.device) for tensor in tensors)
        else:
            with torch.cuda.stream(self.stream):
                *inputs, labels = (t.to(self.device, non_blocking=True) for t in tensors)
        return tuple(inputs), labels

    def _copy(
        self, rows: Indices, size: int, top: Indices, left: Indices, flipped: Indices
    ) -> Tensor:
        """Copy a crop of each image to host memory, (b, size, size, 3)."""
        pin_memory = self.stream is not None
        crops = torch.empty((len(rows), size, size, 3), dtype=torch.uint8, pin_memory=pin_memory)
        # One slice per image: four times faster than one fancy index over the memory map.
        for target, row, y, x in zip(crops.numpy(), rows, top, left, strict=True):
            target[:] = self.pixels[row, y : y + size, x : x + size]
        for i in np.flatnonzero(flipped):
            # As channels-last (1, 3, size, size) torch flips ten times faster than numpy.
            crops[i] = crops[i].permute(2, 0, 1)[None].flip(-1)[0].permute(1, 2, 0)
        return crops


def pixels_on_device(
    data: PreparedData, device: torch.device, residency: str, copies: int = 1
) -> bool:
    """Decide whether the pixels are held in device memory.

    Parameters
    ----------
    data : PreparedData
    device : torch.device
    residency : str
        ``auto``, ``device`` or ``host``.
    copies : int
        Processes that hold the pixels.

    Raises
    ------
    InputError
        If ``residency`` is device and the pixels exceed its free memory.
    """
    needed, free = copies * num_bytes(data), available_memory(device)
    if residency == "device" and needed > free:
        raise InputError(
            f"--residency device: the pixels take {needed / 1e9:.1f} GB and {device} has "
            f"{free / 1e9:.1f} GB free; use --residency host"
        )
    # On the CPU the memory map is in host memory already: a second copy would gain nothing.
    auto = device.type != "cpu" and needed <= MAX_SHARE * free
    return auto if residency == "auto" else residency == "device"


def describe_residency(
    data: PreparedData, device: torch.device, residency: str, copies: int = 1
) -> str:
    """Describe the size of the pixels and where they are held, in one line.

    Parameters
    ----------
    data : PreparedData
    device : torch.device
    residency : str
        ``auto``, ``device`` or ``host``.
    copies : int
        Processes that hold the pixels.
    """
    on_device = pixels_on_device(data, device, residency, copies)
    where = f"resident on {device}" if on_device else "streamed from the cache"
    return f"{num_bytes(data) / 1e9:.2f} GB of pixels, {where}"


def num_bytes(data: PreparedData) -> int:
    """Bytes of all cached pixels."""
    return sum(images.nbytes for images in data.images.values())


class PixelStores:
    """Pixel stores of a data set, built once and shared by all runs of a study.

    Parameters
    ----------
    data : PreparedData
    device : torch.device
        Device of the batches.
    residency : str
        ``auto``, ``device`` or ``host``.
    """

    def __init__(self, data: PreparedData, device: torch.device, residency: str = "auto") -> None:
        store = DevicePixels if pixels_on_device(data, device, residency) else HostPixels
        self.data, self.device = data, device
        self.by_source: dict[str, PixelStore] = {
            source: store(images, device) for source, images in data.images.items()
        }
