"""Tables of results: a row per run and split, a row per subset size. No torch."""

from __future__ import annotations

import pandas as pd

from ..console import printable_name
from .records import SizeSummary, SplitScores, StudyResults
from .results import summarise

INTERVALS = {"top_1_error_interval", "top_5_error_interval"}
POOLED_INTERVALS = {"top_1_error_pooled_interval", "top_5_error_pooled_interval"}
DRAWN = ("drawn_images", "drawn_groups")
GROUPED = ("num_groups", "top_1_effective_images", "top_5_effective_images")
RUN_COLUMNS = [
    "variant", "model", "subset_size", "num_train_images", "seed", "status", "best_epoch", "split",
    *(name for name in SplitScores.model_fields if name not in {*INTERVALS, *GROUPED}),
]  # fmt: skip

FORMULA_STARTS = ("=", "+", "-", "@")  # text that spreadsheets run


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Encode a table as CSV, with the text made harmless; numbers stay as they are.

    Class and file names come from strangers. Text that a spreadsheet would run as a formula begins
    with a single quote (https://owasp.org/www-community/attacks/CSV_Injection), and control
    characters are escaped: pandas writes a carriage return as it is, which ends the row.
    """
    table = table.copy(deep=False)
    for name in table.select_dtypes(exclude="number"):
        harmless = table[name].map(_harmless)
        if not harmless.equals(table[name]):
            table[name] = harmless
    return table.to_csv(index=False).encode()


def _harmless(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = printable_name(cell)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def runs_table(results: StudyResults) -> pd.DataFrame:
    """Return one row per run and split, with subset_size, num_train_images, seed and status."""
    rows: list[dict[str, object]] = [
        {
            "variant": run.variant,
            "model": run.model or results.model,
            "subset_size": run.subset_size,
            "num_train_images": run.num_images,
            "seed": run.seed,
            "status": run.status,
            "best_epoch": run.best_epoch,
            "split": split,
            **scores.model_dump(exclude=INTERVALS),
            **run.model_dump(include=set(DRAWN)),
        }
        for run in results.runs
        for split, scores in run.splits.items()
    ]
    of_groups = [c for c in (*DRAWN, *GROUPED) if any(row[c] is not None for row in rows)]
    return pd.DataFrame(rows, columns=[*RUN_COLUMNS, *of_groups])


def sizes_table(results: StudyResults) -> pd.DataFrame:
    """Return one row per subset size: the means over complete runs, smallest first.

    Its intervals are the pooled ones of :meth:`SizeSummary.interval`.
    """
    rows = [
        {
            "subset_size": size,
            **summary.model_dump(exclude={*POOLED_INTERVALS, "without_duplicates"}),
            **{f"top_{k}_error_interval": summary.interval(k) for k in (1, 5)},
            **_without_duplicates(summary),
        }
        for size, summary in results.subset_sizes.items()
    ]
    return pd.DataFrame(rows)


def _without_duplicates(summary: SizeSummary) -> dict[str, float | None]:
    errors = summary.without_duplicates
    if errors is None:
        return {}
    return {f"top_{k}_error_without_duplicates": errors.error(k) for k in (1, 5)}


def chance_table(results: StudyResults) -> pd.DataFrame:
    """Return the rows of :func:`sizes_table` for the sizes of one variant at chance level."""
    prefix, at_chance = f"{results.variant}/", _sizes_at_chance(results).items()
    sizes = {size.removeprefix(prefix): summary for size, summary in at_chance}
    return sizes_table(results.model_copy(update={"subset_sizes": sizes}))


def _sizes_at_chance(results: StudyResults) -> dict[str, SizeSummary]:
    """Average the untrained runs of each size; in older files, other runs of it may count."""
    fitted = {(run.variant, run.num_images) for run in results.complete_runs}
    runs = [run for run in results.runs if (run.variant, run.num_images) not in fitted]
    scored = [run for run in runs if "test" in run.splits and run.splits["test"].num_images]
    return summarise(scored, "untrained")


def format_table(results: StudyResults) -> str:
    """Format the mean test errors per subset size as a text table, in percent."""
    at_chance = _sizes_at_chance(results)
    rows = [
        {
            "size": size,
            "images": f"{summary.num_images:,}",
            "runs": f"{summary.num_runs}{' (at chance)' if size in at_chance else ''}",
            "top-1 error": _error_cell(summary, 1),
            "top-5 error": _error_cell(summary, 5),
        }
        for size, summary in (at_chance | results.subset_sizes).items()
    ]
    return pd.DataFrame(rows).to_string(index=False) if rows else "no complete run"


def _error_cell(summary: SizeSummary, k: int) -> str:
    error, interval = summary.error(k), summary.interval(k)
    if error is None or interval is None:
        return "-"
    low, high = (f"{100 * end:.2f} %" for end in interval)
    return f"{100 * error:.2f} % [{low}, {high}]"
