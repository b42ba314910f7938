"""Registry of trackers; to add one, write a function and list it in :data:`TRACKERS`."""

from __future__ import annotations

from collections.abc import Callable

from .mlflow import replay_to_mlflow
from .replay import Replay, TrackedStudy
from .trackio import replay_to_trackio
from .wandb import replay_to_wandb

TRACKERS: dict[str, Callable[[TrackedStudy, str, bool], Replay]] = {
    "mlflow": replay_to_mlflow,
    "trackio": replay_to_trackio,
    "wandb": replay_to_wandb,
}
