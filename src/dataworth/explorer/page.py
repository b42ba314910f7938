"""Layout of the explorer page: a tab for each question, on gradio's components."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .components import escape
from .law import PRIVATE, law_tab
from .order import order_tab
from .pictures import picture_tab
from .study import ExplorerStudy
from .worth import worth_tab

DELETE_CACHE = (60, 600)  # seconds: how often uploads are checked, and their maximum age


def build(study: ExplorerStudy) -> Any:
    """Return the page as gradio blocks."""
    import gradio as gr

    title = f"{study.name}: how much would more data buy?"
    # Tab titles are short: gradio hides those that do not fit a phone.
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=DELETE_CACHE) as page:
        gr.Markdown(_heading(study))
        several = len(study.variants) > 1
        variant = gr.Dropdown(
            list(study.variants), label="Model or recipe", visible=several, buttons=[]
        )
        if study.num_sizes:
            with gr.Tab("Pictures"):
                picture_tab(study, variant)
        questions = []
        for name, tab in (("Forecast", law_tab), ("Order", order_tab), ("Worth", worth_tab)):
            with gr.Tab(name):
                questions.append(tab(study, variant))
        for answer, inputs, outputs in filter(None, questions):
            changes = [page.load, *(component.change for component in inputs)]
            gr.on(
                changes, answer, inputs, outputs,
                trigger_mode="always_last", show_progress="minimal", show_progress_on=outputs[0],
                **PRIVATE,
            )  # fmt: skip
    return page


def _heading(study: ExplorerStudy) -> str:
    text = f"# How much would more data buy?\nStudy **{escape(study.name)}**"
    findings = next(iter(study.findings.values()), None)
    dataset = study.recipe.dataset if study.recipe else findings.results.dataset if findings else ""
    if findings is None:
        return f"{text} on {escape(Path(dataset).name)}."
    models = ", ".join(escape(f.name) for f in study.findings.values())
    sizes = sorted({n for f in study.findings.values() for n in f.sizes["num_images"]})
    return (
        f"{text}: {models}, trained on subsets of **{escape(Path(dataset).name)}** with "
        f"{sizes[0]:,} to {sizes[-1]:,} images."
    )
