"""Parametric scaling laws: test error as a function of the number of training images. Pure.

Every law is anchored at the largest subset: ``x`` is the number of training images divided by that
of the largest subset, and ``level`` is the error there, so that no parameter depends on the unit of
``n``. To add a law, write its formula, list it in :data:`LAWS` and give it a prior in
``priors.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]

BREAK_WIDTH = 0.7  # of the broken power law, in natural logarithms of x
NEWTON_STEPS = 6  # reach rounding error from the starting point used here


@dataclass(frozen=True)
class Law:
    """A family of curves ``error = formula(x, chance, *parameters)``, errors and chance alike.

    Errors are shares in [0, 1], or values of an unbounded metric, whose ``chance`` is infinite.
    ``x`` has shape (sizes,); every parameter broadcasts against it.
    """

    formula: Callable[..., Array]
    parameters: tuple[str, ...]  # level first; exponent, floor (a share of level) if it has them
    mathtext: str  # the formula in matplotlib's notation; n counts training images
    min_sizes: int = 3  # distinct sizes below which the law is not fitted
    starts_at_chance: bool = False  # then it is not fitted where the chance level is infinite


def _power_law(x: Array, chance: float, level: Array, exponent: Array) -> Array:
    return np.minimum(level * x**-exponent, chance)


def _power_law_with_floor(
    x: Array, chance: float, level: Array, exponent: Array, floor: Array
) -> Array:
    return np.minimum(level * (floor + (1 - floor) * x**-exponent), chance)


def _power_law_from_chance(
    x: Array, chance: float, level: Array, exponent: Array, floor: Array, bend: Array
) -> Array:
    floor_error, share = _reducible_share(chance, level, floor)
    steep = -np.log(share) / bend
    offset = steep + np.log1p(-np.exp(-steep))  # log(share**(-1 / bend) - 1), without overflow
    return floor_error + (chance - floor_error) * np.exp(
        -bend * np.logaddexp(0, offset + exponent / bend * np.log(x))
    )


def _m4(x: Array, chance: float, level: Array, exponent: Array, floor: Array, bend: Array) -> Array:
    """Solve ``log s - bend log(1 - s) = offset - exponent log x`` for s, the share above the floor.

    With s = expit(u) the left side is smooth and increases with u, so Newton's method converges.
    """
    floor_error, share = _reducible_share(chance, level, floor)
    right = np.log(share) - bend * np.log1p(-share) - exponent * np.log(x)
    u = np.where(right < 0, right, right / bend)
    for _ in range(NEWTON_STEPS):
        small = np.exp(-np.abs(u))  # one exponential gives log s, log(1 - s), s and 1 - s
        log_sum, negative = np.log1p(small), u < 0
        left = np.minimum(u, 0) - log_sum + bend * (np.maximum(u, 0) + log_sum)
        slope = (np.where(negative, 1, small) + bend * np.where(negative, small, 1)) / (1 + small)
        u = u - (left - right) / slope
    return floor_error + (chance - floor_error) * expit(u)


def _stretched_exponential(
    x: Array, chance: float, level: Array, rate: Array, floor: Array
) -> Array:
    floor_error, share = _reducible_share(chance, level, floor)
    return floor_error + (chance - floor_error) * np.exp(np.log(share) * x**rate)


def _broken_power_law(
    x: Array,
    chance: float,
    level: Array,
    exponent: Array,
    floor: Array,
    change: Array,
    position: Array,
) -> Array:
    def log_decrease(log_x: Array | float) -> Array:
        """Slope ``exponent / change`` before the break, ``exponent`` after it."""
        past = BREAK_WIDTH * np.logaddexp(0, (log_x - np.log(position)) / BREAK_WIDTH)
        return exponent / change * (log_x - past) + exponent * past

    shape = np.exp(log_decrease(0.0) - log_decrease(np.log(x)))
    return np.minimum(level * (floor + (1 - floor) * shape), chance)


def _reducible_share(chance: float, level: Array, floor: Array) -> tuple[Array, Array]:
    """Return the floor as an error, and the share of chance minus floor that is left at x = 1."""
    floor_error = floor * level
    # A floor in the far tail of its prior rounds to the level itself; logs of 0 are avoided.
    share = np.maximum((level - floor_error) / (chance - floor_error), np.finfo(float).tiny)
    return floor_error, share


LAWS: dict[str, Law] = {
    # Hestness et al. 2017, https://arxiv.org/abs/1712.00409
    "power law": Law(_power_law, ("level", "exponent"), r"a\,n^{-c}"),
    # Rosenfeld et al. 2020, https://arxiv.org/abs/1909.12673: with an irreducible error
    "power law with floor": Law(
        _power_law_with_floor, ("level", "exponent", "floor"), r"e + a\,n^{-c}"
    ),
    # Caballero et al. 2022, https://arxiv.org/abs/2210.14891: one break, flat at chance before it
    "power law from chance": Law(
        _power_law_from_chance,
        ("level", "exponent", "floor", "bend"),
        r"e + (e_0 - e)(1 + (n/d)^{c/b})^{-b}",
        starts_at_chance=True,
    ),
    # Alabdulmohsin et al. 2022, https://arxiv.org/abs/2209.06640
    "M4": Law(
        _m4,
        ("level", "exponent", "floor", "bend"),
        r"(y-e)/(e_0-y)^{b} = a\,n^{-c}",
        starts_at_chance=True,
    ),
    # Viering and Loog 2021, https://arxiv.org/abs/2103.10948, section 4.1
    "stretched exponential": Law(
        _stretched_exponential,
        ("level", "rate", "floor"),
        r"e + (e_0 - e)\exp(-a\,n^{c})",
        starts_at_chance=True,
    ),
    # Caballero et al. 2022: one break between two slopes
    "broken power law": Law(
        _broken_power_law,
        ("level", "exponent", "floor", "change", "position"),
        r"broken\ power\ law",
        min_sizes=7,
    ),
}
