"""What ``predict.py`` and ``python -m src.export`` can be asked, as records."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from ..config import Record
from ..flags import Alpha, StudyName


class ModelFlags(Record):
    """Which trained model is meant."""

    weights: Path | None = Field(None, description="a file of weights, instead of a study")
    experiment_id: StudyName | None = Field(None, description="study (default: the newest)")
    variant: str | None = Field(None, description="of a study with several (default: the first)")
    subset_size: float | None = Field(None, description="default: the largest")
    seed: int | None = Field(None, description="default: the smallest")
    checkpoint_dir: Path = Field(Path("checkpoints"), description="where the studies lie")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")


class PredictFlags(ModelFlags):
    """Name what is on pictures, by the newest study's run of the largest size."""

    image: Path | None = Field(None, description="one picture")
    image_dir: Path | None = Field(None, description="every picture of a folder")
    recursive: bool = Field(False, description="with --image-dir: the folders in it too")
    output: Path | None = Field(None, description="write the answers there: .csv, .json, .parquet")
    top_k: int = Field(5, gt=0, description="how many classes to name")
    show_all_probs: bool = Field(False, description="the probability of every class")
    conformal: bool = Field(False, description="sets of classes, after eval.py --conformal")
    alpha: Alpha = Field(0.1, description="with --conformal: share of sets that may miss the truth")
    conformal_method: Literal["lac", "aps", "raps"] = Field("lac", description="scores of the sets")
    all_sizes: bool = Field(False, description="ask the run of every subset size")
    explain: Path | None = Field(None, description="draw there where the model looks (Grad-CAM)")
    filters: Path | None = Field(None, description="draw there the filters of the first layer")
    batch_size: int = Field(64, gt=0, description="pictures per forward pass")


class ExportFlags(ModelFlags):
    """Write a trained model as a file of its own, with a model card."""

    format: Literal["safetensors", "onnx"] = Field("safetensors", description="of the file")
    output: Path = Field(Path("results/exported"), description="folder for model and card")
