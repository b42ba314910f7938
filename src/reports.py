"""What an evaluation leaves and says: tables, laws, figures, words. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd

from .evaluation.results import chance_errors, format_table, runs_table, sizes_table, views
from .files import write_json, write_whole
from .scaling.findings import (
    METRICS,
    Curve,
    curves,
    describe,
    describe_forecasts,
    exponents_table,
    headline,
    law_record,
)
from .scaling.plots import new_axes, plot_curves, save, save_figures

Found = dict[str, dict[str, Curve]]  # variant -> metric -> curve


def write_report(
    results: dict[str, Any], epochs: pd.DataFrame, folder: Path, notes: Sequence[str] = ()
) -> None:
    """Write the results of a study, draw them, print what they say and what else was found."""
    studies = views(results)
    found = {name: curves(runs_table(one), chance_errors(one)) for name, one in studies.items()}
    laws = {name: law_record(each) for name, each in found.items()}
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
    for name, one in studies.items():
        own = folder / "figures" / (name if len(studies) > 1 else "")
        if found[name]:
            shown = epochs[epochs["variant"] == name] if len(studies) > 1 else epochs
            save_figures(found[name], sizes_table(one), shown, own)
        title = f"{name}: " if len(studies) > 1 else ""
        print(f"\n{fill(title + describe(found[name], sizes_table(one)), 96)}\n")
        if ahead := describe_forecasts(found[name]):
            print(f"{ahead}\n")
    if len(studies) > 1:
        _compare(found, folder / "figures")
    print("".join(f"{note}\n\n" for note in notes), end="")
    print(f"numbers      {folder / 'metrics.json'}")
    print(f"figures      {folder / 'figures'}")
    print("notebook     results.ipynb")


def _compare(found: Found, figures: Path) -> None:
    """Draw the curves of all variants on one plot per error, and print their exponents."""
    for metric in METRICS:
        known = {name: each[metric] for name, each in found.items() if metric in each}
        if known:
            save(plot_curves(new_axes(), known), figures / f"{metric}.png")
    table = exponents_table({name: headline(each) for name, each in found.items() if each})
    print(f"{table.to_string(index=False)}\n" if len(table) else "", end="")
