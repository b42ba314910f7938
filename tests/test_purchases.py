"""Planning how many images to buy: against closed forms and brute force."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from dataworth import LearningCurve
from dataworth.commands.forecast import forecast
from dataworth.findings.orders import Terms, _rounded_up, describe_order, order_sentence
from dataworth.findings.sentences import rounded
from dataworth.scaling import purchases
from dataworth.scaling.analysis import Analysis
from dataworth.scaling.experiment_design import run_before_order
from dataworth.scaling.fitting import fit
from dataworth.scaling.points import Points
from dataworth.scaling.posterior import LawDraws, Posterior
from dataworth.scaling.purchases import STEPS_PER_DOUBLING, plan_purchase
from tests.conftest import ROOT

SIZES = np.array([500.0, 1000, 2000, 4000])
CURVE = Points(SIZES, 0.9 * (SIZES / 100) ** -0.4, np.full(4, 5000.0))


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return fit(CURVE, 0.99)


def certain_law(exponent: float, draws: int = 50) -> Posterior:
    """Return a posterior without doubt: error 0.2 at 1,000 images, and a power law after it."""
    level, exponents = np.full((draws, 1), 0.2), np.full((draws, 1), exponent)
    return Posterior(
        laws=(LawDraws("power law", (level, exponents)),),
        largest_size=1000.0,
        chance=1.0,
        drift=np.zeros(draws),
        scatter=np.zeros(draws),
        relative_seed_variance=0.0,
        noise=np.zeros((draws, 2)),
    )


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_without_doubt_one_order_reaches_the_target(rounds: int) -> None:
    plan = plan_purchase(certain_law(0.5), 0.1, rounds)  # 4,000 images have half the error
    assert plan.order == pytest.approx(3000, abs=1)
    assert plan.chance_now == plan.chance == 1
    assert plan.expected_images == pytest.approx(3000)


def test_a_target_that_the_law_has_reached_needs_no_order() -> None:
    plan = plan_purchase(certain_law(0.5), 0.25, 1)  # where a noisy point lies above it
    text = order_sentence(plan, 1000, 0, is_cost_given=False)
    assert "Order nothing: by the law 25.0 % is expected of the images at hand" in text


def test_an_order_that_costs_more_than_the_miss_is_not_made() -> None:
    plan = plan_purchase(certain_law(0.5), 0.1, 3, price=1.0, miss_cost=2999.0)
    assert (plan.order, plan.chance, plan.expected_cost) == (0, 0, 2999)
    assert plan_purchase(certain_law(0.5), 0.1, 3, price=1.0, miss_cost=3001.0).order == 3000


def test_a_single_round_buys_the_quantile_of_the_newsvendor(posterior: Posterior) -> None:
    """With one order, minimise price * order + miss cost * P(not reached): by enumeration."""
    plan = plan_purchase(posterior, 0.1, 1, price=2.0, miss_cost=50_000.0)
    n = 4000 * 2.0 ** (np.arange(80) / STEPS_PER_DOUBLING)
    reached = (posterior.expected_error(n) <= 0.1)[:: 8000 // purchases.NUM_DRAWS]
    alive = np.array([(~reached[:, : i + 1].any(axis=1)).mean() for i in range(len(n))])
    costs = 2.0 * (n - 4000) + 50_000 * alive
    assert plan.order == np.ceil(n[costs.argmin()] - 4000)
    assert plan.expected_cost == pytest.approx(costs.min())


def test_rounds_that_only_learn_reached_or_not_are_solved_exactly(posterior: Posterior) -> None:
    """Two rounds on a coarse part of the grid, against all pairs of orders."""
    problem = purchases._Problem.build(posterior, 0.1, 1.0, None)
    alive, bought, miss_cost = problem.survival, problem.bought, 30_000.0
    cost, missed = problem._solve(alive[None], 2, miss_cost, 0)
    plans = [
        (bought[i] + alive[i] * (bought[j] - bought[i]) + alive[j] * miss_cost, alive[j])
        for i, j in product(range(len(bought)), repeat=2)
        if i <= j
    ]
    assert cost[0, 0] == pytest.approx(min(plans)[0])
    assert missed[0, 0] == pytest.approx(min(plans)[1])


def test_more_rounds_and_what_is_learned_never_cost_more(posterior: Posterior) -> None:
    plans = [plan_purchase(posterior, 0.15, rounds, miss_cost=60_000.0) for rounds in (1, 2, 3)]
    costs = [plan.expected_cost for plan in plans]
    assert costs == sorted(costs, reverse=True)
    assert plans[-1].order < plans[0].order  # waiting for a measurement saves images
    problem = purchases._Problem.build(posterior, 0.15, 1.0, None)
    blind = problem._solve(problem.survival[None], 3, 60_000.0, 0)[0][0, 0]
    assert costs[2] < blind


@pytest.mark.parametrize(("miss_chance", "rounds"), [(0.1, 1), (0.1, 3), (0.3, 2)])
def test_a_chance_of_missing_is_kept(posterior: Posterior, miss_chance: float, rounds: int) -> None:
    plan = plan_purchase(posterior, 0.15, rounds, miss_chance=miss_chance)
    assert 1 - plan.chance <= miss_chance
    assert 0 <= plan.chance_now <= plan.chance + 1e-9
    again = plan_purchase(posterior, 0.15, rounds, miss_cost=plan.miss_cost)
    assert again == plan


def test_money_scales(posterior: Posterior) -> None:
    one = plan_purchase(posterior, 0.15, 2, price=1.0, miss_cost=40_000.0)
    two = plan_purchase(posterior, 0.15, 2, price=2.0, miss_cost=80_000.0)
    assert two.order == one.order
    assert two.expected_cost == pytest.approx(2 * one.expected_cost)


def test_the_command_recommends_an_order(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [str(ROOT / "tests" / "data" / "points.csv"), "--target", "0.1", "--order"]
    file = tmp_path / "numbers.json"
    with pytest.raises(SystemExit) as ended:
        forecast([*words, "--rounds", "2", "--price-image", "0.05", "--json", str(file)])
    assert ended.value.code == 0
    content = json.loads(file.read_text())
    order = content["order"]
    assert order["rounds"] == 2
    text = " ".join(capsys.readouterr().out.split())
    saving = rounded(content["run_before_order"]["saving"])
    assert f"to save {saving}" in text or "by less than 1 %" in text
    rows = text.split("What certainty costs")[1]
    for plan in content["certainty"]:
        assert f"{100 * plan['chance']:.0f} % {rounded(plan['order'])} " in rows
    assert len(content["certainty"]) == rows.count(" % ")
    assert f"Order {rounded(order['order'])} images now" in text
    assert re.search(r"Order [\d,]+ images now, [\d,]+ in all, for [\d,]+: probability", text)
    assert "reached in 2 rounds" in text
    assert "--miss-cost" in text
    assert "efore you order" in text


def test_more_certainty_costs_more(posterior: Posterior) -> None:
    analysis = Analysis(CURVE, 0.99, posterior, "")
    told = describe_order(analysis, Terms(0.12, rounds=2))
    rows = [
        [float(word.replace(",", "")) for word in re.findall(r"[\d,]+", line)]
        for line in told.splitlines()
        if line.endswith(" images") and line.startswith("  ")
    ]
    assert len(rows) >= 3
    for column in (0, 2, 3):  # chance, images, cost of a miss
        values = [row[column] for row in rows]
        assert values == sorted(values)
    assert "certainty" not in describe_order(analysis, Terms(0.12, rounds=2, miss_cost=1e5))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--order"], "--order: name the error to reach by --target"),
        (["--order", "--target", "0.9"], "No order: 90.0 % is reached already."),
        (["--order", "--target", "0.1", "--miss-cost", "1"], "Order nothing: to reach 10.0 %"),
        (["--target", "0.1", "--rounds", "2"], "--rounds"),
    ],
)
def test_what_needs_no_order_is_said(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        forecast([str(ROOT / "tests" / "data" / "points.csv"), *words])
    output = capsys.readouterr()
    assert message in output.out + output.err
    assert "Traceback" not in output.err


def test_a_run_before_the_order_saves_at_most_what_is_not_known(posterior: Posterior) -> None:
    analysis = Analysis(CURVE, 0.99, posterior, "")
    plan = plan_purchase(posterior, 0.1, 1, miss_cost=50_000.0, num_test=5000.0)
    run = run_before_order(analysis, plan)
    assert run.n in (250, *SIZES)
    assert 0 <= run.saving < plan.expected_cost
    sure = certain_law(0.5, draws=2000)
    known = plan_purchase(sure, 0.1, 1)
    exact = [(500.0, np.full(2000, 1e-6))]
    assert purchases.savings_by_runs(sure, known, 1.0, None, exact)[0] < 1e-6
    told = [(16_000.0, np.full(8000, 1e-8))]  # a measurement far ahead tells almost everything
    assert purchases.savings_by_runs(posterior, plan, 1.0, None, told)[0] > 2 * run.saving


def test_a_noisy_error_above_the_target_does_not_prove_that_it_is_not_reached() -> None:
    """The plan is sure of what the forecast is sure of."""
    curve = LearningCurve(0.9, 100).fit([1000, 2000, 4000, 8000], [0.42, 0.35, 0.29, 0.26])
    plan = curve.plan(0.25)
    images = curve.required_n(0.25, level=0.8, runs=np.inf).upper
    assert plan.chance_now >= 0.9
    assert 8000 + plan.order == pytest.approx(images, rel=2 ** (1 / STEPS_PER_DOUBLING))
    reached = curve.plan(0.27, miss_cost=7.0)
    assert (reached.order, reached.expected_cost) == (0, 0)
    assert reached.chance == pytest.approx(curve.probability(0.27, 8000, runs=np.inf), abs=0.01)


def test_a_chance_out_of_reach_is_said_and_not_paid_for_without_limit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    posterior = LearningCurve(0.9).fit([1e3, 2e3, 4e3, 8e3], [0.42, 0.35, 0.29, 0.24])._posterior()
    plan = plan_purchase(posterior, 0.18, 1, miss_chance=0.02)
    most = plan_purchase(posterior, 0.18, 1, miss_cost=1e12)
    assert plan.chance < 0.98
    assert plan.chance == pytest.approx(most.chance, abs=purchases.LEAST_GAIN + 1e-9)
    assert plan.miss_cost < 1e8
    (tmp_path / "a.csv").write_text("n,error\n1000,0.42\n2000,0.35\n4000,0.29\n8000,0.24\n")
    words = [tmp_path / "a.csv", "--chance", "0.9", "--target", "0.18", "--order", "--miss-chance"]
    with pytest.raises(SystemExit):
        forecast([*map(str, words), "0.02"])
    assert "No order reaches it with probability 98 %." in capsys.readouterr().out


def test_the_printed_cost_of_a_miss_leads_to_the_same_order() -> None:
    for cost in (25058.3, 313_092.0, 0.012341, 9999.5):
        assert cost <= _rounded_up(cost) < 1.0011 * cost
    assert _rounded_up(25_060.0) == 25_060


def test_a_learning_curve_plans() -> None:
    curve = LearningCurve(0.99, 5000).fit(SIZES, CURVE.error)
    assert curve.plan(0.15, rounds=2) == plan_purchase(
        curve.analysis_.posterior, 0.15, 2, num_test=5000.0
    )
    for wrong in ({"rounds": 0}, {"price": 0.0}, {"miss_cost": -1.0}, {"miss_chance": 1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            curve.plan(0.15, **wrong)
