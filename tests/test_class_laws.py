"""Laws of single classes: intervals are calibrated, advice and allocation follow the laws."""

import numpy as np
import pytest

from dataworth.scaling.class_laws import ClassErrors, ClassLaws, fit_class_laws
from dataworth.scaling.laws import LAWS

SHARES = 2.0 ** np.arange(-4, 1)


def simulate(rng, num_classes=30, spread=0.3, num_test=50, num_runs=2):
    """Errors of classes with laws of another family than the fitted one, on common test images."""
    images = np.outer(rng.integers(50, 500, num_classes), SHARES)
    level = rng.uniform(0.15, 0.6, (num_classes, 1))
    exponent = 0.45 * np.exp(spread * rng.standard_normal((num_classes, 1)))
    floor = rng.uniform(0.05, 0.6, (num_classes, 1))  # share of the level
    bend = np.exp(-0.7 + 0.3 * rng.standard_normal((num_classes, 1)))

    def truth(n):
        x = n.reshape(num_classes, -1) / images[:, -1:]
        law = LAWS["power law from chance"].formula
        return law(x, 0.99, level, exponent, floor, bend).reshape(n.shape)

    errors = truth(images)
    logits = np.log(errors / (1 - errors))[:, None, :, None]  # class, image, size, run
    hard = 1.5 * rng.standard_normal((num_classes, num_test, 1, 1))
    noise = rng.logistic(size=(num_classes, num_test, len(SHARES), num_runs))
    scale = np.sqrt(1 + 3 * 1.5**2 / np.pi**2)  # hard images leave the mean error as it is, nearly
    wrong = scale * logits + hard + noise > 0
    measured = wrong.mean(axis=(1, 3))
    flat = wrong.reshape(num_classes, num_test, -1).astype(float)
    residual = flat - flat.mean(axis=1, keepdims=True)
    products = np.einsum("cis,cit->st", residual, residual)
    root = np.sqrt(np.diag(products))
    correlations = (products / np.outer(root, root))[np.triu_indices(len(root), 1)]
    return truth, ClassErrors(
        measured, images, np.full(num_classes, num_test * 1.0),
        np.full(len(SHARES), num_runs * 1.0), float(correlations.mean()),
    )  # fmt: skip


def coverage(num_studies, **settings):
    """Share of 90 % intervals of the drop that contain it."""
    inside = []
    for seed in range(num_studies):
        truth, measured = simulate(np.random.default_rng(seed), **settings)
        drops = fit_class_laws(measured, 500).drop(100.0)
        now = measured.images[:, -1]
        true = truth(now) - truth(now + 100)
        low, high = np.quantile(drops, [0.05, 0.95], axis=0)
        inside.append((low <= true) & (true <= high))
    return float(np.mean(inside))


def test_intervals_of_the_next_images_contain_what_they_gain():
    assert 0.8 <= coverage(2) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.3, 0.6])
def test_intervals_are_calibrated_over_many_studies(spread):
    assert 0.84 <= coverage(40, spread=spread) <= 0.98


def test_equal_classes_do_not_stand_out_and_a_different_one_does():
    rng = np.random.default_rng(0)
    images = np.outer(np.full(20, 200), SHARES)
    errors = np.tile(0.4 * SHARES**-0.3, (20, 1)).clip(max=0.97)
    tests, runs = np.full(20, 50.0), np.full(5, 2.0)
    noisy = rng.binomial(100, errors) / 100
    equal = fit_class_laws(ClassErrors(noisy, images, tests, runs), 500)
    assert (equal.probability_above_mean(100) < 0.95).all()
    tests[:] = 1000
    noisy = rng.binomial(2000, errors) / 2000
    noisy[7] = rng.binomial(2000, (0.4 * SHARES**-0.8).clip(max=0.97)) / 2000
    other = fit_class_laws(ClassErrors(noisy, images, tests, runs), 500)
    above = other.probability_above_mean(100)
    assert above.argmax() == 7
    assert above[7] > 0.95


def test_small_classes_are_pulled_towards_the_others():
    images = np.outer(np.full(12, 200), SHARES)
    errors = np.tile(0.3 * SHARES**-0.3, (12, 1)).clip(max=0.97)
    errors[0] = errors[0] * [1, 1, 1, 1, 1.3]

    def slope(num_test):
        tests = np.full(12, 500.0)
        tests[0] = num_test
        return fit_class_laws(ClassErrors(errors, images, tests, np.full(5, 3.0)), 500).slope

    common = slope(20.0)[:, 1:].mean()
    assert abs(slope(20.0)[:, 0].mean() - common) < abs(slope(5000.0)[:, 0].mean() - common)


def certain(levels, slopes, images):
    rows = [np.full((4, len(images)), values) for values in (levels, slopes)]
    return ClassLaws(np.array(images, float), np.full(len(images), 1 / len(images)), *rows)


def test_an_allocation_is_that_of_equal_marginal_gains():
    equal = certain([-1.0, -1.0, -1.0], [0.4, 0.4, 0.4], [100, 100, 100])
    assert equal.allocate(300).tolist() == pytest.approx([100, 100, 100], abs=8)
    laws = certain([-1.0, -1.0, -2.0], [0.8, 0.0, 0.4], [100, 100, 400])
    images = laws.allocate(400)
    assert images.sum() == 400
    assert images[1] == 0
    grid = [(x, 0, 400 - x) for x in range(0, 401, 10)]
    error = [float((laws.weights * laws.error(np.array(split, float))[0]).sum()) for split in grid]
    assert images[0] == pytest.approx(grid[int(np.argmin(error))][0], abs=10)
    assert laws.allocate(1).sum() == 1


def test_zero_errors_and_classes_unseen_at_small_sizes_are_no_trouble():
    images = np.outer([4, 100, 100, 100], SHARES).round()
    errors = np.vstack([[1, 1, 0.9, 0.8, 0.7], np.zeros(5), np.full(5, 0.5), np.ones(5)])
    laws = fit_class_laws(ClassErrors(errors, images, np.full(4, 20.0), np.ones(5)), 200)
    assert np.isfinite(laws.drop(100.0)).all()
    with pytest.raises(ValueError, match="2 sizes; 3 are needed"):
        fit_class_laws(ClassErrors(errors[:, :2], images[:, :2], np.ones(4), np.ones(2)))
