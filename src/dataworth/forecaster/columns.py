"""Which columns of a table hold sizes, errors and test images, by the words of their names. Pure.

A column is never guessed: where the words leave a choice, the error names the flag that settles it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import InputError, did_you_mean, short_repr
from .rows import Table

Meaning = Literal["error", "accuracy", "loss"]

COUNTS = {"n", "num", "number", "nr", "count", "size", "sizes"}
EXAMPLES = {"samples", "examples", "images", "imgs", "pictures", "instances", "observations",
            "points", "rows", "items"}  # fmt: skip
TRAINING = {"train", "training", "trainset", "ntrain", "numtrain", "trainsize"}
SIZE_WORDS = {"set", "dataset", "data", "subset", "sample", "labelled", "labeled", "total",
              "samplesize", "datasize", "nsamples"}  # fmt: skip
TEST = {"test", "testset", "ntest", "numtest", "testsize"}
IGNORED = {"config", "summary", "value", "params", "param", "hparams", "args", "of", "the",
           "percent"}  # fmt: skip
ERROR = {"error", "errors", "err", "misclassification", "wrong"}
SCORE = {"score", "scores"}  # accuracy, if it rises: some scores are losses
AUROC = {"auroc", "auc"}
ACCURACY = {"accuracy", "accuracies", "acc", "f1"} | AUROC | SCORE
LOSS = {"loss", "rmse", "mse", "mae", "nll", "entropy", "crossentropy", "ce", "logloss",
        "perplexity"}  # fmt: skip
NO_METRIC = {"std", "stdev", "stddev", "sd", "sem", "se", "stderr", "standard", "bar", "bars",
             "var", "variance", "ci", "min", "max", "lower", "upper", "low", "high", "rank", "time",
             "times", "delta", "diff", "gain", "epoch", "step", "seconds", *TRAINING}  # fmt: skip
SEED = {"seed", "run", "fold", "split", "repeat", "rep", "trial", "replicate"}
MEAN = {"mean", "avg", "average"}
PROGRESS = {"epoch", "epochs", "step", "steps", "iteration", "iterations"}  # of one training
# Words of columns whose values are different curves, and those of columns that say when and where.
GROUPS = {"split", "metric", "model", "variant", "dataset", "phase", "architecture", "arch",
          "network", "backbone", "classifier", "method", "optimizer", "optimiser"}  # fmt: skip
NO_GROUPS = {"date", "day", "month", "time", "timestamp", "created", "started", "runtime",
             "duration", "host", "hostname", "machine", "node", "user", "device", "gpu", "path",
             "file", "filename", "folder", "dir", "directory", "url", "id"}  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """The columns that are used."""

    size: str
    errors: tuple[str, ...]  # one, or one for each seed
    num_test: str | None
    meaning: Meaning | None  # of the errors, by their name
    is_percent: bool  # by their name
    is_score: bool  # the name says no more than score
    is_auroc: bool
    metric: str  # such as "top-5 error"


def words(name: str) -> tuple[str, ...]:
    """Split a name into words; top5 is one of them, in every way that it is written."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name[:200]).lower()
    text = re.sub(r"%|\bpercent(age)?\b|\bpct\b", " percent ", text)
    text = re.sub(r"(?<![\w-])1\s*[-\u2212\u2013]\s*(?=[a-z])", " complement ", text)
    text = re.sub(r"(?<![a-z])top[\s_-]*(\d+)|@\s*(\d+)", r" top\1\2 ", text)
    text = re.sub(r"(?<![a-z])(acc|err|error|accuracy)(\d)(?!\d)", r"\1 top\2 ", text)
    return tuple(re.findall(r"[^\W_]+", text))


def is_size(name: str) -> bool:
    """Whether a name is that of a number of training examples."""
    found = set(words(name)) - IGNORED
    heads = found & (EXAMPLES | {"n", "size", "sizes", "ntrain", "numtrain", "trainsize",
                                 "samplesize", "datasize", "nsamples"})  # fmt: skip
    counted = found & COUNTS and found & TRAINING
    return bool(heads or counted) and found <= COUNTS | EXAMPLES | TRAINING | SIZE_WORDS


def is_num_test(name: str) -> bool:
    """Whether a name is that of a number of test examples."""
    found = set(words(name)) - IGNORED
    heads = found & (COUNTS | EXAMPLES | {"ntest", "numtest", "testsize"})
    return bool(found & TEST and heads) and found <= COUNTS | EXAMPLES | TEST | {"set"}


def is_count(name: str) -> bool:
    """Whether a name is that of a number of answers: num_errors, error count."""
    found = words(name)
    before = len(found) > 1 and found[0] in COUNTS and found[1] in ERROR | ACCURACY | {"of"}
    return before or found[-1:] in (("count",), ("counts",))


def meaning_of(name: str) -> Meaning | None:
    """Return what a name says about the values of its column."""
    found = set(words(name))
    if found & LOSS:
        return "loss"
    if found & ERROR or ("complement" in found and found & ACCURACY):
        return "error"
    return "accuracy" if found & ACCURACY else None


def is_run(name: str) -> bool:
    """Whether a name is that of a column that tells the runs of a size apart: seed, run name."""
    found = set(words(name)) - IGNORED - COUNTS - {"id", "random"}
    return bool(found) and found <= SEED | {"name"}


def is_group(name: str) -> bool:
    """Whether a name says that different values of its column are different curves."""
    found = set(words(name)) - IGNORED - {"name"}
    return bool(found) and found <= GROUPS


def is_no_group(name: str, values: Sequence[str]) -> bool:
    """Whether runs of one curve may differ in a column, which says when, where, or which seed."""
    found = set(words(name))
    has_letters = any(re.search(r"[^\W\d_]", value) for value in values)  # a date has none
    is_numbered = all(len(value) == 1 or re.search(r"\d", value) for value in values)
    is_seed = bool(found & SEED) and is_numbered
    return not has_letters or (not found & GROUPS and (is_seed or bool(found & NO_GROUPS)))


def shown(name: str) -> str:
    """Return a name for a message: as it is, or quoted if it has unusual characters."""
    return name if re.fullmatch(r"[\w .@%()/-]{1,40}", name) else short_repr(name)


def choose_columns(
    table: Table, size: str | None, errors: Sequence[str], unbounded: bool
) -> Columns:
    """Choose the columns by flag, or else by name.

    Parameters
    ----------
    table : Table
    size : str or None
        ``--x-column``.
    errors : sequence of str
        ``--y-column``.
    unbounded : bool
        Whether values are losses, not shares.

    Raises
    ------
    InputError
        If there is no such column, or several.
    """
    x = _named(table, size, "--x-column") if size is not None else _size_column(table)
    ys = tuple(_named(table, name, "--y-column") for name in errors)
    ys = ys or _error_columns(table, x, unbounded)
    tests = [name for name in table.header if is_num_test(name) and name not in (x, *ys)]
    found = {word for name in ys for word in words(name)}
    is_binomial = not unbounded and not found & {"f1", *AUROC}
    num_test = "num_test" if "num_test" in tests else tests[0] if len(tests) == 1 else None
    num_test = num_test if is_binomial else None
    for name in (x, *ys, *([num_test] if num_test else [])):
        if table.header.count(name) > 1:
            raise InputError(f"several columns {shown(name)}; keep one")
    meanings = {meaning_of(name) for name in ys}
    if len(meanings) > 1:
        raise InputError(f"--y-column: {_list(ys)} are not of one kind")
    ranks = sorted(word for word in found if re.fullmatch(r"top\d+", word))
    metric = f"top-{ranks[0][3:]} error" if len(ranks) == 1 else "error"
    if not is_binomial:
        metric = shown(ys[0]) if unbounded else f"1 - {shown(ys[0])}"
    return Columns(
        size=x,
        errors=ys,
        num_test=num_test,
        meaning=meanings.pop(),
        is_percent="percent" in found,
        is_score=bool(found & SCORE) and not found & (ERROR | (ACCURACY - SCORE)),
        is_auroc=bool(found & AUROC),
        metric=metric,
    )


def _named(table: Table, name: str, flag: str) -> str:
    """Find a column by its name, in any case, or by its number from 1."""
    if name in table.header:
        return name
    alike = [n for n in table.header if n.strip().lower() == name.strip().lower()]
    if len(alike) == 1:
        return alike[0]
    if name.isdigit() and 0 < int(name[:9]) <= len(table.header):
        return table.header[int(name) - 1]
    hint = did_you_mean(name, table.header[:100]) or f"; found {_list(table.header)}"
    raise InputError(f"{flag}: no column {shown(name)}{hint}")


def _size_column(table: Table) -> str:
    candidates = [name for name in table.header if is_size(name)]
    exact = [name for name in candidates if name.strip().lower() == "n"]
    candidates = exact or candidates
    if not candidates:
        found = f"found {_list(table.header)}; name it with --x-column" if table.header else "empty"
        raise InputError(f"no column of training set sizes: {found}")
    if len(set(candidates)) > 1:
        raise InputError(
            f"training set sizes are in {_list(candidates)}? say which with --x-column"
        )
    return candidates[0]


def _error_columns(table: Table, x: str, unbounded: bool) -> tuple[str, ...]:
    """Choose the column of errors, or those of its seeds."""
    names = [name for name in dict.fromkeys(table.header) if name != x and name]
    exact = [name for name in names if name.strip().lower() == "error"]
    if exact and not unbounded:
        return (exact[0],)
    candidates = [name for name in names if _is_metric(name)]
    losses = [name for name in candidates if meaning_of(name) == "loss"]
    others = [name for name in candidates if name not in losses]
    if losses and not others and not unbounded:
        raise InputError(
            f"{shown(losses[0])} is no share of wrong answers: forecast it in Python with "
            "LearningCurve.from_csv(path, chance=numpy.inf)"
        )
    candidates = losses if unbounded and losses else others
    stems: dict[tuple[str, ...], list[str]] = {}
    for name in candidates:
        stems.setdefault(_stem(name), []).append(name)
    if not stems:
        seeds = [name for name in names if _is_seed(name)]
        if seeds:
            return tuple(seeds)
        found = f"found {_list(table.header)}; name it with --y-column"
        raise InputError(f"no column of errors or accuracies: {found}")
    for stem in list(stems):  # their mean beside the seeds; validation beside test
        without_mean = tuple(word for word in stem if word not in MEAN)
        of_test = tuple("test" if word in ("val", "validation", "valid") else word for word in stem)
        if (without_mean != stem and without_mean in stems) or (
            of_test != stem and of_test in stems
        ):
            del stems[stem]
    if len(stems) > 1:
        first = [columns[0] for columns in stems.values()]
        raise InputError(f"errors are in {_list(first)}? say which with --y-column")
    (columns,) = stems.values()
    numbers = {word for name in columns for word in words(name) if word.isdigit()}
    if len(columns) > 1 and numbers <= {"1", "5"} and not any(_is_seed(name) for name in columns):
        raise InputError(
            f"are {_list(columns)} two seeds, or top-1 and top-5? say which with --y-column"
        )
    return tuple(columns)


def _is_metric(name: str) -> bool:
    found = set(words(name))
    has_rank = any(re.fullmatch(r"top\d+", word) for word in found)
    return (meaning_of(name) is not None or has_rank) and not found & NO_METRIC


def _is_seed(name: str) -> bool:
    """Whether a name says that its column belongs to a seed: seed 1, fold0, or a bare number."""
    found = words(name)
    return not set(found) & NO_METRIC and bool(
        any(re.fullmatch(rf"({'|'.join(SEED)})\d*", word) for word in found)
        or (found and all(word.isdigit() for word in found))
    )


def _stem(name: str) -> tuple[str, ...]:
    """Words of a name without those that number its seed."""
    numbered = re.compile(rf"({'|'.join(SEED)})?\d+|{'|'.join(SEED)}")
    return tuple(word for word in words(name) if not numbered.fullmatch(word))


def _list(names: Sequence[str]) -> str:
    text = ", ".join(shown(name) for name in names[:8] if name)
    return text + (f" and {len(names) - 8} more" if len(names) > 8 else "")
