"""Worth of an option in training images: joint posterior of two learning curves. Pure.

An option is a change of the recipe that has a learning curve of its own: another model, a longer
training, cleaner labels. Its worth at n images is the factor m for which the baseline, trained on
m n images, is expected to have the option's expected error at n.

Both curves are measured on the same test images, and an image that is hard for one model tends to
be hard for the other. The deviation of a measured error from the error on all images of the kind,
with binomial variance v, therefore has three independent parts: one common to both curves, with the
share ``between`` of v; one common to all sizes of a curve; and one of each run. ``between`` is the
correlation of right and wrong answers of the two curves, and the second share is what the
correlation within a curve exceeds it by. Each law is fitted with the third part alone, or with the
variance between the seeds if that is larger. A draw of the joint posterior is a draw of each law,
one of each curve's own part, and one of the common part for both together. The common part moves
both curves alike, so that it cancels where their errors are equal: the factor is known better than
from two independent test sets. Training seeds, and the drift of the slopes beyond the largest
sizes, are taken as independent between the curves. Without the answers to each image the
correlations are not known from errors alone; they are not negative, and with 0 the intervals are
too wide rather than too narrow.

The two curves are of the same images and classes, so that they bend at much the same sizes: a
factor that was steady hardly turns beyond the largest size. Draws of the two laws are therefore
paired with weights, a Student density of the change of slope of log m from the sizes before to the
sizes ahead. Its scale is about twice what was measured on one data set, see LOG.md.

An option whose points determine no law, such as one of a single size, has a worth at its measured
sizes only: from its measured error with its test noise, seed noise and scatter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .analysis import Analysis
from .fitting import NUM_DRAWS, fit
from .forecasting import RELIABLE_FACTOR, interval
from .laws import Array
from .points import Points
from .posterior import curve_draws

THINNING = 4  # every so many draws are used: 2,000 give quantiles to a hundredth of their spread
NUM_PAIRED = NUM_DRAWS // THINNING
MIN_OWN_NOISE = 0.25  # of the binomial variance: small counts of errors stay as uncertain as that
STEPS_PER_DOUBLING = 8  # of the grid of sizes; errors are interpolated between them
FORECAST_FACTORS = (2.0, 4.0)  # times the largest size of the option
BEND_SCALE = 0.1  # of log m per doubling: change of its slope beyond the largest size,
BEND_FREEDOM = 3  # and the degrees of freedom of its Student density
UNTOLD_BEND = 10.0  # of these scales, of curves so far apart that they have no factor
NUM_PAIRINGS = 8  # of the draws of both laws, from which pairs are drawn by weight


@dataclass(frozen=True)
class SharedTest:
    """Correlation of right and wrong answers to the test images; 0 where it is not known."""

    baseline: float = 0.0  # of the baseline at two of its sizes
    option: float = 0.0
    between: float = 0.0  # of the baseline and the option

    def own(self, within: float) -> float:
        """Correlation within a curve: the stored one, and at least that between the curves."""
        return min(max(within, self.between, 0.0), 0.95)


@dataclass(frozen=True)
class Estimate:
    """Median and 90 % interval."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, draws: Array) -> Estimate:
        """Summarise draws of shape (draws,)."""
        lower, upper = interval(draws)
        return cls(float(np.median(draws)), float(lower), float(upper))


@dataclass(frozen=True)
class Worth:
    """Worth of an option at one number of training images."""

    n: float
    measured: bool  # whether the option was measured at n; otherwise it is forecast
    factor: Estimate  # clipped to the range that the baseline tells: an end of it is a bound
    least: float  # smallest factor that the baseline tells: a quarter of its smallest size
    most: float  # largest one: RELIABLE_FACTOR times its largest size, or times n if that is more
    difference: Estimate  # expected error of the option minus that of the baseline, a share
    reliable: bool  # no law is used beyond RELIABLE_FACTOR times its largest size


@dataclass(frozen=True)
class Crossing:
    """Number of images from which on one of two curves stays below the other."""

    ends: bool  # the option is better before it, and no longer beyond; otherwise the reverse
    images: Estimate  # infinite where the curves do not cross within the range
    probability: float  # that they cross within the range
    first: float  # the range, in training images
    last: float
    best: float  # largest probability, over the sizes measured on both, that the option is better
    worst: float  # smallest one


@dataclass(frozen=True)
class Comparison:
    """An option against the baseline."""

    rows: tuple[Worth, ...]  # the sizes of the option, ascending, then the forecasts
    crossing: Crossing | None  # None without a law of the option, or where sizes are far apart
    reason: str  # why there are no rows, or no forecasts; empty if there are


def compare(baseline: Analysis, option: Analysis, shared: SharedTest | None = None) -> Comparison:
    """Compare an option with the baseline on the same test images.

    Parameters
    ----------
    baseline, option : Analysis
    shared : SharedTest, optional
        Without it the test noise of the two curves is taken as independent.

    Returns
    -------
    Comparison
        Without rows if the points of the baseline determine no law.
    """
    if baseline.posterior is None:
        return Comparison((), None, baseline.reason)
    shared, rng = shared or SharedTest(), np.random.default_rng(0)
    sizes, largest = option.points.spread_sizes, option.points.sizes[-1]
    ahead = [factor * largest for factor in FORECAST_FACTORS] if option.posterior else []
    before = min(max(largest / RELIABLE_FACTOR, sizes[0]), largest / 2)
    n = _sizes_to_compare(baseline, sizes, [before, *ahead])
    within = shared.own(shared.baseline), shared.own(shared.option)
    weak = _law_draws(baseline, n, within[0], rng)
    if option.posterior is None:
        strong = np.full(weak.shape, np.nan)
        measured = _measured_draws(option, baseline, sizes, within[1], rng)
        strong[:, np.searchsorted(n, sizes)] = measured
    else:
        strong = _law_draws(option, n, within[1], rng)
        weak, strong = _pair(n, weak, strong, np.array([before, largest, ahead[-1]]), rng)
    common = rng.standard_normal(NUM_PAIRED)
    weak = _with_common_noise(weak, baseline, within[0], shared.between, common, rng)
    strong = _with_common_noise(strong, option, within[1], shared.between, common, rng)
    rows = [
        _worth(baseline, n, weak, strong, i, option.points.sizes)
        for i in np.searchsorted(n, [*sizes, *ahead]).tolist()
    ]
    crossing = _crossing(baseline, option, n, weak, strong) if option.posterior else None
    return Comparison(tuple(rows), crossing, option.reason)


def _sizes_to_compare(baseline: Analysis, sizes: Array, others: list[float]) -> Array:
    """Return a grid over all sizes that are looked up, and these sizes, ascending."""
    own = baseline.points.sizes
    first = min(own[0], *sizes, *others) / RELIABLE_FACTOR**2
    last = max(own[-1], *sizes, *others) * RELIABLE_FACTOR**2
    num_steps = int(np.ceil(np.log2(last / first) * STEPS_PER_DOUBLING))
    return np.unique([*np.geomspace(first, last, num_steps + 1), *sizes, *others])


def _pair(
    n: Array, weak: Array, strong: Array, sizes: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw pairs of a baseline's and an option's curve, by how little the factor bends.

    Parameters
    ----------
    n : ndarray of shape (m,)
        Training images.
    weak, strong : ndarray of shape (draws, m)
        Errors of the baseline and of the option.
    sizes : ndarray of shape (3,)
        Of ``n``: one before the option's largest size, that one, and one beyond.
    rng : Generator

    Returns
    -------
    weak, strong : ndarray of shape (draws, m)
    """
    places, doublings = np.searchsorted(n, sizes), np.diff(np.log2(sizes))
    orders = np.array([rng.permutation(len(strong)) for _ in range(NUM_PAIRINGS)])
    weights = np.empty(orders.shape)
    for order, weight in zip(orders, weights, strict=True):
        found = np.stack([_size_with_error(n, weak, strong[order, place]) for place in places])
        told = ((found > n[0]) & (found < n[-1])).all(axis=0)
        slopes = np.diff(np.log(found.clip(n[0], n[-1]) / sizes[:, None]), axis=0)
        before, beyond = slopes / doublings[:, None] / BEND_SCALE
        bend = np.where(told, beyond - before, UNTOLD_BEND)
        weight[:] = (1 + bend**2 / BEND_FREEDOM) ** (-(BEND_FREEDOM + 1) / 2)
    shares = weights.ravel() / weights.sum()
    chosen = rng.choice(weights.size, len(weak), p=shares)
    return weak[chosen % len(weak)], strong[orders.ravel()[chosen]]


def _worth(
    baseline: Analysis, n: Array, weak: Array, strong: Array, i: int, measured: Array
) -> Worth:
    sizes = baseline.points.sizes
    least = sizes[0] / RELIABLE_FACTOR / n[i]
    most = RELIABLE_FACTOR * max(sizes[-1], n[i]) / n[i]
    factor = Estimate.of((_size_with_error(n, weak, strong[:, i]) / n[i]).clip(least, most))
    last = RELIABLE_FACTOR * (1 + 1e-9) * np.array([sizes[-1], measured[-1]])
    return Worth(
        n=float(n[i]),
        measured=bool(n[i] in measured),
        factor=factor,
        least=float(least),
        most=float(most),
        difference=Estimate.of(strong[:, i] - weak[:, i]),
        reliable=bool(max(factor.median, 1) * n[i] <= last[0] and n[i] <= last[1]),
    )


def _size_with_error(n: Array, error: Array, goal: Array) -> Array:
    """Return the size at which each row of ``error`` (draws, sizes) falls to its goal (draws,).

    Errors are interpolated on log-log axes. The result is 0 where the first error is below the
    goal, and infinite where the last one is above it.
    """
    reached = error <= goal[:, None]
    after = reached.argmax(axis=1)
    rows, before = np.arange(len(error)), np.maximum(after - 1, 0)
    high, low = np.log(error[rows, before]), np.log(error[rows, after])
    share = (high - np.log(goal)) / np.where(high > low, high - low, 1)
    sizes = n[before] * (n[after] / n[before]) ** share
    return np.where(reached.any(axis=1), np.where(after == 0, 0, sizes), np.inf)


def _crossing(
    baseline: Analysis, option: Analysis, n: Array, weak: Array, strong: Array
) -> Crossing | None:
    """Find where the curves cross; None if their sizes are too far apart to compare them."""
    first = max(baseline.points.sizes[0], option.points.sizes[0])
    last = RELIABLE_FACTOR**2 * min(baseline.points.sizes[-1], option.points.sizes[-1])
    inside = (n >= first * (1 - 1e-9)) & (n <= last * (1 + 1e-9))
    if inside.sum() < 2:
        return None
    n, lead = n[inside], np.log(weak[:, inside] / strong[:, inside])  # above 0: option is better
    better = (lead > 0).mean(axis=0)
    ends = bool(better[0] >= better[-1])
    measured = better[n <= max(n[0], last / RELIABLE_FACTOR**2)]
    before = lead > 0 if ends else lead <= 0
    steps_after = before[:, ::-1].argmax(axis=1)  # that hold to the end of the range
    index = len(n) - 1 - steps_after
    rows, following = np.arange(len(lead)), np.minimum(index + 1, len(n) - 1)
    here, there = lead[rows, index], lead[rows, following]
    share = here / np.where(here == there, 1, here - there)
    sizes = n[index] * (n[following] / n[index]) ** share
    sizes = np.where(index == len(n) - 1, np.inf, sizes)
    sizes = np.where(before.any(axis=1), sizes, n[0])
    quantiles = np.quantile(sizes, [0.5, 0.05, 0.95], method="inverted_cdf").tolist()
    return Crossing(
        ends=ends,
        images=Estimate(*quantiles),
        probability=float(np.isfinite(sizes).mean()),
        first=float(n[0]),
        last=float(n[-1]),
        best=float(measured.max(initial=0)),
        worst=float(measured.min(initial=1)),
    )


def _law_draws(analysis: Analysis, n: Array, own: float, rng: np.random.Generator) -> Array:
    """Draw the expected error at each size, shape (draws, len(n)), without shared test noise.

    Below the smallest measured size, where a draw may drift either way, fewer images err no less.
    """
    points, posterior = _with_own_noise(analysis.points, own, of_law=True), analysis.posterior
    assert posterior is not None
    if points is not analysis.points:
        posterior = fit(points, analysis.chance, start=analysis.start)
    draws = curve_draws(posterior.thinned(THINNING), points, n, rng)
    shuffled: Array = draws[rng.permutation(NUM_PAIRED)]
    last = int(np.searchsorted(n, points.sizes[0]))
    below = shuffled[:, last::-1]
    shuffled[:, last::-1] = np.maximum.accumulate(below, axis=1)
    return shuffled


def _with_own_noise(points: Points, correlation: float, of_law: bool) -> Points:
    """Leave the test noise that no other size shares, as that of so many more test images.

    Answers that differ from run to run make part of the variance between seeds. Of a law, which is
    fitted without that variance, the larger of the two is left, averaged over the seeds. Otherwise
    that part is taken off, as the variance between seeds is added. At least a share of
    ``MIN_OWN_NOISE`` stays.
    """
    if points.num_test is None or correlation == 0:
        return points
    seeds = points.seed_variance / points.sampling_variance
    share = np.maximum(1 - correlation, seeds) if of_law else 1 - correlation - seeds
    share = np.maximum(share, MIN_OWN_NOISE) / points.num_runs
    of_runs = share[np.searchsorted(points.sizes, points.n)]
    return Points(points.n, points.error, points.num_test / of_runs)


def _with_common_noise(
    errors: Array,
    analysis: Analysis,
    own: float,
    between: float,
    common: Array,
    rng: np.random.Generator,
) -> Array:
    """Shift whole curves by the test noise that their points share.

    ``common`` (draws,) is the standard normal part of it that both curves have.
    """
    num_test = analysis.points.last_num_test
    if num_test is None or own == 0:
        return errors
    between = min(max(between, 0.0), own)
    shift = np.sqrt(between) * common + np.sqrt(own - between) * rng.standard_normal(NUM_PAIRED)
    deviation = np.sqrt((1 - errors) / (np.maximum(errors, 1 / num_test) * num_test))
    shifted: Array = np.minimum(errors * np.exp(shift[:, None] * deviation), analysis.chance)
    return shifted


def _measured_draws(
    option: Analysis,
    baseline: Analysis,
    sizes: Array,
    own: float,
    rng: np.random.Generator,
) -> Array:
    """Draw the expected errors of measured sizes, each from its own runs, (draws, sizes).

    Where no size was repeated, the seeds are taken to vary as much as those of the baseline, in
    relation to the error, and the sizes to scatter around a law as those of the baseline do.
    """
    points = _with_own_noise(option.points, own, of_law=False)
    log_n, y, variance, averaged = points.log_errors()
    if option.points.num_runs.max() == 1:
        weaker = baseline.points
        relative = np.interp(log_n, np.log(weaker.sizes), weaker.relative_seed_variance)
        variance = variance + relative / averaged
    nearest = np.abs(log_n - np.log(sizes)[:, None]).argmin(axis=1)
    y, variance, averaged = y[nearest], variance[nearest], averaged[nearest]
    assert baseline.posterior is not None  # else nothing is worth anything
    scatter = rng.choice(baseline.posterior.scatter, (NUM_PAIRED, 1))
    noise = rng.standard_normal((NUM_PAIRED, len(sizes)))
    errors: Array = np.exp(y + np.sqrt(variance + scatter**2 / averaged) * noise)
    return np.minimum(errors, option.chance)
