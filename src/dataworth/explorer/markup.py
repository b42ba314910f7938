"""Answers, examples and the law as HTML. Everything that a user or a data set named is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from ..data.images import decode_square
from ..findings import sentences
from . import law
from .answers import SHOWN, Answer, Pixels
from .study import Example, Measured

THUMBNAIL = 96  # pixels
CAPTION = (
    "Bars: the probability that a model gives to its five likeliest classes. Bright in the "
    "picture: what speaks for its first answer (Grad-CAM)."
)
SETS = " The set, in blue, holds the truth for {:.0%} of images like those it was calibrated on."
NO_SETS = " Sets of classes that keep a promise: run <code>python eval.py --conformal</code>."
NO_MAP = "This model has no map of places, so where it looks cannot be shown."


def examples(found: Sequence[Example]) -> str:
    """Return a button per test image."""
    buttons = (
        f'<button type="button" class="thumb" data-index="{i}" '
        f'aria-label="Test image {i + 1}, class {escape(one.truth)}">'
        f'<img alt="" src="{_png(decode_square(one.data, THUMBNAIL))}">'
        f"<span>{escape(one.truth)}</span></button>"
        for i, one in enumerate(found)
    )
    return f'<div class="thumbs" role="group" aria-label="Test images">{"".join(buttons)}</div>'


def trouble(message: str) -> str:
    """Return what is wrong with a picture."""
    return f'<p class="trouble" role="alert">{escape(message)}</p>'


def answers(
    found: Sequence[Answer], seen: Pixels, name: str, truth: str | None, alpha: float
) -> str:
    """Return the answer of each size beside the others, smallest first.

    Parameters
    ----------
    seen : uint8 ndarray of shape (size, size, 3)
        The picture as all models see it.
    name : str
        Of the picture.
    truth : str or None
        Its class, where it is known.
    """
    told = SETS.format(1 - alpha) if found[-1].members is not None else NO_SETS
    cards = "".join(_card(answer, truth) for answer in found)
    return (
        f'<div class="seen"><img alt="{escape(name)}, as the models see it" src="{_png(seen)}">'
        f'<p role="status">{_summary(found, name, truth)}</p></div>'
        f'<ul class="cards">{cards}</ul><p class="caption">{CAPTION}{told}</p>'
    )


def _summary(found: Sequence[Answer], name: str, truth: str | None) -> str:
    said = [
        f"with {one.num_images:,} training images the model says "
        f"<b>{escape(one.top[0][0])}</b> ({one.top[0][1]:.0%})"
        for one in (found[0], *found[1:][-1:])
    ]
    known = "" if truth is None else f" It is <b>{escape(truth)}</b>."
    return f"{escape(name)}: {'; '.join(said)}.{known}"


def _card(answer: Answer, truth: str | None) -> str:
    first = escape(answer.top[0][0])
    looks = f"<p>{NO_MAP}</p>"
    if answer.looks is not None:
        looks = f'<img alt="Bright where this model sees {first}" src="{_png(answer.looks)}">'
    blue = dict(answer.top) if answer.members is None else set(answer.members)
    bars = "".join(
        f'<li><span class="name">{escape(name)}{" ✓" if name == truth else ""}</span>'
        f'<span class="share">{share:.1%}</span>'
        f'<span class="bar{"" if name in blue else " out"}" style="width:{100 * share:.1f}%">'
        "</span></li>"
        for name, share in answer.top
    )
    return (
        f'<li class="card"><h3>{answer.num_images:,} training images</h3>{looks}'
        f'<ol class="bars">{bars}</ol>{_set(answer)}</li>'
    )


def _set(answer: Answer) -> str:
    if answer.members is None:
        return ""
    if not answer.members:
        return '<p class="set">Set: empty, no class is likely enough</p>'
    count = len(answer.members)
    named = ": " + ", ".join(map(escape, answer.members)) if count <= SHOWN else ""
    return f'<p class="set">Set of {count} {"class" if count == 1 else "classes"}{named}</p>'


def law_panel(measured: Measured | None, percent: float, budget: float) -> str:
    """Return both answers, the plot and how far it can be trusted."""
    if measured is None:
        return trouble("No test errors yet: run python eval.py, then start this page again.")
    analysis, name = measured.curve.analysis, law.name_of(measured)
    if analysis.posterior is None:
        drawn = _svg(law.figure(measured), f"Test {name} against training images")
        return f'<p class="answer">{escape(sentences.law(analysis, name))}</p>{drawn}'
    target, images = percent / 100, max(1, round(budget))
    said = law.sentences(measured, target, images)
    drawn = _svg(
        law.figure(measured, target, images),
        f"Test {name} against training images on log axes, with the law. {' '.join(said)}",
    )
    first, second = map(escape, said)
    trust = f"{sentences.law(analysis, name)}\n{sentences.backtest(analysis)}"
    return (
        f'<div role="status"><p class="answer">{first}</p><p class="answer">{second}</p></div>'
        f"{drawn}<details><summary>How far can this be trusted?</summary>"
        f"<p>{escape(trust).replace(chr(10), '<br>')}</p></details>"
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
.seen { display: flex; gap: 16px; align-items: center; margin: 8px 0 16px; }
.seen img { width: 112px; height: 112px; border-radius: 6px; flex: none; }
.seen p { font-size: 17px; margin: 0; overflow-wrap: anywhere; }
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
.trouble { border-left: 4px solid #D55E00; padding: 8px 12px; }
.answer { font-size: 18px; margin: 0 0 6px; }
img.law { width: 100%; max-width: 760px; background: white; border-radius: 6px; }
"""
