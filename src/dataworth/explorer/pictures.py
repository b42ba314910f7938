"""Tab of the explorer: the predictions of each subset size for a picture, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..console import warn
from ..data.images import decode_square
from ..errors import InputError
from .answers import NUM_TOP, Pixels, Prediction, decode_upload, predict
from .components import escape, gallery, image
from .study import ExplorerStudy

THUMBNAIL_SIZE = 128  # pixels
PICTURE_EVENTS: Any = {  # Grad-CAM hooks the models
    "concurrency_id": "pictures", "concurrency_limit": 1, "api_visibility": "private"
}  # fmt: skip
FORMATS = "JPEG, PNG, WebP, GIF, BMP or TIFF, at most 5 MB and 40 megapixels"
PROMPT = "Upload a picture or select one; each model classifies it here."
WORKING = "Each model classifies the picture; the first time, the models are read ..."
CAPTION = (
    "Bars: predicted probability of the five most probable classes. Bright in a picture: evidence "
    "for the most probable class (Grad-CAM), where the model has a convolutional feature map."
)
SETS = (
    " A prediction set contains the true class for {:.0f} % of images like those of the "
    "calibration set."
)
NO_SETS = " For prediction sets with a coverage guarantee, run `python eval.py --conformal`."


def picture_tab(study: ExplorerStudy, variant: Any) -> None:
    """Lay out the tab; ``variant`` is the component that selects the variant."""
    import gradio as gr

    upload = gr.UploadButton("Upload a picture", variant="primary", file_types=["image"], scale=0)
    hint = " Or select a test image, which no model was trained on:" if study.examples else ""
    gr.Markdown(f"{FORMATS}; deleted after ten minutes.{hint}")
    thumbnails = gallery(
        [(decode_square(e.data, THUMBNAIL_SIZE), e.truth) for e in study.examples],
        visible=bool(study.examples), height="auto",
    )  # fmt: skip
    with gr.Row():
        with gr.Column(visible=False, min_width=120, scale=0) as frame:
            shown = image(height=120)
        text = gr.Markdown(PROMPT, elem_id="answers")
    outputs = [text, frame, shown]
    with gr.Row():
        for _ in range(study.num_sizes):
            with gr.Column(visible=False, min_width=150, elem_classes="card") as card:
                outputs += [card, gr.Label(), gr.Markdown(), image(height=180)]
    caption = gr.Markdown(visible=False)
    outputs.append(caption)

    def on_upload(path: str | None, name: str) -> list[Any]:
        if path is None:
            return answer(study, PROMPT)
        return respond(study, name, Path(path).read_bytes(), Path(path).name, None)

    def on_example(name: str, event: gr.SelectData) -> list[Any]:
        if not isinstance(event.index, int) or event.index not in range(len(study.examples)):
            return answer(study, PROMPT)
        example = study.examples[event.index]
        return respond(study, name, example.data, f"Test image {event.index + 1}", example.truth)

    for event in (upload.upload, thumbnails.select):  # at once, by the browser itself
        event(None, None, text, js=f"() => {WORKING!r}", api_visibility="private")
    upload.upload(on_upload, [upload, variant], outputs, **PICTURE_EVENTS)
    thumbnails.select(on_example, [variant], outputs, **PICTURE_EVENTS)
    variant.change(lambda: answer(study, PROMPT), None, outputs, **PICTURE_EVENTS)


def respond(
    study: ExplorerStudy, variant: str, data: bytes, name: str, truth: str | None
) -> list[Any]:
    """Return the predictions for a picture, or an error message, as values of the tab.

    Parameters
    ----------
    study : ExplorerStudy
    variant : str
        Whose models predict.
    data : bytes
        Content of the picture file.
    name : str
        Of the picture.
    truth : str or None
        True class, if known.
    """
    assert study.recipe is not None, "there are models"
    try:
        picture = decode_upload(data, name, study.recipe.image_size)
    except InputError as error:
        return answer(study, escape(f"{error}. Use a {FORMATS}."))
    try:
        models = study.models(variant)
    except InputError as error:
        warn(f"error: {error}")
        return answer(study, "These models cannot be read; the terminal has the reason.")
    predictions = [predict(model, picture, thresholds) for model, thresholds in models]
    assert picture.pixels is not None, "the picture was decoded"
    model_input = models[0][0].centre_crop(picture.pixels[None])[0]
    text = _summary(predictions, name, truth)
    return answer(study, text, model_input, [_card(p, model_input, truth) for p in predictions])


def _summary(predictions: Sequence[Prediction], name: str, truth: str | None) -> str:
    parts = []
    for prediction in (predictions[0], *predictions[1:][-1:]):
        label, probability = prediction.top[0]
        parts.append(
            f"with {prediction.num_images:,} training images the model predicts "
            f"**{escape(label)}** ({100 * probability:.0f} %)"
        )
    true_class = "" if truth is None else f" The true class is **{escape(truth)}**."
    return f"{escape(name)}: {'; '.join(parts)}.{true_class}"


def _card(prediction: Prediction, model_input: Pixels, truth: str | None) -> list[Any]:
    """Return the values of one card: bars, prediction set, Grad-CAM."""
    import gradio as gr

    bars = {f"{name}{' ✓' if name == truth else ''}": share for name, share in prediction.top}
    members, text = prediction.prediction_set, ""
    if members is not None:
        names = ", ".join(map(escape, members)) if len(members) <= NUM_TOP else ""
        noun = "class" if len(members) == 1 else "classes"
        text = f"Prediction set of {len(members)} {noun}{': ' if names else ''}{names}"
    heat_map = model_input if prediction.heat_map is None else prediction.heat_map
    return [gr.update(value=bars, label=f"{prediction.num_images:,} images"), text, heat_map]


def answer(
    study: ExplorerStudy,
    text: str,
    model_input: Pixels | None = None,
    cards: Sequence[list[Any]] = (),
) -> list[Any]:
    """Return the values of the tab's components.

    Parameters
    ----------
    study : ExplorerStudy
    text : str
        Markdown.
    model_input : uint8 ndarray of shape (size, size, 3), optional
        The picture as the models receive it.
    cards : sequence of list
        One for each subset size; without any, their components are hidden.
    """
    import gradio as gr

    values = [text, gr.update(visible=bool(cards)), model_input]
    for card in cards:
        values += [gr.update(visible=True), *card]
    for _ in range(study.num_sizes - len(cards)):
        values += [gr.update(visible=False), *[gr.skip()] * 3]
    has_sets = any(card[1] for card in cards)
    guarantee = SETS.format(100 * (1 - study.flags.alpha)) if has_sets else NO_SETS
    return [*values, gr.update(value=CAPTION + guarantee, visible=bool(cards))]
