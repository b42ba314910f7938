import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.optimize import brentq
from scipy.stats import norm

from dataworth.figures.learning import plot_learning
from dataworth.figures.scaling import plot_backtest, plot_curves, plot_error, plot_points
from dataworth.figures.style import new_axes
from dataworth.findings import sentences
from dataworth.findings.convergence import convergence_table
from dataworth.findings.curves import curves, headline
from dataworth.findings.curves import law_record as laws
from dataworth.findings.study import describe, describe_forecasts
from dataworth.findings.tables import comparison_table, describe_gains, gains_table
from dataworth.scaling import experiment_design
from dataworth.scaling.analysis import analyse, forecasts, to_dict
from dataworth.scaling.experiment_design import rank_next_runs, simulate_design
from dataworth.scaling.fitting import fit
from dataworth.scaling.forecasting import forecast, interval, required_images
from dataworth.scaling.laws import LAWS
from dataworth.scaling.points import NotIdentifiableError, Points
from dataworth.scaling.priors import (
    COMPONENTS,
    LATE_DRIFT,
    PRIORS,
    SCATTER_PRIOR,
    VAGUE_PRIOR,
    Component,
)
from dataworth.scaling.sampling import sample_posterior

N = np.array([3125, 6250, 12500, 25000, 50000.0])
CHANCE = {"top_1_error": 0.99, "top_5_error": 0.95}
X = np.geomspace(1 / 16, 64, 30)


def points(error, n=N, num_test=5000, seeds=1, spread=0.0):
    rng = np.random.default_rng(0)
    n, error = np.repeat(n, seeds), np.repeat(error, seeds)
    noisy = error * np.exp(spread * rng.standard_normal(len(error)))
    return Points(n, noisy, None if num_test is None else np.full(len(n), float(num_test)))


def component_of(name):
    return next(m for m in (*COMPONENTS, *VAGUE_PRIOR, EXPONENTIAL) if m.law == name)


EXPONENTIAL = Component(
    "stretched exponential",
    1.0,
    {"rate": COMPONENTS[3].priors["exponent"], "floor": VAGUE_PRIOR[1].priors["floor"]},
    COMPONENTS[0].drift_prior,
)


@pytest.mark.parametrize("name", LAWS)
def test_every_law_falls_between_chance_and_floor(name):
    z = np.random.default_rng(1).standard_normal((300, len(LAWS[name].parameters)))
    parameters = component_of(name).parameters(z, 0.3, 0.95)
    error = LAWS[name].formula(X, 0.95, *parameters)
    assert error.shape == (300, 30)
    assert (error > 0).all()
    assert (error <= 0.95 + 1e-12).all()
    assert (np.diff(error, axis=1) <= 1e-12).all()
    at_anchor = LAWS[name].formula(np.ones(1), 0.95, *parameters)
    assert at_anchor == pytest.approx(parameters[0])


def test_m4_solves_its_equation():
    level, exponent, floor, bend = 0.3, 0.6, 0.5, 0.4
    error = LAWS["M4"].formula(X, 0.9, *(np.array([[v]]) for v in (level, exponent, floor, bend)))
    low = floor * level

    def side(y):
        return np.log(y - low) - bend * np.log(0.9 - y)

    expected = [
        brentq(
            lambda y, x=x: side(y) - side(level) + exponent * np.log(x), low + 1e-13, 0.9 - 1e-13
        )
        for x in X
    ]
    assert error[0] == pytest.approx(np.array(expected), rel=1e-9)


def test_sampler_agrees_with_the_closed_form():
    mean, deviation = np.array([1.0, -0.5]), 0.3
    rng = np.random.default_rng(0)
    sample = sample_posterior(lambda z: -(((z - mean) / deviation) ** 2).sum(1) / 2, 2, rng)
    z = sample.resample(4000, rng)
    shrunk = 1 / (1 + deviation**2)
    assert z.mean(0) == pytest.approx(mean * shrunk, abs=0.03)
    assert z.std(0) == pytest.approx(deviation * shrunk**0.5, rel=0.1)
    exact = np.log(deviation**2 * shrunk) - (mean**2).sum() / 2 * shrunk
    assert sample.log_evidence == pytest.approx(exact, abs=0.03)


def test_sampler_weighs_a_thin_bent_ridge():
    width, rng = 0.03, np.random.default_rng(0)
    sample = sample_posterior(lambda z: -(((z[:, 0] - z[:, 1] ** 2 / 2) / width) ** 2) / 2, 2, rng)
    along = np.linspace(-8, 8, 100_001)
    prior = norm.pdf(along) * norm.pdf(along**2 / 2)
    exact = np.log(np.sqrt(2 * np.pi) * width * trapezoid(prior, along))
    assert sample.log_evidence == pytest.approx(exact, abs=0.1)
    spread = np.sqrt(trapezoid(prior * along**2, along) / trapezoid(prior, along))
    assert sample.resample(4000, rng)[:, 1].std() == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("member", VAGUE_PRIOR, ids=lambda m: m.law)
def test_noiseless_laws_are_recovered_to_one_percent(member):
    n = np.geomspace(1e3, 1e6, 11)
    truth = (0.1, 0.45, 0.2, 0.6)[: len(LAWS[member.law].parameters)]
    parameters = [np.array([[v]]) for v in truth]
    error = LAWS[member.law].formula(n / n[-1], 0.95, *parameters)[0]
    posterior = fit(points(error, n, 10**9), 0.95, [member])
    ahead = np.array([4e6])
    exact = LAWS[member.law].formula(ahead / n[-1], 0.95, *parameters)[0]
    assert np.median(posterior.law_error(ahead), axis=0) == pytest.approx(exact, rel=0.01)
    assert np.median(posterior.law_error(n), axis=0) == pytest.approx(error, rel=0.01)


@given(
    st.floats(0.1, 0.8),
    st.floats(0.05, 0.9),
    st.sampled_from([0.9, 0.95, 1.0]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=8, deadline=None)
def test_forecasts_fall_stay_below_chance_and_know_no_unit_or_order(
    exponent, first, chance, random
):
    error, at = np.minimum(first * (N / N[0]) ** -exponent, chance), np.geomspace(6e4, 3e6, 8)
    point, low, high = forecast(N, error, at, chance, 0.9)
    assert (np.diff(point) <= 1e-12).all()
    assert (high <= chance).all()
    assert ((low <= point) & (point <= high)).all()
    order = random.sample(range(len(N)), len(N))
    other = forecast(N[order] / 1000, error[order], at / 1000, chance, 0.9)
    assert np.array(other) == pytest.approx(np.array([point, low, high]), rel=1e-6)


def test_same_points_give_the_same_posterior():
    error = points(5 * N**-0.3, seeds=2, spread=0.02)
    first, again = (fit(error, 0.95) for _ in range(2))
    assert np.array_equal(first.exponent, again.exponent, equal_nan=True)
    assert first.law_probabilities == again.law_probabilities


def test_no_error_at_all_is_a_point_where_the_test_set_is_known():
    error = np.array([0.04, 0.01, 0.0025, 0.0, 0.0])
    _, low, high = forecast(N, error, np.array([1e5]), 0.9, 0.9, n_test=2000)
    assert 0 <= low < high < 0.004
    with pytest.raises(NotIdentifiableError, match="num_test"):
        forecast(N, error, np.array([1e5]), 0.9, 0.9)


def test_none_of_the_test_images_wrong_was_inside_the_interval():
    measured = Points(N, np.array([0.04, 0.01, 0.0025, 0.001, 0.0]), np.full(5, 2000.0))
    analysis = analyse(measured, 0.9)
    assert all(test.covered and test.lower == 0 for test in analysis.backtests)
    assert "measured: 0.0 %, inside" in sentences.backtest(analysis)


def test_many_sizes_are_condensed_without_bias():
    n = np.linspace(1e3, 1e5, 100)
    posterior = fit(points(30 * n**-0.5, n, num_test=None), 1.0)
    at = np.array([1e5, 4e5])
    assert np.median(posterior.law_error(at), axis=0) == pytest.approx(30 * at**-0.5, rel=0.005)


def test_a_law_that_begins_late_ignores_the_sizes_before_it():
    n, error = 3125 * 2.0 ** np.arange(7), [0.38, 0.36, 0.33, 0.19, 0.186, 0.183, 0.181]
    with_it, without = (
        np.median(fit(points(np.array(error), n, None), 0.95, prior).law_error(4 * n[-1:]))
        for prior in (COMPONENTS, COMPONENTS[:-1])
    )
    assert without < 0.15  # the steep step counts
    assert 0.172 < with_it < 0.181


def test_a_law_that_begins_late_hardly_moves_the_forecast_of_a_smooth_curve():
    at, measured = np.array([1e5, 2e5]), points(0.05 + 11 * N**-0.5, num_test=None)
    with_it, without = (
        np.median(fit(measured, 0.95, prior).law_error(at), axis=0)
        for prior in (COMPONENTS, COMPONENTS[:-1])
    )
    assert with_it == pytest.approx(without, rel=0.01)


@pytest.mark.parametrize(("n", "error"), [(0, 0.5), (np.nan, 0.5), (np.inf, 0.5), (9, np.nan)])
def test_what_is_no_measurement_is_refused(n, error):
    with pytest.raises(ValueError, match="above 0"):
        Points(np.array([n, 10.0]), np.array([error, 0.4]))


def test_backtest_is_of_the_mean_over_seeds_and_knows_no_order():
    measured = points(5 * N**-0.3, seeds=8, spread=0.1)
    num_test = np.repeat([100.0, 200, 500, 1000, 10_000], 8)
    tests = [
        analyse(Points(measured.n[order], measured.error[order], num_test[order]), 0.95).backtests
        for order in (slice(None), slice(None, None, -1))
    ]
    assert [vars(test) for test in tests[0]] == [pytest.approx(vars(test)) for test in tests[1]]
    posterior = fit(measured, 0.95)
    one, mean = (np.diff(interval(posterior.run_error(N[-1:], None, k)), axis=0) for k in (1, 8))
    assert mean < 0.65 * one


def test_intervals_narrow_with_seeds_and_with_a_larger_test_set():
    def width(prior=None, **kwargs):
        posterior = fit(points(5 * N**-0.3, **kwargs), 0.95, prior)
        low, high = interval(posterior.law_error(np.array([2e5])))
        return float((high - low)[0])

    assert width(num_test=50_000) < width(num_test=500)
    runs = {"prior": VAGUE_PRIOR, "spread": 0.1, "num_test": None}
    assert width(seeds=32, **runs) < width(seeds=2, **runs)


def test_forecasts_from_runs_are_those_from_their_means():
    runs = points(5 * N**-0.3, seeds=3, spread=0.1)
    ahead = np.array([1e5, 2e5])
    posterior, told_means = fit(runs, 0.95), fit(runs.of_means, 0.95)
    assert (posterior.law_error(ahead) == told_means.law_error(ahead)).all()
    widths = [
        np.diff(np.log(interval(p.run_error(ahead, 5000, seeds))), axis=0)
        for p, seeds in ((told_means, 1), (posterior, 3), (posterior, 1))
    ]
    assert (widths[0] < widths[1]).all()  # a mean of three seeds still varies with them
    assert (widths[1] < widths[2]).all()


def test_seed_variance_is_pooled_and_falls_with_data():
    rng = np.random.default_rng(0)
    n = np.repeat(N, 200)
    variance = 1e-6 + 0.5 / n
    measured = Points(n, 0.3 + np.sqrt(variance) * rng.standard_normal(len(n)))
    assert measured.seed_variance == pytest.approx(1e-6 + 0.5 / N, rel=0.15)
    assert points(0.3 * np.ones(5)).seed_variance == pytest.approx(np.zeros(5))


def test_runs_that_hardly_err_are_not_expected_to_differ_as_much_as_the_first():
    n = np.repeat([323.0, 647, 1293], 2)
    error = np.array([0.10, 0.155, 0.0, 0.017, 0.0, 0.011])
    measured = Points(n, error, np.full(6, 180.0))
    assert measured.seed_variance[-1] < 0.1 * measured.seed_variance[0]
    posterior = fit(measured, 0.5, COMPONENTS)
    high = np.quantile(posterior.run_error(np.array([2 * 1293.0]), 180), 0.95)
    assert high < 0.1  # of the smallest size 13 %


@pytest.mark.parametrize("num_sizes", [20, 200])
def test_intervals_of_a_run_hold_however_many_sizes_were_measured(num_sizes):
    """Neighbours are averaged, but a new run scatters like one of them."""
    n, hits = np.geomspace(100, 20_000, num_sizes), []
    rng, at = np.random.default_rng(0), np.array([22_000.0])
    for _ in range(6):
        truth = [0.1 + 3 * m**-0.4 for m in (n, at)]
        error = truth[0] * np.exp(0.02 * rng.standard_normal(num_sizes))
        lower, upper = interval(fit(Points(n, error), 0.95).run_error(at))
        new = truth[1] * np.exp(0.02 * rng.standard_normal(500))
        hits.append(((lower <= new) & (new <= upper)).mean())
    assert np.mean(hits) > 0.8


def test_seeds_of_small_errors_vary_in_relation_to_them():
    """Without the number of test images errors have no smallest step."""
    n, noise = np.repeat(N, 3), np.exp(0.15 * np.random.default_rng(0).standard_normal(15))
    of_scale = [Points(n, scale * n**-0.3 * noise) for scale in (5.0, 5e-3, 5e-5)]
    variances = [measured.relative_seed_variance for measured in of_scale]
    assert variances[1] == pytest.approx(variances[2], rel=0.001)
    assert variances[2][-1] == pytest.approx(0.15**2, rel=0.6)
    assert variances[0] == pytest.approx(variances[2], rel=0.5)


def test_test_images_of_the_largest_size_do_not_depend_on_the_order_of_its_runs():
    n, tested = np.array([1e3, 2e3, 4e3, 4e3]), np.array([100.0, 100, 100, 10_000])
    orders = ([0, 1, 2, 3], [0, 1, 3, 2])
    last = {Points(n[i], np.full(4, 0.3), tested[i]).last_num_test for i in orders}
    assert last == {5050.0}


def test_required_images_invert_the_law():
    n = np.geomspace(1e3, 1e6, 9)
    posterior = fit(points(3 * n**-0.4, n, 10**8), 1.0)
    need = required_images(posterior, 3 * 2e6**-0.4)
    assert need.estimate == pytest.approx(2e6, rel=0.1)
    assert need.lower <= need.estimate <= need.upper


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("error", "n", "reason"),
    [
        ([0.5, 0.4], N[:2], "2 sizes were measured and 3 are needed"),
        ([0.5], N[:1], "1 size was measured and 3 are needed"),
        ([0.3, 0.2, 0.3], N[:3], "the error is 30.0 % both at 3,125 images and at 12,500"),
        ([0.3, 0.35, 0.4, 0.45, 0.5], N, "the error rises from 30.0 % at 3,125 images to 50.0 %"),
        (
            [0.949, 0.95, 0.948, 0.95, 0.947],
            N,
            "no error is clearly below the chance level, 95.0 %",
        ),
    ],
)
def test_what_no_law_explains_is_not_identifiable(error, n, reason):
    analysis = analyse(points(np.array(error), n), 0.95)
    assert analysis.posterior is None
    assert reason in analysis.reason
    assert reason in sentences.law(analysis)
    assert "no answer" in sentences.target(analysis, 0.1)
    assert to_dict(analysis)["identifiable"] is False


def test_five_points_do_not_pin_exponent_and_floor():
    analysis = analyse(points(0.06 + 5.5 * N**-0.3), 0.99)
    low, high = interval(
        analysis.vague_posterior.exponent[np.isfinite(analysis.vague_posterior.exponent)]
    )
    assert low < 0.3 < high
    assert high > 1.5 * low
    low, high = interval(analysis.vague_posterior.floor)
    assert low < 0.06 < high
    ahead = forecasts(analysis)
    assert [row.reliable for row in ahead] == [True, True, False]
    for row in ahead:
        assert row.lower < 0.06 + 5.5 * row.n**-0.3 < row.upper
    assert [test.hidden for test in analysis.backtests] == [1, 2]
    assert all(test.covered for test in analysis.backtests)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0.0 %"),
        (1e-9, "below 0.0001 %"),
        (2e-6, "0.0002 %"),
        (4e-5, "0.004 %"),
        (6e-4, "0.06 %"),
        (0.001, "0.1 %"),
        (0.1234, "12.3 %"),
    ],
)
def test_small_shares_keep_a_digit(share, text):
    assert sentences.percent(share) == text


def test_targets_are_answered_in_words():
    analysis = analyse(points(0.06 + 5.5 * N**-0.3, num_test=10**6), 0.99)
    assert "already reached, at 12,500 images" in sentences.target(analysis, 0.4)
    assert "90 % interval" in sentences.target(analysis, 0.2)
    n = np.geomspace(1e3, 1e6, 9)
    flat = analyse(points(0.3 + 50 * n**-0.9, n, 10**7), 0.99)
    assert "not reachable at any size" in sentences.target(flat, 0.02)
    assert "lies between 29" in sentences.law(flat) or "lies between 30" in sentences.law(flat)


def test_a_target_is_called_reached_or_out_of_reach_only_where_it_is():
    n = np.array([2000.0, 4000.0, 8000.0, 16_000.0])
    curve = analyse(Points(n, np.array([0.42, 0.24, 0.29, 0.26])), 1.0)
    text = sentences.target(curve, 0.25)
    assert "already reached" not in text
    assert "It was measured at 4,000 images, but not at 16,000: 26.0 %." in text
    many = np.geomspace(1e3, 1e6, 9)
    flat = analyse(points(0.3 + 50 * many**-0.9, many, 10**7), 0.99)
    assert required_images(flat.posterior, 0.2).probability > 0.05
    text = sentences.target(flat, 0.2)  # below the floor, but not by the forecasts
    assert "not reachable" not in text
    assert "By these points alone the floor is above" in text
    curve = analyse(Points(n, np.array([0.42, 0.24, 0.29, 0.23])), 1.0)
    assert "already reached, at 16,000 images" in sentences.target(curve, 0.25)


def test_advice_prefers_a_larger_size_to_another_seed_of_a_noiseless_one():
    single_seed, two_seeds = (analyse(points(5 * N**-0.3, seeds=k), 0.95) for k in (1, 2))
    candidates = {run.n: run for run in rank_next_runs(two_seeds)}
    assert candidates[100_000].is_new_size
    assert candidates[100_000].reduction > 0.1
    assert candidates[12_500].reduction == pytest.approx(0, abs=0.001)
    assert (
        max(run.reduction for run in rank_next_runs(single_seed) if not run.is_new_size) > 0.004
    )  # unknown spread; a late drift, which no further seed tells of, limits what there is to gain
    assert all(
        run.reduction == 0 for run in rank_next_runs(two_seeds, target=1e-12)
    )  # no draw reaches it


@pytest.mark.slow
def test_a_larger_design_is_more_precise(monkeypatch):
    monkeypatch.setattr(experiment_design, "NUM_STUDIES", 8)
    small, large = (simulate_design(sizes, 1, 5000, 0.95, 0.3) for sizes in (N[:3], N))
    assert large.exponent_width < 0.9 * small.exponent_width
    assert 0.7 <= large.coverage <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "members",
    [PRIORS["unknown"], PRIORS["scratch"], VAGUE_PRIOR],
    ids=["unknown", "scratch", "exponent"],
)
def test_intervals_have_their_nominal_coverage(members):
    covered = []
    for seed in range(200):
        truth, posterior, quantity = _simulated(
            members, np.random.default_rng([seed, len(members)])
        )
        low, high = interval(quantity(posterior))
        covered.append(low <= truth <= high)
    assert 0.84 <= np.mean(covered) <= 0.96


def _simulated(members, rng):
    """Draw a law from the prior, measure it, and fit."""
    weights = np.array([member.weight for member in members])
    member = members[rng.choice(len(members), p=weights / weights.sum())]
    z = rng.standard_normal((1, len(LAWS[member.law].parameters)))
    parameters = member.parameters(z / 2, 0.25, 0.95)
    n = np.append(N, 4 * N[-1])
    scatter = rng.choice(list(SCATTER_PRIOR), p=list(SCATTER_PRIOR.values()))
    rate = LAWS[member.law].formula(n / N[-1], 0.95, *parameters)[0]
    rate = rate * np.exp(scatter * rng.standard_normal(len(n)))
    late = LATE_DRIFT if rng.random() < member.late_drift else 0.0
    rate[-1] *= np.exp(late * np.sqrt(2**3 / 3) * rng.standard_normal())  # two doublings ahead
    rate = np.minimum(rate, 0.95)
    error = rng.binomial(5000, rate) / 5000
    posterior = fit(points(error[:-1]), 0.95, members)
    if members is VAGUE_PRIOR:
        return parameters[1][0, 0], posterior, lambda p: p.exponent[np.isfinite(p.exponent)]
    return error[-1], posterior, lambda p: p.run_error(n[-1:], 5000)[:, 0]


def runs_table(zeros=False, sizes=4, seeds=2):
    rows = [
        {"num_train_images": n, "seed": seed, "status": "complete", "split": "test",
         "num_images": 2000, "top_1_error": 3 * n**-0.25 * (1 + 0.02 * seed),
         "top_5_error": 0.0 if zeros else 2 * n**-0.3 * (1 + 0.02 * seed)}
        for n in N[:sizes] for seed in range(seeds)
    ]  # fmt: skip
    untrained = {**rows[0], "status": "untrained", "top_5_error": 0.95}
    return pd.DataFrame([*rows, untrained])


def sizes_table(runs):
    groups = runs[runs.status == "complete"].groupby("num_train_images")
    table = groups[["top_1_error", "top_5_error"]].mean().reset_index(names="num_images")
    for k in (1, 5):
        error = table[f"top_{k}_error"]
        table[f"top_{k}_error_interval"] = list(zip(0.9 * error, 1.1 * error, strict=True))
    return table.astype({"num_images": int})


def test_untrained_runs_stay_out_of_the_fit():
    curve = curves(runs_table(), CHANCE)["top_5_error"]
    assert len(curve.runs) == 8
    assert curve.analysis.points.num_runs == pytest.approx([2, 2, 2, 2])


def test_sizes_at_chance_are_drawn_and_named_as_such():
    runs = runs_table(sizes=3)
    runs.loc[runs["num_train_images"] == N[0], "status"] = "untrained"
    curve = curves(runs, CHANCE)["top_5_error"]
    assert N[0] not in curve.analysis.points.sizes
    sizes = sizes_table(runs)
    for ax in (
        plot_error(new_axes(), curve, sizes),
        plot_curves(new_axes(), {"small": curve, "large": curve}, {"small": sizes, "large": sizes}),
    ):
        drawn = [line for line in ax.lines if "at chance, not fitted" in str(line.get_label())]
        assert drawn
        assert all(line.get_xdata() == pytest.approx(N[0], rel=0.02) for line in drawn)
        assert N[0] in ax.get_xticks()
    sizes = sizes.assign(num_runs=2, subset_size=1.0, loss=1.0)
    table = comparison_table(sizes, sizes.head(1).assign(num_images=int(N[0])))
    assert table["runs"].tolist() == ["2 (at chance)", "2", "2"]
    assert table["top-5 gain per doubling"].tolist()[:2] == ["-", "-"]


def test_headline_is_top_5_unless_it_reaches_zero():
    assert headline(curves(runs_table(), CHANCE)).metric == "top_5_error"
    assert headline(curves(runs_table(zeros=True), CHANCE)).metric == "top_1_error"


def test_gain_per_doubling_is_the_difference_of_neighbours():
    table = gains_table(sizes_table(runs_table()))
    expected = -np.diff(table["top_5_error"])
    assert table["top_5_gain_per_doubling"].iloc[1:].to_numpy() == pytest.approx(expected)


def test_the_interval_of_a_gain_combines_both_errors():
    sizes = pd.DataFrame(
        {
            "num_images": [100, 400],
            "top_1_error": [0.5, 0.3],
            "top_1_error_interval": [(0.47, 0.54), (0.26, 0.33)],
            "top_5_error": [None, None],
        }
    )
    last = gains_table(sizes).iloc[-1]
    gain, low, high = (last[f"top_1_gain_per_doubling{end}"] for end in ("", "_low", "_high"))
    assert (gain, gain - low, high - gain) == pytest.approx(
        (0.1, np.hypot(0.03, 0.03) / 2, np.hypot(0.04, 0.04) / 2)
    )
    assert "from 100 to 400 training images removed 10.0 points" in describe_gains(
        sizes, "top_1_error"
    )


def test_convergence_counts_steps_to_half_of_the_gain():
    epochs = pd.DataFrame(
        {
            "num_train_images": 250,
            "seed": 1,
            "epoch": [1, 2, 3, 4],
            "seconds": 2.0,
            "images_per_second": 125.0,
            "validation_loss": [3.0, 2.0, 1.0, 1.5],
            "validation_top_1_error": [0.9, 0.7, 0.2, 0.1],
            "train_top_1_error": [0.8, 0.6, 0.3, 0.2],
        }
    )
    (row,) = convergence_table(epochs, "top_1_error", 0.9, batch_size=100).itertuples()
    assert (row.best_epoch, row.train_error, row.validation_error) == (3, 0.3, 0.2)
    # From 0.9 at chance to 0.1: 0.5 is reached 2/5 of the way through epoch 3, of 3 steps.
    assert row.half_gain_steps == pytest.approx(3 * 2.4)


def test_no_complete_run_is_no_curve():
    runs = runs_table().assign(status="untrained")
    with pytest.raises(NotIdentifiableError, match="no run is complete"):
        headline(curves(runs, CHANCE))


def test_sentences_carry_the_numbers():
    runs = runs_table()
    analysed = curves(runs, CHANCE)
    text = describe(analysed, sizes_table(runs))
    assert "From 3,125 to 25,000 training images the test top-5 error goes" in text
    assert "Doubling the 25,000 training images would lower the top-5 error by" in text
    assert "Without the largest size, the forecast for 25,000 images was" in describe_forecasts(
        analysed
    )
    few = runs_table(sizes=2)
    assert "2 sizes were measured" in describe(curves(few, CHANCE), sizes_table(few))
    assert describe_forecasts(curves(few, CHANCE)) == ""
    single_size = runs_table(sizes=1)
    assert "no curve yet" in describe(curves(single_size, CHANCE), sizes_table(single_size))


def test_record_of_the_laws_is_plain_json():
    content = json.loads(json.dumps(laws(curves(runs_table(), CHANCE)), allow_nan=False))
    law = content["metrics"]["top_5_error"]
    low, high = law["exponent"]["interval"]
    assert low <= law["exponent"]["median"] <= high
    assert sum(law["laws"].values()) == pytest.approx(1)
    assert len(law["points"]) == 4
    required = to_dict(analyse(points(5 * N**-0.3), 0.95), targets=(0.001,))["required_images"]
    json.dumps(required, allow_nan=False)


@pytest.mark.parametrize("zeros", [False, True])
def test_figures_have_labels_and_show_every_size(zeros):
    runs = runs_table(zeros)
    metric = "top_5_error"
    ax = plot_error(new_axes(), curves(runs, CHANCE)[metric], sizes_table(runs))
    assert ax.get_xlabel() == "training images"
    assert ax.get_ylabel() == "test top-5 error"
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels[:4] == ["3,125", "6,250", "12,500", "25,000"]
    if not zeros:  # the doublings that are forecast
        assert labels[4:] == ["50,000", "100,000", "200,000"]
    assert ax.get_ylim()[0] > 0


def test_single_runs_are_drawn_beside_their_mean():
    runs = runs_table(False)
    ax = plot_error(new_axes(), curves(runs, CHANCE)["top_5_error"], sizes_table(runs))
    by_label = {line.get_label(): line for line in ax.get_lines()}
    single = by_label["one run"]
    (mean, *_) = ax.containers[0]
    ax.get_figure().draw_without_rendering()

    def pixels(line):
        return line.get_transform().transform(line.get_xydata())

    distance = np.abs(pixels(single)[:, None, 0] - pixels(mean)[None, :, 0]).min()
    half_widths = (single.get_markersize() + mean.get_markersize()) / 2
    assert distance * 72 / ax.get_figure().dpi > half_widths  # no marker covers another


def test_forecast_and_backtest_are_drawn():
    analysis = analyse(points(5 * N**-0.3, seeds=2, spread=0.01), 0.95)
    legend = [
        text.get_text() for text in plot_points(new_axes(), analysis).get_legend().get_texts()
    ]
    assert legend == ["measured", "law, 90 % band", "forecast", "beyond 4x: unreliable"]
    ax = plot_backtest(new_axes(), analysis)
    assert len(ax.get_yticks()) == 2
    assert ax.get_xlabel() == "error at 50,000 training images"


def test_loss_and_error_have_panels_of_their_own_with_a_line_per_seed():
    rows = [
        {
            "num_train_images": 90,
            "seed": seed,
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "validation_top_5_error": 0.5,
            "validation_top_1_error": 0.7,
        }
        for seed in (1, 2)
        for epoch in (1, 2, 3)
    ]
    loss, error = plot_learning(new_axes(), pd.DataFrame(rows)).figure.axes
    assert len(loss.lines) == len(error.lines) == 2
    assert "nats" in loss.get_ylabel()
    assert "top-5 error" in error.get_ylabel()
    assert loss.get_xlim() == error.get_xlim()
    for row in rows:
        row["validation_top_5_error"] = 0.5 * (row["epoch"] == 1)
    _, error = plot_learning(new_axes(), pd.DataFrame(rows)).figure.axes
    assert "top-1 error" in error.get_ylabel(), "the top-5 error ends at 0"


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=60),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_means_per_size_are_those_of_a_loop_to_the_last_bit(n, seed):
    rng = np.random.default_rng(seed)
    n = rng.permutation(np.repeat(np.array(n, float), rng.integers(1, 40)))
    measured = Points(n, rng.random(len(n)) + 0.01)
    for values in (measured.error, rng.standard_normal(len(n))):
        groups = [values[n == size] for size in np.unique(n)]
        np.testing.assert_array_equal(measured._per_size(values), [g.mean() for g in groups])
        totals = measured._per_size(values, total=True)
        np.testing.assert_array_equal(totals, [g.sum() for g in groups])
    assert measured.num_runs.tolist() == [np.sum(n == size) for size in np.unique(n)]


def test_a_floor_that_rounds_to_the_level_gives_finite_errors():
    x, one = np.array([0.25, 1.0, 4.0]), np.ones((1, 1))
    for name in ("power law from chance", "M4", "stretched exponential"):
        law = LAWS[name]
        values = {"level": 0.3 * one, "floor": one}
        parameters = [values.get(parameter, 0.5 * one) for parameter in law.parameters]
        (errors,) = law.formula(x, 1.0, *parameters)
        assert np.isfinite(errors).all()
        assert errors[0] >= errors[-1] >= 0.3 - 1e-12
