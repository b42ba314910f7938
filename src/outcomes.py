"""What an evaluation leaves and says: tables, laws, figures, words. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from .config import InputError
from .evaluation.results import (
    branch_of,
    chance_errors,
    format_table,
    newest_results,
    read_results,
    runs_table,
    sizes_table,
    views,
)
from .figures import save_figures, save_printed
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
from .scaling.plots import new_axes, plot_curves


@dataclass(frozen=True)
class Outcome:
    """What came of one variant of a study; of its only one, most often."""

    name: str  # of the variant; of the model where there is one recipe
    branch: str  # folder of the variant in results; empty where there is one recipe
    results: dict[str, Any]  # as metrics.json, of this variant alone
    sizes: pd.DataFrame  # means over complete runs, a row per size
    curves: dict[str, Curve]  # by metric; none if no run is complete
    epochs: pd.DataFrame  # a row per run and epoch

    @property
    def told(self) -> str:
        """What was found, as a paragraph of Markdown."""
        study = self.results["experiment_id"]
        return f"**{study}, {self.name}.** {describe(self.curves, self.sizes)}"

    def place(self, folder: Path, name: str) -> Path:
        """Path of a figure below a folder of results."""
        return folder / "figures" / self.branch / f"{name}.png"

    @property
    def largest(self) -> pd.DataFrame:
        """Epochs of the largest size."""
        return self.epochs.query("num_train_images == num_train_images.max()")


def outcomes(results: Mapping[str, Any], epochs: pd.DataFrame) -> list[Outcome]:
    """Analyse every variant of a study.

    Parameters
    ----------
    results : mapping
        The content of metrics.json.
    epochs : DataFrame
        The content of epochs.csv.
    """
    found = []
    for name, part in views(results).items():
        branch = branch_of(part)
        own = epochs[epochs["variant"] == name] if branch else epochs
        laws = curves(runs_table(part), chance_errors(part))
        found.append(Outcome(name, branch, part, sizes_table(part), laws, own))
    return found


def read_outcomes(folder: Path) -> list[Outcome]:
    """Analyse what ``eval.py`` wrote into a folder of results."""
    epochs = pd.read_csv(  # a variant may be named 1e-3, or NA
        folder / "epochs.csv", dtype={"variant": str}, keep_default_na=False, na_values=[""]
    )
    return outcomes(read_results(folder / "metrics.json"), epochs)


def newest_outcomes(results_dir: Path) -> tuple[Path, list[Outcome]]:
    """Analyse the study evaluated last; return its folder, and its variants that have a curve.

    Raises
    ------
    InputError
        If there is no study, or none of its runs is complete and better than chance.
    """
    folder = newest_results(results_dir).parent
    found = [one for one in read_outcomes(folder) if one.curves]
    if not found:
        raise InputError(f"{folder}: no run is complete and better than chance: there is no curve")
    return folder, found


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


def together(found: Sequence[Outcome]) -> dict[str, Axes]:
    """Draw the curves of several variants on one plot per error; of one variant, none."""
    axes, sizes = {}, {one.name: one.sizes for one in found}
    for metric in METRICS if len(found) > 1 else ():
        known = {one.name: one.curves[metric] for one in found if metric in one.curves}
        if known:
            axes[metric] = plot_curves(new_axes(), known, sizes)
    return axes


def _compare(found: Sequence[Outcome], figures: Path) -> None:
    """Draw the curves of all variants on one plot per error, and print their exponents."""
    for metric, ax in together(found).items():
        save_printed(ax, figures / f"{metric}.png")
    heads = {one.name: headline(one.curves) for one in found if one.curves}
    if len({curve.metric for curve in heads.values()}) > 1:  # one column to compare in
        heads = {one.name: one.curves[METRICS[0]] for one in found if one.curves}
    table = exponents_table(heads)
    print(f"{table.to_string(index=False)}\n\n" if len(table) else "", end="")
