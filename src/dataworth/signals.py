"""Signal handling: SIGINT, SIGTERM and SIGHUP end a command without losing work.

Within :func:`handle_signals` the first signal raises :class:`SignalInterrupt` wherever the program
is. Within :func:`deferred_signals` it is only recorded; the code there polls
:func:`received_signal` where it can stop, in training after a step. A second SIGINT ends the
process immediately, which is safe because files are replaced atomically.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SignalInterrupt(BaseException):
    """A handled signal was received; the counterpart of KeyboardInterrupt for all of them."""


class _State:
    """The first signal received, and whether signals are deferred."""

    received: int | None = None
    deferred = False


def received_signal() -> int | None:
    """Return the number of the first signal received, or None."""
    return _State.received


def set_received_signal(number: int) -> None:
    """Record a signal that another rank of the run received."""
    _State.received = _State.received or number


@contextmanager
def handle_signals() -> Iterator[None]:
    """Raise :class:`SignalInterrupt` on signals; ones ignored on entry (nohup, &) stay ignored."""
    _State.received, previous = None, {}
    if threading.current_thread() is threading.main_thread():
        numbers = [number for number in HANDLED if signal.getsignal(number) != signal.SIG_IGN]
        previous = {number: signal.signal(number, _handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _State.received = None  # or what this process trains next would stop at once


@contextmanager
def preserved_handlers() -> Iterator[None]:
    """Restore the current signal handlers on exit, whatever a library installs meanwhile."""
    previous = {number: signal.getsignal(number) for number in HANDLED}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in previous.items():
                signal.signal(number, handler)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Record signals instead of raising; raise :class:`SignalInterrupt` on exit if one came."""
    with _deferring(True):
        yield
    if _State.received and not _State.deferred:
        raise SignalInterrupt


@contextmanager
def immediate_signals() -> Iterator[None]:
    """Raise immediately again, within :func:`deferred_signals`: for code without side effects."""
    with _deferring(False):
        if _State.received:
            raise SignalInterrupt
        yield


@contextmanager
def _deferring(value: bool) -> Iterator[None]:
    previous, _State.deferred = _State.deferred, value
    try:
        yield
    finally:
        _State.deferred = previous


def end_with_parent() -> None:
    """End this process, which multiprocessing started, as soon as its parent has ended."""
    threading.Thread(target=_exit_after_parent, daemon=True).start()


def _exit_after_parent() -> None:
    parent = parent_process()
    assert parent is not None, "multiprocessing started this process"
    parent.join()
    os._exit(1)


def _handle(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT and _State.received:
        os._exit(128 + number)
    _State.received = _State.received or number
    if _State.deferred:
        return
    if _is_importing(frame):  # an exception within an import makes torch abort (LOG.md)
        os.write(2, f"interrupted by {signal.Signals(number).name}\n".encode())
        os._exit(128 + number)
    raise SignalInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
