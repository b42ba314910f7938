"""Typed records of a study's results: the content of metrics.json. Pure; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ..config import run_path
from ..storage.study_directory import DataSummary
from ..variants import Value, VariantName
from . import intervals
from .added_records import ConformalReports, Count, FullScores, Interval, ResultsRecord, Share

WITHOUT_DUPLICATES = "test_without_duplicates"  # scores on the test images in no other split


class SplitScores(ResultsRecord):
    """Scores of one run on one split; errors are shares, the loss is in nats per image."""

    num_images: Count
    loss: float
    top_1_error: Share
    top_1_accuracy: Share | None = None
    top_1_error_interval: Interval | None = None  # 95 %, sampling noise of the images
    top_5_error: Share | None  # None with fewer than 6 classes
    top_5_accuracy: Share | None = None
    top_5_error_interval: Interval | None = None
    num_groups: Count | None = None  # of the images; None if they are not grouped
    top_1_effective_images: float | None = None  # independent images that say as much as groups
    top_5_effective_images: float | None = None

    @classmethod
    def measured(
        cls, num_images: int, loss: float, top_1: float, top_5: float | None,
        grouped: intervals.Grouped | None = None,
    ) -> Self:  # fmt: skip
        """Add accuracies and 95 % intervals to measured errors.

        Parameters
        ----------
        num_images : int
        loss : float
            Nats per image.
        top_1, top_5 : float
            Errors, shares in [0, 1].
        grouped : Grouped or None
            Of images that come in groups.
        """
        counts = (num_images, num_images) if grouped is None else grouped[1:]
        ends = [
            None if error is None else intervals.wilson_interval(error, n or num_images)
            for error, n in zip((top_1, top_5), counts, strict=True)
        ]
        return cls(
            num_images=num_images,
            loss=loss,
            top_1_error=top_1,
            top_1_accuracy=1 - top_1,
            top_1_error_interval=ends[0],
            top_5_error=top_5,
            top_5_accuracy=None if top_5 is None else 1 - top_5,
            top_5_error_interval=ends[1],
            **({} if grouped is None else grouped._asdict()),
        )

    def error(self, k: int) -> float | None:
        """Top-k error, for k of 1 or 5."""
        return self.top_1_error if k == 1 else self.top_5_error

    def interval(self, k: int) -> Interval | None:
        """95 % interval of the top-k error, for k of 1 or 5."""
        return self.top_1_error_interval if k == 1 else self.top_5_error_interval

    def effective_images(self, k: int) -> float:
        """Independent images that say as much about the top-k error: all, if not grouped."""
        effective = self.top_1_effective_images if k == 1 else self.top_5_effective_images
        return self.num_images if effective is None else effective


class RunScores(ResultsRecord):
    """One trained run and its scores on every split."""

    variant: VariantName = ""  # empty in a study of one recipe
    model: str = ""
    subset_size: float | int
    seed: Count
    num_images: Count  # of the training subset; of whole groups, mean over seeds: see drawn_images
    label_noise: Share = 0.0  # share of its labels that was to be wrong, and how many were
    num_changed_labels: Count = 0
    epochs: Count = 0
    best_epoch: Count
    status: str  # "complete", or "untrained" if the runs of its size are no better than chance
    splits: dict[str, SplitScores]  # WITHOUT_DUPLICATES only where there are duplicates
    full: FullScores | None = None
    conformal: ConformalReports | None = None
    drawn_images: Count | None = None  # of this run's own subset, where it is of whole groups
    drawn_groups: Count | None = None

    @property
    def path(self) -> Path:
        """Path of the run, relative to the study's directory."""
        return run_path(self.variant, self.subset_size, self.seed)

    @property
    def complete(self) -> bool:
        """Whether its size is better than chance, so that the run counts in means and fits."""
        return self.status == "complete"


class MeanErrors(ResultsRecord):
    """Mean test errors of one subset size on some of the test images."""

    num_test_images: Count
    top_1_error: Share
    top_5_error: Share | None

    def error(self, k: int) -> float | None:
        """Mean top-k error, for k of 1 or 5."""
        return self.top_1_error if k == 1 else self.top_5_error


class SizeSummary(ResultsRecord):
    """Mean test scores over the complete runs of one subset size."""

    num_images: Count
    num_runs: Count
    variant: VariantName = ""
    top_1_acc: Share | None = None
    top_1_error: Share
    top_1_error_std: float | None = None
    top_1_error_interval: Interval  # 95 %, sampling noise of images and seeds: Student's t
    top_1_error_pooled_interval: Interval | None = None  # the variance of seeds is pooled
    top_5_acc: Share | None = None
    top_5_error: Share | None
    top_5_error_std: float | None = None
    top_5_error_interval: Interval | None
    top_5_error_pooled_interval: Interval | None = None
    loss: float | None = None
    without_duplicates: MeanErrors | None = None  # on test images that are in no other split

    @model_validator(mode="after")
    def _check_interval(self) -> Self:
        if (self.top_5_error is None) != (self.top_5_error_interval is None):
            raise ValueError("top_5_error and top_5_error_interval must be set together")
        return self

    def error(self, k: int) -> float | None:
        """Mean top-k error, for k of 1 or 5."""
        return self.top_1_error if k == 1 else self.top_5_error

    def interval(self, k: int) -> Interval | None:
        """95 % interval of the mean top-k error, for k of 1 or 5: pooled, or Student's if older."""
        if k == 1:
            return self.top_1_error_pooled_interval or self.top_1_error_interval
        return self.top_5_error_pooled_interval or self.top_5_error_interval


class SizeStep(ResultsRecord):
    """Paired comparison of one subset size with the next larger one, on the same test images."""

    from_num_images: Count
    to_num_images: Count
    top_1_error_drop: float
    top_1_error_drop_interval: Interval  # 95 %


class AnswerCorrelation(ResultsRecord):
    """Correlation of right and wrong answers to the test images: of two variants, or within one.

    Means over pairs of sizes; a variant is compared with itself at two different sizes.
    """

    variants: tuple[VariantName, VariantName]
    top_1_correlation: float
    top_5_correlation: float | None


class ChanceErrors(ResultsRecord):
    """Errors of the best constant prediction."""

    top_1_error: Share
    top_5_error: Share

    @classmethod
    def measured(cls, labels: NDArray[np.int64]) -> Self:
        """Errors of always predicting the most frequent labels; ``labels`` has shape (n,)."""
        return cls(
            top_1_error=intervals.chance_error(labels, 1),
            top_5_error=intervals.chance_error(labels, 5),
        )

    @classmethod
    def balanced(cls, num_classes: int) -> Self:
        """Errors of guessing among equally frequent classes."""
        return cls(
            top_1_error=1 - 1 / num_classes, top_5_error=1 - min(5, num_classes) / num_classes
        )


class Environment(ResultsRecord, extra="allow"):
    """Versions, commit, hardware and date of the evaluation."""

    __pydantic_extra__: dict[str, Value]
    date: str


class StudyResults(ResultsRecord):
    """Content of metrics.json: every evaluated run of a study, and the means per subset size."""

    schema_version: Literal[1]
    experiment_id: str
    dataset: str = ""
    model: str = ""
    num_classes: Annotated[int, Field(ge=2)]
    data: DataSummary = DataSummary(splits={}, classes=())
    recipe: dict[str, Value] = Field(default_factory=dict)
    variant_settings: dict[str, dict[str, Value]] = Field(default_factory=dict)  # changes to it
    environment: Environment
    chance_error: ChanceErrors | None = None
    runs: tuple[RunScores, ...]
    missing: dict[str, str] = Field(default_factory=dict)  # path of a run without scores -> why
    subset_sizes: dict[str, SizeSummary]
    training: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # where, when and by what
    size_steps: tuple[SizeStep, ...] | dict[str, tuple[SizeStep, ...]] | None = None
    answer_correlations: tuple[AnswerCorrelation, ...] = ()  # between variants, and within each

    @property
    def complete_runs(self) -> list[RunScores]:
        """Runs of the sizes that are better than chance."""
        return [run for run in self.runs if run.complete]

    @property
    def chance(self) -> dict[str, float]:
        """Metric -> error of guessing; of balanced classes where an older file does not say."""
        return dict(self.chance_error or ChanceErrors.balanced(self.num_classes))

    @property
    def variant(self) -> str:
        """Variant of the first run; empty in a study of one recipe."""
        return self.runs[0].variant if self.runs else ""

    def variants(self) -> dict[str, StudyResults]:
        """Results of each variant by its name; of one recipe, all by the name of its model."""
        names = list(dict.fromkeys(run.variant for run in self.runs))
        if names in ([], [""]):
            return {self.model or self.experiment_id: self}
        return {name: self._of_variant(name) for name in names}

    def _of_variant(self, name: str) -> StudyResults:
        runs = tuple(run for run in self.runs if run.variant == name)
        sizes = {
            size.removeprefix(f"{name}/"): summary
            for size, summary in self.subset_sizes.items()
            if summary.variant == name
        }
        changes = {"model": runs[0].model, "runs": runs, "subset_sizes": sizes}
        return self.model_copy(update=changes)

    def with_scores(
        self,
        full: Mapping[Path, FullScores] | None = None,
        conformal: Mapping[Path, ConformalReports] | None = None,
    ) -> StudyResults:
        """Return a copy whose runs have added scores.

        Parameters
        ----------
        full, conformal : mapping
            Path of a run -> its scores.
        """
        runs = []
        for run in self.runs:
            scores = {
                "full": (full or {}).get(run.path),
                "conformal": (conformal or {}).get(run.path),
            }
            added = {key: value for key, value in scores.items() if value is not None}
            runs.append(run.model_copy(update=added))
        return self.model_copy(update={"runs": tuple(runs)})
