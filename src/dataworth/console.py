"""Console output that cooperates with tqdm and survives closed, full and ASCII streams."""

from __future__ import annotations

import errno
import io
import os
import re
import select
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


class _State:
    """Why standard output cannot be written, since :func:`open_streams`."""

    lost: OSError | None = None


def open_streams() -> None:
    """Make the three streams usable: the null device for closed ones (``>&-``), escapes in text.

    Without it the next file that is opened would take the number of a closed stream, and get what
    libraries print. File names may contain bytes that no encoding has.
    """
    _State.lost = None
    for descriptor, (name, mode) in enumerate([("stdin", "r"), ("stdout", "w"), ("stderr", "w")]):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush_output() -> OSError | None:
    """Flush standard output; return why something could not be written, or None."""
    try:
        sys.stdout.flush()
        if _reader_has_ended(sys.stdout):  # after a failed print of a library
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    except OSError as error:
        _lose(sys.stdout, error)
    return _State.lost


def _reader_has_ended(stream: TextIO) -> bool:
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)  # errors alone
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (AttributeError, io.UnsupportedOperation):  # not on Windows; a stream without a file
        return False


def _write(text: str, stream: TextIO) -> None:
    encoding = stream.encoding or "utf-8"
    try:
        _print(printable(text).encode(encoding, "backslashreplace").decode(encoding), stream)
        stream.flush()
    except OSError as error:
        _lose(stream, error)


def _lose(stream: TextIO, error: OSError) -> None:
    """Write to the null device from now on: a stream that fails does not end a study."""
    with open(os.devnull, "w") as null:  # noqa: PTH123
        os.dup2(null.fileno(), stream.fileno())
    if stream is not sys.stdout:
        return
    _State.lost = error
    if error.errno not in (errno.EPIPE, errno.EIO):  # ``| head``, or a terminal that is gone
        warn(f"error: standard output: {error.strerror}; what follows is not shown")


def _print(text: str, stream: TextIO) -> None:
    tqdm = sys.modules.get("tqdm")
    if tqdm is None:  # not imported, perhaps not installed: there is no progress bar to keep intact
        print(text, file=stream)
    else:
        tqdm.tqdm.write(text, file=stream)
