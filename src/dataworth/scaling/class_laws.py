"""Laws of single classes, partially pooled: which class gains most from more images. Pure.

The error of a class falls with its own training images n: its logit is a straight line in log2 n,
with a curvature. Few test images per class say little about a single line. Therefore levels, slopes
and curvatures of the classes are normally distributed around common means, and how much they differ
is estimated together with them (a hierarchical model: Gelman et al., *Bayesian Data Analysis*,
chapters 5 and 15): a class is pulled towards the others as far as its own images leave it unsure.

Given the deviations between classes and of single runs the model is linear and Gaussian, and is
solved exactly; these deviations are averaged over a grid. Errors enter by their linearised logits,
repeated at the fitted errors (penalised quasi-likelihood: Breslow and Clayton 1993,
https://doi.org/10.1080/01621459.1993.10594284). The test images of a class are the same at all
sizes: part of their noise, by the correlation of the answers, moves the whole line.

In a study all classes grow together. That the gain of a class is due to its own images alone is an
assumption: gains of a purchase of one class are upper bounds as far as it fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import expit, logit

from .laws import Array

NUM_DRAWS = 2000
NUM_ITERATIONS = 4  # of the linearisation
MIN_SIZES = 3
COMMON_MEAN = np.array([0.0, 0.3, 0.0])  # level, fall per doubling, curvature; of the logit
COMMON_DEVIATION = np.array([3.0, 0.3, 0.05])
LEVEL_DEVIATIONS = (0.1, 0.25, 0.5, 1.0, 1.6, 2.5)  # between classes, equally probable
SLOPE_DEVIATIONS = (0.02, 0.06, 0.12, 0.2, 0.35)
CURVATURE_DEVIATIONS = (0.01, 0.03, 0.08)
RUN_DEVIATIONS = (0.03, 0.08, 0.2)  # of a class in one run, beyond the noise of its images
TYPICAL = (0.8, 0.12, 0.03, 0.08)  # of these, for the linearisation
NUM_STEPS = 200  # in which a budget is allocated
THINNING = 10  # every so many draws give the expected gains of a step


@dataclass(frozen=True)
class ClassErrors:
    """Measured errors of C classes at S sizes, ascending."""

    errors: Array  # (C, S), shares; means over the runs of a size
    images: Array  # (C, S): training images of the class
    num_test: Array  # (C,): test images, 1 or more
    num_runs: Array  # (S,)
    correlation: float = 0.0  # of right and wrong answers to a test image, between sizes and runs


@dataclass(frozen=True)
class ClassLaws:
    """Posterior draws of the laws of all classes."""

    images: Array  # (C,): training images at the largest size
    weights: Array  # (C,): share of each class in the total error
    level: Array  # (draws, C): logit of the error at the largest size
    slope: Array  # (draws, C): fall of the logit per doubling there

    def error(self, more: Array | float) -> Array:
        """Return the error of each class with ``more`` images of it, shape (draws, C).

        Beyond the largest size the law goes on with its slope there.
        """
        doublings = np.log2(1 + np.asarray(more) / self.images)
        error: Array = expit(self.level - self.slope * doublings)
        return error

    def drop(self, more: Array | float) -> Array:
        """Return by how much the error of each class falls, shape (draws, C)."""
        return self.error(0.0) - self.error(more)

    def probability_above_mean(self, more: float) -> Array:
        """Probability of each class that its images gain more than those of the mean class, (C,).

        Parameters
        ----------
        more : float
            Images of one class; gains are those of the total error.
        """
        gain = self.weights * self.drop(more)
        probability: Array = (gain > gain.mean(axis=1, keepdims=True)).mean(axis=0)
        return probability

    def allocate(self, budget: int) -> Array:
        """Return images per class, (C,), that minimise the expected total error.

        Images are given in steps to the class with the largest expected gain per image; a class is
        judged by the best of all further numbers of images, since its first ones may gain little.

        Parameters
        ----------
        budget : int
            Images in all, 1 or more.
        """
        edges = np.unique(np.linspace(0, budget, NUM_STEPS + 1).round())
        few = ClassLaws(self.images, self.weights, self.level[::THINNING], self.slope[::THINNING])
        gains = np.stack([self.weights * few.drop(x).mean(axis=0) for x in edges], axis=1)
        place, left = np.zeros(len(self.images), dtype=int), len(edges) - 1
        while left:
            further = np.arange(len(edges)) - place[:, None]  # steps, (C, edges)
            extra = gains - np.take_along_axis(gains, place[:, None], axis=1)
            rate = np.where((further > 0) & (further <= left), extra / np.maximum(further, 1), -1.0)
            best, target = np.unravel_index(int(rate.argmax()), rate.shape)
            left -= int(target - place[best])
            place[best] = target
        images = np.floor(place * budget / (len(edges) - 1))
        images[place.argmax()] += budget - images.sum()
        return images


def fit_class_laws(measured: ClassErrors, num_draws: int = NUM_DRAWS) -> ClassLaws:
    """Fit the laws of all classes together; the random numbers are seeded.

    Raises
    ------
    ValueError
        If there are fewer than three sizes.
    """
    if measured.errors.shape[1] < MIN_SIZES:
        raise ValueError(f"{measured.errors.shape[1]} sizes; {MIN_SIZES} are needed")
    pooled = np.average(measured.errors, axis=0, weights=measured.num_test)
    tests = measured.num_test[:, None]
    start = (measured.errors * tests + pooled * 2 + 0.25) / (tests + 2.5)
    model = _Linear.at(measured, logit(start))
    for _ in range(NUM_ITERATIONS):
        model = _Linear.at(measured, model.design @ model.node(*TYPICAL).mean()[..., None])
    grid = (LEVEL_DEVIATIONS, SLOPE_DEVIATIONS, CURVATURE_DEVIATIONS, RUN_DEVIATIONS)
    nodes = [model.node(*deviations) for deviations in product(*grid)]
    evidence = np.array([node.log_evidence for node in nodes])
    weights = np.exp(evidence - evidence.max())
    rng = np.random.default_rng(0)
    counts = rng.multinomial(num_draws, weights / weights.sum())
    draws = np.concatenate(
        [node.draw(count, rng) for node, count in zip(nodes, counts, strict=True) if count]
    )
    shares = measured.num_test / measured.num_test.sum()
    return ClassLaws(measured.images[:, -1], shares, draws[..., 0], draws[..., 1])


@dataclass(frozen=True)
class _Linear:
    """Linearised logits of the errors, and their noise."""

    design: Array  # (C, S, 3): level, fall per doubling, curvature
    logits: Array  # (C, S)
    sampling: Array  # (C, S, S): covariance of the noise of the test images
    num_runs: Array  # (S,)
    unseen: Array  # (C, S): 1 where a class had no training image

    @classmethod
    def at(cls, measured: ClassErrors, eta: Array) -> _Linear:
        """Linearise at the logits ``eta`` of shape (C, S) or (C, S, 1)."""
        error = expit(eta.reshape(measured.errors.shape).clip(-9, 9))
        slope = error * (1 - error)
        images = np.maximum(measured.images, 0.5)
        doublings = np.log2(images / images[:, -1:])
        deviation = np.sqrt(1 / (measured.num_test[:, None] * slope))
        own = (1 - measured.correlation) / measured.num_runs
        sampling = measured.correlation * deviation[:, :, None] * deviation[:, None, :]
        sampling += (own * deviation**2)[:, :, None] * np.eye(deviation.shape[1])
        design = np.stack([np.ones_like(doublings), -doublings, doublings**2], axis=2)
        logits = logit(error) + (measured.errors - error) / slope
        unseen = (measured.images <= 0).astype(float)
        return cls(design, logits, sampling, measured.num_runs, unseen)

    def node(self, level: float, slope: float, curvature: float, run: float) -> _Node:
        """Solve the model for given deviations between classes and of runs."""
        extra = run**2 / self.num_runs + 1e4 * self.unseen
        noise = self.sampling + extra[:, :, None] * np.eye(len(self.num_runs))
        between = np.array([level, slope, curvature]) ** 2
        return _Node.solve(self.design, self.logits, noise, between)


@dataclass(frozen=True)
class _Node:
    """The exact posterior for given deviations between classes and of runs."""

    common: Array  # (3,): mean of the common parameters
    common_covariance: Array  # (3, 3)
    own: Array  # (C, 3): parameters of each class if the common ones were 0
    pull: Array  # (C, 3, 3): their change with the common ones
    covariance: Array  # (C, 3, 3): given the common ones
    log_evidence: float

    @classmethod
    def solve(cls, design: Array, logits: Array, noise: Array, between: Array) -> _Node:
        spread = design * between  # (C, S, 3)
        total = noise + spread @ design.swapaxes(1, 2)
        inverse = np.linalg.inv(total)
        weighted = design.swapaxes(1, 2) @ inverse  # (C, 3, S)
        information = weighted @ design
        prior = np.diag(COMMON_DEVIATION**-2.0)
        precision = prior + information.sum(axis=0)
        right = prior @ COMMON_MEAN + (weighted @ logits[..., None])[..., 0].sum(axis=0)
        common = np.linalg.solve(precision, right)
        squares = np.einsum("cs,cst,ct->", logits, inverse, logits)
        evidence = right @ common - squares - np.linalg.slogdet(total)[1].sum()
        gain = between[:, None] * weighted  # (C, 3, S)
        return cls(
            common=common,
            common_covariance=np.linalg.inv(precision),
            own=(gain @ logits[..., None])[..., 0],
            pull=np.eye(3) - between[:, None] * information,
            covariance=np.diag(between) - between[:, None] * information * between,
            log_evidence=float(evidence - np.linalg.slogdet(precision)[1]) / 2,
        )

    def mean(self) -> Array:
        """Posterior mean of the parameters of each class, (C, 3)."""
        mean: Array = self.own + self.pull @ self.common
        return mean

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """Draw the parameters of all classes, (count, C, 3)."""
        common = rng.multivariate_normal(self.common, self.common_covariance, count)
        root = np.linalg.cholesky(self.covariance + 1e-12 * np.eye(3))
        noise = root @ rng.standard_normal((count, *self.own.shape, 1))
        draws: Array = self.own + np.einsum("cij,dj->dci", self.pull, common) + noise[..., 0]
        return draws
