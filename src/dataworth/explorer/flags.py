"""What ``app.py`` can be asked, as a record."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ..config import Alpha, Record, StudyName


class ExplorerFlags(Record):
    """Explore a finished study in the browser: pictures of yours, and the scaling law."""

    experiment_id: StudyName | None = Field(None, description="study (default: the newest)")
    checkpoint_dir: Path = Field(Path("checkpoints"), description="where the studies lie")
    results_dir: Path | None = Field(None, description="default: as in training")
    alpha: Alpha = Field(0.1, description="share of the sets of classes that may miss the truth")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    host: str = Field("127.0.0.1", description="address to serve; 0.0.0.0: to every machine")
    port: int = Field(7860, gt=0, lt=65536, description="of the address")
