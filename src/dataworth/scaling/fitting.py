"""Points -> the laws that could have made them, each as probable as it deserves. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from .laws import LAWS, Array
from .points import NotIdentifiableError, Points
from .posterior import Curves, Posterior
from .priors import MEMBERS, SCATTERS, Member
from .sampling import draw

DRAWS = 8000  # of the posterior, over all laws
LEAST_SIZES = 3


@dataclass(frozen=True)
class _Likelihood:
    """Gaussian in log error, summed over a grid of drifts and scatters."""

    x: Array  # (sizes,): of the points, relative to the largest
    y: Array  # (sizes,): mean log errors
    last_error: float  # of the last of these points
    whiten: Array  # (sizes, grid * sizes): turns residuals into standard normal numbers
    constant: Array  # (grid,): log prior and log determinant

    @classmethod
    def build(
        cls, member: Member, largest: float, log_n: Array, y: Array, known: Array
    ) -> _Likelihood:
        away = (largest - log_n) / np.log(2)  # doublings below the largest size
        near, far = np.minimum.outer(away, away), np.maximum.outer(away, away)
        wander = near**2 * (3 * far - near) / 6  # integrated Brownian motion, 0 at the largest
        roots, constants = [], []
        for (drift, p), (scatter, q) in product(member.drifts.items(), SCATTERS.items()):
            covariance = drift**2 * wander + np.diag(scatter**2 + known)
            root = np.linalg.inv(np.linalg.cholesky(covariance))
            roots.append(root.T)
            constants.append(np.log(p * q) + np.log(np.diag(root)).sum())
        x = np.exp(np.round(log_n - largest, 12))  # the unit of n leaves no trace
        return cls(x, y, float(np.exp(y[-1])), np.concatenate(roots, axis=1), np.array(constants))

    def grid(self, error: Array) -> Array:
        """Log likelihood at each node of the grid, (draws, grid), of errors (draws, sizes)."""
        residual = (self.y - np.log(np.maximum(error, 1e-12))) @ self.whiten
        squares = (residual.reshape(len(error), len(self.constant), -1) ** 2).sum(2)
        weighed: Array = self.constant - squares / 2
        return weighed


def fit(points: Points, chance: float, members: Sequence[Member] = MEMBERS) -> Posterior:
    """Weigh every law and parameter by how well it explains the points.

    Parameters
    ----------
    points : Points
    chance : float
        Error of guessing, a share.
    members : sequence of Member
        The laws that are tried, with their priors.

    The draws are seeded: the same points give the same posterior.

    Raises
    ------
    NotIdentifiableError
        If there are fewer than three distinct sizes.
    """
    if len(points.sizes) < LEAST_SIZES:
        raise NotIdentifiableError(
            f"{len(points.sizes)} sizes were measured and {LEAST_SIZES} are needed"
        )
    rng, measured, largest = np.random.default_rng(0), points.logs(), np.log(points.sizes)[-1]
    tried = [m for m in members if LAWS[m.law].least_sizes <= len(points.sizes)]
    likelihoods = [_Likelihood.build(member, largest, *measured) for member in tried]
    samples = [
        draw(_log_likelihood(member, likelihood, chance), len(LAWS[member.law].parameters), rng)
        for member, likelihood in zip(tried, likelihoods, strict=True)
    ]
    evidence = np.array([sample.log_evidence for sample in samples])
    share = np.exp(evidence - evidence.max()) * [member.weight for member in tried]
    counts = _whole(share / share.sum(), DRAWS)
    curves, deviations = [], []
    for member, likelihood, sample, count in zip(tried, likelihoods, samples, counts, strict=True):
        if count:
            chosen = sample.resample(count, rng)
            parameters = member.parameters(chosen, likelihood.last_error, chance)
            curves.append(Curves(member.law, parameters))
            grid = likelihood.grid(LAWS[member.law].formula(likelihood.x, chance, *parameters))
            nodes = np.array(list(product(member.drifts, SCATTERS)))
            deviations.append(nodes[_pick(grid, rng)])
    drift, scatter = np.concatenate(deviations).T
    return Posterior(
        curves=tuple(curves),
        anchor=float(points.sizes[-1]),
        chance=chance,
        drift=drift,
        scatter=scatter,
        relative_seed_variance=float(points.seed_variance[-1] / max(points.means[-1], 1e-3) ** 2),
        noise=rng.standard_normal((DRAWS, 2)),
    )


def _log_likelihood(
    member: Member, likelihood: _Likelihood, chance: float
) -> Callable[[Array], Array]:
    law, last = LAWS[member.law], likelihood.last_error

    def of(z: Array) -> Array:
        grid = likelihood.grid(
            law.formula(likelihood.x, chance, *member.parameters(z, last, chance))
        )
        most = grid.max(axis=1)
        total: Array = most + np.log(np.exp(grid - most[:, None]).sum(axis=1))
        return total

    return of


def _whole(shares: Array, total: int) -> list[int]:
    """Round shares to whole numbers that add up to ``total``."""
    edges = np.round(np.cumsum(shares) * total).astype(int)
    return [int(count) for count in np.diff(edges, prepend=0)]


def _pick(log_weights: Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw one column per row, in proportion to the weights."""
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    ladder = np.cumsum(weights, axis=1)
    chosen: NDArray[np.intp] = (rng.random((len(ladder), 1)) * ladder[:, -1:] > ladder).sum(axis=1)
    return chosen
