"""The commands. Heavy modules are imported only after the arguments are parsed."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from .config import InputError, Machine, Recipe, Study
from .files import write_json, write_whole
from .flags import NEWEST, EvalFlags, TrainFlags, parse, parse_train, to_yaml
from .runs import RunDirectory
from .studies import (
    check_study,
    epochs_table,
    newest_study,
    read_study,
    run_directories,
    write_study,
)

if TYPE_CHECKING:
    import pandas as pd

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
        print("interrupted; the same command goes on from here", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = INTERRUPTED
    except Exception:
        traceback.print_exc()
        code = BUG
    sys.exit(code)


def _train(words: Sequence[str] | None) -> int:
    flags, name = _settle_study(parse_train(words), words)
    recipe, study, machine = flags.recipe, flags.study, flags.machine
    if flags.print_config:
        print(to_yaml(recipe, study, machine), end="")
        return DONE
    from .data.prepare import load_dataset, open_data
    from .data.subsets import composition
    from .devices import check_precision, pick_device
    from .launchers import LAUNCHERS
    from .models import check_image_size

    check_precision(pick_device(machine.device), machine.precision)
    check_image_size(recipe.model, recipe.image_size)
    dataset = load_dataset(recipe)
    rows = composition(dataset.splits["train"].labels, study.subset_sizes, study.seeds[0])
    splits = ", ".join(f"{len(split):,} {role}" for role, split in dataset.splits.items())
    print(f"{dataset.name}: {splits} images of {len(dataset.classes)} classes")
    for note in dataset.notes:
        print(f"note: {note}")
    if flags.list:
        print(_list(rows, recipe, study))
        return DONE
    data = open_data(recipe, machine)
    for role in ("validation", "test"):
        if shared := data.duplicates("train", role):
            print(f"warning: {shared} images of train are also in {role}, byte for byte")
    study_dir = machine.checkpoint_dir / name
    write_study(study_dir, recipe, study, machine)
    runs = [run for row in rows for run in study.runs(recipe) if run.subset_size == row["size"]]
    failures = LAUNCHERS["local"](runs, machine, study_dir)
    print(f"{len(runs) - len(failures)} of {len(runs)} runs complete in {study_dir}")
    for path, reason in failures.items():
        print(f"  {path}: {reason}", file=sys.stderr)
    print(f"next: python eval.py --experiment-id {name}")
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
        if flags.config is None:
            stored = TrainFlags(
                recipe=Recipe(**there["recipe"]),
                study=Study(**there["study"]),
                machine=Machine(**there["machine"]),
            )
            flags = parse(TrainFlags, words, stored)
    check_study(base / name, flags.recipe)
    return flags, name


def _list(rows: Sequence[dict[str, Any]], recipe: Recipe, study: Study) -> str:
    import pandas as pd

    steps = [-(-row["images"] // recipe.batch_size) * recipe.epochs for row in rows]
    table = pd.DataFrame(rows).assign(seeds=len(study.seeds), steps=steps)
    total = sum(steps) * len(study.seeds)
    return f"{table.to_string(index=False)}\n{total:,} steps in all (batch {recipe.batch_size})"


def _evaluate(words: Sequence[str] | None) -> int:
    flags = parse(EvalFlags, words, EvalFlags())
    name = flags.experiment_id or newest_study(flags.checkpoint_dir)
    study_dir, results_dir = flags.checkpoint_dir / name, flags.results_dir / name
    there = read_study(study_dir)
    recipe, study = Recipe(**there["recipe"]), Study(**there["study"])
    machine = Machine(**there["machine"]).replace(device=flags.device)
    if flags.cache_dir is not None:
        machine = machine.replace(cache_dir=flags.cache_dir)
    planned = {run.path: RunDirectory(study_dir / run.path) for run in study.runs(recipe)}
    planned |= {path.path.relative_to(study_dir): path for path in run_directories(study_dir)}
    missing = {str(path): d.status or "not finished" for path, d in planned.items() if not d.usable}
    finished = [directory for directory in planned.values() if directory.usable]
    if not finished:
        raise InputError(f"no finished run in {study_dir}; python train.py --resume {name}")
    from tqdm import tqdm

    from .data.prepare import load_dataset
    from .devices import pick_device
    from .environment import describe_environment
    from .evaluation.evaluator import evaluate_run
    from .evaluation.results import build_results

    environment = describe_environment(pick_device(machine.device))
    predictions = results_dir / "predictions"
    rows = [
        evaluate_run(directory, machine, flags.batch_size, predictions)
        for directory in tqdm(finished, desc="evaluating", unit="run", disable=None)
    ]
    classes = load_dataset(recipe).classes
    results = build_results(name, there["recipe"], classes, environment, rows, missing)
    epochs = epochs_table(finished)
    _report(results, epochs, results_dir)
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
    if analyses:
        save_figures(analyses, sizes, epochs, folder / "figures")
    write_json(folder / "metrics.json", results)
    print(f"\n{format_table(results)}\n\nTest errors: mean over seeds, 95 % interval.")
    for run in results["runs"]:
        if run["status"] == "untrained":
            path = f"{run['subset_size']}/seed-{run['seed']}"
            print(f"untrained: {path} is not better than chance; it is in no mean and no fit")
    print(f"\n{fill(describe(analyses, sizes), 96)}\n")
    print(f"numbers      {folder / 'metrics.json'}")
    print(f"figures      {folder / 'figures'}")
    print("notebook     results.ipynb")
