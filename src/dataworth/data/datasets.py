"""Data sets: from a hub id, a local folder or a registered name to labelled splits.

A hub id or a local folder needs no code. To add an odd data set, write a function that returns
``{split name: datasets.Dataset}`` and list it in :data:`DATASETS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import Recipe
from ..errors import InputError
from .class_names import readable_names
from .contents import MAX_FILE_BYTES, LocalFiles
from .digits import DigitsTable, digits
from .groups import read_groups, resolve_leaks, with_groups
from .hub import PublishedData, load_folder, load_from_hub
from .images import BadImageError
from .labels import encode_labels, find_columns, match_by_name, read_column
from .splits import Split, assign_splits

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Three labelled splits and the tables that hold their encoded images."""

    name: str
    fingerprint: str  # changes when published data change, but for those in files; or the column
    revision: str | None  # commit on the hub
    classes: tuple[str, ...]
    splits: Mapping[str, Split]  # train, validation, test
    tables: Mapping[str, datasets.Dataset | DigitsTable]  # source -> column "image" of bytes
    root: Path | None  # the only folder in which a row may name an image file
    notes: tuple[str, ...]
    unused: Mapping[str, int] = field(default_factory=dict)  # reason -> files that are in no split
    files: LocalFiles | None = None  # of a local folder

    def encoded(self, source: str, row: int) -> bytes:
        """Return the bytes of one image; a path is followed only within the data set's folder.

        Raises
        ------
        BadImageError
            If the row has no bytes and no file within the folder, or the file is too large.
        """
        cell = self.tables[source][row]["image"]
        if cell is None:
            raise BadImageError("the image is missing")
        if cell["bytes"] is not None:
            return bytes(cell["bytes"])
        path = Path(cell["path"] or "").resolve()
        if self.root is None or not path.is_relative_to(self.root):
            raise BadImageError("the row has no bytes, or its file lies outside the data set")
        if not path.is_file():
            raise BadImageError(f"no regular file: {path}")
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise BadImageError(f"its file has {size:,} bytes, more than {MAX_FILE_BYTES:,}")
        return path.read_bytes()

    def file_name(self, source: str, row: int) -> str:
        """Return the file of one image, relative to the data set's folder; empty without one."""
        path = (self.tables[source][row]["image"] or {}).get("path") or ""
        root = None if self.root is None else f"{self.root}/"
        return str(path.removeprefix(root) if root else path)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The classes as people read them."""
        return readable_names(self.classes)

    @property
    def labels_digest(self) -> str:
        """SHA-256 of the class names and of every split's rows, labels and groups."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for name, split in self.splits.items():
            digest.update(name.encode() + split.source.encode())
            digest.update(split.rows.astype("<i8").tobytes())
            digest.update(split.labels.astype("<i8").tobytes())
            if split.groups is not None:
                digest.update(split.groups.astype("<i8").tobytes())
        return digest.hexdigest()


DATASETS: dict[str, Callable[[], Mapping[str, Any]]] = {"digits": digits}


def load(recipe: Recipe) -> ImageDataset:
    """Load the recipe's data set and assign its splits.

    Raises
    ------
    InputError
        If it cannot be found, its columns are ambiguous, or its labels are invalid.
    """
    name = recipe.dataset
    data = _load_tables(name, recipe.dataset_revision)
    tables = {source: table for source, table in data.tables.items() if len(table)}
    if not tables:
        raise InputError(f"{name}: the data set has no images")
    features = next(iter(tables.values())).features
    image_column, label_column = find_columns(features, recipe)
    other_images = f" {image_column}" if recipe.image_column else ""  # of the same rows
    names = getattr(features[label_column], "names", None)
    labels = {s: _labels(table, label_column, names, (name, s)) for s, table in tables.items()}
    classes, codes = encode_labels(labels, names, name)
    published = {s: Split(s, np.arange(len(values)), values) for s, values in codes.items()}
    labelled = {source: tables[source] for source in published}
    groups, ungrouped = read_groups(labelled, image_column, recipe, data.root)
    splits, notes = assign_splits(with_groups(published, groups), recipe, len(classes))
    splits, dropped = resolve_leaks(name, splits, recipe.on_leak)
    notes = (*data.notes, *ungrouped, *notes, *dropped)
    if len(classes) < 6:
        notes = (*notes, f"{len(classes)} classes: there is no top-5 error with fewer than 6")
    used = {split.source for split in splits.values()}
    return ImageDataset(
        name,
        f"{data.fingerprint}{other_images}",
        data.revision,
        classes,
        splits,
        {source: _encoded_images(tables[source], image_column) for source in used},
        data.root,
        notes,
        data.unused,
        data.files,
    )


def _labels(table: Any, column: str, names: list[str] | None, where: tuple[str, str]) -> list[Any]:
    """Return the labels of a split, numbered after the class names of the first one."""
    values = read_column(table, column, *where)
    return match_by_name(values, getattr(table.features[column], "names", None), names)


def _load_tables(name: str, revision: str | None) -> PublishedData:
    if revision and (name in DATASETS or Path(name).is_dir()):
        raise InputError(f"--dataset-revision: {name} is not on the hub and has no revisions")
    if name in DATASETS:
        tables = DATASETS[name]()
        contents = sorted((source, table._fingerprint) for source, table in tables.items())
        return PublishedData(tables, f"{name} {contents}")
    if Path(name).is_dir():
        return load_folder(Path(name))
    return load_from_hub(name, revision)


def _encoded_images(table: Any, column: str) -> Any:
    if isinstance(table, DigitsTable):
        return table
    import datasets

    return (
        table.select_columns([column])
        .rename_columns({column: "image"} if column != "image" else {})
        .cast_column("image", datasets.Image(decode=False))
    )
