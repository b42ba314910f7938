"""Bayesian fit of the laws of training images and steps to the cells of a grid. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from .fitting import apportion, sample_columns
from .grid import Grid
from .laws import Array
from .sampling import sample_posterior
from .training_laws import (
    PASSES_DEVIATION,
    TRAINING_PRIOR,
    TRAINING_SCATTER,
    Amounts,
    TrainingComponent,
)

NUM_DRAWS = 4000  # of the posterior, over all laws
CHUNK = 1024  # draws whose likelihoods are computed at a time: bounds the memory


@dataclass(frozen=True)
class TrainingDraws:
    """Posterior draws of the parameters of one component."""

    component: TrainingComponent
    parameters: tuple[Array, ...]  # each of shape (draws, 1)


@dataclass(frozen=True)
class TrainingPosterior:
    """Draws from the posterior over laws of two variables; all draws have equal weight."""

    laws: tuple[TrainingDraws, ...]
    grid: Grid
    chance: float
    deviations: Array  # (draws, 3): drift, of passes, scatter; see `Deviations`

    def law_error(self, cells: Array) -> Array:
        """Error of the law at pairs of images and steps (cells, 2), shape (draws, cells)."""
        amounts = amounts_of(self.grid, cells)
        return np.concatenate(
            [draws.component.error(amounts, self.chance, draws.parameters) for draws in self.laws]
        )

    def expected_error(self, cells: Array) -> Array:
        """Error expected over many runs, shape (draws, cells).

        The deviation from the law is drawn given the measured residuals: a Gaussian process.
        """
        errors, rng = self.law_error(cells), np.random.default_rng(1)
        y, variance = self.grid.log_errors()
        residuals = y - np.log(np.maximum(self.law_error(self.grid.cells), 1e-12))
        smooth = Deviations(self.grid, np.concatenate([self.grid.cells, cells]))
        measured, noise = len(y), rng.standard_normal(errors.shape)
        for node in np.unique(self.deviations, axis=0):
            rows = (self.deviations == node).all(axis=1)
            total = smooth.covariance(*node[:2].tolist())
            own, cross = total[:measured, :measured], total[:measured, measured:]
            gain = np.linalg.solve(own + np.diag(variance + node[2] ** 2 + 1e-12), cross)
            left = total[measured:, measured:] - cross.T @ gain
            root = np.linalg.cholesky(left + (1e-12 + 1e-9 * left.max()) * np.eye(len(left)))
            errors[rows] *= np.exp(residuals[rows] @ gain + noise[rows] @ root.T)
        return np.minimum(errors, self.chance)

    def run_error(self, cells: Array, num_test: float | None = None, seeds: float = 1) -> Array:
        """Simulate the mean measured error of new runs, shape (draws, cells).

        Parameters
        ----------
        cells : ndarray of shape (cells, 2)
            Images and steps.
        num_test : float, optional
            Test images; without it there is no test sampling noise.
        seeds : float
            Runs that are averaged; they share the test images.
        """
        mean = self.expected_error(cells)
        variance = self.deviations[:, 2:] ** 2 + self.grid.relative_seed_variance / seeds
        if num_test:
            variance = variance + (1 - mean) / (np.maximum(mean, 1 / num_test) * num_test)
        noise = np.random.default_rng(2).standard_normal((len(mean), 1))
        return np.minimum(mean * np.exp(np.sqrt(variance) * noise), self.chance)

    @property
    def law_probabilities(self) -> dict[str, float]:
        """Posterior probability of each law and combination."""
        total: dict[str, float] = {}
        for draws in self.laws:
            name = f"{draws.component.base.law}, {draws.component.combination}"
            share = len(draws.parameters[0]) / len(self.deviations)
            total[name] = total.get(name, 0) + share
        return total


def amounts_of(grid: Grid, cells: Array) -> Amounts:
    """Return the amounts of cells (cells, 2) relative to the largest cell of the grid."""
    n, steps = grid.largest
    passes = cells[:, 1] * grid.images_per_step / cells[:, 0]
    x = np.exp(np.round(np.log(cells / [n, steps]), 12))  # rounded: units must not matter
    return Amounts(x[:, 0], x[:, 1], passes, steps * grid.images_per_step / n)


@dataclass(frozen=True)
class Deviations:
    """Smooth deviations from the law, of cells (cells, 2), which are 0 at the largest cell.

    The slope in the number of images drifts as in the law of one variable (integrated Brownian
    motion), and the effect of the passes wanders (Brownian motion); both in doublings.
    """

    grid: Grid
    cells: Array

    @cached_property
    def _parts(self) -> tuple[Array, Array]:
        images, steps = (np.log2(self.cells / self.grid.largest)).T
        parts = []
        for doublings in (images, steps - images):
            size = np.abs(doublings)
            near, far = np.minimum.outer(size, size), np.maximum.outer(size, size)
            same_side = np.multiply.outer(doublings, doublings) > 0
            parts.append((same_side * near, far))
        (near, far), (near_passes, _) = parts
        return near**2 * (3 * far - near) / 6, near_passes

    def covariance(self, drift: float, passes: float) -> Array:
        """Covariance of the log errors of the cells, shape (cells, cells)."""
        of_images, of_passes = self._parts
        total: Array = drift**2 * of_images + passes**2 * of_passes
        return total


@dataclass(frozen=True)
class _Likelihood:
    """Gaussian likelihood of the log errors of cells, at nodes of the standard deviations."""

    y: Array  # (cells,): mean log errors
    nodes: Array  # (nodes, 3): drift, of passes, scatter
    whiten: Array  # (cells, cells * nodes): transforms residuals to standard normal numbers
    constant: Array  # (nodes,): log prior and log determinant

    @classmethod
    def build(cls, grid: Grid, component: TrainingComponent) -> _Likelihood:
        y, variance = grid.log_errors()
        smooth = Deviations(grid, grid.cells)
        priors = (component.base.drift_prior, PASSES_DEVIATION, TRAINING_SCATTER)
        nodes, roots, constants = list(product(*priors)), [], []
        for (drift, passes, scatter), probabilities in zip(
            nodes, product(*(prior.values() for prior in priors)), strict=True
        ):
            diagonal = np.diag(scatter**2 + variance + 1e-12)
            root = np.linalg.inv(np.linalg.cholesky(smooth.covariance(drift, passes) + diagonal))
            roots.append(root.T)
            constants.append(np.log(probabilities).sum() + np.log(np.diag(root)).sum())
        whiten = np.stack(roots, axis=2).reshape(len(y), -1)
        return cls(y, np.array(nodes), whiten, np.array(constants))

    def at_nodes(self, error: Array) -> Array:
        """Log likelihood of errors (draws, cells) at each node, shape (draws, nodes)."""
        residuals = self.y - np.log(np.maximum(error, 1e-12))
        values = np.empty((len(error), len(self.constant)))
        for start in range(0, len(error), CHUNK):
            squares = (residuals[start : start + CHUNK] @ self.whiten) ** 2
            per_node = squares.reshape(len(squares), len(self.y), -1).sum(axis=1)
            values[start : start + CHUNK] = self.constant - per_node / 2
        return values


@dataclass(frozen=True)
class _Model:
    """A component of the prior with the cells that it is fitted to."""

    component: TrainingComponent
    likelihood: _Likelihood
    amounts: Amounts
    chance: float

    def parameters(self, z: Array) -> tuple[Array, ...]:
        last_error = float(np.exp(self.likelihood.y[-1]))
        return self.component.parameters(z, last_error, self.chance)

    def at_nodes(self, z: Array) -> Array:
        error = self.component.error(self.amounts, self.chance, self.parameters(z))
        return self.likelihood.at_nodes(error)

    def log_likelihood(self, z: Array) -> Array:
        """Log likelihood of standard normal numbers, summed over the nodes."""
        nodes = self.at_nodes(z)
        largest = nodes.max(axis=1)
        total: Array = largest + np.log(np.exp(nodes - largest[:, None]).sum(axis=1))
        return total


def fit_grid(
    grid: Grid, chance: float, prior: Sequence[TrainingComponent] = TRAINING_PRIOR
) -> TrainingPosterior:
    """Sample laws and parameters in proportion to their posterior probability.

    The random numbers are seeded: the same cells give the same posterior.

    Parameters
    ----------
    grid : Grid
        Of at least the cells that ``training_forecasts.check_grid`` asks for.
    chance : float
        Chance level: error of guessing, a share.
    prior : sequence of TrainingComponent
        The laws that are fitted, with their priors.
    """
    rng, amounts = np.random.default_rng(0), amounts_of(grid, grid.cells)
    models = [_Model(c, _Likelihood.build(grid, c), amounts, chance) for c in prior]
    samples = [
        sample_posterior(model.log_likelihood, model.component.dimensions, rng) for model in models
    ]
    log_evidence = np.array([sample.log_evidence for sample in samples])
    weights = np.exp(log_evidence - log_evidence.max()) * [c.weight for c in prior]
    laws, deviations = [], []
    for model, sample, count in zip(
        models, samples, apportion(weights / weights.sum(), NUM_DRAWS), strict=True
    ):
        if count:
            z = sample.resample(count, rng)
            laws.append(TrainingDraws(model.component, model.parameters(z)))
            nodes = model.likelihood.nodes
            deviations.append(nodes[sample_columns(model.at_nodes(z), rng)])
    return TrainingPosterior(tuple(laws), grid, chance, np.concatenate(deviations))
