"""Sheets of an .xlsx workbook as tables, read with openpyxl within bounds of size."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InputError
from .rows import MAX_ROWS, Cell, Row, Table, build_table, check_size, is_blank

MAX_PARTS = 2_000  # files in the archive that a workbook is
MAX_UNPACKED = 2**27  # bytes of them: a zip bomb is refused before it is unpacked
MAX_COLUMNS = 200


def read_workbook(content: bytes) -> Mapping[str, Table]:
    """Read the sheets that are not empty, by name; of formulas, the values when last saved.

    Raises
    ------
    InputError
        If openpyxl is not installed, the content is no workbook, or it is too large.
    """
    try:
        from openpyxl import load_workbook
    except ModuleNotFoundError:
        raise InputError("needs openpyxl: pip install openpyxl, or save the sheet as CSV") from None
    _check_archive(content)
    try:
        with warnings.catch_warnings(action="ignore"):  # of parts that openpyxl leaves out
            book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            sheets = _sheets(book.worksheets)
    except InputError:
        raise
    except Exception as error:  # whatever a forged archive or its XML raises in openpyxl
        raise InputError(
            f"not an .xlsx workbook that can be read ({type(error).__name__})"
        ) from None
    tables = {title: build_table(rows) for title, rows in sheets.items()}
    return {title: table for title, table in tables.items() if table.rows}


def _check_archive(content: bytes) -> None:
    """Refuse what is no zip archive, or unpacks to more than ``MAX_UNPACKED``."""
    try:
        parts = zipfile.ZipFile(io.BytesIO(content)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise InputError("not an .xlsx workbook; save it as .xlsx or CSV") from None
    unpacked = sum(part.file_size for part in parts)  # zipfile reads no more than this of a part
    if len(parts) > MAX_PARTS or unpacked > MAX_UNPACKED:
        raise InputError(
            f"a workbook of {len(parts):,} parts that unpack to {unpacked:,} bytes; at most "
            f"{MAX_PARTS:,} and {MAX_UNPACKED:,}"
        )


def _sheets(sheets: Sequence[Any]) -> Mapping[str, Sequence[Row]]:
    """Return the rows of each sheet up to the bounds, whatever size it claims to have."""
    content, num_rows = {}, 0
    for sheet in sheets:
        sheet.reset_dimensions()
        rows: list[Row] = []
        limits = {"max_row": MAX_ROWS + 1, "max_col": MAX_COLUMNS}
        for values in sheet.iter_rows(values_only=True, **limits):
            check_size(num_rows := num_rows + 1, 1)  # gaps between rows are rows
            width = len(values)
            while width and values[width - 1] is None:
                width -= 1
            rows.append([_cell(value) for value in values[:width]])
        while rows and all(map(is_blank, rows[-1])):
            rows.pop()
        content[sheet.title] = rows
    return content


def _cell(value: object) -> Cell:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return str(value)  # a date, true: text that is no number
