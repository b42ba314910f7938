import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.scaling.findings import analyse, describe, gains_table, headline, law_record
from src.scaling.fitting import NotIdentifiableError, Points, fit
from src.scaling.laws import LAWS
from src.scaling.plots import new_axes, plot_error, plot_learning

N = np.array([3125, 6250, 12500, 25000, 50000.0])


@given(st.floats(0.1, 0.8), st.floats(0.05, 0.9))
def test_power_law_is_recovered_from_clean_data(exponent, first):
    found = fit("power law", Points(N, first * (N / N[0]) ** -exponent, 100_000))
    assert found.values[1] == pytest.approx(exponent, rel=1e-3)
    assert found(N[:1])[0] == pytest.approx(first, rel=1e-3)


def test_floor_is_recovered_from_clean_data():
    n = np.geomspace(100, 1e6, 9)
    found = fit("power law with floor", Points(n, 0.06 + 5.5 * n**-0.5, 10**8))
    assert found.values == pytest.approx((5.5, 0.5, 0.06), rel=1e-2)


@pytest.mark.parametrize("name", LAWS)
def test_every_law_falls_with_data_and_stays_in_bounds(name):
    law = LAWS[name]
    curve = law.formula(N, 2.0, *(0.3, 0.01)[: len(law.parameters) - 1])
    assert (curve > 0).all()
    assert (np.diff(curve) < 0).all()
    assert len(law.parameters) == len(law.lower) == len(law.upper)


@pytest.mark.fault(36)
@pytest.mark.parametrize("name", LAWS)
def test_too_few_sizes_are_not_identifiable(name):
    with pytest.raises(NotIdentifiableError, match="2 sizes were measured and 3 are needed"):
        fit(name, Points(np.repeat(N[:2], 5), np.full(10, 0.5), 100))


def test_intervals_are_seeded_and_widen_with_a_smaller_test_set():
    error = 5 * N**-0.3
    large, again, small = (fit("power law", Points(N, error, n)) for n in (5000, 5000, 500))
    assert large == again
    widths = [np.diff(found.intervals[1])[0] for found in (large, small)]
    assert widths[0] < widths[1]


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


def test_points_that_bend_away_from_the_line_are_said_to():
    straight, bent = (Points(N, error, 5000) for error in (5 * N**-0.3, 0.9 - N / N[-1] / 4))
    assert fit("power law", straight).misfit > 0.5
    assert fit("power law", bent).misfit < 1e-6


def test_untrained_runs_stay_out_of_the_fit():
    analysis = analyse(runs_table())["top_5_error"]
    assert len(analysis.runs) == 8
    assert analysis.fits["power law"].values[1] == pytest.approx(0.3, abs=0.01)


def test_headline_is_top_5_unless_it_reaches_zero():
    assert headline(analyse(runs_table())).metric == "top_5_error"
    assert headline(analyse(runs_table(zeros=True))).metric == "top_1_error"


def test_gain_per_doubling_is_the_difference_of_neighbours():
    table = gains_table(sizes_table(runs_table()))
    expected = -np.diff(table["top_5_error"])
    assert table["top_5_gain_per_doubling"].iloc[1:].to_numpy() == pytest.approx(expected)


def test_no_complete_run_is_no_curve():
    runs = runs_table().assign(status="untrained")
    with pytest.raises(NotIdentifiableError, match="no run is complete"):
        headline(analyse(runs))


def test_words_carry_the_numbers():
    runs = runs_table()
    text = describe(analyse(runs), sizes_table(runs))
    assert "From 3,125 to 25,000 training images the test top-5 error goes" in text
    assert "exponent 0.30 (90 % interval" in text
    few = runs_table(sizes=2)
    assert "2 sizes were measured and 3 are needed" in describe(analyse(few), sizes_table(few))
    one = runs_table(sizes=1)
    assert "no curve yet" in describe(analyse(one), sizes_table(one))


def test_record_is_plain_json():
    import json

    record = law_record(analyse(runs_table()))
    assert json.loads(json.dumps(record)) == record
    assert record["metrics"]["top_5_error"]["laws"]["power law"]["exponent"]["value"] > 0


@pytest.mark.parametrize("zeros", [False, True])
def test_plotted_points_are_the_measured_ones(zeros):
    runs = runs_table(zeros)
    sizes = sizes_table(runs)
    ax = plot_error(new_axes(), analyse(runs)["top_5_error"], sizes)
    drawn = next(line for line in ax.lines if line.get_label() == "one run")
    kept = runs[runs.status == "complete"]
    assert drawn.get_xdata().tolist() == kept.num_train_images.tolist()
    if not zeros:
        assert drawn.get_ydata().tolist() == kept.top_5_error.tolist()
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xticklabels()[0].get_text() == "3,125"


def test_learning_curves_have_a_line_per_seed():
    rows = [
        {"seed": s, "epoch": e, "train_loss": 1 / e, "validation_top_5_error": 0.5 / e}
        for s in (1, 2) for e in (1, 2, 3)
    ]  # fmt: skip
    assert len(plot_learning(new_axes(), pd.DataFrame(rows)).lines) == 2
