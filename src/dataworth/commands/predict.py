"""``dataworth predict``: classify pictures with a trained run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import say, warn
from ..errors import InputError
from ..storage.files import write_whole
from .exit_codes import DONE, INCOMPLETE, INPUT, exit_with
from .flags import PredictFlags
from .parsing import parse

if TYPE_CHECKING:
    from ..prediction.classifier import Classifier

EXPLAINED = 3  # classes whose Grad-CAM is drawn
FORMATS = (".csv", ".json", ".parquet")
OK = "ok"  # status of a picture that was classified


def predict(words: Sequence[str] | None = None) -> None:
    """Name what is on pictures."""
    exit_with(lambda: _predict(words), "the same command begins again")


def _predict(words: Sequence[str] | None) -> int:
    flags = parse(PredictFlags, words, PredictFlags())

    failed, total = answer(flags)
    if failed:
        warn(f"{failed} of {total} pictures failed")
    return DONE if not failed else INPUT if failed == total else INCOMPLETE


def answer(flags: PredictFlags) -> tuple[int, int]:
    """Do what the flags ask; return how many files failed, of how many.

    Raises
    ------
    InputError
        If the flags do not go together, no image is found, or the weights do not fit.
    """
    _check(flags)
    from ..figures.explanation import plot_filters
    from ..figures.files import save
    from ..prediction.answers import Columns, encode, predict_files
    from ..prediction.explain import convolution_map, first_filters
    from ..prediction.pictures import find_pictures
    from ..prediction.selection import choose

    classifiers = choose(flags, flags.all_sizes)
    if flags.explain:
        for classifier in classifiers:
            convolution_map(classifier.model, classifier.recipe.model)
    if flags.filters:
        save(plot_filters(first_filters(classifiers[-1])), flags.filters)
        say(f"filters      {flags.filters}")
    if not (flags.image or flags.image_dir):
        return 0, 1
    paths, others = [flags.image] if flags.image else [], 0
    if flags.image_dir:
        paths, others = find_pictures(flags.image_dir, flags.recursive)
    method = flags.conformal_method if flags.conformal else None
    columns = Columns(flags.top_k, flags.show_all_probs, method, flags.alpha)
    rows = [
        row
        for classifier in classifiers
        for row in predict_files(classifier, paths, columns, flags.batch_size)
    ]
    failed = sum(row["status"] != OK for row in rows[: len(paths)])
    show(rows, classifiers, flags)
    if others:
        say(f"files not named as images: {others}")
    if flags.output:
        write_whole(flags.output, encode(rows, flags.output.suffix.lower()))
        say(f"answers      {flags.output}")
    if flags.explain and not failed:
        _explain(classifiers[-1], paths[0], flags.explain)
    return failed, len(paths)


def _check(flags: PredictFlags) -> None:
    if flags.image and flags.image_dir:
        raise InputError("give --image or --image-dir, not both")
    if not (flags.image or flags.image_dir or flags.filters):
        raise InputError("give --image FILE, --image-dir FOLDER or --filters PNG")
    if flags.explain and not flags.image:
        raise InputError("--explain explains one picture: give --image")
    if flags.output and flags.output.suffix.lower() not in FORMATS:
        raise InputError(f"--output {flags.output}: the suffix must be one of {', '.join(FORMATS)}")


def _explain(classifier: Classifier, path: Path, out: Path) -> None:
    """Draw Grad-CAM for the likeliest classes of a picture."""
    import numpy as np

    from ..data.prepare import cache_side
    from ..evaluation.calibration import probabilities
    from ..figures.explanation import plot_grad_cam
    from ..figures.files import save
    from ..prediction.explain import grad_cam
    from ..prediction.pictures import read_picture

    picture = read_picture(path, cache_side(classifier.recipe.image_size))
    assert picture.pixels is not None, "it was answered"
    shares = probabilities(classifier.logits(picture.pixels[None]))[0]
    top = np.argsort(-shares, kind="stable")[:EXPLAINED].tolist()
    maps, pixels = grad_cam(classifier, picture.pixels, top), classifier.seen(picture.pixels[None])
    names = [classifier.classes[k] for k in top]
    save(plot_grad_cam(pixels[0], maps, names, shares[top].tolist()), out)
    say(f"explanation  {out}")


def show(
    rows: Sequence[Mapping[str, Any]], classifiers: Sequence[Classifier], flags: PredictFlags
) -> None:
    """Print answers: all classes asked for of one picture, the likeliest class of many."""
    for classifier in classifiers:
        count = f", {n:,} training images" if (n := classifier.num_images) else ""
        say(f"{classifier.recipe.model}, {classifier.name}{count}")
        for row in (row for row in rows if row["run"] == classifier.name):
            if row["status"] != OK:
                warn(f"  {row['file']}: {row['status']}")
            elif flags.image:
                say("\n".join(_lines(row, classifier, flags)))
            elif not flags.output:
                members = f"   {{{', '.join(row['set'])}}}" if "set" in row else ""
                say(f"  {row['file']}   {row['top_1']} {row['top_1_probability']:.1%}{members}")


def _lines(row: Mapping[str, Any], classifier: Classifier, flags: PredictFlags) -> list[str]:
    lines = []
    if flags.show_all_probs:
        shares = {name: row[f"p({name})"] for name in classifier.classes}
        lines += [f"  {share:6.1%}  {name}" for name, share in shares.items()]
    else:
        ranks = range(1, min(flags.top_k, len(classifier.classes)) + 1)
        lines += [f"  {row[f'top_{k}_probability']:6.1%}  {row[f'top_{k}']}" for k in ranks]
    if "set" in row:
        lines.append(
            f"  {row['set_size']} classes hold the truth in {1 - flags.alpha:.4g} of images: "
            f"{', '.join(row['set']) or 'none is likely enough'}"
        )
    return lines
