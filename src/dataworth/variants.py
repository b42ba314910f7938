"""Variants: named changes to a study's recipe, one curve each; stored as hashable pairs. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

Value = bool | int | float | str | None
Pairs = tuple[tuple[str, tuple[tuple[str, Value], ...]], ...]  # name -> field -> value
SHARED = (
    "dataset", "dataset_revision", "image_column", "label_column", "group_column", "group_from",
    "on_leak", "on_bad_image",
    "validation_fraction", "image_size", "select_by",
)  # fmt: skip  # the same for all variants, so that their errors are comparable
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"  # valid folder name
NOT_A_SIZE = r"(?![0-9.]+$)"  # folders of subset sizes may have the same parent


def as_pairs(value: Any) -> Any:
    """Convert mappings of mappings to pairs; return anything else as it is, to be validated."""
    if not isinstance(value, Mapping):
        return value
    return tuple((str(name), as_pairs(inner)) for name, inner in value.items())


def as_mapping(variants: Pairs) -> dict[str, dict[str, Value]]:
    """Convert pairs to mappings."""
    return {name: dict(changes) for name, changes in variants}


def combinations(values_by_field: Mapping[str, list[str]]) -> Pairs:
    """Return one variant per combination of values, named after them: timm:MODEL is timm-MODEL."""
    fields = list(values_by_field)
    return tuple(
        ("-".join(values).replace(":", "-"), tuple(zip(fields, values, strict=True)))
        for values in itertools.product(*values_by_field.values())
    )


def check_variant_name(name: str) -> str:
    """Return the name of a variant if it is a valid folder name; empty: a study of one recipe."""
    if name and not re.fullmatch(NOT_A_SIZE + NAME, name):
        raise ValueError(f"{name[:60]!r} is no name for a variant: begin with a letter")
    return name


def check_variants(variants: Pairs) -> Pairs:
    """Return the variants if their names are valid and distinct and their data are the same.

    Raises
    ------
    ValueError
        Naming the variant, and the field that may not differ.
    """
    names = [name for name, _ in variants]
    for name, changes in variants:
        if not check_variant_name(name):
            raise ValueError("'' is no name for a variant: begin with a letter")
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is given twice")
        for field, _ in changes:
            if field in SHARED:
                raise ValueError(f"{name}: {field} is the same for all variants of a study")
    return variants


VariantName = Annotated[str, AfterValidator(check_variant_name)]
Variants = Annotated[
    Pairs, BeforeValidator(as_pairs), AfterValidator(check_variants), PlainSerializer(as_mapping)
]
