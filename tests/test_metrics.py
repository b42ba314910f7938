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
    pooled_intervals,
    wilson_interval,
)
from dataworth.evaluation.metrics import compute_top_k_error, label_ranks, score
from dataworth.evaluation.records import RunScores, SplitScores
from dataworth.evaluation.results import judge_sizes, summarise


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
    assert not beats_chance([0.985], 0.99, 2000)
    assert beats_chance([0.97], 0.99, 2000)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_runs_at_chance_seldom_pass_together_however_correlated(correlation):
    rng, n, studies = np.random.default_rng(0), 1000, 4000
    shared = rng.random((studies, 1)) < correlation
    right = np.where(shared, rng.binomial(n, 0.1, (studies, 1)), rng.binomial(n, 0.1, (studies, 3)))
    passed = [beats_chance(errors, 0.9, n) for errors in (1 - right / n).tolist()]
    assert np.mean(passed) <= 0.002  # 0.001, and the noise of so many studies


@given(st.integers(1, 2000), st.floats(0, 1), st.floats(0.01, 0.999))
def test_the_test_against_chance_is_scipys(n, share, chance):
    wrong = round(share * n)
    p_value = binomtest(wrong, n, chance, alternative="less").pvalue
    if abs(p_value - 0.001) > 1e-9:
        assert beats_chance([wrong / n], chance, n) == (p_value < 0.001)


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


def test_a_size_is_judged_from_all_its_runs():
    lucky, unlucky = scored_run(0.5, 0.96, 1), scored_run(0.5, 0.99, 2)
    at_chance = [run.status for run in judge_sizes([unlucky, lucky], 0.985)]
    assert at_chance == ["untrained", "untrained"]  # the luckier run alone would have passed
    assert [run.status for run in judge_sizes([lucky], 0.985)] == ["complete"]
    learned = [run.status for run in judge_sizes([unlucky, scored_run(0.5, 0.7, 3)], 0.985)]
    assert learned == ["complete", "complete"]  # the mean has both
    other = [scored_run(1.0, 0.3, 1), *judge_sizes([lucky, unlucky], 0.985)]
    assert list(summarise(other)) == ["1.0"]
    assert summarise(other, "untrained")["0.5"].num_runs == 2


def test_interval_of_one_run_is_wilsons_and_grows_with_the_spread_of_seeds():
    assert mean_interval(0.2, None, 1, 500) == pytest.approx(wilson_interval(0.2, 500))
    narrow, wide = (mean_interval(0.2, deviation, 3, 500) for deviation in (0.001, 0.05))
    assert wide[0] < narrow[0] < 0.2 < narrow[1] < wide[1]


def test_pooled_intervals_use_the_variance_of_every_size():
    sizes = [(0.5, 0.52), (0.3, 0.305), (0.2, 0.21), (0.1,)]
    pooled = pooled_intervals(sizes, 10**9)
    for runs, (low, high) in zip(sizes[:3], pooled, strict=False):
        deviation = np.std(runs, ddof=1)
        alone = mean_interval(np.mean(runs), deviation, 2, 10**9)
        assert high - low < 0.7 * (alone[1] - alone[0])
    assert pooled[3][1] - pooled[3][0] > 0.005  # of a size with a single run, too
    one_size = pooled_intervals([(0.5, 0.52)], 500)[0]
    assert one_size == pytest.approx(mean_interval(0.51, np.std((0.5, 0.52), ddof=1), 2, 500))
    assert pooled_intervals([(0.2,), (0.1,)], 500)[0] == pytest.approx(wilson_interval(0.2, 500))
    low, high = pooled_intervals([(0.0, 0.0), (0.1, 0.11)], 500)[0]
    assert low == 0 < high


def coverage(num_runs, variance_ratio, num_test, level, studies):
    """Share of pooled intervals that hold the true error, of each size of simulated studies."""
    rng, truth = np.random.default_rng(0), np.array([0.8, 0.6, 0.4, 0.25, 0.15])
    spread = np.geomspace(1, variance_ratio, 5) * truth * (1 - truth) / 1000
    hits = np.zeros(5)
    for _ in range(studies):
        wrong = np.repeat(truth[:, None], num_runs, 1)
        if num_test < 10**6:  # half of the images are answered alike by all runs
            own = rng.random((5, num_runs, num_test)) < truth[:, None, None]
            alike = rng.random((5, 1, num_test)) < truth[:, None, None]
            wrong = np.where(rng.random((5, 1, num_test)) < 0.5, alike, own).mean(2)
        seeds = rng.normal(size=(5, num_runs)) * np.sqrt(spread)[:, None]
        intervals = np.array(pooled_intervals(np.clip(wrong + seeds, 0, 1), num_test, level))
        hits += (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])
    return hits / studies


def test_pooled_intervals_of_two_seeds_cover():
    assert coverage(2, 1, 10**12, 0.95, 800).mean() == pytest.approx(0.95, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("num_test", [1000, 10**12])
@pytest.mark.parametrize("variance_ratio", [1, 4])
@pytest.mark.parametrize("num_runs", [2, 3, 5])
def test_pooled_intervals_cover(num_runs, variance_ratio, num_test):
    """With equal variances, and with variances that differ by size by a factor of 4."""
    for level in (0.9, 0.95):
        shares = coverage(num_runs, variance_ratio, num_test, level, 2000)
        assert shares.mean() > level - 0.02
        worst = level - 0.02 if num_test == 1000 or variance_ratio == 1 else level - 0.12
        assert shares.min() > worst
