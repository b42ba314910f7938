"""``dataworth train``: train one fresh model per subset size and seed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ..config import Machine
from ..console import say, warn
from ..distributed.collectives import local_rank_zero_first, on_rank_zero
from ..distributed.process_group import joined_process_group, require_single_process
from ..storage.disk_space import check_room
from ..storage.locks import owned
from ..storage.status import status_table
from ..storage.study_directory import (
    newest_study,
    write_study,
)
from .exit_codes import DONE, INCOMPLETE, exit_with
from .flags import TrainFlags
from .parsing import parse_train, to_yaml
from .planning import Plan, plan_study, settle_study


def train(words: Sequence[str] | None = None) -> None:
    """Train every run of a study; ``words`` default to the command line."""
    exit_with(lambda: _train_together(words), "python train.py --resume goes on from here")


def _train_together(words: Sequence[str] | None) -> int:
    with joined_process_group():
        return _train(words)


def _train(words: Sequence[str] | None) -> int:
    flags = parse_train(words)
    if flags.status:
        base = flags.machine.checkpoint_dir
        print(status_table(base / (flags.experiment_id or newest_study(base))))
        return DONE
    flags, name = on_rank_zero(lambda: settle_study(flags, words))
    machine = flags.machine
    if flags.print_config:
        print(to_yaml(flags.recipe, flags.study, machine), end="")
        return DONE
    with local_rank_zero_first():
        plan = plan_study(flags, name)
    say(plan.describe())
    if flags.list or flags.plan:
        say(plan.table())
        if flags.plan:
            from ..launching.registry import SLOTS

            slots = SLOTS[machine.launcher](machine) if machine.launcher in SLOTS else 1
            say(plan.costs(machine, slots))
        return DONE
    return _launch(plan, flags)


def _launch(plan: Plan, flags: TrainFlags) -> int:
    """Prepare the data and let the launcher make the runs."""
    from ..data.pixels import describe_place
    from ..data.prepare import open_data
    from ..distributed.process_group import own_device
    from ..launching.registry import CHECKS, LAUNCHERS

    machine = flags.machine
    if machine.launcher != "local":
        require_single_process(f"--launcher {machine.launcher}")
    if check := CHECKS.get(machine.launcher):
        check(machine)
    with local_rank_zero_first():
        check_room(plan.needs(machine))
        data = open_data(plan.data_recipe, machine)
    for note in data.dataset.notes[len(plan.dataset.notes) :]:
        say(f"note: {note}")
    if machine.launcher == "local":
        say(describe_place(data, own_device(machine.device), machine.residency))
    for here, there in (("train", "validation"), ("train", "test"), ("validation", "test")):
        if shared := data.duplicates(here, there):
            say(f"warning: {shared} images of {there} are also in {here}, byte for byte")

    def write() -> None:
        with owned(plan.study_dir, wait=True):
            write_study(plan.study_dir, plan.recipe, flags.study, machine, data.dataset.summary())

    on_rank_zero(write)
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
