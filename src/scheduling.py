"""When runs that wait in line end, given how many are made at a time. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable


def makespan(seconds: Iterable[float], slots: int) -> float:
    """Return the time until all is done, each run taking the first free slot in the given order.

    Parameters
    ----------
    seconds : iterable of float
        Duration of each run, in the order in which they start.
    slots : int
        Runs at a time.
    """
    free = [0.0] * slots
    for duration in seconds:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)
