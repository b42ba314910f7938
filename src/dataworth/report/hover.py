"""Values that figures of the report show to readers who point at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from ..figures.scaling import DRAWN_FACTOR, RUN_OFFSET, SHIFT, drawn_means
from ..figures.style import shifts
from ..figures.worth import DODGE
from ..findings.curves import Curve
from ..findings.sentences import UNRELIABLE, percent, rounded
from ..findings.worth import OptionsWorth, factor, kind
from ..scaling.forecasting import RELIABLE_FACTOR, interval
from ..scaling.laws import Array
from ..scaling.posterior import Posterior
from .drawings import Value

STEPS_PER_DOUBLING = 4  # of the law, between and beyond the measured sizes
CLEARANCE = 2.0**0.2  # factor between a measured size and the next step of the law


def error_values(curve: Curve, sizes: pd.DataFrame) -> list[Value]:
    """Return the values of ``figures.scaling.plot_error``: means, single runs, the law."""
    runs, metric = curve.runs, curve.metric
    smallest = 0.5 / runs["num_images"].max()
    values = [
        Value(
            float(n), max(error, smallest), f"{n:,} images, seed {seed}\n{percent(error)}",
            -RUN_OFFSET,
        )
        for n, seed, error in runs[["num_train_images", "seed", metric]].itertuples(index=False)
    ]  # fmt: skip
    return [*values, *_curve_values(curve, sizes, DRAWN_FACTOR)]


def variants_values(
    curves: Mapping[str, Curve], sizes: Mapping[str, pd.DataFrame]
) -> Iterator[Value]:
    """Yield the values of ``figures.scaling.plot_curves``: means and laws of several curves."""
    for shift, (name, curve) in zip(shifts(len(curves), SHIFT), curves.items(), strict=True):
        yield from _curve_values(curve, sizes[name], RELIABLE_FACTOR, f"{name}\n", shift)


def _curve_values(
    curve: Curve, sizes: pd.DataFrame, drawn_factor: float, title: str = "", shift: float = 1.0
) -> Iterator[Value]:
    """Yield means, at sizes times ``shift``, and a law up to so many times the largest size."""
    posterior, (measured, _, means, _) = curve.analysis.posterior, drawn_means(curve, sizes)
    laws = [""] * len(measured) if posterior is None else _law_in_words(posterior, measured)
    seeds = curve.runs.groupby("num_train_images")["seed"].nunique()
    columns = zip(measured.tolist(), means.tolist(), laws, sizes.to_dict("records"), strict=True)
    for n, y, law, row in columns:
        low, high = row[f"{curve.metric}_interval"]
        count = seeds.get(int(n), 1)
        text = f"{n:,.0f} images, {'1 seed' if count == 1 else f'mean of {count} seeds'}"
        error = f"{percent(row[curve.metric])} (95 %: {percent(low)} to {percent(high)})"
        yield Value(n * shift, y, f"{title}{text}\n{error}\n{law}".rstrip())
    if posterior is not None:
        n = _law_sizes(measured, drawn_factor)
        errors = np.median(posterior.law_error(n), axis=0).tolist()
        for x, y, law in zip(n.tolist(), errors, _law_in_words(posterior, n), strict=True):
            yield Value(x, y, f"{title}{x:,.0f} images\n{law}")


def _law_sizes(measured: Array, drawn_factor: float) -> Array:
    """Return round numbers of images, at which a law is told, apart from the measured sizes."""
    first, last = measured.min(), drawn_factor * measured.max()
    num_steps = int(np.ceil(STEPS_PER_DOUBLING * np.log2(last / first))) + 1
    steps = {float(f"{n:.3g}") for n in np.geomspace(first, last, num_steps)}
    n = np.array(sorted(step for step in steps if step <= last))
    distances = np.abs(np.log(n[:, None] / measured))
    apart: Array = n[distances.min(axis=1) > np.log(CLEARANCE)]
    return apart


def _law_in_words(posterior: Posterior, n: Array) -> list[str]:
    """Describe the law at each of n, shape (sizes,)."""
    largest = posterior.largest_size
    lower, upper = interval(posterior.expected_error(n))
    columns = (n, np.median(posterior.law_error(n), axis=0), lower, upper)
    return [
        f"{'law' if size <= largest else 'forecast'} {percent(error)} "
        f"(90 %: {percent(low)} to {percent(high)})"
        + (f"\n{UNRELIABLE}" if size > RELIABLE_FACTOR * largest else "")
        for size, error, low, high in zip(*(column.tolist() for column in columns), strict=True)
    ]


def worth_values(worth: OptionsWorth) -> Iterator[Value]:
    """Yield the values of ``figures.worth.plot_worth``: the worth of each option at each size."""
    dodges = shifts(len(worth.comparisons), DODGE)
    for shift, (name, comparison) in zip(dodges, worth.comparisons.items(), strict=True):
        for row in comparison.rows:
            text = f"{name}\n{rounded(row.n)} images, {kind(row)}\nworth {factor(row)}"
            yield Value(row.n * shift, row.factor.median, text)


def gain_values(last: pd.DataFrame) -> Iterator[Value]:
    """Yield the values of ``figures.evaluation.plot_gains``: the gain of each class, by name.

    Parameters
    ----------
    last : DataFrame
        Rows of per_class.csv with the largest size.
    """
    ordered = last.sort_values("drop", ascending=False)
    for place, row in enumerate(ordered.to_dict("records"), start=1):
        if np.isfinite(row["drop"]):
            gain, low, high = (f"{100 * row[key]:.0f}" for key in ("drop", "drop_low", "drop_high"))
            verdict = row["verdict"] if isinstance(row["verdict"], str) else ""
            text = f"{row['class']}\ngain {gain} points (95 %: {low} to {high})\n{verdict}"
            yield Value(place, row["drop"], text.rstrip())
