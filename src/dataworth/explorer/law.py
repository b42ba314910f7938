"""Tab of the explorer: images for an error and error for images, as sliders, sentences, a plot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from ..figures.scaling import DRAWN_FACTOR, plot_error
from ..figures.style import GREY, new_axes
from ..findings import sentences
from ..findings.curves import Curve, headline, metric_name
from ..findings.study import VariantFindings
from ..scaling.analysis import forecasts
from .components import escape, figure, plot
from .study import ExplorerStudy

NUM_STEPS = 100  # of the slider of images, at least
PRIVATE: Any = {"api_visibility": "private"}
Question = tuple[Callable[..., Any], list[Any], list[Any]]  # answer, inputs, outputs
WIDTH = 250  # pixels: narrower inputs stand below each other
FITTING = "Fitting the law: this takes some seconds ..."
NOT_EVALUATED = "No test errors yet: run `python eval.py`, then restart this page."


class SliderRange(NamedTuple):
    """Range of a slider, in percent of error or in images."""

    minimum: float
    maximum: float
    initial: float
    step: float


def law_tab(study: ExplorerStudy, variant: Any) -> Question:
    """Lay out the tab; ``variant`` is the component that selects the variant of the page."""
    import gradio as gr

    with gr.Row():
        inputs = sliders(study, study.variants[0])
    with gr.Column(elem_id="law"):
        outputs = [gr.Markdown(FITTING), plot()]
    with gr.Accordion("How reliable is this?", open=False):
        outputs.append(gr.Markdown(line_breaks=True))

    def answer(name: str, percent: float, images: float) -> tuple[str, Any, str]:
        return law_panel(study.findings.get(name), percent, images)

    variant.change(lambda name: sliders(study, name), variant, inputs, **PRIVATE)
    return answer, [variant, *inputs], outputs


def sliders(study: ExplorerStudy, variant: str, count: int = 2) -> list[Any]:
    """Return sliders of target errors in percent and of images, hidden where there is no law.

    Parameters
    ----------
    study : ExplorerStudy
    variant : str
    count : int
        How many of the two.
    """
    import gradio as gr

    if (curve := law_of(study, variant)) is None:
        return [gr.Slider(visible=False) for _ in range(count)]
    labels = (f"Acceptable test {metric_name(curve.metric)} (%)", "Available training images")
    pairs = list(zip(slider_ranges(curve), labels, strict=True))[:count]
    settings: Any = {"visible": True, "buttons": [], "min_width": WIDTH}
    return [
        gr.Slider(*values[:3], step=values.step, label=label, **settings) for values, label in pairs
    ]


def law_of(study: ExplorerStudy, variant: str) -> Curve | None:
    """Return the curve of the headline error of a variant, if a law was fitted to it."""
    if (findings := study.findings.get(variant)) is None:
        return None
    curve = headline(findings.curves)
    return None if curve.analysis.posterior is None else curve


def slider_ranges(curve: Curve) -> tuple[SliderRange, SliderRange]:
    """Return the ranges of target errors and of images: as far as the plot draws the law."""
    points = curve.analysis.points
    most = DRAWN_FACTOR * points.sizes[-1]
    (farthest,) = forecasts(curve.analysis, [most])
    low, high, last = 100 * farthest.lower, 100 * points.means[0], 100 * points.means[-1]
    step = 1.0 if last > 40 else 0.5 if last > 10 else 0.1
    return (
        _slider_range(low, high, (100 * farthest.error + last) / 2, step),
        _slider_range(points.sizes[0], most, 2 * points.sizes[-1], _round_down(most / NUM_STEPS)),
    )


def _slider_range(minimum: float, maximum: float, initial: float, step: float) -> SliderRange:
    """Round all values to multiples of the step, above zero."""
    low, high, start = (
        round(max(1, round(value / step)) * step, 1) for value in (minimum, maximum, initial)
    )
    return SliderRange(low, high, start, step)


def _round_down(value: float) -> int:
    """Round down to 1, 2 or 5 times a power of ten."""
    value = max(value, 1)
    power: int = 10 ** (len(str(int(value))) - 1)
    return max(m * power for m in (1, 2, 5) if m * power <= value)


def law_panel(
    findings: VariantFindings | None, percent: float, budget: float
) -> tuple[str, Any, str]:
    """Return the two sentences, the plot, and the law with its backtest.

    Parameters
    ----------
    findings : VariantFindings or None
        None if the study was not evaluated.
    percent : float
        Target error in percent.
    budget : float
        Training images.
    """
    if findings is None:
        return NOT_EVALUATED, None, NOT_EVALUATED
    curve = headline(findings.curves)
    analysis, name = curve.analysis, metric_name(curve.metric)
    law, described = escape(sentences.law(analysis, name)), f"Test {name} by training images"
    if analysis.posterior is None:
        return law, figure(draw(findings), described), law
    target, images = percent / 100, max(1, round(budget))
    answers = "\n\n".join(map(escape, law_sentences(curve, target, images)))
    backtests = map(escape, sentences.backtest(analysis).split("\n"))
    drawn = figure(draw(findings, target, images), f"{described}, with the law:")
    return answers, drawn, "\n".join([law, *backtests])


def law_sentences(curve: Curve, target: float, budget: int) -> tuple[str, str]:
    """Describe the images that an error takes, and the error at a number of images.

    Parameters
    ----------
    curve : Curve
        With a law.
    target : float
        An error, a share.
    budget : int
        Training images.
    """
    analysis, name = curve.analysis, metric_name(curve.metric)
    (forecast,) = forecasts(analysis, [budget])
    error, lower, upper = map(sentences.percent, (forecast.error, forecast.lower, forecast.upper))
    warning = "" if forecast.reliable else f", {sentences.UNRELIABLE}"
    return (
        sentences.target(analysis, target, f"For a {name} of"),
        f"With {budget:,} training images: a {name} of {error} "
        f"(90 % interval {lower} to {upper}){warning}.",
    )


def draw(findings: VariantFindings, target: float | None = None, budget: float = 0) -> Axes:
    """Draw the curve, with target error (a share) and number of images as lines, if given.

    Parameters
    ----------
    findings : VariantFindings
    target : float, optional
    budget : float
    """
    ax = plot_error(new_axes(4.8, 3.8), headline(findings.curves), findings.sizes)
    if target is not None:
        limits = ax.get_ylim()
        for draw_line, place in ((ax.axhline, target), (ax.axvline, budget)):
            draw_line(place, color=GREY, lw=1, ls=(0, (2, 2)))
        ax.text(
            1, target, "target error", transform=ax.get_yaxis_transform(), color=GREY, ha="right",
            va="bottom", fontsize=8,
        )  # fmt: skip
        ax.text(
            budget, 1, "available images ", transform=ax.get_xaxis_transform(), color=GREY,
            rotation=90, ha="right", va="top", fontsize=8,
        )  # fmt: skip
        ax.set_ylim(limits)
    return ax
