"""The text of ``--help``: flags as tyro describes them, without defaults that say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from ..config import Record

METAVARS: Mapping[Any, str] = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}
REGISTRY = ConstructorRegistry()


@REGISTRY.struct_rule
def _flags_of(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Return the flags of a record; None, empty and False are not shown as defaults.

    Nor is the value of a default that the description gives in words.
    """
    if not (isinstance(info.type, type) and issubclass(info.type, Record)):
        return None
    hints = get_type_hints(info.type, include_extras=True)
    fields = []
    for name, field in info.type.model_fields.items():
        default = getattr(info.default, name, field.get_default(call_default_factory=True))
        kind, text = hints[name], field.description or ""
        if "(default:" in text or default is None or default is False or default == ():
            kind = Annotated[kind, tyro.conf.arg(help_behavior_hint="")]
        if default is None and (metavar := _metavar(field.annotation)):
            is_positional = tyro.conf.Positional in get_args(kind)
            metavar = f"[{metavar}]" if is_positional else metavar
            kind = Annotated[kind, tyro.conf.arg(metavar=metavar)]
        fields.append(StructFieldSpec(name, kind, default, text))
    return StructConstructorSpec(info.type, tuple(fields))


def _metavar(kind: Any) -> str | None:
    """Return the metavar of a simple type, or of a union of them, without None."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return "{" + ",".join(map(str, get_args(kind))) + "}"
    if kind in METAVARS:
        return METAVARS[kind]
    is_union = get_origin(kind) in (Union, UnionType)
    options = [_metavar(option) for option in get_args(kind) if option is not NoneType]
    return "|".join(filter(None, options)) if is_union and all(options) else None
