"""What metrics.json must hold, so that a damaged or foreign file is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InputError
from .intervals import chance_error, mean_interval

SCHEMA = 1
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class _Row(BaseModel):
    """Fields that are read back; others may stand beside them."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True)


class _Scores(_Row):
    num_images: Count
    loss: float
    top_1_error: Share
    top_5_error: Share | None


class _Run(_Row):
    subset_size: float | int
    num_images: Count
    seed: Count
    best_epoch: Count
    status: str
    variant: str = ""
    model: str = ""
    splits: dict[str, _Scores]


class _Size(_Row):
    variant: str = ""
    num_images: Count
    num_runs: Count
    top_1_error: Share
    top_5_error: Share | None
    top_1_error_interval: Annotated[list[float], Field(min_length=2, max_length=2)]
    top_5_error_interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None


class _Environment(_Row):
    date: str


class _Chance(_Row):
    top_1_error: Share
    top_5_error: Share


class _Results(_Row):
    schema_version: Literal[1]
    experiment_id: str
    num_classes: Annotated[int, Field(ge=2)]
    chance_error: _Chance = _Chance(top_1_error=1, top_5_error=1)  # older files lack it
    environment: _Environment
    runs: list[_Run]
    subset_sizes: dict[str, _Size]


def what_is_wrong(content: Any) -> str | None:
    """Say in one line what is no results file about some JSON, or None."""
    if isinstance(content, dict) and content.get("schema_version", SCHEMA) != SCHEMA:
        return f"schema_version is {content['schema_version']!r:.40}; this program reads {SCHEMA}"
    try:
        _Results.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"not a results file: {where!r:.100}: {first['msg']}"
    for name, row in content["subset_sizes"].items():
        if (row["top_5_error"] is None) != (row["top_5_error_interval"] is None):
            return f"not a results file: subset_sizes {name!r:.100}: an interval without its error"
    return None


def summarise(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Average the test scores of complete runs, per variant and subset size, smallest first."""
    sizes: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for run in _in_order(run for run in runs if run["status"] == "complete"):
        sizes.setdefault((run.get("variant", ""), run["num_images"]), []).append(run)
    return {
        f"{variant}/{group[0]['subset_size']!r}".removeprefix("/"): _summary(variant, n, group)
        for (variant, n), group in sizes.items()
    }


def _in_order(runs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    runs = list(runs)
    names = [run.get("variant", "") for run in runs]
    return sorted(
        runs, key=lambda r: (names.index(r.get("variant", "")), r["num_images"], r["seed"])
    )


def _summary(variant: str, num_images: int, group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    tests = [run["splits"]["test"] for run in group]
    row: dict[str, Any] = {"num_images": num_images, "num_runs": len(group)}
    if variant:
        row["variant"] = variant
    for k in (1, 5):
        errors = [test[f"top_{k}_error"] for test in tests]
        known = errors[0] is not None
        mean = sum(errors) / len(errors) if known else None
        deviation = pd.Series(errors).std() if known and len(errors) > 1 else None
        row[f"top_{k}_acc"] = None if mean is None else 1 - mean
        row[f"top_{k}_error"] = mean
        row[f"top_{k}_error_std"] = deviation
        row[f"top_{k}_error_interval"] = (
            None
            if mean is None
            else mean_interval(mean, deviation, len(group), tests[0]["num_images"])
        )
    row["loss"] = sum(test["loss"] for test in tests) / len(tests)
    return row


def build_results(
    experiment_id: str,
    study: Mapping[str, Any],
    environment: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    missing: Mapping[str, str],
    test_labels: NDArray[np.int64],
) -> dict[str, Any]:
    """Assemble the content of metrics.json.

    Parameters
    ----------
    study : mapping
        The content of study.json.
    missing : mapping of str to str
        Path of a run without scores -> why.
    test_labels : ndarray of shape (n,)
    """
    recipe = study["recipe"]
    return {
        "schema_version": SCHEMA,
        "experiment_id": experiment_id,
        "dataset": recipe["dataset"],
        "model": ", ".join(dict.fromkeys(run.get("model", recipe["model"]) for run in runs)),
        "num_classes": len(study["data"]["classes"]),
        "data": dict(study["data"]),
        "recipe": dict(recipe),
        "environment": dict(environment),
        "chance_error": {f"top_{k}_error": chance_error(test_labels, k) for k in (1, 5)},
        "runs": _in_order(runs),
        "missing": dict(missing),
        "subset_sizes": summarise(runs),
    }


def chance_errors(results: Mapping[str, Any]) -> dict[str, float]:
    """Return metric -> error of guessing; of balanced classes where the file does not say."""
    classes = results["num_classes"]
    balanced = {f"top_{k}_error": 1 - min(k, classes) / classes for k in (1, 5)}
    known: dict[str, float] = results.get("chance_error", {})
    return balanced | known


def read_results(path: Path) -> dict[str, Any]:
    """Read metrics.json.

    Raises
    ------
    InputError
        If the file is missing, no JSON, or of another schema.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no results at {path}; run train.py, then eval.py") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a results file ({type(error).__name__})") from None
    if wrong := what_is_wrong(content):
        raise InputError(f"{path}: {wrong}")
    return content


def newest_results(results_dir: Path) -> Path:
    """Path of the metrics.json evaluated last.

    Raises
    ------
    InputError
        If there is none; the message says which command makes one.
    """
    found = {path: read_results(path) for path in results_dir.glob("*/metrics.json")}
    if not found:
        raise InputError(
            f"no results in {results_dir} yet; run `make study`, or `python train.py` and then "
            "`python eval.py`"
        )
    return max(found, key=lambda path: str(found[path]["environment"]["date"]))


def views(results: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the results of each variant by its name; of one recipe, the whole by its model's."""
    names = list(dict.fromkeys(run.get("variant", "") for run in results["runs"]))
    if names in ([], [""]):
        return {str(results.get("model", results["experiment_id"])): dict(results)}
    return {name: _view(results, name) for name in names}


def branch_of(view: Mapping[str, Any]) -> str:
    """Return the variant that all runs of a view share; empty where there is one recipe."""
    return str(view["runs"][0].get("variant", "")) if view["runs"] else ""


def _view(results: Mapping[str, Any], name: str) -> dict[str, Any]:
    runs = [run for run in results["runs"] if run.get("variant", "") == name]
    sizes = {
        key.removeprefix(f"{name}/"): row
        for key, row in results["subset_sizes"].items()
        if row.get("variant", "") == name
    }
    return {**results, "model": runs[0]["model"], "runs": runs, "subset_sizes": sizes}
