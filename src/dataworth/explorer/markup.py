"""HTML of the explorer: examples, predictions, law panel. All external names are escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from ..data.images import decode_square
from ..findings import sentences
from . import law
from .answers import NUM_TOP, Pixels, Prediction
from .study import Example, MeasuredCurve

THUMBNAIL_SIZE = 96  # pixels
CAPTION = (
    "Bars: predicted probability of the five most probable classes. Bright in the picture: "
    "evidence for the most probable class (Grad-CAM)."
)
SETS = (
    " The prediction set, in blue, contains the true class for {:.0f} % of images like those of "
    "the calibration set."
)
NO_SETS = (
    " For prediction sets with a coverage guarantee, run <code>python eval.py --conformal</code>."
)
NO_MAP = "This model has no convolutional feature map, so Grad-CAM cannot be computed."


def example_buttons(examples: Sequence[Example]) -> str:
    """Return one button per example test image."""
    buttons = (
        f'<button type="button" class="thumb" data-index="{i}" '
        f'aria-label="Test image {i + 1}, class {escape(example.truth)}">'
        f'<img alt="" src="{_png(decode_square(example.data, THUMBNAIL_SIZE))}">'
        f"<span>{escape(example.truth)}</span></button>"
        for i, example in enumerate(examples)
    )
    return f'<div class="thumbs" role="group" aria-label="Test images">{"".join(buttons)}</div>'


def error_message(message: str) -> str:
    """Return a message as an alert."""
    return f'<p class="error-message" role="alert">{escape(message)}</p>'


def predictions_html(
    predictions: Sequence[Prediction],
    model_input: Pixels,
    name: str,
    truth: str | None,
    alpha: float,
) -> str:
    """Return the predictions of all sizes side by side.

    Parameters
    ----------
    predictions : sequence of Prediction
        Smallest training set first.
    model_input : uint8 ndarray of shape (size, size, 3)
        The picture as the models receive it.
    name : str
        Of the picture.
    truth : str or None
        True class, if known.
    alpha : float
        Share of prediction sets that may miss the true class.
    """
    has_sets = predictions[-1].prediction_set is not None
    guarantee = SETS.format(100 * (1 - alpha)) if has_sets else NO_SETS
    cards = "".join(_card(prediction, truth) for prediction in predictions)
    return (
        f'<div class="model-input">'
        f'<img alt="{escape(name)}, model input" src="{_png(model_input)}">'
        f'<p role="status">{_summary(predictions, name, truth)}</p></div>'
        f'<ul class="cards">{cards}</ul><p class="caption">{CAPTION}{guarantee}</p>'
    )


def _summary(predictions: Sequence[Prediction], name: str, truth: str | None) -> str:
    parts = []
    for prediction in (predictions[0], *predictions[1:][-1:]):
        label, probability = prediction.top[0]
        parts.append(
            f"with {prediction.num_images:,} training images the model predicts "
            f"<b>{escape(label)}</b> ({100 * probability:.0f} %)"
        )
    true_class = "" if truth is None else f" The true class is <b>{escape(truth)}</b>."
    return f"{escape(name)}: {'; '.join(parts)}.{true_class}"


def _card(prediction: Prediction, truth: str | None) -> str:
    first = escape(prediction.top[0][0])
    picture = f"<p>{NO_MAP}</p>"
    if prediction.heat_map is not None:
        source = _png(prediction.heat_map)
        picture = f'<img alt="Grad-CAM of this model for {first}" src="{source}">'
    members = prediction.prediction_set
    highlighted = dict(prediction.top) if members is None else set(members)
    bars = "".join(
        f'<li><span class="name">{escape(name)}{" ✓" if name == truth else ""}</span>'
        f'<span class="share">{sentences.percent(probability)}</span>'
        f'<span class="bar{"" if name in highlighted else " out"}" '
        f'style="width:{100 * probability:.1f}%"></span></li>'
        for name, probability in prediction.top
    )
    return (
        f'<li class="card"><h3>{prediction.num_images:,} training images</h3>{picture}'
        f'<ol class="bars">{bars}</ol>{_prediction_set(prediction)}</li>'
    )


def _prediction_set(prediction: Prediction) -> str:
    members = prediction.prediction_set
    if members is None:
        return ""
    if not members:
        return '<p class="set">Prediction set: empty, no class is probable enough</p>'
    names = ": " + ", ".join(map(escape, members)) if len(members) <= NUM_TOP else ""
    noun = "class" if len(members) == 1 else "classes"
    return f'<p class="set">Prediction set of {len(members)} {noun}{names}</p>'


def law_panel(measured: MeasuredCurve | None, percent: float, budget: float) -> str:
    """Return the two sentences, the plot and the backtest.

    Parameters
    ----------
    measured : MeasuredCurve or None
        None if the study was not evaluated.
    percent : float
        Target error in percent.
    budget : float
        Training images.
    """
    if measured is None:
        return error_message("No test errors yet: run python eval.py, then restart this page.")
    analysis, name = measured.curve.analysis, law.error_name(measured)
    if analysis.posterior is None:
        plot = _svg(law.plot_svg(measured), f"Test {name} against training images")
        return f'<p class="answer">{escape(sentences.law(analysis, name))}</p>{plot}'
    target, images = percent / 100, max(1, round(budget))
    answers = law.law_sentences(measured, target, images)
    plot = _svg(
        law.plot_svg(measured, target, images),
        f"Test {name} against training images on log axes, with the law. {' '.join(answers)}",
    )
    first, second = map(escape, answers)
    evidence = f"{sentences.law(analysis, name)}\n{sentences.backtest(analysis)}"
    return (
        f'<div role="status"><p class="answer">{first}</p><p class="answer">{second}</p></div>'
        f"{plot}<details><summary>How reliable is this?</summary>"
        f"<p>{escape(evidence).replace(chr(10), '<br>')}</p></details>"
    )


def _png(pixels: Pixels) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return _data("png", file.getvalue())


def _svg(content: bytes, description: str) -> str:
    return f'<img class="law" alt="{escape(description)}" src="{_data("svg+xml", content)}">'


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


CSS = """
.html-container { padding: 0 !important; }
.gradio-container { max-width: 1200px !important; }
.thumbs { display: flex; flex-wrap: wrap; gap: 8px; }
.thumb { width: 84px; padding: 4px; border: 1px solid var(--border-color-primary);
  border-radius: 6px; background: var(--background-fill-primary); cursor: pointer; }
.thumb img { width: 74px; height: 74px; display: block; border-radius: 4px; }
.thumb span { display: block; overflow: hidden; text-overflow: ellipsis; font-size: 12px; }
.thumb:hover { border-color: #0072B2; }
:focus-visible { outline: 3px solid #0072B2 !important; outline-offset: 2px; }
.model-input { display: flex; gap: 16px; align-items: center; margin: 8px 0 16px; }
.model-input img { width: 112px; height: 112px; border-radius: 6px; flex: none; }
.model-input p { font-size: 17px; margin: 0; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px;
  list-style: none; margin: 0; padding: 0; }
.card { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 10px;
  min-width: 0; }
.thumb, .card { margin: 0 !important; }
.card h3 { margin: 0 0 8px; font-size: 15px; }
.card img { width: 100%; max-width: 240px; aspect-ratio: 1; border-radius: 6px; display: block; }
.bars { list-style: none; margin: 12px 0 0; padding: 0; font-size: 14px; }
.bars li { display: grid; grid-template-columns: 1fr auto; gap: 0 8px; margin-bottom: 6px; }
.bars .name { overflow: hidden; text-overflow: ellipsis; }
.bars .share { font-variant-numeric: tabular-nums; }
.bars .out { background: #8A8A8A !important; }
.bars .bar { grid-column: 1 / 3; height: 6px; min-width: 1px; border-radius: 3px;
  background: #0072B2; }
.set, .caption { font-size: 13px; opacity: 0.8; overflow-wrap: anywhere; }
.caption { margin: 0; }
.cards + .caption { margin-top: 12px; }
.error-message { border-left: 4px solid #D55E00; padding: 8px 12px; }
.answer { font-size: 18px; margin: 0 0 6px; }
img.law { width: 100%; max-width: 760px; background: white; border-radius: 6px; }
"""
