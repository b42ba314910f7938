"""What is believed of a curve before it is measured, in one place. Pure.

Weakly informative: the centres are typical of published learning curves of image classifiers, the
spreads reach far beyond them, and no constant comes from a single curve. Beliefs about the
floor stand side by side, because classifiers on transferred features keep much of their error
however much data they get, and those trained from scratch little (LOG.md has the measurements).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr

from .laws import LAWS, Array

EXPONENT_LIMIT = 2.0


@dataclass(frozen=True)
class Prior:
    """A normal distribution on the scale of ``link``."""

    link: Literal["log", "probit"]
    centre: float
    spread: float

    def __call__(self, z: Array) -> Array:
        """Turn standard normal numbers into values of the parameter."""
        value = self.centre + self.spread * z
        return np.exp(value) if self.link == "log" else ndtr(value)


@dataclass(frozen=True)
class Member:
    """A law with its prior. The level's centre is the last measured error."""

    law: str
    weight: float  # prior probability; the weights of those tried are rescaled to sum to 1
    priors: Mapping[str, Prior]
    drifts: Mapping[float, float]  # wander of the slope per doubling -> prior probability

    def parameters(self, z: Array, last_error: float, chance: float) -> tuple[Array, ...]:
        """Map standard normal numbers (draws, parameters) to parameters, (draws, 1) each."""
        level = np.minimum(last_error * np.exp(LEVEL_SPREAD * z[:, :1]), 0.999 * chance)
        others = {
            name: self.priors[name](z[:, i : i + 1])
            for i, name in enumerate(LAWS[self.law].parameters[1:], start=1)
        }
        if "exponent" in others:
            others["exponent"] = np.minimum(others["exponent"], EXPONENT_LIMIT)
        return level, *others.values()


LEVEL_SPREAD = 0.7  # of the log error at the largest size, around the measured one
_FROM_CHANCE = {
    "exponent": Prior("log", np.log(0.5), 0.22),
    "floor": Prior("probit", 0.3, 0.4),  # 36 to 83 % of the last error, 90 % of the time
    "bend": Prior("log", np.log(0.28), 0.3),
}
# Any floor and bend: gains weight only where the members above explain the points badly.
_UNLIKE = {
    "exponent": Prior("log", np.log(0.3), 0.5),  # 0.13 to 0.68
    "floor": Prior("probit", 0.3, 1.0),
    "bend": Prior("log", 0.0, 1.0),
}
_SLOPE = Prior("log", np.log(0.4), 0.7)
_STRAIGHT = {"exponent": _SLOPE, "floor": Prior("probit", -2.3, 0.9)}  # median 1 %

# Deviations from the law. Drift: the slope wanders by this much per doubling, away from the largest
# size; a straight line drifts more than a curve that already bends.
_LITTLE_DRIFT = {0.0: 0.58, 0.008: 0.28, 0.025: 0.11, 0.075: 0.03}
_MORE_DRIFT = {0.0: 0.2, 0.017: 0.3, 0.05: 0.28, 0.15: 0.22}

MEMBERS = (
    Member("power law from chance", 0.46, _FROM_CHANCE, _LITTLE_DRIFT),
    Member("M4", 0.21, _FROM_CHANCE, _LITTLE_DRIFT),
    Member("power law with floor", 0.13, _STRAIGHT, _MORE_DRIFT),
    Member("power law", 0.10, {"exponent": _SLOPE}, _MORE_DRIFT),
    Member(
        "broken power law",
        0.05,
        {
            **_STRAIGHT,
            "change": Prior("log", 0.3, 0.5),  # the slope after the break over that before
            "position": Prior("log", -1.5, 1.0),  # as a share of the largest size
        },
        _MORE_DRIFT,
    ),
    Member("power law from chance", 0.05, _UNLIKE, _LITTLE_DRIFT),
)

# A forecast may lean on what is typical; a statement about exponent or floor must not.
_ANY = {"exponent": Prior("log", np.log(0.4), 0.8), "floor": Prior("probit", 0.0, 1.0)}
VAGUE = (
    Member("power law", 0.2, {"exponent": _ANY["exponent"]}, _LITTLE_DRIFT),
    Member("power law with floor", 0.4, _ANY, _LITTLE_DRIFT),
    Member(
        "power law from chance",
        0.4,
        {**_ANY, "bend": Prior("log", np.log(0.5), 0.7)},
        _LITTLE_DRIFT,
    ),
)

# Scatter of a run around the law, in natural logarithms of the error -> prior probability.
SCATTERS: Mapping[float, float] = {0.003: 0.53, 0.006: 0.27, 0.012: 0.13, 0.024: 0.07}
