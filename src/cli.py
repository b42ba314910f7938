"""The commands. Heavy modules are imported only after the arguments are parsed."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from .config import InputError, Machine, Recipe, Run, Study
from .files import write_json, write_whole
from .flags import NEWEST, EvalFlags, TrainFlags, parse, parse_train, to_yaml
from .runs import RunDirectory
from .studies import (
    check_study,
    epochs_table,
    newest_study,
    pinned,
    planned_runs,
    read_study,
    write_study,
)

if TYPE_CHECKING:
    import pandas as pd

    from .data.datasets import ImageDataset
    from .data.subsets import Indices

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch: idle threads soon sleep

DONE, BUG, INPUT, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130


def train(words: Sequence[str] | None = None) -> None:
    """Train every run of a study; ``words`` default to the command line."""
    _exit_with(lambda: _train(words))


def evaluate(words: Sequence[str] | None = None) -> None:
    """Score every finished run of a study, fit the law, draw it."""
    _exit_with(lambda: _evaluate(words))


def _exit_with(command: Callable[[], int]) -> None:
    """Run a command and exit as README.md promises: one line for the user's mistakes."""
    try:
        code = command()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        code = INPUT
    except KeyboardInterrupt:
        print("interrupted; python train.py --resume goes on from here", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = INTERRUPTED
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        code = INPUT
    except Exception:
        traceback.print_exc()
        code = BUG
    sys.exit(code)


def _train(words: Sequence[str] | None) -> int:
    flags, name = _settle_study(parse_train(words), words)
    recipe, machine = flags.recipe, flags.machine
    if flags.print_config:
        print(to_yaml(recipe, flags.study, machine), end="")
        return DONE
    from .data.loaders import num_bytes, resides
    from .data.prepare import load_dataset, open_data
    from .devices import check_precision, pick_device
    from .launchers import LAUNCHERS
    from .models import check_image_size

    study_dir, device = machine.checkpoint_dir / name, pick_device(machine.device)
    check_precision(device, machine.precision)
    check_image_size(recipe.model, recipe.image_size)
    dataset = load_dataset(pinned(study_dir, recipe))
    if recipe.select_by == "top-5-error" and len(dataset.classes) < 6:
        raise InputError("--select-by top-5-error: needs at least 6 classes; use loss")
    asked = flags.study.runs(recipe)
    before = planned_runs(study_dir) if (study_dir / "study.json").exists() else []
    runs = asked if flags.resume is None else [*before, *(r for r in asked if r not in before)]
    rows = _composition(dataset.splits["train"].labels, [*before, *runs])
    print(_describe(dataset))
    if flags.list:
        print(_list(rows, runs))
        return DONE
    data = open_data(pinned(study_dir, recipe), machine)
    where = f"resident on {device}" if resides(data, device, machine.residency) else "streamed"
    print(f"{num_bytes(data) / 1e9:.2f} GB of pixels in {machine.cache_dir}, {where}")
    for role in ("validation", "test"):
        if shared := data.duplicates("train", role):
            print(f"warning: {shared} images of train are also in {role}, byte for byte")
    write_study(study_dir, recipe, machine, runs, dataset)
    order = [row["size"] for row in rows]
    runs = sorted(runs, key=lambda run: (order.index(run.subset_size), run.seed))
    failures = LAUNCHERS["local"](runs, machine, data, study_dir)
    print(f"{len(runs) - len(failures)} of {len(runs)} runs complete in {study_dir}")
    for path, reason in failures.items():
        print(f"  {path}: {reason}", file=sys.stderr)
    print(f"next: {_command('eval.py', machine)} --experiment-id {name}")
    return INCOMPLETE if failures else DONE


def _settle_study(flags: TrainFlags, words: Sequence[str] | None) -> tuple[TrainFlags, str]:
    """Settle the study's name; the settings of a resumed study are its defaults.

    Raises
    ------
    InputError
        If there is nothing to resume, or the directory holds a study of another recipe.
    """
    base = flags.machine.checkpoint_dir
    name = flags.experiment_id or f"{datetime.now():%Y%m%d-%H%M%S}"
    if flags.resume is not None:
        name = newest_study(base) if flags.resume == NEWEST else flags.resume
        there = read_study(base / name)
        sizes, seeds = (
            tuple(dict.fromkeys(column)) for column in zip(*there["points"], strict=True)
        )
        if flags.config is None:
            stored = TrainFlags(
                recipe=Recipe(**there["recipe"]),
                study=Study(subset_sizes=sizes, seeds=seeds),
                machine=Machine(**{**there["machine"], "checkpoint_dir": base}),
            )
            flags = parse(TrainFlags, words, stored)
            if flags.study == stored.study:  # nothing asked beyond what was planned
                flags = flags.replace(study=Study(subset_sizes=sizes[:1], seeds=seeds[:1]))
    check_study(base / name, flags.recipe)
    return flags, name


def _composition(labels: Indices, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Describe each subset size for the first seed; check all of them for every seed."""
    from .data.subsets import composition

    sizes = tuple(dict.fromkeys(run.subset_size for run in runs))
    seeds = dict.fromkeys(run.seed for run in runs)
    tables = [composition(labels, sizes, seed) for seed in seeds]
    return tables[0]


def _describe(dataset: ImageDataset) -> str:
    splits = ", ".join(f"{len(split):,} {role}" for role, split in dataset.splits.items())
    lines = [f"{dataset.name}: {splits} images of {len(dataset.classes)} classes"]
    return "\n".join([*lines, *(f"note: {note}" for note in dataset.notes)])


def _command(script: str, machine: Machine) -> str:
    """Spell a command that looks where this one wrote."""
    words = ["python", script]
    for flag in ("checkpoint_dir", "results_dir"):
        if (value := getattr(machine, flag)) != Machine.model_fields[flag].default:
            words += [f"--{flag.replace('_', '-')}", shlex.quote(str(value))]
    return " ".join(words)


def _list(rows: Sequence[dict[str, Any]], runs: Sequence[Run]) -> str:
    import pandas as pd

    recipe = runs[0].recipe
    asked = [row for row in rows if any(run.subset_size == row["size"] for run in runs)]
    seeds = [sum(run.subset_size == row["size"] for run in runs) for row in asked]
    steps = [-(-row["images"] // recipe.batch_size) * recipe.epochs for row in asked]
    table = pd.DataFrame(asked).assign(seeds=seeds, steps=steps)
    total = sum(a * b for a, b in zip(seeds, steps, strict=True))
    text = table.to_string(index=False, formatters={"size": repr})
    return f"{text}\n{total:,} steps in all (batch {recipe.batch_size})"


def _evaluate(words: Sequence[str] | None) -> int:
    flags = parse(EvalFlags, words, EvalFlags())
    name = flags.experiment_id or newest_study(flags.checkpoint_dir)
    study_dir, results_dir = flags.checkpoint_dir / name, flags.results_dir / name
    there = read_study(study_dir)
    recipe, machine = Recipe(**there["recipe"]), Machine(**there["machine"])
    if flags.cache_dir is not None:
        machine = machine.replace(cache_dir=flags.cache_dir)
    planned = {run.path: RunDirectory(study_dir / run.path) for run in planned_runs(study_dir)}
    missing = {str(path): d.status or "not finished" for path, d in planned.items() if not d.usable}
    finished = [directory for directory in planned.values() if directory.usable]
    if not finished:
        raise InputError(f"no finished run in {study_dir}; python train.py --resume {name}")
    from tqdm import tqdm

    from .data.loaders import Sources
    from .data.prepare import open_data
    from .devices import pick_device, prepare_process
    from .environment import describe_environment
    from .evaluation.evaluator import evaluate_run
    from .evaluation.results import build_results

    device = pick_device(flags.device)
    prepare_process(device)
    sources = Sources(open_data(pinned(study_dir, recipe), machine), device)
    predictions = results_dir / "predictions"
    rows = [
        evaluate_run(directory, sources, flags.batch_size, predictions)
        for directory in tqdm(finished, desc="evaluating", unit="run", disable=None)
    ]
    results = build_results(name, there, describe_environment(device), rows, missing)
    _report(results, epochs_table(finished), results_dir)
    print(f"checkpoints  {study_dir}")
    for path, reason in missing.items():
        print(f"  {path}: {reason}", file=sys.stderr)
    return INCOMPLETE if missing else DONE


def _report(results: dict[str, Any], epochs: pd.DataFrame, folder: Path) -> None:
    """Write the results, draw them and print what they say."""
    from .evaluation.results import format_table, runs_table, sizes_table
    from .scaling.findings import analyse, describe, law_record
    from .scaling.plots import save_figures

    runs, sizes = runs_table(results), sizes_table(results)
    analyses = analyse(runs)
    write_json(folder / "scaling_law.json", law_record(analyses))
    for table, file in ((runs, "metrics.csv"), (epochs, "epochs.csv")):
        write_whole(folder / file, table.to_csv(index=False).encode())
    write_json(folder / "metrics.json", results)
    if analyses:
        save_figures(analyses, sizes, epochs, folder / "figures")
    print(f"\n{format_table(results)}\n\nTest errors: mean over seeds, 95 % interval.")
    for run in results["runs"]:
        if run["status"] == "untrained":
            path = f"{run['subset_size']}/seed-{run['seed']}"
            print(f"untrained: {path} is not better than chance; it is in no mean and no fit")
    print(f"\n{fill(describe(analyses, sizes), 96)}\n")
    print(f"numbers      {folder / 'metrics.json'}")
    print(f"figures      {folder / 'figures'}")
    print("notebook     results.ipynb")
