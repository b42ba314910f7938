"""Collect more images or train longer: grids of runs, tables and sentences. No torch.

A grid takes runs that differ in images and training alone: the variants of a study, or several
studies, whose recipes have everything in common but epochs and budget.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..config import Recipe
from ..errors import InputError
from ..evaluation.records import StudyResults
from ..evaluation.tables import runs_table
from ..scaling.grid import Grid
from ..scaling.points import NotIdentifiableError
from ..scaling.training_forecasts import Choice, TrainingAnalysis, analyse_grid, check_grid
from ..storage.identity import with_defaults
from .curves import METRICS, headline_metric, metric_name, points, test_scores
from .sentences import fill, percent

QUESTION = "Collect or train longer?"
HOW_TO_MEASURE = "--budget epochs steps, or variants of epochs, measure it"
FREE = {"epochs", "budget", "dataset"}  # of a recipe; the data are compared by their contents


@dataclass(frozen=True)
class TrainingFindings:
    """What the runs of one recipe, with different images and training, say about both."""

    metric: str
    analysis: TrainingAnalysis

    @property
    def error(self) -> str:
        """Name of the error, such as top-5 error."""
        return metric_name(self.metric)

    @property
    def title(self) -> str:
        """The question, and where it starts from."""
        (n, steps), means = self.analysis.grid.largest, self.analysis.grid.means
        return (
            f"{QUESTION} From {n:,.0f} images and {steps:,.0f} steps "
            f"({_epochs(self.analysis.largest_passes)}), with a measured {self.error} of "
            f"{percent(means[-1])} (90 % intervals of a new run):"
        )


@dataclass(frozen=True)
class _Arm:
    """Runs with one recipe: images, steps and scores of each."""

    study: str
    settings: str  # the recipe without epochs and budget
    steps: list[int]
    test: pd.DataFrame
    batch_size: int
    results: StudyResults


def training_findings(
    studies: Mapping[str, StudyResults], metric: str | None = None
) -> TrainingFindings | None:
    """Analyse the largest grid of images and training among some studies.

    Parameters
    ----------
    studies : mapping of str to StudyResults
        Name, for messages, -> results; on the same data.
    metric : str, optional
        Such as top_5_error; by default that of the headline.

    Returns
    -------
    TrainingFindings or None
        None if no run is complete, or the file does not say how its variants were trained.

    Raises
    ------
    InputError
        If the studies are not on the same data, or a recipe has no usable number of epochs.
    """
    _check_same_data(studies)
    groups: dict[str, list[_Arm]] = {}
    for name, results in studies.items():
        for arm in _arms(name, results):
            groups.setdefault(arm.settings, []).append(arm)
    if not groups:
        return None
    arms = max(groups.values(), key=_num_cells)
    if len(studies) > 1 and len({arm.study for arm in arms}) == 1:
        raise InputError(
            f"{', '.join(studies)}: their recipes differ in more than epochs and budget: "
            f"{_differences([group[0].settings for group in groups.values()])}"
        )
    test = pd.concat([arm.test for arm in arms])
    metric = metric or headline_metric(test)
    measured, chance = points(test, metric), arms[0].results.chance[metric]
    steps = np.array([count for arm in arms for count in arm.steps], dtype=float)
    try:
        grid = Grid(measured.n, steps, measured.error, measured.num_test, float(arms[0].batch_size))
    except NotIdentifiableError:
        return None
    return TrainingFindings(metric, analyse_grid(grid, chance))


def _arms(name: str, results: StudyResults) -> list[_Arm]:
    """Return the runs of each variant, with their steps; of one recipe, all of them."""
    arms = []
    for part in results.variants().values():
        if not results.recipe or (part.variant and part.variant not in results.variant_settings):
            continue  # of an older metrics.json
        try:
            changes = results.variant_settings.get(part.variant, {})
            recipe = Recipe(**with_defaults({**results.recipe, **changes}))
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        test = test_scores(runs_table(part))
        n, num_train = test["num_train_images"], results.data.splits.get("train", 0)
        if recipe.budget == "steps" and num_train < n.max():
            raise InputError(f"{name}: data.splits.train is {num_train}, fewer than in a run")
        steps = [recipe.epochs * recipe.steps_per_epoch(count, num_train) for count in n.tolist()]
        settings = recipe.model_dump_json(exclude=FREE)
        if steps:
            arms.append(_Arm(name, settings, steps, test, recipe.batch_size, results))
    return arms


def _check_same_data(studies: Mapping[str, StudyResults]) -> None:
    (first, reference), *others = studies.items()
    for name, results in others:
        for field in ("splits", "classes"):
            if getattr(results.data, field) != getattr(reference.data, field):
                raise InputError(f"{name}: other data than in {first}: their {field} differ")


def _num_cells(arms: Sequence[_Arm]) -> tuple[bool, int]:
    """Rank a group of runs: whether it tells images and training apart, and its cells."""
    measured = points(pd.concat([arm.test for arm in arms]), METRICS[0])
    steps = np.array([count for arm in arms for count in arm.steps], dtype=float)
    try:
        grid = Grid(measured.n, steps, measured.error, measured.num_test)
        check_grid(grid)
    except NotIdentifiableError:
        return False, len(steps)
    return True, len(grid.cells)


def _differences(settings: Sequence[str]) -> str:
    recipes = [json.loads(text) for text in settings]
    return ", ".join(
        field for field, value in recipes[0].items() if any(r.get(field) != value for r in recipes)
    )


def choices_table(findings: TrainingFindings) -> pd.DataFrame:
    """Return the forecasts as a table of text, its index the choice."""
    rows = [
        {
            "choice": choice.name,
            "images": f"{choice.n:,.0f}",
            "steps": f"{choice.steps:,.0f}",
            "epochs": _number(_passes(findings, choice)),
            findings.error: f"{percent(choice.error)} "
            f"({percent(choice.lower)} to {percent(choice.upper)})",
        }
        for choice in findings.analysis.choices
    ]
    return pd.DataFrame(rows).set_index("choice")


def _passes(findings: TrainingFindings, choice: Choice) -> float:
    n, steps = findings.analysis.grid.largest
    return findings.analysis.largest_passes * choice.steps / steps * n / choice.n


def _epochs(passes: float) -> str:
    return f"{_number(passes)} epochs"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def training_sentences(findings: TrainingFindings) -> list[str]:
    """Describe the answer, how far it can be trusted, and the forecast of the largest cell."""
    analysis, grid = findings.analysis, findings.analysis.grid
    if analysis.posterior is None:
        return [f"{QUESTION} Not told by this study: {analysis.reason} ({HOW_TO_MEASURE})."]
    images, probability = "twice the images at the same steps", analysis.images_better
    longer = "training the same images twice as long"
    if probability < 0.5:
        images, longer, probability = longer, images, 1 - probability
    smallest = grid.cells.min(axis=0)
    texts = [
        f"{images[0].upper()}{images[1:]} lowers the error more than {longer} with probability "
        f"{'above 99' if probability >= 0.995 else f'{100 * probability:.0f}'} %.",
        f"The law of images and training steps is fitted to {len(grid.cells)} cells: "
        f"{smallest[0]:,.0f} to {grid.largest[0]:,.0f} images, {smallest[1]:,.0f} to "
        f"{grid.cells[:, 1].max():,.0f} steps, each a finished run.",
    ]
    if (test := analysis.backtest) is not None:
        place = "inside" if test.covered else "OUTSIDE"
        texts.append(
            f"Without the largest cell, the forecast for it was {percent(test.point)} (90 % "
            f"interval {percent(test.lower)} to {percent(test.upper)}); measured: "
            f"{percent(test.measured)}, {place} the interval."
        )
    return texts


def describe_training(findings: TrainingFindings, width: int) -> str:
    """Format title, table and sentences as lines of at most ``width`` characters."""
    texts = [fill(text, width) for text in training_sentences(findings)]
    if findings.analysis.posterior is None:
        return "\n".join(texts)
    table = choices_table(findings).to_string()
    return "\n".join([fill(findings.title, width), table, *texts])
