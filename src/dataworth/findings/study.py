"""What an evaluated study found: one record per variant, and its description in words. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError
from ..evaluation.results import branch_of, chance_errors, newest_results, read_results, views
from ..evaluation.tables import runs_table, sizes_table
from . import sentences
from .curves import Curve, curves, headline, metric_name
from .tables import gains_table


def describe(found: Mapping[str, Curve], sizes: pd.DataFrame) -> str:
    """Say in a paragraph what the study found."""
    if len(sizes) < 2:
        return "Fewer than two subset sizes have a complete run: there is no curve yet."
    curve = headline(found)
    law = sentences.law(curve.analysis, metric_name(curve.metric))
    return f"{fall(curve.metric, sizes)} {law}"


def fall(metric: str, sizes: pd.DataFrame) -> str:
    """Say how far an error fell from the smallest size to the largest."""
    first, last = sizes.iloc[0], sizes.iloc[-1]
    low, high = last[f"{metric}_interval"]
    gain = gains_table(sizes)[metric.replace("error", "gain_per_doubling")].iloc[-1]
    return (
        f"From {first['num_images']:,} to {last['num_images']:,} training images the test "
        f"{metric_name(metric)} goes from {first[metric]:.1%} to {last[metric]:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%}); "
        f"per doubling the last step bought {100 * gain:.1f} points."
    )


def describe_forecasts(found: Mapping[str, Curve]) -> str:
    """Say how the backtest went and what more data would buy; empty without a law."""
    if not found or (curve := headline(found)).analysis.posterior is None:
        return ""
    return sentences.outlook(curve.analysis, metric_name(curve.metric))


def sample(runs: pd.DataFrame) -> str:
    """Say how much was measured, of test scores of complete runs."""
    groups = runs.groupby([*({"variant"} & {*runs}), "num_train_images"])["seed"].nunique()
    sizes = runs["num_train_images"].unique().tolist()
    return sentences.sample(sizes, groups.tolist(), runs["num_images"].max())


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
