"""Exceptions for user mistakes and damaged files, and helpers that word their messages. Pure.

Our exception hierarchy, with who handles each:

    Exception
    ├── InputError              the command prints one line and exits with code 2
    │   ├── HeldError           another process holds the lock of a folder
    │   └── ProcessLostError    another rank of the process group ended or does not answer
    └── DamagedError            a stored file is missing or corrupt; the caller sets it aside,
                                skips the run, or raises InputError from it

Exceptions that never leave their package are defined there: ``BadImageError`` (data),
``DivergedError`` (training), ``NotIdentifiableError`` (scaling).
"""

from __future__ import annotations

import difflib
import os
import reprlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # commands handle signals before they import it
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails


class InputError(Exception):
    """A mistake that the user can correct: one line with what is wrong, where, and the remedy."""


class HeldError(InputError):
    """Another process holds the lock of a folder."""


class ProcessLostError(InputError):
    """Another rank of the process group has ended or does not answer."""


class DamagedError(Exception):
    """A stored file is missing, corrupt, or not the one that was written: one line, with path."""


def os_error_message(error: OSError) -> str:
    """Format an error of the operating system as one line: the file, if it names one, and why."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return reason
    return f"{os.fsdecode(error.filename)}: {reason}"


def did_you_mean(name: str, valid_names: Iterable[str]) -> str:
    """Return a hint such as ``; did you mean resnet18, resnet50?``, or an empty string."""
    matches = difflib.get_close_matches(name, list(valid_names), n=3, cutoff=0.5)
    return f"; did you mean {', '.join(matches)}?" if matches else ""


def first_error_message(error: ValidationError, fields: Mapping[str, Any]) -> str:
    """Format the first error of a record with these fields as one line."""
    details = error.errors()[0]
    field = str(details["loc"][0]) if details["loc"] else ""
    if details["type"] == "extra_forbidden":
        return f"unknown key {short_repr(field)}{did_you_mean(field, fields)}"
    if details["type"] == "too_short":
        return f"--{field.replace('_', '-')}: give at least one value"
    structure = "mapping" if field == "variants" else "list"  # in YAML's words
    message = details["msg"].removeprefix("Value error, ").replace("valid tuple", structure)
    got = "" if details["type"] == "value_error" else f" (got {short_repr(details['input'])})"
    hint = _share_hint(details["input"]) if _is_below_one(details) else _list_hint(details)
    return f"--{field.replace('_', '-')}: {message[:1].lower()}{message[1:]}{got}{hint}"


def _is_below_one(details: ErrorDetails) -> bool:
    return 1 in {details.get("ctx", {}).get(limit) for limit in ("lt", "le")}


def _list_hint(details: ErrorDetails) -> str:
    """Say how to write a list of one value in a config file, where a list is needed."""
    value, is_of_field = details["input"], len(details["loc"]) == 1
    is_plain = isinstance(value, int | float | str) and details["loc"] != ("variants",)
    is_asked = details["type"] == "tuple_type" and is_of_field and is_plain
    return f"; write it as a list: [{short_repr(value).strip(chr(39))}]" if is_asked else ""


def _share_hint(value: Any) -> str:
    """Say how to write a number that was meant in percent, where a share is needed."""
    is_percent = isinstance(value, int | float) and 1 <= value <= 100
    return f"; {value:g} % is {value / 100:g}" if is_percent else ""


def short_repr(value: Any) -> str:
    """Return ``repr(value)``, truncated: a few bytes of YAML can expand to gigabytes."""
    shortener = reprlib.Repr()
    shortener.maxlevel, shortener.maxstring, shortener.maxother, shortener.maxlong = 2, 60, 60, 60
    return shortener.repr(value)
