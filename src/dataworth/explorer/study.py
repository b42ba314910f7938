"""A finished study as the explorer needs it: models, learning curves, example test images."""

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
from .answers import set_thresholds
from .flags import ExplorerFlags

NUM_EXAMPLES = 8
MAX_LOADED_VARIANTS = 2  # whose models are kept in memory


@dataclass(frozen=True)
class Example:
    """A test image: its encoded file and its true class."""

    data: bytes
    truth: str


@dataclass(frozen=True)
class MeasuredCurve:
    """Learning curve of one variant: analysis of the headline error, and its mean at each size."""

    curve: Curve
    sizes: pd.DataFrame


@dataclass(frozen=True, eq=False)
class ExplorerStudy:
    """A study that the explorer shows."""

    name: str
    recipe: Recipe
    variants: tuple[str, ...]  # with a finished run
    examples: tuple[Example, ...]
    curves: Mapping[str, MeasuredCurve]  # by variant; empty if eval.py has not been run
    flags: ExplorerFlags

    @lru_cache(maxsize=MAX_LOADED_VARIANTS)  # noqa: B019  the study lives as long as the process
    def models(self, variant: str) -> list[tuple[Classifier, Array | None]]:
        """Models of the first seed and their set thresholds, smallest training set first."""
        flags = ModelFlags(
            experiment_id=self.name,
            variant=variant or None,
            checkpoint_dir=self.flags.checkpoint_dir,
            device=self.flags.device,
        )
        classifiers = choose(flags, all_sizes=True)
        return list(zip(classifiers, set_thresholds(classifiers, self.flags.alpha), strict=True))


def open_study(flags: ExplorerFlags) -> ExplorerStudy:
    """Open a study, with a note on the terminal if it has no law or no test images.

    Raises
    ------
    InputError
        If there is no study, none of its runs is finished, or its weights cannot be read.
    """
    directory = StudyDirectory.find(flags.checkpoint_dir, flags.experiment_id)
    recipe, name = directory.record.recipe, directory.name
    runs = directory.run_directories()
    variants = tuple(dict.fromkeys(run.variant for run, d in runs.items() if d.usable))
    results_dir = directory.results_dir(flags.results_dir)
    measured: dict[str, MeasuredCurve] = {}
    try:
        measured = measured_curves(read_results(results_dir / "metrics.json"), variants)
    except InputError as error:
        say(f"note: no scaling law: {error}")
    examples: tuple[Example, ...] = ()
    try:
        examples = example_images(load_dataset(directory.pinned(recipe)))
    except InputError as error:
        say(f"note: no example test images: {error}")
    study = ExplorerStudy(name, recipe, variants, examples, measured, flags)
    study.models(variants[0])  # report unreadable weights before the page is served
    return study


def measured_curves(results: StudyResults, variants: tuple[str, ...]) -> dict[str, MeasuredCurve]:
    """Analyse the headline error of each variant; a study of one recipe has the variant ``""``."""
    measured = {}
    for name, variant_results in results.variants().items():
        analysed = curves(runs_table(variant_results), variant_results.chance)
        if analysed:
            key = name if name in variants else ""
            measured[key] = MeasuredCurve(headline(analysed), sizes_table(variant_results))
    return measured


def example_images(dataset: ImageDataset) -> tuple[Example, ...]:
    """Return the first readable test image of up to 8 classes, evenly spaced among all classes."""
    test = dataset.splits["test"]
    labels = np.unique(test.labels)
    spaced = np.linspace(0, len(labels) - 1, min(NUM_EXAMPLES, len(labels))).round().astype(int)
    examples = []
    for label in labels[spaced].tolist():
        for row in test.rows[test.labels == label].tolist():
            with contextlib.suppress(BadImageError, OSError):  # such images are left out everywhere
                data = dataset.encoded(test.source, row)
                decode_square(data, 1)
                examples.append(Example(data, dataset.class_names[label]))
                break
    return tuple(examples)
