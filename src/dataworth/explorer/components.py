"""Pictures and figures for gradio without files, escaped Markdown, and the style of the page."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

from matplotlib.axes import Axes
from PIL import Image

from ..figures.files import render
from .answers import Pixels

MARKS = re.compile(r"([!-/:-@\[-`{-~])")  # ASCII punctuation, which CommonMark lets be escaped
CSS = """
.gradio-container { max-width: 1200px !important; }
.dark [data-testid=matplotlib] img { filter: invert(1) hue-rotate(180deg); }
[data-testid=matplotlib] img { width: 100%; max-width: 640px; }
.drawn:has(.empty) { display: none !important; }
.prose.pending, .pending { opacity: 0.7 !important; }
.table-container * { font-family: var(--font) !important; font-variant-numeric: tabular-nums; }
.picture img { width: 100% !important; height: 100% !important; object-fit: contain !important; }
.grid-wrap { min-height: 0 !important; }
.grid-container { grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)) !important; }
@media (max-width: 500px) { [role=tab] { padding-inline: 8px !important; } }
:focus-visible { outline: 3px solid #0072B2 !important; outline-offset: 2px; }
"""


def escape(text: str) -> str:
    """Escape text of others, such as the name of a class or a file, for Markdown."""
    return MARKS.sub(r"\\\1", " ".join(text.split()))


def plot() -> Any:
    """Return a ``gradio.Plot`` of what :func:`figure` returns."""
    import gradio as gr

    component = gr.Plot(show_label=False, elem_classes="drawn")
    component.postprocess = lambda content: content
    return component


def figure(ax: Axes, description: str) -> dict[str, str]:
    """Return a figure without background, and its description for screen readers."""
    for patch in (ax.figure.patch, ax.patch):
        patch.set_alpha(0)
    address = _address("svg+xml", render(ax, "svg"))
    return {"type": "matplotlib", "plot": address, "chart": description}


def image(**settings: Any) -> Any:
    """Return a ``gradio.Image`` of pixels, uint8 of shape (height, width, 3).

    Give it pixels alone, not a ``gradio.update``, which makes another Image that writes files.
    """
    import gradio as gr

    component = gr.Image(
        interactive=False, buttons=[], show_label=False, elem_classes="picture", **settings
    )
    component.postprocess = lambda pixels: None if pixels is None else {"url": _png(pixels)}
    return component


def gallery(pictures: list[tuple[Pixels, str]], **settings: Any) -> Any:
    """Return a ``gradio.Gallery`` of pixels and captions to select one of."""
    import gradio as gr

    component = gr.Gallery(
        interactive=False, allow_preview=False, buttons=[], show_label=False, **settings
    )
    component.value = [{"image": {"url": _png(p)}, "caption": name} for p, name in pictures]
    return component


def _png(pixels: Pixels) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return _address("png", file.getvalue())


def _address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
