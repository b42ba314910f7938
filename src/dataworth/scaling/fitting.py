"""Bayesian fit of the scaling laws to measured points. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from .laws import LAWS, Array
from .points import NotIdentifiableError, Points
from .posterior import LawDraws, Posterior
from .priors import LATE_DRIFT, SCATTER_PRIOR, Component, forecast_prior
from .sampling import sample_posterior
from .starts import Start

NUM_DRAWS = 8000  # of the posterior, over all laws
# Log density of the log error of an ignored size: uniform over a factor of 20. The normal densities
# of the other sizes leave out -log(2 pi) / 2, so it is added here.
IGNORED_LOG_DENSITY = np.log(2 * np.pi) / 2 - np.log(np.log(20))
MIN_SIZES = 3  # distinct subset sizes needed for a fit


@dataclass(frozen=True)
class _Likelihood:
    """Gaussian likelihood of the log errors, on a grid of drifts, scatters and ignored sizes.

    A block of the grid has one scatter and one number of ignored smallest sizes.
    """

    x: Array  # (sizes,): of the points, relative to the largest
    y: Array  # (sizes,): mean log errors
    last_error: float  # at the largest size
    rotate: Array  # (sizes, blocks * sizes): transforms residuals to uncorrelated numbers
    precision: Array  # (grid, blocks * sizes): of these numbers at each node; 0: of other nodes
    constant: Array  # (grid, 1): log prior and log determinant

    @classmethod
    def build(
        cls, component: Component, largest: float, log_n: Array, y: Array, variance: Array,
        averaged: Array,
    ) -> _Likelihood:  # fmt: skip
        """Build it from :meth:`Points.log_errors`; the scatter of an average is smaller."""
        doublings = (largest - log_n) / np.log(2)  # below the largest size
        near = np.minimum.outer(doublings, doublings)
        far = np.maximum.outer(doublings, doublings)
        drift_covariance = near**2 * (3 * far - near) / 6  # integrated Brownian motion
        drifts, drift_weights = np.array(list(component.drift_prior.items())).T
        rotations, variances = [], []
        constant = np.zeros((len(drifts), 0))
        ignored = component.num_ignored(len(y))
        for (scatter, share), (count, probability) in product(
            SCATTER_PRIOR.items(), ignored.items()
        ):
            root = 1 / np.sqrt(scatter**2 / averaged + variance)
            root[:count] = 0
            # Every drift has the same eigenvectors.
            eigenvalues, vectors = np.linalg.eigh(root[:, None] * drift_covariance * root)
            rotations.append(root[:, None] * vectors)
            variances.append(1 + np.outer(drifts**2, np.maximum(eigenvalues, 0)))
            log_density = np.log(root[count:]).sum() + count * IGNORED_LOG_DENSITY
            log_prior = np.log(drift_weights * share * probability)
            column = log_prior + log_density - np.log(variances[-1]).sum(axis=1) / 2
            constant = np.column_stack([constant, column])
        precision = np.zeros((len(drifts), len(rotations), len(rotations), len(y)))
        for block, values in enumerate(variances):
            precision[:, block, block] = 1 / values
        x = np.exp(np.round(log_n - largest, 12))  # rounded: the unit of n must not matter
        return cls(
            x,
            y,
            float(np.exp(y[-1])),
            np.concatenate(rotations, axis=1),
            precision.reshape(constant.size, -1),
            constant.reshape(-1, 1),
        )

    def on_grid(self, error: Array) -> Array:
        """Log likelihood of errors (draws, sizes) at each node of the grid, (grid, draws)."""
        numbers = (self.y - np.log(np.maximum(error, 1e-12))) @ self.rotate
        numbers *= numbers
        log_likelihood: Array = self.constant - self.precision @ numbers.T / 2
        return log_likelihood


def fit(
    points: Points,
    chance: float,
    prior: Sequence[Component] | None = None,
    start: Start = "unknown",
) -> Posterior:
    """Sample laws and parameters in proportion to their posterior probability.

    The random numbers are seeded: the same points give the same posterior. Forecasts are fitted to
    the mean error of each size, whose deviation from the law is learned as that of single runs is:
    told how much seeds vary, the priors would count for more than the points, and forecasts from
    repeated runs were worse than those from their means (LOG.md). A new run varies with its seed.

    Parameters
    ----------
    points : Points
    chance : float
        Chance level: error of guessing, a share; infinite for an unbounded metric.
    prior : sequence of Component
        The laws that are fitted, with their priors; by default those for forecasts.
    start : {"unknown", "scratch", "pretrained", "tabular"}
        What the classifier starts from; see :func:`~.priors.forecast_prior`.

    Raises
    ------
    NotIdentifiableError
        If there are fewer than three distinct sizes.
    """
    if len(points.sizes) < MIN_SIZES:
        raise NotIdentifiableError(too_few_sizes(len(points.sizes)))
    rng, largest = np.random.default_rng(0), np.log(points.sizes)[-1]
    measured = (points.of_means if prior is None else points).log_errors()
    components = _applicable(prior or forecast_prior(chance, start), points, chance)
    likelihoods = [_Likelihood.build(component, largest, *measured) for component in components]
    samples = [
        sample_posterior(
            _marginal_log_likelihood(component, likelihood, chance),
            len(LAWS[component.law].parameters),
            rng,
        )
        for component, likelihood in zip(components, likelihoods, strict=True)
    ]
    log_evidence = np.array([sample.log_evidence for sample in samples])
    weights = np.exp(log_evidence - log_evidence.max()) * [c.weight for c in components]
    counts = apportion(weights / weights.sum(), NUM_DRAWS)
    laws, deviations = [], []
    for component, likelihood, sample, count in zip(
        components, likelihoods, samples, counts, strict=True
    ):
        if count:
            z = sample.resample(count, rng)
            parameters = component.parameters(z, likelihood.last_error, chance)
            laws.append(LawDraws(component.law, parameters))
            deviations.append(_deviations(component, likelihood, chance, parameters, rng))
    drift, scatter = np.concatenate(deviations).T
    noise = rng.standard_normal((NUM_DRAWS, 2))
    late = rng.random(NUM_DRAWS) < np.repeat([c.late_drift for c in components], counts)
    return Posterior(
        laws=tuple(laws),
        largest_size=float(points.sizes[-1]),
        chance=chance,
        drift=drift,
        scatter=scatter,
        relative_seed_variance=float(points.relative_seed_variance[-1]),
        noise=noise,
        late_drift=LATE_DRIFT * late.astype(float),
    )


def _applicable(prior: Sequence[Component], points: Points, chance: float) -> list[Component]:
    """Return the laws for so many sizes, and without those from chance where there is none."""
    return [
        component
        for component in prior
        if LAWS[component.law].min_sizes <= len(points.sizes)
        and (np.isfinite(chance) or not LAWS[component.law].starts_at_chance)
    ]


def _deviations(
    component: Component,
    likelihood: _Likelihood,
    chance: float,
    parameters: Sequence[Array],
    rng: np.random.Generator,
) -> Array:
    """Draw drift and scatter of each law, shape (draws, 2)."""
    grid = likelihood.on_grid(LAWS[component.law].formula(likelihood.x, chance, *parameters))
    ignored = component.num_ignored(len(likelihood.x))  # sizes behind the largest: nothing to draw
    nodes = np.array(list(product(component.drift_prior, SCATTER_PRIOR, ignored)))[:, :2]
    drawn: Array = nodes[sample_columns(grid.T, rng)]
    return drawn


def too_few_sizes(count: int) -> str:
    """Return the message for fewer than ``MIN_SIZES`` sizes."""
    measured = "1 size was" if count == 1 else f"{count} sizes were"
    return f"{measured} measured and {MIN_SIZES} are needed"


def _marginal_log_likelihood(
    component: Component, likelihood: _Likelihood, chance: float
) -> Callable[[Array], Array]:
    """Return the log likelihood of standard normal numbers, summed over the grid."""
    law, last_error = LAWS[component.law], likelihood.last_error

    def log_likelihood(z: Array) -> Array:
        grid = likelihood.on_grid(
            law.formula(likelihood.x, chance, *component.parameters(z, last_error, chance))
        )
        largest = grid.max(axis=0)
        total: Array = largest + np.log(np.exp(grid - largest).sum(axis=0))
        return total

    return log_likelihood


def apportion(shares: Array, total: int) -> list[int]:
    """Round shares to whole numbers that add up to ``total``."""
    edges = np.round(np.cumsum(shares) * total).astype(int)
    return [int(count) for count in np.diff(edges, prepend=0)]


def sample_columns(log_weights: Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """Sample one column per row, in proportion to the weights."""
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    ladder = np.cumsum(weights, axis=1)
    columns: NDArray[np.intp] = (rng.random((len(ladder), 1)) * ladder[:, -1:] > ladder).sum(axis=1)
    return columns
