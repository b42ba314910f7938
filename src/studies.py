"""The study directory: which points were asked, and the runs that lie below it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import InputError, Machine, Recipe, Study
from .files import write_json
from .runs import SCHEMA, RunDirectory, check_same

if TYPE_CHECKING:
    import pandas as pd


def write_study(path: Path, recipe: Recipe, study: Study, machine: Machine) -> None:
    """Write which points were asked; the date of the first command stays."""
    there = read_study(path) if (path / "study.json").exists() else {}
    path.mkdir(parents=True, exist_ok=True)
    content = {
        "schema_version": SCHEMA,
        "created": there.get("created", datetime.now(UTC).isoformat(timespec="microseconds")),
        "recipe": recipe.model_dump(mode="json"),
        "study": study.model_dump(mode="json"),
        "machine": machine.model_dump(mode="json"),
    }
    write_json(path / "study.json", content)


def check_study(path: Path, recipe: Recipe) -> None:
    """Refuse to add to a study of another recipe.

    Raises
    ------
    InputError
        Naming each field, its value there and the value asked.
    """
    if (path / "study.json").exists():
        check_same(path, read_study(path)["recipe"], recipe.model_dump(mode="json"))


def read_study(path: Path) -> dict[str, Any]:
    """Read what :func:`write_study` wrote.

    Raises
    ------
    InputError
        If there is no study.
    """
    try:
        content: dict[str, Any] = json.loads((path / "study.json").read_text())
    except FileNotFoundError:
        raise InputError(f"no study {path.name!r} in {path.parent}; run train.py first") from None
    return content


def newest_study(checkpoint_dir: Path) -> str:
    """Name of the most recently started study.

    Raises
    ------
    InputError
        If there is none.
    """
    studies = [path.parent for path in checkpoint_dir.glob("*/study.json")]
    if not studies:
        raise InputError(f"no study in {checkpoint_dir}; run train.py first")
    return max(studies, key=lambda path: str(read_study(path)["created"])).name


def run_directories(study_dir: Path) -> Iterator[RunDirectory]:
    """All claimed runs of a study."""
    for config in sorted(study_dir.glob("*/seed-*/config.json")):
        yield RunDirectory(config.parent)


def epochs_table(directories: Iterable[RunDirectory]) -> pd.DataFrame:
    """Return the metrics.csv of several runs as one table, with subset_size and seed."""
    import pandas as pd

    tables = []
    for directory in directories:
        run, rows = directory.run(), pd.read_csv(directory.path / "metrics.csv")
        key = {"subset_size": run.subset_size, "num_train_images": len(directory.subset())}
        tables.append(rows.assign(**key, seed=run.seed))
    return pd.concat(tables, ignore_index=True)
