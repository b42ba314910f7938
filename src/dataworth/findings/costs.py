"""Cost of each option against the images that it replaces; the cheapest way to an error. No torch.

Prices are in any currency. A training set is paid for image by image, with or without a label, and
a training by the hour. The hours of a size that was not trained are those of the trained sizes
along a straight line, which cannot fall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from ..scaling.analysis import Analysis
from ..scaling.forecasting import MAX_FACTOR, interval, required_size_draws
from ..scaling.laws import Array
from ..scaling.worth import NUM_PAIRED, THINNING, Estimate, Worth
from .sentences import percent, rounded
from .worth import Cost, OptionsWorth


@dataclass(frozen=True)
class Hours:
    """Hours of training one run, as a straight line over the number of training images."""

    start: float = 0.0
    per_image: float = 0.0

    @classmethod
    def measured(cls, epochs: pd.DataFrame) -> Hours:
        """Fit the line to the runs in epochs.csv, with weights for equal relative errors."""
        seconds = epochs.groupby(["num_train_images", "seed"])["seconds"].sum()
        hours = seconds.groupby("num_train_images").mean() / 3600
        n, values = hours.index.to_numpy(float), np.maximum(hours.to_numpy(float), 1e-9)
        columns = np.stack([np.ones(len(n)), n], axis=1)[:, (0 if len(n) > 1 else 1) :]
        scale = np.abs(columns).max(axis=0)
        line = nnls(columns / scale / values[:, None], np.ones(len(n)))[0] / scale
        return cls(*line.tolist()) if len(n) > 1 else cls(0.0, float(line[0]))

    def __call__(self, n: Array) -> Array:
        """Hours at each number of images, infinitely many included."""
        return self.start + self.per_image * n


@dataclass(frozen=True)
class Prices:
    """Prices in any currency, and the hours that trainings take."""

    image: float = 0.0
    label: float = 0.0
    hour: float = 0.0
    hours: Mapping[str, Hours] = field(default_factory=dict)  # by name of the option or baseline

    def images(self, count: Array) -> Array:
        """Cost of so many labelled images."""
        return (self.image + self.label) * count

    def training(self, name: str, n: Array) -> Array:
        """Cost of one training on n images; 0 where the hours are not known."""
        return self.hour * self.hours.get(name, Hours())(n)

    def __str__(self) -> str:
        """Format the prices that are not 0."""
        parts = {"an image": self.image, "a label": self.label, "an hour": self.hour}
        return ", ".join(f"{price:g} {unit}" for unit, price in parts.items() if price)


def priced(
    worth: OptionsWorth,
    prices: Prices,
    analyses: Mapping[str, Analysis],
    target: float | None = None,
) -> OptionsWorth:
    """Add the costs of every option, and the cheapest way to a target error.

    Parameters
    ----------
    worth : OptionsWorth
    prices : Prices
    analyses : mapping of str to Analysis
        Of the baseline and of every option.
    target : float, optional
        An error, a share.
    """
    costs = {
        name: [_cost(row, name, worth.baseline, prices) for row in comparison.rows]
        for name, comparison in worth.comparisons.items()
    }
    lines = [f"Costs, with {prices}:"]
    for name, comparison in worth.comparisons.items():
        pairs = zip(comparison.rows, costs[name], strict=True)
        measured = [(row, cost) for row, cost in pairs if row.measured]
        lines += [_sentence(name, *pair, prices) for pair in measured[-1:]]
    if target is not None:
        lines.append(cheapest(analyses, prices, target))
    return replace(worth, costs=costs, notes=[*worth.notes, *lines])


def _cost(row: Worth, name: str, baseline: str, prices: Prices) -> Cost:
    """Return what an option costs at one size, and what the images cost that it replaces."""
    n, factors = row.n, np.array([row.factor.median, row.factor.lower, row.factor.upper])
    images = (factors - 1) * n
    trainings = prices.training(baseline, factors * n) - prices.training(baseline, np.array(n))
    replaced = prices.images(images) + trainings
    extra = prices.training(name, np.array(n)) - prices.training(baseline, np.array(n))
    return Cost(float(extra), Estimate(*images.tolist()), Estimate(*replaced.tolist()))


def _sentence(name: str, row: Worth, cost: Cost, prices: Prices) -> str:
    images, money, training = cost.images, cost.replaced, ""
    if prices.hour:
        word = "more" if cost.training >= 0 else "less"
        training = f"its training costs {_money(abs(cost.training))} {word}; "
    if row.factor.median in (row.least, row.most):
        bound = row.factor.median == row.most
        count, price = (images.lower, money.lower) if bound else (images.upper, money.upper)
        verb = "replaces" if count >= 0 else "is short of"
        than = f"{'more' if bound == (count >= 0) else 'fewer'} than {rounded(abs(count))} images"
        text = f"it {verb} {than}, which cost {_money(abs(price))}"
        return f"{name} at {row.n:,.0f} images: {training}{text}."
    replaced = "that it replaces cost"
    if images.median < 0:  # the option is worth less than its images
        images, money = (Estimate(-e.median, -e.upper, -e.lower) for e in (images, money))
        replaced = "that it is short of cost"
    return (
        f"{name} at {row.n:,.0f} images: {training}the {rounded(images.median)} images "
        f"({rounded(images.lower)} to {rounded(images.upper)}) {replaced} {_money(money.median)} "
        f"({_money(money.lower)} to {_money(money.upper)})."
    )


def cheapest(analyses: Mapping[str, Analysis], prices: Prices, target: float) -> str:
    """Describe the cheapest way to an error: images to buy, cost, and its chance.

    The images of the largest measured size are at hand. A draw of every law gives the images that
    each way takes, and so its cost; the chance of a way is the share of draws where it reaches the
    error and is the cheapest, in equal parts of ways that cost the same. A way that measured the
    error at its largest size takes no more images than that, with a law or without.

    Parameters
    ----------
    analyses : mapping of str to Analysis
        By name of the way.
    prices : Prices
    target : float
        The error, a share.
    """
    sizes = {}  # training images in each draw, infinite where the error is not reached
    rng = np.random.default_rng(0)
    for name, analysis in analyses.items():
        largest, n = float(analysis.points.sizes[-1]), np.full(NUM_PAIRED, np.inf)
        if (posterior := analysis.posterior) is not None:
            draws = required_size_draws(posterior.thinned(THINNING), target)
            capped = draws >= MAX_FACTOR * posterior.largest_size * (1 - 1e-9)
            n = rng.permutation(np.where(capped, np.inf, draws))
        if analysis.points.means[-1] <= target:
            n = np.minimum(n, largest)
        if posterior is not None or np.isfinite(n).all():
            sizes[name] = n
    if not sizes:
        return f"The cheapest way to {percent(target)}: no answer without a law."
    at_hand = max(float(analysis.points.sizes[-1]) for analysis in analyses.values())
    text = _cheapest_sentence(sizes, prices, target, at_hand)
    if left_out := ", ".join(name for name in analyses if name not in sizes):
        text += f" Left out, as their points determine no law nor reach the error: {left_out}."
    return text


def _cheapest_sentence(
    sizes: Mapping[str, Array], prices: Prices, target: float, at_hand: float
) -> str:
    names, n = list(sizes), np.stack(list(sizes.values()))  # (ways, draws)
    reached = np.isfinite(n)
    n = np.where(reached, n, at_hand)
    bought = np.maximum(n - at_hand, 0)
    training = [prices.training(name, row) for name, row in zip(names, n, strict=True)]
    cost = np.where(reached, prices.images(bought) + np.stack(training), np.inf)
    least = (cost == cost.min(axis=0)) & reached
    ties = np.maximum(least.sum(axis=0), 1)
    chances, reaches = (least / ties).mean(axis=1), reached.mean(axis=1)
    fewest = -np.median(n, axis=1)  # settles what cost and chance do not
    best = max(range(len(names)), key=lambda i: (chances[i], reaches[i], fewest[i]))
    if chances[best] == 0:
        return f"No way to {percent(target)} within {MAX_FACTOR:,.0f} times the images measured."
    paid = cost[best, reached[best]]
    low, high = interval(paid)
    others = [
        f"{name} {100 * chance:.0f} %"
        for name, chance in zip(names, chances, strict=True)
        if name != names[best]
    ]
    others += ["equal costs in equal parts"] * bool((ties > 1).any())
    rest = f" ({', '.join(others)})" if others else ""
    return (
        f"The cheapest way to {percent(target)}: {names[best]} with "
        f"{rounded(float(np.median(bought[best, reached[best]])))} images beyond the "
        f"{at_hand:,.0f} at hand, for {_money(float(np.median(paid)))} (90 % interval "
        f"{_money(low)} to {_money(high)}); it reaches the error with probability "
        f"{100 * reaches[best]:.0f} % and is the cheapest with {100 * chances[best]:.0f} %{rest}."
    )


def _money(value: float | Array) -> str:
    """Format a cost with three significant digits, two decimals at most."""
    amount = float(f"{float(value):.3g}")
    return f"{amount:,.2f}" if abs(amount) < 100 else f"{amount:,.0f}"
