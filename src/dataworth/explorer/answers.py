"""A picture -> what each subset size says of it, and where it looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from ..conformal.scores import METHODS, Array, prediction_sets
from ..conformal.thresholds import read_thresholds
from ..console import say
from ..data.prepare import cache_side
from ..errors import InputError
from ..evaluation.calibration import probabilities
from ..prediction.classifier import Classifier
from ..prediction.explain import grad_cam
from ..prediction.pictures import Picture, decoded

METHOD = "lac"  # of the sets: the smallest ones
SHOWN = 5  # classes per answer
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Answer:
    """What one model says of one picture."""

    num_images: int  # it was trained on
    top: tuple[tuple[str, float], ...]  # likeliest classes and their probabilities
    members: tuple[str, ...] | None  # of the set, likeliest first; None without thresholds
    looks: Pixels | None  # (size, size, 3), what speaks for the likeliest class is bright


def read(data: bytes, name: str, image_size: int) -> Picture:
    """Decode an upload as training would.

    Raises
    ------
    InputError
        If it cannot be decoded; the message holds the name and no path.
    """
    picture = decoded(data, Path(name), cache_side(image_size))
    if picture.pixels is None:
        reason = picture.reason.partition(":")[0]  # what follows is Pillow's, with addresses
        raise InputError(f"{Path(name).name}: {reason}")
    return picture


def thresholds(classifiers: Sequence[Classifier], alpha: float) -> list[Array | None]:
    """Read what makes the models' sets; all None, said on the terminal, where one has none."""
    try:
        return [read_thresholds(c.path.parent, c.belongs, alpha, METHOD) for c in classifiers]
    except InputError as error:
        say(f"note: no sets of classes: {error}")
        return [None] * len(classifiers)


def ask(classifier: Classifier, picture: Picture, limits: Array | None) -> Answer:
    """Ask one model about a picture that could be read."""
    assert picture.pixels is not None, "it was read"
    shares = probabilities(classifier.logits(picture.pixels[None]))
    order = np.argsort(-shares[0], kind="stable").tolist()
    names = classifier.classes
    members = None
    if limits is not None:
        held = prediction_sets(METHODS[METHOD](shares, np.array([picture.draw])), limits)[0]
        members = tuple(names[k] for k in order if held[k])
    return Answer(
        classifier.num_images or 0,
        tuple((names[k], float(shares[0, k])) for k in order[:SHOWN]),
        members,
        _looks(classifier, picture.pixels, order[0]),
    )


def _looks(classifier: Classifier, pixels: Pixels, k: int) -> Pixels | None:
    """Lay the Grad-CAM of a class over the picture; None where the model has no map."""
    try:
        (found,) = grad_cam(classifier, pixels, [k])
    except InputError:
        return None
    grey = classifier.seen(pixels[None])[0].mean(axis=2, keepdims=True)
    colour = 255 * mpl.colormaps["inferno"](found)[..., :3]
    weight = 0.75 * found[..., None]
    laid: Pixels = np.round((1 - weight) * grey + weight * colour).astype(np.uint8)
    return laid
