"""Flags that choose a trained model, as a record. No torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ..config import Record, StudyName


class ModelFlags(Record):
    """Which trained model is meant."""

    weights: Path | None = Field(None, description="a file of weights, instead of a study")
    experiment_id: StudyName | None = Field(None, description="study (default: the newest)")
    variant: str | None = Field(None, description="of a study with several (default: the first)")
    subset_size: float | None = Field(None, description="default: the largest")
    seed: int | None = Field(None, description="default: the smallest")
    checkpoint_dir: Path = Field(Path("checkpoints"), description="where the studies lie")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
