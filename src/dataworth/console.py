"""Console output that cooperates with tqdm and survives a closed pipe."""

from __future__ import annotations

import os
import re
import sys
from typing import TextIO

# Of C0 and C1 all but the newline; separators of lines; marks that turn the direction of text.
CONTROL = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def printable(text: str) -> str:
    """Escape control characters but newlines: a file or class name may hold any."""
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def printable_name(name: str) -> str:
    """Escape the control characters of a name, newlines too: it stays within its line."""
    return printable(name).replace("\n", r"\n")


def say(text: str) -> None:
    """Print a line to standard output."""
    _write(text, sys.stdout)


def warn(text: str) -> None:
    """Print a line to standard error."""
    _write(text, sys.stderr)


def _write(text: str, stream: TextIO) -> None:
    encoding = stream.encoding or "utf-8"
    try:  # file names may contain bytes that cannot be encoded
        _print(printable(text).encode(encoding, "backslashreplace").decode(encoding), stream)
        stream.flush()
    except OSError:  # a closed pipe (``| head``) or terminal does not end a study
        with open(os.devnull, "w") as null:  # noqa: PTH123
            os.dup2(null.fileno(), stream.fileno())


def _print(text: str, stream: TextIO) -> None:
    tqdm = sys.modules.get("tqdm")
    if tqdm is None:  # not imported, perhaps not installed: there is no progress bar to keep intact
        print(text, file=stream)
    else:
        tqdm.tqdm.write(text, file=stream)
