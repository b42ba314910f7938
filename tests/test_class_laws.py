"""Laws of single classes: intervals are calibrated, advice and allocation follow the laws."""

import json

import numpy as np
import pandas as pd
import pytest

from dataworth.commands import forecast as forecast_command
from dataworth.findings.classes import class_gains, read_class_errors
from dataworth.scaling import experiment_design
from dataworth.scaling.class_laws import ClassErrors, ClassLaws, fit_class_laws
from dataworth.scaling.laws import LAWS
from tests.conftest import command

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


def per_class_csv(path, verdicts=True, sizes=5, num_classes=12):
    """Write a table as eval.py --full does, of classes of which the first is the steepest."""
    rng = np.random.default_rng(0)
    parts = []
    for k in range(sizes):
        images = 400.0 * SHARES[k]
        slope = np.where(np.arange(num_classes) == 0, 1.0, 0.1)
        errors = rng.binomial(600, (0.4 * SHARES[k] ** -slope).clip(max=0.95)) / 600
        part = pd.DataFrame({
            "num_images": int(images * num_classes), "num_runs": 2,
            "class": [f"class {c}" for c in range(num_classes)], "num_train_images": images,
            "num_test_images": 300, "top_1_error": errors,
        })  # fmt: skip
        if verdicts and k:
            part = part.assign(drop=0.1, drop_low=0.06, drop_high=0.14, verdict="gains")
        parts.append(part)
    pd.concat(parts).to_csv(path, index=False)
    return path


def test_the_command_names_the_class_that_stands_out(tmp_path, capsys):
    path = per_class_csv(tmp_path / "per_class.csv")
    words = ["--by-class", "--buy", "900", "--json", tmp_path / "gains.json"]
    assert command(forecast_command.forecast, path, *words) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "1 of 12 classes stands out (95 % sure to gain more than the mean class): class 0." in text
    )
    assert "An order of 900 images over" in text
    content = json.loads((tmp_path / "gains.json").read_text())
    rows, allocation = content["classes"], content["allocation"]
    assert allocation["images"] == 900
    assert allocation["num_unreliable_classes"] == 0
    assert allocation["total_drop_low"] < allocation["total_drop"] < allocation["total_drop_high"]
    assert allocation["even_total_drop"] < allocation["total_drop"]
    assert 0 <= allocation["probability_above_even"] <= 1
    assert rows[0]["class"] == "class 0"
    assert sum(row["allocated_images"] for row in rows) == 900
    for row in rows:
        assert row["total_drop"] == pytest.approx(row["own_drop"] / 12)
        assert row["own_drop_low"] <= row["own_drop"] <= row["own_drop_high"]
    names, measured = read_class_errors(path)
    assert len(names) == 12
    assert 0 < measured.correlation < 0.9


def test_rows_are_matched_by_their_classes(tmp_path):
    path = per_class_csv(tmp_path / "per_class.csv")
    names, measured = read_class_errors(path)
    table = pd.read_csv(path)
    table.sort_values(["num_images", "top_1_error"]).to_csv(path, index=False)
    other_names, others = read_class_errors(path)
    order = [other_names.index(name) for name in names]
    assert order != sorted(order)
    assert others.errors[order].tolist() == measured.errors.tolist()
    assert others.images[order].tolist() == measured.images.tolist()
    assert others.correlation == pytest.approx(measured.correlation)


def test_an_allocation_beyond_4_times_the_images_of_a_class_is_marked(tmp_path, capsys):
    path = per_class_csv(tmp_path / "per_class.csv")
    assert command(forecast_command.forecast, path, "--by-class", "--buy", "100000") == 0
    text = " ".join(capsys.readouterr().out.split())
    allocated = class_gains(*read_class_errors(path), 100_000).table["allocated_images"]
    count = (allocated > 3 * 400).sum()
    assert count > 1
    line = f"{count} of these classes would have more than 4 times their present images: the gain"
    assert line in text


@pytest.mark.parametrize(
    ("words", "notes"),
    [
        (
            ["--by-class", "--target", "0.2", "--at", "3", "--plan", "--plot", "x.png",
             "--seeds", "2", "--where", "a=1"],
            ["where", "at", "target", "plan", "seeds", "plot"],
        ),
        (
            ["--simulate", "1000", "2000", "4000", "--json", "s.json", "--plot", "s.png",
             "--target", "0.2", "--with", "a", "--as", "error"],
            ["as", "target", "with", "json", "plot"],
        ),
    ],
)  # fmt: skip
def test_flags_that_an_answer_does_not_use_are_noted(words, notes, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiment_design, "NUM_STUDIES", 2)
    path = per_class_csv(tmp_path / "per_class.csv", num_classes=2, sizes=3)
    assert command(forecast_command.forecast, path, *words) == 0
    mode = "--simulate" if "--simulate" in words else "--by-class without --order"
    flags = [f"--{name}" for name in notes]
    flags = [str(path), *flags] if mode == "--simulate" else flags
    assert capsys.readouterr().err.splitlines() == [
        f"note: {flag} has no effect with {mode}" for flag in flags
    ]
    assert [file.name for file in tmp_path.iterdir()] == ["per_class.csv"]


def test_equal_classes_are_said_not_to_stand_out(tmp_path, capsys):
    path = per_class_csv(tmp_path / "per_class.csv", verdicts=False)
    table = pd.read_csv(path)
    table["top_1_error"] = table.groupby("num_images")["top_1_error"].transform("median")
    table.to_csv(path, index=False)
    assert command(forecast_command.forecast, path, "--by-class", "--buy", "100") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "No class stands out" in text
    assert "They cannot be told apart." in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="num_runs"), "no column num_runs"),
        (lambda table: table[table["num_images"] > 1500], "2 sizes; 3 are needed"),
        (lambda table: table.assign(top_1_error=2.0), "errors must lie in [0, 1]"),
        (lambda table: table.assign(num_train_images=np.nan), "counts be numbers"),
        (
            lambda table: table.iloc[1:],
            "300 images: other classes than at the largest size, such as",
        ),
        (lambda table: table.replace({"class": {"class 3": "class 2"}}), "'class 2' has two rows"),
        (lambda table: table.assign(num_images=["1 k", *table["num_images"][1:]]), "other classes"),
        (lambda table: table.assign(num_test_images=0), "two classes with"),
    ],
)
def test_tables_that_cannot_be_used_are_named_in_a_line(change, message, tmp_path, capsys):
    path = per_class_csv(tmp_path / "per_class.csv")
    change(pd.read_csv(path)).to_csv(path, index=False)
    assert command(forecast_command.forecast, path, "--by-class") == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_study_without_per_class_scores_is_told_what_to_run(tmp_path, capsys):
    (tmp_path / "metrics.json").write_text("{}")
    assert command(forecast_command.forecast, tmp_path / "metrics.json", "--by-class") == 2
    assert "eval.py --full writes it" in capsys.readouterr().err
