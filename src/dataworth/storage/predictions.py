"""Arrays of evaluated runs in a folder of results: logits, confusion matrices.

predictions/<run>.npz      logits and labels of a run
confusion_matrices.npz     path of a run -> its confusion matrix on test; rows are true classes
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .files import read_stored, remove_temporary_files, write_whole

Logits = NDArray[np.float32]  # (n, classes)
Labels = NDArray[np.int64]  # (n,)
FOLDER = "predictions"
CONFUSION_FILE = "confusion_matrices.npz"


def write_predictions(
    results_dir: Path, run_path: Path, splits: Mapping[str, tuple[Logits, Labels]]
) -> None:
    """Replace the stored logits and labels of a run.

    Parameters
    ----------
    results_dir : Path
    run_path : Path
        Path of the run, relative to its study.
    splits : mapping
        Name of a split -> float32 logits of shape (n, classes) and int64 labels of shape (n,).
    """
    arrays: dict[str, Logits | Labels] = {}
    for split, (logits, labels) in splits.items():
        arrays |= {f"{split}_logits": logits, f"{split}_labels": labels}
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub takes them for allow_pickle
    write_whole(_file(results_dir, run_path), file.getvalue())


def write_confusion_matrices(results_dir: Path, matrices: Mapping[Path, NDArray[np.int64]]) -> None:
    """Replace the stored confusion matrices of a study, one per path of a run."""
    arrays = {path.as_posix(): matrix.astype(np.int32) for path, matrix in matrices.items()}
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    write_whole(results_dir / CONFUSION_FILE, file.getvalue())


def read_predictions(results_dir: Path, run_path: Path, split: str) -> tuple[Logits, Labels]:
    """Read the stored logits and labels of a run on one split.

    Parameters
    ----------
    results_dir : Path
    run_path : Path
        Path of the run, relative to its study.
    split : str
        ``test`` or ``validation``.

    Returns
    -------
    logits : float32 ndarray of shape (n, classes)
    labels : int64 ndarray of shape (n,)
    """
    with np.load(io.BytesIO(read_stored(_file(results_dir, run_path)))) as file:
        return file[f"{split}_logits"], file[f"{split}_labels"]


def has_predictions(results_dir: Path, run_path: Path) -> bool:
    """Whether the logits of a run are stored; parameters as in :func:`read_predictions`."""
    return _file(results_dir, run_path).exists()


def remove_temporary_predictions(results_dir: Path) -> None:
    """Remove temporary files of killed processes; only while holding the lock of the folder."""
    remove_temporary_files(*(path for path in (results_dir / FOLDER).rglob("*") if path.is_dir()))


def _file(results_dir: Path, run_path: Path) -> Path:
    path = results_dir / FOLDER / run_path
    return path.with_name(f"{path.name}.npz")
