"""A file of measurements as a table: CSV in its dialects, .json, .jsonl, .xlsx; sizes bounded."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Mapping
from itertools import dropwhile, islice
from pathlib import Path

from ..errors import InputError, os_error_message
from .json_tables import read_json, read_json_lines
from .rows import MAX_ROWS, Table, build_table, is_number
from .workbooks import read_workbook

MAX_BYTES = 2**23  # of a file: JSON of empty lists takes thirty times as much memory
DELIMITERS = ("\t", ";", ",", "|")  # a comma may be a decimal comma where there are others
SAMPLE = 100  # rows that the delimiter is decided by
SIGNATURES = {  # first bytes -> what such a file is
    b"PK\x03\x04": "a zip archive or workbook; name it .xlsx if it is one",
    b"\xd0\xcf\x11\xe0": "an old or encrypted Excel file; save it as .xlsx without a password",
    b"PAR1": "a parquet file; save it as CSV",
    b"\x1f\x8b": "compressed; unpack it",
    b"%PDF": "a PDF; copy its table to a CSV file",
}


def read_tables(path: Path) -> Mapping[str, Table]:
    """Read the tables of a file: one, named by the empty string, or one for each sheet.

    Raises
    ------
    InputError
        Naming the file, if it cannot be read, is too large, or holds no table.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(os_error_message(error)) from None
    except ValueError as error:  # a null character in the name
        raise InputError(f"{str(path)!r:.80}: {error}") from None
    suffix = path.suffix.lower()
    try:
        if len(content) > MAX_BYTES:
            raise InputError(f"larger than {MAX_BYTES >> 20} MB; keep the columns that are needed")
        for signature, reason in SIGNATURES.items():
            if content.startswith(signature) and suffix != ".xlsx":
                raise InputError(reason)
        if suffix == ".xlsx":
            return read_workbook(content)
        return {"": TEXT_READERS.get(suffix, read_text)(decode(content))}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def decode(content: bytes) -> str:
    """Decode UTF-8, UTF-16 with a byte order mark, or else Windows-1252, as Excel saves CSV.

    Raises
    ------
    InputError
        If it is not text.
    """
    try:
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
        if "\ufffd" in text:
            raise InputError("not text") from None
    if re.search("[\x00-\x08\x0e-\x1f]", text):
        raise InputError("not text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text(text: str) -> Table:
    """Read a table of delimited text.

    Lines that begin with # are comments, but for one that names the columns of a table without
    other names, as numpy.savetxt writes it.

    Raises
    ------
    InputError
        If it is no table.
    """
    excel_line = re.match(r'"?sep=(.)"?\n', text)  # names the delimiter
    rows = _split(text, excel_line[1] if excel_line else _delimiter(text))
    if excel_line:
        rows[0] = []
    is_comment = [bool(row) and row[0].startswith("#") for row in rows]
    first = next((r for r, c in zip(rows, is_comment, strict=True) if any(r) and not c), [])
    last_comment = next((i for i in reversed(range(len(rows))) if is_comment[i]), None)
    if last_comment is not None and all(map(is_number, first)):
        names = [rows[last_comment][0].lstrip("# "), *rows[last_comment][1:]]
        if len(names) == len(first):
            rows[last_comment], is_comment[last_comment] = names, False
    return build_table([[] if c else row for row, c in zip(rows, is_comment, strict=True)])


def _delimiter(text: str) -> str | None:
    """Return the delimiter that gives all rows the same number of cells; None: white space."""
    lines = (line for line in io.StringIO(text) if line.strip(" \t\r\n"))
    sample = list(islice((line for line in lines if not line.lstrip().startswith("#")), SAMPLE))
    candidates = [mark for mark in DELIMITERS if any(mark in line for line in sample)]
    for mark in candidates:
        try:
            rows = [row for row in map(_strip, csv.reader(sample, delimiter=mark)) if row]
        except csv.Error:
            continue
        rows = list(dropwhile(lambda row: len(row) < 2, rows))  # titles
        has_names = bool(rows) and not all(map(is_number, rows[0]))
        if (has_names or mark in sample[0]) and len({len(row) for row in rows}) == 1:
            return mark
    in_header = [mark for mark in candidates if mark in sample[0]]
    if in_header:
        return in_header[0]
    return None if sample and len(sample[0].split()) > 1 else ","


def _split(text: str, delimiter: str | None) -> list[list[str]]:
    if delimiter is None:
        lines = islice(io.StringIO(text), MAX_ROWS + 1)
        return [re.sub(r"^\s*#\s*", "#", line).split() for line in lines]
    try:
        reader = csv.reader(io.StringIO(text), strict=True, delimiter=delimiter)
        return [[cell.strip() for cell in row] for row in islice(reader, MAX_ROWS + 1)]
    except csv.Error as error:
        raise InputError(f"not a CSV file: {error}") from None


def _strip(row: list[str]) -> list[str]:
    """Return a row without blank cells at its end."""
    while row and not row[-1].strip():
        row.pop()
    return row


TEXT_READERS: dict[str, Callable[[str], Table]] = {
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
}
