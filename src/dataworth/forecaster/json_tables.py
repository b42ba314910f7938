"""Tables in JSON: records, columns, rows; as pandas, scikit-learn and W&B write them. Pure."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence

from ..errors import InputError, short_repr
from .rows import Cell, Table, build_table, check_size, table_of_records

Json = object  # what the json module makes of a text
MAX_DEPTH = 6  # of objects within a record


def read_json(text: str) -> Table:
    """Read the table in a JSON text.

    It may be a list of objects (records) or of lists (rows), an object of lists (columns; a list
    of lists is a column for each fold or seed), what pandas makes of a table, an object of records
    by name, or an object that contains one of these.

    Raises
    ------
    InputError
        If it is not JSON, is nested too deeply, or holds no table.
    """
    return _table(_parse(text), MAX_DEPTH)


def read_json_lines(text: str) -> Table:
    """Read a table of one JSON object per line.

    Raises
    ------
    InputError
        Naming the line, if one is no object.
    """
    records: list[Mapping[str, Cell]] = []
    places = []
    for i, line in enumerate(io.StringIO(text), start=1):
        if not line.strip():
            continue
        try:
            value = _parse(line)
            if not isinstance(value, dict):
                raise InputError("no JSON object; each line must be one")
            records.append(_flat(value))
        except InputError as error:
            raise InputError(f"line {i}: {error}") from None
        places.append(f"line {i}")
        check_size(len(records) + 1, 1)
    return table_of_records(records, places)


def _parse(text: str) -> Json:
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_int=float, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise InputError("JSON that is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"not JSON: {error}") from None


def _unique(pairs: list[tuple[str, Json]]) -> Mapping[str, Json]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = max(counts, key=counts.__getitem__)
        raise InputError(f"JSON key {short_repr(twice)} is given twice in one object")
    return mapping


def _refuse_constant(text: str) -> float:
    raise InputError(f"{text} is no number of JSON; leave its row out")


def _table(value: Json, depth: int) -> Table:
    if isinstance(value, list):
        return _of_list(value)
    if isinstance(value, dict):
        if "columns" in value and isinstance(rows := value.get("data"), list):
            return _of_list([value["columns"], *rows])  # pandas, orient="split"
        for of_mapping in (_of_columns, _of_mappings, _of_sizes):
            if (table := of_mapping(value)) is not None:
                return table
        inner = [v for v in value.values() if isinstance(v, list | dict) and v]
        if len(inner) == 1 and depth > 1:
            return _table(inner[0], depth - 1)
    raise InputError('no table; write a list of objects such as [{"n": 1000, "error": 0.42}, ...]')


def _of_list(values: Sequence[Json]) -> Table:
    """Read records, or rows whose first one names the columns."""
    check_size(len(values) + 1, 1)
    if values and all(isinstance(value, dict) for value in values):
        records = [_flat(value) for value in values if isinstance(value, dict)]
        return table_of_records(records, [f"record {i}" for i in range(1, len(records) + 1)])
    if values and all(isinstance(value, list) for value in values):
        check_size(len(values), max(len(value) for value in values if isinstance(value, list)))
        return build_table([[_cell(c) for c in v] for v in values if isinstance(v, list)])
    raise InputError("a JSON list of neither objects nor lists")


def _of_columns(value: Mapping[str, Json]) -> Table | None:
    """Read lists of one length as columns; single values and texts beside them are left out."""
    lists = {key: cells for key, cells in value.items() if isinstance(cells, list)}
    if len(lists) < 2:
        return None
    if len(lengths := {len(cells) for cells in lists.values()}) > 1:
        raise InputError(f"JSON lists of different lengths: {short_repr(sorted(lengths))}")
    if any(isinstance(cell, dict) for cells in lists.values() for cell in cells):
        return None
    (num_rows,) = lengths
    names = [name for key, cells in lists.items() for name in _names(key, cells)]
    check_size(num_rows + 1, len(names))
    columns = [column for cells in lists.values() for column in _columns(cells)]
    places = tuple(f"entry {i}" for i in range(1, num_rows + 1))
    return Table(tuple(names), tuple(zip(*columns, strict=True)), places)


def _names(key: str, cells: Sequence[Json]) -> list[str]:
    width = max((len(cell) for cell in cells if isinstance(cell, list)), default=0)
    return [f"{key} (seed {i})" for i in range(width)] if width else [key]


def _columns(cells: Sequence[Json]) -> list[list[Cell]]:
    """Return one column, or one for each place in the lists that a column consists of."""
    rows = [cell if isinstance(cell, list) else [cell] for cell in cells]
    width = max(map(len, rows), default=1) or 1
    check_size(len(rows), width)
    return [[_cell(row[i]) if i < len(row) else None for row in rows] for i in range(width)]


def _of_mappings(value: Mapping[str, Json]) -> Table | None:
    """Read columns by row number, as pandas writes them by default, or records by name."""
    inner = {key: cells for key, cells in value.items() if isinstance(cells, dict) and cells}
    if len(inner) < 2 or len(inner) < len(value):
        return None
    if all(key.isdigit() for cells in inner.values() for key in cells):
        keys = list(dict.fromkeys(key for cells in inner.values() for key in cells))
        check_size(len(keys) + 1, len(inner))
        rows = tuple(tuple(_cell(cells.get(key)) for cells in inner.values()) for key in keys)
        return Table(tuple(inner), rows, tuple(f"row {key}" for key in keys))
    records = [_flat(cells) for cells in inner.values()]
    return table_of_records(records, [short_repr(key) for key in inner])


def _of_sizes(value: Mapping[str, Json]) -> Table | None:
    """Read an object whose keys are the sizes, and whose values the errors."""
    try:
        keys = [float(key) for key in value]
    except ValueError:
        return None
    cells = list(value.values())
    if not keys or any(isinstance(cell, dict) for cell in cells):
        return None
    columns = [list[Cell](keys), *_columns(cells)]
    names = ("key", *_names("value", cells))
    return Table(names, tuple(zip(*columns, strict=True)), tuple(f"key {key}" for key in value))


def _flat(record: Mapping[str, Json], prefix: str = "", depth: int = MAX_DEPTH) -> dict[str, Cell]:
    """Return an object without objects in it: their keys follow a dot."""
    if depth == 0:
        raise InputError("JSON that is nested too deeply")
    flat: dict[str, Cell] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.", depth - 1)
        else:
            flat[f"{prefix}{key}"] = _cell(value)
    return flat


def _cell(value: Json) -> Cell:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return value
    return short_repr(value)  # true, a list: text that is no number
