"""Download from the Hugging Face hub, and loading of local folders."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError
from .class_folders import Listing, list_files, read_class_folders, unused_note
from .contents import LocalFiles
from .folder_checks import (
    SETTINGS_FILES,
    check_regular_files,
    read_settings,
    restore_class_names,
)

if TYPE_CHECKING:
    import datasets


ALTERNATIVES = "or name a local folder, or --dataset digits (embedded)"
HUB_TIMEOUT = 10  # seconds
NOTES = {  # by hub id
    "timm/mini-imagenet": (
        "mini-ImageNet's validation split comes from ImageNet's training images and its test "
        "split from ImageNet's validation images: the two errors are not comparable",
    )
}


class PublishedData(NamedTuple):
    """A data set as it is published."""

    tables: Mapping[str, datasets.Dataset]  # by split
    fingerprint: str  # changes when the data change, but for those in files
    revision: str | None = None  # commit on the hub
    root: Path | None = None  # the only folder in which a row may name an image file
    notes: tuple[str, ...] = ()
    unused: Mapping[str, int] = {}  # reason -> files that are in no split
    files: LocalFiles | None = None


def load_folder(path: Path) -> PublishedData:
    """Load a local folder.

    Raises
    ------
    InputError
        If the folder is no data set, or one of its files is damaged.
    """
    _quiet()
    _check_cache()
    listing = list_files(path)
    settings = read_settings(path)
    try:
        if listing.is_class_folders and not settings.get("configs"):
            tables, missed, files = read_class_folders(listing)
        else:
            check_regular_files(listing)
            tables, files = _read_tables(listing)
            missed = {}
    except InputError:
        raise
    except Exception as error:
        damaged = _damaged_parquet(path)
        reason = f"{damaged} is damaged" if damaged else _first_line(error)
        raise InputError(f"--dataset {path}: cannot be read as images: {reason}") from None
    note, unused = unused_note(missed), Counter(missed.values())
    return PublishedData(tables, "", None, path.resolve(), note, unused, files)


def _read_tables(listing: Listing) -> tuple[Mapping[str, datasets.Dataset], LocalFiles]:
    """Read parquet and other tables; ``datasets`` takes a copy in its cache for them by their time.

    The copy of each state of the files has a folder of its own.
    """
    import datasets
    from datasets import config

    names = ["/".join(parts) for parts in (*listing.images, *listing.others)]
    files = LocalFiles.of(listing.folder, sorted({*names, *SETTINGS_FILES}))
    copies = Path(config.HF_DATASETS_CACHE) / "by-state" / files.signature[:16]
    folder = str(listing.folder)
    tables = datasets.load_dataset(folder, cache_dir=str(copies))
    return restore_class_names(folder, listing.folder, tables), files


def load_from_hub(name: str, revision: str | None) -> PublishedData:
    """Load a data set of the hub.

    Raises
    ------
    InputError
        If the name is unknown or the hub does not answer.
    """
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise InputError(f"--dataset {name}: no such folder")
    import datasets
    from datasets import config

    _quiet()
    _check_cache()
    commit = revision if config.HF_HUB_OFFLINE else _resolve(name, revision)
    try:
        tables = datasets.load_dataset(name, revision=commit)
    except Exception as error:
        if config.HF_HUB_OFFLINE:
            reason = "not downloaded yet, and HF_HUB_OFFLINE is set; unset it"
        else:
            reason = f"{_first_line(error)}; choose another data set"
        raise InputError(f"--dataset {name}: {reason}, {ALTERNATIVES}") from None
    cache = Path(os.environ.get("HF_HOME", config.HF_CACHE_HOME)).resolve()
    if commit is None:  # offline: the folder of the local copy is named for its commit
        commit = Path(next(iter(tables.values())).cache_files[0]["filename"]).parent.name
    tables = _with_own_class_names(name, commit, tables)
    return PublishedData(tables, f"{name}@{commit}", commit, cache, NOTES.get(name.lower(), ()))


def _with_own_class_names(
    name: str, commit: str, tables: Mapping[str, datasets.Dataset]
) -> Mapping[str, datasets.Dataset]:
    """Give each split the class names of its own files, as far as they are still there."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name, repo_type="dataset", revision=commit, local_files_only=True
        )
        return restore_class_names(name, Path(folder), tables)
    except InputError:
        raise
    except Exception:  # none or some of them: the library raises many types
        return tables


def _resolve(name: str, revision: str | None) -> str:
    """Resolve a revision to a commit on the hub."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    try:
        return str(HfApi().dataset_info(name, revision=revision, timeout=HUB_TIMEOUT).sha)
    except (RepositoryNotFoundError, HFValidationError):
        reason = "not on the hub, or private; check the spelling"
    except HfHubHTTPError as error:
        reason = f"the hub answers {_first_line(error)}; check --dataset-revision"
    except Exception as error:  # each version of the client has its own network errors
        reason = (
            f"the hub does not answer ({type(error).__name__}); "
            "if it was downloaded before, set HF_HUB_OFFLINE=1"
        )
    raise InputError(f"--dataset {name}: {reason}, {ALTERNATIVES}")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def _damaged_parquet(path: Path) -> Path | None:
    import pyarrow
    import pyarrow.parquet

    for file in sorted(path.rglob("*.parquet")):
        try:
            for _ in pyarrow.parquet.ParquetFile(file).iter_batches():
                pass
        except (pyarrow.ArrowException, OSError):
            return file
    return None


def _quiet() -> None:
    """Disable the progress bars and messages of ``datasets``."""
    import datasets

    datasets.utils.logging.set_verbosity(logging.CRITICAL)
    datasets.disable_progress_bars()


def _check_cache() -> None:
    """Refuse a cache of the library that cannot be written, such as one in a read-only home."""
    from datasets import config

    folder = Path(config.HF_DATASETS_CACHE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(
            f"{folder}: {error.strerror}; data sets are converted there: set HF_HOME to a folder "
            "that can be written"
        ) from None
