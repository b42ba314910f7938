"""Accuracy of forecasts on measured learning curves: ``python -m bench forecast``.

``curves.csv`` holds test errors of image classifiers trained from scratch: the small AlexNet on
Tiny-ImageNet-100 and on four groups of 20 of its classes, and seven classical learners on the
digits and on 144 grey pixels of four groups of 10 classes. None of these curves is in the public
benchmark that the priors were tuned on, but the last component of the prior was added after they
had been seen (LOG.md). The forecasts of one curve overlap, as do the test images of a learner's
splits; ``num_test`` counts distinct images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dataworth.scaling.fitting import fit
from dataworth.scaling.forecasting import interval
from dataworth.scaling.points import Points

CURVES = Path(__file__).parent / "curves.csv"
NUM_FITTED_SIZES = (4, 5, 6)  # a forecast is made from this many of the smallest sizes
MAX_DOUBLINGS = 3  # sizes beyond the fitted ones that are forecast


def measure_forecasts() -> pd.DataFrame:
    """Return one row per kind of curve: errors of the forecasts and coverage of the intervals."""
    rows = []
    for (kind, name), curve in pd.read_csv(CURVES).groupby(["kind", "curve"]):
        means = curve.groupby("n").error.mean()
        for count in NUM_FITTED_SIZES:
            fitted = curve[curve.n.isin(means.index[:count])]
            last = means.iloc[count - 1]
            if 0.01 < last < 0.9 * curve.chance.iloc[0]:
                later = means.iloc[count : count + MAX_DOUBLINGS]
                names = {"kind": kind, "curve": name}
                rows += [{**names, **scores} for scores in _score(fitted, later)]
    table, summary = pd.DataFrame(rows), []
    for kind, group in [*table.groupby("kind"), ("all", table)]:
        counts = {
            "curves": len(group[["kind", "curve"]].drop_duplicates()),
            "forecasts": len(group),
        }
        mean_scores = group.drop(columns=["kind", "curve"]).mean().round(4)
        summary.append({"kind": kind, **counts, **mean_scores})
    return pd.DataFrame(summary)


def _score(fitted: pd.DataFrame, later: pd.Series) -> list[dict[str, float]]:
    """Compare forecasts from ``fitted`` with the errors at later sizes, in natural logarithms."""
    chance, num_test = fitted.chance.iloc[0], float(fitted.num_test.iloc[0])
    at, truth = later.index.to_numpy(dtype=float), later.to_numpy()
    points = Points(*(fitted[name].to_numpy(dtype=float) for name in ("n", "error", "num_test")))
    posterior = fit(points, chance)
    seeds = len(fitted) / fitted.n.nunique()
    lower, upper = interval(posterior.run_error(at, num_test, seeds))
    slope, level = np.polyfit(np.log(points.sizes[-3:]), np.log(points.means[-3:]), 1)
    line = np.minimum(np.exp(level + slope * np.log(at)), chance)
    below, above = np.log(lower / truth), np.log(truth / upper)
    width = np.log(upper / lower)
    forecast = np.median(posterior.law_error(at), axis=0)
    columns = {
        "mean_absolute_log_error": np.abs(np.log(forecast / truth)),
        "line_error": np.abs(np.log(line / truth)),
        "coverage_90": (lower <= truth) & (truth <= upper),
        "width_90": width,
        "winkler_90": width + 20 * np.maximum(below, 0) + 20 * np.maximum(above, 0),
    }
    return pd.DataFrame(columns).to_dict("records")
