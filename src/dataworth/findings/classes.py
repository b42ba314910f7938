"""Which class gains most from more images: per_class.csv to a table and sentences. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import InputError, short_repr
from ..evaluation.intervals import Z
from ..scaling.class_laws import MIN_SIZES, ClassErrors, ClassLaws, fit_class_laws
from ..scaling.forecasting import interval
from ..scaling.laws import Array

FILE = "per_class.csv"
COLUMNS = ("num_images", "num_runs", "class", "num_train_images", "num_test_images", "top_1_error")
NEXT_IMAGES = 100  # of one class, whose gain is told
SURE = 0.95  # probability from which on a class stands out
MAX_CORRELATION = 0.9
MAX_SHOWN = 10  # classes that are printed
RELIABLE_FACTOR = 4.0  # times the images of a class


@dataclass(frozen=True)
class ClassGains:
    """Gains of the classes, most valuable first, and the allocation of a budget."""

    table: pd.DataFrame  # one row per class; see :func:`class_gains`
    budget: int  # images that are allocated; 0 for none
    drop: tuple[float, float, float]  # of the total error, by the allocation: mean, 90 % interval
    even_drop: tuple[float, float, float]  # by as many images, the same number of each class
    probability: float  # that the allocation is better than the even one

    @property
    def num_unreliable(self) -> int:
        """Classes that the allocation takes beyond 4 times their images."""
        most = (RELIABLE_FACTOR - 1) * self.table["num_train_images"]
        return int((self.table["allocated_images"] > most).sum())


def read_class_errors(path: Path) -> tuple[list[str], ClassErrors]:
    """Read the errors of the tested classes from the per_class.csv of ``eval.py --full``.

    Raises
    ------
    InputError
        If the file is no such table, has fewer than three sizes or two classes, or sizes of
        different classes.
    """
    try:
        table = pd.read_csv(path, dtype={"class": str}, keep_default_na=False, na_values=[""])
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError):
        raise InputError(f"{path}: not a CSV table; run eval.py --full again") from None
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise InputError(f"{path}: no column {missing[0]}; name the {FILE} of eval.py --full")
    table = table.set_index(table.pop("class").fillna(""))
    table = table.drop(columns="verdict", errors="ignore").apply(pd.to_numeric, errors="coerce")
    sizes = sorted(table["num_images"].unique())
    if len(sizes) < MIN_SIZES:
        raise InputError(f"{path}: {len(sizes)} sizes; {MIN_SIZES} are needed for laws of classes")
    names, rows = _rows_by_class(path, table, sizes)
    columns = {
        name: np.stack([part[name].to_numpy(float) for part in rows], axis=1)
        for name in COLUMNS
        if name != "class"
    }
    tested = columns["num_test_images"][:, -1] > 0
    columns = {name: values[tested] for name, values in columns.items()}
    errors, num_test = columns["top_1_error"], columns["num_test_images"][:, -1]
    is_share = np.isfinite(errors).all() and (errors >= 0).all() and (errors <= 1).all()
    counts = [columns[name] for name in COLUMNS if name in columns and name != "top_1_error"]
    if not is_share or not all(np.isfinite(count).all() and (count >= 0).all() for count in counts):
        raise InputError(f"{path}: errors must lie in [0, 1] and counts be numbers from 0 on")
    if tested.sum() < 2 or not (columns["num_train_images"][:, -1] > 0).all():
        raise InputError(f"{path}: two classes with training and test images are needed")
    num_runs = np.maximum(columns["num_runs"][0], 1)
    correlation = _correlation([part[tested] for part in rows], errors, num_runs)
    measured = ClassErrors(errors, columns["num_train_images"], num_test, num_runs, correlation)
    return [name for name, is_tested in zip(names, tested, strict=True) if is_tested], measured


def _rows_by_class(
    path: Path, table: pd.DataFrame, sizes: Sequence[float]
) -> tuple[list[str], list[pd.DataFrame]]:
    """Return the classes of the largest size, and the rows of each size in their order."""
    parts = [table[table["num_images"] == size] for size in sizes]
    names = parts[-1].index
    for size, part in zip(sizes, parts, strict=True):
        where = f"{path}: {size:,.15g} images"
        if part.index.has_duplicates:
            twice = short_repr(part.index[part.index.duplicated()][0])
            raise InputError(f"{where}: class {twice} has two rows; run eval.py --full again")
        if other := sorted(map(str, names.symmetric_difference(part.index))):
            raise InputError(
                f"{where}: other classes than at the largest size, such as {short_repr(other[0])}; "
                "run eval.py --full again"
            )
    return names.tolist(), [part.loc[names].reset_index(drop=True) for part in parts]


def _correlation(rows: Sequence[pd.DataFrame], errors: Array, num_runs: Array) -> float:
    """Estimate how much of the noise is common to all sizes, from the paired intervals of drops.

    The variance of a drop is that of the two errors but for what is common to both. The half images
    that :func:`dataworth.evaluation.per_class.class_drops` adds are taken off again.
    """
    paired = independent = 0.0
    for i, part in enumerate(rows[1:], start=1):
        if not {"drop_low", "drop_high"} <= set(part):
            return 0.0
        n = part["num_test_images"].to_numpy(float)
        half = (part["drop_high"] - part["drop_low"]).to_numpy(float) / 2 / Z
        paired += float(np.nansum(np.maximum((half * (n + 2)) ** 2 - 1, 0) / n**2))
        for k in (i - 1, i):
            independent += float((errors[:, k] * (1 - errors[:, k]) / n / num_runs[k]).sum())
    if independent == 0:
        return 0.0
    return float(np.clip(1 - paired / independent, 0, MAX_CORRELATION))


def class_gains(names: Sequence[str], measured: ClassErrors, budget: int = 0) -> ClassGains:
    """Forecast what the next images of each class gain, and allocate a budget over the classes.

    Parameters
    ----------
    names : sequence of str
        Of the classes.
    measured : ClassErrors
    budget : int
        Images to allocate; 0 for none.
    """
    laws = fit_class_laws(measured)
    own, total = laws.drop(NEXT_IMAGES), laws.weights * laws.drop(NEXT_IMAGES)
    table = pd.DataFrame({"class": list(names), "num_train_images": laws.images})
    for name, draws in (("error", laws.error(0.0)), ("own_drop", own), ("total_drop", total)):
        table[name] = draws.mean(axis=0)
        table[f"{name}_low"], table[f"{name}_high"] = interval(draws)
    table["probability_above_mean"] = laws.probability_above_mean(NEXT_IMAGES)
    table["stands_out"] = table["probability_above_mean"] >= SURE
    table["reliable"] = (RELIABLE_FACTOR - 1) * laws.images >= NEXT_IMAGES
    images = laws.allocate(budget) if budget else np.zeros(len(names))
    table["allocated_images"] = images
    drops = _total(laws, images), _total(laws, np.full(len(names), budget / len(names)))
    table = table.sort_values("total_drop", ascending=False, ignore_index=True)
    probability = float((drops[0] > drops[1]).mean())
    return ClassGains(table, budget, _summary(drops[0]), _summary(drops[1]), probability)


def _total(laws: ClassLaws, images: Array) -> Array:
    drop: Array = (laws.weights * laws.drop(images)).sum(axis=1)
    return drop


def _summary(draws: Array) -> tuple[float, float, float]:
    low, high = interval(draws)
    return float(draws.mean()), float(low), float(high)


def numbers(gains: ClassGains) -> dict[str, object]:
    """Return the table, a mapping per class, and what the allocation gains: for a JSON file."""
    content: dict[str, object] = {"classes": gains.table.to_dict("records")}
    if gains.budget:
        content["allocation"] = {
            "images": gains.budget,
            **_named("total_drop", gains.drop),
            **_named("even_total_drop", gains.even_drop),
            "probability_above_even": gains.probability,
            "num_unreliable_classes": gains.num_unreliable,
        }
    return content


def _named(name: str, values: tuple[float, float, float]) -> dict[str, float]:
    """Return mean and interval by the names that the columns of the table have."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def describe_gains(gains: ClassGains) -> str:
    """Describe the gains of the first classes, which stand out, and the allocation."""
    table, most = gains.table, gains.table["allocated_images"].sum() > 0
    shown = table.head(MAX_SHOWN)
    cells = pd.DataFrame(
        {
            "class": shown["class"].str.slice(0, 30),
            "images": shown["num_train_images"].map("{:,.0f}".format),
            "error": _cells(shown, "error", 1),
            "own error falls by": _cells(shown, "own_drop", 1),
            "total error falls by": _cells(shown, "total_drop", 3),
            **({"of the order": shown["allocated_images"].map("{:,.0f}".format)} if most else {}),
        }
    )
    lines = [
        f"What the next {NEXT_IMAGES} images of a class gain, in points (90 % intervals), as far "
        "as its own images make its error fall; the classes with the largest gains:",
        cells.to_string(index=False),
        _standing_out(table),
    ]
    if not table["reliable"].all():
        few = (~table["reliable"]).sum()
        lines.append(
            f"{few} {'class has' if few == 1 else 'classes have'} so few images that {NEXT_IMAGES} "
            f"more are beyond {RELIABLE_FACTOR:.0f} times of them: the gain is unreliable there."
        )
    return "\n".join([*lines, *([_allocation(gains)] if most else [])])


def _cells(table: pd.DataFrame, name: str, digits: int) -> list[str]:
    columns = (100 * table[column] for column in (name, f"{name}_low", f"{name}_high"))
    return [
        f"{m:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
        for m, low, high in zip(*columns, strict=True)
    ]


def _standing_out(table: pd.DataFrame) -> str:
    names = table.loc[table["stands_out"], "class"].str.slice(0, 30).tolist()
    if not names:
        return (
            "No class stands out: for none it is 95 % sure that its images gain more than those of "
            "the mean class. Collect all classes alike."
        )
    listed = ", ".join(names[:MAX_SHOWN]) + (", ..." if len(names) > MAX_SHOWN else ".")
    return (
        f"{len(names)} of {len(table)} classes {'stands' if len(names) == 1 else 'stand'} out "
        f"(95 % sure to gain more than the mean class): {listed}"
    )


def _allocation(gains: ClassGains) -> str:
    table = gains.table[gains.table["allocated_images"] > 0]
    plan, even = (
        f"{100 * mean:.2f} points ({100 * low:.2f} to {100 * high:.2f})"
        for mean, low, high in (gains.drop, gains.even_drop)
    )
    verdict = " They cannot be told apart."
    if gains.probability >= SURE:
        verdict = " In a replay by training an even order was as good (docs/how-to/which-class.md)."
    if count := gains.num_unreliable:
        verdict += (
            f" {count} of these classes would have more than {RELIABLE_FACTOR:.0f} times their "
            "present images: the gain is unreliable there."
        )
    return (
        f"An order of {gains.budget:,} images over {len(table)} of {len(gains.table)} classes: the "
        f"total error falls by {plan}; by {even} if all classes get as many. By these laws the "
        f"first is better with probability {100 * gains.probability:.0f} %.{verdict}"
    )
