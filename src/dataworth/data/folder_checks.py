"""Checks of a local folder before the package ``datasets`` reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError, short_repr
from .class_folders import NOT_REGULAR, Listing, shown

SETTINGS_FILES = ("README.md", ".huggingface.yaml")  # read by datasets.load_dataset
MAX_SETTINGS_BYTES = 4 * 2**20


def read_settings(folder: Path) -> Mapping[str, Any]:
    """Return what a folder's README.md and .huggingface.yaml tell the package ``datasets``.

    Raises
    ------
    InputError
        If they name files outside the folder, or cannot be read.
    """
    settings: dict[str, Any] = {}
    for name in SETTINGS_FILES:
        path = folder / name
        if not path.is_file():
            continue
        header = _yaml_header(path)
        for text in _strings(header.get("configs")):
            if _leaves_folder(text):
                raise InputError(
                    f"--dataset {folder}: {name} names files outside the folder "
                    f"({short_repr(text)}), which are not read; correct its configs"
                )
        settings |= header
    return settings


def check_regular_files(listing: Listing) -> None:
    """Refuse FIFOs, sockets and devices, which block whoever reads them.

    Raises
    ------
    InputError
        Naming the first.
    """
    for parts, reason in listing.unused.items():
        if reason == NOT_REGULAR:
            raise InputError(
                f"--dataset {listing.folder}: {shown(parts)} is no regular file; remove it"
            )


def restore_class_names(name: str, folder: Path, tables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give each split the class names of its own parquet files, not those of the first split.

    Parameters
    ----------
    name : str
        Folder or hub id, for messages.
    folder : Path
        Of the files that the tables were read from.
    tables : mapping of str to datasets.Dataset
        As ``datasets.load_dataset`` reads them: numbers of one file, names of another.

    Raises
    ------
    InputError
        If files of one split have different class names.
    """
    import datasets

    files = datasets.load_dataset_builder(str(folder)).config.data_files or {}
    restored = dict(tables)
    for split, paths in files.items():
        names = [_class_names(path) for path in paths if str(path).endswith(".parquet")]
        if differing := next((i for i, other in enumerate(names) if other != names[0]), None):
            raise InputError(
                f"--dataset {name}: {Path(paths[differing]).name}: its columns have other class "
                f"names, or another order of them, than those of {Path(paths[0]).name}"
            )
        for column, own in (names[0] if names else {}).items():
            table = restored.get(str(split))
            if table is not None and getattr(table.features.get(column), "names", own) != own:
                label = datasets.ClassLabel(names=own)
                restored[str(split)] = table.cast_column(column, label)
    return restored


def _class_names(path: str) -> dict[str, list[str]]:
    """Return the class names of each label column of a parquet file."""
    import datasets
    import pyarrow.parquet

    features = datasets.Features.from_arrow_schema(pyarrow.parquet.read_schema(path))
    labels = {c: f for c, f in features.items() if isinstance(f, datasets.ClassLabel)}
    return {column: list(feature.names) for column, feature in labels.items()}


def _yaml_header(path: Path) -> dict[str, Any]:
    """Return the mapping between the lines ``---`` of a README, or the whole of a YAML file."""
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    if (size := path.stat().st_size) > MAX_SETTINGS_BYTES:
        raise InputError(f"--dataset {path.parent}: {path.name} has {size:,} bytes; shorten it")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read()
        if path.suffix == ".md":
            match = REGEX_YAML_BLOCK.search(text)
            text = match.group(2) if match else ""
        header = yaml.safe_load(text)
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise InputError(
            f"--dataset {path.parent}: the YAML header of {path.name} cannot be read "
            f"({type(error).__name__}); correct or remove it"
        ) from None
    return {str(key): value for key, value in header.items()} if isinstance(header, dict) else {}


def _strings(value: Any) -> Iterator[str]:
    """Yield the strings of nested lists and mappings, each object once: aliases multiply them."""
    pending, visited = [value], set[int]()
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif id(value) not in visited and isinstance(value, dict | list | tuple | set):
            visited.add(id(value))
            pending.extend(value.values() if isinstance(value, dict) else value)


def _leaves_folder(text: str) -> bool:
    parts = text.replace("\\", "/").split("/")
    return text.startswith(("/", "\\", "~")) or ".." in parts or "://" in text or "::" in text
