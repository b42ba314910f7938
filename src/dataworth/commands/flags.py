"""Command-line flags of every command, as frozen records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from ..config import Alpha, Jobs, Machine, Recipe, Record, Study, StudyName
from ..forecaster.flags import ReadFlags
from ..prediction.flags import ModelFlags
from ..scaling.starts import Start


class TrainFlags(Record):
    """Train one model per subset size and seed, from fresh weights or those of --init."""

    experiment_id: StudyName | None = Field(
        None, description="name of the study; the same name resumes it (default: the start time)"
    )
    resume: StudyName | None = Field(None, description="resume the newest study, or the named one")
    config: Path | None = Field(
        None, description="YAML file with the settings below; flags override it"
    )
    variants: tuple[str, ...] = Field(
        (), description="names of variants of the config file to train (default: all)"
    )
    list: bool = Field(False, description="print the planned runs and exit")
    plan: bool = Field(False, description="as --list, with estimates of disk space and time")
    status: bool = Field(False, description="print the progress of each run, also during training")
    print_config: bool = Field(False, description="print the settings as a config file and exit")
    study: Annotated[Study, tyro.conf.arg(name="")] = Study()
    recipe: Annotated[Recipe, tyro.conf.arg(name="")] = Recipe()
    machine: Annotated[Machine, tyro.conf.arg(name="")] = Machine()


class PriceFlags(Record):
    """Prices in any currency; without one, nothing is said of money."""

    price_image: float = Field(0.0, ge=0, allow_inf_nan=False, description="price of an image")
    price_label: float = Field(0.0, ge=0, allow_inf_nan=False, description="price of its label")
    price_hour: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="price of an hour of training"
    )

    @property
    def has_prices(self) -> bool:
        """Whether any price is given."""
        return self.price_image + self.price_label + self.price_hour > 0


class EvalFlags(PriceFlags):
    """Measure the test error of every trained model of a study and fit the scaling law."""

    experiment_id: StudyName | None = Field(
        None, description="name of the study (default: the newest)"
    )
    checkpoint_dir: Path = Field(Path("checkpoints"), description="directory of the studies")
    results_dir: Path | None = Field(None, description="default: as in training")
    cache_dir: Path | None = Field(None, description="default: as in training")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    batch_size: int = Field(256, gt=0, description="images per forward pass")
    jobs: Jobs = Field(
        "auto",
        description="runs that are scored side by side, each by its share of the cores; "
        "auto: one per core as far as memory allows; 1 on a GPU",
    )
    full: bool = Field(
        False, description="confusion matrix, per-class scores, calibration, top-1 to top-10 errors"
    )
    conformal: bool = Field(
        False, description="prediction sets with a coverage guarantee, calibrated on validation"
    )
    baseline: str | None = Field(
        None, description="variant that the others are compared with (default: the first)"
    )
    target: float | None = Field(
        None, gt=0, lt=1, description="with prices: error to reach in the cheapest way"
    )
    report: bool = Field(
        False, description="write all results to one self-contained page, report.html"
    )
    mistakes: int = Field(
        12, ge=0, description="with --report: number of most confident mistakes to show per size"
    )
    alpha: Annotated[tuple[Alpha, ...], Field(min_length=1)] = Field(
        (0.1,), description="with --conformal: miscoverage levels, 1 - coverage"
    )


class DataFlags(Record):
    """Describe a data set, find its near duplicates, and measure what they do to the test error."""

    dataset: Annotated[str | None, tyro.conf.Positional] = Field(
        None, description="hub id, local folder, or digits (default: the data of a study)"
    )
    experiment_id: StudyName | None = Field(
        None, description="name of the study (default: the newest)"
    )
    duplicates: bool = Field(
        False, description="find near duplicates: re-encoded, cropped or shifted copies"
    )
    threshold: float = Field(
        0.9, gt=0.5, le=1, description="similarity from which on images are near duplicates"
    )
    pictures: int = Field(
        24, ge=0, le=400, description="pairs that are drawn, with --duplicates; 0: no picture"
    )
    output: Path | None = Field(
        None, description="folder of near_duplicates.csv (default: that of the results)"
    )
    checkpoint_dir: Path = Field(Path("checkpoints"), description="directory of the studies")
    results_dir: Path | None = Field(None, description="default: as in training, or results")
    cache_dir: Path | None = Field(None, description="default: as in training, or cache")
    dataset_revision: str | None = Field(None, description="branch, tag or commit on the hub")
    image_column: str | None = Field(None, description="column of the images")
    label_column: str | None = Field(None, description="column of the labels")
    on_bad_image: Literal["error", "skip"] = Field(
        "error", description="stop at the first image that cannot be decoded, or skip up to 1 %"
    )


class ForecastFlags(PriceFlags):
    """Fit the scaling law to measured errors and forecast the error with more data."""

    points: Annotated[Path | None, tyro.conf.Positional] = Field(
        None,
        description="measured errors and training set sizes: CSV, .json, .jsonl, .xlsx; or a "
        "study's metrics.json",
    )
    columns: Annotated[ReadFlags, tyro.conf.arg(name="")] = ReadFlags()
    metric: str | None = Field(
        None, description="metric in metrics.json, such as top_1_error (default: as in eval.py)"
    )
    variant: str | None = Field(
        None, description="variant in metrics.json, if it holds several curves"
    )
    chance: float | None = Field(
        None, gt=0, le=1, description="chance level: error of guessing (default: 1)"
    )
    start: Start | None = Field(
        None,
        description="what the classifier starts from: decides how probable each law is at first; "
        "scratch: fresh weights, trained for equal epochs "
        "(default: as the study's recipe says, or unknown)",
    )
    at: tuple[float, ...] = Field(
        (), description="numbers of training images to forecast the error for"
    )
    target: float | None = Field(
        None, gt=0, lt=1, description="target error: forecast the number of images that it needs"
    )
    plan: bool = Field(
        False, description="recommend the next run: the one that narrows the forecast most"
    )
    order: bool = Field(
        False, description="recommend how many images to buy now for --target; see --price-image"
    )
    rounds: int = Field(
        1, gt=0, le=20, description="with --order: orders that can be made, this one included"
    )
    miss_cost: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="with --order: cost of missing the target "
        "(default: the least at which it is missed with --miss-chance)",
    )
    miss_chance: float = Field(
        0.1, gt=0, lt=1, description="with --order: probability of missing the target in the end"
    )
    by_class: bool = Field(
        False,
        description="which class gains most from more images, from per_class.csv of eval.py "
        "--full; with --order, the order by class",
    )
    buy: int = Field(
        0, ge=0, le=10**9, description="with --by-class: images to allocate over the classes"
    )
    compare: Path | None = Field(
        None, description="points of an option: how many times the images this one needs for them"
    )
    joined: Annotated[tuple[Path, ...], tyro.conf.arg(name="with")] = Field(
        (),
        description="metrics.json of the same data and recipe with other epochs or budget: collect "
        "more images or train longer?",
    )
    simulate: tuple[float, ...] = Field(
        (), description="training sizes planned: simulate how wide the intervals will be"
    )
    seeds: int = Field(1, gt=0, description="with --simulate: runs of each size")
    num_test: int = Field(5000, gt=0, le=10**9, description="with --simulate: test images")
    expect: float = Field(
        0.3, gt=0, lt=1, description="with --simulate: expected error at the largest size"
    )
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = Field(
        None, description="write all results to this JSON file"
    )
    plot: Path | None = Field(None, description="plot the law to this file (.png, .pdf, .svg)")


class PredictFlags(ModelFlags):
    """Classify images, by default with the largest run of the newest study."""

    image: Path | None = Field(None, description="one image")
    image_dir: Path | None = Field(None, description="folder of images")
    recursive: bool = Field(False, description="with --image-dir: include subfolders")
    output: Path | None = Field(
        None, description="write the predictions to this file (.csv, .json, .parquet)"
    )
    top_k: int = Field(5, gt=0, description="most probable classes to show")
    show_all_probs: bool = Field(False, description="show the probability of every class")
    conformal: bool = Field(False, description="show prediction sets; needs eval.py --conformal")
    alpha: Alpha = Field(0.1, description="with --conformal: miscoverage level, 1 - coverage")
    conformal_method: Literal["lac", "aps", "raps"] = Field(
        "lac", description="with --conformal: conformal score"
    )
    all_sizes: bool = Field(False, description="classify with the run of every subset size")
    explain: Path | None = Field(None, description="save Grad-CAM heat maps to this file")
    filters: Path | None = Field(
        None, description="save the filters of the first layer to this file"
    )
    batch_size: int = Field(64, gt=0, description="images per forward pass")


class ExportFlags(ModelFlags):
    """Export a trained model to a file, with a model card."""

    format: Literal["safetensors", "onnx"] = Field("safetensors", description="file format")
    output: Path = Field(Path("results/exported"), description="output folder")
    results_dir: Path | None = Field(None, description="default: as in training")
    license: str | None = Field(
        None, description="licence of the weights as the hub names it, such as mit or cc-by-4.0"
    )
    push_to: str | None = Field(
        None, description="OWNER/NAME on the Hugging Face hub; a new one is private"
    )
    dry_run: bool = Field(False, description="with --push-to: write the folder, send nothing")


class TrackFlags(Record):
    """Replay an evaluated study into an experiment tracker."""

    results: Annotated[Path | None, tyro.conf.Positional] = Field(
        None, description="folder of results, such as results/digits"
    )
    to: Literal["mlflow", "trackio", "wandb"] | None = Field(None, description="tracker")
    project: str = Field(
        "dataworth", min_length=1, description="project of the tracker (MLflow: experiment)"
    )
    offline: bool = Field(False, description="write local files, to upload later; ask no server")
