"""LearningCurve as a library: promises to users of scikit-learn, for shares, AUROC and losses."""

import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot

from dataworth import LearningCurve
from dataworth.commands import forecast as forecast_command
from dataworth.commands.flags import ForecastFlags
from dataworth.commands.parsing import parse
from dataworth.figures.style import new_axes
from dataworth.forecaster.fitted_curve import NotFittedError
from dataworth.forecaster.flags import ReadFlags
from dataworth.scaling.points import NotIdentifiableError
from tests.conftest import ROOT, command

PAGE = (ROOT / "docs" / "how-to" / "forecast-from-numbers.md").read_text()
BLOCKS = {
    language: re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for language in ("sh", "python")
}
N = np.array([500, 1000, 2000, 4000, 8000.0])
ERROR = 0.05 + 6 * N**-0.5
LOSS = 1.5 + 40 * N**-0.5


@pytest.fixture(scope="module")
def curve():
    return LearningCurve(chance=0.9, num_test=5000).fit(N, ERROR)


@pytest.fixture(scope="module")
def loss_curve():
    return LearningCurve.from_sklearn(N, -LOSS, "neg_error", chance=np.inf)


def check_consistency(curve, level, runs=1):
    """Intervals contain the median, probability inverts them, required_n inverts both."""
    at = np.array([2000, 16_000, 64_000.0])
    median, (lower, upper) = curve.predict(at), curve.predict_interval(at, level, runs)
    assert ((lower <= median) & (median <= upper)).all()
    assert np.diff(median).max() < 0
    for ends, share in ((lower, (1 - level) / 2), (upper, (1 + level) / 2)):
        assert curve.probability(ends, at, runs) == pytest.approx(share, abs=0.002)
    wider = curve.predict_interval(at, (1 + level) / 2, runs)
    assert ((wider[0] <= lower) & (upper <= wider[1])).all()
    target = float(curve.predict(16_000))
    required = curve.required_n(target, level, runs)
    assert required.lower <= required.estimate <= required.upper
    assert curve.predict(required.estimate) == pytest.approx(target, rel=0.045)  # a grid of sizes
    shares = {required.lower: (1 - level) / 2, required.estimate: 0.5}
    for n, share in (shares | {required.upper: (1 + level) / 2}).items():
        if np.isfinite(n):
            here, before = curve.probability(target, [n, n * 2 ** (-1 / 16)], runs)
            assert before < share <= here
        else:
            assert required.probability < share


def test_intervals_probabilities_and_required_sizes_agree(loss_curve):
    check_consistency(loss_curve, 0.9)


@st.composite
def fitted_curves(draw):
    """A curve fitted to a power law with floor and noise."""
    exponent, floor = draw(st.floats(0.2, 0.9)), draw(st.floats(0, 0.1))
    noise = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(len(N))
    chance, num_test = draw(st.sampled_from([(0.9, 2000), (None, None), (np.inf, None)]))
    error = floor + 0.4 * (N / N[0]) ** -exponent * np.exp(0.02 * noise)
    return LearningCurve(chance, num_test).fit(N, error)


@pytest.mark.slow
@given(fitted_curves(), st.sampled_from([0.5, 0.8, 0.9, 0.99]), st.integers(1, 5))
@settings(max_examples=8, deadline=None)
def test_intervals_probabilities_and_required_sizes_agree_for_any_curve(curve, level, runs):
    check_consistency(curve, level, runs)


def test_intervals_of_a_mean_are_narrower_where_seeds_vary():
    rng = np.random.default_rng(0)
    n = np.repeat(N, 4)
    loss = np.repeat(LOSS, 4) * np.exp(0.1 * rng.standard_normal(len(n)))
    noisy = LearningCurve(np.inf).fit(n, loss)
    one, ten = (np.diff(noisy.predict_interval([8000], runs=k), axis=0).item() for k in (1, 10))
    assert ten < 0.75 * one


def test_the_attributes_are_those_of_the_analysis(curve, loss_curve):
    assert "M4" in curve.laws_
    assert sum(curve.laws_.values()) == pytest.approx(1)
    assert [test.hidden for test in loss_curve.backtest_] == [1, 2]
    assert all(test.n == 8000 for test in loss_curve.backtest_)
    assert curve.exponent_interval_[0] < curve.exponent_ < curve.exponent_interval_[1]
    assert curve.floor_interval_[0] < curve.floor_ < curve.floor_interval_[1]


def test_three_sizes_have_no_backtest():
    assert LearningCurve(np.inf).fit(N[:3], LOSS[:3]).backtest_ == ()


def test_outputs_have_the_shape_of_the_input(curve):
    assert curve.predict(16_000).shape == ()
    assert curve.predict([[16_000, 32_000]]).shape == (1, 2)
    assert curve.predict_interval(pd.Series([16_000]))[0].shape == (1,)
    assert curve.probability(0.1, [16_000, 32_000]).shape == (2,)
    assert curve.probability([[0.1], [0.2]], [16_000, 32_000, 64_000]).shape == (2, 3)
    rising = curve.probability([0.05, 0.1, 0.2], 32_000)
    assert (np.diff(rising) >= 0).all()


def test_arrays_lists_and_pandas_are_the_same(curve):
    table = pd.DataFrame({"n": N.astype(int), "error": ERROR}).convert_dtypes()
    same = LearningCurve(0.9, [5000] * 5).fit(table.n, table.error)
    assert same.predict([1e5]) == curve.predict(pd.Series([1e5]))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda curve: curve.predict([0]), "n must be finite numbers above 0"),
        (lambda curve: curve.predict(["many"]), "n must be numbers: could not convert"),
        (lambda curve: curve.predict_interval([10], level=1), "level must be between"),
        (lambda curve: curve.predict_interval([10], runs=0), "runs must be 1 or more"),
        (lambda curve: curve.required_n(1.5), "error must be a share between 0 and 1"),
        (lambda curve: curve.probability(-1, 10), "error must be a share between 0 and 1"),
        (lambda curve: curve.probability([0.1, 0.2], [1, 2, 3]), "shape"),
    ],
)
def test_a_wrong_argument_is_a_value_error(curve, use, message):
    with pytest.raises(ValueError, match=message):
        use(curve)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"chance": np.inf}, [3, 2, 0], "every error must be above 0"),
        ({"chance": np.inf, "num_test": 9}, [3, 2, 1], "num_test is for shares"),
        ({"num_test": [9, 9]}, [0.3, 0.2, 0.1], "one number or 3, one for each"),
        ({"num_test": np.nan}, [0.3, 0.2, 0.1], "num_test must be a number above 0"),
        ({"chance": np.nan}, [0.3, 0.2, 0.1], "chance must be a share"),
        ({}, [3, 2, 1], r"give chance=numpy\.inf"),
        ({}, [0.3, np.nan, 0.1], "between 0 and 1"),
    ],
)
def test_parameters_are_checked_in_fit(parameters, error, message):
    with pytest.raises(ValueError, match=message):
        LearningCurve(**parameters).fit([1, 2, 3], error)


def test_a_fit_that_fails_leaves_nothing_behind():
    curve = LearningCurve(np.inf).fit(N, LOSS)
    with pytest.raises(NotIdentifiableError, match="the error rises from"):
        curve.fit(N, LOSS[::-1])
    assert not hasattr(curve, "exponent_")
    assert not hasattr(curve, "backtest_")
    assert "rises" in curve.analysis_.reason
    with pytest.raises(NotFittedError):
        curve.plot()


@pytest.mark.parametrize("last", [0, 7])  # not identifiable without num_test; no share
def test_a_fit_that_is_refused_leaves_no_earlier_one(last):
    curve = LearningCurve().fit([1, 2, 4], [0.4, 0.3, 0.2])
    with pytest.raises((NotIdentifiableError, ValueError)):
        curve.fit([1, 2, 4], [0.4, 0.3, last])
    with pytest.raises(NotFittedError):
        curve.predict(8)


# Metrics without an upper bound, and AUROC.


def test_a_loss_is_forecast_in_any_unit(loss_curve):
    assert set(loss_curve.laws_) <= {"power law", "power law with floor"}
    truth = 1.5 + 40 * 16_000**-0.5
    assert loss_curve.predict(16_000) == pytest.approx(truth, rel=0.03)
    lower, upper = loss_curve.predict_interval(16_000)
    assert lower < truth < upper
    assert loss_curve.probability(1e9, 16_000) == 1
    scaled = LearningCurve(chance=np.inf).fit(N, 1e-4 * LOSS)
    assert scaled.predict(16_000) == pytest.approx(1e-4 * loss_curve.predict(16_000), rel=1e-6)


def test_the_noise_of_small_losses_counts():
    rng = np.random.default_rng(0)
    n = np.repeat(N, 3)
    rmse = 5e-5 * n**-0.5 * np.exp(0.05 * rng.standard_normal(len(n)))
    lower, upper = LearningCurve(np.inf).fit(n, rmse).predict_interval(8000)
    assert 1.1 < upper / lower < 1.5


def test_auroc_is_an_error_with_chance_level_one_half():
    auroc = 1 - 0.5 * (1 + N / 200) ** -0.5
    curve = LearningCurve.from_sklearn(N, auroc, "accuracy", chance=0.5)
    truth = 0.5 * (1 + 32_000 / 200) ** -0.5
    lower, upper = curve.predict_interval(32_000)
    assert lower < truth < upper
    assert curve.predict(1) <= 0.5


# scikit-learn.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scoring", "values", "chance"),
    [("accuracy", "accuracy", 0.9), ("neg_root_mean_squared_error", "neg_error", np.inf)],
)
def test_the_output_of_scikit_learn_is_fitted(scoring, values, chance):
    from sklearn.datasets import load_digits
    from sklearn.model_selection import learning_curve
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    x, y = load_digits(return_X_y=True)
    model = KNeighborsClassifier() if values == "accuracy" else KNeighborsRegressor()
    n, _, scores = learning_curve(
        model, x, y, scoring=scoring, train_sizes=np.geomspace(0.05, 1, 5), cv=3, shuffle=True,
        random_state=0,
    )  # fmt: skip
    curve = LearningCurve.from_sklearn(n, scores, values, chance=chance)
    error = (1 if values == "accuracy" else 0) - scores.mean(axis=1)
    assert curve.analysis_.points.num_runs.tolist() == [3] * 5
    assert curve.analysis_.points.means == pytest.approx(error)
    assert 0 < curve.predict(2 * n[-1]) < error[0]


def test_scores_of_scikit_learn_need_a_word_and_a_shape():
    with pytest.raises(ValueError, match="values must be one of error, accuracy, neg_error"):
        LearningCurve.from_sklearn(N, 1 - ERROR, "score")
    with pytest.raises(ValueError, match=r"test_scores must be of shape \(sizes, folds\)"):
        LearningCurve.from_sklearn(N, np.ones((3, 5)), "accuracy")
    with pytest.raises(ValueError, match="between 0 and 1"):
        LearningCurve.from_sklearn(N, np.full((5, 3), np.nan), "accuracy")


def test_parameters_are_those_of_a_scikit_learn_estimator(curve):
    from sklearn.base import BaseEstimator, clone

    class Reference(BaseEstimator):
        def __init__(self, chance=None, num_test=None, start="unknown"):
            self.chance = chance
            self.num_test = num_test
            self.start = start

    ours, reference = LearningCurve(num_test=[5, 6, 7]), Reference(num_test=[5, 6, 7])
    for estimator in (ours, reference):
        assert estimator.set_params(chance=0.5) is estimator
        assert estimator.set_params() is estimator
    assert ours.get_params() == ours.get_params(deep=False) == reference.get_params()
    assert clone(ours).get_params() == ours.get_params()
    assert clone(curve).get_params() == {
        "chance": 0.9,
        "num_test": 5000,
        "start": "unknown",
    }
    assert not hasattr(clone(curve), "analysis_")
    for estimator in (ours, reference):
        with pytest.raises(ValueError, match="level"):
            estimator.set_params(level=0.5)


# Figures and imports.


def test_a_plot_is_a_figure_of_pyplot_or_in_given_axes(curve):
    ax = curve.plot(name="top-5 error")
    assert ax.get_figure() is pyplot.gcf()
    assert ax.get_ylabel() == "top-5 error"
    pyplot.close()
    own = new_axes()
    assert curve.plot(own) is own
    assert own.get_figure().get_supxlabel() == ""  # the figure may have other axes


def test_a_plot_of_a_loss_is_not_in_percent(loss_curve):
    ax = loss_curve.plot(new_axes(), "loss (nats)")
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert "2" in labels
    assert not any("%" in label for label in labels)


def test_fit_and_predict_import_neither_torch_nor_pandas_nor_matplotlib():
    code = (
        "import sys, dataworth; assert 'numpy' not in sys.modules\n"
        "from dataworth import LearningCurve\n"
        "curve = LearningCurve(chance=float('inf')).fit([1, 2, 4, 4], [0.4, 0.3, 0.21, 0.2])\n"
        "curve.predict([8]), curve.predict_interval([8]), curve.probability(0.1, 8)\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'pydantic', 'sklearn', 'openpyxl'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


# docs/how-to/forecast-from-numbers.md


def test_commands_of_the_page_parse():
    commands = [line for block in BLOCKS["sh"] for line in block.splitlines()]
    assert commands
    for line in commands:
        program, subcommand, *words = shlex.split(line)
        assert (program, subcommand) == ("dataworth", "forecast")
        assert (ROOT / parse(ForecastFlags, words, ForecastFlags()).points).exists()
    fields = {*ForecastFlags.model_fields, *ReadFlags.model_fields, "as", "json"}
    flags = set(re.findall(r"`?--([a-z][a-z-]+)", PAGE))
    assert {"as", "where", "plan"} <= flags <= {name.replace("_", "-") for name in fields}


@pytest.mark.slow
def test_every_block_of_the_page_runs(monkeypatch, tmp_path):
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    for line in "".join(BLOCKS["sh"]).splitlines():
        assert command(forecast_command.forecast, *shlex.split(line)[2:]) == 0
    names = {}
    for block in BLOCKS["python"]:
        exec(block, names)
    assert (tmp_path / "law.png").stat().st_size > 10_000
    required = names["seeds"].required_n(0.125)
    assert f"estimate={required.estimate:.0f}, lower={required.lower:.0f}" in PAGE
    assert f"upper={required.upper:.0f}, probability={required.probability:.3f}" in PAGE
    probability = names["seeds"].probability(0.125, [100_000, 200_000, 400_000])
    assert f"# array({probability.round(2).tolist()})" in PAGE


def test_the_start_weighs_the_laws():
    scratch = LearningCurve(0.9, 5000, start="scratch").fit(N, ERROR)
    pretrained = LearningCurve(0.9, 5000, start="pretrained").fit(N, ERROR)
    ahead = 8 * N[-1]
    assert scratch.predict(ahead) < pretrained.predict(ahead)  # a low floor, and a high one
    assert repr(scratch) == "LearningCurve(chance=0.9, num_test=5000, start='scratch')"
    with pytest.raises(ValueError, match="start must be one of unknown, scratch, pretrained"):
        LearningCurve(0.9, start="fresh").fit(N, ERROR)
