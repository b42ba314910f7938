"""Laws of images and training: known surfaces come back; collect or train longer is answered."""

import json

import numpy as np
import pytest

from bench.training import grids, held_out, measure_coverage, measure_grids, one_variable
from dataworth.commands import forecast as forecast_command
from dataworth.evaluation.results import read_results
from dataworth.figures.training import plot_training
from dataworth.findings.training import describe_training, training_findings
from dataworth.report.sections import training_part
from dataworth.scaling.forecasting import interval
from dataworth.scaling.grid import MAX_CELLS, Grid
from dataworth.scaling.points import NotIdentifiableError, Points
from dataworth.scaling.priors import COMPONENTS
from dataworth.scaling.training_fit import Deviations, amounts_of, fit_grid
from dataworth.scaling.training_forecasts import analyse_grid, check_grid, to_dict
from dataworth.scaling.training_laws import TRAINING_PRIOR, TrainingComponent
from tests.conftest import ROOT, command

EPOCHS, STEPS = (ROOT / "results" / f"tiny-imagenet-100{name}" for name in ("", "-steps"))
SIZES = 1000.0 * 2 ** np.arange(5)
STRAIGHT = next(c for c in COMPONENTS if c.law == "power law with floor")


def full_grid(error, epochs=(5, 10, 20, 40), num_test=10**5):
    """A grid of five sizes at several numbers of epochs, in batches of 100."""
    n, passes = (axis.ravel() for axis in np.meshgrid(SIZES, epochs))
    steps = n * passes / 100
    return Grid(n, steps, error(n, steps), np.full(len(n), float(num_test)), 100.0)


def additive(n, steps):
    """Hoffmann et al. 2022, equation 2."""
    return 0.05 + 4 * n**-0.4 + 1.5 * steps**-0.5


@pytest.fixture(scope="module")
def analysis():
    return analyse_grid(full_grid(additive), 0.99)


def column(*values):
    return tuple(np.array([[value]]) for value in values)


def test_without_interaction_the_law_is_the_additive_one():
    grid = full_grid(additive)
    n, steps = grid.largest
    level = additive(n, steps)
    weight = 4 * n**-0.4 / (level - 0.05)
    component = TrainingComponent(STRAIGHT, "bottleneck", 1.0)
    parameters = column(level, 0.4, 0.05 / level, weight, 0.5, 1.0)
    error = component.error(amounts_of(grid, grid.cells), 0.99, parameters)
    assert error[0] == pytest.approx(additive(*grid.cells.T))


def test_repeated_passes_are_worth_what_the_source_says():
    def effective(n, passes, lifetime=15.0):  # Muennighoff et al. 2023, equation 5
        return n + n * lifetime * (1 - np.exp(-(passes - 1) / lifetime))

    grid = full_grid(additive)
    component = TrainingComponent(STRAIGHT, "repeated passes", 1.0)
    error = component.error(amounts_of(grid, grid.cells), 0.99, column(0.2, 0.5, 0.0, 15.0))
    n, steps = grid.cells.T
    ratio = effective(n, 100 * steps / n) / effective(SIZES[-1], 40)
    assert error[0] == pytest.approx(np.minimum(0.2 * ratio**-0.5, 0.99))


@pytest.mark.parametrize("component", TRAINING_PRIOR, ids=lambda c: f"{c.base.law} {c.combination}")
def test_every_law_falls_with_images_and_with_steps_and_stays_below_chance(component):
    grid = full_grid(additive)
    z = np.random.default_rng(0).standard_normal((50, component.dimensions))
    ladder = np.geomspace(0.01, 100, 30)
    for direction in ((1, 0), (0, 1), (1, 1)):
        cells = np.array(grid.largest) * ladder[:, None] ** np.array(direction)
        error = component.error(amounts_of(grid, cells), 0.95, component.parameters(z, 0.3, 0.95))
        assert (np.diff(error, axis=1) <= 1e-9).all()
        assert ((error > 0) & (error <= 0.95 + 1e-9)).all()


def test_an_additive_surface_is_forecast(analysis):
    for choice in analysis.choices:
        truth = additive(choice.n, choice.steps)
        assert choice.error == pytest.approx(truth, rel=0.05)
        assert choice.lower < truth < choice.upper
    both, images, longer = analysis.choices
    assert both.error < min(images.error, longer.error)
    assert analysis.images_better > 0.9  # 4 n**-0.4 is most of the error above the floor
    assert analysis.backtest.covered


def test_the_record_is_plain_json(analysis):
    content = json.loads(json.dumps(to_dict(analysis)))
    assert content["identifiable"]
    assert len(content["cells"]) == 20
    assert sum(content["laws"].values()) == pytest.approx(1)
    reason = to_dict(analyse_grid(full_grid(additive, epochs=(5,)), 0.99))
    assert not reason["identifiable"]
    assert reason["reason"] in describe_reason(full_grid(additive, epochs=(5,)))


def describe_reason(grid):
    with pytest.raises(NotIdentifiableError) as error:
        check_grid(grid)
    return str(error.value)


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (lambda n, steps: n > 4000, "2 sizes were measured and 3 are needed"),
        (lambda n, steps: steps == n / 5, "fewer than 2 sizes were trained for different"),
        (lambda n, steps: (steps == n / 5) | (n == 1000), "fewer than 2 sizes were trained"),
        (lambda n, steps: n < 0, "1 size"),
    ],
)
def test_cells_that_do_not_tell_images_and_training_apart_are_named(kept, reason):
    grid = full_grid(additive)
    mask = kept(grid.n, grid.steps)
    if not mask.any():
        mask[0] = True
        reason = "1 size was measured"
    assert reason in describe_reason(grid.select(mask))


def test_an_error_that_rises_is_named():
    assert "does not fall" in describe_reason(full_grid(lambda n, steps: 0.1 + n / 1e6))


def test_bad_grids_are_refused():
    ones = np.ones(3)
    with pytest.raises(ValueError, match="above 0"):
        Grid(ones, 0 * ones, ones / 2)
    with pytest.raises(ValueError, match="finite"):
        Grid(ones, ones, np.nan * ones)
    with pytest.raises(NotIdentifiableError, match="num_test"):
        Grid(ones, ones, 0 * ones)
    many = np.arange(1.0, MAX_CELLS + 2)
    with pytest.raises(NotIdentifiableError, match="at most"):
        Grid(many, many, 0 * many + 0.5)


def test_cells_have_the_means_and_variances_of_points():
    error, tests = np.linspace(0.5, 0.2, 5), np.full(5, 1000.0)
    grid, points = Grid(SIZES, SIZES / 10, error, tests), Points(SIZES, error, tests)
    assert grid.means == pytest.approx(points.means)
    for ours, theirs in zip(grid.log_errors(), points.log_errors()[1:3], strict=True):
        assert ours == pytest.approx(theirs)


def test_noisy_cells_with_few_images_do_not_widen_the_largest():
    n, error = np.repeat(SIZES, 2), np.repeat([0.8, 0.4, 0.2, 0.05, 0.01], 2)
    error = error * np.tile([0.9, 1.1], 5)
    grid = Grid(n, n, error, np.full(10, 1000.0))
    assert np.sqrt(grid.seed_variance[-1]) < 0.02


def test_at_equal_epochs_deviations_are_those_of_the_law_of_one_variable():
    grid = full_grid(additive, epochs=(5,))
    doublings = np.log2(SIZES[-1] / SIZES)
    near, far = np.minimum.outer(doublings, doublings), np.maximum.outer(doublings, doublings)
    covariance = Deviations(grid, grid.cells).covariance(0.1, 0.3)
    assert covariance == pytest.approx(0.01 * near**2 * (3 * far - near) / 6)


def test_the_cell_that_equal_steps_missed_is_forecast():
    """Of 45,000 images at 5,280 steps: the law of equal steps alone said 29.4 %, not 37.2 %."""
    _, grid, chance = next(row for row in grids() if row[0] == "Tiny-ImageNet-100, top-5 error")
    rest = grid.select(~held_out(grid)["largest cell"])
    arm, kind = one_variable(rest, chance, *grid.largest)
    assert kind == "equal steps"
    miss = abs(np.log(arm / grid.means[-1]))
    cell = grid.cells[-1:]
    posterior = fit_grid(rest, chance)
    point = np.median(posterior.expected_error(cell))
    lower, upper = interval(posterior.run_error(cell, grid.last_num_test, 3))
    assert lower < grid.means[-1] < upper
    assert abs(np.log(point / grid.means[-1])) < miss / 2


def as_variants():
    """The two budgets of Tiny-ImageNet-100 as one study with variants."""
    folders = {"short": EPOCHS, "long": STEPS}
    parts = {name: read_results(path / "metrics.json") for name, path in folders.items()}
    runs = [
        run.model_copy(update={"variant": name})
        for name, part in parts.items()
        for run in part.runs
    ]
    settings = {"short": {}, "long": {"budget": "steps"}}
    changes = {"runs": tuple(runs), "variant_settings": settings, "subset_sizes": {}}
    return parts["short"].model_copy(update=changes)


@pytest.fixture(scope="module")
def findings():
    return training_findings({"study": as_variants()})


def test_variants_of_budget_make_a_grid(findings):
    grid = findings.analysis.grid
    assert findings.error == "top-5 error"
    assert grid.largest == (45_000, 5280)
    assert [703.0, 90.0] in grid.cells.tolist()
    assert [11_250.0, 5280.0] in grid.cells.tolist()
    assert len(grid.cells) == 10
    assert findings.analysis.largest_passes == pytest.approx(15, rel=0.01)


def test_the_answer_is_printed_drawn_and_in_the_report(findings):
    text = describe_training(findings, 96)
    assert max(map(len, text.splitlines())) <= 96
    for words in ("Collect or train longer?", "twice the images, the same steps", "probability",
                  "inside the interval"):  # fmt: skip
        assert words in text
    ax = plot_training(findings)
    measured, forecast = ax.get_lines()
    assert np.stack(measured.get_data(), axis=1) == pytest.approx(findings.analysis.grid.cells)
    assert len(forecast.get_xdata()) == 3
    part = training_part(findings)
    assert len(part.tables[0].rows) == 3


def test_a_study_of_one_recipe_says_why_in_one_line():
    findings = training_findings({"study": read_results(EPOCHS / "metrics.json")})
    assert len(describe_training(findings, 500).splitlines()) == 1
    assert "--budget epochs steps" in describe_training(findings, 500)
    assert plot_training(findings) is None
    assert not training_part(findings).drawings


def test_variants_that_differ_otherwise_are_no_cells():
    study = as_variants()
    settings = {"short": {}, "long": {"budget": "steps", "dropout": 0.1}}
    other = study.model_copy(update={"variant_settings": settings})
    assert training_findings({"study": other}).analysis.posterior is None
    assert training_findings({"study": study.model_copy(update={"variant_settings": {}})}) is None


def forecast_with(capsys, *paths):
    first, *others = (path / "metrics.json" if path.is_dir() else path for path in paths)
    code = command(forecast_command.forecast, first, "--with", *others)
    return code, capsys.readouterr()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (EPOCHS, "named twice"),
        (ROOT / "none.json", "no file"),
        (ROOT / "pyproject.toml", "no metrics.json"),
        (ROOT / "results" / "digits", "other data"),
    ],
)
def test_studies_that_are_not_of_the_same_data_are_refused(other, words, capsys):
    code, output = forecast_with(capsys, EPOCHS, other)
    assert code == 2
    assert words in output.err
    assert len(output.err.splitlines()) == 1


def test_a_recipe_that_differs_is_named(tmp_path, capsys):
    text = (STEPS / "metrics.json").read_text().replace('"dropout": 0.5', '"dropout": 0.1')
    (tmp_path / "metrics.json").write_text(text)
    code, output = forecast_with(capsys, EPOCHS, tmp_path)
    assert code == 2
    assert "dropout" in output.err


@pytest.mark.slow
def test_forecast_reads_two_budgets_together(tmp_path, capsys):
    code, output = forecast_with(capsys, EPOCHS, STEPS)
    assert code == 0
    assert "Training the same images twice as long lowers the error more" in output.out


@pytest.mark.slow
def test_intervals_hold_on_simulated_grids():
    coverage = measure_coverage(40)
    assert (coverage > 0.82).all(), coverage


@pytest.mark.slow
def test_held_out_cells_are_forecast_with_half_the_error_of_one_variable():
    table = measure_grids().query("held_out == 'largest cell'")
    assert len(table) >= 8
    errors = table[["log_error", "one_variable_log_error"]].mean()
    assert errors["log_error"] <= errors["one_variable_log_error"] / 2
