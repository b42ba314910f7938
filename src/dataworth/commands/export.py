"""A trained model as a file of its own, with a model card: ``dataworth export --help``."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Machine
from ..console import say
from ..errors import InputError
from ..storage.files import write_whole
from ..storage.study_directory import read_study
from .exit_codes import DONE, exit_with
from .flags import ExportFlags
from .parsing import parse

if TYPE_CHECKING:
    from ..prediction.classifier import Classifier


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

A point of a data-scaling study: it was trained from fresh weights, on a subset if the table says
so, to measure how error falls with data. Use it to repeat that measurement and to compare networks
trained alike. It is not meant to decide about people, nor wherever an error does harm.

## Data and licence

{licence}

## Input and output

Input: RGB pictures (b, 3, {size}, {size}), float32. Turn a picture upright, scale its shorter
side to {side} pixels (antialiased bilinear), crop the central {size} x {size} pixels, divide by
255, subtract {mean} and divide by {std} (one value per channel).

Output: logits (b, {num_classes}); softmax makes them probabilities. With a safetensors file,
`predict.py` does all of this:

    python predict.py --weights model.safetensors --image cat.jpg

## Limits

The test error above holds for pictures like those of the test split; its 95 % interval covers the
choice of test images, not another training seed or other pictures. The model knows its
{num_classes} classes and names one of them for any picture. What the training pictures leave out or
show one-sidedly, it has not learned. Its probabilities are those of a network, not frequencies:
`eval.py --full` measures how far they can be believed, `eval.py --conformal` makes sets that keep a
promise.

## Classes

{classes}
"""

IMAGENET_LICENCE = (
    "Trained on photographs of ImageNet, which are for non-commercial research and education only "
    "(https://www.image-net.org/download); keep to that with these weights too."
)
OTHER_LICENCE = (
    "Trained on {dataset}. Its licence decides what may be done with these weights; name it here "
    "before you pass them on."
)


def export(words: Sequence[str] | None = None) -> None:
    """Export the model that the flags mean; ``words`` default to the command line."""
    exit_with(lambda: _export(words), "the same command begins again")


def _export(words: Sequence[str] | None) -> int:
    flags = parse(ExportFlags, words, ExportFlags())
    from ..conformal.thresholds import FILE
    from ..prediction.selection import choose

    (classifier,) = choose(flags)
    path = flags.output / f"model.{flags.format}"
    if flags.format == "onnx":
        content = onnx_bytes(classifier)
    else:
        content = classifier.path.read_bytes()  # the same bytes: thresholds are bound to them
        thresholds = classifier.path.with_name(FILE)
        if thresholds.exists():
            write_whole(flags.output / FILE, thresholds.read_bytes())
    write_whole(path, content)
    write_whole(flags.output / "README.md", model_card(classifier, path, content).encode())
    say(f"model        {path}\ncard         {flags.output / 'README.md'}")
    return DONE


def onnx_bytes(classifier: Classifier) -> bytes:
    """Return the model as ONNX: ``images`` (batch, 3, size, size) to ``logits`` (batch, classes).

    Raises
    ------
    InputError
        If the packages that write it are not installed.
    """
    import torch

    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise InputError("--format onnx: pip install onnx onnxscript") from None
    size = classifier.recipe.image_size
    example = torch.zeros(2, 3, size, size, device=classifier.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
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


def model_card(classifier: Classifier, path: Path, content: bytes) -> str:
    """Say in Markdown what a model file is, what it takes and what it gives."""
    from ..data.prepare import cache_side

    recipe, images = classifier.recipe, classifier.num_images
    licence = IMAGENET_LICENCE if "imagenet" in recipe.dataset.lower() else OTHER_LICENCE
    shown = ("epochs", "batch_size", "learning_rate", "optimizer", "schedule", "weight_decay")
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
        recipe=", ".join(f"{name} {getattr(recipe, name)}" for name in shown),
        size=recipe.image_size,
        side=cache_side(recipe.image_size),
        mean=classifier.moments[0],
        std=classifier.moments[1],
        classes=", ".join(classifier.classes),
        measured=measured_errors(classifier),
        licence=licence.format(dataset=recipe.dataset),
    )


def measured_errors(classifier: Classifier) -> str:
    """Spell the run's test errors with their 95 % intervals, where eval.py has measured them."""
    from ..evaluation.results import read_results

    if classifier.num_images is None:  # a file alone
        return "not known to the file of weights"
    study = next(p for p in classifier.path.parents if (p / "study.json").exists())
    results = Machine(**read_study(study)["machine"]).results_dir / study.name / "metrics.json"
    runs = read_results(results)["runs"] if results.exists() else []
    for run in runs:
        path = Path(run.get("variant", "")) / repr(run["subset_size"]) / f"seed-{run['seed']}"
        if str(path) == classifier.name:
            test, ks = run["splits"]["test"], (1, 5)
            spelled = [(k, test[f"top_{k}_error"], test[f"top_{k}_error_interval"]) for k in ks]
            return ", ".join(
                f"top-{k} {error:.2%} [{ends[0]:.2%}, {ends[1]:.2%}]"
                for k, error, ends in spelled
                if error is not None
            )
    return f"not measured yet: python eval.py --experiment-id {study.name}"
