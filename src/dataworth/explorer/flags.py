"""Flags of ``app.py`` and ``dataworth explore``, as a record."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ..config import Alpha, Record, StudyName


class ExplorerFlags(Record):
    """Explore a finished study in the browser: predictions for your pictures, and the law."""

    experiment_id: StudyName | None = Field(None, description="study (default: the newest)")
    checkpoint_dir: Path = Field(Path("checkpoints"), description="folder of the studies")
    results_dir: Path | None = Field(None, description="default: as in training")
    alpha: Alpha = Field(0.1, description="share of prediction sets that may miss the true class")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    host: str = Field("127.0.0.1", description="address to serve on; 0.0.0.0: every interface")
    port: int = Field(7860, gt=0, lt=65536, description="port to serve on")
