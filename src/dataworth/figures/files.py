"""Figure files: atomic writes and reproducible bytes (no dates, fixed SVG ids)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from ..errors import InputError
from ..storage.files import write_whole
from .style import new_axes

SCREEN_AND_PRINT = (".png", ".pdf")
NO_DATE: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
STYLE: Any = {
    "pdf.fonttype": 42,  # TrueType: journals refuse matplotlib's default, type 3
    "svg.fonttype": "none",  # text as text: searchable, read by screen readers
    "svg.hashsalt": "the same each time",
}


def render(ax: Axes, kind: str) -> bytes:
    """Render the figure of ``ax`` as the content of a file; ``kind`` is png, pdf, svg, ..."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    file = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(file, format=kind, metadata=NO_DATE.get(kind))
    return file.getvalue()


def save(ax: Axes, path: Path) -> None:
    """Save the figure of ``ax`` in the format given by the suffix.

    Raises
    ------
    InputError
        If matplotlib does not support the format.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in (supported := ax.figure.canvas.get_supported_filetypes()):
        raise InputError(
            f"{path}: not a figure format; the suffix is one of {', '.join(supported)}"
        )
    write_whole(path, render(ax, kind))


def save_printed(ax: Axes, path: Path) -> None:
    """Save the figure of ``ax`` as PNG and as PDF; the suffix of ``path`` is replaced."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    for suffix in SCREEN_AND_PRINT:
        save(ax, path.with_suffix(suffix))
        figure.set_layout_engine("none")  # it stays: a layout takes as long as the drawing


def save_table(table: pd.DataFrame, path: Path) -> None:
    """Save a table of text as a figure."""
    ax = new_axes(1.1 + 1.5 * len(table.columns), 0.5 + 0.32 * len(table))
    ax.axis("off")
    cells = [[str(index), *map(str, row)] for index, *row in table.itertuples()]
    columns = [str(table.index.name), *table.columns]
    grid = ax.table(cells, colLabels=columns, loc="center", edges="horizontal", cellLoc="center")
    grid.auto_set_font_size(False)
    grid.set_fontsize(9)
    grid.auto_set_column_width(list(range(len(columns))))
    grid.scale(1, 1.4)
    save_printed(ax, path)
