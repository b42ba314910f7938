"""Forecasts of curves measured here, next to a straight line: ``python -m bench forecast``.

``curves.csv`` holds test errors on pictures of classifiers trained from scratch: the small AlexNet
on Tiny-ImageNet-100 and four groups of 20 of its classes, seven classical learners on the digits
and on 144 grey pixels of four groups of 10 classes. None is in the public benchmark that the priors
were tuned on, but the last of the priors was added with them in view (LOG.md). The forecasts of one
curve overlap, as do the test images of a learner's splits; ``num_test`` counts distinct images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dataworth.scaling.fitting import fit
from dataworth.scaling.forecasting import interval
from dataworth.scaling.points import Points

CURVES = Path(__file__).parent / "curves.csv"
SIZES = (4, 5, 6)  # smallest sizes that a forecast is made from
AHEAD = 3  # doublings, at most


def measure_forecasts() -> pd.DataFrame:
    """Return one row per kind of curve: errors of the forecasts and coverage of the intervals."""
    rows = []
    for (kind, name), curve in pd.read_csv(CURVES).groupby(["kind", "curve"]):
        measured = curve.groupby("n").error.mean()
        for count in SIZES:
            known = curve[curve.n.isin(measured.index[:count])]
            last = measured.iloc[count - 1]
            if 0.01 < last < 0.9 * curve.chance.iloc[0]:
                later = measured.iloc[count : count + AHEAD]
                named = {"kind": kind, "curve": name}
                rows += [{**named, **row} for row in _score(known, later)]
    table, scores = pd.DataFrame(rows), []
    for kind, group in [*table.groupby("kind"), ("all", table)]:
        counts = {
            "curves": len(group[["kind", "curve"]].drop_duplicates()),
            "forecasts": len(group),
        }
        means = group.drop(columns=["kind", "curve"]).mean().round(4)
        scores.append({"kind": kind, **counts, **means})
    return pd.DataFrame(scores)


def _score(known: pd.DataFrame, later: pd.Series) -> list[dict[str, float]]:
    """Compare forecasts with the errors measured later, in natural logarithms."""
    chance, num_test = known.chance.iloc[0], float(known.num_test.iloc[0])
    at, truth = later.index.to_numpy(dtype=float), later.to_numpy()
    points = Points(*(known[name].to_numpy(dtype=float) for name in ("n", "error", "num_test")))
    posterior = fit(points, chance)
    seeds = len(known) / known.n.nunique()
    lower, upper = interval(posterior.run(at, num_test, seeds))
    slope, level = np.polyfit(np.log(points.sizes[-3:]), np.log(points.means[-3:]), 1)
    line = np.minimum(np.exp(level + slope * np.log(at)), chance)
    below, above = np.log(lower / truth), np.log(truth / upper)
    width = np.log(upper / lower)
    columns = {
        "mean_absolute_log_error": np.abs(np.log(np.median(posterior.error(at), axis=0) / truth)),
        "line_error": np.abs(np.log(line / truth)),
        "coverage_90": (lower <= truth) & (truth <= upper),
        "width_90": width,
        "winkler_90": width + 20 * np.maximum(below, 0) + 20 * np.maximum(above, 0),
    }
    return pd.DataFrame(columns).to_dict("records")
