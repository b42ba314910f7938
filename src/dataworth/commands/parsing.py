"""Command line and config file as records; flags override the file, the file the defaults."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
import yaml

from ..config import Machine, Recipe, Record, Study, recipes_by_variant
from ..console import warn
from ..errors import InputError, did_you_mean, short_repr
from ..variants import combinations
from .flags import TrainFlags
from .help_text import REGISTRY

NEWEST = "newest"  # value of --resume without a name
MULTIPLE = ("model", "budget")  # flags that take several values, each a variant of the study
Command = TypeVar("Command", bound=Record)


def parse(command: type[Command], words: Sequence[str] | None, default: Command) -> Command:
    """Parse a command line into the flags of a command.

    Parameters
    ----------
    command : type
        Record of the flags.
    words : sequence of str or None
        The command line; None: the program's own.
    default : record
        Values of flags that are not given.

    Raises
    ------
    InputError
        If a flag is unknown or a value has the wrong type, in one line.
    """
    words = list(sys.argv[1:] if words is None else words)
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                command,
                args=_resume_newest(words),
                default=default,
                config=(tyro.conf.FlagCreatePairsOff,),
                registry=REGISTRY,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(_one_line(errors.getvalue())) from None
    except OSError as error:  # of the help text, longer than a buffer
        if isinstance(error, BrokenPipeError):
            raise
        raise InputError(f"standard output: {error.strerror}") from None


def parse_train(
    words: Sequence[str] | None = None, default: TrainFlags | None = None
) -> TrainFlags:
    """Parse ``train.py``'s flags over its ``--config`` file over the defaults.

    Parameters
    ----------
    words : sequence of str or None
        None means the program's own command line.
    default : TrainFlags or None
        Values of flags that are not given, without ``--config``.
    """
    words, variant_values = _split_variants(list(sys.argv[1:] if words is None else words))
    default = default or TrainFlags()
    flags = parse(TrainFlags, words, default)
    if flags.config is not None:
        recipe, study, machine = read_config(flags.config)
        default = TrainFlags(recipe=recipe, study=study, machine=machine)
        flags = parse(TrainFlags, words, default)
    if variant_values:
        flags = flags.replace(study=flags.study.replace(variants=combinations(variant_values)))
    return _with_model_defaults(flags, words, default.recipe)


def select_variants(flags: TrainFlags, requested: Sequence[Study]) -> TrainFlags:
    """Return the flags with those variants alone that ``--variants`` names.

    Parameters
    ----------
    flags : TrainFlags
    requested : sequence of Study
        By earlier commands. A study that is resumed without a config file has their variants, all
        of which stay requested.

    Raises
    ------
    InputError
        If there is no variant of a name.
    """
    is_stored = flags.resume is not None and flags.config is None
    studies = requested if is_stored else [flags.study]
    variants = {name: changes for study in studies for name, changes in study.variants}
    for name in flags.variants:
        if name not in variants:
            listed = ", ".join(variants) or "none"
            hint = did_you_mean(name, variants)
            raise InputError(
                f"--variants: no variant {short_repr(name)}{hint}; the study has {listed}"
            )
    if is_stored or not flags.variants:
        return flags
    chosen = tuple(pair for pair in flags.study.variants if pair[0] in flags.variants)
    return flags.replace(study=flags.study.replace(variants=chosen))


def _with_model_defaults(flags: TrainFlags, words: Sequence[str], recipe: Recipe) -> TrainFlags:
    """Return the flags with image size and normalisation of timm's models where none are given.

    Parameters
    ----------
    flags : TrainFlags
        Parsed from ``words`` over ``recipe``.
    words : sequence of str
    recipe : Recipe
        Of a config file, or stored; the fields that are set in it count as given.
    """
    recipes = recipes_by_variant(flags.recipe, flags.study.variants).values()
    models = list(dict.fromkeys(variant.model for variant in recipes))
    if not any(model.startswith("timm:") for model in models):
        return flags  # without torch, for quick commands
    from ..models.timm_models import model_defaults

    in_words = {word.split("=")[0].lstrip("-").replace("-", "_") for word in words}
    changes = model_defaults(models, recipe.model_fields_set | in_words)
    return flags.replace(recipe=flags.recipe.replace(**changes))


def note_unused(record: Record, needs: Mapping[str, tuple[bool, str]]) -> None:
    """Print a note for each flag that is given but has no effect.

    Parameters
    ----------
    record : Record
        Its values are compared with the defaults.
    needs : mapping
        Field -> whether it is used, and the flag that it needs.
    """
    for field, (is_used, needed) in needs.items():
        if not is_used and getattr(record, field) != type(record).model_fields[field].default:
            warn(f"note: --{field.replace('_', '-')} has no effect without {needed}")


def _split_variants(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Remove all values but the first from ``--model A B``; return all values of such flags.

    A recipe holds one value of each; several values make variants of it.
    """
    variant_values = {}
    for field in MULTIPLE:
        start = words.index(f"--{field}") + 1 if f"--{field}" in words else len(words)
        stop = next((i for i in range(start, len(words)) if words[i].startswith("-")), len(words))
        if stop - start > 1:
            variant_values[field] = words[start:stop]
            words = words[: start + 1] + words[stop:]
    return words, variant_values


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML loader of plain values; a key given twice or a value within itself is refused."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.deep_construct = True  # finds aliases of what contains them

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping whose keys are distinct."""
        node = super().compose_mapping_node(anchor)
        keys = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in keys:
                line = key.start_mark.line + 1
                raise InputError(f"line {line}: {short_repr(key.value)} is given twice")
            keys.add((key.tag, str(key.value)))
        return node


def read_config(path: Path) -> tuple[Recipe, Study, Machine]:
    """Read a config file.

    Raises
    ------
    InputError
        If the file is missing, is not plain YAML, or has an unknown key, a key twice or a wrong
        type.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), UniqueKeyLoader)
    except OSError as error:
        raise InputError(f"--config {path}: {error.strerror or error}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # impossible dates, deep nests
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a plain YAML file: {reason}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected lines such as 'epochs: 90', found {short_repr(values)}")
    for key in ("dataset", "cache_dir", "checkpoint_dir", "results_dir"):
        if isinstance(value := values.get(key), str) and "\0" not in value:
            values[key] = os.path.expanduser(value)  # noqa: PTH111  as the shell does for a flag
    return records_from_mapping(values, str(path))


def to_yaml(*records: Record) -> str:
    """Format records as a config file (the inverse of :func:`read_config`)."""
    return yaml.safe_dump(dict(flat_mapping(*records)), sort_keys=False)


def to_words(*records: Record) -> list[str]:
    """Format records as a command line (the inverse of :func:`parse`)."""
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
    """Insert the value of ``--resume`` where it has none."""
    completed: list[str] = []
    for i, word in enumerate(words):
        completed.append(word)
        if word == "--resume" and (i + 1 == len(words) or words[i + 1].startswith("-")):
            completed.append(NEWEST)
    return completed


def _one_line(message: str) -> str:
    """Flatten the parser's framed error message to its text and its first suggestion."""
    lines = [line.strip("│ \n") for line in message.splitlines() if not line.startswith(("╭", "╰"))]
    parts = re.split(r"\s*─{5,}\s*", " ".join(lines))
    suggestions = (part for part in parts[1:] if part.startswith("Perhaps you meant"))
    hint = re.search(r"--[a-z-]+", next(suggestions, ""))
    text = parts[0].strip().rstrip(".")
    if flag := re.match(r"Error parsing (--[a-z-]+): ", text):
        kind = re.search(rf"{flag[1]} (\[?)(?:{{None}}\|)?(FLOAT|INT)", " ".join(parts[1:]))
        words = [word for word in re.findall(r"'([^']*)'", text) if not _is_number(word, kind)]
        if kind and words:
            return _not_a_number(flag[1], words[0], kind[2], bool(kind[1]))
    return text + (f"; did you mean {hint[0]}?" if hint else "; see --help")


def _is_number(word: str, kind: re.Match[str] | None) -> bool:
    with contextlib.suppress(ValueError):
        float(word)
        return kind is None or kind[2] == "FLOAT" or word.lstrip("+-").isdecimal()
    return False


def _not_a_number(flag: str, word: str, kind: str, is_list: bool) -> str:
    """Say what a flag for numbers takes, in place of the word that it got."""
    needed = "a whole number" if kind == "INT" else "a number"
    if is_list and "," in word:
        return f"{flag}: {short_repr(word)} is not {needed}; separate numbers with spaces"
    if kind == "FLOAT" and (share := re.fullmatch(r"(\d+(?:\.\d+)?)%", word)):
        return f"{flag}: {short_repr(word)} is not {needed}; write {float(share[1]) / 100:g}"
    return f"{flag}: {short_repr(word)} is not {needed}"


def records_from_mapping(values: Mapping[str, Any], where: str) -> tuple[Recipe, Study, Machine]:
    """Sort the flat keys of a config file into the records that have these fields.

    Parameters
    ----------
    values : mapping
    where : str
        Path of the file, for messages.

    Raises
    ------
    InputError
        If a key is unknown (the nearest one is offered) or a value has the wrong type.
    """
    record_types = (Recipe, Study, Machine)
    by_field = {name: record for record in record_types for name in record.model_fields}
    for key in values:
        if key not in by_field:
            hint = did_you_mean(str(key), by_field)
            raise InputError(f"{where}: unknown key {short_repr(key)}{hint}")

    def fields(record: type[Record]) -> Mapping[str, Any]:
        return {key: value for key, value in values.items() if by_field[key] is record}

    try:
        return Recipe(**fields(Recipe)), Study(**fields(Study)), Machine(**fields(Machine))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def flat_mapping(*records: Record) -> Mapping[str, Any]:
    """Return the fields of several records as one mapping of plain values."""
    return {
        key: value for record in records for key, value in record.model_dump(mode="json").items()
    }
