"""Answers on the screen and in files: one row per picture and run, of plain values."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

from ..screen import say, warn
from .classifier import Classifier
from .flags import PredictFlags

FORMATS = (".csv", ".json", ".parquet")
OK = "ok"
Rows = list[dict[str, Any]]


def encode(rows: Rows, suffix: str) -> bytes:
    """Spell rows as CSV (sets joined by ``|``), JSON or Parquet."""
    import pandas as pd

    if suffix == ".json":
        return (json.dumps(rows, indent=2, allow_nan=False) + "\n").encode()
    table = pd.DataFrame(rows)
    if suffix == ".parquet":
        file = io.BytesIO()
        table.to_parquet(file, index=False)
        return file.getvalue()
    if "set" in table:
        table["set"] = table["set"].map("|".join, na_action="ignore")
        table["set_size"] = table["set_size"].astype("Int64")
    return table.to_csv(index=False).encode()


def show(rows: Rows, classifiers: Sequence[Classifier], flags: PredictFlags) -> None:
    """Print answers: all classes asked for of one picture, the likeliest class of many."""
    for classifier in classifiers:
        count = f", {n:,} training images" if (n := classifier.num_images) else ""
        say(f"{classifier.recipe.model}, {classifier.name}{count}")
        for row in (row for row in rows if row["run"] == classifier.name):
            if row["status"] != OK:
                warn(f"  {row['file']}: {row['status']}")
            elif flags.image:
                say("\n".join(_lines(row, classifier, flags)))
            elif not flags.output:
                members = f"   {{{', '.join(row['set'])}}}" if "set" in row else ""
                say(f"  {row['file']}   {row['top_1']} {row['top_1_probability']:.1%}{members}")


def _lines(row: dict[str, Any], classifier: Classifier, flags: PredictFlags) -> list[str]:
    lines = []
    if flags.show_all_probs:
        shares = {name: row[f"p({name})"] for name in classifier.classes}
        lines += [f"  {share:6.1%}  {name}" for name, share in shares.items()]
    else:
        ranks = range(1, min(flags.top_k, len(classifier.classes)) + 1)
        lines += [f"  {row[f'top_{k}_probability']:6.1%}  {row[f'top_{k}']}" for k in ranks]
    if "set" in row:
        lines.append(
            f"  {row['set_size']} classes hold the truth in {1 - flags.alpha:.4g} of images: "
            f"{', '.join(row['set']) or 'none is likely enough'}"
        )
    return lines
