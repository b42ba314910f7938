"""metrics.json: its schema, its summary per subset size, and its reading as a table. No torch.

``runs`` holds one object per finished run (its scores on every split), ``subset_sizes`` the test
means over complete runs, keyed by the size as it was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..config import InputError
from .intervals import chance_error, mean_interval
from .schema import SCHEMA, what_is_wrong


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


def runs_table(results: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row per run and split, with subset_size, num_train_images, seed and status."""
    rows = [
        {
            "variant": run.get("variant", ""),
            "model": run.get("model", results.get("model")),
            "subset_size": run["subset_size"],
            "num_train_images": run["num_images"],
            "seed": run["seed"],
            "status": run["status"],
            "best_epoch": run["best_epoch"],
            "split": split,
            **{key: value for key, value in scores.items() if not isinstance(value, list | tuple)},
        }
        for run in results["runs"]
        for split, scores in run["splits"].items()
    ]
    return pd.DataFrame(rows)


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


def sizes_table(results: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row per subset size: the means over complete runs, smallest first."""
    rows = [{"subset_size": size, **row} for size, row in results["subset_sizes"].items()]
    return pd.DataFrame(rows)


def format_table(results: Mapping[str, Any]) -> str:
    """Spell the errors per subset size as a table for the screen, in percent."""
    rows = [
        {
            "size": size,
            "images": f"{row['num_images']:,}",
            "runs": row["num_runs"],
            "top-1 error": _percent(row, 1),
            "top-5 error": _percent(row, 5),
        }
        for size, row in results["subset_sizes"].items()
    ]
    return pd.DataFrame(rows).to_string(index=False) if rows else "no complete run"


def _percent(row: Mapping[str, Any], k: int) -> str:
    if row[f"top_{k}_error"] is None:
        return "-"
    low, high = row[f"top_{k}_error_interval"]
    return f"{row[f'top_{k}_error']:.2%} [{low:.2%}, {high:.2%}]"
