"""Flags of every command, as frozen records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from ..config import Alpha, Machine, Recipe, Record, Study, StudyName
from ..prediction.flags import ModelFlags


class TrainFlags(Record):
    """Train one fresh model per subset size and seed."""

    experiment_id: StudyName | None = Field(
        None, description="name of the study; give it again to finish it (default: the time)"
    )
    resume: StudyName | None = Field(
        None, description="go on with the newest study, or the named one"
    )
    config: Path | None = Field(None, description="YAML file of the options below; flags win")
    list: bool = Field(False, description="print the study's runs and stop")
    plan: bool = Field(False, description="as --list, with the disk and the time that they take")
    status: bool = Field(False, description="print how far each run is, also while they train")
    print_config: bool = Field(False, description="print the study as a config file and stop")
    study: Annotated[Study, tyro.conf.arg(name="")] = Study()
    recipe: Annotated[Recipe, tyro.conf.arg(name="")] = Recipe()
    machine: Annotated[Machine, tyro.conf.arg(name="")] = Machine()


class EvalFlags(Record):
    """Measure the error of every trained model of a study and fit the scaling law."""

    experiment_id: StudyName | None = Field(
        None, description="name of the study (default: the newest)"
    )
    checkpoint_dir: Path = Field(Path("checkpoints"), description="where the studies lie")
    results_dir: Path | None = Field(None, description="default: as in training")
    cache_dir: Path | None = Field(None, description="default: as in training")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    batch_size: int = Field(256, gt=0, description="images per forward pass")
    full: bool = Field(False, description="confusion, per-class scores, calibration, top-1 to 10")
    conformal: bool = Field(False, description="prediction sets, calibrated on validation")
    report: bool = Field(False, description="everything on one page, report.html, to pass on")
    mistakes: int = Field(
        12, ge=0, description="with --report: pictures of the surest mistakes of a size; 0: none"
    )
    alpha: Annotated[tuple[Alpha, ...], Field(min_length=1)] = Field(
        (0.1,), description="with --conformal: shares of images whose set may miss the label"
    )


class ForecastFlags(Record):
    """Fit the scaling law to measured errors, anybody's, and forecast what more data would buy."""

    points: Annotated[Path | None, tyro.conf.Positional] = Field(
        None, description="CSV with columns n,error[,num_test,seed], or a study's metrics.json"
    )
    metric: str | None = Field(
        None, description="of metrics.json, such as top_1_error (default: as in eval.py)"
    )
    variant: str | None = Field(None, description="of metrics.json, where it holds several curves")
    chance: float | None = Field(None, gt=0, le=1, description="error of guessing (default: 1)")
    at: tuple[float, ...] = Field((), description="training images to forecast for")
    target: float | None = Field(None, gt=0, lt=1, description="an error: how many images for it?")
    plan: bool = Field(False, description="say which next run narrows the forecast most")
    compare: Path | None = Field(
        None, description="points of another model: how much more data this one needs to match it"
    )
    simulate: tuple[float, ...] = Field(
        (), description="planned sizes, before any run: how wide would the intervals be?"
    )
    seeds: int = Field(1, gt=0, description="runs of each size, with --simulate")
    num_test: int = Field(5000, gt=0, le=10**9, description="test images, with --simulate")
    expect: float = Field(0.3, gt=0, lt=1, description="error at the largest, with --simulate")
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = Field(
        None, description="write everything there"
    )
    plot: Path | None = Field(None, description="draw the law there (.png, .pdf, .svg)")


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
