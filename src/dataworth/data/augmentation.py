"""Which image comes when, and how it is cropped. Pure: a function of (seed, epoch)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .subsets import Indices

LEAST_AREA, LARGEST_RATIO, ATTEMPTS = 0.08, 4 / 3, 10  # of a resized crop; Szegedy et al. (2015)
STREAM = 0x5EED_0002  # keeps these draws apart from every other use of the same seed


@dataclass(frozen=True)
class EpochPlan:
    """Which image comes when, and how it is cropped and mirrored; shapes (n,)."""

    order: Indices
    top: Indices  # pixels
    left: Indices  # pixels
    mirrored: NDArray[np.bool_]
    height: Indices | None = None  # pixels of a crop that is resized; None: as large as the input
    width: Indices | None = None

    @property
    def columns(self) -> tuple[Indices, ...]:
        """What says how each image is cropped, in the order of the epoch."""
        boxes = () if self.height is None or self.width is None else (self.height, self.width)
        return self.top, self.left, self.mirrored.astype(np.int64), *boxes

    @classmethod
    def draw(
        cls, n: int, side: int, size: int, seed: int, epoch: int, augment: str = "paper"
    ) -> EpochPlan:
        """Draw an epoch of training: shuffled, and cropped and mirrored as ``augment`` says.

        Parameters
        ----------
        n : int
            Images.
        side, size : int
            Of a cached image and of the input, in pixels.
        """
        rng = np.random.default_rng([STREAM, seed, epoch])
        top, left = rng.integers(0, side - size + 1, (2, n))
        order, mirrored = rng.permutation(n), rng.random(n) < 0.5
        if augment == "random-resized-crop":
            height, width = _boxes(rng, n, side)
            top, left = (rng.integers(0, side - length + 1) for length in (height, width))
            return cls(order, top, left, mirrored, height, width)
        if augment not in ("paper", "crop"):
            top = left = np.full(n, (side - size) // 2)
        return cls(order, top, left, mirrored & (augment in ("paper", "flip")))

    @classmethod
    def plain(cls, n: int, margin: int) -> EpochPlan:
        """Plan every image once, in order, its centre cropped."""
        centre = np.full(n, margin // 2)
        return cls(np.arange(n), centre, centre, np.zeros(n, dtype=bool))


def _boxes(rng: np.random.Generator, n: int, side: int) -> tuple[Indices, Indices]:
    """Draw heights and widths, shape (n,), as torchvision's RandomResizedCrop does on a square.

    The first of a few attempts that fits into the image counts, else the whole image.
    """
    area = side**2 * rng.uniform(LEAST_AREA, 1, (ATTEMPTS, n))
    ratio = LARGEST_RATIO ** rng.uniform(-1, 1, (ATTEMPTS, n))
    boxes = np.rint(np.sqrt([area / ratio, area * ratio])).astype(np.int64)  # (2, ATTEMPTS, n)
    fits = (boxes <= side).all(axis=0) & (boxes > 0).all(axis=0)
    first = boxes[:, fits.argmax(axis=0), np.arange(n)]
    height, width = np.where(fits.any(axis=0), first, side)
    return height, width
