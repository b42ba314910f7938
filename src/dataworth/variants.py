"""Named changes to a study's recipe: one curve each. Spelled as pairs, so that they can be keys."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

Value = bool | int | float | str | None
Pairs = tuple[tuple[str, tuple[tuple[str, Value], ...]], ...]  # name -> field -> value
SHARED = (
    "dataset", "dataset_revision", "image_column", "label_column", "on_bad_image",
    "validation_fraction", "image_size", "select_by",
)  # fmt: skip  # fields that all variants share, so that their errors can be compared
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"  # of a folder
NO_SIZE = r"(?![0-9.]+$)"  # a variant's folder lies where those of subset sizes may lie


def as_pairs(value: Any) -> Any:
    """Spell mappings of mappings as pairs; leave the rest for the type to judge."""
    if not isinstance(value, Mapping):
        return value
    return tuple((str(name), as_pairs(inner)) for name, inner in value.items())


def as_mapping(variants: Pairs) -> dict[str, dict[str, Value]]:
    """Spell pairs as mappings."""
    return {name: dict(changes) for name, changes in variants}


def combinations(several: Mapping[str, list[str]]) -> Pairs:
    """Return a variant for each combination of values (field -> values), named after them."""
    chosen = itertools.product(*several.values())
    return tuple(("-".join(values), tuple(zip(several, values, strict=True))) for values in chosen)


def checked(variants: Pairs) -> Pairs:
    """Return variants that can be told apart and share their data.

    Raises
    ------
    ValueError
        Naming the variant and the field.
    """
    names = [name for name, _ in variants]
    for name, changes in variants:
        if not re.fullmatch(NO_SIZE + NAME, name):
            raise ValueError(f"{name[:60]!r} is no name for a variant: begin with a letter")
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is given twice")
        for field, _ in changes:
            if field in SHARED:
                raise ValueError(f"{name}: {field} is the same for all variants of a study")
    return variants


Variants = Annotated[
    Pairs, BeforeValidator(as_pairs), AfterValidator(checked), PlainSerializer(as_mapping)
]
