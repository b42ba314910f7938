"""Run directory: layout, atomic writes, resume.

Layout of ``checkpoints/<experiment_id>/[<variant>/]<subset_size>/seed-<seed>/``:

    config.json         written first: recipe, subset, data and machine of the run
    environment.json    versions, commit, device, date; again for each time it was resumed
    subset.npz          indices of the training images, their SHA-256 in config.json
    metrics.csv         one row per epoch
    events.out.*        the same for TensorBoard
    last.pt             newest snapshot, to resume from; removed when the run is complete
    previous.pt         the snapshot before it
    best.safetensors    weights of the best validation epoch
    *.sha256            SHA-256 of the file of that name
    *.bad               a file that was damaged or of another run, set aside
    lock                held by the process that trains the run
    error.txt           why the run failed, until it is trained again
    done                written last: the run is finished; its text is the status
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..config import Machine, Run
from ..console import warn
from ..errors import DamagedError, InputError, short_repr
from .epoch_log import FILE as LOG_FILE
from .epoch_log import is_whole, keep_epochs, sync_epochs
from .files import (
    read_json,
    read_stored,
    read_stored_text,
    read_verified,
    remove_temporary_files,
    write_json,
    write_verified,
    write_whole,
)
from .identity import SCHEMA, InitFile, check_origin, check_same, fingerprint, with_defaults
from .snapshots import (
    SNAPSHOTS,
    Snapshot,
    load_snapshot,
    remove_snapshots,
    save_snapshot,
    set_aside,
)
from .weights import FILE as WEIGHTS_FILE
from .weights import check_weights, encode_weights, read_tensors

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_FILE = "config.json"
TRAIN_AGAIN = "remove its folder, then train.py --resume trains it again"


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run."""

    path: Path

    def check(self, identity: Mapping[str, Any]) -> None:
        """Refuse a directory that belongs to a run of another recipe, subset or data set.

        Raises
        ------
        InputError
            Naming each field, its stored and its requested value.
        """
        if (file := self.path / CONFIG_FILE).exists():  # read anew: called again under the lock
            stored, requested = ({"variant": "", **v} for v in (read_json(file), identity))
            try:
                recipe = with_defaults(stored.get("recipe"))
            except InputError as error:
                raise InputError(f"{file}: {error}") from None
            check_same(self.path, recipe, with_defaults(requested.pop("recipe")))
            check_same(self.path, stored, requested)

    def claim(
        self,
        identity: Mapping[str, Any],
        machine: Machine,
        indices: NDArray[np.int64],
        channel_stats: tuple[Sequence[float], Sequence[float]],
    ) -> None:
        """Write config.json and subset.npz where they are missing; call it under the lock.

        Parameters
        ----------
        identity : mapping
            From :func:`identify`.
        machine : Machine
        indices : int64 ndarray of shape (n,)
            Training images.
        channel_stats : pair of 3 floats each
            Channel means and deviations of the normalisation, so that the weights can be used
            without the data set.

        Raises
        ------
        InputError
            If the directory belongs to another run.
        """
        self.check(identity)
        remove_temporary_files(self.path)
        if not (self.path / CONFIG_FILE).exists():
            mean, std = map(list, channel_stats)
            content = {
                **identity,
                "machine": machine.model_dump(mode="json"),
                "pixel_moments": {"mean": mean, "std": std},
            }
            write_json(self.path / CONFIG_FILE, content)
        self.keep_subset(indices)

    def keep_subset(self, indices: NDArray[np.int64]) -> None:
        """Write the indices of the training images where they are missing or damaged."""
        try:
            self.subset()
        except DamagedError:
            file = io.BytesIO()
            np.savez_compressed(file, indices=indices)
            write_whole(self.path / "subset.npz", file.getvalue())

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The content of config.json."""
        return read_json(self.path / CONFIG_FILE)

    def check_stored(self, identity: Mapping[str, Any]) -> None:
        """Refuse a directory whose config.json was edited, or copied from another run.

        Raises
        ------
        DamagedError
            Naming each field of ``identity``, its stored and its expected value.
        """
        self._stored_run()
        stored = {**dict.fromkeys(identity), **self.config}
        check_origin(self.path / CONFIG_FILE, stored, identity)

    def _stored_run(self) -> Run:
        values = {key: value for key, value in self.config.items() if key in Run.model_fields}
        try:
            return Run(**values)
        except InputError as error:
            raise InputError(f"{self.path / CONFIG_FILE}: {error}") from None

    def run(self) -> Run:
        """Read recipe, size, seed and variant of the run from config.json.

        Raises
        ------
        InputError
            If config.json is damaged, or describes a run whose directory is another one.
        """
        run = self._stored_run()
        parts = run.path.parts
        if self.path.parts[-len(parts) :] != parts:
            raise InputError(f"{self.path / CONFIG_FILE} describes another run, {run.path}")
        return run

    @property
    def status(self) -> str | None:
        """``complete`` or ``diverged``; None while the run is unfinished."""
        done = self.path / "done"
        status = read_stored_text(done).strip() if done.exists() else None
        return status if status in ("complete", "diverged") else None  # damaged: unfinished

    @property
    def usable(self) -> bool:
        """Whether the run is complete, so that its weights can be evaluated."""
        return self.status == "complete"

    @property
    def state(self) -> str:
        """The status of a finished run; ``interrupted`` or ``not finished`` of another."""
        has_snapshot = any((self.path / name).exists() for name in SNAPSHOTS)
        return self.status or ("interrupted" if has_snapshot else "not finished")

    def temporary_bytes(self) -> int:
        """Count the bytes that are free again when the run is complete: snapshots, leftovers."""
        leftovers = self.path.glob(".*.tmp")
        return sum(
            path.stat().st_size
            for path in (*leftovers, *(self.path / name for name in SNAPSHOTS))
            if path.is_file()
        )

    def subset(self) -> NDArray[np.int64]:
        """Read the indices of the training images, shape (n,).

        Raises
        ------
        DamagedError
            If their SHA-256 is not that of config.json.
        """
        path = self.path / "subset.npz"
        expected = self.config.get("subset_sha256")
        try:
            with np.load(io.BytesIO(read_stored(path))) as file:
                indices: NDArray[np.int64] = file["indices"]
            if fingerprint(indices) == expected and indices.shape == (indices.size,):
                return indices
            reason = "its SHA-256 is not that of config.json"
        except Exception as error:  # zipfile and numpy raise a dozen types on damaged bytes
            reason = type(error).__name__
        raise DamagedError(f"{path} is damaged: {reason}; train.py --resume writes it again")

    def check_log(self, num_epochs: int) -> None:
        """Check that metrics.csv has one row for each epoch.

        Raises
        ------
        DamagedError
            If it has not.
        """
        if not is_whole(self.path, num_epochs):
            raise DamagedError(
                f"{self.path / LOG_FILE} does not have one row for each of {num_epochs} epochs; "
                "train.py --resume repairs it or trains the run again"
            )

    def repair_log(self, num_epochs: int) -> None:
        """Remove surplus rows of metrics.csv; if rows are missing, the run is trained again."""
        if is_whole(self.path, num_epochs):
            return
        keep_epochs(self.path, num_epochs)
        if is_whole(self.path, num_epochs):
            warn(f"warning: {self.path / LOG_FILE} had surplus rows; the newest were kept")
        else:
            (self.path / "done").unlink()
            warn(f"warning: {self.path / LOG_FILE} lacks epochs: THE RUN STARTS OVER")

    def save_last(self, state: Snapshot) -> None:
        """Save a snapshot to resume from; the one before stays intact if this is interrupted."""
        import torch

        file = io.BytesIO()
        torch.save({"schema_version": SCHEMA, **state}, file)
        save_snapshot(self.path, file.getbuffer())

    def load_last(self, check: Callable[[Snapshot], None] = lambda _: None) -> Snapshot | None:
        """Load the newest intact snapshot into CPU memory; None if there is none.

        Parameters
        ----------
        check : callable
            Raises DamagedError if a snapshot is not one of the run; the one before is used then.

        Raises
        ------
        InputError
            If a version of this program with another schema wrote it.
        """

        def check_all(state: Snapshot) -> None:
            if (version := state["schema_version"]) != SCHEMA:
                raise InputError(
                    f"{self.path}: its snapshot has schema_version {short_repr(version)}; this "
                    f"program reads {SCHEMA}; resume it with the version that started it"
                )
            check(state)

        return load_snapshot(self.path, check_all)

    def finish(
        self, status: str, best_weights: dict[str, Tensor], metadata: Mapping[str, Any]
    ) -> None:
        """Write the best weights, mark the run as finished and remove what it no longer needs.

        Parameters
        ----------
        status : str
            ``complete`` or ``diverged``.
        best_weights : dict of str to Tensor
        metadata : mapping
            Identity of the run; ``epoch`` of the weights; ``classes``, the class names.
        """
        sync_epochs(self.path)
        metadata = {**metadata, "pixel_moments": self.config.get("pixel_moments")}
        write_verified(self.path / WEIGHTS_FILE, encode_weights(best_weights, metadata))
        write_whole(self.path / "done", f"{status}\n".encode())
        self.remove_leftovers()

    def remove_leftovers(self) -> None:
        """Remove error.txt and the snapshots of a finished run; a diverged one keeps them."""
        if self.usable:
            remove_snapshots(self.path)
        (self.path / "error.txt").unlink(missing_ok=True)

    def load_best(self) -> tuple[dict[str, Tensor], int]:
        """Load the best weights into CPU memory; return them and their epoch.

        Raises
        ------
        DamagedError
            If their SHA-256 does not match (the run then counts as unfinished), or the file is no
            weights of this run.
        """
        path = self.path / WEIGHTS_FILE
        try:
            read_verified(path)
        except DamagedError as error:
            aside = self._reject_weights()
            raise DamagedError(f"{error}{aside}; train.py --resume trains it again") from None
        remedy = "train.py --resume sets it aside and trains the run again"
        epoch = check_weights(path, self.config, f"; {remedy}")
        return read_tensors(path, f"; {TRAIN_AGAIN}"), epoch

    def repair_weights(self, identity: Mapping[str, Any]) -> None:
        """Set weights aside that the run did not write; it is then trained again."""
        try:
            check_weights(self.path / WEIGHTS_FILE, identity)
        except DamagedError as error:
            warn(f"warning: {error}{self._reject_weights()}: THE RUN STARTS OVER")

    def _reject_weights(self) -> str:
        """Count the run as unfinished; set its weights aside, if there are any, and say so."""
        path = self.path / WEIGHTS_FILE
        (self.path / "done").unlink()
        if not path.exists():
            return ""
        return f"; set aside as {set_aside(path)}"


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study with its directory, subset and identity, derived once in planning."""

    run: Run
    directory: RunDirectory
    indices: NDArray[np.int64]  # (n,) training images
    identity: Mapping[str, Any]  # from identify
    init_file: InitFile | None = None  # of the weights that recipe.init names

    @property
    def study_dir(self) -> Path:
        """Directory of the study; :attr:`Run.path` is relative to it."""
        return self.directory.path.parents[len(self.run.path.parts) - 1]
