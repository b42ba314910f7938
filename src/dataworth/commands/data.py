"""``dataworth data``: what a data set holds; near duplicates and what they do to the test error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from ..config import Machine, Recipe
from ..console import printable, say
from ..errors import InputError
from ..storage.files import write_whole
from ..storage.study_directory import StudyDirectory
from .exit_codes import DONE, run_command
from .flags import DataFlags
from .parsing import note_unused, parse

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from ..data.prepare import PreparedData
    from ..evaluation.leaks import LeakEffect
    from ..prediction.classifier import Classifier

IMAGE_SIZE = 57  # without a study: the cache then has images of 64 pixels, enough for hashes
FILE = "near_duplicates.csv"
PICTURE = "near_duplicates.png"
WIDTH = 96  # characters of a printed line


def data(words: Sequence[str] | None = None) -> None:
    """Describe a data set, and find its near duplicates."""
    run_command(lambda: _data(words), "the command begins again")


def _data(words: Sequence[str] | None) -> int:
    flags = parse(DataFlags, words, DataFlags())
    needed = (flags.duplicates, "--duplicates")
    note_unused(flags, {"threshold": needed, "pictures": needed, "output": needed})
    if flags.dataset is not None and flags.experiment_id is not None:
        raise InputError("name a data set or --experiment-id, not both")
    from ..data import overview
    from ..data.prepare import open_data

    study = None
    if flags.dataset is None:
        study = StudyDirectory.find(flags.checkpoint_dir, flags.experiment_id)
        changes = {} if flags.cache_dir is None else {"cache_dir": flags.cache_dir}
        machine = study.machine(lambda stored: stored.replace(**changes), "cache_dir")
        prepared = open_data(study.pinned(study.record.recipe), machine)
        output = study.results_dir(flags.results_dir)
    else:
        prepared = open_data(_recipe(flags), Machine(cache_dir=flags.cache_dir or Path("cache")))
        output = (flags.results_dir or Path("results")) / "eda"
    say(f"{printable(prepared.dataset.name)}: {len(prepared.dataset.classes)} classes")
    for note in prepared.dataset.notes:
        say(fill(printable(note), WIDTH))
    say(f"\n{overview.splits_table(prepared.dataset).to_string()}\n")
    if flags.duplicates:
        _report_duplicates(flags, prepared, study, flags.output or output)
    return DONE


def _recipe(flags: DataFlags) -> Recipe:
    return Recipe(
        dataset=str(flags.dataset),
        dataset_revision=flags.dataset_revision,
        image_column=flags.image_column,
        label_column=flags.label_column,
        on_bad_image=flags.on_bad_image,
        image_size=IMAGE_SIZE,
    )


def _report_duplicates(
    flags: DataFlags, data: PreparedData, study: StudyDirectory | None, folder: Path
) -> None:
    """Print and write the near duplicates, and what leaks do to the errors of the study."""
    from ..data import overview
    from ..evaluation.tables import csv_bytes

    classifier = None if study is None else _trained_classifier(study)
    features = None if classifier is None else classifier.features
    if classifier is not None:
        say(f"Candidates by hashes, and by the features of {printable(classifier.name)}.")
    pairs = overview.near_duplicates_table(data, flags.threshold, features)
    say("Near duplicates:")
    say(f"{overview.near_duplicates_summary(pairs, data).to_string()}\n")
    if study is not None:
        say(f"{_describe_leaks(pairs, data, study, flags.results_dir)}\n")
    write_whole(folder / FILE, csv_bytes(pairs))
    say(f"pairs    {folder / FILE}")
    if flags.pictures and len(pairs):
        from ..figures.dataset import plot_pairs
        from ..figures.files import save

        figure = plot_pairs(*overview.near_duplicate_images(pairs, data, flags.pictures))
        save(figure.axes[0], folder / PICTURE)
        say(f"picture  {folder / PICTURE}")


def _trained_classifier(study: StudyDirectory) -> Classifier | None:
    """Load the finished run with the most training images; None without one."""
    from ..prediction.flags import ModelFlags
    from ..prediction.selection import choose

    if not any(directory.usable for directory in study.run_directories().values()):
        return None
    return choose(ModelFlags(experiment_id=study.path.name, checkpoint_dir=study.path.parent))[0]


def _describe_leaks(
    pairs: pd.DataFrame, data: PreparedData, study: StudyDirectory, results_dir: Path | None
) -> str:
    """Describe the errors on test images with and without a near duplicate, per size."""
    leaks = pairs[(pairs["split_1"] == "train") & (pairs["split_2"] == "test")]
    if leaks.empty:
        return "No test image has a near duplicate in train: nothing leaks into the test error."
    folder = study.results_dir(results_dir)
    effects = _leak_effects(leaks, data, study, folder)
    if effects is None:
        return (
            f"What they do to the test error: run eval.py first; its answers are not in {folder}."
        )
    if not effects:
        return "No run has test images with a near duplicate in its training images, and others."
    lines = [
        "Top-1 test error of images with a near duplicate in the training images, and without one "
        "(95 % intervals):"
    ]
    lines += [
        f"  {name + ', ' if name else ''}{effect.num_images:,} images: "
        f"{_percent(effect.error_twins, effect.twins_interval)} of {effect.num_twins:,.0f}, "
        f"{_percent(effect.error_others, effect.others_interval)} of the others; the test error "
        f"changes by {_points(effect.effect, effect.effect_interval)} points"
        for name, effect in effects
    ]
    note = "Images with near duplicates may be easier or harder for other reasons, too."
    return "\n".join([*lines, note])


def _percent(error: float, interval: tuple[float, float]) -> str:
    from ..findings.sentences import percent, percentage_points

    low, high = map(percentage_points, interval)
    return f"{percent(error)} ({low} to {high})"


def _points(value: float, interval: tuple[float, float]) -> str:
    low, high = (100 * end for end in interval)
    return f"{100 * value:+.2f} ({low:+.2f} to {high:+.2f})"


def _leak_effects(
    leaks: pd.DataFrame, data: PreparedData, study: StudyDirectory, results_dir: Path
) -> list[tuple[str, LeakEffect]] | None:
    """Measure the effect of leaks on every size of every variant; None if it was not evaluated."""
    import numpy as np

    from ..evaluation.leaks import leak_effect
    from ..evaluation.results import FILE as METRICS
    from ..evaluation.results import read_results
    from ..storage.predictions import has_predictions

    if not (results_dir / METRICS).exists():
        return None
    results = read_results(results_dir / METRICS)
    subsets = {run.path: d.subset() for run, d in study.run_directories().items() if d.usable}
    runs = [run for run in results.complete_runs if run.path in subsets]
    if not all(has_predictions(results_dir, run.path) for run in runs):
        return None
    groups: dict[tuple[str, int], list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]] = {}
    for run in runs:
        in_subset = np.isin(leaks["index_1"].to_numpy(), subsets[run.path])
        twins = np.zeros(len(data.dataset.splits["test"]), dtype=bool)
        twins[leaks["index_2"].to_numpy()[in_subset]] = True
        answers = _wrong_answers(results_dir, run.path, data)
        groups.setdefault((run.variant, run.num_images), []).append((answers, twins))
    effects = {
        (name, size): leak_effect(size, *zip(*answered, strict=True))
        for (name, size), answered in groups.items()
    }
    return [(name, effect) for (name, _), effect in effects.items() if effect is not None]


def _wrong_answers(results_dir: Path, path: Path, data: PreparedData) -> NDArray[np.bool_]:
    """Return whether a run's answer to each test image was wrong.

    Raises
    ------
    InputError
        If the stored predictions are of other test images.
    """
    import numpy as np
    import torch

    from ..evaluation.metrics import label_ranks
    from ..storage.predictions import read_predictions

    logits, labels = read_predictions(results_dir, path, "test")
    if not np.array_equal(labels, data.dataset.splits["test"].labels):
        raise InputError(f"{results_dir}: predictions of other test images; run eval.py again")
    wrong: NDArray[np.bool_] = (
        label_ranks(torch.from_numpy(logits), torch.from_numpy(labels)) > 0
    ).numpy()
    return wrong
