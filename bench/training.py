"""Laws of images and training on held-out cells, and their calibration: ``python -m bench grid``.

Grids: the two budgets of Tiny-ImageNet-100 and the digits of results/; and clip.csv, the zero-shot
error on ImageNet-1k (50,000 images) of CLIP models by pairs of LAION and samples seen (Cherti et
al. 2023, https://arxiv.org/abs/2212.07143; numbers of zeroshot_results.csv in
https://github.com/LAION-AI/scaling-laws-openclip). Batch size and learning rate of the latter are
not the same in all cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataworth.evaluation.results import read_results
from dataworth.findings.training import training_findings
from dataworth.scaling.fitting import fit
from dataworth.scaling.forecasting import interval
from dataworth.scaling.grid import Grid
from dataworth.scaling.points import NotIdentifiableError, Points
from dataworth.scaling.training_fit import Deviations, amounts_of, fit_grid
from dataworth.scaling.training_forecasts import CHOICES, check_grid
from dataworth.scaling.training_laws import PASSES_DEVIATION, TRAINING_PRIOR, TRAINING_SCATTER

HERE = Path(__file__).parent
STUDIES = {
    "Tiny-ImageNet-100": ("tiny-imagenet-100", "tiny-imagenet-100-steps"),
    "digits": ("digits-training",),
}
SAME_STEPS = 1.15  # ratio within which steps are taken as equal


def grids() -> Iterator[tuple[str, Grid, float]]:
    """Yield name, grid and chance level of every measured grid."""
    for name, folders in STUDIES.items():
        paths = [HERE.parent / "results" / folder / "metrics.json" for folder in folders]
        studies = {str(path): read_results(path) for path in paths}
        for metric in ("top_1_error", "top_5_error")[: 1 if name == "digits" else 2]:
            findings = training_findings(studies, metric)
            assert findings is not None
            yield f"{name}, {findings.error}", findings.analysis.grid, findings.analysis.chance
    for model, rows in pd.read_csv(HERE / "clip.csv").groupby("model"):
        for metric, chance in {"top_1_error": 0.999, "top_5_error": 0.995}.items():
            images, samples, error = (
                rows[column].to_numpy(float) for column in ("images", "samples_seen", metric)
            )
            samples = np.array([round(value, -int(np.log10(value)) + 1) for value in samples])
            tests = np.full(len(rows), 50_000.0)
            name = f"CLIP {model}, {metric.replace('_', '-', 1).replace('_', ' ')}"
            yield name, Grid(images, samples, error, tests), chance


def held_out(grid: Grid) -> dict[str, NDArray[np.bool_]]:
    """Return which runs are held out, by name: the runs left must tell a law."""
    n, steps = grid.largest
    most = grid.steps >= steps / SAME_STEPS
    second = ([0.0, *np.unique(grid.n[most])])[-2]
    masks = {
        "largest cell": (grid.n == n) & (grid.steps == steps),
        "largest n": grid.n == n,
        "most steps, two largest n": (grid.n >= second) & most,
    }
    kept, seen = {}, set()
    for name, mask in masks.items():
        try:
            check_grid(grid.select(~mask))
        except (NotIdentifiableError, ValueError, IndexError):
            continue
        if mask.tobytes() not in seen:
            seen.add(mask.tobytes())
            kept[name] = mask
    return kept


def one_variable(rest: Grid, chance: float, n: float, steps: float) -> tuple[float, str]:
    """Forecast a cell by its arm alone: cells of equal steps, or else of equal epochs.

    Of three sizes or more by the law of one variable, of two by a straight line on log axes.
    """
    ratios = {"steps": rest.steps / steps, "epochs": rest.steps / rest.n * n / steps}
    for name, ratio in ratios.items():
        arm = rest.select(np.abs(np.log(ratio)) < np.log(SAME_STEPS))
        sizes = np.unique(arm.n)
        if len(sizes) >= 3:
            posterior = fit(Points(arm.n, arm.error, arm.num_test), chance)
            return float(np.median(posterior.law_error(np.array([n])))), f"equal {name}"
        if len(sizes) == 2:
            low, high = (np.log(arm.error[arm.n == size].mean()) for size in sizes)
            slope = (high - low) / np.log(sizes[1] / sizes[0])
            return float(np.exp(high + slope * np.log(n / sizes[1]))), f"equal {name}, line"
    return np.nan, "none"


def measure_grids() -> pd.DataFrame:
    """Forecast every held-out cell by the law of two variables, and by that of its arm."""
    rows = []
    for name, grid, chance in grids():
        for which, mask in held_out(grid).items():
            test, rest = grid.select(mask), grid.select(~mask)
            posterior = fit_grid(rest, chance)
            points = np.median(posterior.expected_error(test.cells), axis=0)
            seeds = float(test.num_runs.min())
            limits = interval(posterior.run_error(test.cells, test.last_num_test, seeds))
            for (n, steps), mean, point, low, high in zip(
                test.cells.tolist(), test.means, points, *limits, strict=True
            ):
                arm, kind = one_variable(rest, chance, n, steps)
                rows.append(
                    {"grid": name, "held_out": which, "n": n, "steps": steps, "measured": mean,
                     "forecast": point, "lower": low, "upper": high,
                     "inside": bool(low <= mean <= high), "log_error": abs(np.log(point / mean)),
                     "one_variable": arm, "arm": kind,
                     "one_variable_log_error": abs(np.log(arm / mean))}
                )  # fmt: skip
    return pd.DataFrame(rows)


def simulate(rng: np.random.Generator, full: bool) -> tuple[Grid, NDArray[np.float64]]:
    """Simulate a grid from a law and deviations of the prior, and runs of the three choices.

    ``full``: five sizes at four numbers of epochs; otherwise seven sizes at equal epochs and three
    at equal steps, as in results/tiny-imagenet-100.
    """
    sizes, batch = 45_000 / 2.0 ** np.arange(7), 128.0
    pairs = [(n, 15 * n / batch) for n in sizes] + [(n, 5280.0) for n in sizes[2::2]]
    if full:
        pairs = [(n, epochs * n / batch) for n in sizes[:5] for epochs in (5, 10, 20, 40)]
    weights = np.array([component.weight for component in TRAINING_PRIOR])
    component = TRAINING_PRIOR[rng.choice(len(weights), p=weights / weights.sum())]
    cells = np.array(pairs)
    bare = Grid(*cells.T, np.full(len(cells), 0.5), None, batch)
    future = np.array(bare.largest) * list(CHOICES.values())
    cells = np.concatenate([bare.cells, future])
    z = rng.standard_normal((1, component.dimensions))
    z[:, 0] /= 4  # an error of about 35 % at the largest cell
    error = component.error(amounts_of(bare, cells), 0.95, component.parameters(z, 0.35, 0.95))[0]
    drift, passes, scatter = (
        rng.choice(list(prior), p=np.array(list(prior.values())) / sum(prior.values()))
        for prior in (component.base.drift_prior, PASSES_DEVIATION, TRAINING_SCATTER)
    )
    covariance = Deviations(bare, cells).covariance(drift, passes) + 1e-12 * np.eye(len(cells))
    log_error = np.log(error) + np.linalg.cholesky(covariance) @ rng.standard_normal(len(cells))
    rates = np.exp(log_error + scatter * rng.standard_normal(len(cells))).clip(0, 0.95)
    measured = rng.binomial(5000, rates) / 5000
    num = len(bare.cells)
    tests = np.full(num, 5000.0)
    return Grid(*bare.cells.T, measured[:num], tests, batch), measured[num:]


def measure_coverage(grids_of_each: int, seed: int = 0) -> NDArray[np.float64]:
    """Return the share of 90 % intervals that hold, for each of the three choices."""
    rng, held = np.random.default_rng(seed), []
    for full in (False, True):
        for _ in range(grids_of_each):
            grid, runs = simulate(rng, full)
            cells = np.array(grid.largest) * list(CHOICES.values())
            low, high = interval(fit_grid(grid, 0.95).run_error(cells, 5000))
            held.append((low <= runs) & (runs <= high))
    return np.asarray(np.mean(held, axis=0))
