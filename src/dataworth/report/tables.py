"""Tables of the report: cells of text under a caption."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..data.class_names import readable_names
from ..evaluation.records import RunScores
from ..findings import sentences
from ..findings.curves import Curve
from ..findings.sentences import UNRELIABLE, percent
from ..scaling.analysis import Analysis
from ..scaling.analysis import forecasts as forecast_rows
from ..scaling.forecasting import doubling_gains

GRIDS = (  # target errors per power of ten, densest first; the first that fits is used
    tuple(tenths / 10 for tenths in range(10, 100, 2)),
    tuple(halves / 2 for halves in range(2, 20)),
    tuple(range(1, 10)),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 5),
)
DIGITS = 3  # of a target: tenths of a percent
MAX_TARGETS = 12  # rows of the table of targets
SLIDER_STEPS = 60
TARGET_FACTOR = 16.0  # targets end at the error forecast for this many times the largest size,
TARGET_MARGIN = 1.1  # divided by this
NUMBER = re.compile(r"-|[-+]?[\d,.]+( of \d+| %| points)?")
SUMMARY = ("variant", "training images", "test error", "gain from twice the images (points)")
MAX_CLASSES = 200  # rows; per_class.csv lists all


@dataclass(frozen=True)
class Table:
    """Cells of text; the first of each row is its header."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def is_numeric(self, i: int) -> bool:
        """Whether a column holds numbers, which are aligned at their last digit."""
        cells = [row[i] for row in self.rows]
        return i > 0 and all(map(NUMBER.fullmatch, cells)) and set(cells) != {"-"}


@dataclass(frozen=True)
class Targets:
    """Images needed for an error, as a table and for a slider with finer steps."""

    name: str  # of the error
    table: Table
    answers: Sequence[tuple[str, str]]  # target, sentence; largest target first
    start: int  # initial step of the slider


def from_frame(caption: str, frame: pd.DataFrame) -> Table:
    """Convert a data frame of text, its index first."""
    rows = [[str(cell) for cell in row] for row in frame.itertuples()]
    return Table(caption, [str(frame.index.name), *map(str, frame.columns)], rows)


def key_value_table(caption: str, pairs: Iterable[tuple[str, object]]) -> Table:
    """Return a table of two columns."""
    rows = [(key, format_value(value)) for key, value in pairs]
    return Table(caption, ("what", "value"), rows)


def format_value(value: object) -> str:
    """Format a value for people; a dash stands for nothing."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return "-" if value is None or value == "" else str(value)


def duration(seconds: float) -> str:
    """Format a time in its two largest units."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{seconds:.1f} s"


def targets(analysis: Analysis, name: str) -> Targets | None:
    """Return how many images each target error takes, of errors below the measured ones.

    Parameters
    ----------
    analysis : Analysis
    name : str
        Of the error.

    Returns
    -------
    Targets or None
        None without a law, and where the measured error is too small for a target below it.
    """
    if analysis.posterior is None:
        return None
    n = np.array([TARGET_FACTOR * analysis.posterior.largest_size])
    measured, reached = analysis.points.means, float(analysis.points.means.min())
    forecast = float(np.median(analysis.posterior.law_error(n)))
    low = max(min(reached, forecast) / TARGET_MARGIN, 10.0**-DIGITS)
    if low >= reached:
        return None
    fine = np.geomspace(low, float(measured.max()), SLIDER_STEPS).round(DIGITS).tolist()
    coarse = [error for error in _round_errors(low, reached) if error < reached] or fine[:1]
    errors = sorted({*coarse, *fine}, reverse=True)
    answers = dict(zip(errors, sentences.targets(analysis, errors), strict=True))
    pairs = {error: _split_answer(answer) for error, answer in answers.items()}
    doubled = float(np.median(analysis.posterior.law_error(n / TARGET_FACTOR * 2)))
    start = next((i for i, error in enumerate(errors) if error < doubled), len(errors) - 1)
    rows = [pairs[error] for error in coarse]
    columns = ("error to reach", "training images")
    table = Table(f"Training images for a test {name}", columns, rows)
    return Targets(name, table, list(pairs.values()), start)


def _round_errors(low: float, high: float) -> list[float]:
    """Return the round errors in a range, as many as a table holds, largest first."""
    for grid in GRIDS:
        scaled = (step * 10.0**power for power in range(-DIGITS, 1) for step in grid)
        candidates = ((error, round(error, DIGITS)) for error in scaled if low <= error <= high)
        errors = [rounded for error, rounded in candidates if np.isclose(error, rounded)]
        if len(errors) <= MAX_TARGETS:
            break
    return errors[::-1]


def _split_answer(answer: str) -> tuple[str, str]:
    """Split a sentence such as "Error 5.0 %: 1,200 images." into target and answer."""
    target, text = answer.removeprefix("Error ").split(": ", 1)
    return target, text


def summary_row(name: str, curve: Curve | None, sizes: pd.DataFrame) -> tuple[str, ...]:
    """Return the cells of :data:`SUMMARY` for a variant.

    Parameters
    ----------
    name : str
        Of the variant.
    curve : Curve or None
        Of the error that is compared; None if no run is complete.
    sizes : DataFrame
        A row per size, smallest first.
    """
    if curve is None:
        return (name, "-", "no complete run", "-")
    largest, posterior = sizes.iloc[-1], curve.analysis.posterior
    lower, upper = largest[f"{curve.metric}_interval"]
    gain = "no law"
    if posterior is not None:
        ends = doubling_gains(posterior, curve.analysis.points.sizes[-1:])
        points = [sentences.percentage_points(end[0]) for end in ends]
        gain = f"{points[0]} ({points[1]} to {points[2]})"
    error = f"{percent(largest[curve.metric])} [{percent(lower)}, {percent(upper)}]"
    return (name, f"{largest['num_images']:,.0f}", error, gain)


def forecasts(analysis: Analysis, name: str) -> Table:
    """Return the error forecast for new runs at several times the largest size.

    Parameters
    ----------
    analysis : Analysis
    name : str
        Of the error.
    """
    rows = [
        (
            f"{row.n:,.0f}", percent(row.error), f"{percent(row.lower)} to {percent(row.upper)}",
            "-" if row.reliable else UNRELIABLE,
        )
        for row in forecast_rows(analysis)
    ]  # fmt: skip
    columns = ("training images", "forecast", "90 % interval", "reliability")
    return Table(f"Forecast {name} of a new run", columns, rows)


def with_class_names(table: pd.DataFrame) -> pd.DataFrame:
    """Replace the WordNet ids of an older per_class.csv by words."""
    names = table["class"].unique().tolist()
    words = dict(zip(names, readable_names(names), strict=True))
    return table.assign(**{"class": table["class"].map(words)})


def classes(table: pd.DataFrame) -> Table:
    """Return the gain of each class, in total and in the last step.

    Parameters
    ----------
    table : DataFrame
        The content of per_class.csv, of two sizes or more.
    """
    sizes = table["num_images"]
    first = table[sizes == sizes.min()].set_index("class")["top_1_error"]
    last = table[sizes == sizes.max()].set_index("class")
    last = last.assign(first=first, gain=first - last["top_1_error"])
    listed = last.sort_values("gain", ascending=False).head(MAX_CLASSES)
    rows = [
        (
            str(name), f"{row['num_train_images']:,.0f}", f"{100 * row['first']:.0f} %",
            f"{100 * row['top_1_error']:.0f} %", f"{100 * row['gain']:.0f}",
            f"{100 * row['drop']:.0f} [{100 * row['drop_low']:.0f}, {100 * row['drop_high']:.0f}]",
            str(row["verdict"]),
        )
        for name, row in listed.iterrows()
    ]  # fmt: skip
    more = f"; {len(last) - len(rows)} more in per_class.csv" if len(last) > len(rows) else ""
    columns = (
        "class", "training images", f"top-1 error at {sizes.min():,}", f"at {sizes.max():,}",
        "gain (points)", "gain in the last step", "verdict",
    )  # fmt: skip
    return Table(f"Gains of the classes, largest first{more}", columns, rows)


def set_sizes(runs: Sequence[RunScores]) -> Table:
    """Return size and coverage of the prediction sets at each size.

    Parameters
    ----------
    runs : sequence of RunScores
        With coverage reports.
    """
    frame = pd.DataFrame(
        {
            "n": run.num_images, "alpha": alpha, "method": method.upper(),
            "coverage": modes["marginal"].coverage,
            "size": modes["marginal"].mean_set_size,
            "single": modes["marginal"].singleton_share,
        }
        for run in runs
        for alpha, methods in (run.conformal or {}).items()
        for method, modes in methods.items()
    )  # fmt: skip
    means = frame.groupby(["n", "alpha", "method"], sort=False).mean().reset_index()
    rows = [
        (f"{n:,}", alpha, method, percent(coverage), f"{size:.2f}", percent(single))
        for n, alpha, method, coverage, size, single in means.itertuples(index=False)
    ]
    columns = ("images", "alpha", "method", "coverage", "classes in a set", "single class")
    return Table("Prediction sets on test, means over seeds, marginal threshold", columns, rows)
