"""Flags that select a trained model. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ..config import Record, StudyName
from ..variants import Size


class ModelFlags(Record):
    """Selection of a trained model."""

    weights: Path | None = Field(
        None, description="weights file (.safetensors), instead of a study"
    )
    experiment_id: StudyName | None = Field(
        None, description="name of the study (default: the newest)"
    )
    variant: str | None = Field(
        None, description="name of the variant, in a study with several (default: the first)"
    )
    subset_size: Size | None = Field(
        None, description="training subset of the run (default: the largest)"
    )
    seed: int | None = Field(None, description="seed of the run (default: the smallest)")
    checkpoint_dir: Path = Field(Path("checkpoints"), description="directory of the studies")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
