"""metrics.json as tables: a row per run and split, a row per size. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd


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
