"""Findings of an evaluated study: one record per variant, described in words. No torch."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from ..errors import InputError
from ..evaluation.records import SizeSummary, StudyResults
from ..evaluation.results import newest_results, read_results
from ..evaluation.tables import chance_table, runs_table, sizes_table
from ..storage.epoch_log import EpochRow
from ..storage.files import read_stored
from ..storage.study_directory import DataSummary, SharedGroups
from . import sentences
from .convergence import convergence_table
from .curves import Curve, curves, headline, metric_name, start_of
from .sentences import percent
from .tables import gains_table

EPOCHS_FILE = "epochs.csv"
FEW_GROUPS = 10  # test groups, below which a variance between them is hardly known
RUN_KEYS = ("subset_size", "num_train_images", "seed")  # columns, with variant, that name a run


def describe(curves: Mapping[str, Curve], sizes: pd.DataFrame) -> str:
    """Describe the findings in a paragraph.

    Parameters
    ----------
    curves : mapping of str to Curve
        By metric.
    sizes : DataFrame
        From ``evaluation.tables.sizes_table``.
    """
    if len(sizes) < 2:
        return "Fewer than two subset sizes have a complete run: there is no curve yet."
    curve = headline(curves)
    law = sentences.law(curve.analysis, metric_name(curve.metric))
    return f"{describe_drop(curve.metric, sizes)} {law}"


def describe_data(results: StudyResults) -> list[str]:
    """Describe images in two splits, groups, files in none, wrong labels; empty without any."""
    return [
        *_describe_duplicates(results),
        *_describe_groups(results),
        *_describe_unused_files(results.data),
        *_describe_label_noise(results),
    ]


def _describe_duplicates(results: StudyResults) -> list[str]:
    data = results.data
    pairs = [
        f"{pair.num_images:,} of {data.splits.get(pair.split, 0):,} {pair.split} images "
        f"{'is' if pair.num_images == 1 else 'are'} also in {pair.also_in}"
        for pair in data.duplicates
        if pair.num_images
    ]
    if not pairs:
        return []
    errors = [
        f"{f'{name}: ' if summary.variant else ''}{_error_without_duplicates(summary)}"
        for name, part in results.variants().items()
        for summary in list(part.subset_sizes.values())[-1:]
        if summary.without_duplicates
    ]
    without = f" Without these test images, {'; '.join(errors)}." if errors else ""
    return [f"{', '.join(pairs)} (byte for byte).{without}"]


def _error_without_duplicates(summary: SizeSummary) -> str:
    clean = summary.without_duplicates
    assert clean is not None, "the caller checks"
    errors = [
        f"top-{k} {percent(error)} instead of {percent(plain)}"
        for k in (1, 5)
        if (error := clean.error(k)) is not None and (plain := summary.error(k)) is not None
    ]
    return f"the test error at {summary.num_images:,} training images is {', '.join(errors)}"


def _describe_groups(results: StudyResults) -> list[str]:
    data, tests = results.data, [run.splits["test"] for run in results.runs if "test" in run.splits]
    if not tests or (num_groups := tests[-1].num_groups) is None:
        return []
    numbers = ", ".join(
        f"{_range_in_words([test.effective_images(k) for test in tests])} for the top-{k} error"
        for k in (1, 5)
        if tests[-1].error(k) is not None
    )
    if num_groups == tests[-1].num_images:
        text = "Each test image is a group of its own: they are counted as independent."
    else:
        text = (
            f"The {tests[-1].num_images:,} test images come in {num_groups:,} groups and are not "
            f"independent: intervals and laws count them as {numbers}."
        )
    if num_groups < FEW_GROUPS:
        text += f" With fewer than {FEW_GROUPS} test groups the intervals are rough."
    if num_train_groups := data.groups.get("train"):
        mean = data.splits.get("train", 0) / num_train_groups
        text += f" A group of train has {mean:.1f} images on average."
    return [text, *(_describe_leak(data, shared) for shared in data.shared_groups)]


def _describe_leak(data: DataSummary, shared: SharedGroups) -> str:
    total = data.splits.get(shared.split, 0)
    return (
        f"{shared.num_images:,} of {total:,} {shared.split} images are of groups that are also in "
        f"{shared.also_in} ({shared.num_groups:,}): on new groups the error is likely higher; "
        "train.py --on-leak drop leaves them out."
    )


def _range_in_words(values: Sequence[float]) -> str:
    """Format the range of some numbers, each to the nearest."""
    low, high = (f"{end:,.0f}" for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _describe_unused_files(data: DataSummary) -> list[str]:
    reasons = [f"{files.num_files:,} ({files.reason})" for files in data.unused_files]
    total = sum(files.num_files for files in data.unused_files)
    if not total:
        return []
    subject = "1 file is" if total == 1 else f"{total:,} files are"
    return [f"{subject} not used: {', '.join(reasons)}."]


def _describe_label_noise(results: StudyResults) -> list[str]:
    largest = {run.variant: run for run in results.runs if run.label_noise}  # smallest size first
    counts = [
        f"{f'{name}: ' if name else ''}{run.num_changed_labels:,} of {run.num_images:,}"
        for name, run in largest.items()
    ]
    if not counts:
        return []
    return [
        f"Label noise: wrong training labels at the largest size: {', '.join(counts)}. Validation "
        "and test have none. Training errors in metrics.json and metrics.csv are counted against "
        "the correct labels, those in epochs.csv and learning curves against the ones trained on."
    ]


def describe_chance(results: StudyResults) -> list[str]:
    """Describe the sizes of one variant that are at chance level; empty if there are none."""
    rows = chance_table(results).to_dict("records")
    if not rows:
        return []
    errors = [
        f"{percent(row['top_1_error'])} with {row['num_images']:,} training images "
        f"({row['num_runs']} {'run' if row['num_runs'] == 1 else 'runs'})"
        for row in rows
    ]
    return [
        f"At chance level, and in no mean and no fit: a top-1 error of {', '.join(errors)}; "
        f"guessing has {percent(results.chance['top_1_error'])}."
    ]


def describe_drop(metric: str, sizes: pd.DataFrame) -> str:
    """Describe the drop of an error from the smallest size to the largest."""
    first, last = sizes.iloc[0], sizes.iloc[-1]
    low, high = last[f"{metric}_interval"]
    gain = gains_table(sizes)[metric.replace("error", "gain_per_doubling")].iloc[-1]
    return (
        f"From {first['num_images']:,} to {last['num_images']:,} training images the test "
        f"{metric_name(metric)} goes from {percent(first[metric])} to {percent(last[metric])} "
        f"(95 % interval {percent(low)} to {percent(high)}); the last step gained "
        f"{100 * gain:.1f} percentage points per doubling."
    )


def describe_forecasts(curves: Mapping[str, Curve]) -> str:
    """Describe backtests and forecasts; empty without a law."""
    if not curves or (curve := headline(curves)).analysis.posterior is None:
        return ""
    return sentences.outlook(curve.analysis, metric_name(curve.metric))


def sample(runs: pd.DataFrame) -> str:
    """Describe how much was measured, from the rows of ``findings.curves.test_scores``."""
    groups = runs.groupby([*({"variant"} & {*runs}), "num_train_images"])["seed"].nunique()
    sizes = runs["num_train_images"].unique().tolist()
    return sentences.sample(sizes, groups.tolist(), runs["num_images"].max())


@dataclass(frozen=True)
class VariantFindings:
    """Findings of one variant of a study; most studies have a single one."""

    name: str  # of the variant; of the model in a study of one recipe
    variant: str  # subfolder of the results; empty in a study of one recipe
    results: StudyResults  # of this variant alone
    sizes: pd.DataFrame  # means over complete runs, a row per size
    curves: dict[str, Curve]  # by metric; empty if no run is complete
    epochs: pd.DataFrame  # a row per run and epoch

    @property
    def markdown(self) -> str:
        """Findings as a paragraph of Markdown."""
        study = self.results.experiment_id
        text = [
            describe(self.curves, self.sizes),
            *describe_chance(self.results),
            *describe_data(self.results),
        ]
        return f"**{study}, {self.name}.** {' '.join(text)}"

    @property
    def at_chance(self) -> pd.DataFrame:
        """Means over the runs of each size at chance level, a row per size."""
        return chance_table(self.results)

    def figure_path(self, results_dir: Path, name: str) -> Path:
        """Path of a figure of this variant in a folder of results."""
        return results_dir / "figures" / self.variant / f"{name}.png"

    @property
    def title(self) -> str:
        """What a figure of this variant shows: the variant, its model, the data set."""
        model = self.results.model
        of_model = "" if self.name == model else f" ({model})"
        return f"{self.name}{of_model} on {PurePath(self.results.dataset).name}"

    @property
    def metric(self) -> str:
        """Metric of the headline; only of a variant with a curve."""
        return headline(self.curves).metric

    @property
    def convergence(self) -> pd.DataFrame:
        """How the runs of each size converged, a row per size."""
        chance, batch_size = self.results.chance[self.metric], self.results.recipe["batch_size"]
        return convergence_table(self.epochs, self.metric, chance, int(str(batch_size)))

    @property
    def largest_epochs(self) -> pd.DataFrame:
        """Epochs of the largest size."""
        return self.epochs.query("num_train_images == num_train_images.max()")


def analyse_variants(
    results: StudyResults,
    epochs: pd.DataFrame,
    fitted: Mapping[tuple[str, str], Curve] | None = None,
) -> list[VariantFindings]:
    """Analyse every variant of a study.

    Parameters
    ----------
    results : StudyResults
    epochs : DataFrame
        The content of epochs.csv.
    fitted : mapping or None
        Name of the variant and metric -> curve, where all are analysed already.
    """
    findings = []
    for name, part in results.variants().items():
        rows = epochs[epochs["variant"] == name] if part.variant else epochs
        if fitted:
            laws = {metric: curve for (owner, metric), curve in fitted.items() if owner == name}
        else:
            laws = curves(runs_table(part), part.chance, start_of(part))
        findings.append(VariantFindings(name, part.variant, part, sizes_table(part), laws, rows))
    return findings


def read_findings(results_dir: Path) -> list[VariantFindings]:
    """Read and analyse the files that ``eval.py`` wrote to a folder of results."""
    return analyse_variants(read_results(results_dir / "metrics.json"), read_epochs(results_dir))


def read_epochs(results_dir: Path) -> pd.DataFrame:
    """Read epochs.csv; a variant may be named 1e-3, or NA.

    Raises
    ------
    InputError
        If the file is missing, or is no table with the columns of ``eval.py``.
    """
    path = results_dir / EPOCHS_FILE
    try:
        content = read_stored(path)
        table = pd.read_csv(
            io.BytesIO(content), dtype={"variant": str}, keep_default_na=False, na_values=[""]
        )
    except FileNotFoundError:
        raise InputError(f"no {path}; eval.py writes it") from None
    except ValueError:  # of pandas' parser, and of bytes that are no UTF-8
        raise InputError(f"{path} is no CSV file; eval.py writes it again") from None
    for name in (*(field.name for field in fields(EpochRow)), *RUN_KEYS):
        values = table.get(name)
        if values is not None and "top_5" in name:  # empty with few classes
            values = values.fillna(0)
        if values is None or not (is_numeric_dtype(values) and np.isfinite(values).all()):
            raise InputError(f"{path} has no column {name} of finite numbers; eval.py writes it")
    return table.assign(variant=table.get("variant"))


def newest_findings(results_root: Path) -> tuple[Path, list[VariantFindings]]:
    """Analyse the most recently evaluated study: its folder, and its variants with a curve.

    Raises
    ------
    InputError
        If there is no study, or none of its runs is complete and better than chance.
    """
    folder = newest_results(results_root).parent
    findings = [variant for variant in read_findings(folder) if variant.curves]
    if not findings:
        raise InputError(f"{folder}: no run is complete and better than chance: there is no curve")
    return folder, findings
