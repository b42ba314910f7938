"""Figures of the report as inline SVG."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

from markupsafe import Markup
from matplotlib.axes import Axes

from ..figures.files import render

SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Drawing:
    """A figure and its caption."""

    svg: Markup
    caption: str


def inline(ax: Axes, name: str, alt: str, caption: str = "") -> Drawing:
    """Render the figure of ``ax`` as inline SVG.

    Parameters
    ----------
    ax : Axes
    name : str
        Unique in the page; prefix of every id, since ids of several figures collide.
    alt : str
        Text alternative for screen readers.
    caption : str
    """
    root = ET.fromstring(render(ax, "svg"))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.removeprefix(SVG) == "style" or not child.tag.startswith(SVG):
                parent.remove(child)  # its rules would apply to the whole page
            elif child.tag == f"{SVG}metadata":
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        attributes = {key.split("}")[-1]: value for key, value in element.items()}
        element.attrib.clear()
        element.attrib.update({key: _prefixed(key, v, name) for key, v in attributes.items()})
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": alt}
    # made by matplotlib from numbers; texts in it are escaped by the serialiser
    return Drawing(Markup(ET.tostring(root, encoding="unicode")), caption)


def _prefixed(key: str, value: str, name: str) -> str:
    """Prefix an id, or the id in a reference, with ``name``."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return value.replace("url(#", f"url(#{name}-")
