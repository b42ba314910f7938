"""Data augmentation of one epoch: shuffle, crops and flips as a function of (seed, epoch). Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .subsets import Indices

# Of a random resized crop (Szegedy et al. 2015): smallest area, largest aspect ratio, attempts.
MIN_AREA, MAX_RATIO, ATTEMPTS = 0.08, 4 / 3, 10
STREAM = 0x5EED_0002  # keeps these draws apart from every other use of the same seed


@dataclass(frozen=True)
class AugmentedEpoch:
    """Order, crop and horizontal flip of every image of one epoch; shapes (n,)."""

    order: Indices
    top: Indices  # pixels
    left: Indices  # pixels
    flipped: NDArray[np.bool_]
    height: Indices | None = None  # of a resized crop, in pixels; None: the input's size
    width: Indices | None = None

    @property
    def crop_columns(self) -> tuple[Indices, ...]:
        """Arguments of ``transforms.crop`` or ``resized_crop``, in the order of the epoch."""
        box = () if self.height is None or self.width is None else (self.height, self.width)
        return self.top, self.left, self.flipped.astype(np.int64), *box

    @classmethod
    def draw(
        cls, n: int, side: int, size: int, seed: int, epoch: int, augment: str = "paper"
    ) -> AugmentedEpoch:
        """Draw a training epoch: shuffled, cropped and flipped.

        Parameters
        ----------
        n : int
            Number of images.
        side, size : int
            Of a cached image and of the input, in pixels.
        seed, epoch : int
            Decide every draw.
        augment : str
            As in :class:`~dataworth.config.Recipe`.
        """
        rng = np.random.default_rng([STREAM, seed, epoch])
        top, left = rng.integers(0, side - size + 1, (2, n))
        order, flipped = rng.permutation(n), rng.random(n) < 0.5
        if augment == "random-resized-crop":
            height, width = _draw_boxes(rng, n, side)
            top, left = (rng.integers(0, side - length + 1) for length in (height, width))
            return cls(order, top, left, flipped, height, width)
        if augment not in ("paper", "crop"):
            top = left = np.full(n, (side - size) // 2)
        return cls(order, top, left, flipped & (augment in ("paper", "flip")))

    @classmethod
    def unaugmented(cls, n: int, margin: int) -> AugmentedEpoch:
        """Return an evaluation epoch: every image once, in order, cropped at the centre."""
        offset = np.full(n, margin // 2)
        return cls(np.arange(n), offset, offset, np.zeros(n, dtype=bool))


def _draw_boxes(rng: np.random.Generator, n: int, side: int) -> tuple[Indices, Indices]:
    """Draw heights and widths, shape (n,), as torchvision's RandomResizedCrop does on a square.

    The first of ``ATTEMPTS`` draws that fits into the image is used, else the whole image.
    """
    area = side**2 * rng.uniform(MIN_AREA, 1, (ATTEMPTS, n))
    ratio = MAX_RATIO ** rng.uniform(-1, 1, (ATTEMPTS, n))
    boxes = np.rint(np.sqrt([area / ratio, area * ratio])).astype(np.int64)  # (2, ATTEMPTS, n)
    fits = (boxes <= side).all(axis=0) & (boxes > 0).all(axis=0)
    first = boxes[:, fits.argmax(axis=0), np.arange(n)]
    height, width = np.where(fits.any(axis=0), first, side)
    return height, width
