"""Accuracy of forecasts on measured learning curves: ``python -m bench forecast``.

``curves.csv`` holds test errors of image classifiers trained from scratch: the small AlexNet on
Tiny-ImageNet-100, on groups of its classes and on mini-ImageNet, seven classical learners on the
digits and on 144 grey pixels of four groups of 10 classes (round 1), the small AlexNet and
ShuffleNet on CIFAR-10, CIFAR-100 and groups of 20 of its classes (round 2), and these and MobileNet
on further groups of classes of CIFAR-100 and mini-ImageNet (round 3; the last curves at equal steps
came after it, round 4). The curves of rounds 2 to 4 were put aside before they were trained. None
of these curves is in the public benchmark that the priors were tuned on. They are split by the name
of their data set (:func:`is_tuning`): priors may be chosen with the curves for tuning in view, and
only the others are forecast here. The prior for networks from scratch was chosen again after
round 2, with the curves for tuning of rounds 1 to 3 in view (LOG.md): the others of round 3 are its
test, though their groups of classes share classes with those for tuning. Those of Tiny-ImageNet and
of pixels were in view when the law with any floor was added to the prior. The forecasts of one
curve overlap, as do the test images of the splits of a learner; ``num_test`` counts distinct
images.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from dataworth.scaling.fitting import fit
from dataworth.scaling.forecasting import interval
from dataworth.scaling.points import Points
from dataworth.scaling.priors import Start

CURVES = Path(__file__).parent / "curves.csv"
NUM_FITTED_SIZES = (4, 5, 6)  # a forecast is made from this many of the smallest sizes
MAX_DOUBLINGS = 3  # sizes beyond the fitted ones that are forecast


def is_tuning(data: str) -> bool:
    """Whether the curves of a data set are for tuning: two of five, by the CRC-32 of its name."""
    return zlib.crc32(data.encode()) % 5 < 2


def data_of(curve: str) -> str:
    """Return the data set of a curve: its name up to a space or hyphen."""
    return re.split("[ -]", curve)[0]


def known_start(kind: str) -> Start:
    """Return what a study of a kind of curve tells the forecaster about the start."""
    if "equal steps" in kind:
        return "unknown"
    return "tabular" if kind.startswith("classical") else "scratch"


def measure_forecasts() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return errors of the forecasts and coverage of the intervals.

    Returns
    -------
    kinds : DataFrame
        A row per kind of curve, per round, and one of all.
    distances : DataFrame
        A row per distance of the forecast.
    """
    table = pd.DataFrame(_rows())
    rounds = [(f"round {number}", rows) for number, rows in table.groupby("round")]
    kinds = [*table.groupby("kind"), *rounds, ("all", table)]
    distances = table.groupby("times_largest")
    return (
        pd.DataFrame([{"kind": kind, **_means(group)} for kind, group in kinds]),
        pd.DataFrame([{"times_largest": x, **_means(group)} for x, group in distances]),
    )


def _means(group: pd.DataFrame) -> dict[str, float]:
    counts = {
        "curves": len(group[["kind", "curve"]].drop_duplicates()),
        "forecasts": len(group),
    }
    names = ["round", "kind", "curve", "times_largest"]
    return counts | group.drop(columns=names).mean().round(4).to_dict()


def _rows() -> Iterator[dict[str, object]]:
    for (kind, name), curve in pd.read_csv(CURVES).groupby(["kind", "curve"]):
        if is_tuning(data_of(name)):
            continue
        means = curve.groupby("n").error.mean()
        for count in NUM_FITTED_SIZES:
            fitted = curve[curve.n.isin(means.index[:count])]
            last = means.iloc[count - 1]
            if 0.01 < last < 0.9 * curve.chance.iloc[0]:
                later = means.iloc[count : count + MAX_DOUBLINGS]
                names = {"round": curve["round"].iloc[0], "kind": kind, "curve": name}
                yield from ({**names, **scores} for scores in _score(fitted, later, kind))


def _score(fitted: pd.DataFrame, later: pd.Series, kind: str) -> list[dict[str, float]]:
    """Compare forecasts from ``fitted`` with the errors at later sizes, in natural logarithms."""
    chance, num_test = fitted.chance.iloc[0], float(fitted.num_test.iloc[0])
    at, truth = later.index.to_numpy(dtype=float), later.to_numpy()
    points = Points(*(fitted[name].to_numpy(dtype=float) for name in ("n", "error", "num_test")))
    seeds = len(fitted) / fitted.n.nunique()
    slope, level = np.polyfit(np.log(points.sizes[-3:]), np.log(points.means[-3:]), 1)
    line = np.minimum(np.exp(level + slope * np.log(at)), chance)
    columns = {
        "times_largest": 2.0 ** np.round(np.log2(at / points.sizes[-1])),
        "line_error": np.abs(np.log(line / truth)),
    }
    starts: dict[str, Start] = {"": "unknown", "_known_start": known_start(kind)}
    for suffix, start in starts.items():
        posterior = fit(points, chance, start=start)
        lower, upper = interval(posterior.run_error(at, num_test, seeds))
        below, above = np.log(lower / truth), np.log(truth / upper)
        width = np.log(upper / lower)
        forecast = np.median(posterior.law_error(at), axis=0)
        columns |= {
            f"mean_absolute_log_error{suffix}": np.abs(np.log(forecast / truth)),
            f"coverage_90{suffix}": (lower <= truth) & (truth <= upper),
            f"width_90{suffix}": width,
            f"winkler_90{suffix}": width + 20 * np.maximum(below, 0) + 20 * np.maximum(above, 0),
        }
    return pd.DataFrame(columns).to_dict("records")
