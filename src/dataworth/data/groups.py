"""Groups of images that are not independent: read from a column or file names; leaks of splits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import Recipe
from ..errors import InputError, short_repr
from ..storage.study_directory import SharedGroups
from .labels import read_column
from .splits import Split
from .subsets import Indices

Names = Sequence[str | None]  # group of each image; None: it has none
PAIRS = (("train", "validation"), ("train", "test"), ("validation", "test"))
LOSING = (("train", "test"), ("train", "validation"), ("test", "validation"))  # the second loses


def read_groups(
    tables: Mapping[str, Any], image_column: str, recipe: Recipe, root: Path | None
) -> tuple[dict[str, Indices], tuple[str, ...]]:
    """Read the group of each image as the recipe says; the same name is the same group everywhere.

    In a split in which no image has a group, each image is a group of its own.

    Parameters
    ----------
    tables : mapping
        Published split -> its table.
    image_column : str
    recipe : Recipe
        Its ``group_column`` or ``group_from``; with neither, there are no groups.
    root : Path or None
        Folder of the data set, which paths are relative to.

    Returns
    -------
    groups : dict
        Published split -> int64 ndarray of shape (n,); empty without groups.
    notes : tuple of str
        Splits without groups.

    Raises
    ------
    InputError
        If the column is missing or holds other types, if no image of any split has a group, or if
        some images of a split have one and others have none.
    """
    if recipe.group_column is None and recipe.group_from is None:
        return {}, ()
    names: dict[str, Names] = {}
    for source, table in tables.items():
        if recipe.group_column is not None:
            names[source] = _names_in_column(table, recipe.group_column, recipe.dataset, source)
        else:
            paths = _paths(table, image_column, (root, Path(recipe.dataset).absolute()))
            names[source] = _names_in_paths(paths, str(recipe.group_from), source)
    flag = "--group-column" if recipe.group_column is not None else "--group-from"
    without = [source for source, groups in names.items() if not any(map(_is_name, groups))]
    if len(without) == len(names):
        first = next(iter(names))
        raise InputError(
            f"{flag} {short_repr(recipe.group_column or recipe.group_from)}: no image of "
            f"{recipe.dataset} has a group{_example(tables[first], image_column)}"
        )
    notes = tuple(
        f"no image of {source} has a group: each is a group of its own, and groups that are also "
        "in another split cannot be seen"
        for source in without
    )
    return _encode(names), notes


def _encode(names: Mapping[str, Names]) -> dict[str, Indices]:
    """Encode the groups in the order of their names; images without one follow."""
    known = sorted({name for groups in names.values() for name in groups if name is not None})
    codes = {name: code for code, name in enumerate(known)}
    encoded, next_code = {}, len(codes)
    for source, groups in names.items():
        if any(map(_is_name, groups)):
            values = [codes[name] for name in groups if name is not None]
            encoded[source] = np.array(values, dtype=np.int64)
        else:
            encoded[source] = np.arange(next_code, next_code + len(groups))
            next_code += len(groups)
    return encoded


def _is_name(name: str | None) -> bool:
    return name is not None


def _names_in_column(table: Any, column: str, dataset: str, source: str) -> Names:
    """Return the groups of a split; codes of class names are replaced by the names."""
    if column not in table.features:
        columns = ", ".join(table.features)
        raise InputError(
            f"--group-column: split {source} has no column {column!r}; the columns are {columns}"
        )
    values = read_column(table, column, dataset, source, "groups")
    names = getattr(table.features[column], "names", None)
    if names is not None:
        values = [None if code in (None, -1) else names[code] for code in values]
    groups = [None if value is None else str(value) for value in values]
    missing = [row for row, group in enumerate(groups) if group is None]
    if missing and len(missing) < len(groups):
        raise InputError(
            f"--group-column {column}: {len(missing):,} of {len(groups):,} images of split "
            f"{source} have no group, such as row {missing[0]}; give each one"
        )
    return groups


def _names_in_paths(paths: Names, pattern: str, source: str) -> Names:
    """Return what a regular expression finds in each path: its first group, or the whole match."""
    compiled = re.compile(pattern)
    matches = [None if path is None else compiled.search(path) for path in paths]
    groups = [None if match is None else match[min(1, compiled.groups)] for match in matches]
    missing = [path for path, group in zip(paths, groups, strict=True) if group is None]
    if missing and len(missing) < len(groups):
        raise InputError(
            f"--group-from {short_repr(pattern)}: {len(missing):,} of {len(groups):,} file names "
            f"of split {source} do not match, such as {short_repr(missing[0])}"
        )
    return groups


def _paths(table: Any, image_column: str, folders: Iterable[Path | None]) -> list[str | None]:
    """Return the path of each image, relative to the data set's folder if it lies within."""
    import pyarrow.compute as pc

    cells = table.with_format("arrow")[image_column][:]  # no image is read: arrow maps the file
    prefixes = [f"{folder}/" for folder in folders if folder is not None]
    return [
        None if path is None else _without_prefix(path, prefixes)
        for path in pc.struct_field(cells, "path").to_pylist()
    ]


def _without_prefix(path: str, prefixes: Sequence[str]) -> str:
    for prefix in prefixes:
        if path.startswith(prefix):
            return path[len(prefix) :]
    return path


def _example(table: Any, image_column: str) -> str:
    """Name the first file of a table, if it has file names."""
    path = _paths(table.select(range(1)), image_column, ())[0]
    return "; its images have no file names" if path is None else f"; a file is {short_repr(path)}"


def images_in_groups_of(split: Split, other: Split) -> NDArray[np.bool_]:
    """Return whether the group of each image of a split is also in another one; shape (n,)."""
    if split.groups is None or other.groups is None:
        return np.zeros(len(split), dtype=bool)
    return np.isin(split.groups, other.groups)


def shared_groups(splits: Mapping[str, Split]) -> tuple[SharedGroups, ...]:
    """Count the groups, and their images in the later split, of each pair of splits that share."""
    leaked = {(a, b): images_in_groups_of(splits[b], splits[a]) for a, b in PAIRS}
    return tuple(
        SharedGroups(
            split=second,
            also_in=first,
            num_groups=splits[second].take(np.flatnonzero(is_shared)).num_groups,
            num_images=int(is_shared.sum()),
        )
        for (first, second), is_shared in leaked.items()
        if is_shared.any()
    )


def resolve_leaks(
    name: str, splits: Mapping[str, Split], on_leak: str
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Refuse or drop images whose group is also in another split.

    Test loses images to train, and validation loses them to both: the training subsets stay what
    their sizes say, and the images left measure groups that no model was trained or selected on.

    Parameters
    ----------
    name : str
        Of the data set, for messages.
    splits : mapping
        Role -> images.
    on_leak : str
        ``warn`` changes nothing, ``error`` refuses, ``drop`` drops.

    Returns
    -------
    splits : dict
    notes : tuple of str
        What was dropped.

    Raises
    ------
    InputError
        If a group is in two splits and ``on_leak`` is error, or if a split would be empty.
    """
    remaining, notes = dict(splits), []
    for kept, losing in LOSING if on_leak != "warn" else ():
        split = remaining[losing]
        leaked = images_in_groups_of(split, remaining[kept])
        if not leaked.any():
            continue
        num_groups = split.take(np.flatnonzero(leaked)).num_groups
        counts = f"{leaked.sum():,} of {len(split):,} images of {losing} (groups: {num_groups:,})"
        if on_leak == "error":
            raise InputError(
                f"{name}: {counts} are of groups that are also in {kept}; --on-leak drop leaves "
                "them out, --on-leak warn goes on"
            )
        if leaked.all():
            raise InputError(
                f"{name}: --on-leak drop leaves no image of {losing}: all its groups are also in "
                f"{kept}; remove that split, and one is made of whole groups of train"
            )
        notes.append(f"{counts} are left out: their groups are also in {kept}")
        remaining[losing] = split.take(np.flatnonzero(~leaked))
    return remaining, tuple(notes)


def with_groups(
    published: Mapping[str, Split], groups: Mapping[str, Indices]
) -> Mapping[str, Split]:
    """Return the published splits with the groups of their images."""
    return {s: replace(split, groups=groups.get(s)) for s, split in published.items()}
