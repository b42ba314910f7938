"""Runs of a table: sizes and values as numbers, and values as errors. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, short_repr
from ..scaling.laws import Array
from .columns import Columns, is_count, shown, words
from .number_formats import Mark, parse_number
from .rows import Cell, Table, is_blank, text_of

MAX_SIZE = 1e18  # larger than any data set; its sums and powers stay finite


@dataclass(frozen=True)
class Runs:
    """One measured value per run; arrays of shape (runs,)."""

    n: Array  # training images
    value: Array  # as written, in whatever unit
    num_test: Array | None  # test images, if known
    has_percent_sign: NDArray[np.bool_]
    cells: Sequence[tuple[str, str, Cell]]  # place, column and cell of each value, for messages
    num_blank: int  # cells without a value

    def refuse(self, i: int, reason: str) -> NoReturn:
        """Raise InputError for a value."""
        place, name, cell = self.cells[i]
        raise InputError(f"{place}: {shown(name)} is {_text(cell)}, {reason}")


def read_runs(table: Table, columns: Columns, mark: Mark, unbounded: bool) -> Runs:
    """Read the numbers of the chosen columns.

    Parameters
    ----------
    table : Table
    columns : Columns
    mark : str
        The decimal mark.
    unbounded : bool
        Whether values are losses, not shares.

    Raises
    ------
    InputError
        Naming the row, if a cell is not a number, or out of range.
    """
    names = [columns.size, *columns.errors, *([columns.num_test] if columns.num_test else [])]
    x, *others = (table.column(name) for name in names)
    ys, tests = others[: len(columns.errors)], others[len(columns.errors) :]
    rows: list[tuple[float, float, float, bool]] = []
    cells, num_blank = list[tuple[str, str, Cell]](), 0
    for i, place in enumerate(table.places):
        present = [k for k, y in enumerate(ys) if len(ys) == 1 or not is_blank(y[i])]
        num_blank += len(ys) - len(present)
        if not present:
            continue
        size = _positive(x[i], mark, place, columns.size)
        num_test = _positive(tests[0][i], mark, place, names[-1]) if tests else np.nan
        if num_test < 1:
            raise InputError(f"{place}: {shown(names[-1])} is a share: write the number of images")
        for k in present:
            value, percent = _number(ys[k][i], mark, place, columns.errors[k])
            cells.append((place, columns.errors[k], ys[k][i]))
            rows.append((size, value, num_test, percent))
    n, values, test_images, signs = np.array(rows, dtype=float).reshape(-1, 4).T
    runs = Runs(n, values, test_images if tests else None, signs > 0, cells, num_blank)
    is_valid = (values > 0 if unbounded else values >= 0) & (values < np.inf)
    if not is_valid.all():
        expected = "a number above 0" if unbounded else "a share between 0 and 1"
        runs.refuse(int(is_valid.argmin()), f"not {expected}")
    if "percent" in words(columns.size) or (len(n) and n.max() <= 1 and n.min() < 1):
        raise InputError(
            f"{shown(columns.size)} holds shares of a training set: write numbers of images"
        )
    return runs


def as_errors(
    runs: Runs, columns: Columns, flags: Sequence[str], unbounded: bool
) -> tuple[Array, list[str]]:
    """Convert values to errors.

    Parameters
    ----------
    runs : Runs
    columns : Columns
    flags : sequence of str
        ``--as``: what the values are, where their name and size do not say.
    unbounded : bool
        Whether values are losses, which are taken as they are.

    Returns
    -------
    error : ndarray of shape (runs,)
        Shares.
    notes : list of str
        What was decided.

    Raises
    ------
    InputError
        If values are neither shares nor percent, or may be both.
    """
    name, meaning = shown(columns.errors[0]), columns.meaning
    if {"error", "accuracy"} <= set(flags) or {"share", "percent"} <= set(flags):
        raise InputError("--as: error or accuracy, share or percent; not both")
    if unbounded:
        return runs.value, [] if name.lower() == "error" else [f"values of {name} as they are"]
    if "accuracy" in flags or "error" in flags:
        meaning = "accuracy" if "accuracy" in flags else "error"
    if meaning not in ("error", "accuracy"):
        raise InputError(f"is {name} an error or an accuracy? say --as error or --as accuracy")
    if any(map(is_count, columns.errors)) and not {"share", "percent"} & set(flags):
        raise InputError(f"{name} holds numbers of answers: write shares of the test images")
    is_percent = _is_percent(runs, columns, flags)
    share = runs.value / 100 if is_percent else runs.value
    if len(share) and share.max() > 1:
        runs.refuse(int(share.argmax()), "neither a share nor a percentage")
    error = 1 - share if meaning == "accuracy" else share
    if columns.is_score and not {"error", "accuracy"} & set(flags) and _rises(runs.n, error):
        raise InputError(
            f"{name} falls as the training set grows: say --as error, or --as accuracy"
        )
    if meaning == "accuracy":
        chance = ["chance level of AUROC: 0.5 (--chance 0.5)"] if columns.is_auroc else []
        return error, [f"error = 1 - {name}" + (", from percent" if is_percent else ""), *chance]
    if is_percent:
        return error, [f"error from {name}, in percent"]
    return error, [] if name.lower() == "error" else [f"error from {name}"]


def _is_percent(runs: Runs, columns: Columns, flags: Sequence[str]) -> bool:
    """Decide by all values whether they are in percent."""
    if "percent" in flags or "share" in flags:
        return "percent" in flags
    value, name = runs.value, shown(columns.errors[0])
    if not len(value):
        return False
    if runs.has_percent_sign.any():
        if not runs.has_percent_sign.all():
            runs.refuse(int(runs.has_percent_sign.argmin()), "without %; write all with it or none")
        return True
    if value.max() <= 1:
        if columns.is_percent:
            raise InputError(
                f"{name} holds no value above 1: say --as percent, or --as share if 1 is all"
            )
        return False
    if not columns.is_percent and value.min() <= 1:
        runs.refuse(
            int(value.argmax()),
            "not a share between 0 and 1; if all values are in percent, say --as percent",
        )
    return True


def _rises(n: Array, error: Array) -> bool:
    return bool(error[n == n.max()].mean() > error[n == n.min()].mean()) if len(n) else False


def _number(cell: Cell, mark: Mark, place: str, name: str) -> tuple[float, bool]:
    try:
        return parse_number(cell, mark)
    except ValueError:
        hint = ""
        if any(sign in str(cell) for sign in ("±", "+-", "+/-", "(")):
            hint = "; write the mean alone, or one column per seed"
        raise InputError(
            f"{place}: {shown(name)} is {short_repr(text_of(cell))}, not a number{hint}"
        ) from None


def _positive(cell: Cell, mark: Mark, place: str, name: str) -> float:
    value, percent = _number(cell, mark, place, name)
    if percent or not 0 < value < MAX_SIZE:
        raise InputError(f"{place}: {shown(name)} is {_text(cell)}, not a number above 0")
    return value


def _text(cell: Cell) -> str:
    return shown(text_of(cell))
