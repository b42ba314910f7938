"""Colours of figures in the dark theme: style rules that replace those of the light theme."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

DARKEST, LIGHTEST = 0.2, 0.94  # lightness (Oklab) of what is white, and black, in the light theme
CURVATURE = 3.0  # above 1, colours of medium lightness become light: they stand out from the ground
COLOUR = re.compile(r'(?:fill|stroke)="(#[0-9a-f]{6})"')

# Oklab: Björn Ottosson, "A perceptual color space for image processing" (2020).
TO_CONES = np.array(
    (
        (0.4122214708, 0.5363325363, 0.0514459929),
        (0.2119034982, 0.6806995451, 0.1073969566),
        (0.0883024619, 0.2817188376, 0.6299787005),
    )
)
TO_OKLAB = np.array(
    (
        (0.2104542553, 0.7936177850, -0.0040720468),
        (1.9779984951, -2.4285922050, 0.4505937099),
        (0.0259040371, 0.7827717662, -0.8086757660),
    )
)


def dark_colour(colour: str) -> str:
    """Return the colour for a dark ground, of the same hue, such as ``#0072b2``.

    The order of colours by lightness is reversed: what stands out most from a white ground stands
    out most from a dark one.
    """
    lightness, *hue = TO_OKLAB @ np.cbrt(TO_CONES @ _linear(colour))
    light = LIGHTEST - (LIGHTEST - DARKEST) * lightness**CURVATURE
    cones = np.linalg.solve(TO_OKLAB, np.array((light, *hue))) ** 3
    return _hexadecimal(np.linalg.solve(TO_CONES, cones))


def rules(page: str) -> str:
    """Return a style sheet for the dark theme with a rule for each colour of the page's SVG."""
    colours = sorted(set(COLOUR.findall(page)))
    lines = (
        f'[{what}="{colour}"] {{ {what}: {dark_colour(colour)}; }}'
        for colour in colours
        for what in ("fill", "stroke")
    )
    return "\n".join(("@media screen and (prefers-color-scheme: dark) {", *lines, "}\n"))


def _linear(colour: str) -> NDArray[np.float64]:
    """Return the linear sRGB components, shape (3,), of a colour such as ``#0072b2``."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def _hexadecimal(linear: NDArray[np.float64]) -> str:
    """Return linear sRGB components, shape (3,), as a colour such as ``#0072b2``; clipped."""
    linear = linear.clip(0, 1)
    parts = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts.tolist())
