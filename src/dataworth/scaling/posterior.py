"""Posterior distribution over scaling laws, as draws. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .laws import LAWS, Array
from .points import Points


@dataclass(frozen=True)
class LawDraws:
    """Posterior draws of the parameters of one law."""

    law: str
    parameters: tuple[Array, ...]  # each of shape (draws, 1)

    def __len__(self) -> int:
        return len(self.parameters[0])

    def parameter(self, name: str) -> Array:
        """Values of one parameter, shape (draws,); NaN if the law has no such parameter.

        A law without a floor has the floor 0.
        """
        names = LAWS[self.law].parameters
        if name in names:
            return self.parameters[names.index(name)][:, 0]
        return np.full(len(self), 0.0 if name == "floor" else np.nan)


@dataclass(frozen=True)
class Posterior:
    """Draws from the posterior over laws and their parameters; all draws have equal weight."""

    laws: tuple[LawDraws, ...]
    largest_size: float  # training images of the largest subset
    chance: float  # chance level: error of guessing
    drift: Array  # (draws,): standard deviation of the change of slope, per doubling
    scatter: Array  # (draws,): standard deviation of one run around the law, in log error
    relative_seed_variance: float  # between seeds at the largest size, of the log error
    noise: Array  # (draws, 2): standard normal, for the drift and for the deviation of a run
    late_drift: Array | float = 0.0  # (draws,): of the slope per doubling, beyond the largest size

    def law_error(self, n: Array) -> Array:
        """Error of the law at each number of images, shape (draws, len(n))."""
        x = np.asarray(n, dtype=float) / self.largest_size
        return np.concatenate(
            [LAWS[draws.law].formula(x, self.chance, *draws.parameters) for draws in self.laws]
        )

    def expected_error(self, n: Array, law_error: Array | None = None) -> Array:
        """Error expected over many runs, with the drift of the slope, shape (draws, len(n)).

        ``law_error`` is ``self.law_error(n)``, if it has been computed already.
        """
        error = self.law_error(n) if law_error is None else law_error
        doublings = np.maximum(np.log2(np.asarray(n, dtype=float) / self.largest_size), 0)
        deviation = np.hypot(self.drift, self.late_drift)[:, None]
        drift = deviation * np.sqrt(doublings**3 / 3) * self.noise[:, :1]
        return np.minimum(error * np.exp(drift), self.chance)

    def run_error(
        self,
        n: Array,
        num_test: float | None = None,
        seeds: float = 1,
        law_error: Array | None = None,
    ) -> Array:
        """Simulate the mean measured error of new runs, shape (draws, len(n)).

        Parameters
        ----------
        n : ndarray of shape (m,)
            Training images.
        num_test : float, optional
            Test images; without it there is no test sampling noise.
        seeds : float
            Runs that are averaged. They share the test images, so only the variance between
            seeds decreases. Infinite: the expected error, without the noise of test images.
        law_error : ndarray of shape (draws, m), optional
            ``self.law_error(n)``, if it has been computed already.
        """
        mean = self.expected_error(n, law_error)
        if np.isinf(seeds):
            return mean
        variance = self.scatter[:, None] ** 2 + self.relative_seed_variance / seeds
        if num_test:
            variance = variance + (1 - mean) / (np.maximum(mean, 1 / num_test) * num_test)
        return np.minimum(mean * np.exp(np.sqrt(variance) * self.noise[:, 1:]), self.chance)

    def thinned(self, step: int) -> Posterior:
        """Return every ``step``-th draw, of all laws together."""
        laws, start = [], 0
        for draws in self.laws:
            kept = slice(-start % step, None, step)
            laws.append(LawDraws(draws.law, tuple(values[kept] for values in draws.parameters)))
            start += len(draws)
        return replace(
            self,
            laws=tuple(laws),
            drift=self.drift[::step],
            scatter=self.scatter[::step],
            noise=self.noise[::step],
            late_drift=np.broadcast_to(self.late_drift, self.drift.shape)[::step],
        )

    @property
    def exponent(self) -> Array:
        """Exponent of the power law that each draw approaches, shape (draws,); NaN if none."""
        return np.concatenate([draws.parameter("exponent") for draws in self.laws])

    @property
    def floor(self) -> Array:
        """Irreducible error of each draw: its limit for infinitely many images, shape (draws,)."""
        return np.concatenate([d.parameter("floor") * d.parameter("level") for d in self.laws])

    @property
    def law_probabilities(self) -> dict[str, float]:
        """Posterior probability of each law."""
        names = [draws.law for draws in self.laws]
        counts = [len(draws) for draws in self.laws]
        total = sum(counts)
        return {
            law: sum(count for name, count in zip(names, counts, strict=True) if name == law)
            / total
            for law in dict.fromkeys(names)
        }


def curve_draws(posterior: Posterior, points: Points, n: Array, rng: np.random.Generator) -> Array:
    """Draw curves that follow the measured points as closely as law, drift and noise say.

    Below the largest size the drift of the slope is drawn given the residuals of the law (by
    Matheron's rule: Wilson et al. 2021, https://arxiv.org/abs/2011.04026, section 3.2); above it,
    given nothing, as :meth:`Posterior.expected_error` does.

    Parameters
    ----------
    posterior : Posterior
        Fitted to ``points``.
    points : Points
    n : ndarray of shape (m,)
        Training images, ascending.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (draws, m)
        Expected errors, shares.
    """
    log_n, y, variance, averaged = points.log_errors()
    errors = posterior.expected_error(n)
    inside = n < posterior.largest_size
    at = np.concatenate(
        [
            np.log2(posterior.largest_size / n[inside]),
            (np.log(points.sizes)[-1] - log_n) / np.log(2),  # the last of many sizes is a mean
        ]
    )
    num_inside = int(inside.sum())
    near, far = np.minimum.outer(at, at), np.maximum.outer(at, at)
    covariance = near**2 * (3 * far - near) / 6  # integrated Brownian motion, as in the fit
    ridge = 1e-9 * max(1.0, float(covariance.max()))  # sizes that are equal make it singular
    root = np.linalg.cholesky(covariance + ridge * np.eye(len(at)))
    paths = rng.standard_normal((len(posterior.drift), len(at))) @ root.T
    paths *= posterior.drift[:, None]
    residuals = y - np.log(np.maximum(posterior.law_error(np.exp(log_n)), 1e-12))
    noise = np.sqrt(posterior.scatter[:, None] ** 2 / averaged + variance)
    residuals -= paths[:, num_inside:] + noise * rng.standard_normal(residuals.shape)
    for node in np.unique(np.stack([posterior.drift, posterior.scatter]), axis=1).T:
        drift, scatter = node.tolist()
        rows = (posterior.drift == drift) & (posterior.scatter == scatter)
        if drift:
            kernel = drift**2 * covariance[num_inside:]
            measured = kernel[:, num_inside:] + np.diag(scatter**2 / averaged + variance)
            paths[rows] += residuals[rows] @ np.linalg.solve(measured, kernel)
    errors[:, inside] *= np.exp(paths[:, :num_inside])
    return np.minimum(errors, posterior.chance)
