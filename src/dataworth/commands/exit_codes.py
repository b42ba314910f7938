"""Exit codes of the commands; user mistakes are printed as one line."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable
from signal import Signals

from ..console import flush_output, open_streams, warn
from ..errors import InputError, os_error_message
from ..signals import SignalInterrupt, handle_signals, received_signal

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch: idle threads soon sleep
logging.getLogger("matplotlib").setLevel(logging.ERROR)  # two lines where HOME is read-only

DONE, BUG, INPUT, INCOMPLETE = 0, 1, 2, 3  # and 128 + its number after a signal
BROKEN_PIPE = 141  # 128 + SIGPIPE: the reader of the output has ended
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no mistake of ours, whichever file it was


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
        open_streams()
        try:
            code = command()
        except SystemExit as stop:  # --help
            code = stop.code if isinstance(stop.code, int) else DONE
        except (SignalInterrupt, Exception) as error:
            if (number := received_signal()) is None:
                code = _report_error(error)
            else:  # also where a library turned SignalInterrupt into an error of its own
                warn(f"interrupted by {Signals(number).name}; {after_signal}")
                code = 128 + number
        lost = flush_output()
        if code == DONE and lost and not isinstance(lost, BrokenPipeError):
            code = INPUT
    sys.exit(code)


def _report_error(error: BaseException) -> int:
    """Print an error; return the exit code."""
    if isinstance(error, InputError):
        warn(f"error: {error}")
        return INPUT
    if isinstance(error, OSError):
        if error.filename is None and (lost := flush_output()):  # of print, in a library
            return BROKEN_PIPE if isinstance(lost, BrokenPipeError) else INPUT
        if error.filename is not None or error.errno in FULL:
            warn(f"error: {os_error_message(error)}")
            return INPUT
    warn("".join(traceback.format_exception(error)).rstrip())
    return BUG
