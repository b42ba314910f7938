"""The run directory: everything a run leaves on disk, and the only code that writes it.

Layout of ``checkpoints/<experiment_id>/[<variant>/]<subset_size>/seed-<seed>/``:

    config.json         written first: what the run is
    environment.json    versions, commit, device, date
    subset.npz          indices of the training images, their SHA-256 in config.json
    metrics.csv         one row per epoch
    events.out.*        the same for TensorBoard
    last.pt             what is needed to go on; removed when done
    previous.pt         the same, one snapshot earlier
    best.safetensors    weights of the best validation epoch
    *.sha256            what the file of that name must hash to
    *.bad               what did not, set aside
    lock                the process that trains it
    done                written last: its presence means finished, its text the status
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..config import Machine, Recipe, Run
from ..errors import InputError
from .files import (
    DamagedError,
    read_json,
    read_verified,
    sweep,
    write_json,
    write_verified,
    write_whole,
)
from .identity import SCHEMA, check_same, completed, fingerprint
from .snapshots import SNAPSHOTS, load_snapshot, remove_snapshots, save_snapshot, set_aside

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run."""

    path: Path

    def check(self, identity: Mapping[str, Any]) -> None:
        """Refuse a directory that belongs to a run of another configuration, subset or data set.

        Raises
        ------
        InputError
            Naming each field, its value there and the value asked.
        """
        if (self.path / "config.json").exists():
            there, asked = self.config(), dict(identity)
            check_same(self.path, completed(there.pop("recipe")), asked.pop("recipe"))
            check_same(self.path, there, asked)

    def claim(
        self,
        identity: Mapping[str, Any],
        machine: Machine,
        indices: NDArray[np.int64],
        moments: tuple[Sequence[float], Sequence[float]],
    ) -> None:
        """Write what the run is, where that is missing; only for the directory's owner.

        Parameters
        ----------
        identity : mapping
            From :func:`identify`.
        indices : int64 ndarray of shape (n,)
            The training images.
        moments : pair of 3 floats each
            Channel means and deviations of the normalisation, so that the weights can be used
            where the data are not.
        """
        self.check(identity)
        sweep(self.path)
        if not (self.path / "config.json").exists():
            mean, std = map(list, moments)
            more = {"machine": machine.model_dump(mode="json")}
            more["pixel_moments"] = {"mean": mean, "std": std}
            write_json(self.path / "config.json", {**identity, **more})
        self.keep_subset(indices)

    def keep_subset(self, indices: NDArray[np.int64]) -> None:
        """Write the indices of the training images where they are missing or damaged."""
        try:
            self.subset()
        except DamagedError:
            file = io.BytesIO()
            np.savez_compressed(file, indices=indices)
            write_whole(self.path / "subset.npz", file.getvalue())

    def config(self) -> dict[str, Any]:
        """Read what was written when the run was claimed."""
        return read_json(self.path / "config.json")

    def run(self) -> Run:
        """Read back what the run is."""
        config = self.config()
        recipe, size, seed = Recipe(**config["recipe"]), config["subset_size"], config["seed"]
        return Run(recipe=recipe, subset_size=size, seed=seed, variant=config.get("variant", ""))

    @property
    def status(self) -> str | None:
        """``complete`` or ``diverged``; None while the run is unfinished."""
        done = self.path / "done"
        return done.read_text().strip() if done.exists() else None

    @property
    def usable(self) -> bool:
        """Whether the run is complete, so that its weights can be evaluated."""
        return self.status == "complete"

    @property
    def standing(self) -> str:
        """The status, or how far the run came."""
        begun = any((self.path / name).exists() for name in SNAPSHOTS)
        return self.status or ("interrupted" if begun else "not finished")

    def subset(self) -> NDArray[np.int64]:
        """Read the indices of the training images, shape (n,).

        Raises
        ------
        DamagedError
            If they are not those that config.json names.
        """
        path = self.path / "subset.npz"
        promised = self.config().get("subset_sha256")
        try:
            with np.load(io.BytesIO(path.read_bytes())) as file:
                indices: NDArray[np.int64] = file["indices"]
            if fingerprint(indices) == promised:
                return indices
            reason = "its SHA-256 is not that of config.json"
        except Exception as error:  # zipfile and numpy raise a dozen types on damaged bytes
            reason = type(error).__name__
        raise DamagedError(f"{path} is damaged: {reason}; train.py --resume writes it again")

    def save_last(self, state: dict[str, Any]) -> None:
        """Add a snapshot to go on from; a crash leaves the one before whole."""
        import torch

        file = io.BytesIO()
        torch.save({"schema_version": SCHEMA, **state}, file)
        save_snapshot(self.path, file.getbuffer())

    def load_last(self) -> dict[str, Any] | None:
        """Read the newest whole snapshot into CPU memory, or None if there is none.

        Raises
        ------
        InputError
            If another version of this program wrote it.
        """
        state = load_snapshot(self.path)
        if state and state["schema_version"] != SCHEMA:
            raise InputError(
                f"{self.path}: its snapshot has schema_version {state['schema_version']}; this "
                f"program reads {SCHEMA}; finish it with the program that began it"
            )
        return state

    def finish(
        self, status: str, best_weights: dict[str, Tensor], best_epoch: int, classes: Sequence[str]
    ) -> None:
        """Write the best weights, declare the run finished and drop what it needs no more."""
        from safetensors.torch import save

        tensors = {k: v.contiguous() for k, v in best_weights.items()}
        config, described = self.config(), {"epoch": best_epoch, "classes": list(classes)}
        described |= {key: config.get(key) for key in ("recipe", "pixel_moments")}
        # One key: safetensors writes several in random order; equal runs give equal bytes.
        content = save(tensors, {"run": json.dumps(described)})
        write_verified(self.path / "best.safetensors", content)
        write_whole(self.path / "done", f"{status}\n".encode())
        self.tidy()

    def tidy(self) -> None:
        """Leave one copy of the weights; a diverged run keeps its last finite state too."""
        if self.usable:
            remove_snapshots(self.path)
        (self.path / "error.txt").unlink(missing_ok=True)

    def load_best(self) -> tuple[dict[str, Tensor], int]:
        """Read the best weights into CPU memory, and their epoch.

        Raises
        ------
        DamagedError
            If they are not what was written; the run is then unfinished, to be trained again.
        """
        from safetensors import safe_open

        path = self.path / "best.safetensors"
        try:
            read_verified(path)
        except DamagedError as error:
            (self.path / "done").unlink()
            if path.exists():
                set_aside(path)
            raise DamagedError(f"{error}; set aside, train.py --resume trains it again") from None
        with safe_open(path, "pt") as file:
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata()  # before recipe and classes were there: only the epoch
            described = json.loads(metadata["run"]) if "run" in metadata else metadata
            return weights, int(described["epoch"])


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study with everything that is derived from it: made once, in planning."""

    run: Run
    directory: RunDirectory
    indices: NDArray[np.int64]  # (n,) the training images
    identity: Mapping[str, Any]  # from identify
