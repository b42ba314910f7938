"""``dataworth predict``: classify images with a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import printable_name, say, warn
from ..errors import InputError
from ..storage.files import write_whole
from .exit_codes import DONE, INCOMPLETE, INPUT, run_command
from .flags import PredictFlags
from .parsing import note_unused, parse

if TYPE_CHECKING:
    from ..prediction.classifier import Classifier

NUM_EXPLAINED = 3  # classes with a Grad-CAM heatmap
FORMATS = (".csv", ".json", ".parquet")


def predict(words: Sequence[str] | None = None) -> None:
    """Classify images."""
    run_command(lambda: _predict(words), "the same command begins again")


def _predict(words: Sequence[str] | None) -> int:
    flags = parse(PredictFlags, words, PredictFlags())
    note_unused(
        flags,
        {
            "alpha": (flags.conformal, "--conformal"),
            "conformal_method": (flags.conformal, "--conformal"),
            "recursive": (flags.image_dir is not None, "--image-dir"),
        },
    )
    failed, total = predict_images(flags)
    if failed:
        warn(f"{failed} of {total} pictures failed")
    return DONE if not failed else INPUT if failed == total else INCOMPLETE


def predict_images(flags: PredictFlags) -> tuple[int, int]:
    """Predict, print and write; return the number of images that failed, and of all images.

    Raises
    ------
    InputError
        If flags contradict each other, no image is found, or the weights do not fit.
    """
    _check(flags)
    from ..figures.explanation import plot_filters
    from ..figures.files import save
    from ..models.batch_memory import check_inference_memory
    from ..prediction.answers import OK, Columns, encode_rows, predict_files
    from ..prediction.explain import first_filters, last_convolution
    from ..prediction.pictures import find_pictures
    from ..prediction.selection import choose

    classifiers = choose(flags, flags.all_sizes)
    if flags.explain:
        for classifier in classifiers:
            last_convolution(classifier.model, classifier.recipe.model)
    if flags.filters:
        save(plot_filters(first_filters(classifiers[-1])), flags.filters)
        say(f"filters      {flags.filters}")
    if not (flags.image or flags.image_dir):
        return 0, 1
    paths, num_ignored = [flags.image] if flags.image else [], 0
    if flags.image_dir:
        paths, num_ignored = find_pictures(flags.image_dir, flags.recursive)
    for classifier in classifiers:
        num_images = min(flags.batch_size, len(paths))
        recipe, num_classes = classifier.recipe, len(classifier.classes)
        check_inference_memory(recipe, num_classes, num_images, classifier.device)
    method = flags.conformal_method if flags.conformal else None
    columns = Columns(flags.top_k, flags.show_all_probs, method, flags.alpha)
    rows = [
        row
        for classifier in classifiers
        for row in predict_files(classifier, paths, columns, flags.batch_size)
    ]
    failed = sum(row["status"] != OK for row in rows[: len(paths)])
    print_predictions(rows, classifiers, flags)
    if num_ignored:
        say(f"files without an image suffix: {num_ignored}")
    if flags.output:
        write_whole(flags.output, encode_rows(rows, flags.output.suffix.lower()))
        say(f"predictions  {flags.output}")
    if flags.explain and not failed:
        _explain(classifiers[-1], paths[0], flags.explain)
    return failed, len(paths)


def _check(flags: PredictFlags) -> None:
    if flags.image and flags.image_dir:
        raise InputError("give --image or --image-dir, not both")
    if not (flags.image or flags.image_dir or flags.filters):
        raise InputError("give --image FILE, --image-dir FOLDER or --filters PNG")
    if flags.explain and not flags.image:
        raise InputError("--explain needs one image: give --image")
    if flags.output and flags.output.suffix.lower() not in FORMATS:
        raise InputError(f"--output {flags.output}: the suffix must be one of {', '.join(FORMATS)}")


def _explain(classifier: Classifier, path: Path, out: Path) -> None:
    """Draw Grad-CAM heatmaps of the most probable classes of an image."""
    import numpy as np

    from ..data.prepare import cache_side
    from ..evaluation.calibration import probabilities
    from ..figures.explanation import plot_grad_cam
    from ..figures.files import save
    from ..prediction.explain import grad_cam
    from ..prediction.pictures import read_picture

    picture = read_picture(path, cache_side(classifier.recipe.image_size))
    assert picture.pixels is not None, "it was classified"
    probs = probabilities(classifier.logits(picture.pixels[None]))[0]
    top = np.argsort(-probs, kind="stable")[:NUM_EXPLAINED].tolist()
    heatmaps = grad_cam(classifier, picture.pixels, top)
    crop = classifier.centre_crop(picture.pixels[None])[0]
    names = [classifier.class_names[k] for k in top]
    save(plot_grad_cam(crop, heatmaps, names, probs[top].tolist()), out)
    say(f"explanation  {out}")


def print_predictions(
    rows: Sequence[Mapping[str, Any]], classifiers: Sequence[Classifier], flags: PredictFlags
) -> None:
    """Print the top classes of one image, or the most probable class of each of many.

    Parameters
    ----------
    rows : sequence of mapping
        From :func:`~dataworth.prediction.answers.predict_files`, of all classifiers.
    classifiers : sequence of Classifier
    flags : PredictFlags
    """
    from ..findings.sentences import percent
    from ..prediction.answers import OK

    for classifier in classifiers:
        count = f", {n:,} training images" if (n := classifier.num_images) else ""
        say(f"{classifier.recipe.model}, {classifier.name}{count}")
        for row in (row for row in rows if row["run"] == classifier.name):
            if row["status"] != OK:
                warn(f"  {printable_name(row['file'])}: {printable_name(row['status'])}")
            elif flags.image:
                say("\n".join(_lines(row, classifier, flags)))
            elif not flags.output:
                members = f"   {{{', '.join(row['set'])}}}" if "set" in row else ""
                probability = percent(row["top_1_probability"])
                line = f"  {row['file']}   {row['top_1']} {probability}{members}"
                say(printable_name(line))


def _lines(row: Mapping[str, Any], classifier: Classifier, flags: PredictFlags) -> list[str]:
    if flags.show_all_probs:
        probs = [(name, row[f"p({name})"]) for name in classifier.class_names]
    else:
        ranks = range(1, min(flags.top_k, len(classifier.classes)) + 1)
        probs = [(row[f"top_{k}"], row[f"top_{k}_probability"]) for k in ranks]
    lines = [f"  {100 * p:5.1f} %  {name}" for name, p in probs]
    if "set" in row:
        coverage = f"{100 * (1 - flags.alpha):.4g} % coverage"
        members = ", ".join(row["set"]) or "none above the threshold"
        size = "1 class" if row["set_size"] == 1 else f"{row['set_size']} classes"
        lines.append(f"  prediction set of {size}, {coverage}: {members}")
    return [printable_name(line) for line in lines]
