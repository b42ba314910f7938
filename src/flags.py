"""The command line and the config file as records: default < file < flag."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
import yaml
from pydantic import AfterValidator, Field

from .config import InputError, Machine, Recipe, Record, Study
from .mappings import flat_mapping, records_from_mapping
from .spelling import shortened
from .variants import NAME, combinations

NEWEST = "newest"  # what a bare --resume means
SEVERAL = ("model", "budget")  # flags that take several values: a curve each
Command = TypeVar("Command", bound=Record)


def checked_name(name: str) -> str:
    """Return a study's name unless it could leave its directory."""
    if not re.fullmatch(NAME, name):
        raise ValueError(f"{name!r} is not a name: use letters, digits, '.', '_' and '-', no path")
    return name


Alpha = Annotated[float, Field(gt=0, lt=1)]
StudyName = Annotated[str, AfterValidator(checked_name)]


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


def parse(command: type[Command], words: Sequence[str] | None, default: Command) -> Command:
    """Parse a command line; ``words`` default to the program's own.

    Raises
    ------
    InputError
        If a flag is unknown or a value has the wrong type: the parser's box as one line.
    """
    words = list(sys.argv[1:] if words is None else words)
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(
                command,
                args=_resume_newest(words),
                default=default,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(_one_line(box.getvalue())) from None


def parse_train(
    words: Sequence[str] | None = None, default: TrainFlags | None = None
) -> TrainFlags:
    """Read ``train.py``'s flags over its ``--config`` file over the defaults."""
    words, several = _several(list(sys.argv[1:] if words is None else words))
    flags = parse(TrainFlags, words, default or TrainFlags())
    if flags.config is not None:
        recipe, study, machine = read_config(flags.config)
        flags = parse(TrainFlags, words, TrainFlags(recipe=recipe, study=study, machine=machine))
    if not several:
        return flags
    return flags.replace(study=flags.study.replace(variants=combinations(several)))


def _several(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Take all values but the first out of ``--model A B``; return the fields that have several.

    A recipe holds one value of each; several make variants of it.
    """
    several = {}
    for field in SEVERAL:
        start = words.index(f"--{field}") + 1 if f"--{field}" in words else len(words)
        stop = next((i for i in range(start, len(words)) if words[i].startswith("-")), len(words))
        if stop - start > 1:
            several[field] = words[start:stop]
            words = words[: start + 1] + words[stop:]
    return words, several


def read_config(path: Path) -> tuple[Recipe, Study, Machine]:
    """Read a config file.

    Raises
    ------
    InputError
        If the file is missing, is not plain YAML, or has an unknown key or a wrong type.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # impossible dates, deep nests
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a plain YAML file: {reason}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected lines such as 'epochs: 90', found {shortened(values)}")
    return records_from_mapping(values, str(path))


def to_yaml(*records: Record) -> str:
    """Spell records as a config file (the inverse of :func:`read_config`)."""
    return yaml.safe_dump(flat_mapping(*records), sort_keys=False)


def to_words(*records: Record) -> list[str]:
    """Spell records as the command line that means them (the inverse of :func:`parse`)."""
    words: list[str] = []
    for key, value in flat_mapping(*records).items():
        if value in (False, {}):
            continue
        words.append("--" + key.replace("_", "-"))
        if value is True:
            continue
        words += [str(v) for v in (value if isinstance(value, list) else [value])]
    return words


def _resume_newest(words: list[str]) -> list[str]:
    """Give a bare ``--resume`` the value that it stands for."""
    out: list[str] = []
    for i, word in enumerate(words):
        out.append(word)
        if word == "--resume" and (i + 1 == len(words) or words[i + 1].startswith("-")):
            out.append(NEWEST)
    return out


def _one_line(box: str) -> str:
    """Flatten the parser's framed message: the message itself and its first suggestion."""
    lines = [line.strip("│ \n") for line in box.splitlines() if not line.startswith(("╭", "╰"))]
    parts = re.split(r"\s*─{5,}\s*", " ".join(lines))
    hints: list[Any] = [part for part in parts[1:] if part.startswith("Perhaps you meant")]
    hint = re.search(r"--[a-z-]+", hints[0]) if hints else None
    message = parts[0].strip().rstrip(".")
    return message + (f"; did you mean {hint[0]}?" if hint else "; see --help")
