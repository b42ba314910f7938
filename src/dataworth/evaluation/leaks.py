"""Error on test images with and without a near duplicate among the training images. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .intervals import wilson_interval

Interval = tuple[float, float]


@dataclass(frozen=True)
class LeakEffect:
    """Errors of the runs of one size; 95 % intervals of the noise of the test images."""

    num_images: int  # training images
    num_runs: int
    num_test: int
    num_twins: float  # test images with a near duplicate in the training subset, mean over runs
    error: float  # on all test images
    error_twins: float
    twins_interval: Interval
    error_others: float  # on test images without a near duplicate
    others_interval: Interval
    effect: float  # error on all test images minus error on the others
    effect_interval: Interval


def leak_effect(
    num_images: int, wrong: Sequence[NDArray[np.bool_]], twins: Sequence[NDArray[np.bool_]]
) -> LeakEffect | None:
    """Compare test images with a near duplicate in train with the others; None without both.

    The effect on the test error is the share of such images times the difference of both errors,
    with the interval of Newcombe (1998, *Statistics in Medicine* 17, 873-890, method 10) from those
    of Wilson. Runs share their test images: images are counted once, whatever the number of runs.
    Images that have near duplicates may be easier or harder than others for other reasons, which
    this comparison cannot tell from the leak.

    Parameters
    ----------
    num_images : int
        Training images.
    wrong : sequence of bool ndarray of shape (n,)
        Of each run: whether the prediction of each test image was wrong.
    twins : sequence of bool ndarray of shape (n,)
        Of each run: whether each test image has a near duplicate in the run's training subset.
    """
    answers, leaked = np.stack(wrong), np.stack(twins)
    if leaked.all() or not leaked.any():
        return None
    num_twins = leaked.sum() / len(leaked)
    num_others = leaked.shape[1] - num_twins
    with_twin, without = float(answers[leaked].mean()), float(answers[~leaked].mean())
    first = wilson_interval(without, num_others)
    second = wilson_interval(with_twin, num_twins)
    share = num_twins / leaked.shape[1]
    low = math.hypot(with_twin - second[0], first[1] - without)
    high = math.hypot(second[1] - with_twin, without - first[0])
    difference = with_twin - without
    return LeakEffect(
        num_images=num_images,
        num_runs=len(leaked),
        num_test=leaked.shape[1],
        num_twins=float(num_twins),
        error=float(answers.mean()),
        error_twins=with_twin,
        twins_interval=second,
        error_others=without,
        others_interval=first,
        effect=share * difference,
        effect_interval=(share * (difference - low), share * (difference + high)),
    )
