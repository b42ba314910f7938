"""What would more data buy? A page that forecasts from pasted measurements.

Run it by ``python space/app.py``, or as a Hugging Face Space (README.md beside it). It uses the
public Python API of dataworth alone, and no PyTorch.
"""

from __future__ import annotations

import re
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dataworth import LearningCurve
from dataworth.errors import InputError
from dataworth.scaling.points import NotIdentifiableError

MAX_CHARACTERS = 50_000  # of a table: longer ones take a shared machine long
MAX_ROUNDS = 5  # of orders
RELIABLE_FACTOR = 4  # times the largest size: beyond it the law decides more than the data
FORECAST_FACTORS = (2, 4, 8)  # times the largest size
HIDDEN = {1: "largest", 2: "two largest"}
KINDS = {  # label -> ``values`` of LearningCurve.from_csv
    "what its name and values say": (),
    "errors": ("error", "share"),
    "errors in percent": ("error", "percent"),
    "accuracies": ("accuracy", "share"),
    "accuracies in percent": ("accuracy", "percent"),
}
FIELDS = {  # flags that messages name -> fields of the page
    "--x-column": '"Column of sizes"',
    "--y-column": '"Column of errors"',
    "--as": '"The column holds"',
}
PROMPT = "Paste a table, upload one, or select an example."
EXAMPLES = [  # table, error of guessing in percent, target error in percent, name
    (
        "n,error,num_test\n3125,0.2721,5000\n6250,0.2351,5000\n12500,0.1927,5000\n"
        "25000,0.1592,5000\n50000,0.1336,5000",
        95,
        11,
        "Errors, with the number of test images",
    ),
    (
        "images\taccuracy (%)\n781\t16.8\n1563\t23.7\n3125\t31.3\n6250\t41.4\n12500\t50.8",
        95,
        40,
        "Accuracies in percent, from a spreadsheet",
    ),
    (
        "n;error seed 1;error seed 2\n500;0,190;0,204\n1000;0,151;0,143\n2000;0,112;0,117\n"
        "4000;0,086;0,091",
        50,
        7,
        "Two seeds, decimal commas",
    ),
]
CSS = """
.gradio-container { max-width: 1200px !important; }
.dark [data-testid=matplotlib] img { filter: invert(1) hue-rotate(180deg); }
.table-container * { font-family: var(--font) !important; font-variant-numeric: tabular-nums; }
"""


@lru_cache(maxsize=32)
def fit(
    table: str, chance: float | None = None, size: str = "", error: str = "", kind: str = ""
) -> LearningCurve:
    """Fit pasted measurements.

    Parameters
    ----------
    table : str
        Any layout of text that ``LearningCurve.from_csv`` reads. Without names of columns, the
        first holds sizes and the second errors.
    chance : float, optional
        Error of guessing, in percent.
    size, error : str
        Columns of training set sizes and of errors; empty: by their names.
    kind : str
        What the column of errors holds, a key of ``KINDS``.

    Raises
    ------
    ValueError
        With what is wrong, if the table cannot be read, or determines no law.
    """
    if len(table) > MAX_CHARACTERS:
        raise ValueError(f"At most {MAX_CHARACTERS:,} characters: average the errors of a size.")
    if not re.search(r"[^\W\d_]", table):
        size, error = size or "1", error or "2"
    settings: dict[str, Any] = {"x_column": size, "y_column": error, "values": KINDS.get(kind)}
    settings = {name: value for name, value in settings.items() if value}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.csv")
        try:
            path.write_text(table, encoding="utf-8")
            return LearningCurve.from_csv(path, chance / 100 if chance else None, **settings)
        except (InputError, NotIdentifiableError, ValueError) as reason:
            message = str(reason).replace(f"{path}: ", "").rstrip(".")
    for flag, field in FIELDS.items():
        message = message.replace(flag, field)
    raise ValueError(f"{message[:1].upper()}{message[1:]}.")


def read_upload(path: str | None) -> str:
    """Return the text of an uploaded table."""
    content = Path(path).read_bytes()[: 4 * MAX_CHARACTERS] if path else b""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def describe(curve: LearningCurve) -> str:
    """Describe in Markdown what twice the data would change, exponent and floor, and the table."""
    points = curve.analysis_.points
    largest, last = points.sizes[-1], points.means[-1]
    lower, upper = curve.predict_interval(2 * largest)
    low, high = curve.exponent_interval_
    read = f"Read from the table: {len(points.n)} errors of {len(points.sizes)} sizes"
    floor = f"{percent(curve.floor_interval_[0])} and {percent(curve.floor_interval_[1])}"
    return (
        f"**With twice the data, {2 * largest:,.0f} images, a new run is forecast to have an error "
        f"of {percent(curve.predict(2 * largest))}** (90 % interval {percent(lower)} to "
        f"{percent(upper)}); {largest:,.0f} images have {percent(last)}.\n\n"
        f"The error above the floor falls with an exponent of {curve.exponent_:.2f} in the end "
        f"(90 % interval {low:.2f} to {high:.2f}). The floor, the error that no amount of data "
        f"removes, is between {floor}.\n\n"
        f"{escape('; '.join((read, *curve.notes_)))}."
    )


def forecasts(curve: LearningCurve) -> pd.DataFrame:
    """Return the forecasts for multiples of the largest size, as text."""
    n = curve.analysis_.points.sizes[-1] * np.array(FORECAST_FACTORS, float)
    lower, upper = curve.predict_interval(n)
    rows = zip(FORECAST_FACTORS, n, curve.predict(n), lower, upper, strict=True)
    return pd.DataFrame(
        {
            "images": f"{size:,.0f}{'' if factor <= RELIABLE_FACTOR else ' (unreliable)'}",
            "error": percent(error),
            "90 % interval": f"{percent(low)} to {percent(high)}",
        }
        for factor, size, error, low, high in rows
    )


def backtests(curve: LearningCurve) -> pd.DataFrame:
    """Return forecasts of the largest size without the largest sizes, as text."""
    rows = [
        {
            "without": HIDDEN[test.hidden],
            "forecast": percent(test.point),
            "90 % interval": f"{percent(test.lower)} to {percent(test.upper)}",
            "measured": f"{percent(test.measured)}, {'inside' if test.covered else 'OUTSIDE'}",
        }
        for test in curve.backtest_
    ]
    return pd.DataFrame(rows or {"without": ["a backtest needs four sizes"]})


def draw(curve: LearningCurve) -> Figure:
    """Draw the measured errors, the law and its forecast, without a background."""
    figure = Figure(figsize=(4.8, 3.8), dpi=200, layout="constrained")
    ax = curve.plot(figure.subplots())
    ax.spines[["top", "right"]].set_visible(False)
    for patch in (figure.patch, ax.patch):
        patch.set_alpha(0)
    return figure


def order(
    curve: LearningCurve, target: float, rounds: float = 1, price: float = 0, miss: float = 10
) -> str:
    """Describe in Markdown how many images to order now.

    Parameters
    ----------
    curve : LearningCurve
    target : float
        Error to reach, in percent.
    rounds : float
        Orders that can still be made, a whole number.
    price : float
        Of an image; 0: costs are not told.
    miss : float
        Accepted probability of missing the target, in percent.
    """
    points, goal = curve.analysis_.points, percent(target / 100)
    if points.means[-1] <= target / 100:
        return f"**Order nothing:** {goal} is reached with {points.sizes[-1]:,.0f} images."
    try:
        needed = curve.required_n(target / 100)
        rounds = min(max(int(rounds), 1), MAX_ROUNDS)
        plan = curve.plan(target / 100, rounds, price or 1.0, miss_chance=miss / 100)
    except ValueError as reason:
        return escape(f"{reason}.")
    paid = f" for {price * plan.order:,.0f}" if price else ""
    text = (
        f"**Order {rounded(plan.order)} images now{paid}**, "
        f"{rounded(points.sizes[-1] + plan.order)} in all: the probability that {goal} is reached "
        f"then is {100 * plan.chance_now:.0f} %."
    )
    if plan.rounds > 1:
        text += (
            f" In {plan.rounds} orders, each planned again from what was measured, it is "
            f"{100 * plan.chance:.0f} %, and {rounded(plan.expected_images)} images are expected "
            "to be bought."
        )
    if not np.isfinite(needed.estimate):
        return f"{text}\n\n{goal} is too far beyond these measurements to estimate what it takes."
    interval = f"{rounded(needed.lower)} to {rounded(needed.upper)}"
    return f"{text}\n\n{goal} takes {rounded(needed.estimate)} images (90 % interval {interval})."


def percent(share: float) -> str:
    """Format a share in percent."""
    return f"{100 * share:.2g} %" if share < 0.01 else f"{100 * share:.1f} %"


def rounded(images: float) -> str:
    """Format a number of images with three significant digits."""
    return f"{float(f'{images:.3g}'):,.0f}" if np.isfinite(images) else "more than can be told"


def escape(text: str) -> str:
    """Escape text of others, such as the names of columns, for Markdown."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def answer(*given: Any) -> list[Any]:
    """Return the law as text and figure, forecasts, backtest, and whether there is a law."""
    hidden = [gr.update(visible=False), gr.skip(), gr.skip(), gr.update(visible=False)]
    if not (given[0] or "").strip():
        return [PROMPT, *hidden]
    try:
        curve = fit(*given)
    except ValueError as reason:
        return [f"**No forecast.** {escape(str(reason))}", *hidden]
    plot = gr.update(value=draw(curve), visible=True)
    return [describe(curve), plot, forecasts(curve), backtests(curve), gr.update(visible=True)]


def answer_order(*values: Any) -> str:
    """Return the order to make, from the values of the table and of the question; empty: no law."""
    try:
        return order(fit(values[0] or "", *values[1:5]), *(value or 0 for value in values[5:]))
    except ValueError:
        return ""


def build() -> gr.Blocks:
    """Return the page."""
    with gr.Blocks(title="What would more data buy?", analytics_enabled=False) as page:
        gr.Markdown(
            "# What would more data buy?\nPaste the test errors that a model had after training on "
            "three or more amounts of data, in place of the example, and see what more data would "
            "change."
        )
        with gr.Row():
            with gr.Column():
                table, chance, *columns = _table()
                target = gr.Number(
                    EXAMPLES[0][2], label="Error to reach (%)", minimum=0, maximum=100, render=False
                )
                names = [name for *_, name in EXAMPLES]
                rows = [list(example) for *example, _ in EXAMPLES]
                inputs = [table, chance, target]
                gr.Examples(rows, inputs, label="Examples", example_labels=names)
            with gr.Column(elem_id="law"):
                law, plot = gr.Markdown(PROMPT), gr.Plot(visible=False, show_label=False)
        settings: Any = {"interactive": False, "wrap": True, "buttons": [], "min_width": 300}
        with gr.Column(visible=False) as below:
            with gr.Row():
                forecast = gr.Dataframe(label="Forecasts", **settings)
                label = "Backtest: the largest size, forecast without the largest sizes"
                backtest = gr.Dataframe(label=label, **settings)
            question, plan = _order(target)
        given = [table, chance, *columns]
        changes = [component.change for component in given]
        shown = [law, plot, forecast, backtest, below]
        fitted = gr.on([page.load, *changes], answer, given, shown, trigger_mode="always_last")
        ordering: Any = (answer_order, [*given, *question], plan)
        fitted.then(*ordering)
        changes = [component.change for component in question]
        gr.on(changes, *ordering, trigger_mode="always_last")
    return page


def _table() -> tuple[Any, ...]:
    """Return the components that take the measurements."""
    placeholder = "n,error\n1000,0.42\n2000,0.35\n4000,0.29\n8000,0.24"
    table = gr.Textbox(
        EXAMPLES[0][0], label="Sizes and errors", lines=7, max_lines=14, placeholder=placeholder
    )
    upload = gr.UploadButton("Upload a CSV", file_types=[".csv", ".tsv", ".txt"], size="md")
    upload.upload(read_upload, upload, table)
    info = "90 for 10 balanced classes; 0: not known"
    chance = gr.Number(EXAMPLES[0][1], label="Error of guessing (%)", info=info)
    with gr.Accordion("If the table leaves something open", open=False):
        info = "Its name, or its number from 1"
        size = gr.Textbox(label="Column of sizes", info=info)
        error = gr.Textbox(label="Column of errors", info=info)
        kind = gr.Dropdown(list(KINDS), label="The column holds")
    return table, chance, size, error, kind


def _order(target: Any) -> tuple[list[Any], Any]:
    """Return the components of the question what to order, and of its answer."""
    gr.Markdown("## What to order now")
    settings: Any = {"buttons": [], "min_width": 250}
    with gr.Row():
        target.render()
        price = gr.Number(0, label="Price of an image (0: not known)", minimum=0, **settings)
    with gr.Row():
        label = "Orders that can still be made"
        rounds = gr.Slider(1, MAX_ROUNDS, 2, step=1, label=label, **settings)
        label = "Accepted probability of missing it (%)"
        miss = gr.Slider(1, 50, 10, step=1, label=label, **settings)
    return [target, rounds, price, miss], gr.Markdown(elem_id="plan")


if __name__ == "__main__":
    footer = ["gradio", "settings"]
    build().queue(max_size=20).launch(css=CSS, max_file_size="1mb", footer_links=footer)
