"""Figures of the full evaluation. Every function draws on the axes it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..findings.sentences import sample
from .files import save_printed
from .style import BLUE, GREY, ORANGE, caption, new_axes, plain

VERDICTS = {"gains": (BLUE, "o"), "saturated": (ORANGE, "s"), "undecided": (GREY, ".")}
MOST_NAMES = 30  # classes whose names fit beside a confusion matrix


def size_colors(sizes: Sequence[int]) -> dict[int, Any]:
    """Give each number of training images a shade, the darkest to the largest."""
    shades = mpl.colormaps["viridis_r"](np.linspace(0.95, 0.2, len(sizes)))
    return dict(zip(sorted(sizes, reverse=True), shades, strict=True))


def plot_reliability(ax: Axes, runs: Sequence[Mapping[str, Any]]) -> Axes:
    """Draw accuracy against confidence, one line per run, coloured by training images.

    Parameters
    ----------
    runs : sequence of mapping
        Elements of ``runs`` of metrics.json with the key ``full``.
    """
    colors = size_colors(sorted({run["num_images"] for run in runs}))
    ax.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    ax.annotate(
        "confidence = accuracy", (0.97, 0.97), rotation=45, rotation_mode="anchor", color=GREY,
        ha="right", va="bottom", fontsize=8,
    )  # fmt: skip
    for size, color in colors.items():  # largest first
        same = [run["full"] for run in runs if run["num_images"] == size]
        mean = np.mean([full["expected_calibration_error"] for full in same])
        for i, full in enumerate(same):
            label = f"{size:,} images: ECE {100 * mean:.1f} %" if i == 0 else None
            drawn = full["reliability"]
            ax.plot(
                drawn["confidence"], drawn["accuracy"], "o-", color=color, ms=3.5, lw=1.2,
                label=label,
            )  # fmt: skip
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.set_xlabel("mean confidence of a bin")
    ax.set_ylabel("share of correct test images")
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    caption(ax, _sample(runs))
    return ax


def plot_class_errors(ax: Axes, table: pd.DataFrame) -> Axes:
    """Draw the test error of each class against its training images; dots are the last verdicts.

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
    for word, (color, marker) in VERDICTS.items() if "verdict" in last else ():
        those = last[last["verdict"] == word]
        if len(those):
            x, y = those["num_train_images"], those["top_1_error"]
            ax.plot(x, y, marker, color=color, ms=4, label=f"{word} in the last step: {len(those)}")
    ax.set_xscale("log")
    ticks = np.unique(counts.mean(axis=1).round().astype(int))
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_xlabel("training images of the class")
    ax.set_ylabel("test top-1 error of the class")
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    groups = table.groupby("num_images")
    seeds, num_test = groups["num_runs"].max(), groups["num_test_images"].sum().max()
    caption(ax, sample(seeds.index.tolist(), seeds.tolist(), num_test))
    return ax


def plot_confusion(ax: Axes, confusion: np.ndarray[Any, Any], classes: Sequence[str]) -> Axes:
    """Draw a confusion matrix (classes, classes), each row scaled to its share of images."""
    total = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(confusion / total, cmap="Blues", vmin=0, vmax=1)
    ax.figure.colorbar(image, ax=ax, shrink=0.8, format=PercentFormatter(1, decimals=0))
    ax.spines[["top", "right"]].set_visible(True)
    if len(classes) <= MOST_NAMES:
        places = np.arange(len(classes))
        names = [plain(name) for name in classes]
        ax.set_xticks(places, names, rotation=90, fontsize=8)
        ax.set_yticks(places, names, fontsize=8)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    return ax


def save_full_figures(results: Mapping[str, Any], table: pd.DataFrame, folder: Path) -> None:
    """Save reliability, errors per class, and the confusion of the largest size (all seeds)."""
    complete = [run for run in results["runs"] if run["status"] == "complete"]
    save_printed(plot_reliability(new_axes(6.4, 4.2), complete), folder / "reliability.png")
    save_printed(plot_class_errors(new_axes(), table), folder / "per_class.png")
    largest = max(run["num_images"] for run in complete)
    runs = [run for run in complete if run["num_images"] == largest]
    counts = [run["full"]["confusion_matrix"] for run in runs]
    classes = results["data"]["classes"]
    ax = plot_confusion(new_axes(6, 5), np.sum(counts, axis=0), classes)
    caption(ax, _sample(runs))
    save_printed(ax, folder / "confusion.png")


def _sample(runs: Sequence[Mapping[str, Any]]) -> str:
    seeds = Counter(run["num_images"] for run in runs)
    num_test = runs[0]["splits"]["test"]["num_images"]
    return sample(list(seeds), list(seeds.values()), num_test)


MOST_VECTORS = 200  # classes drawn as vectors; more are drawn as pixels, to keep the page small


def plot_gains(ax: Axes, last: pd.DataFrame) -> Axes:
    """Draw what the last step brought each class, best first, with its 95 % interval.

    Parameters
    ----------
    last : DataFrame
        Rows of per_class.csv of the largest size.
    """
    ordered = last.sort_values("drop", ascending=False).reset_index()
    raster = len(last) > MOST_VECTORS
    for word, (color, marker) in VERDICTS.items():
        rows = ordered[ordered["verdict"] == word]
        if len(rows):
            ax.vlines(
                rows.index + 1, rows["drop_low"], rows["drop_high"], color=color, lw=0.8,
                rasterized=raster,
            )  # fmt: skip
            ax.plot(
                rows.index + 1, rows["drop"], marker, color=color, ms=4,
                label=f"{word}: {len(rows)}", rasterized=raster,
            )  # fmt: skip
    ax.axhline(0, color=GREY, lw=0.8)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("class, the one that gained most first")
    ax.set_ylabel("drop of the test top-1 error (points)")
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
