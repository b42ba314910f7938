"""Figures of the page, as SVG that lies within it."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..evaluation.figures import VERDICTS, size_colors
from ..figures import drawn
from ..scaling.plots import GREY, caption
from ..scaling.words import sample

SVG = "{http://www.w3.org/2000/svg}"
MOST_VECTORS = 200  # classes drawn as vectors; more are drawn as pixels, to keep the page small


@dataclass(frozen=True)
class Drawing:
    """A figure and what is written below it."""

    svg: Markup
    caption: str


def inline(ax: Axes, name: str, alt: str, text: str = "") -> Drawing:
    """Draw the figure of ``ax`` for a page.

    Parameters
    ----------
    name : str
        Unique in the page; goes before every id, since two figures have many in common.
    alt : str
        What the figure shows, for whoever does not see it.
    text : str
        Of the caption.
    """
    root = ET.fromstring(drawn(ax, "svg"))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.removeprefix(SVG) == "style" or not child.tag.startswith(SVG):
                parent.remove(child)  # rules would hold for the whole page
            elif child.tag == f"{SVG}metadata":
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        own = {key.split("}")[-1]: value for key, value in element.items()}
        element.attrib.clear()
        element.attrib.update({key: _renamed(key, value, name) for key, value in own.items()})
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": alt}
    # made by matplotlib from numbers; texts in it are escaped by the serialiser
    return Drawing(Markup(ET.tostring(root, encoding="unicode")), text)


def _renamed(key: str, value: str, name: str) -> str:
    """Put ``name`` before an id, or before the id that a reference names."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return value.replace("url(#", f"url(#{name}-")


def plot_learning_sizes(ax: Axes, epochs: pd.DataFrame, column: str) -> Axes:
    """Draw one column of epochs.csv over epochs, a line per run, coloured by training images."""
    colors = size_colors(sorted(epochs["num_train_images"].unique()))
    for size, color in colors.items():  # largest first
        rows = epochs[epochs["num_train_images"] == size]
        for i, (_, run) in enumerate(rows.groupby("seed")):
            label = f"{size:,} images" if i == 0 else None
            ax.plot(run["epoch"], run[column], color=color, lw=1.1, label=label)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    if column.endswith("error"):
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend(frameon=False, fontsize=8)
    seeds = epochs.groupby("num_train_images")["seed"].nunique()
    caption(ax, sample(seeds.index.tolist(), seeds.tolist()))
    return ax


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
