"""Collect more images or train longer: forecasts from a grid of measured cells. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fitting import MIN_SIZES, too_few_sizes
from .forecasting import INTERVAL_LEVEL, Backtest, interval
from .grid import Grid
from .laws import Array
from .points import NotIdentifiableError
from .training_fit import TrainingPosterior, fit_grid

MIN_CELLS = 5
MIN_RATIO = 1.4  # of the most to the least training of a size that tells its effect
MIN_TRAINED_TWICE = 2  # sizes with such a ratio
CHOICES = {  # name -> factors of images and of steps
    "twice the images, the same epochs": (2.0, 2.0),
    "twice the images, the same steps": (2.0, 1.0),
    "the same images, twice the steps": (1.0, 2.0),
}


@dataclass(frozen=True)
class Choice:
    """Forecast of one new run with more images, more training, or both."""

    name: str  # in CHOICES
    n: float  # training images
    steps: float
    error: float  # median of the expected error
    lower: float  # of the 90 % prediction interval
    upper: float


@dataclass(frozen=True)
class TrainingAnalysis:
    """What the cells of a grid say about images and training."""

    grid: Grid
    chance: float  # chance level: error of guessing
    posterior: TrainingPosterior | None
    reason: str  # why there is no posterior; empty if there is one
    choices: tuple[Choice, ...] = ()
    images_better: float = 0.5  # probability: twice the images, same steps, beat twice the steps
    backtest: Backtest | None = None  # of the largest cell, from the others; None: too few

    @property
    def largest_passes(self) -> float:
        """Passes over the images in the largest cell."""
        n, steps = self.grid.largest
        return steps * self.grid.images_per_step / n


def analyse_grid(grid: Grid, chance: float) -> TrainingAnalysis:
    """Fit the laws of images and training, and forecast twice the images or the steps.

    Cells that do not tell the effects of images and of training apart give an analysis with a
    reason and without a posterior.

    Parameters
    ----------
    grid : Grid
    chance : float
        Chance level: error of guessing, a share.
    """
    try:
        check_grid(grid)
    except NotIdentifiableError as error:
        return TrainingAnalysis(grid, chance, None, str(error))
    posterior = fit_grid(grid, chance)
    cells = np.array(grid.largest) * list(CHOICES.values())
    expected = posterior.expected_error(cells)
    lower, upper = _limits(posterior, cells, 1)
    rows = zip(CHOICES, cells, np.median(expected, axis=0), lower, upper, strict=True)
    choices = tuple(
        Choice(name, float(cell[0]), float(cell[1]), float(error), float(low), float(high))
        for name, cell, error, low, high in rows
    )
    images_better = float((expected[:, 1] < expected[:, 2]).mean())
    test = _backtest(grid, chance)
    return TrainingAnalysis(grid, chance, posterior, "", choices, images_better, test)


def check_grid(grid: Grid) -> None:
    """Check that the cells tell the effects of images and of training apart.

    Raises
    ------
    NotIdentifiableError
        If there are too few sizes or cells, if fewer than two sizes were trained for amounts that
        differ, or if the error does not fall from the smallest cell to the largest.
    """
    sizes = np.unique(grid.cells[:, 0])
    if len(sizes) < MIN_SIZES:
        raise NotIdentifiableError(too_few_sizes(len(sizes)))
    per_size = [grid.cells[grid.cells[:, 0] == n, 1] for n in sizes]
    ratios = np.array([steps.max() / steps.min() for steps in per_size])
    if (ratios >= MIN_RATIO).sum() < MIN_TRAINED_TWICE:
        raise NotIdentifiableError(
            f"fewer than {MIN_TRAINED_TWICE} sizes were trained for different numbers of steps"
        )
    if len(grid.cells) < MIN_CELLS:
        raise NotIdentifiableError(
            f"{len(grid.cells)} cells were measured and {MIN_CELLS} are needed"
        )
    if grid.means[-1] >= grid.means[0]:
        raise NotIdentifiableError("the error does not fall from the smallest cell to the largest")


def _limits(posterior: TrainingPosterior, cells: Array, seeds: float) -> tuple[Array, Array]:
    """Limits of the prediction interval of new runs; below half a test image it is 0."""
    num_test = posterior.grid.last_num_test
    lower, upper = interval(posterior.run_error(cells, num_test, seeds), INTERVAL_LEVEL)
    return np.where(lower * (num_test or np.inf) < 0.5, 0.0, lower), upper


def _backtest(grid: Grid, chance: float) -> Backtest | None:
    """Forecast the largest cell from the others; None if these do not determine a law."""
    n, steps = grid.largest
    rest = grid.select((grid.n != n) | (grid.steps != steps))
    try:
        check_grid(rest)
    except NotIdentifiableError:
        return None
    posterior, cell = fit_grid(rest, chance), np.array([[n, steps]])
    (lower,), (upper,) = _limits(posterior, cell, float(grid.num_runs[-1]))
    point = float(np.median(posterior.expected_error(cell)))
    return Backtest(1, n, float(grid.means[-1]), point, float(lower), float(upper))


def to_dict(analysis: TrainingAnalysis) -> dict[str, object]:
    """Return an analysis as plain values for a JSON file."""
    grid, posterior = analysis.grid, analysis.posterior
    rows = zip(grid.cells.tolist(), grid.means.tolist(), grid.num_runs.tolist(), strict=True)
    common: dict[str, object] = {
        "identifiable": posterior is not None,
        "reason": analysis.reason or None,
        "interval_level": INTERVAL_LEVEL,
        "chance_error": analysis.chance,
        "images_per_step": grid.images_per_step,
        "cells": [
            {"n": n, "steps": steps, "error": error, "num_runs": int(runs)}
            for (n, steps), error, runs in rows
        ],
    }
    if posterior is None:
        return common
    test = analysis.backtest
    return common | {
        "laws": posterior.law_probabilities,
        "choices": [vars(choice) for choice in analysis.choices],
        "probability_that_images_are_better": analysis.images_better,
        "backtest": None if test is None else vars(test) | {"held": test.covered},
    }
