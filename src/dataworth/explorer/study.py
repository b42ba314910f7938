"""A finished study as the explorer needs it: models on demand, curves, test images to try."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from ..config import Recipe
from ..conformal.scores import Array
from ..console import say
from ..data.datasets import ImageDataset
from ..data.images import BadImageError, decode_square
from ..data.prepare import load_dataset
from ..errors import InputError
from ..evaluation.records import StudyResults
from ..evaluation.results import read_results
from ..evaluation.tables import runs_table, sizes_table
from ..findings.curves import Curve, curves, headline
from ..prediction.classifier import Classifier
from ..prediction.flags import ModelFlags
from ..prediction.selection import choose
from ..storage.study_directory import StudyDirectory
from .answers import thresholds
from .flags import ExplorerFlags

NUM_EXAMPLES = 8
MOST_VARIANTS = 2  # whose models are kept in memory


@dataclass(frozen=True)
class Example:
    """A test image, as published, and its class."""

    data: bytes
    truth: str


@dataclass(frozen=True)
class Measured:
    """The headline error of one variant: its curve, and its mean at each size."""

    curve: Curve
    sizes: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Explored:
    """One study."""

    name: str
    recipe: Recipe
    variants: tuple[str, ...]  # with a finished run
    examples: tuple[Example, ...]
    measured: Mapping[str, Measured]  # by variant; empty before eval.py
    flags: ExplorerFlags

    @lru_cache(maxsize=MOST_VARIANTS)  # noqa: B019  the study lives as long as the process
    def models(self, variant: str) -> list[tuple[Classifier, Array | None]]:
        """Models of the first seed, smallest training set first, and the thresholds of sets."""
        asked = ModelFlags(
            experiment_id=self.name,
            variant=variant or None,
            checkpoint_dir=self.flags.checkpoint_dir,
            device=self.flags.device,
        )
        found = choose(asked, all_sizes=True)
        return list(zip(found, thresholds(found, self.flags.alpha), strict=True))


def open_study(flags: ExplorerFlags) -> Explored:
    """Read what is there of a study; say what is not.

    Raises
    ------
    InputError
        If there is no study, or none of its runs is finished.
    """
    study = StudyDirectory.find(flags.checkpoint_dir, flags.experiment_id)
    recipe, machine, name = study.record.recipe, study.record.machine, study.name
    runs = study.run_directories()
    variants = tuple(dict.fromkeys(run.variant for run, d in runs.items() if d.usable))
    results = (flags.results_dir or machine.results_dir) / name
    measured: dict[str, Measured] = {}
    try:
        measured = _measure(read_results(results / "metrics.json"), variants)
    except InputError as error:
        say(f"note: no law to show: {error}")
    examples: tuple[Example, ...] = ()
    try:
        examples = _examples(load_dataset(study.pinned(recipe)))
    except InputError as error:
        say(f"note: no test images to pick from: {error}")
    explored = Explored(name, recipe, variants, examples, measured, flags)
    explored.models(variants[0])  # what is wrong with the weights is said before the page is
    return explored


def _measure(results: StudyResults, variants: tuple[str, ...]) -> dict[str, Measured]:
    measured = {}
    for name, part in results.variants().items():
        variant_curves = curves(runs_table(part), part.chance)
        if variant_curves:
            variant = name if name in variants else ""
            measured[variant] = Measured(headline(variant_curves), sizes_table(part))
    return measured


def _examples(dataset: ImageDataset) -> tuple[Example, ...]:
    """Take the first whole test image of some classes, evenly spread: chosen by nobody's taste."""
    test = dataset.splits["test"]
    known = np.unique(test.labels)
    spread = np.linspace(0, len(known) - 1, min(NUM_EXAMPLES, len(known))).round().astype(int)
    found = []
    for label in known[spread].tolist():
        for row in test.rows[test.labels == label].tolist():
            with contextlib.suppress(BadImageError, OSError):  # left out of training too
                data = dataset.encoded(test.source, row)
                decode_square(data, 1)
                found.append(Example(data, dataset.classes[label]))
                break
    return tuple(found)
