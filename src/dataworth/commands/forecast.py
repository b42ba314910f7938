"""``dataworth forecast``: the law alone, on anybody's measurements. Needs no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..evaluation.results import chance_errors, read_results, views
from ..evaluation.tables import runs_table
from ..findings import sentences
from ..findings.curves import METRICS, headline_metric, metric_name, points, test_scores
from ..scaling.analysis import Analysis, analyse, record
from ..scaling.experiment_design import SEED_SPREAD, next_runs, simulate
from ..scaling.fitting import LEAST_SIZES
from ..scaling.forecasting import FARTHEST, RELIABLE, data_multiplier
from ..scaling.points import NotIdentifiableError, Points
from ..storage.files import write_json
from .exit_codes import exit_with
from .flags import ForecastFlags
from .parsing import parse


def forecast(words: Sequence[str] | None = None) -> None:
    """Answer questions from measured errors alone."""
    exit_with(lambda: _forecast(words), "nothing was lost")


def _forecast(words: Sequence[str] | None) -> int:
    flags = parse(ForecastFlags, words, ForecastFlags())

    return answer(flags)


MOST_IMAGES = 1e18  # no data set is as large; sums and powers of it stay finite
REQUIRED, OPTIONAL = ("n", "error"), ("num_test",)  # others, such as seed, say nothing more


def answer(flags: ForecastFlags) -> int:
    """Print what ``forecast.py`` was asked; return the exit code.

    Raises
    ------
    InputError
        If a file, a size or the combination of flags will not do.
    """
    if flags.simulate:
        print(_promise(flags))
        return 0
    if flags.points is None:
        raise InputError("name a CSV file with columns n,error, or a metrics.json; see --help")
    if not all(0 < n < MOST_IMAGES for n in flags.at):
        raise InputError("--at: numbers of images are above 0 and below 1e18")
    analysis, name = _analyse(flags.points, flags)
    print(_spell(analysis, name, flags))
    if flags.json_file is not None:
        targets = () if flags.target is None else (flags.target,)
        write_json(flags.json_file, record(analysis, flags.at, targets))
        print(f"numbers  {flags.json_file}")
    if flags.plot is not None:
        from ..figures.files import save
        from ..figures.scaling import plot_points
        from ..figures.style import new_axes

        save(plot_points(new_axes(), analysis, name), flags.plot)
        print(f"figure   {flags.plot}")
    return 0


def _spell(analysis: Analysis, name: str, flags: ForecastFlags) -> str:
    parts = [sentences.law(analysis, name)]
    if flags.target is not None:
        parts.append(sentences.target(analysis, flags.target))
    if analysis.posterior is None:
        if flags.plan or flags.compare is not None:
            parts.append("--plan, --compare: no answer without a law.")
        return "\n".join(parts)
    parts.append(sentences.outlook(analysis, name, flags.at))
    if flags.plan:
        narrowed = f"the forecast at {RELIABLE:.0f}x the largest size"
        if flags.target is not None:
            narrowed = f"the number of images for {sentences.percent(flags.target)}"
        if analysis.points.num_runs.max() == 1:
            narrowed += f" (if seeds differ by {SEED_SPREAD:.0%} of the error)"
        parts.append(sentences.advice(next_runs(analysis, flags.target), narrowed))
    if flags.compare is not None:
        parts.append(_comparison(analysis, flags))
    return "\n\n".join(parts)


def _comparison(analysis: Analysis, flags: ForecastFlags) -> str:
    assert flags.compare is not None
    csv_file = flags.compare.suffix != ".json"  # has one error, whatever the study's is
    other, _ = _analyse(
        flags.compare, flags.replace(metric=None, variant=None) if csv_file else flags
    )
    if other.posterior is None or analysis.posterior is None:
        return f"{flags.compare}: {sentences.law(other)}"
    n = other.points.sizes[-1]
    times, low, high = data_multiplier(analysis.posterior, other.posterior, n)
    needed, *ends = (
        f"{value:.3g}" if np.isfinite(value) else f"more than {FARTHEST:,.0f}"
        for value in (times, low, high)
    )
    return (
        f"To match {flags.compare} at {n:,.0f} images this model needs {needed} times as many "
        f"(90 % interval {' to '.join(ends)})."
    )


def _promise(flags: ForecastFlags) -> str:
    sizes = sorted(set(flags.simulate))
    if len(sizes) < LEAST_SIZES or not all(0 < n < MOST_IMAGES for n in sizes):
        raise InputError("--simulate: give three or more different sizes above 0, below 1e18")
    chance = flags.chance or 1.0
    if flags.expect >= chance:
        raise InputError(f"--expect {flags.expect}: not below the error of guessing, {chance}")
    found = simulate(sizes, flags.seeds, flags.num_test, chance, flags.expect)
    return (
        f"{len(sizes)} sizes up to {sizes[-1]:,.0f} images, {flags.seeds} seeds, "
        f"{flags.num_test:,} test images; medians over simulated studies:\n"
        f"forecast at {RELIABLE:.0f}x the largest size: 90 % interval "
        f"{found.forecast_width:.0%} of the error wide\n"
        f"exponent: 90 % interval {found.exponent_width:.2f} wide\n"
        f"the forecast interval held the truth in {found.coverage:.0%} of them"
    )


def _analyse(path: Path, flags: ForecastFlags) -> tuple[Analysis, str]:
    if path.suffix == ".json":
        found, chance, name = _read_study(path, flags.metric, flags.variant)
    elif flags.metric is not None or flags.variant is not None:
        raise InputError("--metric, --variant: a CSV file has one error; give a metrics.json")
    else:
        found, chance, name = read_points(path), 1.0, "error"
    if not len(found.n):
        why = " of a run better than chance" if path.suffix == ".json" else ""
        raise InputError(f"{path}: no points{why}; {LEAST_SIZES} sizes are needed")
    return analyse(found, flags.chance or chance), name


def _read_study(path: Path, metric: str | None, variant: str | None) -> tuple[Points, float, str]:
    results = read_results(path)
    try:
        curves = views(results)
        if variant is None and len(curves) == 1:
            (variant,) = curves
        if variant not in curves:
            raise InputError(f"{path}: --variant is one of {', '.join(curves)}")
        results = curves[variant]
        test = test_scores(runs_table(results))
        metric = metric or headline_metric(test)
        if metric not in METRICS or test[metric].isna().any():
            raise InputError(f"{path}: no {metric}; --metric is one of {', '.join(METRICS)}")
        return points(test, metric), chance_errors(results)[metric], metric_name(metric)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: not a results file ({reason})") from None


def read_points(path: Path) -> Points:
    """Read measured errors from a CSV file with columns n, error and perhaps num_test.

    Raises
    ------
    InputError
        Naming the row, if a cell is no number, a size not above 0 or an error not a share.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or 'not text'}") from None
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV file: {error}") from None
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if missing := [name for name in REQUIRED if name not in header]:
        raise InputError(
            f"{path}: no column {' and no column '.join(missing)}; found {header!r:.80}"
        )
    columns = [name for name in (*REQUIRED, *OPTIONAL) if name in header]
    if twice := [name for name in columns if header.count(name) > 1]:
        raise InputError(f"{path}: several columns {twice[0]}; keep one")
    table: dict[str, list[float]] = {name: [] for name in columns}
    for i, row in enumerate(rows[1:], start=2):
        if len(row) > len(header):
            raise InputError(
                f"{path}, row {i}: {len(row)} cells, the header has {len(header)}; write numbers "
                "without commas"
            )
        if any(cell.strip() for cell in row):
            for name in columns:
                table[name].append(_number(row, header.index(name), name, f"{path}, row {i}"))
    num_test = np.array(table["num_test"]) if "num_test" in table else None
    try:
        return Points(np.array(table["n"]), np.array(table["error"]), num_test)
    except NotIdentifiableError as why:
        raise InputError(f"{path}: {why}") from None


def _number(row: Sequence[str], column: int, name: str, where: str) -> float:
    cell = row[column].strip() if column < len(row) else ""
    try:
        value = float(cell)
    except ValueError:
        raise InputError(f"{where}: {name} is {cell!r}, not a number") from None
    if name == "error" and not 0 <= value <= 1:
        hint = f"; percent? write {value / 100:g}" if 1 < value <= 100 else ""
        raise InputError(f"{where}: error is {cell}, not a share between 0 and 1{hint}")
    if name in ("n", "num_test") and not 0 < value < MOST_IMAGES:
        raise InputError(f"{where}: {name} is {cell}, not a number above 0")
    return value
