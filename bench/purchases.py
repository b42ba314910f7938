"""Replay of buying images on measured learning curves: ``python -m bench plan``.

Each case starts with the four smallest of some sizes that double, and a target error that the curve
reaches at 2, 4 or 8 times the largest of them; an oracle buys exactly that. A policy orders images,
"measures" the error there (the curve, interpolated in logarithms), and may order again until its
rounds are used up. The baselines extrapolate a fitted curve and order what it says, times a factor;
the correction of extrapolations is an idea of Mahmood et al. (CVPR 2022,
https://arxiv.org/abs/2207.01725). Ours is planned with a cost of missing, in units of the images at
hand, or with a probability of missing of 10 % in each case. For equal failures, factor and cost are
the smallest of a ladder with at most 10 % of failures on the curves of all other data sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

from dataworth.scaling.fitting import fit
from dataworth.scaling.laws import LAWS
from dataworth.scaling.points import Points
from dataworth.scaling.posterior import Posterior
from dataworth.scaling.purchases import plan_purchase
from dataworth.scaling.starts import Start

from .forecasts import known_start

Array = NDArray[np.float64]
CURVES = Path(__file__).parent / "curves.csv"
NUM_START_SIZES = 4
FACTORS = (2, 4, 8)  # from the largest size at the start to the one with the target error
MAX_TOTAL = 64.0  # times the largest size at the start: nobody can buy more
MISS_CHANCE = 0.1
CORRECTIONS = 1.5 ** np.arange(10)  # of the sizes that baselines extrapolate
MISS_COSTS = 4 * 2.0 ** np.arange(9)  # in units of the images at hand


@dataclass(frozen=True)
class Curve:
    """A measured learning curve, its sizes ascending and its errors not rising."""

    data: str  # name of the data set: corrections are tuned on the others
    name: str
    chance: float
    num_test: float | None
    n: Array
    error: Array
    start: Start  # of the classifiers: the planner is told

    def error_at(self, n: float) -> float:
        """Error at a number of images, interpolated in logarithms."""
        return float(np.exp(np.interp(np.log(n), np.log(self.n), np.log(self.error))))


@dataclass(frozen=True)
class Case:
    """A curve, what is measured of it, and a target."""

    curve: Curve
    n: Array
    target: float
    needed: float  # images at which the curve reaches the target


def own_curves(path: Path = CURVES) -> list[Curve]:
    """Read the curves of ``bench/curves.csv``."""
    return [
        _curve(str(name).split()[0], f"{kind} {name}", float(rows.chance.iloc[0]),
               float(rows.num_test.iloc[0]), rows.groupby("n").error.mean(), known_start(str(kind)))
        for (kind, name), rows in pd.read_csv(path).groupby(["kind", "curve"])
    ]  # fmt: skip


def public_curves(folder: Path) -> list[Curve]:
    """Read curves of the formats of LCDB 1.1 (``lcdb*.csv.gz``)."""
    curves = []
    for file in sorted(folder.glob("lcdb*.csv.gz")):
        for (data, learner), rows in pd.read_csv(file).groupby(["name", "learner"]):
            classes, largest = rows.n_classes.iloc[0], float(rows.max_class_ratio.iloc[0])
            chance = 1 - largest if classes < 50 else 1 - 1 / classes
            curves.append(
                _curve(
                    str(data),
                    f"{data} {learner}",
                    chance,
                    None,
                    rows.groupby("n").test_err.mean(),
                    "tabular",
                )
            )
    return curves


def draw(curves: Sequence[Curve], count: int) -> list[Curve]:
    """Draw curves at random, the same ones each time."""
    order = np.random.default_rng(0).permutation(len(curves))
    return [curves[i] for i in order[:count].tolist()]


def _curve(
    data: str, name: str, chance: float, num_test: float | None, means: pd.Series, start: Start
) -> Curve:
    error = np.minimum.accumulate(np.maximum(means.to_numpy(dtype=float), 1e-4))
    return Curve(data, name, chance, num_test, means.index.to_numpy(dtype=float), error, start)


def cases(curves: Sequence[Curve]) -> Iterator[Case]:
    """Yield the cases of each curve: the sizes of the start end at 1/2, 1/4 and 1/8 of the last."""
    for curve in curves:
        for factor in FACTORS:
            start = curve.n[-1] / factor * 0.5 ** np.arange(NUM_START_SIZES)[::-1]
            nearest = [int(np.abs(np.log(curve.n / n)).argmin()) for n in start]
            n, needed = curve.n[nearest], factor * curve.n[nearest[-1]]
            exists = len(set(nearest)) == NUM_START_SIZES and needed <= curve.n[-1] * 1.001
            if exists and np.abs(np.log(n / start)).max() < 0.35:
                target, last = curve.error_at(needed), curve.error_at(n[-1])
                if 0.005 < target < 0.97 * last and last < 0.9 * curve.chance:
                    yield Case(curve, n, target, float(needed))


Policy = Callable[[Points, Case, int], float]  # points, case, rounds left -> images to have


def replay(case: Case, policy: Policy, rounds: int) -> tuple[bool, float]:
    """Buy until the target is reached; whether it was, and images bought per image needed."""
    n, limit = list(case.n), MAX_TOTAL * case.n[-1]
    for left in range(rounds, 0, -1):
        total = min(policy(_points(case, n), case, left), limit)
        if total <= n[-1]:
            break
        n.append(total)
        if total >= case.needed * (1 - 1e-9):
            break
    bought = (n[-1] - case.n[-1]) / (case.needed - case.n[-1])
    return n[-1] >= case.needed * (1 - 1e-9), float(bought)


def _points(case: Case, n: Sequence[float]) -> Points:
    error = np.array([case.curve.error_at(size) for size in n])
    num_test = case.curve.num_test and np.full(len(n), case.curve.num_test)
    return Points(np.array(n), error, num_test if case.curve.num_test else None)


class Planner:
    """Our policy, with a cost of missing in units of the images at hand.

    Without one, it is chosen in the first round for a probability of missing, and kept.
    """

    def __init__(self, posterior: Callable[[Points, Case], Posterior], cost: float | None) -> None:
        self.posterior, self.cost = posterior, cost

    def __call__(self, points: Points, case: Case, rounds: int) -> float:
        """Return the images to have after the next order."""
        at_hand = float(case.n[-1])
        purchase = plan_purchase(
            self.posterior(points, case), case.target, rounds, 1.0,
            self.cost and self.cost * at_hand, MISS_CHANCE, case.curve.num_test,
        )  # fmt: skip
        self.cost = purchase.miss_cost / at_hand
        return float(points.sizes[-1] + purchase.order)


def _posterior(points: Points, case: Case) -> Posterior:
    return fit(points, case.curve.chance, start=case.curve.start)


def straight_line(points: Points, case: Case) -> float:
    """Images at which a line through the last three points, in logarithms, has the target."""
    x, y = np.log(points.sizes[-3:]), np.log(points.means[-3:])
    slope, level = np.polyfit(x, y, 1)
    needed = (np.log(case.target) - level) / slope if slope < 0 else np.inf
    return float(np.exp(min(needed, 100.0)))


def fitted_law(law: str) -> Callable[[Points, Case], float]:
    """Return an extrapolation by least squares of log errors: ``power law + floor``, or ``M4``."""
    formula, names = LAWS[law].formula, LAWS[law].parameters

    def needed(points: Points, case: Case) -> float:
        x, y = points.sizes / points.sizes[-1], np.log(points.means)
        grid = 2.0 ** np.linspace(0, np.log2(MAX_TOTAL) + 2, 400)

        def curve(z: Array, at: Array) -> Array:
            values = {
                "level": np.exp(z[0]), "exponent": np.exp(z[1]), "floor": 1 / (1 + np.exp(-z[2])),
                "bend": np.exp(z[-1]),
            }  # fmt: skip
            parameters = [np.array([[values[name]]]) for name in names]
            return np.log(np.maximum(formula(at, case.curve.chance, *parameters)[0], 1e-12))

        starts = [np.array([y[-1], np.log(0.4), floor, 0.0]) for floor in (-4.0, 0.0)]
        size = len(names)
        best = min(
            (least_squares(lambda z: curve(z, x) - y, start[:size], bounds=(-20, 20))
             for start in starts),
            key=lambda result: result.cost,
        )  # fmt: skip
        below = curve(best.x, grid) <= np.log(case.target)
        return float(points.sizes[-1] * grid[below.argmax()]) if below.any() else np.inf

    return needed


Value = TypeVar("Value")


def remembered(function: Callable[[Points, Case], Value]) -> Callable[[Points, Case], Value]:
    """Return a function of a case, called once for the same points: all policies begin alike."""
    known: dict[tuple[float, ...], Value] = {}

    def look_up(points: Points, case: Case) -> Value:
        key = tuple(points.n.tolist())
        if key not in known:
            known[key] = function(points, case)
        return known[key]

    return look_up


def corrected(needed: Callable[[Points, Case], float], factor: float) -> Policy:
    """Order what an extrapolation says, times a factor; at least 5 % more than there is."""
    return lambda points, case, _: float(
        max(factor * needed(points, case), 1.05 * points.sizes[-1])
    )


BASELINES = {
    "straight line": straight_line,
    "power law": fitted_law("power law with floor"),
    "M4": fitted_law("M4"),
}


Scores = dict[tuple[str, int], Array]  # policy, rounds -> array of shape (rungs, 2)


def replay_case(case: Case, rounds: Sequence[int]) -> Scores:
    """Replay a case by every policy, with every rung of its ladder."""
    posterior = remembered(_posterior)
    ladders: dict[str, list[Callable[[], Policy]]] = {
        "dataworth": [partial(Planner, posterior, None)],
        "dataworth, one cost of missing": [partial(Planner, posterior, c) for c in MISS_COSTS],
    }
    for name, function in BASELINES.items():
        needed = remembered(function)
        ladders[name] = [partial(corrected, needed, factor) for factor in CORRECTIONS]
    return {
        (name, number): np.array([replay(case, rung(), number) for rung in ladder], dtype=float)
        for name, ladder in ladders.items()
        for number in rounds
    }


def measure_purchases(curves: Sequence[Curve], rounds: Sequence[int]) -> pd.DataFrame:
    """Return one row per policy and number of rounds: failures, and images bought."""
    listed = list(cases(curves))
    data = np.array([case.curve.data for case in listed])
    with ProcessPoolExecutor() as pool:
        replays = list(pool.map(partial(replay_case, rounds=tuple(rounds)), listed))
    rows = []
    for (name, number), ladder in replays[0].items() if replays else ():
        table = np.array([scores[name, number] for scores in replays])  # (cases, rungs, 2)
        if name in BASELINES or len(ladder) == 1:
            rows.append(_row(name, number, table[:, 0]))
        if len(ladder) > 1:
            label = f"{name}, corrected" if name in BASELINES else name
            rows.append(_row(label, number, tuned(table.swapaxes(0, 1), data)))
    return pd.DataFrame(rows).sort_values("rounds", kind="stable")


def tuned(table: Array, data: NDArray[np.str_]) -> Array:
    """Choose a rung for each data set, the lowest with few failures on all other data sets.

    Parameters
    ----------
    table : ndarray of shape (rungs, cases, 2)
        Whether the target was reached, and images bought.
    data : ndarray of shape (cases,)
        Data set of each case.

    Returns
    -------
    ndarray of shape (cases, 2)
    """
    chosen = np.zeros(len(data), dtype=int)
    for one in np.unique(data) if len(np.unique(data)) > 1 else ():
        failures = 1 - table[:, data != one, 0].mean(axis=1)
        enough = failures <= MISS_CHANCE
        chosen[data == one] = enough.argmax() if enough.any() else len(table) - 1
    result: Array = table[chosen, np.arange(len(data))]
    return result


def _row(policy: str, rounds: int, scores: Array) -> dict[str, object]:
    bought = scores[:, 1]
    return {
        "policy": policy,
        "rounds": rounds,
        "cases": len(scores),
        "failure_rate": round(float(1 - scores[:, 0].mean()), 4),
        "bought_mean": round(float(bought.mean()), 3),
        "bought_median": round(float(np.median(bought)), 3),
    }
