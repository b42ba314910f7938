"""``dataworth eval``: score every finished run of a study, fit the law, draw it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..config import Machine, Recipe
from ..distributed.process_group import require_single_process
from ..errors import InputError
from ..storage.files import sweep
from ..storage.locks import owned
from ..storage.study_directory import (
    begun_runs,
    epochs_table,
    newest_study,
    pinned,
    read_study,
)
from .exit_codes import DONE, INCOMPLETE, exit_with
from .flags import EvalFlags
from .parsing import parse

if TYPE_CHECKING:
    pass


def evaluate(words: Sequence[str] | None = None) -> None:
    """Score every finished run of a study, fit the law, draw it."""
    exit_with(lambda: _evaluate(words), "python eval.py begins again")


def _evaluate(words: Sequence[str] | None) -> int:
    flags = parse(EvalFlags, words, EvalFlags())
    require_single_process("eval.py")
    name = flags.experiment_id or newest_study(flags.checkpoint_dir)
    study_dir = flags.checkpoint_dir / name
    there = read_study(study_dir)
    changes = {} if flags.cache_dir is None else {"cache_dir": flags.cache_dir}
    recipe, machine = Recipe(**there["recipe"]), Machine(**there["machine"] | changes)
    results_dir = (flags.results_dir or machine.results_dir) / name
    planned = begun_runs(study_dir)
    missing = {str(run.path): d.standing for run, d in planned.items() if not d.usable}
    finished = [directory for directory in planned.values() if directory.usable]
    from ..conformal.thresholds import check_apart
    from ..data.pixels import Sources
    from ..data.prepare import open_data
    from ..devices import pick_device, prepare_process
    from ..evaluation.evaluator import evaluate_runs
    from ..evaluation.results import build_results
    from ..storage.environment import describe_environment
    from .eval_output import add_page, extend, write_outcomes

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
