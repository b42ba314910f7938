"""Section of the report about one variant of a study."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..errors import InputError
from ..evaluation.per_class import verdicts_in_words
from ..figures.conformal import plot_set_size
from ..figures.evaluation import plot_gains
from ..figures.learning import plot_learning_sizes, top_k_of
from ..figures.scaling import plot_error, plot_variants
from ..figures.style import new_axes
from ..figures.training import plot_training
from ..figures.worth import plot_worth
from ..findings import sentences
from ..findings.curves import Curve, common_metric, headline, headline_first, metric_name
from ..findings.sentences import percent
from ..findings.study import (
    VariantFindings,
    describe_chance,
    describe_data,
    describe_drop,
    sample,
)
from ..findings.tables import comparison_table
from ..findings.training import (
    TrainingFindings,
    choices_table,
    training_sentences,
)
from ..findings.worth import OptionsWorth, cells
from ..findings.worth import sentences as sentences_of_worth
from ..storage.files import read_stored
from . import hover, tables
from .drawings import Drawing, inline
from .mistakes import Gallery
from .tables import Table, Targets

COMMAND = "python eval.py --experiment-id {name} --{flag} --report"
PARTS = {  # of a section, with their lines in the table of contents
    "errors": "Errors", "targets": "Images for a target", "learning": "Learning curves",
    "classes": "Classes", "sets": "Prediction sets", "mistakes": "Mistakes",
}  # fmt: skip
PER_CLASS: dict[str, type] = {  # columns of per_class.csv; "drop" and others: of the last step
    "num_images": int, "num_runs": int, "class": str, "num_test_images": float,
    "num_train_images": float,
    "top_1_error": float, "drop": float, "drop_low": float, "drop_high": float,
    "verdict": str,
}  # fmt: skip
SETS: dict[str, type] = {  # columns of conformal.csv
    "num_images": int, "seed": int, "status": str, "alpha": float, "method": str, "mode": str,
    "mean_set_size": float,
}  # fmt: skip
SIZE, WIDE = (4.8, 3.8), (5.6, 3.6)  # of figures, in inches: their text is legible on a phone
LEGEND = (
    "Hollow: one run. Solid: mean over seeds with its 95 % interval. Orange: the law with its 90 % "
    "band; dashed: the forecast; dotted: beyond 4 times the largest size, unreliable."
)


@dataclass(frozen=True)
class Part:
    """Paragraphs, figures and tables on one subject, or what is missing for them."""

    paragraphs: Sequence[str] = ()
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()
    absent: str = ""  # what is missing; there is nothing else then
    command: str = ""  # to run for it

    def __bool__(self) -> bool:
        """Whether there is anything to show."""
        return not self.absent


@dataclass(frozen=True)
class Section:
    """One variant."""

    key: str  # unique in the page, for ids
    name: str
    answer: str
    errors: Part
    targets: Sequence[Targets]
    learning: Part
    classes: Part
    sets: Part
    mistakes: Sequence[Gallery]

    @property
    def parts(self) -> list[tuple[str, str]]:
        """Names and titles of the parts that are not empty."""
        return [(name, title) for name, title in PARTS.items() if getattr(self, name)]


def section(
    variant: VariantFindings, key: str, results_dir: Path, galleries: Sequence[Gallery]
) -> Section:
    """Assemble the section of one variant.

    Parameters
    ----------
    variant : VariantFindings
    key : str
        Letters and digits, unique in the page.
    results_dir : Path
        Holds per_class.csv and conformal.csv.
    galleries : sequence of Gallery
    """
    targets = (
        tables.targets(curve.analysis, metric_name(metric))
        for metric, curve in headline_first(variant.curves).items()
    )
    return Section(
        key,
        variant.name,
        answer(variant),
        _errors(variant, key),
        [table for table in targets if table is not None],
        _learning(variant, key),
        _classes(variant, key, results_dir),
        _sets(variant, key, results_dir),
        galleries,
    )


def absent_parts(
    sections: Sequence[Section], training: Part | None, no_pictures: str
) -> list[tuple[str, str]]:
    """Return what is not on the page, with the command for it, if there is one.

    Parameters
    ----------
    sections : sequence of Section
    training : Part or None
        Of :func:`training_part`.
    no_pictures : str
        Why no section has pictures of mistakes, if none has.
    """
    parts = [part for section in sections for part in (section.classes, section.sets) if not part]
    absent = list(dict.fromkeys((part.absent, part.command) for part in parts))
    if training is not None and not training:
        absent.append((training.absent, training.command))
    if not any(section.mistakes for section in sections):
        absent.append((f"Pictures of mistakes: {no_pictures}", ""))
    return absent


def answer(variant: VariantFindings) -> str:
    """Answer the question of the page in two sentences, or explain why it is open."""
    if len(variant.sizes) < 2:
        return "Fewer than two sizes have a complete run: there is no answer yet."
    curve = headline(variant.curves)
    doubling = sentences.doubling(curve.analysis, metric_name(curve.metric))
    return f"{describe_drop(curve.metric, variant.sizes)} {doubling}"


def summary(findings: Sequence[VariantFindings]) -> Table | None:
    """Compare the variants in a table, by one error; None for a single variant."""
    if len(findings) < 2:
        return None
    metric = common_metric(variant.curves for variant in findings)
    caption = (
        f"Test {metric_name(metric)} at the largest size [95 % interval], and what twice the "
        "images would remove (90 % interval)"
    )
    rows = [
        tables.summary_row(variant.name, variant.curves.get(metric), variant.sizes)
        for variant in findings
    ]
    return Table(caption, tables.SUMMARY, rows)


def combined_drawings(findings: Sequence[VariantFindings]) -> list[Drawing]:
    """Draw the curves of several variants in one figure per error; empty for a single variant."""
    drawings, axes = [], plot_variants(findings, SIZE)
    first = common_metric(variant.curves for variant in findings)
    for metric, ax in sorted(axes.items(), key=lambda item: item[0] != first):
        curves = {v.name: v.curves[metric] for v in findings if metric in v.curves}
        errors = "; ".join(f"{name}: {_errors_by_size(curve)}" for name, curve in curves.items())
        alt = f"Log-log plot of test {metric_name(metric)} against training images. {errors}."
        values = hover.variants_values(curves, {v.name: v.sizes for v in findings})
        caption = "Means over seeds, 95 % intervals; dashed: forecasts"
        drawings.append(inline(ax, f"all-{metric}", alt, caption, values))
    return drawings


def worth_part(worth: OptionsWorth) -> Part:
    """Assemble the section on what each option is worth in training images."""
    table, ax, texts = cells(worth), plot_worth(worth, WIDE), sentences_of_worth(worth)
    shown = [tables.from_frame(worth.title, table)] if len(table) else []
    alt = f"Dots of worth in images against training images, on log axes. {' '.join(texts)}"
    drawings = [] if ax is None else [inline(ax, "worth", alt, "", hover.worth_values(worth))]
    return Part([*texts, *worth.notes], drawings, shown)


def training_part(training: TrainingFindings) -> Part:
    """Assemble the section on collecting more images or training longer."""
    texts, ax = training_sentences(training), plot_training(training)
    if ax is None:
        return Part(absent=" ".join(texts).rstrip("."))
    alt = f"Map of the error over images and steps, on log axes. {' '.join(texts)}"
    table = tables.from_frame(training.title, choices_table(training))
    return Part(texts, [inline(ax, "training", alt)], [table])


def _errors_by_size(curve: Curve) -> str:
    points = curve.analysis.points
    pairs = zip(points.sizes, points.means, strict=True)
    return ", ".join(f"{percent(error)} at {n:,.0f}" for n, error in pairs)


def _errors(variant: VariantFindings, key: str) -> Part:
    notes = [*describe_chance(variant.results), *describe_data(variant.results)]
    if not variant.curves:
        text = "No run is complete and better than chance: there is no curve yet."
        return Part([text, *notes])
    drawings: list[Drawing] = []
    for metric, curve in headline_first(variant.curves).items():
        errors = _errors_by_size(curve)
        alt = f"Log-log plot of test {metric_name(metric)} against training images: {errors}."
        ax = plot_error(new_axes(*SIZE), curve, variant.sizes)
        values = hover.error_values(curve, variant.sizes)
        legend = "" if drawings else LEGEND
        drawings.append(inline(ax, f"{key}-{metric}", alt, legend, values))
    curve = headline(variant.curves)
    caption = f"Test errors: means over seeds [95 % interval]; {sample(curve.runs)}"
    comparison = tables.from_frame(caption, comparison_table(variant.sizes, variant.at_chance))
    if curve.analysis.posterior is None:
        return Part(notes, drawings, [comparison])
    backtests = sentences.backtest(curve.analysis).splitlines()
    return Part(
        [*notes, sentences.exponent_and_floor(curve.analysis), *backtests],
        drawings,
        [comparison, tables.forecasts(curve.analysis, metric_name(curve.metric))],
    )


def _learning(variant: VariantFindings, key: str) -> Part:
    k = top_k_of(variant.epochs)
    drawings = []
    for column, label in (
        ("train_loss", "training loss (nats per image)"),
        (f"validation_top_{k}_error", f"validation top-{k} error"),
    ):
        ax = plot_learning_sizes(new_axes(*SIZE), variant.epochs, column)
        ax.set_ylabel(label)
        last = variant.epochs.groupby(["num_train_images", "seed"])[column].last()
        means = last.groupby("num_train_images").mean()
        final = ", ".join(f"{value:.3g} with {n:,}" for n, value in means.items())
        alt = f"Lines of {label} over epochs, one per run. In the last epoch: {final} images."
        drawings.append(inline(ax, f"{key}-{column.replace('_', '-')}", alt))
    text = "Training loss is measured during the epoch, with augmentation and dropout."
    return Part([text], drawings)


def _command(variant: VariantFindings, flag: str) -> str:
    return COMMAND.format(name=variant.results.experiment_id, flag=flag)


def _read_table(
    path: Path, columns: Mapping[str, type], key: Sequence[str], command: str
) -> pd.DataFrame:
    """Read a table that ``eval.py`` wrote; no two rows agree in the columns ``key``."""
    try:
        content = io.BytesIO(read_stored(path))
        table = pd.read_csv(content, dtype=columns, keep_default_na=False, na_values=[""])
        if table[list(columns)].duplicated(key).any():
            raise ValueError("rows twice")
    except (KeyError, ValueError, OverflowError):
        raise InputError(f"{path} is damaged; {command} writes it again") from None
    return table


def _classes(variant: VariantFindings, key: str, results_dir: Path) -> Part:
    path, runs = results_dir / variant.variant / "per_class.csv", variant.results.complete_runs
    if not runs or any(run.full is None for run in runs) or not path.exists():
        return Part(absent="Gains of the classes", command=_command(variant, "full"))
    too_few = Part(absent="Gains of classes need two sizes with complete runs")
    if len({run.num_images for run in runs}) < 2:  # the table has no gains
        return too_few
    table = _read_table(path, PER_CLASS, ("num_images", "class"), _command(variant, "full"))
    table = table[table["num_test_images"] > 0]
    table = tables.with_class_names(table)
    last = table[table["num_images"] == table["num_images"].max()]
    if table["num_images"].nunique() < 2:
        return too_few
    verdicts = verdicts_in_words(last["verdict"].tolist())
    before = sorted(table["num_images"].unique())[-2]
    caption = (
        f"Gain of each class from {before:,} to {last['num_images'].iloc[0]:,} images, with 95 % "
        "intervals over its test images."
    )
    ax = plot_gains(new_axes(*WIDE), last)
    alt = f"{caption} {verdicts}"
    drawing = inline(ax, f"{key}-gains", alt, caption, hover.gain_values(last))
    return Part([verdicts], [drawing], [tables.classes(table)])


def _sets(variant: VariantFindings, key: str, results_dir: Path) -> Part:
    path, runs = results_dir / variant.variant / "conformal.csv", variant.results.complete_runs
    if not runs or any(run.conformal is None for run in runs) or not path.exists():
        return Part(absent="Prediction sets", command=_command(variant, "conformal"))
    table = _read_table(path, SETS, tuple(SETS)[:-1], _command(variant, "conformal"))
    table = table[table["status"] == "complete"]
    drawings: list[Drawing] = []
    for alpha, rows in table.groupby("alpha"):
        methods = rows[rows["mode"] == "marginal"].groupby("method")
        sizes = "; ".join(f"{str(name).upper()} {_set_sizes(part)}" for name, part in methods)
        caption = (
            "Mean number of classes in a prediction set that misses the true class in "
            f"{100 * float(str(alpha)):.3g} % of images."
        )
        ax = plot_set_size(new_axes(*WIDE), rows)
        drawings.append(inline(ax, f"{key}-sets-{len(drawings)}", f"{caption} {sizes}.", caption))
    return Part((), drawings, [tables.set_sizes(runs)])


def _set_sizes(rows: pd.DataFrame) -> str:
    means = rows.groupby("num_images")["mean_set_size"].mean()
    return ", ".join(f"{size:.1f} at {n:,}" for n, size in means.items())
