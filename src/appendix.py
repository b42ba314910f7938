"""What ``eval.py`` adds to the results when it is asked to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .data.prepare import PreparedData
from .evaluation.full import add_full
from .evaluation.results import views
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
    """Add what ``--full`` and ``--conformal`` ask for to ``results``; say what it means.

    Each variant of a study is evaluated by itself, into a folder of its own.
    """
    notes, steps, parts = [], {}, views(results)
    for name, part in parts.items():
        variant = name if len(parts) > 1 else ""
        own = [directory for directory in directories if directory.run().variant == variant]
        title = f"{name}: " if variant else ""
        if flags.full:
            notes.append(title + add_full(part, own, data, folder))
            steps[name] = part.get("size_steps", [])
        if flags.conformal:
            notes.append(title + add_conformal(part, own, data, flags.alpha, folder))
    if flags.full:
        results["size_steps"] = steps if len(parts) > 1 else steps.popitem()[1]
    return notes
