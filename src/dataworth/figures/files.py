"""Figures on disk: whole files, of the same bytes whenever the same is drawn again."""

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

PRINTED = (".png", ".pdf")  # for the screen, and for paper
UNDATED: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
STYLE: Any = {
    "pdf.fonttype": 42,  # TrueType: journals refuse matplotlib's default, type 3
    "svg.fonttype": "none",  # text that can be read, searched and spoken
    "svg.hashsalt": "the same each time",
}


def drawn(ax: Axes, kind: str) -> bytes:
    """Return the figure of ``ax`` as a file's content; ``kind`` is png, pdf, svg, ..."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    file = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(file, format=kind, metadata=UNDATED.get(kind))
    return file.getvalue()


def save(ax: Axes, path: Path) -> None:
    """Save the figure of ``ax`` in the format that the suffix names.

    Raises
    ------
    InputError
        If there is no such format.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in (known := ax.figure.canvas.get_supported_filetypes()):
        raise InputError(f"{path}: no format for figures; the suffix is one of {', '.join(known)}")
    write_whole(path, drawn(ax, kind))


def save_printed(ax: Axes, path: Path) -> None:
    """Save the figure of ``ax`` as PNG, which ``path`` names, and as PDF beside it."""
    for suffix in PRINTED:
        save(ax, path.with_suffix(suffix))


def save_table(table: pd.DataFrame, path: Path) -> None:
    """Save a table of text as a picture."""
    ax = new_axes(1.1 + 1.5 * len(table.columns), 0.5 + 0.32 * len(table))
    ax.axis("off")
    cells = [[str(index), *(str(v) for v in row)] for index, *row in table.itertuples()]
    columns = [str(table.index.name), *table.columns]
    grid = ax.table(cells, colLabels=columns, loc="center", edges="horizontal", cellLoc="center")
    grid.auto_set_font_size(False)
    grid.set_fontsize(9)
    grid.auto_set_column_width(list(range(len(columns))))
    grid.scale(1, 1.4)
    save_printed(ax, path)
