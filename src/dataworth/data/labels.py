"""From the columns of a table to class numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..config import Recipe
from ..errors import InputError
from .subsets import Indices

LISTED = 10  # bad labels that are named


def find_columns(features: Mapping[str, Any], recipe: Recipe) -> tuple[str, str]:
    """Find the image and the label column by their types."""
    kinds = {column: type(feature).__name__ for column, feature in features.items()}
    images = [column for column, kind in kinds.items() if kind == "Image"]
    labels = [column for column, kind in kinds.items() if kind == "ClassLabel"]
    for asked, flag in ((recipe.image_column, "image"), (recipe.label_column, "label")):
        if asked is not None and asked not in features:
            columns = ", ".join(features)
            raise InputError(f"--{flag}-column: no column {asked!r}; the columns are {columns}")
    image = recipe.image_column or (images[0] if len(images) == 1 else None)
    if image is None or kinds[image] != "Image":
        found = ", ".join(images) or f"none among {', '.join(features)}"
        raise InputError(f"{recipe.dataset}: image columns: {found}; name one by --image-column")
    preferred = [c for c in ("label", "fine_label") if c in (labels or features)]
    label = recipe.label_column or (labels[0] if len(labels) == 1 else next(iter(preferred), None))
    if label is None:
        found = ", ".join(labels or [c for c in features if c != image]) or "none"
        raise InputError(f"{recipe.dataset}: label columns: {found}; name one by --label-column")
    if kinds[label] in ("Image", "Audio", "List", "Sequence"):
        raise InputError(f"{recipe.dataset}: --label-column {label} holds no labels")
    return image, label


def read_labels(table: Any, column: str, name: str, source: str) -> list[Any]:
    """Read one split's labels: whole numbers or strings, None where one is missing."""
    if column not in table.features:
        raise InputError(f"{name}: split {source} lacks the column {column!r}")
    values = table.with_format(None)[column][:]
    kinds = {type(value) for value in values} - {type(None)}
    if len(kinds) > 1 or not kinds <= {int, str, bool}:
        shown = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InputError(f"{name}: column {column!r} holds {shown}; labels are integers or strings")
    return list(values)


def encode_labels(
    raw: Mapping[str, list[Any]], names: list[str] | None, name: str
) -> tuple[tuple[str, ...], dict[str, Indices]]:
    """Map labels to 0 .. classes - 1; drop splits whose labels are all -1 (withheld)."""
    raw = {s: v for s, v in raw.items() if not all(label == -1 for label in v)}
    if names is None:
        train = raw.get("train") or next(iter(raw.values()), [])
        values = sorted(set(train) - {None})
        codes = {value: code for code, value in enumerate(values)}
        names = [str(value) for value in values]
    else:
        codes = {code: code for code in range(len(names))}
    encoded = {}
    for source, values in raw.items():
        if bad := [
            f"{value!r} in row {row}" for row, value in enumerate(values) if value not in codes
        ]:
            listed = ", ".join(bad[:LISTED]) + (
                f" and {len(bad) - LISTED} more" if bad[LISTED:] else ""
            )
            reason = f"labels that are none of the {len(names)} classes of train"
            raise InputError(f"{name}: split {source}: {reason}: {listed}")
        encoded[source] = np.array([codes[value] for value in values], dtype=np.int64)
    return tuple(names), encoded
