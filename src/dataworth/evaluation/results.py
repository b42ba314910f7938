"""metrics.json: build its content from the scores of runs, read and write it. No torch.

It is written with ``exclude_unset``: a key that was never set, such as ``full`` of a run that was
not fully evaluated, is absent from the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ..errors import InputError
from ..storage.files import read_stored, write_json
from ..storage.study_directory import DataSummary, StudyDirectory, images_of_sizes
from ..variants import Value
from .added_records import FullScores, Interval
from .intervals import beats_chance, mean_interval, pooled_intervals
from .records import (
    WITHOUT_DUPLICATES,
    ChanceErrors,
    Environment,
    MeanErrors,
    RunScores,
    SizeSummary,
    SplitScores,
    StudyResults,
)

SCHEMA: Literal[1] = 1
FILE = "metrics.json"


def build_results(
    study: StudyDirectory,
    data: DataSummary,
    environment: Mapping[str, Value],
    runs: Sequence[RunScores],
    missing: Mapping[str, str],
    chance_error: ChanceErrors,
    training: Mapping[str, Sequence[str]],
) -> StudyResults:
    """Assemble the results of a study.

    Parameters
    ----------
    study : StudyDirectory
    data : DataSummary
        Of the data that the runs were scored on.
    environment : mapping
        Of the evaluation.
    runs : sequence of RunScores
    missing : mapping of str to str
        Path of a run without scores -> why.
    chance_error : ChanceErrors
        On the test split.
    training : mapping
        Environments that the runs were trained in.
    """
    recipe = study.record.recipe
    results = StudyResults(
        schema_version=SCHEMA,
        experiment_id=study.name,
        dataset=recipe.dataset,
        model=", ".join(dict.fromkeys(run.model for run in runs)),
        num_classes=len(data.classes),
        data=data,
        recipe=recipe.model_dump(mode="json"),
        environment=Environment.model_validate(dict(environment)),
        chance_error=chance_error,
        runs=tuple(_in_order(_with_images_of_size(runs))),
        missing=dict(missing),
        subset_sizes={},
        training={key: tuple(values) for key, values in training.items()},
    )
    if settings := _variant_settings(study):
        results = results.model_copy(update={"variant_settings": settings})
    return summarised(results)


def _variant_settings(study: StudyDirectory) -> dict[str, dict[str, Value]]:
    """Return the settings of each variant that differ from the recipe; empty without variants."""
    pairs = [pair for request in study.requested for pair in request.variants]
    return {name: dict(changes) for name, changes in pairs}


def _with_images_of_size(runs: Sequence[RunScores]) -> list[RunScores]:
    """Give the runs of a size the same number of images, from which whole groups let seeds differ.

    They are one point of the curve: at the mean over the seeds.
    """
    drawn = [(run.subset_size, run.seed, run.num_images) for run in runs]
    means = images_of_sizes(drawn)
    return [run.model_copy(update={"num_images": means[run.subset_size]}) for run in runs]


def summarised(results: StudyResults) -> StudyResults:
    """Judge every size against chance, and average its runs, from the stored scores of the runs."""
    runs = judge_sizes(results.runs, results.chance["top_1_error"])
    return results.model_copy(update={"runs": tuple(runs), "subset_sizes": summarise(runs)})


def judge_sizes(runs: Iterable[RunScores], chance: float) -> list[RunScores]:
    """Give all runs of a size the status complete, or untrained if it is at chance level.

    Parameters
    ----------
    runs : iterable of RunScores
    chance : float
        Top-1 error at chance level, a share.
    """
    judged = []
    for group in (group for sizes in _by_size(runs).values() for group in sizes):
        tests = [run.splits["test"] for run in group]
        trained = beats_chance([test.top_1_error for test in tests], chance, _effective(tests, 1))
        status = "complete" if trained else "untrained"
        judged += [run.model_copy(update={"status": status}) for run in group]
    return judged


def _in_order(runs: Iterable[RunScores]) -> list[RunScores]:
    """Sort by variant (first come, first served), number of training images and seed."""
    runs = list(runs)
    variants = [run.variant for run in runs]
    return sorted(runs, key=lambda run: (variants.index(run.variant), run.num_images, run.seed))


def _by_size(runs: Iterable[RunScores]) -> dict[str, list[list[RunScores]]]:
    """Group runs by variant and size, smallest size first."""
    groups: dict[str, dict[int, list[RunScores]]] = {}
    for run in _in_order(runs):
        groups.setdefault(run.variant, {}).setdefault(run.num_images, []).append(run)
    return {variant: list(sizes.values()) for variant, sizes in groups.items()}


def summarise(runs: Iterable[RunScores], status: str = "complete") -> dict[str, SizeSummary]:
    """Average the test scores of runs, per variant and subset size, smallest first.

    Parameters
    ----------
    runs : iterable of RunScores
    status : str
        Of the runs that count: complete, or untrained for the sizes at chance level.
    """
    summaries = {}
    for variant, sizes in _by_size(run for run in runs if run.status == status).items():
        pooled = {k: _pooled_intervals(sizes, k) for k in (1, 5)}
        for i, group in enumerate(sizes):
            added: dict[str, object] = {"variant": variant} if variant else {}
            for k, intervals in pooled.items():
                added[f"top_{k}_error_pooled_interval"] = intervals[i]
            if all(WITHOUT_DUPLICATES in run.splits for run in group):
                added["without_duplicates"] = _mean_errors(
                    [run.splits[WITHOUT_DUPLICATES] for run in group]
                )
            key = f"{variant}/{group[0].subset_size!r}".removeprefix("/")
            summaries[key] = _summary(group).model_copy(update=added)
    return summaries


def _pooled_intervals(sizes: Sequence[Sequence[RunScores]], k: int) -> list[Interval | None]:
    tests = [[run.splits["test"] for run in group] for group in sizes]
    errors = [[error for test in group if (error := test.error(k)) is not None] for group in tests]
    if any(map(lambda shares, group: len(shares) < len(group), errors, tests)):  # undefined top-5
        return [None] * len(sizes)
    return [*pooled_intervals(errors, [_effective(group, k) for group in tests])]


def _effective(tests: Sequence[SplitScores], k: int) -> float:
    """Mean over the runs of a size of the effective number of test images."""
    return sum(test.effective_images(k) for test in tests) / len(tests)


def _summary(group: Sequence[RunScores]) -> SizeSummary:
    tests = [run.splits["test"] for run in group]
    top_1, top_5 = (
        _mean_error([test.error(k) for test in tests], _effective(tests, k)) for k in (1, 5)
    )
    assert top_1 is not None, "every run has a top-1 error"
    return SizeSummary(
        num_images=group[0].num_images,
        num_runs=len(group),
        top_1_acc=1 - top_1.mean,
        top_1_error=top_1.mean,
        top_1_error_std=top_1.deviation,
        top_1_error_interval=top_1.interval,
        top_5_acc=None if top_5 is None else 1 - top_5.mean,
        top_5_error=None if top_5 is None else top_5.mean,
        top_5_error_std=None if top_5 is None else top_5.deviation,
        top_5_error_interval=None if top_5 is None else top_5.interval,
        loss=sum(test.loss for test in tests) / len(tests),
    )


def _mean_errors(scores: Sequence[SplitScores]) -> MeanErrors:
    top_1 = [split.top_1_error for split in scores]
    top_5 = [split.top_5_error for split in scores if split.top_5_error is not None]
    return MeanErrors(
        num_test_images=scores[0].num_images,
        top_1_error=sum(top_1) / len(top_1),
        top_5_error=sum(top_5) / len(top_5) if top_5 else None,
    )


class _MeanError(NamedTuple):
    mean: float
    deviation: float | None  # sample standard deviation over seeds; None for a single run
    interval: Interval


def _mean_error(errors: Sequence[float | None], num_test: float) -> _MeanError | None:
    """Average the errors of one size over its seeds; None where top-5 errors are undefined."""
    shares = [error for error in errors if error is not None]
    if len(shares) < len(errors):
        return None
    mean = sum(shares) / len(shares)
    deviation = float(np.std(shares, ddof=1)) if len(shares) > 1 else None
    return _MeanError(mean, deviation, mean_interval(mean, deviation, len(shares), num_test))


def keep_added_scores(results: StudyResults, earlier: StudyResults) -> StudyResults:
    """Take over the full and conformal scores of an earlier evaluation of the same runs.

    Parameters
    ----------
    results : StudyResults
        Of plain scores.
    earlier : StudyResults
        Ignored unless it has the same runs with the same scores, bit for bit.
    """
    if _plain_scores(results) != _plain_scores(earlier):
        return results
    steps = {} if earlier.size_steps is None else {"size_steps": earlier.size_steps}
    return results.model_copy(update=steps).with_scores(
        full={run.path: run.full for run in earlier.runs if run.full is not None},
        conformal={run.path: run.conformal for run in earlier.runs if run.conformal is not None},
    )


def confusion_matrices(
    results: StudyResults,
) -> tuple[dict[Path, NDArray[np.int64]], dict[Path, FullScores]]:
    """Split off the confusion matrices that older versions wrote to metrics.json.

    Returns
    -------
    matrices : dict of Path to int64 ndarray of shape (classes, classes)
        Path of a run -> its matrix; empty for results of this version.
    rest : dict of Path to FullScores
        The other full scores of the same runs.
    """
    matrices, rest = {}, {}
    for run in results.runs:
        if run.full is not None and run.full.confusion_matrix is not None:
            scores = dict(run.full)
            matrices[run.path] = np.array(scores.pop("confusion_matrix"))
            rest[run.path] = FullScores(**scores)
    return matrices, rest


def _plain_scores(results: StudyResults) -> dict[Path, dict[str, object]]:
    added: dict[str, Any] = {"full": True, "conformal": True, "splits": {WITHOUT_DUPLICATES}}
    return {run.path: run.model_dump(exclude=added) for run in results.runs}


def write_results(folder: Path, results: StudyResults) -> None:
    """Replace metrics.json in a folder of results atomically."""
    write_json(folder / FILE, results.model_dump(mode="json", exclude_unset=True))


def read_results(path: Path) -> StudyResults:
    """Read metrics.json.

    Raises
    ------
    InputError
        If the file is missing, no JSON, or of another schema.
    """
    try:
        return StudyResults.model_validate_json(read_stored(path))
    except FileNotFoundError:
        raise InputError(f"no results at {path}; run train.py, then eval.py") from None
    except OSError as error:
        raise InputError(f"{path}: not a results file ({type(error).__name__})") from None
    except ValidationError as error:
        raise InputError(f"{path}: {_first_error(error)}") from None
    except InputError as error:  # of the record that study.json has as well
        raise InputError(f"{path}: not a results file: {str(error).removeprefix('--')}") from None


def _first_error(error: ValidationError) -> str:
    """Format the first error of a results file as one line: where, and what is wrong."""
    details = error.errors(include_url=False)[0]
    if details["loc"] == ("schema_version",) and details["type"] == "literal_error":
        return f"schema_version is {details['input']!r:.40}; this program reads {SCHEMA}"
    field = ".".join(map(str, details["loc"]))
    message = details["msg"].removeprefix("Value error, ")
    return f"not a results file: {f'{field!r:.100}: ' if field else ''}{message}"


def newest_results(results_dir: Path) -> Path:
    """Path of the most recently evaluated metrics.json.

    Raises
    ------
    InputError
        If there is none; the message names the command that makes one.
    """
    dates = {path: read_results(path).environment.date for path in results_dir.glob(f"*/{FILE}")}
    if not dates:
        raise InputError(
            f"no results in {results_dir} yet; run `make study`, or `python train.py` and then "
            "`python eval.py`"
        )
    return max(dates, key=lambda path: dates[path])
