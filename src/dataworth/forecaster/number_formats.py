"""Numbers in the cells of a table: decimal commas, thousands, percent signs, k and M. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Literal

from ..errors import InputError, short_repr
from .rows import NUMBER_LENGTH, Cell

Mark = Literal[".", ","]
MARKS: dict[str, Mark] = {"point": ".", "comma": ","}
GROUPING = re.compile("(?<=\\d)[ \u00a0\u2009\u202f'\u2019_](?=\\d{3}(?!\\d))")  # of thousands
SCALES = {"k": 1e3, "m": 1e6}  # of sizes such as 50k
PARTS = re.compile(r"([-+]?)([\d.,]+)(e[-+]?\d+)?([km]?)(%?)")


def decimal_mark(sizes: Iterable[Cell], values: Iterable[Cell], is_share: bool) -> Mark:
    """Decide by all cells whether numbers are written with decimal points or commas.

    Parameters
    ----------
    sizes, values : iterable of Cell
        Cells of the columns of sizes, and of errors.
    is_share : bool
        Whether values are shares or percent: a mark in them separates no thousands.

    Raises
    ------
    InputError
        If cells contradict each other, or 1,000 may be 1 or a thousand.
    """
    evidence: dict[Mark, str] = {}
    ambiguous = None
    for cells, may_be_thousands in ((sizes, True), (values, not is_share)):
        for cell in cells:
            if isinstance(cell, str) and ("." in cell or "," in cell):
                mark = _mark_of(cell, may_be_thousands)
                if mark is not None:
                    evidence.setdefault(mark, cell)
                elif is_number_like(cell):
                    ambiguous = cell
    if len(evidence) == 2:
        point, comma = (short_repr(evidence[mark].strip()) for mark in (".", ","))
        raise InputError(f"both decimal points ({point}) and decimal commas ({comma}); keep one")
    if evidence:
        return next(iter(evidence))
    if ambiguous is not None:
        raise InputError(
            f"is {short_repr(ambiguous.strip())} a thousand or has it decimals? say --decimal "
            "point or --decimal comma"
        )
    return "."


def _mark_of(cell: str, may_be_thousands: bool) -> Mark | None:
    """Return the decimal mark that a cell proves, or None."""
    parts = PARTS.fullmatch(_clean(cell))
    if parts is None:
        return None
    body, exponent = parts[2], parts[3]
    marks = [c for c in body if c in ".,"]
    last: Mark = "," if marks[-1] == "," else "."
    if len(set(marks)) == 2:
        return last
    if len(marks) > 1:  # of thousands
        return "." if last == "," else ","
    before, after = body.split(last)
    if exponent or len(after) != 3 or len(before) > 3 or before.startswith("0") or not before:
        return last
    return None if may_be_thousands else last


def is_number_like(cell: str) -> bool:
    """Whether a cell is a number in one of the notations."""
    return PARTS.fullmatch(_clean(cell)) is not None


def parse_number(cell: Cell, mark: Mark) -> tuple[float, bool]:
    """Parse a cell.

    Parameters
    ----------
    cell : Cell
    mark : str
        The decimal mark of the table.

    Returns
    -------
    value : float
    is_percent : bool
        Whether it has a percent sign.

    Raises
    ------
    ValueError
        If it is no number.
    """
    if isinstance(cell, float):
        return cell, False
    if mark == ".":
        with suppress(ValueError):  # most cells
            return float(cell or ""), False
    parts = PARTS.fullmatch(_clean(cell or ""))
    if parts is None:
        raise ValueError("no number")
    sign, body, exponent, scale, percent = parts.groups()
    other = "," if mark == "." else "."
    if other in body:
        whole, *decimals = body.split(mark)
        if not re.fullmatch(rf"\d{{1,3}}(\{other}\d{{3}})+", whole) or len(decimals) > 1:
            raise ValueError(f"{short_repr(body)} mixes decimal marks")
        body = body.replace(other, "")
    value = float(f"{sign}{body.replace(mark, '.')}{exponent or ''}") * SCALES.get(scale, 1.0)
    return value, bool(percent)


def _clean(cell: str) -> str:
    """Return a short text in lower case without spaces around its percent sign or in thousands."""
    if len(cell) > 2 * NUMBER_LENGTH:
        return ""
    text = GROUPING.sub("", cell.strip().lower().replace("\u2212", "-"))
    return re.sub(r"\s+(?=%$)", "", text)
