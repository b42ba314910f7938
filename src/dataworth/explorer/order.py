"""Tab of the explorer: how many images to order now for a target error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..findings import sentences
from ..findings.curves import Curve
from ..findings.orders import Terms, order_sentence, plan_order
from ..scaling.purchases import NUM_DRAWS
from .components import escape
from .law import NOT_EVALUATED, PRIVATE, WIDTH, Question, law_of, sliders
from .study import ExplorerStudy

NO_LAW = "No order can be planned without a law; the tab before says what is missing."
FACTORS = np.array([1.25, 1.5, 2, 3, 4, 6, 8])  # times the images at hand: orders to compare
MAX_ROUNDS = 5


def order_tab(study: ExplorerStudy, variant: Any) -> Question:
    """Lay out the tab; ``variant`` is the component that selects the variant of the page."""
    import gradio as gr

    size: Any = {"min_width": WIDTH, "minimum": 0}
    with gr.Row():
        target = sliders(study, study.variants[0], 1)
        label = "Orders that can still be made"
        rounds = gr.Slider(1, MAX_ROUNDS, 2, step=1, label=label, buttons=[], min_width=WIDTH)
    with gr.Row():
        price = gr.Number(0, label="Price of an image (0: costs are in images)", **size)
        miss = gr.Number(10, label="Accepted probability of missing (%)", maximum=99, **size)
        miss_cost = gr.Number(0, label="Or the cost of missing (0: not known)", **size)
    text = gr.Markdown("Planning the order ...", elem_id="order")
    label = "A single order, none after it"
    table = gr.Dataframe(label=label, interactive=False, wrap=True, buttons=[])

    def answer(name: str, *values: float | None) -> tuple[str, Any]:
        if (curve := law_of(study, name)) is None:
            return (NO_LAW if study.findings else NOT_EVALUATED), None
        return order_panel(curve, *(value or 0 for value in values))

    variant.change(lambda name: sliders(study, name, 1)[0], variant, target, **PRIVATE)
    inputs = [variant, *target, rounds, price, miss, miss_cost]
    return answer, inputs, [text, table]


def order_panel(
    curve: Curve, percent: float, rounds: float, price: float, miss: float, miss_cost: float
) -> tuple[str, pd.DataFrame | None]:
    """Return the order to make now as a sentence, and other orders as a table.

    Parameters
    ----------
    curve : Curve
        With a law.
    percent : float
        Target error in percent.
    rounds : float
        Orders that can still be made, a whole number.
    price : float
        Of an image; 0: unknown.
    miss : float
        Accepted probability of missing the target, in percent.
    miss_cost : float
        Cost of missing the target; 0: such that it is missed with that probability.
    """
    points, posterior, target = curve.analysis.points, curve.analysis.posterior, percent / 100
    assert posterior is not None, "the caller checks"
    chance = max(miss, 1) / 100
    terms = Terms(target, min(int(rounds), MAX_ROUNDS), price, miss_cost or None, chance)
    plan = plan_order(curve.analysis, terms)
    if plan is None:
        return escape(f"No order: {sentences.percent(target)} is reached already."), None
    at_hand = points.sizes[-1]
    text = order_sentence(plan, at_hand, price, miss_cost > 0, "a cost of missing of")
    orders = np.unique([*np.round((FACTORS - 1) * at_hand), plan.order])
    orders = orders[orders > 0]
    draws = posterior.thinned(max(1, len(posterior.drift) // NUM_DRAWS))  # those of the plan
    error = draws.expected_error(np.array([at_hand, *at_hand + orders]))
    missed = error[:, 0] > target  # at hand, as was measured: the plan keeps these alone
    below = np.logical_or.accumulate(error[missed, 1:] <= target, axis=1)
    chances = below.mean(axis=0) if len(below) else np.ones(len(orders))
    reached = np.where(orders == plan.order, plan.chance_now, chances)
    rows = {
        "order now": [
            f"{sentences.rounded(n)}{' (planned)' if n == plan.order else ''}" for n in orders
        ],
        "images then": [sentences.rounded(at_hand + n) for n in orders],
        "cost": [f"{(price or 1) * n:,.0f}" for n in orders],
        "target reached": [f"{100 * p:.0f} %" for p in reached],
    }
    return escape(text), pd.DataFrame(rows).drop(columns=[] if price else ["cost"])
