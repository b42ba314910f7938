"""What a study is, as frozen records: the only place where a default value is written. Pure.

``Recipe`` is what all runs of a study share, so that subset size and seed are all that varies.
``Machine`` says where a run happens; changing it does not change the result beyond rounding.
Flags, help, config files, saved configs and run paths all derive from these records.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)
from tyro.conf import Suppress

from .errors import InputError, one_line
from .variants import NAME, Pairs, Variants


class Record(BaseModel):
    """A frozen record whose mistakes read as one line."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(one_line(error, type(self).model_fields)) from None

    def replace(self, **changes: Any) -> Self:
        """Return a checked copy with some fields changed."""
        return type(self)(**{**dict(self), **changes})


class Recipe(Record):
    """How every model of the study is trained. Defaults: Krizhevsky et al. (2012)."""

    dataset: str = Field(
        "timm/mini-imagenet",
        min_length=1,
        description="hub id, local folder (parquet or class folders), or digits",
    )
    dataset_revision: str | None = Field(None, description="branch, tag or commit on the hub")
    image_column: str | None = Field(None, description="default: the one image column")
    label_column: str | None = Field(None, description="default: the one class-label column")
    on_bad_image: Literal["error", "skip"] = Field(
        "error", description="name the first bad image and stop, or leave out up to 1 % of them"
    )
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="share of train to hold out where a split is missing"
    )
    model: str = Field(
        "alexnet",
        description="alexnet, alexnet-small, -paper, -bn, or torchvision's; several: a curve each",
    )
    image_size: int = Field(227, gt=0, description="side of the square input, in pixels")
    augment: Literal["paper", "random-resized-crop", "crop", "flip", "none"] = Field(
        "paper", description="of training images; paper: random crops and mirror images"
    )
    normalise: Literal["imagenet", "dataset", "none"] = Field(
        "imagenet", description="channel means and deviations; dataset: of the training split"
    )
    epochs: int = Field(90, gt=0, description="passes over the subset; see --budget")
    budget: Literal["epochs", "steps"] = Field(
        "epochs", description="steps: all sizes make the steps of size 1.0; both: a curve each"
    )
    batch_size: int = Field(128, gt=0, description="most images per optimiser step")
    learning_rate: float = Field(0.01, gt=0, description="learning rate at the start")
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD momentum")
    weight_decay: float = Field(5e-4, ge=0, description="L2 penalty (adamw: decoupled)")
    optimizer: Literal["sgd", "adam", "adamw"] = Field("sgd", description="update rule")
    schedule: Literal["step", "cosine", "constant"] = Field(
        "step", description="step: a tenth at 1/3 and again at 2/3 of the epochs"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share spread over all classes")
    dropout: float = Field(0.5, ge=0, lt=1, description="in AlexNet and VGG classifiers")
    select_by: Literal["loss", "top-5-error"] = Field(
        "loss", description="validation score that picks the best epoch"
    )

    def epoch_steps(self, n: int, whole: int) -> int:
        """Optimiser steps of an epoch on ``n`` of ``whole`` training images.

        With a budget of steps, as many as in a pass over the whole: ``n`` images come round more
        than once then, and are validated on as often as with any other size.
        """
        return -(-(n if self.budget == "epochs" else whole) // self.batch_size)


class Study(Record):
    """Which points of the curve to measure."""

    subset_sizes: tuple[float | int, ...] = Field(
        (1.0, 0.5, 0.25, 0.125, 0.0625),
        min_length=1,
        description="shares of the training set in (0, 1], or counts of images above 1",
    )
    seeds: tuple[int, ...] = Field((42,), min_length=1, description="one full curve per seed")
    variants: Annotated[Variants, Suppress] = Field(
        (), description="name -> settings that differ: a curve each"
    )

    @field_validator("subset_sizes")
    @classmethod
    def _check_sizes(cls, sizes: tuple[float | int, ...]) -> tuple[float | int, ...]:
        return _distinct(tuple(_share_or_count(size) for size in sizes))

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if min(seeds) < 0:
            raise ValueError(f"{min(seeds)} is negative; use whole numbers from 0")
        return _distinct(seeds)

    def runs(self, recipe: Recipe) -> list[Run]:
        """All runs, smallest first as far as the sizes alone tell, so that mistakes show early."""
        sizes = sorted(self.subset_sizes, key=lambda size: (size > 1, size))
        return [
            Run(recipe=one, subset_size=size, seed=seed, variant=name)
            for name, one in recipes(recipe, self.variants).items()
            for size in sizes
            for seed in self.seeds
        ]


class Run(Record):
    """One point of a curve: a recipe, a subset size, a seed."""

    recipe: Recipe
    subset_size: float | int
    seed: int
    variant: str = ""  # which of the study's; empty where it has one recipe

    @property
    def path(self) -> Path:
        """Where the run lives, relative to the study's directory; the size is never rounded."""
        return Path(self.variant) / repr(self.subset_size) / f"seed-{self.seed}"


class Machine(Record):
    """Where the runs happen."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="of the arithmetic in training; weights stay fp32"
    )
    residency: Literal["auto", "device", "host"] = Field(
        "auto", description="pixels on the device, or streamed; auto: device if half of it is free"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="auto: CUDA graphs where there is CUDA; on: torch.compile too"
    )
    workers: int = Field(
        0, ge=0, description="processes that decode images into the cache; 0: one per core"
    )
    checkpoint_seconds: float = Field(
        60.0, ge=0, description="between two snapshots of a run: what a crash costs at most"
    )
    launcher: Literal["local", "ray", "slurm"] = Field(
        "local", description="where runs execute: here one by one, on Ray, on Slurm"
    )
    order: Literal["smallest-first", "largest-first"] = Field(
        "smallest-first", description="largest-first ends sooner where several run at a time"
    )
    gpus_per_run: float | None = Field(
        None, ge=0, description="0.25: four runs share one (default: 1 if the cluster has GPUs)"
    )
    cpus_per_run: int | None = Field(
        None, gt=0, description="threads of a run (default: as here; 1 on a cluster's GPUs)"
    )
    ray_address: str | None = Field(
        None, description="auto, or host:port of a cluster (default: start Ray here)"
    )
    slurm: tuple[str, ...] = Field((), description="key=value ... as submitit names them")
    tensorboard_histograms: bool = Field(
        False, description="of weights and gradients after each epoch, for TensorBoard"
    )
    cache_dir: Path = Field(Path("cache"), description="decoded images, shared by all studies")
    checkpoint_dir: Path = Field(Path("checkpoints"), description="one directory per study")
    results_dir: Path = Field(Path("results"), description="one directory per study")

    @field_validator("cache_dir", "checkpoint_dir", "results_dir")
    @classmethod
    def _check_path(cls, path: Path) -> Path:
        if "\0" in str(path):
            raise ValueError(f"{str(path)!r} is not a path")
        return path


def _share_or_count(size: float) -> float | int:
    if size > 1 and float(size).is_integer():
        return int(size)
    if 0 < size <= 1:
        return float(size)
    raise ValueError(f"{size} is neither a share in (0, 1] nor a whole number of images above 1")


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value!r} is given twice")
    return values


def recipes(recipe: Recipe, variants: Pairs) -> dict[str, Recipe]:
    """Return the recipe of each variant; without any, of the one that has no name."""
    return {name: recipe.replace(**dict(changes)) for name, changes in variants} or {"": recipe}


def checked_name(name: str) -> str:
    """Return a study's name unless it could leave its directory."""
    if not re.fullmatch(NAME, name):
        raise ValueError(f"{name!r} is not a name: use letters, digits, '.', '_' and '-', no path")
    return name


Alpha = Annotated[float, Field(gt=0, lt=1)]
StudyName = Annotated[str, AfterValidator(checked_name)]
