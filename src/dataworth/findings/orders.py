"""How many images to order now for a target error, as sentences and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from ..scaling.analysis import Analysis
from ..scaling.experiment_design import RunBeforeOrder, run_before_order
from ..scaling.purchases import LEAST_GAIN, Purchase, plan_purchase
from .sentences import percent, rounded

WORTHWHILE_SAVING = 0.01  # of the expected cost of an order: a run that saves less is not named
MISS_CHANCES = (0.5, 0.3, 0.2, 0.1, 0.05)  # accepted ones, whose plans are compared


@dataclass(frozen=True)
class Terms:
    """Terms of an order: what is to be reached, and what it may cost."""

    target: float  # error to reach, a share
    rounds: int = 1  # orders that can still be made, this one included
    price: float = 0.0  # of one image; 0: unknown, costs are in images
    miss_cost: float | None = None  # None: such that the target is missed with ``miss_chance``
    miss_chance: float = 0.1


@dataclass(frozen=True)
class OrderAdvice:
    """What to order now, what may come before it, and what other degrees of certainty cost."""

    plan: Purchase
    run: RunBeforeOrder | None  # None without an order
    certainty: Sequence[Purchase]  # plans that miss less often, one by one; empty if not asked for

    def numbers(self) -> dict[str, object]:
        """Return the content of a JSON file."""
        return {
            "order": asdict(self.plan),
            "run_before_order": None if self.run is None else asdict(self.run),
            "certainty": [asdict(plan) for plan in self.certainty],
        }


def plan_order(analysis: Analysis, terms: Terms) -> Purchase | None:
    """Plan how many images to buy now; None without a law, and if the target is reached."""
    posterior, points = analysis.posterior, analysis.points
    if posterior is None or points.means[-1] <= terms.target:
        return None
    return plan_purchase(
        posterior, terms.target, terms.rounds, terms.price or 1.0, terms.miss_cost,
        terms.miss_chance, points.last_num_test,
    )  # fmt: skip


def advise_order(analysis: Analysis, terms: Terms) -> OrderAdvice | None:
    """Plan an order with all that is said of it; None as of :func:`plan_order`."""
    plan = plan_order(analysis, terms)
    if plan is None or not plan.order:
        return None if plan is None else OrderAdvice(plan, None, ())
    run = run_before_order(analysis, plan, terms.price or 1.0)
    certainty = _certainty(analysis, terms) if terms.miss_cost is None else ()
    return OrderAdvice(plan, run, certainty)


def _certainty(analysis: Analysis, terms: Terms) -> list[Purchase]:
    """Plan orders that accept other probabilities of missing; those that differ are returned."""
    plans: list[Purchase] = []
    for chance in MISS_CHANCES:
        plan = plan_order(analysis, replace(terms, miss_chance=chance))
        if plan is not None and plan.chance >= (plans[-1].chance if plans else 0) + 0.01:
            plans.append(plan)
    return plans


def describe_order(analysis: Analysis, terms: Terms, advice: OrderAdvice | None = None) -> str:
    """Recommend how many images to buy now, and say what other degrees of certainty cost.

    Parameters
    ----------
    analysis : Analysis
    terms : Terms
    advice : OrderAdvice, optional
        Of this analysis and these terms, where it is known already.
    """
    advice = advice or advise_order(analysis, terms)
    if advice is None:
        return f"No order: {percent(terms.target)} is reached already."
    plan, is_cost_given = advice.plan, terms.miss_cost is not None
    text = order_sentence(plan, analysis.points.sizes[-1], terms.price, is_cost_given)
    if plan.order and not is_cost_given and plan.chance < 1 - terms.miss_chance - LEAST_GAIN:
        text += f" No order reaches it with probability {100 * (1 - terms.miss_chance):.0f} %."
    if advice.run is not None:
        text = f"{text} {_run_sentence(advice.run, plan, terms.price)}"
    return f"{text}\n\n{_certainty_table(advice, terms)}" if advice.certainty else text


def _certainty_table(advice: OrderAdvice, terms: Terms) -> str:
    unit = "" if terms.price else " images"
    lines = [
        f"What certainty costs, {_in_rounds(terms.rounds)}:",
        " reached with    order now    expected in the end    worth it if a miss costs",
    ]
    lines += [
        f"{100 * plan.chance:11.0f} %{rounded(plan.order):>13}"
        f"{rounded(plan.expected_images):>23}{rounded(plan.miss_cost) + unit:>28}"
        for plan in advice.certainty
    ]
    return "\n".join(lines)


def _in_rounds(rounds: int) -> str:
    return "in this round" if rounds == 1 else f"in {rounds} rounds"


def order_sentence(
    plan: Purchase,
    num_images: float,
    price: float,
    is_cost_given: bool,
    miss_cost_name: str = "--miss-cost",
) -> str:
    """Describe how many images to buy now, and what to expect.

    Parameters
    ----------
    plan : Purchase
    num_images : float
        Training images at hand.
    price : float
        Of one image; 0: unknown, costs are in images.
    is_cost_given : bool
        Whether the user gave the cost of missing the target.
    miss_cost_name : str
        How the user gives it.
    """
    unit = "" if price else " images"
    miss = f"{plan.miss_cost:,.0f}{unit}"
    rounds = _in_rounds(plan.rounds)
    if plan.order == 0 and plan.chance_now >= 0.5:
        return (
            f"Order nothing: by the law {percent(plan.target)} is expected of the images at hand "
            f"(probability {100 * plan.chance_now:.0f} %), and the error measured above it is "
            "noise. Train another seed of the largest size."
        )
    if plan.order == 0:
        return (
            f"Order nothing: to reach {percent(plan.target)} {rounds} is expected to cost more "
            f"than to miss it, {miss}."
        )
    paid = f", for {price * plan.order:,.0f}" if price else ""
    text = (
        f"Order {rounded(plan.order)} images now, {rounded(num_images + plan.order)} in all{paid}: "
        f"probability {100 * plan.chance_now:.0f} % that {percent(plan.target)} is reached then"
    )
    if plan.rounds > 1:
        text += (
            f", and {100 * plan.chance:.0f} % that it is reached {rounds}, each planned again from "
            "what was measured"
        )
    expected = f"{rounded(plan.expected_images)} images are expected to be bought"
    if is_cost_given:
        return (
            f"{text}. {expected}; with the cost of missing, {plan.expected_cost:,.0f}{unit} are "
            f"expected, and to stop now costs {miss}."
        )
    paid = f" for {price * plan.expected_images:,.0f}" if price else ""
    return (
        f"{text}. {expected}{paid}. Plan the next rounds with {miss_cost_name} "
        f"{_rounded_up(plan.miss_cost):.12g}, which is what a miss must cost for this plan."
    )


def _rounded_up(cost: float) -> float:
    """Return a cost with four digits, never below it: at less the plan may be another."""
    unit = 10.0 ** (np.floor(np.log10(cost)) - 3)
    return float(np.ceil(round(cost / unit, 6)) * unit)


def _run_sentence(run: RunBeforeOrder, plan: Purchase, price: float) -> str:
    """Describe the further run of images at hand that would make the order cheaper."""
    share = run.saving / plan.expected_cost
    if share < WORTHWHILE_SAVING:
        return (
            "A further run of the images at hand, before you order, would lower the expected cost "
            f"by less than {100 * WORTHWHILE_SAVING:.0f} %."
        )
    unit = "" if price else " images"
    kind = "a run of" if run.is_new_size else "another seed at"
    return (
        f"Before you order, {kind} {rounded(run.n)} images, which needs no new ones, is expected "
        f"to save {rounded(run.saving)}{unit} ({100 * share:.0f} % of the expected cost of images "
        "and of missing), because the order then fits the curve better: worth it if its training "
        "costs less."
    )
