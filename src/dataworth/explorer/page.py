"""The page: two tabs, what they show, and what happens on a click."""

from html import escape
from pathlib import Path
from typing import Any

from ..console import warn
from ..errors import InputError
from . import law, markup
from .answers import ask, read
from .study import Explored

PICTURES = {"concurrency_id": "pictures", "concurrency_limit": 1}  # Grad-CAM hooks into the models
DELETED = (60, 600)  # seconds: uploads are looked through, and are old
QUIET: dict[str, Any] = {"api_visibility": "private"}
FORMATS = "JPEG, PNG, WebP, GIF, BMP or TIFF, at most 5 MB and 40 megapixels"
PICK = """element.addEventListener('click', event => {
  const button = event.target.closest('button[data-index]');
  if (button) trigger('click', {index: Number(button.dataset.index)});
});"""
PROMPT = '<p class="caption">Upload a picture or pick one: each model answers here.</p>'


def build(explored: Explored) -> Any:
    """Return the page as gradio's blocks."""
    import gradio as gr

    title = f"{explored.name}: what did more data teach?"
    # Tab titles are short: gradio hides what does not fit a phone.
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=DELETED) as page:
        gr.HTML(_heading(explored))
        several = len(explored.variants) > 1
        variant = gr.Dropdown(
            list(explored.variants), label="Model or recipe", visible=several, buttons=[]
        )
        with gr.Tab("Try a picture"):
            _picture_tab(explored, variant)
        with gr.Tab("More data?"):
            _law_tab(explored, variant, page)
    return page


def _heading(explored: Explored) -> str:
    models = [model for model, _ in explored.models(explored.variants[0])]
    first, last = models[0].num_images, models[-1].num_images
    data = escape(Path(explored.recipe.dataset).name)
    return (
        f"<h1>What did more data teach?</h1><p>One network, {models[0].recipe.model}, was trained "
        f"from nothing on {len(models)} subsets of <b>{data}</b>, the smallest of {first:,} and "
        f"the largest of {last:,} images. Compare what each has learned to see in a picture, and "
        "ask what more images would buy.</p>"
    )


def _picture_tab(explored: Explored, variant: Any) -> None:
    import gradio as gr

    upload = gr.UploadButton(
        "Upload a picture", variant="primary", file_types=["image"], size="md", scale=0
    )
    offer = "<p>Or pick a test image; no model was trained on it:</p>" if explored.examples else ""
    gr.HTML(f'<p class="caption">{FORMATS}; deleted after ten minutes.</p>{offer}')
    thumbs = gr.HTML(markup.examples(explored.examples), js_on_load=PICK)
    shown = gr.HTML(PROMPT, elem_id="answers")

    def uploaded(path: str | None, name: str) -> str:
        if path is None:
            return PROMPT
        return respond(explored, name, Path(path).read_bytes(), Path(path).name, None)

    def picked(name: str, event: gr.EventData) -> str:
        index = event._data.get("index")
        if not isinstance(index, int) or index not in range(len(explored.examples)):
            return PROMPT
        one = explored.examples[index]
        return respond(explored, name, one.data, f"Test image {index + 1}", one.truth)

    upload.upload(uploaded, [upload, variant], shown, **PICTURES, **QUIET)
    thumbs.click(picked, [variant], shown, **PICTURES, **QUIET)
    variant.change(lambda: PROMPT, None, shown, **QUIET)


def respond(explored: Explored, variant: str, data: bytes, name: str, truth: str | None) -> str:
    """Answer a picture, or say in a line what is wrong with it."""
    try:
        picture = read(data, name, explored.recipe.image_size)
    except InputError as error:
        return markup.trouble(f"{error}. Use a {FORMATS}.")
    try:
        models = explored.models(variant)
    except InputError as error:
        warn(f"error: {error}")
        return markup.trouble("These models cannot be read; the terminal says why.")
    found = [ask(model, picture, limits) for model, limits in models]
    assert picture.pixels is not None, "it was read"
    seen = models[0][0].seen(picture.pixels[None])[0]
    return markup.answers(found, seen, name, truth, explored.flags.alpha)


def _law_tab(explored: Explored, variant: Any, page: Any) -> None:
    import gradio as gr

    def sliders(name: str) -> tuple[Any, Any]:
        measured = explored.measured.get(name)
        if measured is None or measured.curve.analysis.posterior is None:
            return gr.Slider(visible=False), gr.Slider(visible=False)
        labels = (
            f"Test {law.name_of(measured)} that you would accept (%)",
            "Training images that you could have",
        )
        first, second = (
            gr.Slider(o.least, o.most, o.value, step=o.step, label=label, visible=True, buttons=[])
            for o, label in zip(law.offers(measured), labels, strict=True)
        )
        return first, second

    def answered(name: str, percent: float, images: float) -> str:
        return markup.law_panel(explored.measured.get(name), percent, images)

    target, budget = sliders(explored.variants[0])
    shown = gr.HTML(elem_id="law")
    asked = [variant, target, budget]
    page.load(answered, asked, shown, **QUIET)
    changed = variant.change(sliders, variant, [target, budget], **QUIET)
    changed.then(answered, asked, shown, **QUIET)
    gr.on(
        [target.change, budget.change], answered, asked, shown,
        trigger_mode="always_last", show_progress="hidden", **QUIET,
    )  # fmt: skip
