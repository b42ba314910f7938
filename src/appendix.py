"""What ``eval.py`` adds to the results when it is asked to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .config import InputError, Run
from .data.prepare import PreparedData
from .evaluation.full import add_full
from .evaluation.results import branch_of, read_results, views
from .flags import EvalFlags
from .outcomes import Outcome
from .prediction.coverage import add_conformal
from .runs import RunDirectory
from .studies import trained_by

ADDED = ("full", "conformal")  # keys of a run in metrics.json


def extend(
    results: dict[str, Any],
    flags: EvalFlags,
    directories: Sequence[RunDirectory],
    data: PreparedData,
    folder: Path,
) -> list[str]:
    """Add where the runs were trained, what ``--full`` and ``--conformal`` ask for; say it.

    Each variant of a study is evaluated by itself, into a folder of its own.
    """
    results["training"] = trained_by(directories)
    keep(results, folder / "metrics.json")
    notes, steps, parts = [], {}, views(results)
    for name, part in parts.items():
        variant = branch_of(part)
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


def keep(results: dict[str, Any], path: Path) -> None:
    """Take over what an earlier command added, if runs and scores are the same, bit for bit."""
    try:
        before = read_results(path)
    except InputError:
        return
    there = {_key(run): run for run in before["runs"]}
    if len(there) != len(results["runs"]):
        return
    for run in results["runs"]:
        was, now = there.get(_key(run), {}), json.loads(json.dumps(run))
        if {key: was.get(key) for key in now} != now:
            return
    for run in results["runs"]:
        run |= {key: there[_key(run)][key] for key in ADDED if key in there[_key(run)]}
    if "size_steps" in before:
        results["size_steps"] = before["size_steps"]


def _key(run: Mapping[str, Any]) -> tuple[Any, ...]:
    return run.get("variant", ""), run["subset_size"], run["seed"]


def add_page(
    results: Mapping[str, Any],
    found: Sequence[Outcome],
    flags: EvalFlags,
    planned: Mapping[Run, RunDirectory],
    data: PreparedData,
    folder: Path,
) -> None:
    """Write report.html if ``--report`` asks for it, and say where."""
    if flags.report:
        from .report.page import write_page

        page = write_page(results, found, planned, data, folder, flags.mistakes)
        print(f"report       {page}")
