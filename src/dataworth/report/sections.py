"""What the page says of one variant of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..evaluation.per_class import verdicts_in_words
from ..figures.conformal import plot_set_size
from ..figures.evaluation import plot_gains
from ..figures.learning import plot_learning_sizes
from ..figures.scaling import plot_error, together
from ..figures.style import new_axes
from ..findings import sentences
from ..findings.curves import Curve, headline, metric_name
from ..findings.study import Outcome, fall, sample
from ..findings.tables import comparison_table
from . import tables
from .drawings import Drawing, inline
from .mistakes import Gallery
from .tables import Table, Targets

ONCE_MORE = "python eval.py --experiment-id {name} --{flag} --report"
LEGEND = (
    "Hollow: one run. Solid: mean over seeds with its 95 % interval. Orange: the law with its 90 % "
    "band; dashed: the forecast; dotted: beyond 4 times the largest size, unreliable."
)


@dataclass(frozen=True)
class Part:
    """One subject: words, figures and tables, or the command that makes them."""

    words: Sequence[str] = ()
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()
    command: str = ""  # what to run, where the numbers are missing


@dataclass(frozen=True)
class Section:
    """One variant."""

    key: str  # unique in the page, for ids
    name: str
    answer: str
    errors: Part
    targets: Sequence[Targets]
    learning: Part
    classes: Part
    sets: Part
    galleries: Sequence[Gallery]


def section(one: Outcome, key: str, folder: Path, galleries: Sequence[Gallery]) -> Section:
    """Write everything about one variant.

    Parameters
    ----------
    key : str
        Letters and digits, unique in the page.
    folder : Path
        Of the results.
    """
    found = (
        tables.targets(curve.analysis, metric_name(metric))
        for metric, curve in reversed(one.curves.items())
    )
    return Section(
        key,
        one.name,
        answer(one),
        _errors(one, key),
        [targets for targets in found if targets is not None],
        _learning(one, key),
        _classes(one, key, folder),
        _sets(one, key, folder),
        galleries,
    )


def answer(one: Outcome) -> str:
    """Answer the question of the page in two sentences, or say why there is none yet."""
    if len(one.sizes) < 2:
        return "Fewer than two sizes have a complete run: there is no answer yet."
    curve = headline(one.curves)
    law = sentences.doubling(curve.analysis, metric_name(curve.metric))
    return f"{fall(curve.metric, one.sizes)} {law}"


def combined(found: Sequence[Outcome]) -> list[Drawing]:
    """Draw the curves of several variants on one plot per error."""
    drawings = []
    for metric, ax in together(found).items():
        known = {one.name: one.curves[metric] for one in found if metric in one.curves}
        ends = "; ".join(f"{name}: {_ends(curve)}" for name, curve in known.items())
        alt = f"Log-log plot of test {metric_name(metric)} against training images. {ends}."
        drawings.append(inline(ax, f"all-{metric}", alt, "Means over seeds, 95 % intervals."))
    return drawings


def _ends(curve: Curve) -> str:
    points = curve.analysis.points
    pairs = zip(points.sizes, points.means, strict=True)
    return ", ".join(f"{error:.1%} at {n:,.0f}" for n, error in pairs)


def _errors(one: Outcome, key: str) -> Part:
    if not one.curves:
        return Part(["No run is complete and better than chance: there is no curve yet."])
    drawings = []
    for metric, curve in reversed(one.curves.items()):
        alt = f"Log-log plot of test {metric_name(metric)} against training images: {_ends(curve)}."
        ax = plot_error(new_axes(5.6, 4.2), curve, one.sizes)
        drawings.append(inline(ax, f"{key}-{metric}", alt, LEGEND))
    curve = headline(one.curves)
    text = f"Test errors: means over seeds [95 % interval]; {sample(curve.runs)}"
    shown = [tables.from_frame(text, comparison_table(one.sizes))]
    if curve.analysis.posterior is None:
        return Part([], drawings, shown)
    shown.append(tables.forecasts(curve.analysis, metric_name(curve.metric)))
    said = [sentences.shape(curve.analysis), *sentences.backtest(curve.analysis).splitlines()]
    return Part(said, drawings, shown)


def _learning(one: Outcome, key: str) -> Part:
    k = 5 if one.epochs["validation_top_5_error"].notna().any() else 1
    drawings = []
    for column, label in (
        ("train_loss", "training loss (nats per image)"),
        (f"validation_top_{k}_error", f"validation top-{k} error"),
    ):
        ax = plot_learning_sizes(new_axes(5.6, 4.2), one.epochs, column)
        ax.set_ylabel(label)
        last = one.epochs.groupby(["num_train_images", "seed"])[column].last()
        means = last.groupby("num_train_images").mean()
        ends = ", ".join(f"{value:.3g} with {n:,}" for n, value in means.items())
        alt = f"Lines of {label} over epochs, one per run. In the last epoch: {ends} images."
        drawings.append(inline(ax, f"{key}-{column.replace('_', '-')}", alt))
    text = "Training loss is measured while the weights move, with augmentation and dropout."
    return Part([text], drawings)


def _have(one: Outcome, key: str, path: Path) -> bool:
    runs = _complete(one)
    return bool(runs) and all(key in run for run in runs) and path.exists()


def _complete(one: Outcome) -> list[Mapping[str, Any]]:
    return [run for run in one.results["runs"] if run["status"] == "complete"]


def _command(one: Outcome, flag: str) -> str:
    return ONCE_MORE.format(name=one.results["experiment_id"], flag=flag)


def _classes(one: Outcome, key: str, folder: Path) -> Part:
    path = folder / one.branch / "per_class.csv"
    if not _have(one, "full", path):
        return Part(command=_command(one, "full"))
    table = pd.read_csv(path, dtype={"class": str}, keep_default_na=False, na_values=[""])
    table = table[table["num_test_images"] > 0]
    last = table[table["num_images"] == table["num_images"].max()]
    if table["num_images"].nunique() < 2:
        return Part(["Gains of classes take two sizes with complete runs."])
    said = verdicts_in_words(last["verdict"].tolist())
    before = sorted(table["num_images"].unique())[-2]
    text = (
        f"What the step from {before:,} to {last['num_images'].iloc[0]:,} images brought each "
        "class, with 95 % intervals over its test images."
    )
    drawing = inline(plot_gains(new_axes(7.2, 4.0), last), f"{key}-gains", f"{text} {said}", text)
    return Part([said], [drawing], [tables.classes(table)])


def _sets(one: Outcome, key: str, folder: Path) -> Part:
    path = folder / one.branch / "conformal.csv"
    if not _have(one, "conformal", path):
        return Part(command=_command(one, "conformal"))
    table, drawings, runs = pd.read_csv(path), list[Drawing](), _complete(one)
    shown = {(run["subset_size"], run["seed"]) for run in runs}
    table = table[[key in shown for key in zip(table["subset_size"], table["seed"], strict=True)]]
    for alpha, rows in table.groupby("alpha"):
        parts = rows[rows["mode"] == "marginal"].groupby("method")
        ends = "; ".join(
            f"{str(method).upper()} "
            + ", ".join(
                f"{size:.1f} at {n:,}"
                for n, size in part.groupby("num_images")["mean_set_size"].mean().items()
            )
            for method, part in parts
        )
        text = f"Mean number of classes in a set that misses the truth in {alpha:.3g} of images."
        ax = plot_set_size(new_axes(7.2, 4.0), rows)
        drawings.append(inline(ax, f"{key}-sets-{len(drawings)}", f"{text} {ends}.", text))
    return Part((), drawings, [tables.set_sizes(runs)])
