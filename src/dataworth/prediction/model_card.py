"""Files beside an exported model: its card, config.json, the curve of its study.

The card begins with the metadata of https://huggingface.co/docs/hub/model-cards. Card and
config.json name a local data set by its folder, without the path.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from ..data.prepare import cache_side
from ..evaluation.results import FILE, read_results
from ..evaluation.tables import format_table
from ..storage.files import json_bytes, read_stored
from ..storage.study_directory import STUDY_FILE, StudyDirectory, study_flags

if TYPE_CHECKING:
    from ..evaluation.records import RunScores, SplitScores, StudyResults
    from .classifier import Classifier

CARD_FILE, CONFIG_FILE, CURVE_FILE = "README.md", "config.json", "learning_curve.png"
CARD_SETTINGS = ("epochs", "batch_size", "learning_rate", "optimizer", "schedule", "weight_decay")
OPTIONS = ("label_noise", "init", "freeze")  # named in the card where they are used
HUB_ID = r"[\w.-]+/[\w.-]+"

CARD = """# {model}, {num_classes} classes of {dataset}

Written by `dataworth export`. File: `{file}`, SHA-256 `{digest}`.

| | |
|---|---|
| model | {model}, {parameters:,} parameters |
| data | {dataset}, revision {revision} |
| training images | {images} |
| run | {run} |
| recipe | {recipe} |
| test error | {measured} |

{study}## Intended use

A point of a data-scaling study: it was trained {origin}, on the number of images in the table,
to measure how error falls with training data. Use it to reproduce that measurement and to compare
networks trained with the same recipe. It is not intended for decisions about people, or wherever
an error does harm.

## Data and licence

{licence}

## Input and output

Input: RGB images (b, 3, {size}, {size}), float32. Apply the EXIF orientation, scale the shorter
side to {side} pixels (antialiased bilinear), crop the central {size} x {size} pixels, divide by
255, subtract {mean} and divide by {std} (one value per channel).

Output: logits (b, {num_classes}); softmax makes them probabilities. With a safetensors file,
`predict.py` does all of this:

    python predict.py --weights model.safetensors --image cat.jpg

## Limits

The test error above holds for images from the distribution of the test split; its 95 % interval
covers the sampling noise of the test images, not another training seed or another distribution. The
model predicts one of its {num_classes} classes for any image. It inherits gaps and biases of the
training images. Its probabilities are not calibrated: `eval.py --full` measures the calibration
error, `eval.py --conformal` makes prediction sets with a coverage guarantee.

## Classes

{classes}
"""

IMAGENET_LICENCE = (
    "Trained on photographs of ImageNet, which are for non-commercial research and education only "
    "(https://www.image-net.org/download); keep to that with these weights too."
)
LICENSED = (
    "These weights: {license}. They were trained on {dataset}, which has a licence of its own."
)
OTHER_LICENCE = (
    "Trained on {dataset}. Its licence decides what may be done with these weights; name it here "
    "before you share them."
)

STUDY = """## The study

Mean test errors of all its runs, with 95 % intervals, by the number of training images:

{table}

{curve}"""
CURVE = f"![Test error against training images]({CURVE_FILE})\n\n"


@dataclass(frozen=True)
class Measured:
    """What ``eval.py`` measured of an exported run, and of its study."""

    run: RunScores
    study: StudyResults  # of the variant of the run
    curve: bytes | None  # PNG file


def read_measured(classifier: Classifier, results_dir: Path | None) -> Measured | None:
    """Read the scores of a run; None before ``eval.py``, and of weights outside a run directory.

    Parameters
    ----------
    classifier : Classifier
    results_dir : Path or None
        Folder of results; None: as in training.
    """
    if classifier.num_images is None:
        return None
    folder = StudyDirectory.read(_study_path(classifier)).results_dir(results_dir)
    if not (folder / FILE).exists():
        return None
    for study in read_results(folder / FILE).variants().values():
        for run in study.runs:
            if str(run.path) == classifier.name:
                curve = folder / "figures" / run.variant / "top_1_error.png"
                return Measured(run, study, read_stored(curve) if curve.exists() else None)
    return None


def _study_path(classifier: Classifier) -> Path:
    return next(p for p in classifier.path.parents if (p / STUDY_FILE).exists())


def model_card(
    classifier: Classifier,
    file_name: str,
    content: bytes,
    measured: Measured | None,
    license_id: str | None = None,
) -> str:
    """Return the model card in Markdown: data, recipe, test error, input and output, limits.

    Parameters
    ----------
    classifier : Classifier
    file_name : str
        Of the model.
    content : bytes
        Of the model file, for its SHA-256.
    measured : Measured or None
    license_id : str or None
        Of the weights, as the hub names licences; None: that of the training data.
    """
    recipe, images = classifier.recipe, classifier.num_images
    dataset = data_name(recipe.dataset)
    is_imagenet = "imagenet" in recipe.dataset.lower()
    licence = LICENSED if license_id else OTHER_LICENCE
    if is_imagenet:
        licence = f"{LICENSED} {IMAGENET_LICENCE}" if license_id else IMAGENET_LICENCE
    defaults = type(recipe).model_fields
    options = [name for name in OPTIONS if getattr(recipe, name) != defaults[name].default]
    origin = "from scratch"
    if recipe.init:
        origin = f"from the pretrained weights {Path(recipe.init).name}"
        licence += f" The licence of {Path(recipe.init).name} applies as well."
    text = CARD.format(
        model=recipe.model,
        num_classes=len(classifier.classes),
        dataset=dataset,
        revision=recipe.dataset_revision or "not pinned",
        file=file_name,
        digest=hashlib.sha256(content).hexdigest(),
        parameters=sum(p.numel() for p in classifier.model.parameters()),
        images="unknown" if images is None else f"{images:,}",
        run=classifier.name,
        recipe=", ".join(f"{name} {getattr(recipe, name)}" for name in (*CARD_SETTINGS, *options)),
        origin=origin,
        size=recipe.image_size,
        side=cache_side(recipe.image_size),
        mean=classifier.channel_stats[0],
        std=classifier.channel_stats[1],
        classes=", ".join(classifier.class_names),
        measured=_measured_errors(classifier, measured),
        study=_study_section(measured),
        licence=licence.format(dataset=dataset, license=license_id),
    )
    metadata = yaml.safe_dump(
        _metadata(classifier, measured, license_id), sort_keys=False, allow_unicode=True
    )
    return f"---\n{metadata}---\n\n{text}"


def data_name(dataset: str) -> str:
    """Return the name of a data set to show: its id on the hub, or its folder without the path."""
    is_local = dataset.startswith(("/", ".", "~")) or Path(dataset).is_dir()
    return Path(dataset).name if is_local else dataset


def _metadata(
    classifier: Classifier, measured: Measured | None, license_id: str | None
) -> dict[str, object]:
    """Return the metadata of the card, as the hub reads them."""
    recipe = classifier.recipe
    name = data_name(recipe.dataset)
    metadata: dict[str, object] = {
        "license": license_id or "other",
        **({} if license_id else {"license_name": "that-of-the-training-data"}),
        "library_name": "dataworth",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "data-scaling", recipe.model],
        **({"datasets": [name]} if re.fullmatch(HUB_ID, name) else {}),
        "metrics": ["accuracy"],
    }
    if measured is None:
        return metadata
    dataset = {"name": name, "type": name, "split": "test"}
    if recipe.dataset_revision:
        dataset["revision"] = recipe.dataset_revision
    test = measured.run.splits["test"]
    accuracies = {k: 1 - error for k in (1, 5) if (error := test.error(k)) is not None}
    result = {
        "task": {"type": "image-classification"},
        "dataset": dataset,
        "metrics": [
            {"type": "accuracy", "name": f"top-{k} accuracy", "value": value}
            for k, value in accuracies.items()
        ],
    }
    model = f"{recipe.model}, {measured.run.num_images} images of {name}"
    return {**metadata, "model-index": [{"name": model, "results": [result]}]}


def _study_section(measured: Measured | None) -> str:
    if measured is None:
        return ""
    table = "\n".join(f"    {line}" for line in format_table(measured.study).splitlines())
    return STUDY.format(table=table, curve="" if measured.curve is None else CURVE)


def _measured_errors(classifier: Classifier, measured: Measured | None) -> str:
    """Format the run's test errors with 95 % intervals, if ``eval.py`` has measured them."""
    if measured is not None:
        errors = (_measured_error(measured.run.splits["test"], k) for k in (1, 5))
        return ", ".join(filter(None, errors))
    if classifier.num_images is None:  # weights outside a run directory
        return "not recorded in the file of weights"
    return f"not measured yet: python eval.py {study_flags(_study_path(classifier))}"


def config_json(classifier: Classifier) -> bytes:
    """Return config.json: what is needed to build the model, and to use it.

    The hub counts the downloads of a model by this file.
    """
    recipe = classifier.recipe
    mean, std = map(list, classifier.channel_stats)
    return json_bytes(
        {
            "library_name": "dataworth",
            "architecture": recipe.model,
            "num_classes": len(classifier.classes),
            "classes": classifier.classes,
            "class_names": classifier.class_names,
            "image_size": recipe.image_size,
            "resize": cache_side(recipe.image_size),
            "mean": mean,
            "std": std,
            "num_train_images": classifier.num_images,
            "recipe": {**recipe.model_dump(mode="json"), "dataset": data_name(recipe.dataset)},
        }
    )


def _measured_error(scores: SplitScores, k: int) -> str:
    """Format the top-k error of a run with its interval; empty where it is undefined."""
    error, interval = scores.error(k), scores.interval(k)
    if error is None or interval is None:
        return ""
    low, high = (f"{100 * end:.2f} %" for end in interval)
    return f"top-{k} {100 * error:.2f} % [{low}, {high}]"
