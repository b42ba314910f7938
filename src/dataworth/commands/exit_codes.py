"""Exit codes of the commands; user mistakes are printed as one line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from signal import Signals

from ..console import warn
from ..errors import InputError
from ..signals import SignalInterrupt, handle_signals, received_signal

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch: idle threads soon sleep

DONE, BUG, INPUT, INCOMPLETE = 0, 1, 2, 3  # and 128 + its number after a signal
BROKEN_PIPE = 141  # 128 + SIGPIPE: the reader of the output has ended


def run_command(command: Callable[[], int], after_signal: str) -> None:
    """Run a command and exit with its code; one line instead of a traceback for user mistakes.

    Parameters
    ----------
    command : callable
        Returns the exit code.
    after_signal : str
        How to continue after an interruption, for the message.
    """
    with handle_signals():
        try:
            code = command()
        except (SignalInterrupt, Exception) as error:
            if (number := received_signal()) is None:
                code = _report_error(error)
            else:  # also where a library turned SignalInterrupt into an error of its own
                warn(f"interrupted by {Signals(number).name}; {after_signal}")
                code = 128 + number
    sys.exit(code)


def _report_error(error: BaseException) -> int:
    """Print an error; return the exit code."""
    if isinstance(error, InputError):
        warn(f"error: {error}")
        return INPUT
    if isinstance(error, OSError) and error.filename is not None:
        warn(f"error: {error.filename}: {error.strerror}")
        return INPUT
    if isinstance(error, BrokenPipeError):  # ``| head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    warn("".join(traceback.format_exception(error)).rstrip())
    return BUG
