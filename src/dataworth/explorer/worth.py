"""Tab of the explorer: what each model or recipe of a study is worth in training images."""

from __future__ import annotations

from typing import Any

from ..figures.worth import plot_worth
from ..findings import worth as findings_worth
from .components import escape, figure, plot
from .law import Question
from .study import ExplorerStudy

SIZE = (4.8, 3.8)  # of the figure, in inches: its text is legible on a phone
SINGLE = (
    "This study has one model or recipe with a curve. To see what another is worth in images, "
    "train both on the same subsets, such as `python train.py --model alexnet-small resnet18`, "
    "then run `python eval.py` and restart this page."
)


def worth_tab(study: ExplorerStudy, variant: Any) -> Question | None:
    """Lay out the tab; ``variant`` is the component that selects the baseline."""
    import gradio as gr

    if len(study.findings) < 2:
        gr.Markdown(SINGLE)
        return None
    outputs = [
        gr.Markdown("Comparing the curves ...", elem_id="worth"),
        plot(),
        gr.Dataframe(interactive=False, wrap=True, buttons=[]),
    ]
    with gr.Accordion("How were the intervals made?", open=False):
        outputs.append(gr.Markdown())
    return lambda name: worth_panel(study, name), [variant], outputs


def worth_panel(study: ExplorerStudy, variant: str) -> tuple[str, Any, Any, str]:
    """Return sentences, plot, table, and how the intervals were made, against a variant."""
    worth = findings_worth.worth_of_variants(list(study.findings.values()), variant)
    if worth is None:
        return escape(f"{variant} has no curve: choose another model or recipe."), None, None, ""
    cells = findings_worth.cells(worth).reset_index()
    if len(cells):
        cells = cells[["option", "images", "worth", "error difference (points)", "kind"]]
    ax = plot_worth(worth, SIZE)
    return (
        "\n\n".join(map(escape, findings_worth.sentences(worth))),
        None if ax is None else figure(ax, worth.title),
        cells,
        "\n\n".join(map(escape, (f"{worth.title}.", *worth.notes))),
    )
