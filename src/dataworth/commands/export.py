"""``dataworth export``: write a trained model as one file, with a model card."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..console import say
from ..errors import InputError
from ..storage.files import read_stored, write_whole
from ..storage.study_directory import STUDY_FILE, StudyDirectory, study_flags
from .exit_codes import DONE, run_command
from .flags import ExportFlags
from .parsing import parse

if TYPE_CHECKING:
    from ..evaluation.records import SplitScores
    from ..prediction.classifier import Classifier

CARD_SETTINGS = ("epochs", "batch_size", "learning_rate", "optimizer", "schedule", "weight_decay")
OPTIONS = ("label_noise", "init", "freeze")  # named in the card where they are used


CARD = """---
license: other
license_name: that-of-the-training-data
pipeline_tag: image-classification
---

# {model}, {num_classes} classes of {dataset}

Written by `dataworth export`. File: `{file}`, SHA-256 `{digest}`.

| | |
|---|---|
| model | {model}, {parameters:,} parameters |
| data | {dataset}, revision {revision} |
| training images | {images} |
| run | {run} |
| recipe | {recipe} |
| test error | {measured} |

## Intended use

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
OTHER_LICENCE = (
    "Trained on {dataset}. Its licence decides what may be done with these weights; name it here "
    "before you share them."
)


def export(words: Sequence[str] | None = None) -> None:
    """Export the model that the flags select; ``words`` default to the command line."""
    run_command(lambda: _export(words), "the same command begins again")


def _export(words: Sequence[str] | None) -> int:
    flags = parse(ExportFlags, words, ExportFlags())
    from ..conformal.thresholds import FILE
    from ..prediction.selection import choose

    (classifier,) = choose(flags)
    path = flags.output / f"model.{flags.format}"
    if flags.format == "onnx":
        content = onnx_bytes(classifier)
    else:
        content = classifier.path.read_bytes()  # unchanged: conformal.json holds their SHA-256
        thresholds = classifier.path.with_name(FILE)
        if thresholds.exists():
            write_whole(flags.output / FILE, read_stored(thresholds))
    card = model_card(classifier, path, content, measured_errors(classifier, flags.results_dir))
    write_whole(path, content)
    write_whole(flags.output / "README.md", card.encode())
    say(f"model        {path}\ncard         {flags.output / 'README.md'}")
    return DONE


def onnx_bytes(classifier: Classifier) -> bytes:
    """Return the model as ONNX: ``images`` (batch, 3, size, size) to ``logits`` (batch, classes).

    Raises
    ------
    InputError
        If onnx and onnxscript are not installed.
    """
    import torch

    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise InputError("--format onnx: pip install onnx onnxscript") from None
    size = classifier.recipe.image_size
    example = torch.zeros(2, 3, size, size, device=classifier.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations within the exporter
        program = torch.onnx.export(
            classifier.model,
            (example,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None, "dynamo returns a program"
        content: bytes = program.model_proto.SerializeToString()
    return content


def model_card(classifier: Classifier, path: Path, content: bytes, measured: str) -> str:
    """Return the model card in Markdown: data, recipe, test error, input and output, limits.

    Parameters
    ----------
    classifier : Classifier
    path : Path
        Of the model file.
    content : bytes
        Of the model file, for its SHA-256.
    measured : str
        Test errors of the run.
    """
    from ..data.prepare import cache_side

    recipe, images = classifier.recipe, classifier.num_images
    licence = IMAGENET_LICENCE if "imagenet" in recipe.dataset.lower() else OTHER_LICENCE
    defaults = type(recipe).model_fields
    options = [name for name in OPTIONS if getattr(recipe, name) != defaults[name].default]
    origin = "from scratch"
    if recipe.init:
        origin = f"from the pretrained weights {Path(recipe.init).name}"
        licence += f" The licence of {Path(recipe.init).name} applies as well."
    return CARD.format(
        model=recipe.model,
        num_classes=len(classifier.classes),
        dataset=recipe.dataset,
        revision=recipe.dataset_revision or "not pinned",
        file=path.name,
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
        measured=measured,
        licence=licence.format(dataset=recipe.dataset),
    )


def measured_errors(classifier: Classifier, results_dir: Path | None) -> str:
    """Format the run's test errors with 95 % intervals, if ``eval.py`` has measured them."""
    from ..evaluation.results import read_results

    if classifier.num_images is None:  # weights outside a run directory
        return "not recorded in the file of weights"
    parent = next(p for p in classifier.path.parents if (p / STUDY_FILE).exists())
    study = StudyDirectory.read(parent)
    results = study.results_dir(results_dir) / "metrics.json"
    for run in read_results(results).runs if results.exists() else ():
        if str(run.path) == classifier.name:
            errors = (_measured_error(run.splits["test"], k) for k in (1, 5))
            return ", ".join(filter(None, errors))
    return f"not measured yet: python eval.py {study_flags(parent)}"


def _measured_error(scores: SplitScores, k: int) -> str:
    """Format the top-k error of a run with its interval; empty where it is undefined."""
    error, interval = scores.error(k), scores.interval(k)
    if error is None or interval is None:
        return ""
    low, high = (f"{100 * end:.2f} %" for end in interval)
    return f"top-{k} {100 * error:.2f} % [{low}, {high}]"
