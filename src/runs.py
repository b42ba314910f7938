"""The run directory: everything a run leaves on disk, and the only code that writes it.

Layout of ``checkpoints/<experiment_id>/<subset_size>/seed-<seed>/``:

    config.json         written first: what the run is
    environment.json    versions, commit, device, date
    subset.npz          indices of the training images, their SHA-256 in config.json
    metrics.csv         one row per epoch
    last.pt             what is needed to go on; removed when done
    best.safetensors    weights of the best validation epoch
    done                written last: its presence means finished, its text the status
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .config import InputError, Machine, Recipe, Run, differences
from .files import write_json, write_whole

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1


@dataclass(frozen=True)
class EpochRow:
    """What is measured in one epoch; losses in nats per image, errors are shares."""

    epoch: int
    train_loss: float
    train_top_1_error: float
    train_top_5_error: float | None
    validation_loss: float
    validation_top_1_error: float
    validation_top_5_error: float | None
    learning_rate: float
    seconds: float  # of training, without validation
    images_per_second: float


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run."""

    path: Path

    @classmethod
    def claim(
        cls, study_dir: Path, run: Run, machine: Machine, indices: NDArray[np.int64], data: str
    ) -> RunDirectory:
        """Create or reopen the directory of ``run``.

        Parameters
        ----------
        indices : int64 ndarray of shape (n,)
            Its training images.
        data : str
            SHA-256 of the data set.

        Raises
        ------
        InputError
            If the directory belongs to a run of another configuration, subset or data set.
        """
        directory = cls(study_dir / run.path)
        asked: dict[str, Any] = {
            "schema_version": SCHEMA,
            "recipe": run.recipe.model_dump(mode="json"),
            "subset_size": run.subset_size,
            "seed": run.seed,
            "data_sha256": data,
            "subset_sha256": hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest(),
        }
        config = directory.path / "config.json"
        if config.exists():
            there = json.loads(config.read_text())
            check_same(directory.path, there.pop("recipe"), asked.pop("recipe"))
            check_same(directory.path, there, asked)
        else:
            write_json(config, {**asked, "machine": machine.model_dump(mode="json")})
        if not (directory.path / "subset.npz").exists():
            file = io.BytesIO()
            np.savez_compressed(file, indices=indices)
            write_whole(directory.path / "subset.npz", file.getvalue())
        return directory

    def config(self) -> dict[str, Any]:
        """Read what was written when the run was claimed."""
        content: dict[str, Any] = json.loads((self.path / "config.json").read_text())
        return content

    def run(self) -> Run:
        """Read back what the run is."""
        config = self.config()
        return Run(
            recipe=Recipe(**config["recipe"]),
            subset_size=config["subset_size"],
            seed=config["seed"],
        )

    @property
    def status(self) -> str | None:
        """``complete`` or ``diverged``; None while the run is unfinished."""
        done = self.path / "done"
        return done.read_text().strip() if done.exists() else None

    @property
    def usable(self) -> bool:
        """Whether the run is complete, so that its weights can be evaluated."""
        return self.status == "complete"

    def subset(self) -> NDArray[np.int64]:
        """Read the indices of the training images, shape (n,)."""
        with np.load(self.path / "subset.npz") as file:
            indices: NDArray[np.int64] = file["indices"]
        return indices

    def save_last(self, state: dict[str, Any]) -> None:
        """Replace the snapshot to go on from; a crash leaves the old one whole."""
        import torch

        file = io.BytesIO()
        torch.save(state, file)
        write_whole(self.path / "last.pt", file.getbuffer())

    def load_last(self) -> dict[str, Any] | None:
        """Read the snapshot into CPU memory, or None if there is none."""
        import torch

        path = self.path / "last.pt"
        if not path.exists():
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state

    def append_epoch(self, row: EpochRow) -> None:
        """Add the measurements of one epoch."""
        with (self.path / "metrics.csv").open("a", newline="") as file:
            writer = csv.DictWriter(file, asdict(row))
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(asdict(row))

    def keep_epochs(self, last: int) -> None:
        """Drop the rows of epochs after ``last``, and a torn line: they are trained again."""
        path = self.path / "metrics.csv"
        if not path.exists():
            return
        lines = path.read_text().splitlines(keepends=True)
        width = len(fields(EpochRow))
        rows = [line for line in lines if line.endswith("\n") and line.count(",") == width - 1]
        kept = [row for row in rows[1:] if int(row.split(",")[0]) <= last]
        write_whole(path, "".join(rows[:1] + kept).encode())

    def finish(self, status: str, best_weights: dict[str, Tensor], best_epoch: int) -> None:
        """Write the best weights, drop the snapshot and declare the run finished."""
        from safetensors.torch import save

        tensors = {k: v.contiguous() for k, v in best_weights.items()}
        content = save(tensors, {"epoch": str(best_epoch)})
        write_whole(self.path / "best.safetensors", content)
        write_whole(self.path / "done", f"{status}\n".encode())
        for leftover in ("last.pt", "error.txt"):
            (self.path / leftover).unlink(missing_ok=True)

    def load_best(self) -> tuple[dict[str, Tensor], int]:
        """Read the best weights into CPU memory, and their epoch."""
        from safetensors import safe_open

        with safe_open(self.path / "best.safetensors", "pt") as file:
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return weights, int(file.metadata()["epoch"])


def check_same(path: Path, there: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse a directory that belongs to something else.

    Raises
    ------
    InputError
        Naming each field, its value there and the value asked.
    """
    if found := differences(there, asked):
        raise InputError(
            f"{path} belongs to another study: {'; '.join(found)}; use another --experiment-id"
        )
