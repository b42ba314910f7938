import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, t
from sklearn.metrics import log_loss, top_k_accuracy_score

from dataworth.evaluation.intervals import (
    beats_chance,
    chance_error,
    mean_interval,
    wilson_interval,
)
from dataworth.evaluation.metrics import compute_top_k_error, label_ranks, score
from dataworth.evaluation.records import RunScores, SplitScores
from dataworth.evaluation.results import summarise


@pytest.mark.fault(30)
@given(st.integers(0, 2**31), st.integers(3, 12), st.integers(1, 30))
def test_agrees_with_scikit_learn(seed, classes, n):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=g, dtype=torch.float64)
    labels = torch.randint(classes, (n,), generator=g)
    ours = compute_top_k_error(logits, labels, topk=range(1, classes))
    for k in range(1, classes):
        theirs = top_k_accuracy_score(labels, logits, k=k, labels=np.arange(classes))
        assert ours[f"top-{k}-accuracy"] == pytest.approx(theirs)
        assert ours[f"top-{k}-error"] == pytest.approx(1 - theirs)
    loss = log_loss(labels, logits.softmax(1), labels=np.arange(classes))
    assert score(logits, labels).loss == pytest.approx(loss, rel=1e-5)


@pytest.mark.fault(30)
@given(st.lists(st.lists(st.integers(0, 2), min_size=7, max_size=7), min_size=1, max_size=20))
def test_ties_are_wrong(rows):
    logits = torch.tensor(rows, dtype=torch.float32)
    labels = torch.zeros(len(rows), dtype=torch.int64)
    ranks = label_ranks(logits, labels)
    assert ranks.tolist() == [sum(v >= row[0] for v in row) - 1 for row in rows]


@pytest.mark.fault(29, 30)
def test_collapsed_and_diverged_networks_are_wrong():
    labels = torch.tensor([0, 1, 2])
    for logits in (torch.zeros(3, 10), torch.full((3, 10), torch.nan)):
        assert compute_top_k_error(logits, labels)["top-5-error"] == 1
    one_nan = torch.arange(10.0).repeat(1, 1)
    one_nan[0, 0] = torch.nan
    assert label_ranks(one_nan, torch.tensor([9])).item() == 1  # a NaN counts as ahead


def test_names_are_those_of_the_literature():
    found = compute_top_k_error(torch.eye(10), torch.arange(10))
    assert found == {
        "top-1-error": 0.0,
        "top-1-accuracy": 1.0,
        "top-5-error": 0.0,
        "top-5-accuracy": 1.0,
    }


@pytest.mark.fault(31)
@pytest.mark.parametrize("classes", [2, 5])
def test_top_5_says_nothing_with_fewer_than_6_classes(classes):
    found = compute_top_k_error(torch.randn(4, classes), torch.zeros(4, dtype=torch.int64))
    assert found["top-5-error"] is None
    assert found["top-5-accuracy"] is None
    assert found["top-1-error"] is not None


@given(st.integers(1, 5000), st.floats(0, 1))
def test_wilson_interval_is_scipys(n, share):
    wrong = round(share * n)
    theirs = binomtest(wrong, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(wrong / n, n) == pytest.approx(tuple(theirs), abs=1e-12)


def test_wilson_interval_covers():
    n, p = 200, 0.3
    wrong = np.arange(n + 1)
    inside = [low <= p <= high for low, high in (wilson_interval(k / n, n) for k in wrong)]
    assert 0.93 < binom.pmf(wrong, n, p)[inside].sum() < 0.97


def test_chance_is_the_best_constant_answer():
    assert chance_error(np.array([0, 0, 0, 1])) == 0.25
    assert chance_error(np.arange(100).repeat(5), k=5) == pytest.approx(0.95)
    assert not beats_chance(0.985, 0.99, 2000)
    assert beats_chance(0.97, 0.99, 2000)


@given(st.integers(1, 2000), st.floats(0, 1), st.floats(0.01, 0.999))
def test_the_test_against_chance_is_scipys(n, share, chance):
    wrong = round(share * n)
    p_value = binomtest(wrong, n, chance, alternative="less").pvalue
    if abs(p_value - 0.001) > 1e-9:
        assert beats_chance(wrong / n, chance, n) == (p_value < 0.001)


@given(st.integers(2, 50), st.floats(0.001, 0.1))
def test_seeds_widen_an_interval_by_students_t(num_runs, deviation):
    low, _ = mean_interval(0.5, deviation, num_runs, 10**12)
    half = t.interval(0.95, num_runs - 1, scale=deviation / num_runs**0.5)[1]
    assert low == pytest.approx(max(0.0, 0.5 - half), abs=1e-5)


def scored_run(size, error, seed, status="complete"):
    return RunScores(
        subset_size=size,
        seed=seed,
        num_images=int(1000 * size),
        best_epoch=1,
        status=status,
        splits={"test": SplitScores.measured(1000, 1.0, error, error / 2)},
    )


def test_summary_is_what_pandas_says_and_leaves_untrained_runs_out():
    runs = [scored_run(0.5, error, seed) for seed, error in enumerate((0.4, 0.5, 0.6))]
    runs += [scored_run(1.0, 0.3, 0), scored_run(1.0, 0.99, 1, "untrained")]
    summary = summarise(runs)
    assert list(summary) == ["0.5", "1.0"]
    assert summary["0.5"].top_1_error == pytest.approx(0.5)
    assert summary["0.5"].top_1_error_std == pytest.approx(0.1)
    assert summary["0.5"].top_5_acc == pytest.approx(0.75)
    assert summary["1.0"].num_runs == 1
    assert summary["1.0"].top_1_error_std is None


def test_interval_of_one_run_is_wilsons_and_grows_with_the_spread_of_seeds():
    assert mean_interval(0.2, None, 1, 500) == pytest.approx(wilson_interval(0.2, 500))
    narrow, wide = (mean_interval(0.2, deviation, 3, 500) for deviation in (0.001, 0.05))
    assert wide[0] < narrow[0] < 0.2 < narrow[1] < wide[1]
