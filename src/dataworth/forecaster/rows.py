"""Table: named columns of cells, with the place of each row in its file; sizes bounded. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from ..errors import InputError

Cell = str | float | None
Row = Sequence[Cell]

MAX_ROWS = 200_000  # of a file, with its header: more take minutes
MAX_CELLS = 5_000_000  # of a table: sparse records of JSON would fill any memory
MAX_COLUMNS = 1_000
NUMBER = re.compile(r"[-+]?[\d.,\s]*\d(e[-+]?\d+)?\s*%?", re.IGNORECASE)
NUMBER_LENGTH = 40  # of the longest text that is a number
WHOLE = 1e17  # below it, whole numbers are written without an exponent


@dataclass(frozen=True)
class Table:
    """Cells of named columns."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]  # each as long as the header
    places: tuple[str, ...]  # of each row, for messages, such as "row 3"

    def column(self, name: str) -> list[Cell]:
        """Cells of a column."""
        position = self.header.index(name)
        return [row[position] for row in self.rows]

    def where(self, name: str, value: str) -> Table:
        """Return the rows that have a value in a column: the same text, or the same number."""
        texts, number = [text_of(cell) for cell in self.column(name)], _exact_number(value)
        kept = [
            i
            for i, text in enumerate(texts)
            if text == value or (number is not None and _exact_number(text) == number)
        ]
        rows = tuple(self.rows[i] for i in kept)
        return Table(self.header, rows, tuple(self.places[i] for i in kept))


def is_blank(cell: Cell) -> bool:
    """Whether a cell is empty."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def text_of(cell: Cell) -> str:
    """Return a cell as text; numbers as short as they are exact, without a needless point."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.0f}" if cell.is_integer() and abs(cell) < WHOLE else repr(cell)
    return cell.strip()


def is_number(text: str) -> bool:
    """Whether a text looks like a number, in any notation."""
    return len(text) <= NUMBER_LENGTH and NUMBER.fullmatch(text) is not None


def _exact_number(text: str) -> Decimal | None:
    """Return the number that a text is with a decimal point; long ids keep all their digits."""
    try:
        return Decimal(text) if is_number(text) else None
    except InvalidOperation:
        return None


def build_table(rows: Sequence[Row]) -> Table:
    """Build a table from rows, the first of which names the columns.

    Lines above it that have a single cell are titles. If the first row holds numbers only, the
    columns are named "column 1", "column 2" and so on.

    Raises
    ------
    InputError
        If there are too many rows, a row is longer than the header, or a name is used twice.
    """
    check_size(len(rows), 1)
    filled = [
        (f"row {i}", row) for i, row in enumerate(rows, start=1) if not all(map(is_blank, row))
    ]
    widths = [sum(not is_blank(cell) for cell in row) for _, row in filled]
    if max(widths, default=0) > 1:
        filled = filled[next(i for i, width in enumerate(widths) if width > 1) :]
    if not filled:
        return Table((), (), ())
    names = [text_of(cell) for cell in filled[0][1]]
    if all(is_number(name) for name in names if name):
        names = [f"column {i}" for i in range(1, len(names) + 1)]
    else:
        filled = filled[1:]
    while names and not names[-1]:
        names.pop()
    check_size(len(filled), len(names))
    for place, row in filled:
        if any(not is_blank(cell) for cell in row[len(names) :]):
            raise InputError(
                f"{place}: {len(row)} cells, the header has {len(names)}; write numbers without "
                "commas"
            )
    cells = tuple(tuple(row[: len(names)]) + (None,) * (len(names) - len(row)) for _, row in filled)
    return Table(tuple(names), cells, tuple(place for place, _ in filled))


def table_of_records(records: Sequence[Mapping[str, Cell]], places: Sequence[str]) -> Table:
    """Build a table from records; a column for each key.

    Parameters
    ----------
    records : sequence of mapping
    places : sequence of str
        Of each record in its file.

    Raises
    ------
    InputError
        If there are too many records or keys.
    """
    names = list(dict.fromkeys(key for record in records for key in record))
    check_size(len(records) + 1, len(names))
    rows = tuple(tuple(record.get(name) for name in names) for record in records)
    return Table(tuple(names), rows, tuple(places))


def check_size(num_rows: int, num_columns: int) -> None:
    """Refuse more rows, columns or cells than are read in seconds."""
    if num_rows > MAX_ROWS:
        raise InputError(f"more than {MAX_ROWS:,} rows: average the errors of each size")
    if num_columns > MAX_COLUMNS or num_rows * num_columns > MAX_CELLS:
        raise InputError(
            f"{num_rows:,} rows of {num_columns:,} columns; at most {MAX_COLUMNS:,} columns and "
            f"{MAX_CELLS:,} cells: keep the columns that are needed"
        )
