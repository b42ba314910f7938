"""A finished study as the explorer needs it: models, findings, example test images."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..config import Machine, Recipe
from ..conformal.scores import Array
from ..console import say
from ..data.datasets import ImageDataset
from ..data.images import BadImageError, decode_square
from ..data.prepare import load_dataset
from ..errors import InputError
from ..findings.study import VariantFindings, read_findings
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


@dataclass(frozen=True, eq=False)
class ExplorerStudy:
    """A study that the explorer shows."""

    name: str
    recipe: Recipe | None  # None without checkpoints
    variants: tuple[str, ...]  # with a finished run, or with a curve
    num_sizes: int  # most models of a variant, one for each subset size; 0 without checkpoints
    examples: tuple[Example, ...]
    findings: Mapping[str, VariantFindings]  # by variant; empty if eval.py has not been run
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
    """Open a study, with a note on the terminal if it has no law, models or test images.

    Raises
    ------
    InputError
        If there is no study, none of its runs is finished, or its weights cannot be read.
    """
    name = flags.experiment_id
    results_dir = (flags.results_dir or Machine().results_dir) / (name or "")
    if name and not (flags.checkpoint_dir / name).exists() and results_dir.exists():
        say(f"note: no {flags.checkpoint_dir / name}: results without predictions")
        results = analysed(results_dir)
        return ExplorerStudy(name, None, tuple(results), 0, (), results, flags)
    directory = StudyDirectory.find(flags.checkpoint_dir, name)
    recipe, runs = directory.record.recipe, directory.run_directories()
    sizes: dict[str, set[float]] = {}
    for run, run_directory in runs.items():
        if run_directory.usable:
            sizes.setdefault(run.variant, set()).add(run.subset_size)
    findings: dict[str, VariantFindings] = {}
    try:
        findings = analysed(directory.results_dir(flags.results_dir))
    except InputError as error:
        say(f"note: no scaling law: {error}")
    examples: tuple[Example, ...] = ()
    try:
        examples = example_images(load_dataset(directory.pinned(recipe)))
    except InputError as error:
        say(f"note: no example test images: {error}")
    num_sizes = max(map(len, sizes.values()))
    study = ExplorerStudy(
        directory.name, recipe, tuple(sizes), num_sizes, examples, findings, flags
    )
    study.models(study.variants[0])  # report unreadable weights before the page is served
    return study


def analysed(results_dir: Path) -> dict[str, VariantFindings]:
    """Analyse the variants that have a curve, by name; a study of one recipe has the name ``""``.

    Raises
    ------
    InputError
        If the study was not evaluated, or no variant has a curve.
    """
    findings = {v.variant: v for v in read_findings(results_dir) if v.curves}
    if not findings:
        raise InputError(f"{results_dir}: no run is complete and better than chance")
    return findings


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
