"""Coverage guarantee of prediction sets: against MAPIE, on simulated data; refused thresholds."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from dataworth.conformal.coverage import (
    BROKEN,
    _design_effect,
    coverage_report,
    describe,
    expected_coverage,
)
from dataworth.conformal.scores import (
    METHODS,
    class_thresholds,
    marginal_threshold,
    prediction_sets,
    threshold,
)
from dataworth.conformal.thresholds import (
    calibration_identity,
    check_calibration_images,
    read_thresholds,
    uniform_draws,
    warn_small_calibration_set,
)
from dataworth.data.datasets import ImageDataset
from dataworth.data.prepare import PreparedData
from dataworth.data.splits import Split
from dataworth.errors import InputError
from dataworth.evaluation.calibration import probabilities
from dataworth.evaluation.results import read_results
from dataworth.storage.predictions import read_predictions
from tests.conftest import evaluate

ALPHA = 0.1


class AsGiven(ClassifierMixin, BaseEstimator):
    """Answers with the probabilities that it is shown: MAPIE wants an estimator."""

    def __init__(self, classes=10):
        self.classes = classes
        self.classes_ = np.arange(classes)
        self.n_features_in_ = classes

    def fit(self, x, y):
        return self

    def predict(self, x):
        return x.argmax(axis=1)

    def predict_proba(self, x):
        return x


def simulated(seed, n, classes=10):
    """Probabilities and labels that are drawn from another, related distribution."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(classes, 0.3), n)
    blurred = 0.7 * shares + 0.3 / classes
    return shares, (blurred.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


def mapie(method, calibration, test, alpha=ALPHA):
    from mapie.classification import SplitConformalClassifier

    model = SplitConformalClassifier(
        AsGiven(), confidence_level=1 - alpha, conformity_score=method, prefit=True, random_state=1
    )
    model.conformalize(*calibration)
    return model, model.predict_set(test)[1][:, :, 0]


def ours(method, calibration, test, alpha=ALPHA, seed=1):
    rng = np.random.default_rng(seed)
    shares, labels = calibration
    scores = METHODS[method](shares, rng.random(len(labels)))
    limits = marginal_threshold(scores, labels, alpha)
    return limits, prediction_sets(METHODS[method](test, rng.random(len(test))), limits)


@pytest.mark.parametrize(("n", "alpha"), [(500, 0.1), (499, 0.05), (123, 0.2)])
def test_lac_is_that_of_mapie(n, alpha):
    calibration, (test, _) = simulated(1, n), simulated(2, 200)
    model, theirs = mapie("lac", calibration, test, alpha)
    limits, sets = ours("lac", calibration, test, alpha)
    (expected,) = model._mapie_classifier.conformity_score_function_.quantiles_
    assert limits[0] == pytest.approx(expected, abs=1e-12)
    assert (sets == theirs).all()


@pytest.mark.parametrize("method", METHODS)
def test_coverage_is_the_target_and_that_of_mapie(method):
    kept, theirs = [], []
    for seed in range(40):
        calibration, (test, labels) = simulated(2 * seed, 400), simulated(2 * seed + 1, 400)
        _, sets = ours(method, calibration, test, seed=seed)
        kept.append(sets[np.arange(400), labels].mean())
        if seed < 10 and method != "raps":  # MAPIE's RAPS also splits for its own settings
            theirs.append(mapie(method, calibration, test)[1][np.arange(400), labels].mean())
    error = np.std(kept) / math.sqrt(len(kept))
    assert abs(np.mean(kept) - math.ceil(401 * 0.9) / 401) < 3 * error
    if theirs:
        assert np.mean(theirs) > 0.9 - 3 * np.std(theirs) / math.sqrt(len(theirs))


@pytest.mark.parametrize("method", METHODS)
def test_class_conditional_sets_cover_each_class(method):
    (shares, labels), (test, true) = simulated(3, 20_000), simulated(4, 20_000)
    u = uniform_draws(0, 20_000), uniform_draws(1, 20_000)
    limits = class_thresholds(METHODS[method](shares, u[0]), labels, ALPHA)
    held = prediction_sets(METHODS[method](test, u[1]), limits)[np.arange(20_000), true]
    for k in range(10):
        assert held[true == k].mean() == pytest.approx(0.9, abs=3 * 0.3 * math.sqrt(2 / 2000))


def test_scores_are_those_of_a_hand_calculation():
    shares, u = np.array([[0.2, 0.5, 0.3]]), np.array([0.5])
    assert METHODS["lac"](shares, u) == pytest.approx(np.array([[0.8, 0.5, 0.7]]))
    assert METHODS["aps"](shares, u) == pytest.approx(np.array([[0.9, 0.25, 0.65]]))
    many = np.full((1, 8), 1 / 8)
    extra = METHODS["raps"](many, u) - METHODS["aps"](many, u)
    assert extra == pytest.approx(np.array([[0, 0, 0, 0, 0, 0.01, 0.02, 0.03]]))


@pytest.mark.fault(52)
def test_too_few_calibration_images_give_full_sets_and_a_warning(capsys):
    assert threshold(np.arange(5.0), 0.05) == math.inf
    assert threshold(np.arange(19.0), 0.05) == 18  # 20 * 0.95 is 19: just enough
    shares, labels = simulated(5, 5)
    limits = marginal_threshold(1 - shares, labels, 0.05)
    assert prediction_sets(1 - shares, limits).all()
    warn_small_calibration_set(labels, 10, 0.05)
    assert "takes 19 calibration images, there are 5" in capsys.readouterr().err


@pytest.mark.fault(52)
@pytest.mark.parametrize("alpha", ["0", "1", "-0.1", "nan"])
def test_alphas_that_mean_nothing_are_refused(workplace, capsys, alpha):
    with pytest.raises(ValueError, match="alpha"):
        threshold(np.arange(9.0), float(alpha))
    assert evaluate("--conformal", "--alpha", alpha) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_coverage_too_high_is_a_broken_assumption_too():
    labels = np.zeros(150, int)
    sets = np.ones((150, 3), bool)
    sets[:5, 0] = False
    report = coverage_report(sets, labels, labels, 0.1, (0.87, 0.93))
    assert report.coverage == pytest.approx(0.967, abs=0.001)
    assert report.coverage_interval == pytest.approx((0.924, 0.986), abs=0.001)
    assert not report.interval_contains_target
    assert report.verdict == BROKEN
    assert coverage_report(sets, labels, labels, 0.1, (0.85, 0.98)).verdict != BROKEN


def test_expected_coverage_holds_as_often_as_it_says():
    inside, nobody = 0, np.zeros(100, int)
    low, high = expected_coverage(nobody, np.zeros(300, int), ALPHA)
    for seed in range(300):
        calibration, (test, labels) = simulated(2 * seed, 100), simulated(2 * seed + 1, 300)
        _, sets = ours("lac", calibration, test)
        inside += low <= sets[np.arange(300), labels].mean() <= high
    assert 0.91 < inside / 300 < 0.99


def test_expected_coverage_allows_for_images_of_one_group():
    """Every picture four times is as uncertain as every picture once."""
    inside, too_sure = 0, 0
    groups, nobody = np.repeat(np.arange(100), 4), np.zeros(400, int)
    for seed in range(200):
        calibration, (test, labels) = simulated(2 * seed, 100), simulated(2 * seed + 1, 100)
        repeated = [np.repeat(values, 4, axis=0) for values in (*calibration, test, labels)]
        _, sets = ours("lac", repeated[:2], repeated[2])
        coverage = sets[np.arange(400), repeated[3]].mean()
        effect = _design_effect(sets, repeated[3], groups)
        low, high = expected_coverage(nobody, nobody, ALPHA, effect)
        inside += low <= coverage <= high
        low, high = expected_coverage(nobody, nobody, ALPHA)
        too_sure += low <= coverage <= high
    assert inside / 200 > 0.91
    assert too_sure / 200 < 0.85


def test_reports_agree_with_each_other(extended):
    results = read_results(extended / "results" / "s" / "metrics.json")
    table = pd.read_csv(extended / "results" / "s" / "conformal.csv")
    assert len(table) == 6 * 2 * 3 * 2
    for run in results.runs:
        for methods in run.conformal.values():
            for report in (report for modes in methods.values() for report in modes.values()):
                for groups in (report.by_true_class, report.by_predicted_class):
                    present = [i for i, n in enumerate(groups.num_images) if n]
                    for key in ("coverage", "mean_set_size"):
                        values = [getattr(groups, key)[i] for i in present]
                        weights = [groups.num_images[i] for i in present]
                        mean = np.average(values, weights=weights)
                        assert mean == pytest.approx(getattr(report, key))
                low, high = report.coverage_interval
                assert report.interval_contains_target == (low <= report.target <= high)
    figures = {path.stem for path in (extended / "results" / "s" / "figures").iterdir()}
    assert {"coverage_0.1", "coverage_0.2", "set_size_0.1", "set_size_0.2"} <= figures


def test_rows_of_an_earlier_alpha_are_kept(extended, workplace):
    shutil.copytree(extended, workplace, dirs_exist_ok=True)
    folder = workplace / "results" / "s"
    earlier = pd.read_csv(folder / "conformal.csv")
    assert evaluate("--conformal", "--alpha", 0.05) == 0
    table = pd.read_csv(folder / "conformal.csv")
    assert len(table) == len(earlier) * 3 / 2
    assert set(table["alpha"]) == {0.05, 0.1, 0.2}
    kept = table[table["alpha"] != 0.05].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, earlier)
    runs = read_results(folder / "metrics.json").runs
    assert {tuple(run.conformal) for run in runs} == {("0.05", "0.1", "0.2")}


def test_thresholds_serve_only_what_they_were_made_for(extended):
    run_dir = extended / "checkpoints" / "s" / "1.0" / "seed-1"
    content = json.loads((run_dir / "conformal.json").read_text())
    right = {key: content[key] for key in ("weights_sha256", "data_sha256", "calibration")}
    assert read_thresholds(run_dir, right, 0.1, "lac").shape == (1,)
    other = {"split": "validation", "num_images": 144, "sha256": "0" * 64}
    for wrong in ({"weights_sha256": "0" * 64}, {"data_sha256": "0"}, {"calibration": other}):
        with pytest.raises(InputError, match=f"made for another {next(iter(wrong))}"):
            read_thresholds(run_dir, {**right, **wrong}, 0.1, "lac")
    with pytest.raises(InputError, match=r"holds alpha 0.1, 0.2, not 0.3"):
        read_thresholds(run_dir, right, 0.3, "lac")


def data_with_validation(first):
    """Three test images, and three validation images from the ``first`` of six on."""
    labels = np.array([0, 1, 0])
    splits = {
        "validation": Split("all", np.arange(first, first + 3), labels),
        "test": Split("all", np.arange(3), labels),
    }
    dataset = ImageDataset("d", "f", None, ("a", "b"), splits, {}, None, ())
    return PreparedData(dataset, {}, {"all": np.arange(192, dtype=np.uint8).reshape(6, 32)})


def test_tested_images_calibrate_nothing(tmp_path, capsys):
    with pytest.raises(InputError, match="all 3 validation images are also in test"):
        check_calibration_images(data_with_validation(0))
    check_calibration_images(data_with_validation(3))
    assert not capsys.readouterr().err
    data = data_with_validation(2)
    check_calibration_images(data)
    assert "1 of 3 validation images is also in test; it is left out" in capsys.readouterr().err
    (tmp_path / "best.safetensors.sha256").write_text("0" * 64)
    assert calibration_identity(tmp_path, data)["calibration"]["num_images"] == 2


def test_thresholds_come_from_the_images_that_are_left(extended, workplace, monkeypatch):
    shutil.copytree(extended, workplace, dirs_exist_ok=True)
    kept = np.arange(144) % 3 == 0
    monkeypatch.setattr(PreparedData, "distinct_validation", kept)
    assert evaluate("--conformal") == 0
    run = Path("1.0") / "seed-1"
    content = json.loads((workplace / "checkpoints" / "s" / run / "conformal.json").read_text())
    assert content["calibration"]["num_images"] == 48
    logits, labels = read_predictions(workplace / "results" / "s", run, "validation")
    shares = probabilities(logits[kept])
    expected = marginal_threshold(METHODS["lac"](shares, np.zeros(48)), labels[kept], 0.1)
    assert content["alphas"]["0.1"]["lac"]["marginal"] == pytest.approx(expected.tolist())


def coverage_table(misses, total=36):
    row = {
        "num_images": 100, "alpha": 0.1, "method": "lac", "mode": "marginal", "subset_size": 1.0,
        "seed": 1, "coverage": 0.9, "coverage_low": 0.8, "coverage_high": 0.95, "target": 0.9,
        "mean_set_size": 1.0, "singleton_share": 0.5,
    }  # fmt: skip
    verdicts = [BROKEN] * misses + ["holds"] * (total - misses)
    return pd.DataFrame([{**row, "verdict": verdict} for verdict in verdicts])


def test_as_many_misses_as_chance_explains_are_one_calm_line():
    text = describe(coverage_table(3))
    assert "3 of 36 intervals miss their target" in text
    assert "1.8 are expected by chance" in text
    assert "assumption" not in text.lower()
    assert text.count("\n") == 2  # the title, the only method, the misses
    assert "1 of 36 intervals misses its target" in describe(coverage_table(1))
    assert "miss" not in describe(coverage_table(0))


def test_more_misses_than_independent_intervals_have_may_be_a_broken_assumption():
    text = describe(coverage_table(9))
    assert "9 of 36" in text
    assert "Perhaps a broken assumption" in text
    assert "these share their images and miss together" in text
    assert "exchangeable" in text
    assert text.count("\n") == 2


def raps_sets_by_loops(logits, labels, test_logits, draws, test_draws, alpha):
    """RAPS of Angelopoulos et al. (2021), algorithms 2 and 3 with randomness, class by class."""
    penalty, free_ranks = 0.01, 5

    def score_of(row, label, draw):
        exponentials = [math.exp(value - max(row)) for value in row]
        shares = [value / sum(exponentials) for value in exponentials]
        rank = sum(share > shares[label] for share in shares) + 1
        above = sum(share for share in shares if share > shares[label])
        return above + (1 - draw) * shares[label] + penalty * max(rank - free_ranks, 0)

    scores = sorted(map(score_of, logits, labels, draws))
    limit = scores[math.ceil((1 - alpha) * (len(scores) + 1)) - 1]
    return [
        {label for label in range(len(row)) if score_of(row, label, draw) <= limit}
        for row, draw in zip(test_logits, test_draws, strict=True)
    ]


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_raps_is_that_of_an_implementation_by_loops(alpha):
    rng = np.random.default_rng(7)
    logits, test_logits = rng.normal(0, 1.5, (2, 400, 20))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    draws, test_draws = uniform_draws(0, 400), uniform_draws(1, 400)
    expected = raps_sets_by_loops(logits, labels, test_logits, draws, test_draws, alpha)
    scores = METHODS["raps"](probabilities(logits), draws)
    limits = marginal_threshold(scores, labels, alpha)
    sets = prediction_sets(METHODS["raps"](probabilities(test_logits), test_draws), limits)
    assert [set(np.flatnonzero(row).tolist()) for row in sets] == expected
    assert len({len(members) for members in expected}) > 5  # sets of many sizes were compared
