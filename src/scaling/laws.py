"""Families of curves that say how error falls with the number of training images. Pure.

To add a law, write its formula and list it in :data:`LAWS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """A family of curves ``error = formula(n, *parameters)``."""

    formula: Callable[..., Array]
    parameters: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    text: str  # for figures, in mathtext


def _power(n: Array, scale: float, exponent: float) -> Array:
    return scale * n**-exponent


def _power_with_floor(n: Array, scale: float, exponent: float, floor: float) -> Array:
    return floor + scale * n**-exponent


LAWS: dict[str, Law] = {
    # Hestness et al. 2017, https://arxiv.org/abs/1712.00409
    "power law": Law(_power, ("scale", "exponent"), (0, 0), (np.inf, 2), r"a\,n^{-c}"),
    # Rosenfeld et al. 2020, https://arxiv.org/abs/1909.12673: what no data removes
    "power law with floor": Law(
        _power_with_floor,
        ("scale", "exponent", "floor"),
        (0, 0, 0),
        (np.inf, 2, 1),
        r"e + a\,n^{-c}",
    ),
}
