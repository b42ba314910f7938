"""Tab of the explorer: the predictions of each subset size for a picture, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
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
CAPTION = (
    "Bars: predicted probability of the five most probable classes. Bright in a picture: evidence "
    "for the most probable class (Grad-CAM), where the model has a convolutional feature map."
)
SETS = (
    " A prediction set contains the true class for {:.0f} % of images like those of the "
    "calibration set."
)
NO_SETS = " For prediction sets with a coverage guarantee, run `python eval.py --conformal`."


@dataclass(frozen=True)
class PictureAnswer:
    """What the models of all sizes say about a picture, or why they cannot."""

    text: str  # Markdown
    model_input: Pixels | None = None  # (size, size, 3), the picture as the models receive it
    predictions: Sequence[Prediction] = ()  # smallest training set first
    truth: str | None = None  # true class, if known


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
            return updates(study, PictureAnswer(PROMPT))
        return updates(study, respond(study, name, Path(path).read_bytes(), Path(path).name, None))

    def on_example(name: str, event: gr.SelectData) -> list[Any]:
        if not isinstance(event.index, int) or event.index not in range(len(study.examples)):
            return updates(study, PictureAnswer(PROMPT))
        example = study.examples[event.index]
        title = f"Test image {event.index + 1}"
        return updates(study, respond(study, name, example.data, title, example.truth))

    upload.upload(on_upload, [upload, variant], outputs, **PICTURE_EVENTS)
    thumbnails.select(on_example, [variant], outputs, **PICTURE_EVENTS)
    variant.change(
        lambda: updates(study, PictureAnswer(PROMPT)), None, outputs, api_visibility="private"
    )


def respond(
    study: ExplorerStudy, variant: str, data: bytes, name: str, truth: str | None
) -> PictureAnswer:
    """Return the predictions for a picture, or an error message.

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
        return PictureAnswer(escape(f"{error}. Use a {FORMATS}."))
    try:
        models = study.models(variant)
    except InputError as error:
        warn(f"error: {error}")
        return PictureAnswer("These models cannot be read; the terminal has the reason.")
    predictions = [predict(model, picture, thresholds) for model, thresholds in models]
    assert picture.pixels is not None, "the picture was decoded"
    model_input = models[0][0].centre_crop(picture.pixels[None])[0]
    return PictureAnswer(_summary(predictions, name, truth), model_input, predictions, truth)


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


def updates(study: ExplorerStudy, answer: PictureAnswer) -> list[Any]:
    """Return the values of the tab's components: text, model input, a card per size, caption."""
    import gradio as gr

    values: list[Any] = [answer.text, gr.update(visible=bool(answer.predictions))]
    values.append(answer.model_input)
    for prediction in answer.predictions:
        heat_map = answer.model_input if prediction.heat_map is None else prediction.heat_map
        bars = {
            f"{name}{' ✓' if name == answer.truth else ''}": probability
            for name, probability in prediction.top
        }
        label = gr.update(value=bars, label=f"{prediction.num_images:,} images")
        values += [gr.update(visible=True), label, _prediction_set(prediction), heat_map]
    for _ in range(study.num_sizes - len(answer.predictions)):
        values += [gr.update(visible=False), *[gr.skip()] * 3]
    has_sets = any(p.prediction_set is not None for p in answer.predictions)
    guarantee = SETS.format(100 * (1 - study.flags.alpha)) if has_sets else NO_SETS
    return [*values, gr.update(value=CAPTION + guarantee, visible=bool(answer.predictions))]


def _prediction_set(prediction: Prediction) -> str:
    members = prediction.prediction_set
    if members is None:
        return ""
    if not members:
        return "Prediction set: empty, no class is probable enough"
    names = ": " + ", ".join(map(escape, members)) if len(members) <= NUM_TOP else ""
    noun = "class" if len(members) == 1 else "classes"
    return f"Prediction set of {len(members)} {noun}{names}"
