"""Study directory: study.json (what was requested, on which data) and the runs below it."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import ConfigDict, Field

from ..config import Machine, Recipe, Record, Run, Study, recipes_by_variant
from ..console import warn
from ..errors import InputError, did_you_mean
from .epoch_log import FILE as LOG_FILE
from .files import (
    json_bytes,
    parse_json,
    read_stored,
    remove_temporary_files,
    write_whole,
)
from .identity import SCHEMA, check_same
from .machine_settings import NAMES, settings_under
from .run_directory import RunDirectory

if TYPE_CHECKING:
    import pandas as pd

STUDY_FILE = "study.json"


class Duplicates(Record):
    """Number of images of a split that are also in another one, byte for byte."""

    split: str
    also_in: str
    num_images: int = Field(ge=0)


class SharedGroups(Record):
    """Number of images of a split whose groups are also in another one."""

    split: str
    also_in: str
    num_groups: int = Field(ge=0)
    num_images: int = Field(ge=0)


class UnusedFiles(Record):
    """Number of files that are in no split, for one reason."""

    reason: str
    num_files: int = Field(ge=0)


class DataSummary(Record):
    """Summary of the data set of a study, in study.json and in metrics.json."""

    model_config = ConfigDict(extra="ignore")

    revision: str | None = None  # commit on the hub
    splits: dict[str, Annotated[int, Field(ge=0)]]  # number of images
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...]
    duplicates: tuple[Duplicates, ...] = ()  # of each pair of splits; older files have none
    unused_files: tuple[UnusedFiles, ...] = ()
    groups: dict[str, Annotated[int, Field(ge=0)]] = Field(
        {}, description="number in each split; empty without groups"
    )
    shared_groups: tuple[SharedGroups, ...] = ()  # pairs of splits that share some


class StudyRecord(Record):
    """Content of study.json, with the keys of the file in their order."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    schema_version: int = SCHEMA
    created: str  # UTC, ISO 8601
    recipe: Recipe
    requested: tuple[Study, ...] = Field(
        alias="asked", min_length=1
    )  # by each command, in order of time
    machine: Machine  # of the last command; StudyDirectory.machine says which of it is used
    data: DataSummary

    def to_json(self) -> bytes:
        """Encode the record as the content of study.json."""
        return json_bytes(self.model_dump(mode="json", by_alias=True))


@dataclass(frozen=True)
class StudyDirectory:
    """A study: its directory and the content of study.json, parsed once."""

    path: Path
    stored: StudyRecord | None = None  # None: a new study
    content: bytes | None = None  # of study.json as it was read

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a study directory, which may be new.

        Raises
        ------
        InputError
            If study.json is damaged, or the path is not UTF-8: libraries for weights refuse it.
        """
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise InputError(f"{path}: not a path in UTF-8; use another --checkpoint-dir") from None
        try:
            content = read_stored(path / STUDY_FILE)
        except FileNotFoundError:
            return cls(path)
        return cls(
            path, _record(path / STUDY_FILE, parse_json(content, path / STUDY_FILE)), content
        )

    @classmethod
    def find(cls, checkpoint_dir: Path, name: str | None = None) -> Self:
        """Return the named study, or the most recently started one that is whole.

        Raises
        ------
        InputError
            If there is no such study, or study.json of the named one is damaged.
        """
        if name is not None:
            study = cls.read(checkpoint_dir / name)
            study.check_exists()
            return study
        studies, num_damaged = [], 0
        for file in sorted(checkpoint_dir.glob(f"*/{STUDY_FILE}")):
            try:
                studies.append(cls.read(file.parent))
            except (InputError, OSError) as error:
                reason = f"{file}: {error.strerror}" if isinstance(error, OSError) else str(error)
                warn(f"warning: {reason}; this study is left out")
                num_damaged += 1
        if not studies:
            kind = "whole study" if num_damaged else "study"
            raise InputError(f"no {kind} in {checkpoint_dir}; run train.py first")
        return max(studies, key=lambda study: study.record.created)

    @property
    def name(self) -> str:
        """Name of the study, the ``--experiment-id``."""
        return self.path.name

    @property
    def record(self) -> StudyRecord:
        """The content of study.json; only of a study that exists."""
        assert self.stored is not None, "check_exists comes first"
        return self.stored

    def check_exists(self) -> None:
        """Refuse a study that has no study.json.

        Raises
        ------
        InputError
            Naming the study and its folder.
        """
        if self.stored is None:
            names = [file.parent.name for file in self.path.parent.glob(f"*/{STUDY_FILE}")]
            known = did_you_mean(self.name, names) or "; run train.py first"
            raise InputError(f"no study {self.name!r} in {self.path.parent}{known}")

    @property
    def requested(self) -> tuple[Study, ...]:
        """Sizes and seeds that each command requested so far; empty for a new study."""
        return self.stored.requested if self.stored else ()

    def machine(self, apply: Callable[[Machine], Machine], *names: str) -> Machine:
        """Return the stored machine settings under those of a command, by ``settings_under``."""
        file = self.path / STUDY_FILE
        return settings_under(apply, self.record.machine, file, names or NAMES)

    def results_dir(self, requested: Path | None = None) -> Path:
        """Return the folder for this study's results: in ``--results-dir``, else as in training."""
        changes = {} if requested is None else {"results_dir": requested}
        machine = self.machine(lambda stored: stored.replace(**changes), "results_dir")
        return machine.results_dir / self.name

    def planned_runs(self) -> list[Run]:
        """Return every run that was requested so far."""
        runs = (run for study in self.requested for run in study.runs(self.record.recipe))
        return list(dict.fromkeys(runs))

    def run_directory(self, run: Run) -> RunDirectory:
        """Return the directory of a run of this study.

        Raises
        ------
        InputError
            If a folder on the way is a symbolic link: it may lead out of the study.
        """
        path = self.path / run.path
        for folder in (path, *path.parents[: len(run.path.parts) - 1]):
            if folder.is_symlink():
                raise InputError(f"{folder} is a symbolic link and is not followed; remove it")
        return RunDirectory(path)

    def run_directories(self) -> dict[Run, RunDirectory]:
        """Return every planned run with its directory.

        Raises
        ------
        InputError
            If none of them is complete.
        """
        directories = {run: self.run_directory(run) for run in self.planned_runs()}
        if not any(directory.usable for directory in directories.values()):
            raise InputError(
                f"no finished run in {self.path}; python train.py --resume {study_flags(self.path)}"
            )
        return directories

    def pinned(self, recipe: Recipe) -> Recipe:
        """Return the recipe with the data revision that the study was begun with."""
        if self.stored is None or recipe.dataset_revision is not None:
            return recipe
        return recipe.replace(dataset_revision=self.stored.data.revision)

    def check(self, recipe: Recipe, study: Study) -> None:
        """Refuse a request that the stored study cannot be extended by.

        Raises
        ------
        InputError
            If the recipe differs, naming each field; or if variants of the same name differ.
        """
        if self.stored is None:
            return
        stored_recipe = self.stored.recipe.model_dump(mode="json")
        check_same(self.path, stored_recipe, recipe.model_dump(mode="json"))
        stored_variants = [dict(earlier.variants) for earlier in self.requested]
        variants = dict(study.variants)
        if any(bool(earlier) != bool(variants) for earlier in stored_variants):
            kind = "several recipes" if stored_variants[0] else "one recipe"
            raise InputError(f"{self.path} is a study of {kind}; use another --experiment-id")
        for earlier in stored_variants:
            names = earlier.keys() & variants.keys()
            check_same(self.path, earlier, {name: variants[name] for name in names})

    def write(self, recipe: Recipe, study: Study, machine: Machine, data: DataSummary) -> Self:
        """Write study.json if anything in it changes, and return the study as it is then.

        The date and the requests of earlier commands are kept. Call it under the lock of the
        directory: study.json is read again if another command changed it since it was read.

        Parameters
        ----------
        recipe : Recipe
        study : Study
            Sizes and seeds to add.
        machine : Machine
        data : DataSummary

        Raises
        ------
        InputError
            If another command has made it a study of another recipe.
        """
        current = self if self._is_current() else self.read(self.path)
        current.check(recipe, study)
        remove_temporary_files(self.path)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        record = StudyRecord(
            created=current.stored.created if current.stored else now,
            recipe=recipe,
            requested=tuple(dict.fromkeys([*current.requested, study])),
            machine=machine,
            data=data,
        )
        content = record.to_json()
        if content != current.content:
            write_whole(self.path / STUDY_FILE, content)
        return type(self)(self.path, record, content)

    def _is_current(self) -> bool:
        try:
            return read_stored(self.path / STUDY_FILE) == self.content
        except FileNotFoundError:
            return self.content is None


def study_flags(path: Path) -> str:
    """Return the flags that name the study of a directory to a command; empty without a study."""
    for folder in (path, *path.parents):
        if (folder / STUDY_FILE).exists():
            words = ["--experiment-id", folder.name]
            if folder.parent != Machine.model_fields["checkpoint_dir"].default:
                words += ["--checkpoint-dir", str(folder.parent)]
            return shlex.join(words)
    return ""


def _record(path: Path, values: Mapping[str, Any]) -> StudyRecord:
    try:
        record = StudyRecord(**values)
        for study in record.requested:
            recipes_by_variant(record.recipe, study.variants)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return record


def epochs_table(directories: Iterable[RunDirectory]) -> pd.DataFrame:
    """Return the metrics.csv of several runs as one table, with variant, subset_size and seed."""
    import pandas as pd

    tables, directories = [], list(directories)
    runs = [(directory.run(), len(directory.subset())) for directory in directories]
    num_images = images_of_sizes((run.subset_size, run.seed, n) for run, n in runs)
    for directory in directories:
        run, log = directory.run(), read_stored(directory.path / LOG_FILE)
        key = {"subset_size": run.subset_size, "num_train_images": num_images[run.subset_size]}
        tables.append(
            pd.read_csv(io.BytesIO(log)).assign(**key, seed=run.seed, variant=run.variant)
        )
    return pd.concat(tables, ignore_index=True)


def images_of_sizes(
    drawn: Iterable[tuple[float | int, int, int]],
) -> dict[float | int, int]:
    """Return the number of training images of each size: mean over seeds, to the nearest.

    Parameters
    ----------
    drawn : iterable of tuple
        Size, seed and number of images of each run.
    """
    by_seed: dict[float | int, dict[int, int]] = {}
    for size, seed, num_images in drawn:
        by_seed.setdefault(size, {})[seed] = num_images
    return {size: round(fmean(counts.values())) for size, counts in by_seed.items()}
