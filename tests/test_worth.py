"""What an option is worth in images of the baseline: known factors come back, with intervals."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.worth import covered, simulate
from dataworth.commands import forecast as forecast_command
from dataworth.commands.eval_output import write_files
from dataworth.evaluation.correlations import mean_correlation
from dataworth.evaluation.intervals import paired_intervals
from dataworth.evaluation.records import AnswerCorrelation
from dataworth.evaluation.results import read_results
from dataworth.evaluation.tables import runs_table
from dataworth.figures.worth import plot_worth
from dataworth.findings import curves
from dataworth.findings.costs import Hours, Prices, cheapest, priced
from dataworth.findings.curves import Curve
from dataworth.findings.study import VariantFindings
from dataworth.findings.worth import (
    OptionsWorth,
    cells,
    crossing,
    describe_worth,
    numbers,
    sentences,
    shared_test,
    worth_of_variants,
)
from dataworth.report.sections import worth_part
from dataworth.scaling.analysis import Analysis
from dataworth.scaling.fitting import fit
from dataworth.scaling.points import Points
from dataworth.scaling.posterior import LawDraws, Posterior, curve_draws
from dataworth.scaling.worth import (
    Comparison,
    Crossing,
    Estimate,
    SharedTest,
    Worth,
    _law_draws,
    _pair,
    compare,
)
from tests.conftest import ROOT, command

N = np.geomspace(1000, 32_000, 6)
STUDY = ROOT / "results" / "mini-imagenet-84"


def measured(n, error, num_test=10**6, chance=1.0):
    """The analysis of exact points, without backtests."""
    n, error = np.atleast_1d(n).astype(float), np.atleast_1d(error).astype(float)
    points = Points(n, error, np.full(len(n), float(num_test)))
    posterior = fit(points, chance) if len(points.sizes) >= 3 else None
    reason = "" if posterior else "1 size was measured and 3 are needed"
    return Analysis(points, chance, posterior, reason)


@pytest.fixture(scope="module")
def baseline():
    return measured(N, 3 * N**-0.3)


@pytest.fixture(scope="module")
def doubled():
    """An option that is worth twice the images at every size."""
    return measured(N, 3 * (2 * N) ** -0.3)


@pytest.fixture(scope="module")
def twice(baseline, doubled):
    return compare(baseline, doubled)


def test_a_shifted_curve_is_worth_its_shift(twice):
    *rows, double, quadruple = twice.rows
    assert [row.n for row in rows] == pytest.approx(N)
    assert (double.n, quadruple.n) == pytest.approx((64_000, 128_000))
    for row in rows:
        assert row.measured
        assert row.factor.median == pytest.approx(2, rel=0.05)
        assert row.factor.lower <= 2 <= row.factor.upper
        assert row.difference.median == pytest.approx(3 * row.n**-0.3 * (2**-0.3 - 1), rel=0.15)
    assert not double.measured
    assert double.factor.lower <= 2 <= double.factor.upper
    assert (
        rows[-1].factor.upper - rows[-1].factor.lower
        < quadruple.factor.upper - quadruple.factor.lower
    )
    assert twice.crossing.ends
    assert twice.crossing.best == 1
    assert not quadruple.reliable  # the baseline at 8 times its largest size


def test_what_the_baseline_cannot_tell_is_a_bound(baseline):
    options = {
        name: compare(baseline, measured(32_000, e)) for name, e in (("far", 0.02), ("bad", 0.9))
    }
    ((far,), (bad,)) = (comparison.rows for comparison in options.values())
    assert far.factor.lower == far.factor.upper == far.most == pytest.approx(4)
    assert bad.factor.upper == bad.least == pytest.approx(1000 / 4 / 32_000)
    text = " ".join(sentences(OptionsWorth("base", "error", options)))
    assert "far against base: worth more than 4.0x the images at 32,000." in text
    assert "worth less than 0.0078x the images" in text


def test_the_crossing_of_two_curves_is_found(baseline):
    shallow = measured(N, 3 * 16_000**-0.3 * (N / 16_000) ** -0.2)
    for weak, strong, ends in ((baseline, shallow, True), (shallow, baseline, False)):
        comparison = compare(weak, strong)
        crossing = comparison.crossing
        assert crossing.ends == ends
        assert crossing.images.median == pytest.approx(16_000, rel=0.1)
        assert crossing.images.lower < 16_000 < crossing.images.upper
        text = sentences(OptionsWorth("b", "error", {"o": comparison}))[0]
        beyond = "no longer worth anything beyond" if ends else "worth something only beyond"
        assert f"{beyond} about 16," in text or f"{beyond} about 15," in text


@pytest.mark.parametrize(
    ("upper", "text"),
    [
        (1000.0, "worth something at every size up to 512,000 images"),
        (1400.0, "worth something from 1,400 images on (probability 95 %)"),
        (np.inf, "worth something at some of the sizes measured (see the table)"),
    ],
)
def test_an_option_that_leads_ever_more_can_be_told_from_the_baseline(upper, text):
    """Also where it is not surely better at the smallest size."""
    sure = Crossing(False, Estimate(1000, 1000, upper), 0.98, 1000, 512_000, best=1.0, worst=0.56)
    assert crossing(sure) == text
    assert crossing(replace(sure, best=0.9)) == "the two curves cannot be told apart"


def test_few_errors_of_seeds_that_differ_do_not_turn_the_order_round():
    def analysis(n, wrong):  # of 360 test images, two seeds; measured on the digits
        points = Points(np.repeat(n, 2), np.array(wrong) / 360, np.full(len(wrong), 360.0))
        return Analysis(points, 0.5, fit(points, 0.5), "")

    n = np.array([162.0, 323, 647, 1293])
    weak = analysis(n[1:], [62, 72, 11, 16, 5, 4])
    strong = analysis(n, [176, 122, 43, 64, 3, 12, 3, 0])
    for row in compare(weak, strong, SharedTest(0.19, 0.05, 0.16)).rows[1:4]:
        assert row.factor.median > 1
        assert row.difference.median < 0


def test_curves_of_distant_sizes_do_not_cross(baseline):
    n = np.array([5, 10, 20.0])
    comparison = compare(baseline, measured(n, 0.9 * (n / 5) ** -0.1))
    assert comparison.crossing is None
    (text,) = sentences(OptionsWorth("b", "error", {"o": comparison}))
    assert text.startswith("o against b: worth")
    assert ";" not in text


# Published top-1 accuracies on ImageNet: ducha-aiki/caffenet-benchmark, Dataset_size.md. The
# factors were read off the curve of the smaller training sets.
CAFFENET = {1.2e6: 0.471, 8e5: 0.438, 6e5: 0.425, 4e5: 0.393, 2e5: 0.305}
WRONG_LABELS = {0.458: 0.85, 0.447: 0.74, 0.437: 0.65, 0.347: 0.23}


def test_wrong_labels_of_caffenet_cost_the_published_share_of_images():
    n, accuracy = np.array(list(CAFFENET)), np.array(list(CAFFENET.values()))
    clean = measured(n, 1 - accuracy, 50_000, 0.999)
    for accuracy, factor in WRONG_LABELS.items():
        (row,) = compare(clean, measured(1.2e6, 1 - accuracy, 50_000, 0.999)).rows
        assert row.factor.lower < factor < row.factor.upper
        assert row.factor.upper / row.factor.lower < 1.5


def test_curves_pass_through_precise_points(baseline):
    wavy = 3 * N**-0.3 * (1 + 0.03 * (-1.0) ** np.arange(len(N)))
    points = Points(N, wavy, np.full(len(N), 1e8))
    posterior = fit(points, 1.0).thinned(8)
    n = np.sort([*N, *(N * 1.4)])
    draws = curve_draws(posterior, points, n, np.random.default_rng(0))
    assert draws.shape == (len(posterior.drift), len(n))
    error = np.abs(np.median(draws[:, np.isin(n, N)], axis=0) / wavy - 1)
    law = np.abs(np.median(posterior.law_error(N), axis=0) / wavy - 1)
    assert error.mean() < law.mean()


def test_curves_pass_through_more_sizes_than_are_fitted_one_by_one():
    n = np.geomspace(100, 51_200, 73)
    wavy = 0.8 * (n / 100) ** -0.3 * np.exp(0.15 * np.sin(1.5 * np.log(n)))
    points = Points(n, wavy, np.full(len(n), 1e7))
    law = LawDraws("power law", (np.full((200, 1), wavy[-1]), np.full((200, 1), 0.3)))
    drift, none = np.full(200, 0.1), np.zeros(200)
    posterior = Posterior((law,), n[-1], 1.0, drift, none, 0.0, np.zeros((200, 2)))
    draws = curve_draws(posterior, points, n[5:-5:6], np.random.default_rng(0))
    assert np.median(draws, axis=0) == pytest.approx(wavy[5:-5:6], rel=0.003)


def test_differences_are_a_paired_t_test_where_test_images_abound():
    pairs = [(0.5, 0.45), (0.51, 0.47), (0.49, 0.43), (0.52, 0.46)]
    ((mean, low, high),) = paired_intervals([pairs], 10**12)
    weak, strong = np.array(pairs).T
    oracle = stats.ttest_rel(strong, weak).confidence_interval(0.9)
    assert (low, high) == pytest.approx((oracle.low, oracle.high), rel=1e-4)
    assert mean == pytest.approx((strong - weak).mean())
    assert paired_intervals([[(0.5, 0.4)], [(0.4, 0.3)]], 100) is None


def test_covariance_of_the_answers_leaves_the_interval_of_a_difference():
    rng = np.random.default_rng(0)
    common = rng.standard_normal(4000)
    weak, strong = (
        (0.8 * common + 0.6 * rng.standard_normal((2, 4000)) < limit).astype(float)
        for limit in (0.0, -0.3)
    )
    correlation = mean_correlation(weak, strong)
    phi = np.mean([np.corrcoef(a, b)[0, 1] for a in weak for b in strong])
    assert correlation == pytest.approx(phi, abs=1e-6)
    pairs = [list(zip(weak.mean(1), strong.mean(1), strict=True))]
    pairs = [[pair, pair] for pair in pairs[0]]  # no variance between seeds
    rows = paired_intervals(pairs, 4000, correlation)
    exact = 1.6449 * (strong[0] - weak[0]).std() / 4000**0.5
    assert (rows[0][2] - rows[0][1]) / 2 == pytest.approx(exact, rel=0.05)


# A study with variants, from exact points.


def variant(name, errors, results, seeds=(1, 2)):
    rng = np.random.default_rng(len(name))
    runs = pd.DataFrame(
        {"num_train_images": int(n), "seed": seed, "num_images": 1000, "variant": name,
         "top_1_error": e * np.exp(0.01 * rng.standard_normal()), "top_5_error": np.nan}
        for n, e in zip(N, errors, strict=True) for seed in seeds
    )  # fmt: skip
    analysis = Analysis(
        Points(*runs[["num_train_images", "top_1_error", "num_images"]].to_numpy(float).T),
        0.99,
        None,
        "",
    )
    analysis = Analysis(analysis.points, 0.99, fit(analysis.points, 0.99), "")
    curves = {"top_1_error": Curve("top_1_error", runs, runs[:0], analysis)}
    return VariantFindings(name, name, results, pd.DataFrame(), curves, pd.DataFrame())


@pytest.fixture(scope="module")
def findings():
    correlations = [
        AnswerCorrelation(variants=pair, top_1_correlation=value, top_5_correlation=None)
        for pair, value in ((("a", "a"), 0.6), (("a", "b"), 0.5), (("b", "b"), 0.7))
    ]
    results = read_results(STUDY / "metrics.json")
    results = results.model_copy(update={"answer_correlations": tuple(correlations)})
    errors = 5 * N**-0.3
    return [variant("a", errors, results), variant("b", errors * 0.9, results)]


@pytest.fixture(scope="module")
def worth(findings):
    return worth_of_variants(findings)


def test_variants_are_compared_with_the_first_or_the_named_one(findings, worth):
    assert (worth.baseline, list(worth.comparisons), worth.error) == ("a", ["b"], "top-1 error")
    without = findings[0].results.model_copy(update={"answer_correlations": ()})
    plain = [replace(variant, results=without) for variant in findings]
    other = worth_of_variants(plain, "b")
    assert any("test noise is taken as independent" in note for note in other.notes)
    assert (other.baseline, list(other.comparisons)) == ("b", ["a"])
    factors = [
        table.comparisons[name].rows[3].factor for table, name in ((worth, "b"), (other, "a"))
    ]
    assert factors[0].median * factors[1].median == pytest.approx(1, rel=0.1)
    assert worth_of_variants(findings[:1]) is None
    assert worth_of_variants(findings, "c") is None


def test_stored_correlations_and_common_seeds_are_used(findings, worth):
    assert shared_test(findings[0].results, "top_1_error", "b", "a") == SharedTest(0.7, 0.6, 0.5)
    assert shared_test(findings[0].results, "top_5_error", "b", "a") == SharedTest()
    weak, strong = (variant.curves["top_1_error"].runs for variant in findings)
    row = worth.comparisons["b"].rows[2]
    at = [
        runs[runs["num_train_images"] == int(row.n)]["top_1_error"].mean()
        for runs in (weak, strong)
    ]
    assert row.difference.median == pytest.approx(at[1] - at[0])
    assert any("paired by seed" in note for note in worth.notes)
    runs = strong[strong["seed"] == 2]
    curve = replace(findings[1].curves["top_1_error"], runs=runs)
    one_seed = [
        replace(findings[0], results=read_results(STUDY / "metrics.json")),
        replace(findings[1], curves={"top_1_error": curve}),
    ]
    alone = worth_of_variants(one_seed)
    assert any("No size has two seeds of both" in note for note in alone.notes)


def test_grouped_test_images_count_as_their_effective_number(findings, worth):
    grouped = []
    for finding in findings:
        curve = finding.curves["top_1_error"]
        runs = curve.runs.assign(top_1_effective_images=100.0)  # of 1,000
        curve = replace(curve, runs=runs)
        grouped.append(replace(finding, curves={"top_1_error": curve}))
    narrow, wide = (
        rows.comparisons["b"].rows[2].difference for rows in (worth, worth_of_variants(grouped))
    )
    assert wide.median == pytest.approx(narrow.median)
    assert wide.upper - wide.lower > 2 * (narrow.upper - narrow.lower)


def test_budgets_that_meet_at_all_images_are_worth_the_same_there(findings):
    results = findings[0].results
    budgets = {"a": {"budget": "epochs"}, "b": {"budget": "steps"}}
    data = results.data.model_copy(update={"splits": {"train": 100_000}})
    results = results.model_copy(update={"variant_settings": budgets, "data": data})
    notes = worth_of_variants([replace(finding, results=results) for finding in findings]).notes
    assert "b and a are the same run on all 100,000 training images: b is worth 1x" in notes[-1]
    budgets["b"]["epochs"] = 99  # another recipe
    notes = worth_of_variants([replace(finding, results=results) for finding in findings]).notes
    assert not any("the same run" in note for note in notes)


def test_shared_test_images_narrow_the_interval(findings, worth):
    analyses = [variant.curves["top_1_error"].analysis for variant in findings]
    alone, paired = compare(*analyses), worth.comparisons["b"]
    ratios = [
        (row.factor.upper - row.factor.lower) / (other.factor.upper - other.factor.lower)
        for row, other in zip(paired.rows[:6], alone.rows[:6], strict=True)
    ]
    assert np.mean(ratios) < 0.9
    assert paired.rows[3].factor.median == pytest.approx(alone.rows[3].factor.median, rel=0.1)


def test_seeds_that_differ_widen_the_interval():
    """More than seeds that agree: their variance is not taken off the noise of a law."""
    n, shared = np.repeat(N, 2), SharedTest(0.6, 0.6, 0.6)
    signs = np.tile([1, -1], len(N))
    widths = []
    for spread in (0, 0.005, 0.02, 0.05):
        analyses = [
            measured(n, error * (1 + spread * signs), num_test=5000)
            for error in (3 * n**-0.3, 3 * (2 * n) ** -0.3)
        ]
        factor = compare(*analyses, shared).rows[4].factor
        widths.append(np.log(factor.upper / factor.lower))
    assert 0.97 * widths[0] < widths[1] < widths[2] < widths[3]
    assert widths[3] > 1.3 * widths[0]


def test_table_figure_and_report_hold_every_row(worth):
    table = numbers(worth)
    rows = worth.comparisons["b"].rows
    assert table["num_images"].tolist() == [row.n for row in rows]
    assert table["factor"].tolist() == [row.factor.median for row in rows]
    assert table["kind"].tolist() == ["measured"] * 6 + ["forecast"] * 2
    text = cells(worth)
    assert len(text) == len(table)
    assert "b against a: worth " in describe_worth(worth, 96)
    ax = plot_worth(worth)
    dots = {
        line.get_xdata()[0]
        for line in ax.lines
        if line.get_marker() == "s" and len(line.get_xdata())
    }
    assert sorted(dots) == pytest.approx([row.n for row in rows])
    part = worth_part(worth)
    assert len(part.tables[0].rows) == len(rows)
    assert sentences(worth)[0] in part.paragraphs
    assert plot_worth(OptionsWorth("a", "error", {})) is None


def test_a_study_without_variants_writes_no_worth(tmp_path, findings, worth, monkeypatch):
    monkeypatch.setattr("dataworth.commands.eval_output.law_record", lambda *_: {})
    results, epochs = findings[0].results, pd.DataFrame({"epoch": [1]})
    write_files(results, findings, epochs, tmp_path, None)
    assert not (tmp_path / "worth.csv").exists()
    write_files(results, findings, epochs, tmp_path, worth)
    written = pd.read_csv(tmp_path / "worth.csv")
    pd.testing.assert_frame_equal(written, numbers(worth))
    assert (tmp_path / "figures" / "worth.png").exists()
    assert (
        read_results(tmp_path / "metrics.json").answer_correlations == results.answer_correlations
    )


# Prices


def test_hours_follow_a_line_over_the_sizes():
    epochs = pd.DataFrame(
        [
            {"num_train_images": n, "seed": seed, "seconds": 1800 * (1 + n / 1000) / 2}
            for n in (1000, 2000, 4000) for seed in (1, 2) for _ in range(2)
        ]
    )  # fmt: skip
    assert Hours.measured(epochs)(np.array([0, 8000.0])) == pytest.approx([0.5, 4.5])
    single = Hours.measured(epochs[epochs["num_train_images"] == 2000])
    assert single(np.array([4000.0])) == pytest.approx([3.0])


def test_an_option_is_priced_against_the_images_that_it_replaces(baseline, twice, doubled):
    hours = {"base": Hours(0, 1e-3), "option": Hours(0, 2e-3)}
    prices = Prices(image=0.5, label=0.5, hour=2, hours=hours)
    analyses = {"base": baseline, "option": doubled}
    plain = OptionsWorth("base", "error", {"option": twice})
    worth = priced(plain, prices, analyses, 3 * 128_000**-0.3)
    for row, cost in zip(twice.rows, worth.costs["option"], strict=True):
        images = (row.factor.median - 1) * row.n
        assert cost.images.median == pytest.approx(images)
        assert cost.replaced.median == pytest.approx(images * (1 + 2e-3))
        assert cost.training == pytest.approx(2e-3 * row.n)
    text = describe_worth(worth, 10_000)
    assert "Costs, with 0.5 an image, 0.5 a label, 2 an hour" in text
    assert "option at 32,000 images: its training costs 64.00 more; the 3" in text
    bought = re.search(
        r"The cheapest way to 8.8 %: option with ([\d,]+) images beyond the 32,000", text
    )
    assert float(bought[1].replace(",", "")) == pytest.approx(32_000, rel=0.1)
    chance = re.search(r"is the cheapest with (\d+) %", text)
    assert int(chance[1]) > 90
    assert {"training_cost", "replaced_cost_low"} <= set(numbers(worth))
    assert "cost" not in describe_worth(plain, 96).lower()
    assert not [name for name in numbers(plain) if "cost" in name]


def test_wrong_labels_are_short_of_images():
    n, row = 1000.0, Estimate(0.7, 0.6, 0.8)
    worth = Worth(n, True, row, 0.1, 4.0, Estimate(0.1, 0, 0.2), True)
    plain = OptionsWorth("base", "error", {"noisy": Comparison((worth,), None, "")})
    text = " ".join(priced(plain, Prices(image=1), {}).notes)
    assert "the 300 images (200 to 400) that it is short of cost 300 (200 to 400)" in text
    bound = replace(worth, factor=Estimate(4, 3, 4))
    plain = OptionsWorth("base", "error", {"far": Comparison((bound,), None, "")})
    text = " ".join(priced(plain, Prices(image=1), {}, 0.1).notes)
    assert "far at 1,000 images: it replaces more than 2,000 images, which cost 2,000." in text
    assert "no answer without a law" in text
    bound = replace(worth, factor=Estimate(0.1, 0.1, 0.4))
    plain = OptionsWorth("base", "error", {"bad": Comparison((bound,), None, "")})
    text = " ".join(priced(plain, Prices(image=1), {}).notes)
    assert "bad at 1,000 images: it is short of more than 600 images, which cost 600." in text


def test_ways_that_cost_the_same_share_the_chance_in_any_order(baseline):
    """Both reach 20 % with the images at hand: one by its law, one as measured."""
    n = np.array([1e6, 2e6, 4e6])
    ways = {"base": baseline, "large": measured(n, 1.2 * 3 * n**-0.15)}
    target = ways["large"].points.means[-1]
    texts = [
        cheapest(dict(order), Prices(image=1), target)
        for order in (ways.items(), reversed(ways.items()))
    ]
    assert texts[0] == texts[1]
    assert "with 0 images beyond the 4,000,000 at hand, for 0.00" in texts[0]
    assert "reaches the error with probability 100 % and is the cheapest with 50 %" in texts[0]
    assert "(large 50 %, equal costs in equal parts)" in texts[0]


def test_options_without_a_law_count_as_measured_or_are_named(baseline):
    ways = {"base": baseline, "one": measured(np.array([32_000.0]), np.array([0.05]))}
    text = cheapest(ways, Prices(image=1), 0.06)
    assert "6.0 %: one with 0 images beyond the 32,000 at hand, for 0.00" in text
    assert "is the cheapest with 100 % (base 0 %" in text
    text = cheapest(ways, Prices(image=1), 0.04)
    assert "4.0 %: base with " in text
    assert text.endswith("determine no law nor reach the error: one.")


def test_hours_alone_price_a_way_that_may_not_reach_the_error(baseline):
    hours = {"base": Hours(0, 1e-3)}
    text = cheapest({"base": baseline}, Prices(hour=2, hours=hours), 0.001)
    assert re.search(r"reaches the error with probability \d %", text)


# forecast.py --compare


def test_hours_alone_say_nothing_of_costs(tmp_path, capsys):
    file = tmp_path / "a.csv"
    file.write_text("n,error\n" + "".join(f"{n},{3 * n**-0.3}\n" for n in (1e3, 2e3, 4e3, 8e3)))
    words = [file, "--compare", file, "--price-hour", 2, "--target", 0.2]
    assert command(forecast_command.forecast, *words) == 0
    assert not re.search("Costs|cheapest", capsys.readouterr().out)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_table_has_chance_and_start_of_the_study_beside_it(tmp_path, capsys, is_first):
    study, table = ROOT / "results" / "digits" / "metrics.json", tmp_path / "table.csv"
    results = read_results(study)
    curve = curves.points(curves.test_scores(runs_table(results)), "top_1_error")
    columns = zip(curve.n, curve.error, curve.num_test, strict=True)
    table.write_text("n,error,num_test\n" + "".join(f"{n},{e},{c}\n" for n, e, c in columns))
    files = [study, "--compare", table] if is_first else [table, "--compare", study]
    laws = []
    for flags in ([], ["--chance", 0.8]):
        assert command(forecast_command.forecast, *files, *flags) == 0
        laws.append(" ".join(capsys.readouterr().out.split()))
    assert (
        "table.csv is fitted with chance level 89.7 % and start scratch, as digits is," in laws[0]
    )
    assert "table.csv is fitted with start scratch, as digits is," in laws[1]
    alone = (
        [study]
        if is_first
        else [table, "--chance", results.chance["top_1_error"], "--start", "scratch"]
    )
    assert command(forecast_command.forecast, *alone) == 0
    assert laws[0].startswith(" ".join(capsys.readouterr().out.split()))


def test_forecast_compares_a_curve_with_a_single_measurement(tmp_path, capsys):
    clean, noisy = tmp_path / "clean.csv", tmp_path / "noisy.csv"
    rows = "".join(f"{n:.0f},{1 - CAFFENET[n]:.3f},50000\n" for n in (1.2e6, 6e5, 2e5))
    clean.write_text(f"n,error,num_test\n{rows}")
    noisy.write_text("n,error,num_test\n1200000,0.553,50000\n")
    words = [clean, "--compare", noisy, "--json", tmp_path / "law.json", "--price-image", 0.05]
    assert command(forecast_command.forecast, *words) == 0
    output = capsys.readouterr().out
    assert "noisy.csv against clean.csv: worth 0." in output
    assert "that it is short of cost" in output
    (row,) = json.loads((tmp_path / "law.json").read_text())["worth"]
    assert row["factor_low"] < 0.74 < row["factor_high"]
    assert command(forecast_command.forecast, noisy, "--compare", clean) == 2
    assert "noisy.csv: 1 training set size; a law takes 3 or more" in capsys.readouterr().err


@pytest.mark.slow
def test_intervals_cover_known_factors():
    """20 of the studies of ``python -m bench worth``, which takes 200: below 30 s of CPU."""
    rng = np.random.default_rng(1)
    table = np.array([covered(simulate(rng, 2, 5000)) for _ in range(20)])
    assert 0.8 < np.nanmean(table[:, :5]) <= 1
    assert 0.8 < np.nanmean(table) <= 1


def test_draws_whose_factor_bends_are_paired_less_often():
    rng = np.random.default_rng(0)
    n, largest = np.geomspace(10, 1e5, 120), 1000.0
    sizes = n[np.searchsorted(n, [largest / 4, largest, 4 * largest])]
    bends = rng.uniform(-1, 1, 2000)  # of the log factor per doubling, beyond the largest size
    factor = np.exp(bends[:, None] * np.log2(np.maximum(n / sizes[1], 1)))
    weak, strong = np.tile(5 * n**-0.3, (2000, 1)), 5 * (factor * n) ** -0.3
    chosen = _pair(n, weak, strong, sizes, rng)[1]
    spread, before = (np.std(np.log(errors[:, -1])) for errors in (chosen, strong))
    assert len(chosen) == 2000
    assert spread < 0.5 * before


def test_below_the_smallest_size_fewer_images_err_no_less(baseline):
    n = np.geomspace(baseline.points.sizes[0] / 16, baseline.points.sizes[-1], 60)
    draws = _law_draws(baseline, n, 0.0, np.random.default_rng(0))
    below = draws[:, n <= baseline.points.sizes[0]]
    assert (np.diff(below, axis=1) <= 1e-12).all()
