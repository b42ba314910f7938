"""Typed records of what ``--full`` and ``--conformal`` add to metrics.json. Pure; no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Interval = tuple[float, float]  # lower and upper end
Optionals = tuple[float | None, ...]


class ResultsRecord(BaseModel):
    """Frozen part of metrics.json; unknown keys are ignored, types are checked strictly."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class ReliabilityBins(ResultsRecord):
    """Confidence and accuracy in bins of the confidence."""

    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    num_images: tuple[int, ...]


class ClassScores(ResultsRecord):
    """Precision, recall and F1 of each class."""

    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]


class AverageScores(ResultsRecord):
    """Precision, recall and F1, averaged over classes."""

    precision: float
    recall: float
    f1: float


class FullScores(ResultsRecord):
    """Scores of ``eval.py --full`` for one run on the test split."""

    top_k_errors: dict[str, Share]  # k -> error
    negative_log_likelihood: float  # nats per image
    expected_calibration_error: float
    reliability: ReliabilityBins
    confusion_matrix: tuple[tuple[int, ...], ...] | None = None  # of older versions; now an .npz
    per_class: ClassScores
    macro: AverageScores
    weighted: AverageScores


class GroupCoverage(ResultsRecord):
    """Coverage and set sizes within each class; None for a class without images."""

    num_images: tuple[int, ...]
    coverage: Optionals
    mean_set_size: Optionals
    singleton_share: Optionals


class CoverageReport(ResultsRecord):
    """Measured coverage and size of the prediction sets of one method and mode."""

    target: float
    coverage: float
    coverage_interval: Interval  # 95 %
    interval_contains_target: bool
    expected_coverage: Interval  # range that a calibration set of this size explains
    verdict: str
    mean_set_size: float
    singleton_share: float
    empty_share: float
    by_true_class: GroupCoverage
    by_predicted_class: GroupCoverage


def _check_alpha(text: str) -> str:
    if not 0 < float(text) < 1:
        raise ValueError("alpha lies between 0 and 1")
    return text


Alpha = Annotated[str, AfterValidator(_check_alpha)]
ConformalReports = dict[Alpha, dict[str, dict[str, CoverageReport]]]  # alpha -> method -> mode
