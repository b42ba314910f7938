"""Which image comes when, and how it is cropped. Pure: a function of (seed, epoch)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .subsets import Indices

STREAM = 0x5EED_0002  # keeps these draws apart from every other use of the same seed


@dataclass(frozen=True)
class EpochPlan:
    """Which image comes when, and how it is cropped and mirrored; shapes (n,)."""

    order: Indices
    top: Indices  # pixels
    left: Indices  # pixels
    mirrored: NDArray[np.bool_]

    @classmethod
    def draw(cls, n: int, margin: int, seed: int, epoch: int) -> EpochPlan:
        """Draw an epoch of training: shuffled, randomly cropped and mirrored."""
        rng = np.random.default_rng([STREAM, seed, epoch])
        top, left = rng.integers(0, margin + 1, (2, n))
        return cls(rng.permutation(n), top, left, rng.random(n) < 0.5)

    @classmethod
    def plain(cls, n: int, margin: int) -> EpochPlan:
        """Plan every image once, in order, its centre cropped."""
        centre = np.full(n, margin // 2)
        return cls(np.arange(n), centre, centre, np.zeros(n, dtype=bool))
