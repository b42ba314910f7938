"""Image and label columns of a table, and labels encoded as integers from 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..config import Recipe
from ..errors import InputError
from .subsets import Indices

MAX_LISTED = 10  # bad labels named in a message


def find_columns(features: Mapping[str, Any], recipe: Recipe) -> tuple[str, str]:
    """Find the image and the label column by their types.

    Raises
    ------
    InputError
        If a named column is absent or of the wrong type, or none or several could be meant.
    """
    kinds = {column: type(feature).__name__ for column, feature in features.items()}
    images = [column for column, kind in kinds.items() if kind == "Image"]
    labels = [column for column, kind in kinds.items() if kind == "ClassLabel"]
    for column, flag in ((recipe.image_column, "image"), (recipe.label_column, "label")):
        if column is not None and column not in features:
            columns = ", ".join(features)
            raise InputError(f"--{flag}-column: no column {column!r}; the columns are {columns}")
    image = recipe.image_column or (images[0] if len(images) == 1 else None)
    if image is None or kinds[image] != "Image":
        candidates = ", ".join(images) or f"none among {', '.join(features)}"
        raise InputError(
            f"{recipe.dataset}: image columns: {candidates}; name one by --image-column"
        )
    preferred = [c for c in ("label", "fine_label") if c in (labels or features)]
    label = recipe.label_column or (labels[0] if len(labels) == 1 else next(iter(preferred), None))
    if label is None:
        candidates = ", ".join(labels or [c for c in features if c != image]) or "none"
        raise InputError(
            f"{recipe.dataset}: label columns: {candidates}; name one by --label-column"
        )
    if kinds[label] in ("Image", "Audio", "List", "Sequence"):
        raise InputError(f"{recipe.dataset}: --label-column {label} holds no labels")
    return image, label


def read_column(table: Any, column: str, name: str, source: str, what: str = "labels") -> list[Any]:
    """Return a column of one split: integers or strings, None where one is missing.

    Parameters
    ----------
    table : datasets.Dataset
    column : str
    name, source : str
        Data set and published split, for messages.
    what : str
        What the column holds, for messages.

    Raises
    ------
    InputError
        If there is no such column, or it holds other types.
    """
    if column not in table.features:
        raise InputError(f"{name}: split {source} lacks the column {column!r}")
    values = table.with_format(None)[column][:]
    kinds = {type(value) for value in values} - {type(None)}
    if len(kinds) > 1 or not kinds <= {int, str, bool}:
        types = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InputError(f"{name}: column {column!r} holds {types}; {what} are integers or strings")
    return list(values)


def match_by_name(
    values: list[Any], own_names: list[str] | None, names: list[str] | None
) -> list[Any]:
    """Return labels renumbered after other class names; a name that is not there stays a name.

    Parameters
    ----------
    values : list of int or None
        Labels of one split.
    own_names, names : list of str or None
        Class names of this split, and those to renumber after; None: labels are no numbers.
    """
    if names is None or own_names is None or own_names == names:
        return values
    codes = {name: code for code, name in enumerate(names)}
    by_code: dict[Any, Any] = {c: codes.get(name, name) for c, name in enumerate(own_names)}
    return [by_code.get(value, value if value in (-1, None) else repr(value)) for value in values]


def encode_labels(
    labels: Mapping[str, list[Any]], names: list[str] | None, name: str
) -> tuple[tuple[str, ...], dict[str, Indices]]:
    """Map labels to 0 ... num_classes - 1; drop splits whose labels are all -1 (withheld).

    Parameters
    ----------
    labels : mapping
        Published split -> its labels.
    names : list of str or None
        Class names by code; None: the sorted labels of train.
    name : str
        Of the data set, for messages.

    Returns
    -------
    classes : tuple of str
    codes : dict
        Published split -> int64 ndarray of shape (n,).

    Raises
    ------
    InputError
        If a label is missing or no class of train.
    """
    labels = {s: v for s, v in labels.items() if not all(label == -1 for label in v)}
    if names is None:
        train = labels.get("train") or next(iter(labels.values()), [])
        if any(isinstance(value, int) for value in train):  # -1 says that a label is withheld
            train = [value for value in train if value != -1]
        values = sorted(set(train) - {None})
        codes = {value: code for code, value in enumerate(values)}
        names = [str(value) for value in values]
    else:
        codes = {code: code for code in range(len(names))}
    encoded = {}
    for source, values in labels.items():
        if bad := [
            f"{value!r} in row {row}" for row, value in enumerate(values) if value not in codes
        ]:
            more = f" and {len(bad) - MAX_LISTED} more" if bad[MAX_LISTED:] else ""
            listed = ", ".join(bad[:MAX_LISTED]) + more
            reason = f"labels that are none of the {len(names)} classes of train"
            hint = "; -1 in every row, not in some, says withheld" if -1 in values else ""
            raise InputError(f"{name}: split {source}: {reason}: {listed}{hint}")
        encoded[source] = np.array([codes[value] for value in values], dtype=np.int64)
    return tuple(names), encoded
