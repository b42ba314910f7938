"""Convergence at each subset size: best epoch, errors, steps to half of the gain. No torch."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..scaling.laws import Array
from .curves import metric_name
from .sentences import percent


def convergence_table(
    epochs: pd.DataFrame, metric: str, chance: float, batch_size: int
) -> pd.DataFrame:
    """Summarise the learning curves of each size, means over seeds.

    The training error is the running error of the best epoch, measured with augmentation and
    dropout, so that it may exceed the validation error. Half of the gain is reached where the
    validation error is half-way from chance level to its minimum, interpolated between epochs.

    Parameters
    ----------
    epochs : DataFrame
        The content of epochs.csv, of one variant.
    metric : str
        Such as top_5_error.
    chance : float
        Error at chance level, a share: the error before the first step.
    batch_size : int
        Images of an optimiser step.

    Returns
    -------
    DataFrame
        One row per size, smallest first: num_images, num_runs, num_epochs, best_epoch (of the
        validation loss), train_error and validation_error of that epoch, half_gain_steps.
    """
    rows = []
    for (num_images, _), run in epochs.groupby(["num_train_images", "seed"]):
        validation = run[f"validation_{metric}"].to_numpy(float)
        best = int(np.argmin(run["validation_loss"].to_numpy(float)))
        images_per_epoch = float((run["images_per_second"] * run["seconds"]).median())
        steps_per_epoch = np.ceil(round(images_per_epoch) / batch_size)
        rows.append(
            {
                "num_images": num_images,
                "num_epochs": int(run["epoch"].max()),
                "best_epoch": int(run["epoch"].iloc[best]),
                "train_error": run[f"train_{metric}"].iloc[best],
                "validation_error": validation[best],
                "half_gain_steps": steps_per_epoch * _half_gain(np.append(chance, validation)),
            }
        )
    groups = pd.DataFrame(rows).groupby("num_images")
    means = groups.mean().reset_index()
    means.insert(1, "num_runs", groups.size().to_numpy())
    return means


def _half_gain(errors: Array) -> float:
    """Epochs until half of the way from the first error to the smallest one, interpolated."""
    half = (errors[0] + errors.min()) / 2
    after = int(np.argmax(errors <= half))
    if after == 0:  # nothing was gained
        return float("nan")
    return after - float((half - errors[after]) / (errors[after - 1] - errors[after]))


def describe_convergence(table: pd.DataFrame, metric: str) -> str:
    """Describe the smallest and the largest size of :func:`convergence_table` in two sentences."""
    small, large = table.iloc[0], table.iloc[-1]
    steps = ", ".join(f"{row.half_gain_steps:,.0f}" for row in table.itertuples())
    parts = [
        f"the best of {row['num_epochs']:.0f} epochs is {row['best_epoch']:.0f} on average, with "
        f"{percent(row['train_error'])} training and {percent(row['validation_error'])} "
        f"validation {metric_name(metric)}"
        for row in (small, large)
    ]
    return (
        f"With {small['num_images']:,.0f} training images {parts[0]}; with "
        f"{large['num_images']:,.0f} images {parts[1]}. Half of the final gain over chance level "
        f"takes {steps} optimiser steps, from the smallest size to the largest."
    )
