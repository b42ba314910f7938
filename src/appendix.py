"""What ``eval.py`` adds to the results when it is asked to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .data.prepare import PreparedData
from .evaluation.full import add_full
from .flags import EvalFlags
from .prediction.coverage import add_conformal
from .runs import RunDirectory


def extend(
    results: dict[str, Any],
    flags: EvalFlags,
    directories: Sequence[RunDirectory],
    data: PreparedData,
    folder: Path,
) -> list[str]:
    """Add what ``--full`` and ``--conformal`` ask for to ``results``; say what it means."""
    notes = []
    if flags.full:
        notes.append(add_full(results, directories, data, folder))
    if flags.conformal:
        notes.append(add_conformal(results, directories, data, flags.alpha, folder))
    return notes
