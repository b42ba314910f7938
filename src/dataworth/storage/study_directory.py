"""The study directory: which points were asked, and the runs that lie below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Machine, Recipe, Run, Study
from ..errors import InputError
from .files import read_json, sweep, write_json
from .identity import SCHEMA, check_same, completed
from .run_directory import RunDirectory

if TYPE_CHECKING:
    import pandas as pd


def write_study(
    path: Path, recipe: Recipe, study: Study, machine: Machine, data: Mapping[str, Any]
) -> None:
    """Write what the study is; the date of the first command and what was asked before stay.

    Only for the owner of the study's directory: two commands may add to it at the same moment.

    Raises
    ------
    InputError
        If another command has made it a study of another recipe since ours looked.
    """
    check_study(path, recipe, study)
    sweep(path)
    there = read_study(path) if (path / "study.json").exists() else {}
    asked = dict.fromkeys([*asked_before(path), study])
    content = {
        "schema_version": SCHEMA,
        "created": there.get("created", datetime.now(UTC).isoformat(timespec="microseconds")),
        "recipe": recipe.model_dump(mode="json"),
        "asked": [one.model_dump(mode="json") for one in asked],
        "machine": machine.model_dump(mode="json"),
        "data": dict(data),
    }
    write_json(path / "study.json", content)


def asked_before(path: Path) -> list[Study]:
    """Return the sizes and seeds that each command asked of a study so far."""
    if not (path / "study.json").exists():
        return []
    return [Study(**asked) for asked in read_study(path)["asked"]]


def planned_runs(path: Path) -> list[Run]:
    """Return every run that was asked of a study so far."""
    asked = asked_before(path)
    recipe = Recipe(**read_study(path)["recipe"]) if asked else Recipe()
    return list(dict.fromkeys(run for study in asked for run in study.runs(recipe)))


def pinned(path: Path, recipe: Recipe) -> Recipe:
    """Return the recipe with the data revision that an existing study was begun with."""
    if not (path / "study.json").exists() or recipe.dataset_revision is not None:
        return recipe
    return recipe.replace(dataset_revision=read_study(path)["data"]["revision"])


def check_study(path: Path, recipe: Recipe, study: Study) -> None:
    """Refuse to add to a study of another recipe, or other variants of the same names.

    Raises
    ------
    InputError
        Naming each field, its value there and the value asked.
    """
    if (path / "study.json").exists():
        check_same(path, completed(read_study(path)["recipe"]), recipe.model_dump(mode="json"))
        there = [dict(one.variants) for one in asked_before(path)]
        asked = dict(study.variants)
        if any(bool(one) != bool(asked) for one in there):
            begun = "several recipes" if there[0] else "one recipe"
            raise InputError(f"{path} is a study of {begun}; use another --experiment-id")
        for one in there:
            check_same(path, one, {name: asked[name] for name in one.keys() & asked.keys()})


def read_study(path: Path) -> dict[str, Any]:
    """Read what :func:`write_study` wrote.

    Raises
    ------
    InputError
        If there is no study, or study.json is damaged.
    """
    try:
        return read_json(path / "study.json")
    except FileNotFoundError:
        raise InputError(f"no study {path.name!r} in {path.parent}; run train.py first") from None


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


def trained_by(directories: Iterable[RunDirectory]) -> dict[str, list[str]]:
    """Return commands, commits, devices, versions of torch, first and last date of some runs."""
    files = [directory.path / "environment.json" for directory in directories]
    found = [read_json(file) for file in files if file.exists()]
    keys = ("command", "commit", "device", "torch")
    known = {key: list(dict.fromkeys(str(one[key]) for one in found if key in one)) for key in keys}
    dates = sorted(str(one["date"]) for one in found if "date" in one)
    return {**known, "date": list(dict.fromkeys((*dates[:1], *dates[-1:])))}


def begun_runs(path: Path) -> dict[Run, RunDirectory]:
    """Return every planned run of a study with its directory, some of them finished.

    Raises
    ------
    InputError
        If none is.
    """
    planned = {run: RunDirectory(path / run.path) for run in planned_runs(path)}
    if not any(directory.usable for directory in planned.values()):
        raise InputError(f"no finished run in {path}; python train.py --resume {path.name}")
    return planned


def epochs_table(directories: Iterable[RunDirectory]) -> pd.DataFrame:
    """Return the metrics.csv of several runs as one table, with variant, subset_size and seed."""
    import pandas as pd

    tables = []
    for directory in directories:
        run, rows = directory.run(), pd.read_csv(directory.path / "metrics.csv")
        key = {"subset_size": run.subset_size, "num_train_images": len(directory.subset())}
        tables.append(rows.assign(**key, seed=run.seed, variant=run.variant))
    return pd.concat(tables, ignore_index=True)
