"""The command line and the config file as records: default < file < flag."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
import yaml

from ..config import Machine, Recipe, Record, Study
from ..errors import InputError, nearest, shortened
from ..variants import combinations
from .flags import TrainFlags

NEWEST = "newest"  # what a bare --resume means
SEVERAL = ("model", "budget")  # flags that take several values: a curve each
Command = TypeVar("Command", bound=Record)


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


def records_from_mapping(values: Mapping[str, Any], where: str) -> tuple[Recipe, Study, Machine]:
    """Read the flat keys of a config file into the records that own them.

    Raises
    ------
    InputError
        If a key is unknown (the nearest one is offered) or a value has the wrong type.
    """
    owners = {name: owner for owner in (Recipe, Study, Machine) for name in owner.model_fields}
    for key in values:
        if key not in owners:
            raise InputError(f"{where}: unknown key {shortened(key)}{nearest(str(key), owners)}")
    try:
        own = {o: {k: v for k, v in values.items() if owners[k] is o} for o in owners.values()}
        return Recipe(**own[Recipe]), Study(**own[Study]), Machine(**own[Machine])
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def flat_mapping(*records: Record) -> dict[str, Any]:
    """Return the fields of several records as one mapping of plain values."""
    return {
        key: value for record in records for key, value in record.model_dump(mode="json").items()
    }
