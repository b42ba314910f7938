"""Figures of the report as inline SVG, with the values to show to readers who point at them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..figures.files import render

SVG = "{http://www.w3.org/2000/svg}"
POINTS_PER_INCH = 72.0
DIGITS = 1  # of the place of a mark, in points


@dataclass(frozen=True)
class Value:
    """What a figure shows at one place of its axes."""

    x: float
    y: float
    text: str  # lines
    shift: float = 0.0  # points to the right of x


@dataclass(frozen=True)
class Drawing:
    """A figure and its caption."""

    svg: Markup
    caption: str
    marks: Sequence[tuple[float, float, str]] = ()  # x and y of a value in the SVG, and its text


def inline(
    ax: Axes, name: str, alt: str, caption: str = "", values: Iterable[Value] = ()
) -> Drawing:
    """Render the figure of ``ax`` as inline SVG without a style sheet or style attributes.

    The caption below the axes becomes text of the page, the white ground becomes transparent.

    Parameters
    ----------
    ax : Axes
    name : str
        Unique in the page; prefix of every id, since ids of several figures collide.
    alt : str
        Text alternative for screen readers.
    caption : str
    values : iterable of Value
        Those outside of the axes are left out.
    """
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure), "axes belong to a figure"
    sample = figure.get_supxlabel()
    figure.supxlabel("")
    for ground in (figure.patch, *(axes.patch for axes in figure.axes)):
        ground.set_visible(False)
    root = ET.fromstring(render(ax, "svg"))
    _remove_foreign(root)
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        attributes = {key.split("}")[-1]: value for key, value in element.items()}
        attributes |= _presentation(attributes.pop("style", ""))
        element.attrib.clear()
        element.attrib.update({key: _prefixed(key, v, name) for key, v in attributes.items()})
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": alt}
    text = ". ".join(part.removesuffix(".") for part in (caption, sample) if part)
    # made by matplotlib from numbers; texts in it are escaped by the serialiser
    svg = Markup(ET.tostring(root, encoding="unicode"))
    return Drawing(svg, f"{text}." if text else "", _marks(ax, figure, values))


def _remove_foreign(root: ET.Element) -> None:
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.removeprefix(SVG) == "style" or not child.tag.startswith(SVG):
                parent.remove(child)  # its rules would apply to the whole page
            elif child.tag == f"{SVG}metadata":
                parent.remove(child)


def _presentation(style: str) -> dict[str, str]:
    """Convert a style attribute, which the policy of the page forbids, to attributes of SVG."""
    pairs = (part.split(":", 1) for part in style.split(";") if ":" in part)
    return {key.strip(): value.strip() for key, value in pairs}


def _prefixed(key: str, value: str, name: str) -> str:
    """Prefix an id, or the id in a reference, with ``name``."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return value.replace("url(#", f"url(#{name}-")


def _marks(ax: Axes, figure: Figure, values: Iterable[Value]) -> list[tuple[float, float, str]]:
    """Return the places of values in the rendered figure, from left to right."""
    scale, height = POINTS_PER_INCH / figure.dpi, figure.get_figheight() * POINTS_PER_INCH
    low, high = ax.bbox.min, ax.bbox.max
    marks = []
    for value in values:
        place = ax.transData.transform((value.x, value.y))
        if not (np.isfinite(place).all() and (low <= place).all() and (place <= high).all()):
            continue
        x, y = scale * place
        marks.append((round(x + value.shift, DIGITS), round(height - y, DIGITS), value.text))
    return sorted(marks)
