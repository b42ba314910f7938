"""Figures of the page, as SVG that lies within it."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

from markupsafe import Markup
from matplotlib.axes import Axes

from ..figures.files import drawn

SVG = "{http://www.w3.org/2000/svg}"


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
