"""``dataworth eval``: score every finished run of a study, fit the scaling law, draw it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Machine, Run
from ..console import say, warn
from ..distributed.process_group import require_single_process
from ..errors import DamagedError, InputError
from ..storage.files import remove_temporary_files
from ..storage.identity import check_same
from ..storage.locks import lock_folder
from ..storage.predictions import remove_temporary_predictions
from ..storage.run_directory import RunDirectory
from ..storage.study_directory import StudyDirectory
from .exit_codes import DONE, INCOMPLETE, run_command
from .flags import EvalFlags
from .output_processes import Output, OutputProcesses, saves_time
from .parsing import note_unused, parse
from .planning import plan_run

if TYPE_CHECKING:
    from ..data.pixels import PixelStores
    from ..data.prepare import PreparedData
    from ..evaluation.records import StudyResults


def evaluate(words: Sequence[str] | None = None) -> None:
    """Score every finished run of a study, fit the scaling law, draw it."""
    run_command(lambda: _evaluate(words), "python eval.py begins again")


def _evaluate(words: Sequence[str] | None) -> int:
    flags = parse(EvalFlags, words, EvalFlags())
    require_single_process("eval.py")
    note_unused(
        flags,
        {
            "alpha": (flags.conformal, "--conformal"),
            "mistakes": (flags.report, "--report"),
            "target": (flags.has_prices, "a price, such as --price-image"),
        },
    )
    if flags.report and (stored := _results_alone(flags)):
        from .eval_output import write_report_of_results

        say(f"note: no {flags.checkpoint_dir / stored.name}: the report of {stored}, as it is")
        with lock_folder(stored):
            write_report_of_results(stored, flags)
        return DONE
    study = StudyDirectory.find(flags.checkpoint_dir, flags.experiment_id)
    directories = study.run_directories()
    _check_baseline(flags.baseline, directories)
    results_dir = study.results_dir(flags.results_dir)
    processes = OutputProcesses(saves_time())
    try:
        results = _write_results(flags, study, directories, results_dir, processes)
    finally:
        processes.stop()
    say(f"checkpoints  {study.path}")
    for path, reason in results.missing.items():
        warn(f"  {path}: {reason}")
    return INCOMPLETE if results.missing else DONE


def _results_alone(flags: EvalFlags) -> Path | None:
    """Return the folder of the results of a named study without checkpoints."""
    from ..evaluation.results import FILE

    name = flags.experiment_id
    if name is None or (flags.checkpoint_dir / name).exists():
        return None
    folder = (flags.results_dir or Machine().results_dir) / name
    return folder if (folder / FILE).exists() else None


def _write_results(
    flags: EvalFlags,
    study: StudyDirectory,
    directories: Mapping[Run, RunDirectory],
    results_dir: Path,
    processes: OutputProcesses,
) -> StudyResults:
    """Score the runs, fit the laws, write all files and print the findings."""
    from ..evaluation.results import FILE
    from .eval_scores import add_scores

    stores = _open_stores(flags, study)
    with lock_folder(results_dir):
        remove_temporary_files(results_dir)
        remove_temporary_predictions(results_dir)
        results = _score_runs(flags, study, directories, stores, results_dir)
        paths = {run.path for run in results.runs}
        evaluated = [directory for run, directory in directories.items() if run.path in paths]
        results, notes = add_scores(results, flags, evaluated, stores.data, results_dir)
        findings = processes.make(Output(results, evaluated, flags, notes, results_dir))
        say(findings.text)
        say(f"numbers      {results_dir / FILE}")
        if (results_dir / "figures").exists():
            say(f"figures      {results_dir / 'figures'}")
        say("notebook     results.ipynb")
        if flags.report:
            from .eval_output import write_report

            write_report(
                results, findings.variants, directories, stores.data, results_dir, flags.mistakes,
                findings.worth, findings.training,
            )  # fmt: skip
    return results


def _check_baseline(baseline: str | None, runs: Iterable[Run]) -> None:
    """Refuse a baseline that is no variant of the study, before anything is scored."""
    variants = list(dict.fromkeys(run.variant for run in runs))
    if baseline is None or baseline in variants:
        return
    if variants == [""]:
        raise InputError("--baseline: the study has no variants")
    raise InputError(f"--baseline is one of {', '.join(variants)}")


def _open_stores(flags: EvalFlags, study: StudyDirectory) -> PixelStores:
    """Load the data of the study to the device.

    Raises
    ------
    InputError
        If ``--conformal`` could calibrate on test images only.
    """
    from ..conformal.thresholds import check_calibration_images
    from ..data.pixels import PixelStores
    from ..data.prepare import open_data
    from ..devices import pick_device, prepare_process

    device = pick_device(flags.device)
    prepare_process(device)
    changes = {} if flags.cache_dir is None else {"cache_dir": flags.cache_dir}
    machine = study.machine(lambda stored: stored.replace(**changes), "cache_dir")
    data = open_data(study.pinned(study.record.recipe), machine)
    if flags.conformal:
        check_calibration_images(data)
    return PixelStores(data, device)


def _finished(
    study: StudyDirectory, directories: Mapping[Run, RunDirectory], data: PreparedData
) -> tuple[list[RunDirectory], dict[str, str]]:
    """Return the finished runs that are what the study says, and why the others are left out.

    Raises
    ------
    InputError
        If all runs were trained on other data.
    """
    missing = {str(run.path): d.state for run, d in directories.items() if not d.usable}
    configs: dict[Run, Mapping[str, Any]] = {}
    for run, directory in directories.items():
        try:
            configs |= {run: directory.config} if directory.usable else {}
        except InputError as error:
            missing[str(run.path)] = str(error)
        except FileNotFoundError as error:
            missing[str(run.path)] = f"{error.filename} is missing"
    if not any(config.get("data_sha256") == data.digest for config in configs.values()):
        for run, config in configs.items():
            check_same(directories[run].path, config, {"data_sha256": data.digest})
    finished = []
    for run in configs:
        directory = directories[run]
        try:
            directory.check_stored(plan_run(run, data, study.path).identity)
            directory.check_log(run.recipe.epochs)
        except (DamagedError, InputError) as error:
            missing[str(run.path)] = str(error)
        else:
            finished.append(directory)
    return finished, missing


def _score_runs(
    flags: EvalFlags,
    study: StudyDirectory,
    directories: Mapping[Run, RunDirectory],
    stores: PixelStores,
    results_dir: Path,
) -> StudyResults:
    """Score every finished run on every split.

    Raises
    ------
    InputError
        If the weights of none of them are usable.
    """
    from ..evaluation.evaluator import evaluate_runs
    from ..evaluation.records import ChanceErrors
    from ..evaluation.results import build_results
    from ..storage.environment import describe_environment, training_environments

    finished, missing = _finished(study, directories, stores.data)
    chance_error = ChanceErrors.measured(stores.data.dataset.splits["test"].labels)
    runs, failures = evaluate_runs(finished, stores, flags.batch_size, results_dir, flags.jobs)
    if not runs:
        raise InputError(
            f"no usable run in {study.path}: {'; '.join((missing | failures).values())}"
        )
    scored = {run.path for run in runs}
    return build_results(
        study,
        stores.data.summary(),
        describe_environment(stores.device),
        runs,
        missing | failures,
        chance_error,
        training_environments(d.path for run, d in directories.items() if run.path in scored),
    )
