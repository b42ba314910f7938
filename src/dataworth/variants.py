"""Types of a study's fields: variants of its recipe, subset sizes. Pure.

Variants are named changes to the recipe, one curve each, stored as hashable pairs. A subset size is
a share of the training set, which may be written as a fraction, or a number of images.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer
from tyro.constructors import PrimitiveConstructorSpec

Value = bool | int | float | str | None
Pairs = tuple[tuple[str, tuple[tuple[str, Value], ...]], ...]  # name -> field -> value
SHARED = (
    "dataset", "dataset_revision", "image_column", "label_column", "group_column", "group_from",
    "on_leak", "on_bad_image",
    "validation_fraction", "image_size", "select_by",
)  # fmt: skip  # the same for all variants, so that their errors are comparable
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"  # valid folder name
FRACTION = re.compile(r"(\d{1,18})/(\d{1,18})")  # a share as a fraction, such as 1/64
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


def _parse_fraction(value: Any) -> Any:
    """Return a fraction such as ``1/64`` as a number; anything else as it is, to be validated."""
    if not isinstance(value, str) or not (match := FRACTION.fullmatch(value)):
        return value
    numerator, denominator = map(int, match.groups())
    if not 0 < numerator <= denominator:
        raise ValueError(f"{value} is no share in (0, 1]")
    return numerator / denominator


def _share_or_count(size: float) -> float | int:
    if size > 1 and float(size).is_integer():
        return int(size)
    if 0 < size <= 1:
        return float(size)
    raise ValueError(f"{size} is neither a share in (0, 1] nor a whole number of images above 1")


Size = Annotated[  # float: a share; int: a number of images
    float | int,
    BeforeValidator(_parse_fraction),
    AfterValidator(_share_or_count),
    PrimitiveConstructorSpec(  # of the command line
        nargs=1,
        metavar="FLOAT|INT",
        instance_from_str=lambda words: (
            words[0] if FRACTION.fullmatch(words[0]) else float(words[0])
        ),
        is_instance=lambda value: isinstance(value, float | int),
        str_from_instance=lambda value: [str(value)],
    ),
]
