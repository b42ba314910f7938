"""InputError, the exception for user mistakes, and helpers that word its messages. Pure."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError


class InputError(Exception):
    """What a user can get wrong: one line that says what, where and how to mend it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``; did you mean resnet18, resnet50?``, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {', '.join(close)}?" if close else ""


def one_line(error: ValidationError, fields: Mapping[str, Any]) -> str:
    """Spell the first mistake in a record with these fields."""
    first = error.errors()[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        return f"unknown key {shortened(field)}{nearest(field, fields)}"
    message = first["msg"].removeprefix("Value error, ")
    value = first["input"]
    shown = "" if first["type"] == "value_error" else f" (got {shortened(value)})"
    return f"--{field.replace('_', '-')}: {message[:1].lower()}{message[1:]}{shown}"


def shortened(value: Any) -> str:
    """Spell a value for a message; a few bytes of YAML can stand for gigabytes."""
    spelling = reprlib.Repr()
    spelling.maxlevel, spelling.maxstring, spelling.maxother, spelling.maxlong = 2, 60, 60, 60
    return spelling.repr(value)
