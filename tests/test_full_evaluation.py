"""``eval.py --full``: scores against scikit-learn and scipy, and on a whole study."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, f1_score, log_loss, precision_score, recall_score

from dataworth.evaluation import results as results_module
from dataworth.evaluation.calibration import negative_log_likelihood, probabilities, reliability
from dataworth.evaluation.full import full_scores, per_class_table
from dataworth.evaluation.per_class import class_drops, classification, paired_drop, verdict
from dataworth.evaluation.results import read_results
from dataworth.evaluation.tables import chance_table
from dataworth.findings.sentences import percent
from dataworth.storage.files import read_json, write_json
from dataworth.storage.predictions import read_predictions, write_confusion_matrices
from tests.conftest import evaluate


def sample(seed, n, classes):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    logits = rng.normal(size=(n, classes)).astype(np.float32)
    logits[np.arange(n), labels] += 1
    return logits, labels


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(2, 12), st.integers(2, 60))
def test_classification_is_that_of_scikit_learn(seed, classes, n):
    logits, labels = sample(seed, n, classes)
    predicted = logits.argmax(axis=1)
    scores = classification(predicted, labels, classes)
    expected = confusion_matrix(labels, predicted, labels=np.arange(classes))
    assert np.array_equal(scores.confusion_matrix, expected)
    for name, theirs in (
        ("precision", precision_score),
        ("recall", recall_score),
        ("f1", f1_score),
    ):
        for average in ("macro", "weighted"):
            seen = np.unique(labels)
            expected = theirs(labels, predicted, labels=seen, average=average, zero_division=0)
            assert getattr(getattr(scores, average), name) == pytest.approx(expected)
    assert len(scores.per_class.recall) == classes


def test_likelihood_is_that_of_scikit_learn_and_survives_sure_logits():
    logits, labels = sample(1, 200, 7)
    expected = log_loss(labels, probabilities(logits), labels=np.arange(7))
    assert negative_log_likelihood(logits, labels) == pytest.approx(expected)
    sure = np.array([[1000.0, -1000.0]], dtype=np.float32)
    assert negative_log_likelihood(sure, np.array([1])) == pytest.approx(2000)


def test_reliability_bins_are_those_of_scikit_learn():
    logits, labels = sample(2, 1500, 5)
    bins, shares = reliability(logits, labels), probabilities(logits)
    accuracy, confidence = calibration_curve(
        shares.argmax(axis=1) == labels, shares.max(axis=1), n_bins=15, strategy="quantile"
    )
    assert bins.accuracy == pytest.approx(accuracy)
    assert bins.confidence == pytest.approx(confidence)
    assert bins.count.tolist() == [100] * 15
    assert bins.expected_error == pytest.approx(np.abs(accuracy - confidence).mean())


def test_calibrated_probabilities_have_a_small_error_and_inflated_ones_a_large_one():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(20_000, 5)).astype(np.float32)
    labels = (probabilities(logits).cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert reliability(logits, labels).expected_error < 0.02
    assert reliability(5 * logits, labels).expected_error > 0.2


def test_a_constant_network_is_one_bin_whatever_the_order_of_images():
    bins = reliability(np.zeros((90, 10), np.float32), np.arange(90) % 10)
    assert bins.count.tolist() == [90]
    assert bins.expected_error == pytest.approx(0)


def test_top_k_errors_stop_below_the_number_of_classes():
    logits, labels = sample(4, 50, 4)
    assert list(full_scores(logits, labels)[0].top_k_errors) == ["1", "2", "3"]


def test_paired_bootstrap_agrees_with_the_paired_t_interval():
    drop = np.random.default_rng(5).choice([-1, 0, 1], 2000, p=[0.1, 0.7, 0.2]).astype(float)
    mean, low, high = paired_drop(drop)
    expected = ttest_1samp(drop, 0).confidence_interval()
    assert mean == pytest.approx(drop.mean())
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.002)
    assert paired_drop(drop) == (mean, low, high)  # the same every time
    assert paired_drop(np.zeros(9)) == (0, 0, 0)


def test_drops_of_few_images_are_covered_as_often_as_promised():
    rng = np.random.default_rng(6)
    drop = rng.choice([-1.0, 0.0, 1.0], 20 * 2000, p=[0.05, 0.8, 0.15])
    _, low, high = class_drops(drop, np.repeat(np.arange(2000), 20), 2000)
    assert 0.94 < np.mean((low <= 0.1) & (high >= 0.1)) < 1


def test_verdicts_follow_the_interval():
    assert verdict(0.01, 0.3) == "gains"
    assert verdict(-0.04, 0.04) == "saturated"
    assert verdict(-0.04, 0.3) == "undecided"


def test_a_class_without_test_images_is_in_no_average():
    labels = np.array([0, 0, 1, 2, 2, 2])
    scores, _ = full_scores(np.eye(4, dtype=np.float32)[labels], labels)
    assert scores.macro.f1 == 1
    class_scores = {8: [scores.per_class], 16: [scores.per_class]}
    errors = {8: np.ones(6), 16: np.zeros(6)}
    counts = {8: np.full(4, 2.0), 16: np.full(4, 4.0)}
    table = per_class_table(class_scores, errors, labels, counts, list("abcd"))
    absent = table[table["class"] == "d"]
    assert (
        absent[["recall", "f1", "top_1_error", "drop", "drop_low", "verdict"]].isna().all(axis=None)
    )
    assert table[table["class"] != "d"]["recall"].notna().all()


def test_a_size_at_chance_is_shown_and_is_in_no_mean(study, workplace, monkeypatch, capsys):
    shutil.copytree(study, workplace, dirs_exist_ok=True)
    answers = itertools.cycle([False, True, True])  # the smallest size
    monkeypatch.setattr(results_module, "beats_chance", lambda *numbers: next(answers))
    assert evaluate("--full", "--conformal", "--report") == 0
    output, folder = capsys.readouterr().out, workplace / "results" / "s"
    results = read_results(folder / "metrics.json")
    assert list(results.subset_sizes) == ["0.5", "1.0"]
    assert {run.subset_size for run in results.runs if not run.complete} == {0.25}
    points = read_json(folder / "scaling_law.json")["metrics"]["top_1_error"]["points"]
    assert [point["n"] for point in points] == [647, 1293]
    assert set(pd.read_csv(folder / "per_class.csv")["num_images"]) == {647, 1293}
    sizes = pd.read_csv(folder / "conformal.csv").groupby("status")["num_images"].unique()
    assert sizes["untrained"].tolist() == [323]
    (error,) = chance_table(results)["top_1_error"]
    at_chance = f"a top-1 error of {percent(error)} with 323 training images (2 runs)"
    for text in (output, (folder / "report.html").read_text()):
        assert "2 (at chance)" in text
        assert at_chance in " ".join(text.split())


def test_full_scores_agree_with_the_plain_ones(extended):
    folder = extended / "results" / "s"
    for run in read_results(folder / "metrics.json").runs:
        scores, test = run.full, run.splits["test"]
        assert scores.top_k_errors["1"] == test.top_1_error
        assert scores.top_k_errors["5"] == test.top_5_error
        assert len(scores.top_k_errors) == 9
        assert scores.negative_log_likelihood == pytest.approx(test.loss, rel=1e-5)
        assert sum(scores.reliability.num_images) == test.num_images


def test_confusion_matrices_lie_beside_metrics_json(extended):
    folder = extended / "results" / "s"
    assert "confusion" not in (folder / "metrics.json").read_text()
    with np.load(folder / "confusion_matrices.npz") as matrices:
        runs = read_results(folder / "metrics.json").runs
        assert set(matrices) == {str(run.path) for run in runs}
        for run in runs:
            logits, labels = read_predictions(folder, run.path, "test")
            matrix = matrices[str(run.path)]
            assert np.array_equal(matrix, confusion_matrix(labels, logits.argmax(axis=1)))
            assert matrix.dtype == np.int32


def test_a_thousand_classes_keep_metrics_json_small(workplace):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(5000, 1000)).astype(np.float32), np.arange(5000) % 1000
    scores, matrix = full_scores(logits, labels)
    write_confusion_matrices(workplace, {Path("1.0/seed-1"): matrix})
    assert len(scores.model_dump_json(exclude_unset=True)) < 100_000
    assert (workplace / "confusion_matrices.npz").stat().st_size < 100_000


def test_matrices_in_an_older_metrics_json_are_moved_out_of_it(extended, workplace):
    shutil.copytree(extended, workplace, dirs_exist_ok=True)
    path = workplace / "results" / "s" / "metrics.json"
    content, file = read_json(path), path.with_name("confusion_matrices.npz")
    with np.load(file) as matrices:
        expected = {name: matrices[name].tolist() for name in matrices}
    file.unlink()
    for run in content["runs"]:
        run["full"]["confusion_matrix"] = expected[f"{run['subset_size']!r}/seed-{run['seed']}"]
    write_json(path, content)
    assert read_results(path).runs[0].full.confusion_matrix is not None
    assert evaluate() == 0
    assert "confusion" not in path.read_text()
    assert (
        read_results(path).runs[0].full.macro
        == read_results(extended / "results" / "s" / "metrics.json").runs[0].full.macro
    )
    with np.load(file) as matrices:
        assert {name: matrices[name].tolist() for name in matrices} == expected


def test_per_class_table_averages_to_the_error_of_each_size(extended):
    folder = extended / "results" / "s"
    table, results = pd.read_csv(folder / "per_class.csv"), read_results(folder / "metrics.json")
    for size in results.subset_sizes.values():
        part = table[table.num_images == size.num_images]
        assert len(part) == 10
        assert part.num_train_images.sum() == size.num_images
        mean = np.average(part.top_1_error, weights=part.num_test_images)
        assert mean == pytest.approx(size.top_1_error)
        assert (1 - part.recall).tolist() == pytest.approx(part.top_1_error.tolist())
    assert set(table.verdict.dropna()) <= {"gains", "saturated", "undecided"}


def test_steps_are_the_differences_between_sizes(extended):
    folder = extended / "results" / "s"
    results = read_results(folder / "metrics.json")
    errors = [size.top_1_error for size in results.subset_sizes.values()]
    for step, drop in zip(results.size_steps, -np.diff(errors), strict=True):
        assert step.top_1_error_drop == pytest.approx(drop)
        low, high = step.top_1_error_drop_interval
        assert low <= drop <= high
    figures = {path.stem for path in (folder / "figures").iterdir()}
    assert {"reliability", "per_class", "confusion"} <= figures
