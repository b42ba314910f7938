"""Lines for whoever reads, that keep clear of progress bars and outlive a closed pipe."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from tqdm import tqdm


def say(text: str) -> None:
    """Print to standard output."""
    _write(text, sys.stdout)


def warn(text: str) -> None:
    """Print to standard error."""
    _write(text, sys.stderr)


def _write(text: str, stream: TextIO) -> None:
    code = stream.encoding or "utf-8"
    try:  # file names may hold bytes that are no text
        tqdm.write(text.encode(code, "backslashreplace").decode(code), file=stream)
        stream.flush()
    except OSError:  # ``| head``, or the terminal hung up: a study does not end for want of readers
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), stream.fileno())
