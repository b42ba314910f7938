"""Laws of two variables, training images and training steps, and their priors. Pure.

A law of one variable becomes one of two by an effective number of images: its error depends on the
images through ``x ** -exponent`` alone, and that is replaced by a combination of images and steps.

``bottleneck``: ``(w x**-(c k) + (1 - w) s**-(d k)) ** (1 / k)``, for x times the images and s times
the steps of the largest cell. With k = 1 and a power law with floor it is the additive law
``e + A n**-a + B t**-b`` (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361, equation 1.6, with
steps; Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556, equation 2; Rosenfeld et al. 2020,
https://arxiv.org/abs/1909.12673, equation 4, for image classifiers). ``k`` is the interaction, as
in Kaplan et al. 2020, equation 1.5: above 1 the scarcer of the two decides, towards 0 the two
multiply. With a law from chance it is bounded by the chance level (Rosenfeld et al. 2020,
equation 5, bound theirs likewise).

``repeated passes``: images that are passed over p times count as
``n (1 + r (1 - exp(-(p - 1) / r)))`` (Muennighoff et al. 2023, https://arxiv.org/abs/2305.16264,
equation 5): the first passes are worth as much as new images, those beyond about r nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .laws import LAWS, Array
from .priors import (
    FLAT_START_PRIORS,
    FLAT_START_WIDE_PRIORS,
    LARGE_DRIFTS,
    SMALL_DRIFTS,
    STRAIGHT_PRIORS,
    Component,
    ParameterPrior,
)

MAX_LOG_IMAGES = 700.0  # of the effective images, relative to the largest cell: exp of it is finite


@dataclass(frozen=True)
class Amounts:
    """Images, steps and passes of some cells; arrays of shape (cells,)."""

    x: Array  # images, as a multiple of the largest cell's
    steps: Array  # steps, likewise
    passes: Array  # over the images
    passes_of_largest: float  # of the largest cell


@dataclass(frozen=True)
class Combination:
    """How images and steps make up the effective number of images.

    ``formula(amounts, exponent, *parameters)`` is the log of what takes the place of
    ``x ** -exponent``, shape (draws, cells); it is 0 at the largest cell.
    """

    formula: Callable[..., Array]
    priors: Mapping[str, ParameterPrior]


def _bottleneck(
    amounts: Amounts, exponent: Array, weight: Array, rate: Array, interaction: Array
) -> Array:
    data = np.log(weight) - interaction * exponent * np.log(amounts.x)
    training = np.log1p(-weight) - interaction * rate * np.log(amounts.steps)
    combined: Array = np.logaddexp(data, training) / interaction
    return combined


def _repeated_passes(amounts: Amounts, exponent: Array, lifetime: Array) -> Array:
    def worth(passes: Array | float) -> Array:
        repeats = np.maximum(np.asarray(passes) - 1, 0)
        worth: Array = np.minimum(passes, 1) - lifetime * np.expm1(-repeats / lifetime)
        return worth

    ratio = amounts.x * worth(amounts.passes) / worth(amounts.passes_of_largest)
    effective: Array = -exponent * np.log(ratio)
    return effective


COMBINATIONS: dict[str, Combination] = {
    "bottleneck": Combination(
        _bottleneck,
        {
            "weight": ParameterPrior("probit", 0.0, 1.0),  # of the images, at the largest cell
            "rate": ParameterPrior("log", np.log(0.5), 0.5),  # exponent of the steps
            "interaction": ParameterPrior("log", 0.0, 0.5),
        },
    ),
    "repeated passes": Combination(
        _repeated_passes,
        {"lifetime": ParameterPrior("log", np.log(30.0), 1.0)},  # 15 in Muennighoff et al. 2023
    ),
}


@dataclass(frozen=True)
class TrainingComponent:
    """A mixture component of the prior: a law of one variable and a combination."""

    base: Component
    combination: str
    weight: float

    @property
    def dimensions(self) -> int:
        """Number of parameters."""
        return len(LAWS[self.base.law].parameters) + len(COMBINATIONS[self.combination].priors)

    def parameters(self, z: Array, last_error: float, chance: float) -> tuple[Array, ...]:
        """Transform standard normal numbers to parameters.

        Parameters
        ----------
        z : ndarray of shape (draws, dimensions)
        last_error : float
            Measured error of the largest cell, a share.
        chance : float
            Chance level, a share.

        Returns
        -------
        tuple of ndarray of shape (draws, 1)
            Those of the law of one variable, then those of the combination.
        """
        own = len(LAWS[self.base.law].parameters)
        priors = COMBINATIONS[self.combination].priors.values()
        extra = [prior(z[:, i : i + 1]) for i, prior in enumerate(priors, start=own)]
        return (*self.base.parameters(z[:, :own], last_error, chance), *extra)

    def error(self, amounts: Amounts, chance: float, parameters: tuple[Array, ...]) -> Array:
        """Error of each cell, shape (draws, cells).

        Parameters
        ----------
        amounts : Amounts
        chance : float
            Chance level, a share.
        parameters : tuple of ndarray of shape (draws, 1)
            Those of the law of one variable, then those of the combination.
        """
        law = LAWS[self.base.law]
        own, extra = parameters[: len(law.parameters)], parameters[len(law.parameters) :]
        exponent = own[law.parameters.index("exponent")]
        log_share = COMBINATIONS[self.combination].formula(amounts, exponent, *extra)
        log_images = np.clip(-log_share / exponent, -MAX_LOG_IMAGES, MAX_LOG_IMAGES)
        return law.formula(np.exp(log_images), chance, *own)


_BASES = (
    Component("power law from chance", 0.65, FLAT_START_PRIORS, SMALL_DRIFTS),
    Component("power law with floor", 0.25, STRAIGHT_PRIORS, LARGE_DRIFTS),
    Component("power law from chance", 0.10, FLAT_START_WIDE_PRIORS, SMALL_DRIFTS),
)
TRAINING_PRIOR = tuple(
    TrainingComponent(base, combination, base.weight * share)
    for combination, share in {"bottleneck": 0.7, "repeated passes": 0.3}.items()
    for base in _BASES
)
# Deviations from the law, as standard deviations of the log error -> prior probability: of a run,
# and of the effect of passes, for one doubling of them away from the largest cell.
TRAINING_SCATTER: Mapping[float, float] = {0.004: 0.6, 0.012: 0.3, 0.04: 0.1}
PASSES_DEVIATION: Mapping[float, float] = {0.005: 0.3, 0.02: 0.4, 0.06: 0.3}
