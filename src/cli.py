"""The commands. Heavy modules are imported only after the arguments are parsed."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

from .config import InputError, Machine, Recipe
from .disk import check_room
from .exchanges import from_writer, leader_first
from .exits import DONE, INCOMPLETE, INPUT, exit_with
from .explorer.flags import ExplorerFlags
from .files import sweep
from .flags import EvalFlags, ForecastFlags, TrainFlags, parse, parse_train, to_yaml
from .locks import owned
from .planning import Plan, plan_study, settle_study
from .prediction.flags import PredictFlags
from .processes import joined, refuse_several
from .screen import say, warn
from .status import status_table
from .studies import begun_runs, epochs_table, newest_study, pinned, read_study, write_study

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # before torch: idle threads soon sleep


def train(words: Sequence[str] | None = None) -> None:
    """Train every run of a study; ``words`` default to the command line."""
    exit_with(lambda: _train_together(words), "python train.py --resume goes on from here")


def evaluate(words: Sequence[str] | None = None) -> None:
    """Score every finished run of a study, fit the law, draw it."""
    exit_with(lambda: _evaluate(words), "python eval.py begins again")


def forecast(words: Sequence[str] | None = None) -> None:
    """Answer questions from measured errors alone."""
    exit_with(lambda: _forecast(words), "nothing was lost")


def predict(words: Sequence[str] | None = None) -> None:
    """Name what is on pictures."""
    exit_with(lambda: _predict(words), "the same command begins again")


def explore(words: Sequence[str] | None = None) -> None:
    """Serve a page on which a study answers."""
    exit_with(lambda: _explore(words), "the page is closed, uploads are deleted")


def _train_together(words: Sequence[str] | None) -> int:
    with joined():
        return _train(words)


def _train(words: Sequence[str] | None) -> int:
    flags = parse_train(words)
    if flags.status:
        base = flags.machine.checkpoint_dir
        print(status_table(base / (flags.experiment_id or newest_study(base))))
        return DONE
    flags, name = from_writer(lambda: settle_study(flags, words))
    machine = flags.machine
    if flags.print_config:
        print(to_yaml(flags.recipe, flags.study, machine), end="")
        return DONE
    with leader_first():
        plan = plan_study(flags, name)
    say(plan.describe())
    if flags.list or flags.plan:
        say(plan.table())
        if flags.plan:
            from .launchers import SLOTS

            slots = SLOTS[machine.launcher](machine) if machine.launcher in SLOTS else 1
            say(plan.costs(machine, slots))
        return DONE
    return _launch(plan, flags)


def _launch(plan: Plan, flags: TrainFlags) -> int:
    """Prepare the data and let the launcher make the runs."""
    from .data.prepare import open_data
    from .data.sources import describe_place
    from .devices import pick_device
    from .launchers import CHECKS, LAUNCHERS

    machine = flags.machine
    if machine.launcher != "local":
        refuse_several(f"--launcher {machine.launcher}")
    if check := CHECKS.get(machine.launcher):
        check(machine)
    with leader_first():
        check_room(plan.needs(machine))
        data = open_data(plan.data_recipe, machine)
    for note in data.dataset.notes[len(plan.dataset.notes) :]:
        say(f"note: {note}")
    if machine.launcher == "local":
        say(describe_place(data, pick_device(machine.device), machine.residency))
    for here, there in (("train", "validation"), ("train", "test"), ("validation", "test")):
        if shared := data.duplicates(here, there):
            say(f"warning: {shared} images of {there} are also in {here}, byte for byte")

    def write() -> None:
        with owned(plan.study_dir, wait=True):
            write_study(plan.study_dir, plan.recipe, flags.study, machine, data.dataset)

    from_writer(write)
    failures = LAUNCHERS[machine.launcher](plan.runs, machine, data, plan.study_dir)
    say(f"{len(plan.runs) - len(failures)} of {len(plan.runs)} runs complete in {plan.study_dir}")
    for path, reason in failures.items():
        warn(f"  {path}: {reason}")
    say(f"next: {_eval_command(machine)} --experiment-id {plan.name}")
    return INCOMPLETE if failures else DONE


def _eval_command(machine: Machine) -> str:
    """Spell the evaluation that looks where the training wrote; the rest it reads there."""
    default = Machine.model_fields["checkpoint_dir"].default
    elsewhere = machine.checkpoint_dir != default
    folder = f" --checkpoint-dir {shlex.quote(str(machine.checkpoint_dir))}" if elsewhere else ""
    return f"python eval.py{folder}"


def _evaluate(words: Sequence[str] | None) -> int:
    flags = parse(EvalFlags, words, EvalFlags())
    refuse_several("eval.py")
    name = flags.experiment_id or newest_study(flags.checkpoint_dir)
    study_dir = flags.checkpoint_dir / name
    there = read_study(study_dir)
    changes = {} if flags.cache_dir is None else {"cache_dir": flags.cache_dir}
    recipe, machine = Recipe(**there["recipe"]), Machine(**there["machine"] | changes)
    results_dir = (flags.results_dir or machine.results_dir) / name
    planned = begun_runs(study_dir)
    missing = {str(run.path): d.standing for run, d in planned.items() if not d.usable}
    finished = [directory for directory in planned.values() if directory.usable]
    from .appendix import add_page, extend
    from .data.prepare import open_data
    from .data.sources import Sources
    from .devices import pick_device, prepare_process
    from .environment import describe_environment
    from .evaluation.evaluator import evaluate_runs
    from .evaluation.results import build_results
    from .outcomes import write_outcomes
    from .prediction.thresholds import check_apart

    device = pick_device(flags.device)
    prepare_process(device)
    sources = Sources(open_data(pinned(study_dir, recipe), machine), device)
    if flags.conformal:
        check_apart(sources.data)
    predictions = results_dir / "predictions"
    with owned(results_dir):
        sweep(results_dir, *predictions.glob("*"))
        rows, failures = evaluate_runs(finished, sources, flags.batch_size, predictions)
        missing |= failures
        if not rows:
            raise InputError(f"no usable run in {study_dir}: {'; '.join(failures.values())}")
        labels = sources.data.dataset.splits["test"].labels
        results = build_results(name, there, describe_environment(device), rows, missing, labels)
        usable = [d for run, d in planned.items() if d.usable and str(run.path) not in failures]
        notes = extend(results, flags, usable, sources.data, results_dir)
        found = write_outcomes(results, epochs_table(usable), results_dir, notes)
        add_page(results, found, flags, planned, sources.data, results_dir)
    print(f"checkpoints  {study_dir}")
    for path, reason in missing.items():
        print(f"  {path}: {reason}", file=sys.stderr)
    return INCOMPLETE if missing else DONE


def _forecast(words: Sequence[str] | None) -> int:
    flags = parse(ForecastFlags, words, ForecastFlags())
    from .forecasts import answer

    return answer(flags)


def _predict(words: Sequence[str] | None) -> int:
    flags = parse(PredictFlags, words, PredictFlags())
    from .prediction.answers import answer

    failed, total = answer(flags)
    if failed:
        warn(f"{failed} of {total} pictures failed")
    return DONE if not failed else INPUT if failed == total else INCOMPLETE


def _explore(words: Sequence[str] | None) -> int:
    flags = parse(ExplorerFlags, words, ExplorerFlags())
    from .explorer.server import serve

    return serve(flags)
