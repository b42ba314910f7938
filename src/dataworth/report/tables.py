"""Tables of the page: cells of text under a caption."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..findings import sentences
from ..scaling.analysis import Analysis
from ..scaling.analysis import forecasts as ahead
from ..scaling.forecasting import RELIABLE

ROUND = (  # errors of the table, in units of a power of ten: the densest that fit
    tuple(tenths / 10 for tenths in range(10, 100, 2)),
    tuple(halves / 2 for halves in range(2, 20)),
    tuple(range(1, 10)),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 5),
)
DIGITS = 3  # of a target: tenths of a percent
MOST_ROWS = 12  # of that table
FINE = 60  # targets of the slider
FARTHER = 16.0  # times the largest size: about where targets end,
BELOW = 1.1  # a little below the error there
MOST_CLASSES = 200  # listed; per_class.csv has all


@dataclass(frozen=True)
class Table:
    """Cells of text; the first of each row names it."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Targets:
    """How many images an error takes, for a table and for a slider over finer steps."""

    name: str  # of the error
    table: Table
    answers: Sequence[tuple[str, str]]  # target, sentence; from the easiest on
    start: int  # where the slider stands first


def from_frame(caption: str, frame: pd.DataFrame) -> Table:
    """Take over a table whose cells are text, its index first."""
    rows = [[str(cell) for cell in row] for row in frame.itertuples()]
    return Table(caption, [str(frame.index.name), *map(str, frame.columns)], rows)


def from_pairs(caption: str, pairs: Iterable[tuple[str, Any]]) -> Table:
    """Make a table of settings or facts."""
    return Table(caption, ("what", "value"), [(key, spelled(value)) for key, value in pairs])


def spelled(value: Any) -> str:
    """Spell a value for a reader; nothing is a dash."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return "-" if value is None or value == "" else str(value)


def duration(seconds: float) -> str:
    """Spell a time in its two largest units."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{seconds:.1f} s"


def targets(analysis: Analysis, name: str) -> Targets | None:
    """Say how many images errors take, from those of the smallest size on; None without a law."""
    if analysis.posterior is None:
        return None
    farthest = np.array([FARTHER * analysis.posterior.anchor])
    measured = analysis.points.means
    low = min(float(measured.min()), float(np.median(analysis.posterior.error(farthest)))) / BELOW
    low = max(low, 10.0**-DIGITS)
    high = float(measured.max())
    coarse, fine = _round_goals(low, high), np.geomspace(low, high, FINE).round(DIGITS).tolist()
    goals = sorted({*coarse, *fine}, reverse=True)
    answers = dict(zip(goals, sentences.targets(analysis, goals), strict=True))
    pairs = {goal: _pair(answer) for goal, answer in answers.items()}
    start = next((i for i, goal in enumerate(goals) if goal < measured[-1]), len(goals) - 1)
    rows = [pairs[goal] for goal in coarse]
    table = Table(f"Training images for a test {name}", ("error to reach", "training images"), rows)
    return Targets(name, table, list(pairs.values()), start)


def forecasts(analysis: Analysis, name: str) -> Table:
    """Say what new runs at several times the largest size are expected to measure."""
    rows = [
        (
            f"{each.n:,.0f}", sentences.percent(each.error),
            f"{sentences.percent(each.lower)} to {sentences.percent(each.upper)}",
            "-" if each.reliable else f"beyond {RELIABLE:.0f}x the largest size: unreliable",
        )
        for each in ahead(analysis)
    ]  # fmt: skip
    columns = ("training images", "forecast", "90 % interval", "how far")
    return Table(f"Forecast {name} of a new run", columns, rows)


def _round_goals(low: float, high: float) -> list[float]:
    """Return the round errors between two, as many as a table holds, largest first."""
    for steps in ROUND:
        scaled = (s * 10.0**p for p in range(-DIGITS, 1) for s in steps)
        near = ((goal, round(goal, DIGITS)) for goal in scaled if low <= goal <= high)
        goals = [spelt for goal, spelt in near if np.isclose(goal, spelt)]
        if len(goals) <= MOST_ROWS:
            break
    return goals[::-1]


def _pair(answer: str) -> tuple[str, str]:
    """Part a sentence such as "Error 5.0%: 1,200 images." into target and answer."""
    goal, text = answer.removeprefix("Error ").split(": ", 1)
    return goal, text


def classes(table: pd.DataFrame) -> Table:
    """Say what each class gained, in all and in the last step.

    Parameters
    ----------
    table : DataFrame
        The content of per_class.csv, of two sizes or more.
    """
    sizes = table["num_images"]
    first = table[sizes == sizes.min()].set_index("class")["top_1_error"]
    last = table[sizes == sizes.max()].set_index("class")
    last = last.assign(first=first, gain=first - last["top_1_error"])
    shown = last.sort_values("gain", ascending=False).head(MOST_CLASSES)
    rows = [
        (
            str(name), f"{row['num_train_images']:,.0f}", f"{row['first']:.0%}",
            f"{row['top_1_error']:.0%}", f"{100 * row['gain']:.0f}",
            f"{100 * row['drop']:.0f} [{100 * row['drop_low']:.0f}, {100 * row['drop_high']:.0f}]",
            str(row["verdict"]),
        )
        for name, row in shown.iterrows()
    ]  # fmt: skip
    more = f"; {len(last) - len(rows)} more in per_class.csv" if len(last) > len(rows) else ""
    columns = (
        "class", "training images", f"top-1 error at {sizes.min():,}", f"at {sizes.max():,}",
        "gain (points)", "of it in the last step", "verdict",
    )  # fmt: skip
    return Table(f"Gains of the classes, largest first{more}", columns, rows)


def set_sizes(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Say how large prediction sets are at each size, and how often they hold the truth.

    Parameters
    ----------
    runs : sequence of mapping
        Elements of ``runs`` of metrics.json with the key ``conformal``.
    """
    frame = pd.DataFrame(
        {
            "n": run["num_images"], "alpha": alpha, "method": method.upper(),
            "coverage": modes["marginal"]["coverage"],
            "size": modes["marginal"]["mean_set_size"],
            "single": modes["marginal"]["singleton_share"],
        }
        for run in runs
        for alpha, methods in run["conformal"].items()
        for method, modes in methods.items()
    )  # fmt: skip
    means = frame.groupby(["n", "alpha", "method"], sort=False).mean().reset_index()
    rows = [
        (f"{n:,}", alpha, method, f"{coverage:.1%}", f"{size:.2f}", f"{single:.1%}")
        for n, alpha, method, coverage, size, single in means.itertuples(index=False)
    ]
    columns = ("images", "alpha", "method", "coverage", "classes in a set", "single class")
    return Table("Prediction sets on test, means over seeds, one threshold for all", columns, rows)
