"""Predictions of a trained model for one picture: top classes, prediction set, Grad-CAM."""

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
from ..prediction.pictures import Picture, decode_picture

METHOD = "lac"  # of the prediction sets: the one with the smallest sets
NUM_TOP = 5  # classes with the highest probability that are shown
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Prediction:
    """Prediction of one model for one picture."""

    num_images: int  # training images of the model
    top: tuple[tuple[str, float], ...]  # most probable classes and their probabilities
    prediction_set: tuple[str, ...] | None  # most probable class first; None without thresholds
    heat_map: Pixels | None  # (size, size, 3), Grad-CAM of the most probable class over the picture


def decode_upload(data: bytes, name: str, image_size: int) -> Picture:
    """Decode an uploaded picture as in training.

    Parameters
    ----------
    data : bytes
        Content of the file.
    name : str
        Of the file, for messages.
    image_size : int
        Input size of the models, in pixels.

    Raises
    ------
    InputError
        If it cannot be decoded; the message contains the name, without a path.
    """
    picture = decode_picture(data, Path(name), cache_side(image_size))
    if picture.pixels is None:
        reason = picture.reason.partition(":")[0]  # Pillow's part has memory addresses
        raise InputError(f"{Path(name).name}: {reason}")
    return picture


def set_thresholds(classifiers: Sequence[Classifier], alpha: float) -> list[Array | None]:
    """Read the thresholds of the models' prediction sets; all None if one model has none."""
    try:
        return [read_thresholds(c.path.parent, c.digests, alpha, METHOD) for c in classifiers]
    except InputError as error:
        say(f"note: no prediction sets: {error}")
        return [None] * len(classifiers)


def predict(classifier: Classifier, picture: Picture, thresholds: Array | None) -> Prediction:
    """Predict the class of a decoded picture.

    Parameters
    ----------
    classifier : Classifier
    picture : Picture
        With pixels.
    thresholds : ndarray of shape (classes,) or None
        Of the prediction set.
    """
    assert picture.pixels is not None, "the picture was decoded"
    shares = probabilities(classifier.logits(picture.pixels[None]))
    order = np.argsort(-shares[0], kind="stable").tolist()
    names = classifier.class_names
    prediction_set = None
    if thresholds is not None:
        scores = METHODS[METHOD](shares, np.array([picture.draw]))
        in_set = prediction_sets(scores, thresholds)[0]
        prediction_set = tuple(names[k] for k in order if in_set[k])
    return Prediction(
        classifier.num_images or 0,
        tuple((names[k], float(shares[0, k])) for k in order[:NUM_TOP]),
        prediction_set,
        _heat_map(classifier, picture.pixels, order[0]),
    )


def _heat_map(classifier: Classifier, pixels: Pixels, k: int) -> Pixels | None:
    """Blend the Grad-CAM of class ``k`` with the picture; None for a model without feature maps."""
    try:
        (cam,) = grad_cam(classifier, pixels, [k])
    except InputError:
        return None
    grey = classifier.centre_crop(pixels[None])[0].mean(axis=2, keepdims=True)
    colour = 255 * mpl.colormaps["inferno"](cam)[..., :3]
    weight = 0.75 * cam[..., None]
    blended: Pixels = np.round((1 - weight) * grey + weight * colour).astype(np.uint8)
    return blended
