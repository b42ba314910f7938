"""Class folders: image files listed by split and class, and the files that are not used.

The layouts are ``cat/1.jpg`` and ``train/cat/1.jpg``. Only the uppermost folders name splits:
``train/test tube/1.jpg`` is a training image. (``datasets.load_dataset`` looks for split names at
every depth, and leaves some files out without a message.)
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ..errors import InputError
from .contents import MAX_FILE_BYTES, LocalFiles
from .images import HEIF_MISSING, HEIF_SUFFIXES, has_heif

if TYPE_CHECKING:
    import datasets


# As in datasets.data_files: earlier words and earlier patterns come first in a split.
SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
EXACT_WORDS = frozenset(chain(*SPLIT_WORDS.values()))
PATTERNS = ("{}", "{}[-._ 0-9].*", ".*[-._ 0-9]{}", ".*[-._ 0-9]{}[-._ 0-9].*")
TABLE_SUFFIXES = {
    ".arrow", ".csv", ".tsv", ".h5", ".hdf5", ".json", ".jsonl", ".lance", ".ndjson", ".parquet",
    ".bz2", ".gz", ".lz4", ".tar", ".xz", ".zip", ".zst",
}  # fmt: skip
OTHER_IMAGES = {".avif", ".jxl", ".svg", *HEIF_SUFFIXES}
LINK, NOT_REGULAR = "a link to a folder", "no regular file"
OUTPUT = "output of this program"
OUTPUT_FILES = ("*/study.json", "*/scaling_law.json", "*-*px-v*/*/images.npy")  # in such a folder
MAX_LISTED = 10  # unused files named in a note

Parts = tuple[str, ...]  # of a path, relative to the data set's folder


@dataclass(frozen=True)
class Listing:
    """Files below a folder, sorted; paths are relative to it."""

    folder: Path
    images: Sequence[Parts]
    others: Sequence[Parts]  # regular files that are no images
    unused: Mapping[Parts, str]  # neither: the reason

    @property
    def is_class_folders(self) -> bool:
        """Whether images and not tables or archives make up the data set."""
        names = {parts[-1].lower() for parts in self.others}
        suffixes = [_suffix(parts) for parts in self.others]
        if {".parquet", ".arrow"} & set(suffixes) or {"metadata.csv", "metadata.jsonl"} & names:
            return False
        tables = sum(suffix in TABLE_SUFFIXES for suffix in suffixes)
        return len(self.images) > tables or not tables

    def missed(self, dropped: Mapping[Parts, str]) -> dict[Parts, str]:
        """Return the files that are not used and may be missed, sorted, each with the reason."""
        no_image = {
            parts: HEIF_MISSING if _suffix(parts) in HEIF_SUFFIXES else "no image file"
            for parts in self.others
        }
        reasons = {**no_image, **self.unused, **dropped}
        return {
            parts: reasons[parts]
            for parts in sorted(reasons, key="/".join)
            if reasons[parts] in (LINK, OUTPUT) or parts in dropped or _may_be_image(parts)
        }


def list_files(folder: Path) -> Listing:
    """List the files below a folder without following links to folders.

    Raises
    ------
    InputError
        If a folder cannot be read.
    """
    from datasets.packaged_modules.imagefolder.imagefolder import IMAGE_EXTENSIONS

    suffixes = {*IMAGE_EXTENSIONS, *(HEIF_SUFFIXES if has_heif() else ())}
    images, others, unused = [], [], {}
    for parts, reason in _walk(folder, ()):
        if reason:
            unused[parts] = reason
        elif _suffix(parts) in suffixes:
            images.append(parts)
        else:
            others.append(parts)
    images.sort(key="/".join)
    return Listing(folder, images, others, unused)


def read_class_folders(
    listing: Listing,
) -> tuple[Mapping[str, datasets.Dataset], dict[Parts, str], LocalFiles]:
    """Return a table of paths and labels for each split, unused files, and used ones in order.

    Raises
    ------
    InputError
        If images do not lie in class folders, or the folders of the splits are ambiguous.
    """
    import datasets

    if not listing.images:
        _check_depth(listing.folder, ())
    splits, dropped = _assign(listing)
    paths = list(chain(*splits.values()))
    _check_depth(listing.folder, paths)
    names = sorted({parts[-2] for parts in paths})
    if len(names) < 2:
        raise InputError(
            f"--dataset {listing.folder}: all images lie in one class folder, "
            f"{shown(paths[0][:-1])}; {_example(listing.folder)}"
        )
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
    )
    tables = {
        split: datasets.Dataset.from_generator(  # on disk: the table may be sent to processes
            _rows,
            features=features,
            gen_kwargs={  # one string: a list of a million is hashed for seconds
                "root": str(listing.folder.absolute()),
                "files": "\0".join(map("/".join, files)),
            },
            split=datasets.Split(split),
        )
        for split, files in splits.items()
    }
    for split, files in splits.items():
        if len(tables[split]) != len(files):
            raise InputError(
                f"--dataset {listing.folder}: split {split} has {len(files)} image files, but "
                f"{len(tables[split])} were read; delete the cache of the package datasets"
            )
    contents = LocalFiles.of(listing.folder, map("/".join, paths), MAX_FILE_BYTES)
    return tables, listing.missed(dropped), contents


def unused_note(missed: Mapping[Parts, str]) -> tuple[str, ...]:
    """Return a note of the files that are not used, from :meth:`Listing.missed`."""
    listed = [f"{shown(parts)} ({reason})" for parts, reason in missed.items()]
    if not listed:
        return ()
    more = [f"and {len(listed) - MAX_LISTED} more"] if len(listed) > MAX_LISTED else []
    count = "1 file is" if len(listed) == 1 else f"{len(listed):,} files are"
    return (f"{count} not used: {', '.join(listed[:MAX_LISTED] + more)}",)


def shown(parts: Parts) -> str:
    """Return a path with line breaks and other control characters escaped."""
    path = "/".join(parts)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path)


def _rows(root: str, files: str) -> Iterator[dict[str, str]]:
    for path in files.split("\0"):
        yield {"image": f"{root}/{path}", "label": path.split("/")[-2]}


def _walk(folder: Path, above: Parts) -> Iterator[tuple[Parts, str]]:
    """Yield each file with the reason why it cannot be used, or an empty string."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"--dataset: {folder} cannot be read: {error.strerror}") from None
    for entry in entries:
        parts = (*above, entry.name)
        if entry.is_dir(follow_symlinks=False):
            if not above and _is_output(Path(entry.path)):
                yield parts, OUTPUT
                continue
            yield from _walk(Path(entry.path), parts)
        else:
            yield parts, _unusable(entry, parts)


def _is_output(folder: Path) -> bool:
    """Whether a folder holds studies, results or decoded images: ``train.py`` was run there."""
    return any(any(folder.glob(pattern)) for pattern in OUTPUT_FILES)


def _unusable(entry: os.DirEntry[str], parts: Parts) -> str:
    try:
        mode = entry.stat().st_mode
    except OSError:
        return "a broken link"
    if stat.S_ISDIR(mode):
        return LINK
    if not stat.S_ISREG(mode):
        return NOT_REGULAR
    if any(part.startswith(".") for part in parts):
        return "hidden: its name starts with a dot"
    try:
        entry.path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return ""


def _suffix(parts: Parts) -> str:
    return PurePath(parts[-1]).suffix.lower()


def _may_be_image(parts: Parts) -> bool:
    """Whether an unused file may be missed: not at the top, and not in a hidden folder there."""
    return _suffix(parts) in OTHER_IMAGES or (len(parts) > 1 and not parts[0].startswith("."))


def _split_of(name: str) -> tuple[tuple[int, int], str] | None:
    """Return the rank and the split of a folder whose name has a split word; None without one."""
    matches = [
        ((w, p), split)
        for split, words in SPLIT_WORDS.items()
        for w, word in enumerate(words)
        for p, pattern in enumerate(PATTERNS)
        if re.fullmatch(pattern.format(word), name.lower(), re.DOTALL)
    ]
    if len({split for _, split in matches}) > 1:
        raise InputError(
            f"--dataset: the folder {name!r} could be several splits; rename it to train or test"
        )
    return min(matches, default=None)


def _assign(listing: Listing) -> tuple[dict[str, list[Parts]], dict[Parts, str]]:
    """Assign images to splits by the uppermost folders; return also those outside of them."""
    images = listing.images
    base = _base_of_splits(images)
    if base is None:
        _check_names(listing.folder, images)
        return {"train": list(images)}, {}
    depth = len(base)
    tops = _folders_in(images, base)
    ranks = {top: match for top in tops if (match := _split_of(top))}
    splits: dict[str, list[tuple[tuple[int, int], str, Parts]]] = {s: [] for s in SPLIT_WORDS}
    dropped = {}
    for parts in images:
        if len(parts) > depth + 1 and parts[depth] in ranks:
            rank, split = ranks[parts[depth]]
            splits[split].append((rank, "/".join(parts), parts))
        else:
            dropped[parts] = "outside the folders of the splits"
    ordered = {split: [row[-1] for row in sorted(rows)] for split, rows in splits.items() if rows}
    for paths in ordered.values():
        if direct := next((parts for parts in paths if len(parts) == depth + 2), None):
            raise InputError(
                f"--dataset {listing.folder}: {shown(direct)} lies directly in the folder of a "
                f"split; {_example(listing.folder)}; no class can be named {direct[depth]} there"
            )
    return ordered, dropped


def _base_of_splits(images: Sequence[Parts]) -> Parts | None:
    """Return the folder that holds those of the splits; None if the uppermost are classes."""
    base: Parts = ()
    while tops := _folders_in(images, base):
        if EXACT_WORDS & set(tops):
            return base
        direct = {parts[len(base)] for parts in images if len(parts) == len(base) + 2}
        if not direct & set(tops) and all(_split_of(top) for top in tops):
            return base
        if len(tops) > 1 or any(len(parts) == len(base) + 1 for parts in images):
            return None
        base = (*base, tops[0])  # everything lies in one folder, as unpacked from an archive
    return None


def _folders_in(images: Sequence[Parts], base: Parts) -> list[str]:
    depth = len(base)
    tops = {parts[depth] for parts in images if len(parts) > depth + 1 and parts[:depth] == base}
    return sorted(tops)


def _check_names(folder: Path, images: Sequence[Parts]) -> None:
    """Refuse names of splits that do not decide: below other folders, or of all files."""
    for above, parts in {parts[:-1]: parts for parts in images}.items():
        if len(above) > 1 and (EXACT_WORDS & set(above) or any(map(_split_of, above[:-1]))):
            raise InputError(
                f"--dataset {folder}: {shown(parts)}: the folders train and test must be the "
                f"uppermost; {_example(folder)}"
            )
    stems = {re.split(r"[-._ 0-9]", parts[-1], maxsplit=1)[0].lower() for parts in images}
    if len(stems) > 1 and stems <= EXACT_WORDS:
        raise InputError(
            f"--dataset {folder}: the names of the files name splits, such as "
            f"{shown(images[0])}; move them to folders, such as train/{shown(images[0])}"
        )


def _check_depth(folder: Path, paths: Sequence[Parts]) -> None:
    """Refuse images without a class folder, or at several depths."""
    if not paths:
        raise InputError(f"--dataset {folder}: no images were found; {_example(folder)}")
    shortest, longest = min(paths, key=len), max(paths, key=len)
    if len(shortest) == 1:
        raise InputError(
            f"--dataset {folder}: {shown(shortest)} lies in no class folder; {_example(folder)}"
        )
    if len(shortest) != len(longest):
        raise InputError(
            f"--dataset {folder}: {shown(shortest)} and {shown(longest)} lie at different depths; "
            f"{_example(folder)}"
        )


def _example(folder: Path) -> str:
    name = folder.resolve().name
    return f"images must lie in class folders, as in {name}/cat/1.jpg or {name}/train/cat/1.jpg"
