"""What each option is worth in training images: tables and sentences. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from ..errors import InputError
from ..evaluation.intervals import paired_intervals
from ..evaluation.records import StudyResults
from ..scaling.forecasting import RELIABLE_FACTOR
from ..scaling.worth import Comparison, Crossing, Estimate, SharedTest, Worth, compare
from .curves import METRICS, Curve, headline, metric_name, points
from .sentences import UNRELIABLE, fill, rounded
from .study import VariantFindings

INDEPENDENT = (
    "How alike the answers to the test images are is not known (eval.py measures it within a "
    "study): test noise is taken as independent, and the intervals are too wide rather than too "
    "narrow where test images are shared."
)
TOLD = 0.95  # probability above which one of two curves is called better


@dataclass(frozen=True)
class Cost:
    """What an option costs at one size, in the currency of the prices."""

    training: float  # its training, beyond that of the baseline on as many images
    images: Estimate  # number of images that it replaces
    replaced: Estimate  # their cost, with the longer training of the baseline


@dataclass(frozen=True)
class OptionsWorth:
    """Worth of every option of a study, or of other measured points, against one baseline."""

    baseline: str
    error: str  # name of the error, such as top-5 error
    comparisons: Mapping[str, Comparison]  # by name of the option
    notes: Sequence[str] = ()  # how the intervals were made; costs
    costs: Mapping[str, Sequence[Cost]] = field(default_factory=dict)  # of each row, with prices

    @property
    def metric(self) -> str:
        """The error as metrics.json has it, such as top_5_error."""
        return self.error.replace("-", "_").replace(" ", "_")

    @property
    def title(self) -> str:
        """What the table holds."""
        return (
            f"Worth in images, {self.error} (90 % intervals): {self.baseline} with so many times "
            "the images has the option's error"
        )


def worth_of_variants(
    findings: Sequence[VariantFindings], baseline: str | None = None
) -> OptionsWorth | None:
    """Compare the variants of a study with one of them.

    Parameters
    ----------
    findings : sequence of VariantFindings
    baseline : str, optional
        Name of a variant; by default the first.

    Returns
    -------
    OptionsWorth or None
        None if fewer than two variants, or not the baseline, have a curve.
    """
    curves = {variant.name: variant.curves for variant in findings if variant.curves}
    baseline = baseline or (findings[0].name if findings else "")
    if baseline not in curves or len(curves) < 2:
        return None
    metrics = {headline(by_metric).metric for by_metric in curves.values()}
    metric = metrics.pop() if len(metrics) == 1 else METRICS[0]  # all by the same metric
    results, weaker = findings[0].results, curves[baseline][metric]
    comparisons, paired = {}, False
    for name in curves:
        if name == baseline:
            continue
        curve, shared = curves[name][metric], shared_test(results, metric, baseline, name)
        comparison = compare(weaker.analysis, curve.analysis, shared)
        differences = _paired_differences(weaker, curve, shared)
        paired |= bool(differences)
        rows = [
            replace(row, difference=differences.get(row.n, row.difference))
            for row in comparison.rows
        ]
        comparisons[name] = replace(comparison, rows=tuple(rows))
    notes = [*_notes(results, paired), *_same_runs(results, baseline, comparisons)]
    return OptionsWorth(baseline, metric_name(metric), comparisons, notes)


def shared_test(results: StudyResults, metric: str, baseline: str, option: str) -> SharedTest:
    """Return the correlations of answers that metrics.json holds; 0 where it does not.

    Parameters
    ----------
    results : StudyResults
        Of any variant.
    metric : str
        Such as top_5_error.
    baseline, option : str
        Names of variants.
    """
    stored = {
        frozenset(row.variants): getattr(row, metric.replace("error", "correlation")) or 0.0
        for row in results.answer_correlations
    }
    pairs = [{baseline}, {option}, {baseline, option}]
    return SharedTest(*(stored.get(frozenset(pair), 0.0) for pair in pairs))


def same_error(*curves: tuple[str, str]) -> list[str]:
    """Return a note on each curve whose file does not say which error it holds.

    Parameters
    ----------
    *curves : (str, str)
        Name and error of each, such as top-5 error, or error alone.

    Raises
    ------
    InputError
        If they are different errors.
    """
    kinds = {error for _, error in curves} - {"error"}
    if len(kinds) > 1:
        held = ", ".join(f"{name} holds the {error}" for name, error in curves)
        raise InputError(f"--compare: {held}; choose one by --metric of a study or --y-column")
    return [
        f"{name}: its error is taken for the {kind}."
        for name, error in curves
        for kind in kinds - {error}
    ]


def _paired_differences(
    weaker: Curve, stronger: Curve, shared: SharedTest
) -> dict[float, Estimate]:
    """Return the differences at the sizes that both curves were measured at, paired by seed.

    Empty where no size has two seeds in common: the variance between seeds is not known then.
    """
    tables = [
        curve.runs.pivot_table(index="num_train_images", columns="seed", values=curve.metric)
        for curve in (weaker, stronger)
    ]
    counts = [_test_images(curve) for curve in (weaker, stronger)]
    pairs, num_test = {}, []
    for n in tables[0].index.intersection(tables[1].index):
        both = pd.concat([table.loc[n] for table in tables], axis=1, join="inner").dropna()
        if len(both):
            pairs[float(n)] = [(a, b) for a, b in both.to_numpy(float).tolist()]
            num_test.append([count[float(n)] for count in counts])
    if not pairs:
        return {}
    rows = paired_intervals(list(pairs.values()), np.array(num_test), shared.between)
    return {n: Estimate(*row) for n, row in zip(pairs, rows or (), strict=False)}


def _test_images(curve: Curve) -> dict[float, float]:
    """Return the test images at each size; of grouped images, their effective number."""
    means = points(curve.runs, curve.metric).of_means
    assert means.num_test is not None, "of a study"
    return dict(zip(means.sizes.tolist(), means.num_test.tolist(), strict=True))


def _notes(results: StudyResults, paired: bool) -> list[str]:
    test = (
        "The intervals allow for the measured correlation of the answers to the test images."
        if results.answer_correlations
        else INDEPENDENT
    )
    seeds = (
        "Error differences are paired by seed; those of forecasts are from the laws."
        if paired
        else "No size has two seeds of both: the error differences are from the laws."
    )
    return [test, seeds]


def _same_runs(
    results: StudyResults, baseline: str, comparisons: Mapping[str, Comparison]
) -> Iterator[str]:
    """Yield a note on each option that is the baseline itself at all of the training images.

    Equal epochs and equal steps are one run there, which a forecast from smaller sizes cannot tell.
    """
    num_train = results.data.splits.get("train", np.inf)
    for name, comparison in comparisons.items():
        settings = [results.variant_settings.get(variant, {}) for variant in (baseline, name)]
        first, second = (results.recipe | changes for changes in settings)
        differences = {key for key in first if first[key] != second.get(key)}
        forecast = [row.n for row in comparison.rows if not row.measured]
        if differences == {"budget"} and forecast and forecast[-1] >= num_train:
            yield (
                f"{name} and {baseline} are the same run on all {num_train:,} training images: "
                f"{name} is worth 1x there, whatever its forecast says."
            )


def numbers(worth: OptionsWorth) -> pd.DataFrame:
    """Return the content of worth.csv: one row per option and size.

    A factor at an end of ``factor_range_low`` to ``factor_range_high``, what the baseline's curve
    tells, is a bound.
    """
    return pd.DataFrame(
        {
            "option": name,
            "baseline": worth.baseline,
            "error": worth.error,
            "num_images": row.n,
            "kind": kind(row),
            **_columns("factor", row.factor),
            "factor_range_low": row.least,
            "factor_range_high": row.most,
            **_columns("difference", row.difference),
            "reliable": row.reliable,
            **(_cost_columns(worth.costs[name][i]) if worth.costs else {}),
        }
        for name, comparison in worth.comparisons.items()
        for i, row in enumerate(comparison.rows)
    )


def _cost_columns(cost: Cost) -> dict[str, float]:
    return {"training_cost": cost.training, **_columns("replaced_cost", cost.replaced)}


def kind(row: Worth) -> str:
    """Return whether the error of a row is measured or forecast."""
    return "measured" if row.measured else "forecast"


def _columns(name: str, estimate: Estimate) -> dict[str, float]:
    return {
        name: estimate.median, f"{name}_low": estimate.lower, f"{name}_high": estimate.upper
    }  # fmt: skip


def cells(worth: OptionsWorth) -> pd.DataFrame:
    """Return the table of worth as text for people, its index the option."""
    rows = [
        {
            "option": name,
            "images": f"{row.n:,.0f}",
            "kind": kind(row) if row.reliable else f"{kind(row)}, unreliable",
            "worth": factor(row),
            "error difference (points)": _points(row.difference),
        }
        for name, comparison in worth.comparisons.items()
        for row in comparison.rows
    ]
    return pd.DataFrame(rows).set_index("option") if rows else pd.DataFrame()


def factor(row: Worth) -> str:
    """Format the factor of a row with its interval, or as a bound."""
    return f"{_value(row)} {_interval(row)}".rstrip()


def _value(row: Worth) -> str:
    estimate = row.factor
    if estimate.median >= row.most:
        return f"more than {_times(estimate.lower)}"
    if estimate.median <= row.least:
        return f"less than {_times(estimate.upper)}"
    return _times(estimate.median)


def _interval(row: Worth) -> str:
    """Format the interval in parentheses; empty for a bound."""
    low, high = row.factor.lower, row.factor.upper
    if not row.least < row.factor.median < row.most:
        return ""
    start = _times(low) if low > row.least else f"below {_times(row.least)}"
    end = _times(high) if high < row.most else f"more than {_times(row.most)}"
    return f"({start} to {end})"


def _times(value: float) -> str:
    """Format a factor with two significant digits."""
    return f"{value:#.2g}x" if value < 9.95 else f"{float(f'{value:.2g}'):,g}x"


def _points(difference: Estimate) -> str:
    middle, low, high = (
        f"{100 * value:+.1f}" for value in (difference.median, difference.lower, difference.upper)
    )
    return f"{middle} ({low} to {high})"


def describe_worth(worth: OptionsWorth, width: int) -> str:
    """Format title, table, sentences and notes as lines of at most ``width`` characters."""
    table, *others = cells(worth), *sentences(worth), *worth.notes
    parts = [fill(worth.title, width), table.to_string() if len(table) else ""]
    return "\n".join([*filter(None, parts), *(fill(text, width) for text in others)])


def sentences(worth: OptionsWorth) -> list[str]:
    """Describe the worth of every option in a sentence."""
    return [_sentence(name, worth, comparison) for name, comparison in worth.comparisons.items()]


def _sentence(name: str, worth: OptionsWorth, comparison: Comparison) -> str:
    measured = [row for row in comparison.rows if row.measured]
    if not measured:
        return f"{name}: no worth in images without a law of {worth.baseline}: {comparison.reason}."
    ends = [measured[0], measured[-1]] if len(measured) > 1 else measured
    values = [f"{_value(row)} at {row.n:,.0f} {_interval(row)}".rstrip() for row in ends]
    first = values[0].replace("x at", "x the images at", 1)
    beyond = "" if comparison.crossing is None else f"; {crossing(comparison.crossing)}"
    return f"{name} against {worth.baseline}: worth {', '.join([first, *values[1:]])}{beyond}."


def crossing(curves: Crossing) -> str:
    """Describe from how many images on an option is no longer, or first, worth anything."""
    images, first = curves.images, rounded(curves.first)
    low = f"below {first}" if images.lower <= curves.first else rounded(images.lower)
    open_end = f"{low} or more" if images.lower > curves.first else "any number"
    span = open_end if np.isinf(images.upper) else f"{low} to {rounded(images.upper)}"
    about = f"{rounded(images.median)} images" if np.isfinite(images.median) else ""
    unreliable = images.median > curves.last / RELIABLE_FACTOR
    at_all_sizes = f"at every size up to {rounded(curves.last)} images"
    interval = f"({span}{', ' + UNRELIABLE if unreliable else ''})"
    if curves.ends and curves.best >= TOLD:
        if about:
            return f"no longer worth anything beyond about {about} {interval}"
        within = f"up to at least {low} images (probability 95 %)"
        return f"worth something {within if curves.probability > 1 - TOLD else at_all_sizes}"
    if curves.worst > 1 - TOLD:
        if curves.best < TOLD:
            return "the two curves cannot be told apart"
        from_size = f"from {rounded(images.upper)} images on (probability 95 %)"
        if np.isinf(images.upper):
            from_size = "at some of the sizes measured (see the table)"
        return f"worth something {at_all_sizes if images.upper <= curves.first else from_size}"
    if about and not curves.ends:
        return f"worth something only beyond about {about} {interval}"
    return "worth less than its own images, or not more, at every size measured"
