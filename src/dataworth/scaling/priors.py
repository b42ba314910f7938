"""Prior distributions over the laws, their parameters, drift and scatter. Pure.

The prior is a mixture of components, each a law with priors on its parameters. It is weakly
informative: the locations are typical of published learning curves of image classifiers, the scales
are much wider than the differences between those curves, and no constant comes from a single curve.
The exception is the component of networks from scratch, which is narrow, and was chosen on curves
of small networks that were trained for this project (LOG.md).
Components with a high and with a low floor stand side by side, because classifiers on transferred
features keep much of their error however much data they get, and those trained from scratch little
(LOG.md has the measurements).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import ndtr

from .laws import LAWS, Array
from .starts import Start

MAX_EXPONENT = 2.0
LATE_DRIFT = 0.3  # change of the slope per doubling, where it begins beyond the largest size
# A law that begins late keeps at least so many sizes; so many numbers of ignored sizes are tried.
MIN_KEPT, MAX_NUMBERS = 2, 6
LEVEL_DEVIATION = 0.7  # of the log error at the largest size, around the measured one
# Standard deviation of a size around the law, of the log error -> prior probability. A property of
# the measurements, so the same under every law.
SCATTER_PRIOR: Mapping[float, float] = {
    0.003: 0.52, 0.006: 0.26, 0.012: 0.13, 0.024: 0.07, 0.048: 0.015, 0.096: 0.005,
}  # fmt: skip


@dataclass(frozen=True)
class ParameterPrior:
    """A normal distribution of the parameter on the scale of ``link``."""

    link: Literal["log", "probit"]
    location: float
    scale: float

    def __call__(self, z: Array) -> Array:
        """Transform standard normal numbers to values of the parameter."""
        value = self.location + self.scale * z
        return np.exp(value) if self.link == "log" else ndtr(value)


@dataclass(frozen=True)
class Component:
    """A mixture component of the prior: a law and the priors of its parameters.

    The level has no prior of its own: it is centred at the last measured error.
    """

    law: str
    weight: float  # prior probability; the weights of the fitted components are rescaled to sum 1
    priors: Mapping[str, ParameterPrior]
    drift_prior: Mapping[float, float]  # drift of the slope per doubling -> prior probability
    late_drift: float = 0.0  # probability of a LATE_DRIFT, which no measured size can tell of
    begins_late: bool = False  # the law ignores the smallest sizes, at least one of them

    def num_ignored(self, num_sizes: int) -> dict[int, float]:
        """Return how many of the smallest sizes the law may ignore -> prior probability."""
        if not self.begins_late:
            return {0: 1.0}
        numbers = np.unique(np.linspace(1, num_sizes - MIN_KEPT, MAX_NUMBERS).round().astype(int))
        return dict.fromkeys(numbers.tolist(), 1 / len(numbers))

    def parameters(self, z: Array, last_error: float, chance: float) -> tuple[Array, ...]:
        """Transform standard normal numbers to parameters of the law.

        Parameters
        ----------
        z : ndarray of shape (draws, parameters)
            Standard normal numbers.
        last_error : float
            Measured error at the largest size, a share.
        chance : float
            Chance level, a share.

        Returns
        -------
        tuple of ndarray of shape (draws, 1)
            In the order of the law's parameters.
        """
        level = np.minimum(last_error * np.exp(LEVEL_DEVIATION * z[:, :1]), 0.999 * chance)
        others = {
            name: self.priors[name](z[:, i : i + 1])
            for i, name in enumerate(LAWS[self.law].parameters[1:], start=1)
        }
        if "exponent" in others:
            others["exponent"] = np.minimum(others["exponent"], MAX_EXPONENT)
        return level, *others.values()


# Curves that start flat at the chance level, with a floor that is typically high.
FLAT_START_PRIORS = {
    "exponent": ParameterPrior("log", np.log(0.5), 0.22),
    "floor": ParameterPrior("probit", 0.3, 0.4),  # 90 % within 36 to 83 % of the last error
    "bend": ParameterPrior("log", np.log(0.28), 0.3),
}
# The same with any floor and bend: for images, weighty only where the typical values fit badly.
FLAT_START_WIDE_PRIORS = {
    "exponent": ParameterPrior("log", np.log(0.3), 0.5),  # 90 % within 0.13 to 0.68
    "floor": ParameterPrior("probit", 0.3, 1.0),
    "bend": ParameterPrior("log", 0.0, 1.0),
}
# Curves that are straight on log-log axes, with a low floor (median 1 % of the last error).
_STRAIGHT_EXPONENT = ParameterPrior("log", np.log(0.4), 0.7)
_LOW_FLOOR = ParameterPrior("probit", -2.3, 0.9)
STRAIGHT_PRIORS = {"exponent": _STRAIGHT_EXPONENT, "floor": _LOW_FLOOR}
# Networks trained from scratch: error / (chance - error) falls as n ** -0.5, to a low floor.
SCRATCH_PRIORS = {
    "exponent": ParameterPrior("log", np.log(0.5), 0.2),  # 90 % within 0.36 to 0.69
    "floor": _LOW_FLOOR,
    "bend": ParameterPrior("log", 0.0, 0.3),
}

# Any exponent, any floor.
_VAGUE_EXPONENT = ParameterPrior("log", np.log(0.4), 0.8)
_VAGUE_PRIORS = {"exponent": _VAGUE_EXPONENT, "floor": ParameterPrior("probit", 0.0, 1.0)}

# Deviations from the law. Drift: the slope changes by this much per doubling, away from the largest
# size; a straight line drifts more than a curve of typical bend, and so do curves of any bend.
SMALL_DRIFTS = {0.0: 0.58, 0.008: 0.28, 0.025: 0.11, 0.075: 0.03}
LARGE_DRIFTS = {0.0: 0.2, 0.017: 0.3, 0.05: 0.28, 0.15: 0.22}
# The slope may begin to drift beyond the largest size, however straight the curve was before.
# Unlike a larger drift below it, this does not make the fit forget the smaller sizes (LOG.md).
FLAT_LATE_DRIFT, STRAIGHT_LATE_DRIFT, TABULAR_LATE_DRIFT = 0.05, 0.15, 0.1


def _flat(law: str, weight: float, priors: Mapping[str, ParameterPrior]) -> Component:
    return Component(law, weight, priors, SMALL_DRIFTS, FLAT_LATE_DRIFT)


def _straight(law: str, weight: float, priors: Mapping[str, ParameterPrior]) -> Component:
    return Component(law, weight, priors, LARGE_DRIFTS, STRAIGHT_LATE_DRIFT)


COMPONENTS = (
    _flat("power law from chance", 0.46, FLAT_START_PRIORS),
    _flat("M4", 0.21, FLAT_START_PRIORS),
    _straight("power law with floor", 0.13, STRAIGHT_PRIORS),
    _straight("power law", 0.10, {"exponent": _STRAIGHT_EXPONENT}),
    _straight(
        "broken power law",
        0.05,
        {
            **STRAIGHT_PRIORS,
            "change": ParameterPrior("log", 0.3, 0.5),  # slope after the break / slope before it
            "position": ParameterPrior("log", -1.5, 1.0),  # of the break, a share of the largest n
        },
    ),
    Component(
        "power law from chance", 0.05, FLAT_START_WIDE_PRIORS, LARGE_DRIFTS, STRAIGHT_LATE_DRIFT
    ),
    # A classifier that learns nothing up to some size, then much at once, and then little.
    Component(
        "power law with floor", 0.002, _VAGUE_PRIORS, LARGE_DRIFTS, STRAIGHT_LATE_DRIFT, True
    ),
)


def _weighted(*weights: float) -> tuple[Component, ...]:
    """Return the components with other weights."""
    pairs = zip(COMPONENTS, weights, strict=True)
    return tuple(replace(component, weight=weight) for component, weight in pairs)


def _scratch(weight: float) -> Component:
    return Component("M4", weight, SCRATCH_PRIORS, LARGE_DRIFTS, FLAT_LATE_DRIFT)


PRIORS: Mapping[Start, Sequence[Component]] = {
    "unknown": (*COMPONENTS, _scratch(0.02)),
    "pretrained": _weighted(0.55, 0.25, 0.05, 0.04, 0.03, 0.08, 0.002),
    "scratch": (
        *_weighted(0.05, 0.05, 0.13, 0.09, 0.03, 0.06, 0.002),
        _scratch(0.59),
    ),
    # Learners of tables leave the chance level faster or slower, to any floor.
    "tabular": tuple(
        replace(c, late_drift=TABULAR_LATE_DRIFT)
        for c in _weighted(0.10, 0.05, 0.08, 0.06, 0.03, 0.70, 0.002)
    ),
}

# For estimates of exponent and floor, which must not depend on what is typical.
VAGUE_PRIOR = (
    Component("power law", 0.2, {"exponent": _VAGUE_EXPONENT}, SMALL_DRIFTS),
    Component("power law with floor", 0.4, _VAGUE_PRIORS, SMALL_DRIFTS),
    Component(
        "power law from chance",
        0.4,
        {**_VAGUE_PRIORS, "bend": ParameterPrior("log", np.log(0.5), 0.7)},
        SMALL_DRIFTS,
    ),
)

# For errors without an upper bound, such as a cross-entropy or an RMSE: laws that need no chance
# level, with a floor that may be any share of the last error.
UNBOUNDED_PRIOR = (
    Component("power law", 0.2, {"exponent": _STRAIGHT_EXPONENT}, LARGE_DRIFTS),
    Component("power law with floor", 0.2, STRAIGHT_PRIORS, LARGE_DRIFTS),
    Component("power law with floor", 0.6, _VAGUE_PRIORS, SMALL_DRIFTS),
)


def forecast_prior(chance: float, start: Start = "unknown") -> Sequence[Component]:
    """Return the components for forecasts of a curve.

    Parameters
    ----------
    chance : float
        Chance level; infinite for an unbounded metric, to which no start applies.
    start : {"unknown", "scratch", "pretrained", "tabular"}
        What the classifier starts from: fresh weights, features of a network trained on other data,
        or columns of a table. Unknown: high floors and low ones side by side.
    """
    return PRIORS[start] if np.isfinite(chance) else UNBOUNDED_PRIOR
