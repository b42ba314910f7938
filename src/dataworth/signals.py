"""Signals that end a command: at once where nothing is lost, in training after the step.

The first SIGINT, SIGTERM or hang-up raises :class:`Stop`, but not within :func:`deferred`, whose
code looks at :func:`requested` where it can stop. A second SIGINT ends the process on the spot:
files are replaced whole, so that is a crash like any other.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop(BaseException):
    """A signal asks the command to end."""


class _Inbox:
    """What came, and whether it may interrupt."""

    received: int | None = None
    deferring = False


def requested() -> int | None:
    """Return the number of the signal that asks the command to end, or None."""
    return _Inbox.received


def heed(number: int) -> None:
    """Take a signal that came to another process of the run as our own."""
    _Inbox.received = _Inbox.received or number


@contextmanager
def listening() -> Iterator[None]:
    """Turn signals into :class:`Stop`; what the parent had us ignore (nohup, &) stays ignored."""
    _Inbox.received, before = None, {}
    if threading.current_thread() is threading.main_thread():
        heard = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, _receive) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def kept() -> Iterator[None]:
    """Keep the handlers that are set, whatever a library sets inside."""
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Let the code inside finish, or look at :func:`requested` itself; then raise."""
    with _deferring(True):
        yield
    if _Inbox.received and not _Inbox.deferring:
        raise Stop


@contextmanager
def at_once() -> Iterator[None]:
    """Within :func:`deferred`: code that changes nothing may be left at any point."""
    with _deferring(False):
        if _Inbox.received:
            raise Stop
        yield


@contextmanager
def _deferring(value: bool) -> Iterator[None]:
    before, _Inbox.deferring = _Inbox.deferring, value
    try:
        yield
    finally:
        _Inbox.deferring = before


def _receive(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT and _Inbox.received:
        os._exit(128 + number)
    _Inbox.received = _Inbox.received or number
    if _Inbox.deferring:
        return
    if _importing(frame):  # an exception there makes torch abort (LOG.md), and nothing is at stake
        os.write(2, f"interrupted by {signal.Signals(number).name}\n".encode())
        os._exit(128 + number)
    raise Stop


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
