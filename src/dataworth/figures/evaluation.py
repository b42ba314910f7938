"""Figures of the full evaluation: reliability, confusion matrix, errors and gains per class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from ..evaluation.added_records import FullScores
from ..evaluation.records import RunScores, StudyResults
from ..findings.sentences import sample
from .files import save_printed
from .style import BLUE, GREY, ORANGE, caption, label_percent, new_axes, percent_tick, plain

VERDICT_STYLES = {"gains": (BLUE, "o"), "saturated": (ORANGE, "s"), "undecided": (GREY, ".")}
MAX_CLASS_NAMES = 30  # with more classes the names do not fit beside a confusion matrix
MAX_VECTOR_CLASSES = 200  # with more the marks are rasterised, to keep the page small


def size_colors(sizes: Sequence[int]) -> dict[int, Any]:
    """Map each number of training images to a colour, the darkest for the largest."""
    shades = mpl.colormaps["viridis_r"](np.linspace(0.95, 0.2, len(sizes)))
    return dict(zip(sorted(sizes, reverse=True), shades, strict=True))


def plot_reliability(ax: Axes, runs: Sequence[RunScores]) -> Axes:
    """Draw a reliability diagram, one line per size.

    Parameters
    ----------
    runs : sequence of RunScores
        With full scores.
    """
    ax.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="confidence = accuracy")
    for size, color in size_colors(sorted({run.num_images for run in runs})).items():
        scores = [run.full for run in runs if run.full and run.num_images == size]
        error = np.mean([full.expected_calibration_error for full in scores])
        label = f"{size:,} images: ECE {100 * error:.1f} %"
        ax.plot(*_mean_bins(scores), "o-", color=color, ms=3.5, lw=1.2, label=label)
    for axis in (ax.xaxis, ax.yaxis):
        label_percent(axis)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.set_xlabel("mean confidence of a bin")
    ax.set_ylabel("share of correct test images")
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    caption(ax, _sample(runs))
    return ax


def _mean_bins(scores: Sequence[FullScores]) -> tuple[Any, Any]:
    """Return confidence and accuracy of the bins, means over the runs of a size.

    The bins of a run hold equally many images, so those of the same rank belong together; a run
    with many equal confidences has fewer bins and is left out.
    """
    bins = [full.reliability for full in scores]
    most = max(len(of_run.confidence) for of_run in bins)
    whole = [of_run for of_run in bins if len(of_run.confidence) == most]
    confidence = np.mean([of_run.confidence for of_run in whole], axis=0)
    return confidence, np.mean([of_run.accuracy for of_run in whole], axis=0)


def plot_class_errors(ax: Axes, table: pd.DataFrame) -> Axes:
    """Draw the test error of each class against its training images, with the last verdicts.

    Parameters
    ----------
    table : DataFrame
        The content of per_class.csv.
    """
    wide = table.pivot(index="num_images", columns="class", values="top_1_error")
    counts = table.pivot(index="num_images", columns="class", values="num_train_images")
    for name in wide:
        ax.plot(counts[name], wide[name], ".-", color=GREY, lw=0.6, ms=3, alpha=0.45)
    ax.plot(counts.mean(axis=1), wide.mean(axis=1), "ko-", lw=2, ms=5, label="mean of the classes")
    last = table[table["num_images"] == table["num_images"].max()]
    for verdict, (color, marker) in VERDICT_STYLES.items() if "verdict" in last else ():
        rows = last[last["verdict"] == verdict]
        if len(rows):
            x, y = rows["num_train_images"], rows["top_1_error"]
            label = f"{verdict} in the last step: {len(rows)}"
            ax.plot(x, y, marker, color=color, ms=4, label=label)
    ax.set_xscale("log")
    ticks = np.unique(counts.mean(axis=1).round().astype(int))
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    label_percent(ax.yaxis)
    ax.set_xlabel("training images of the class")
    ax.set_ylabel("test top-1 error of the class")
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    groups = table.groupby("num_images")
    seeds, num_test = groups["num_runs"].max(), groups["num_test_images"].sum().max()
    caption(ax, sample(seeds.index.tolist(), seeds.tolist(), num_test))
    return ax


def plot_confusion(ax: Axes, confusion: np.ndarray[Any, Any], classes: Sequence[str]) -> Axes:
    """Draw a confusion matrix, each row normalised to sum 1.

    Parameters
    ----------
    ax : Axes
    confusion : ndarray of shape (classes, classes)
        Numbers of images; rows are true classes.
    classes : sequence of str
        Names, drawn if there are few.
    """
    total = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(confusion / total, cmap="Blues", vmin=0, vmax=1)
    ax.figure.colorbar(image, ax=ax, shrink=0.8, format=FuncFormatter(percent_tick))
    ax.spines[["top", "right"]].set_visible(True)
    if len(classes) <= MAX_CLASS_NAMES:
        places = np.arange(len(classes))
        names = [plain(name) for name in classes]
        ax.set_xticks(places, names, rotation=90, fontsize=8)
        ax.set_yticks(places, names, fontsize=8)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    return ax


def save_full_figures(
    results: StudyResults,
    table: pd.DataFrame,
    matrices: Mapping[Path, np.ndarray[Any, Any]],
    folder: Path,
) -> None:
    """Save the reliability diagram, the errors per class, and the confusion matrix.

    Parameters
    ----------
    results : StudyResults
        After ``eval.py --full``.
    table : DataFrame
        The content of per_class.csv.
    matrices : mapping of Path to ndarray of shape (classes, classes)
        Path of a run -> its confusion matrix.
    folder : Path
        Where reliability, per_class and confusion (of the largest size, summed over seeds) go.
    """
    complete = results.complete_runs
    save_printed(plot_reliability(new_axes(6.4, 4.2), complete), folder / "reliability.png")
    save_printed(plot_class_errors(new_axes(), table), folder / "per_class.png")
    largest = max(run.num_images for run in complete)
    runs = [run for run in complete if run.num_images == largest]
    counts = np.sum([matrices[run.path] for run in runs], axis=0)
    ax = plot_confusion(new_axes(6, 5), counts, table["class"].unique().tolist())
    caption(ax, _sample(runs))
    save_printed(ax, folder / "confusion.png")


def _sample(runs: Sequence[RunScores]) -> str:
    seeds = Counter(run.num_images for run in runs)
    num_test = runs[0].splits["test"].num_images
    return sample(list(seeds), list(seeds.values()), num_test)


def plot_gains(ax: Axes, last: pd.DataFrame) -> Axes:
    """Draw the drop in error of each class in the last step, largest first, with 95 % intervals.

    Parameters
    ----------
    last : DataFrame
        Rows of per_class.csv with the largest size.
    """
    ordered = last.sort_values("drop", ascending=False).reset_index()
    raster = len(last) > MAX_VECTOR_CLASSES
    for verdict, (color, marker) in VERDICT_STYLES.items():
        rows = ordered[ordered["verdict"] == verdict]
        if len(rows):
            ax.vlines(
                rows.index + 1, rows["drop_low"], rows["drop_high"], color=color, lw=0.8,
                rasterized=raster,
            )  # fmt: skip
            ax.plot(
                rows.index + 1, rows["drop"], marker, color=color, ms=4,
                label=f"{verdict}: {len(rows)}", rasterized=raster,
            )  # fmt: skip
    ax.axhline(0, color=GREY, lw=0.8)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("class, by decreasing gain")
    ax.set_ylabel("drop in test top-1 error (percentage points)")
    if ax.get_legend_handles_labels()[0]:  # else no class has a verdict
        ax.legend(frameon=False, fontsize=8)
    caption(
        ax,
        sample(
            last["num_images"].unique().tolist(),
            last["num_runs"].unique().tolist(),
            last["num_test_images"].sum(),
        ),
    )
    return ax
