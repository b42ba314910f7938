"""Layout and events of the explorer page: two tabs, a click or a slider updates the answer."""

from html import escape
from pathlib import Path
from typing import Any

from ..console import warn
from ..errors import InputError
from . import law, markup
from .answers import decode_upload, predict
from .study import ExplorerStudy

PICTURE_EVENTS = {"concurrency_id": "pictures", "concurrency_limit": 1}  # Grad-CAM hooks the models
DELETE_CACHE = (60, 600)  # seconds: how often uploads are checked, and their maximum age
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
FORMATS = "JPEG, PNG, WebP, GIF, BMP or TIFF, at most 5 MB and 40 megapixels"
ON_EXAMPLE_CLICK = """element.addEventListener('click', event => {
  const button = event.target.closest('button[data-index]');
  if (button) trigger('click', {index: Number(button.dataset.index)});
});"""
PROMPT = '<p class="caption">Upload a picture or select one; each model classifies it here.</p>'


def build(study: ExplorerStudy) -> Any:
    """Return the page as gradio blocks."""
    import gradio as gr

    title = f"{study.name}: what does more training data improve?"
    # Tab titles are short: gradio hides those that do not fit a phone.
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=DELETE_CACHE) as page:
        gr.HTML(_heading(study))
        several = len(study.variants) > 1
        variant = gr.Dropdown(
            list(study.variants), label="Model or recipe", visible=several, buttons=[]
        )
        with gr.Tab("Try a picture"):
            _picture_tab(study, variant)
        with gr.Tab("More data?"):
            _law_tab(study, variant, page)
    return page


def _heading(study: ExplorerStudy) -> str:
    models = [model for model, _ in study.models(study.variants[0])]
    first, last = models[0].num_images, models[-1].num_images
    dataset = escape(Path(study.recipe.dataset).name)
    origin = "from pretrained weights" if models[0].recipe.init else "from scratch"
    return (
        f"<h1>What does more training data improve?</h1><p>One network, {models[0].recipe.model}, "
        f"was trained {origin} on {len(models)} subsets of <b>{dataset}</b>, the smallest of "
        f"{first:,} and the largest of {last:,} images. Compare their predictions for a picture, "
        "and see what more images would improve.</p>"
    )


def _picture_tab(study: ExplorerStudy, variant: Any) -> None:
    import gradio as gr

    upload = gr.UploadButton(
        "Upload a picture", variant="primary", file_types=["image"], size="md", scale=0
    )
    hint = "<p>Or select a test image, which no model was trained on:</p>" if study.examples else ""
    gr.HTML(f'<p class="caption">{FORMATS}; deleted after ten minutes.</p>{hint}')
    thumbnails = gr.HTML(markup.example_buttons(study.examples), js_on_load=ON_EXAMPLE_CLICK)
    output = gr.HTML(PROMPT, elem_id="answers")

    def on_upload(path: str | None, name: str) -> str:
        if path is None:
            return PROMPT
        return respond(study, name, Path(path).read_bytes(), Path(path).name, None)

    def on_example(name: str, event: gr.EventData) -> str:
        index = event._data.get("index")
        if not isinstance(index, int) or index not in range(len(study.examples)):
            return PROMPT
        example = study.examples[index]
        return respond(study, name, example.data, f"Test image {index + 1}", example.truth)

    upload.upload(on_upload, [upload, variant], output, **PICTURE_EVENTS, **PRIVATE)
    thumbnails.click(on_example, [variant], output, **PICTURE_EVENTS, **PRIVATE)
    variant.change(lambda: PROMPT, None, output, **PRIVATE)


def respond(study: ExplorerStudy, variant: str, data: bytes, name: str, truth: str | None) -> str:
    """Return the predictions for a picture as HTML, or an error message.

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
    try:
        picture = decode_upload(data, name, study.recipe.image_size)
    except InputError as error:
        return markup.error_message(f"{error}. Use a {FORMATS}.")
    try:
        models = study.models(variant)
    except InputError as error:
        warn(f"error: {error}")
        return markup.error_message("These models cannot be read; the terminal has the reason.")
    predictions = [predict(model, picture, thresholds) for model, thresholds in models]
    assert picture.pixels is not None, "the picture was decoded"
    model_input = models[0][0].centre_crop(picture.pixels[None])[0]
    return markup.predictions_html(predictions, model_input, name, truth, study.flags.alpha)


def _law_tab(study: ExplorerStudy, variant: Any, page: Any) -> None:
    import gradio as gr

    def sliders(name: str) -> tuple[Any, Any]:
        measured = study.curves.get(name)
        if measured is None or measured.curve.analysis.posterior is None:
            return gr.Slider(visible=False), gr.Slider(visible=False)
        labels = (
            f"Acceptable test {law.error_name(measured)} (%)",
            "Available training images",
        )
        first, second = (
            gr.Slider(
                r.minimum, r.maximum, r.initial, step=r.step, label=label, visible=True, buttons=[]
            )
            for r, label in zip(law.slider_ranges(measured), labels, strict=True)
        )
        return first, second

    def on_change(name: str, percent: float, images: float) -> str:
        return markup.law_panel(study.curves.get(name), percent, images)

    target, budget = sliders(study.variants[0])
    output = gr.HTML(elem_id="law")
    inputs = [variant, target, budget]
    page.load(on_change, inputs, output, **PRIVATE)
    changed = variant.change(sliders, variant, [target, budget], **PRIVATE)
    changed.then(on_change, inputs, output, **PRIVATE)
    gr.on(
        [target.change, budget.change], on_change, inputs, output,
        trigger_mode="always_last", show_progress="hidden", **PRIVATE,
    )  # fmt: skip
