"""What ``dataworth eval`` writes and prints: tables, laws, figures, the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..config import Run
from ..errors import InputError
from ..evaluation.results import branch_of, read_results, views
from ..evaluation.tables import format_table, runs_table
from ..figures.conformal import save_conformal_figures
from ..figures.evaluation import save_full_figures
from ..figures.files import save_printed
from ..figures.scaling import save_figures, together
from ..findings.curves import METRICS, headline, law_record
from ..findings.study import Outcome, describe, describe_forecasts, outcomes
from ..findings.tables import exponents_table
from ..storage.files import write_json, write_whole
from ..storage.run_directory import RunDirectory
from ..storage.study_directory import (
    trained_by,
)
from .flags import EvalFlags

if TYPE_CHECKING:
    from ..data.prepare import PreparedData


def write_outcomes(
    results: dict[str, Any], epochs: pd.DataFrame, folder: Path, notes: Sequence[str] = ()
) -> list[Outcome]:
    """Write the results of a study, draw them, print what they say and what else was found."""
    found = outcomes(results, epochs)
    laws = {one.name: law_record(one.curves) for one in found}
    write_json(
        folder / "scaling_law.json", {"variants": laws} if len(laws) > 1 else laws.popitem()[1]
    )
    for table, file in ((runs_table(results), "metrics.csv"), (epochs, "epochs.csv")):
        write_whole(folder / file, table.to_csv(index=False).encode())
    write_json(folder / "metrics.json", results)
    print(f"\n{format_table(results)}\n\nTest errors: mean over seeds, 95 % interval.")
    for run in results["runs"]:
        if run["status"] == "untrained":
            path = Path(run.get("variant", "")) / f"{run['subset_size']}/seed-{run['seed']}"
            print(f"untrained: {path} is not better than chance; it is in no mean and no fit")
    for one in found:
        if one.curves:
            save_figures(one.curves, one.sizes, one.epochs, folder / "figures" / one.branch)
        title = f"{one.branch}: " if one.branch else ""
        print(f"\n{fill(title + describe(one.curves, one.sizes), 96)}\n")
        if ahead := describe_forecasts(one.curves):
            print(f"{ahead}\n")
    if len(found) > 1:
        _compare(found, folder / "figures")
    print("".join(f"{note}\n\n" for note in notes), end="")
    print(f"numbers      {folder / 'metrics.json'}")
    if (folder / "figures").exists():
        print(f"figures      {folder / 'figures'}")
    print("notebook     results.ipynb")
    return found


def _compare(found: Sequence[Outcome], figures: Path) -> None:
    """Draw the curves of all variants on one plot per error, and print their exponents."""
    for metric, ax in together(found).items():
        save_printed(ax, figures / f"{metric}.png")
    heads = {one.name: headline(one.curves) for one in found if one.curves}
    if len({curve.metric for curve in heads.values()}) > 1:  # one column to compare in
        heads = {one.name: one.curves[METRICS[0]] for one in found if one.curves}
    table = exponents_table(heads)
    print(f"{table.to_string(index=False)}\n\n" if len(table) else "", end="")


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
    from ..conformal.coverage import add_conformal
    from ..evaluation.full import add_full

    results["training"] = trained_by(directories)
    keep(results, folder / "metrics.json")
    notes, steps, parts = [], {}, views(results)
    for name, part in parts.items():
        variant = branch_of(part)
        own = [directory for directory in directories if directory.run().variant == variant]
        title = f"{name}: " if variant else ""
        if flags.full:
            text, classes = add_full(part, own, data, folder)
            notes.append(title + text)
            if classes is not None:
                save_full_figures(part, classes, folder / "figures" / variant)
            steps[name] = part.get("size_steps", [])
        if flags.conformal:
            text, sets = add_conformal(part, own, data, flags.alpha, folder)
            notes.append(title + text)
            if len(sets):
                save_conformal_figures(sets, folder / "figures" / variant)
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
        from ..report.page import write_page

        page = write_page(results, found, planned, data, folder, flags.mistakes)
        print(f"report       {page}")
