"""Console output that cooperates with tqdm and survives a closed pipe."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def say(text: str) -> None:
    """Print a line to standard output."""
    _write(text, sys.stdout)


def warn(text: str) -> None:
    """Print a line to standard error."""
    _write(text, sys.stderr)


def _write(text: str, stream: TextIO) -> None:
    encoding = stream.encoding or "utf-8"
    try:  # file names may contain bytes that cannot be encoded
        _print(text.encode(encoding, "backslashreplace").decode(encoding), stream)
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
