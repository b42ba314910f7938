"""Configuration of a study as frozen records; every default is written here, once. Pure.

``Recipe`` is how each model is trained, ``Study`` which subset sizes and seeds are measured, and
``Machine`` where the runs execute, which changes results by rounding only. Flags, ``--help``,
config files, stored configs and run paths derive from these records.
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
    ValidationInfo,
    field_validator,
)
from tyro.conf import Suppress

from .errors import InputError, first_error_message
from .variants import NAME, Pairs, Size, VariantName, Variants


class Record(BaseModel):
    """Frozen pydantic model that raises InputError, with one line, for an invalid value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(first_error_message(error, type(self).model_fields)) from None

    @field_validator("*", mode="before")
    @classmethod
    def _check_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true for 1: in YAML, an unquoted ``on`` or ``yes`` is true as well."""
        values = value if isinstance(value, list | tuple) else (value,)
        field = cls.model_fields[str(info.field_name)]
        for item in values:
            if isinstance(item, bool) and field.annotation is not bool:
                raise ValueError(f"{str(item).lower()} where a number or a text is wanted")
        return value

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed."""
        return type(self)(**{**dict(self), **changes})


class Recipe(Record):
    """How each model of a study is trained; defaults as in Krizhevsky et al. (2012)."""

    dataset: str = Field(
        "timm/mini-imagenet",
        min_length=1,
        description="Hugging Face hub id, local folder (parquet or class folders), or digits",
    )
    dataset_revision: str | None = Field(None, description="branch, tag or commit on the hub")
    image_column: str | None = Field(
        None, description="column of the images (default: the only one)"
    )
    label_column: str | None = Field(
        None, description="column of the labels (default: the only class-label column)"
    )
    group_column: str | None = Field(
        None,
        min_length=1,
        description="column of groups (a patient, a video), which subsets and splits never divide",
    )
    group_from: str | None = Field(
        None,
        min_length=1,
        description="groups from file names: a regular expression; its first pair of parentheses, "
        "or else the whole match, names the group",
    )
    on_leak: Literal["warn", "error", "drop"] = Field(
        "warn",
        description="groups that are in two splits: warn, stop, or drop their images from "
        "validation and test",
    )
    on_bad_image: Literal["error", "skip"] = Field(
        "error", description="stop at the first image that cannot be decoded, or skip up to 1 %"
    )
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="share of train held out where a split is missing"
    )
    model: str = Field(
        "alexnet",
        description="alexnet, alexnet-small, alexnet-paper, alexnet-bn, a torchvision model, or "
        "timm:MODEL; several: one curve each",
    )
    image_size: int = Field(
        227,
        gt=0,
        description="side of the square input, in pixels; a timm:MODEL has its own",
    )
    augment: Literal["paper", "random-resized-crop", "crop", "flip", "none"] = Field(
        "paper", description="data augmentation; paper: random crops and horizontal flips"
    )
    normalise: Literal["imagenet", "dataset", "none", "inception", "clip", "dpn"] = Field(
        "imagenet",
        description="channel means and deviations; dataset: of the training split; inception, "
        "clip, dpn: of those networks; a timm:MODEL has its own",
    )
    epochs: int = Field(90, gt=0, description="epochs of training; see --budget")
    budget: Literal["epochs", "steps"] = Field(
        "epochs",
        description="epochs: passes over the subset; steps: every size takes the optimiser steps "
        "of size 1.0; both: one curve each",
    )
    batch_size: int = Field(128, gt=0, description="maximum batch size")
    learning_rate: float = Field(0.01, gt=0, description="initial learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD momentum")
    weight_decay: float = Field(5e-4, ge=0, description="L2 penalty (adamw: decoupled)")
    optimizer: Literal["sgd", "adam", "adamw"] = Field("sgd", description="optimiser")
    schedule: Literal["step", "cosine", "constant"] = Field(
        "step", description="learning rate; step: divided by 10 at 1/3 and 2/3 of the epochs"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="probability spread over all classes"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="dropout probability in AlexNet and VGG")
    label_noise: float = Field(
        0.0, ge=0, lt=1, description="share of training labels replaced by another class"
    )
    init: str | None = Field(
        None,
        min_length=1,
        description="weights to start from: best.safetensors of a run, or torchvision's by name, "
        "such as ResNet18_Weights.IMAGENET1K_V1 (default: fresh weights)",
    )
    freeze: Literal["none", "body"] = Field(
        "none", description="body: with --init, train the last layer alone"
    )
    select_by: Literal["loss", "top-5-error"] = Field(
        "loss", description="validation score that selects the best epoch"
    )

    @field_validator("group_from")
    @classmethod
    def _check_pattern(cls, pattern: str | None, info: ValidationInfo) -> str | None:
        if pattern is None:
            return pattern
        if info.data.get("group_column") is not None:
            raise ValueError("not together with --group-column; give one of them")
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{pattern!r:.60} is no regular expression: {error}") from None
        return pattern

    def steps_per_epoch(self, n: int, num_train: int) -> int:
        """Optimiser steps between two validations, on a subset of the training set.

        With ``budget="steps"`` every subset takes the steps of the whole training set: its images
        are used several times per epoch, and every size is validated equally often.

        Parameters
        ----------
        n : int
            Images of the subset.
        num_train : int
            Images of the whole training set.
        """
        return -(-(n if self.budget == "epochs" else num_train) // self.batch_size)


class Study(Record):
    """Which points of the learning curve to measure."""

    subset_sizes: tuple[Size, ...] = Field(
        (1.0, 0.5, 0.25, 0.125, 0.0625),
        min_length=1,
        description="shares of the training set in (0, 1], such as 0.25 or 1/64, or numbers of "
        "images above 1",
    )
    seeds: tuple[int, ...] = Field(
        (42,), min_length=1, description="each trains every size once; the curve is their mean"
    )
    variants: Annotated[Variants, Suppress] = Field(
        (), description="name -> settings that differ from the recipe, one curve each"
    )

    @field_validator("subset_sizes")
    @classmethod
    def _check_sizes(cls, sizes: tuple[float | int, ...]) -> tuple[float | int, ...]:
        return _distinct(sizes)

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if min(seeds) < 0:
            raise ValueError(f"{min(seeds)} is negative; use whole numbers from 0")
        return _distinct(seeds)

    def runs(self, recipe: Recipe) -> list[Run]:
        """Return all runs: per variant, shares before counts, smallest first, then seeds."""
        sizes = sorted(self.subset_sizes, key=lambda size: (size > 1, size))
        return [
            Run(recipe=variant_recipe, subset_size=size, seed=seed, variant=name)
            for name, variant_recipe in recipes_by_variant(recipe, self.variants).items()
            for size in sizes
            for seed in self.seeds
        ]


class Run(Record):
    """One training run: a recipe, a subset size and a seed."""

    recipe: Recipe
    subset_size: float | int
    seed: int
    variant: VariantName = ""  # name of the recipe's variant; empty in a study of one recipe

    @property
    def path(self) -> Path:
        """Path of the run's directory, relative to the study's."""
        return run_path(self.variant, self.subset_size, self.seed)


def run_path(variant: str, subset_size: float, seed: int) -> Path:
    """Path of a run's directory, relative to the study's.

    Parameters
    ----------
    variant : str
        Empty in a study of one recipe.
    subset_size : float or int
        Share of the training set, or number of images; never rounded in the path.
    seed : int
    """
    return Path(variant) / repr(subset_size) / f"seed-{seed}"


def _check_jobs(jobs: str | int) -> str | int:
    if isinstance(jobs, int) and jobs < 1:
        raise ValueError(f"{jobs} is not a number of runs; use auto, 1, 2, ...")
    return jobs


Jobs = Annotated[Literal["auto"] | int, AfterValidator(_check_jobs)]  # runs at a time


class Machine(Record):
    """Where the runs execute, and how."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="arithmetic of training; auto: bf16 if supported; weights are fp32"
    )
    residency: Literal["auto", "device", "host"] = Field(
        "auto",
        description="pixels in device memory, or copied from the host batch by batch; "
        "auto: device if they fit into half of its free memory",
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="auto: CUDA graphs on CUDA; on: torch.compile as well; off: eager"
    )
    workers: int = Field(0, ge=0, description="processes that decode images; 0: one per core")
    checkpoint_seconds: float = Field(
        60.0, ge=0, description="seconds between two snapshots of a run"
    )
    launcher: Literal["local", "ray", "slurm"] = Field(
        "local", description="where runs execute: here; on Ray; on Slurm"
    )
    jobs: Jobs = Field(
        "auto",
        description="runs that train side by side with --launcher local, each in a process; "
        "auto: as many as end soonest, measured on a CPU; 1 on a GPU",
    )
    order: Literal["smallest-first", "largest-first"] = Field(
        "smallest-first",
        description="order of the runs; largest-first finishes sooner with several at a time",
    )
    gpus_per_run: float | None = Field(
        None,
        ge=0,
        description="GPUs of each run on Ray; 0.25: four runs share one "
        "(default: 1 if the cluster has GPUs)",
    )
    cpus_per_run: int | None = Field(
        None,
        gt=0,
        description="CPU threads of each run (default: as here; 1 on the GPUs of a cluster)",
    )
    ray_address: str | None = Field(
        None, description="auto, or host:port of a Ray cluster (default: start Ray here)"
    )
    slurm: tuple[str, ...] = Field((), description="Slurm parameters, key=value, as in submitit")
    tensorboard_histograms: bool = Field(
        False, description="TensorBoard histograms of weights and gradients after each epoch"
    )
    cache_dir: Path = Field(Path("cache"), description="directory of decoded images")
    checkpoint_dir: Path = Field(Path("checkpoints"), description="directory of the studies")
    results_dir: Path = Field(Path("results"), description="directory of the results")

    @field_validator("cache_dir", "checkpoint_dir", "results_dir")
    @classmethod
    def _check_path(cls, path: Path) -> Path:
        if "\0" in str(path):
            raise ValueError(f"{str(path)!r} is not a path")
        return path

    @property
    def min_jobs(self) -> int:
        """Runs at a time, as far as it is known before anything is measured."""
        return 1 if self.jobs == "auto" else self.jobs


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value!r} is given twice")
    return values


def recipes_by_variant(recipe: Recipe, variants: Pairs) -> dict[str, Recipe]:
    """Return the recipe of each variant; without variants, the recipe under the name ``""``."""
    return {name: recipe.replace(**dict(changes)) for name, changes in variants} or {"": recipe}


def check_study_name(name: str) -> str:
    """Return a study's name if it is a valid folder name, without a path."""
    if not re.fullmatch(NAME, name):
        raise ValueError(f"{name!r} is not a name: use letters, digits, '.', '_' and '-', no path")
    return name


Alpha = Annotated[float, Field(gt=0, lt=1)]
StudyName = Annotated[str, AfterValidator(check_study_name)]
