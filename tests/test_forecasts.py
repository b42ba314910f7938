"""forecast.py and dataworth forecast: measurements in, an answer or a one-line error out."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from importlib import import_module

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataworth import LearningCurve
from dataworth.commands import cli
from dataworth.commands import forecast as forecast_command
from dataworth.errors import InputError
from dataworth.findings import sentences
from dataworth.forecaster.fitted_curve import NotFittedError
from dataworth.forecaster.flags import ReadFlags
from dataworth.forecaster.measurements import read_measurements
from dataworth.scaling import experiment_design
from dataworth.scaling.analysis import analyse, to_dict
from dataworth.scaling.forecasting import forecast as scaling_forecast
from dataworth.scaling.points import MAX_SIZES, NotIdentifiableError, Points
from tests.conftest import ROOT

POINTS = ROOT / "tests" / "data" / "points.csv"
STUDY = ROOT / "results" / "tiny-imagenet-100" / "metrics.json"


def run(*words):
    with pytest.raises(SystemExit) as end:
        forecast_command.forecast([str(word) for word in words])
    return end.value.code


def test_every_question_is_answered(capsys, tmp_path):
    words = ["--target", 0.1, "--at", 100000, 400000, "--chance", 0.95, "--plan"]
    files = ["--json", tmp_path / "law.json", "--plot", tmp_path / "law.png"]
    assert run(POINTS, *words, *files) == 0
    output = capsys.readouterr().out
    for part in (
        "Doubling the 50,000",
        "Error 10.0 %:",
        "400,000 images:",
        "unreliable",
        "another",
    ):
        assert part in output
    law = json.loads((tmp_path / "law.json").read_text())
    assert [row["n"] for row in law["forecasts"]] == [100000, 400000]
    assert law["required_images"][0]["target"] == 0.1
    assert law["chance_error"] == 0.95
    for candidate in law["next_runs"]:
        kind = "a new size" if candidate["is_new_size"] else "another seed"
        line = f"{candidate['n']:,.0f} images, {kind}: by {100 * candidate['reduction']:.1f} %"
        assert line in output
    assert len(law["next_runs"]) > 2
    assert (tmp_path / "law.png").stat().st_size > 10_000


def test_a_study_is_read_and_compared(capsys):
    assert run(STUDY, "--metric", "top_1_error", "--compare", STUDY) == 0
    output = capsys.readouterr().out
    assert "top-1 error" in output
    assert re.search(
        r"100 against tiny-imagenet-100: worth (0\.9[89]|1\.0)x the images at 703", output
    )


def test_a_study_is_asked_for_the_error_that_its_evaluation_reports(capsys):
    assert run(ROOT / "results" / "digits") == 0  # the folder of its metrics.json
    assert "would lower the top-1 error" in capsys.readouterr().out


def test_an_order_is_spread_over_the_classes(tmp_path, capsys):
    words = ["--target", "0.33", "--order", "--by-class", "--json", tmp_path / "order.json"]
    assert run(STUDY.parent, *words) == 0
    order = re.search(r"An order of ([\d,]+) images over \d+ of 100", capsys.readouterr().out)
    assert int(order[1].replace(",", "")) > 10_000
    content = json.loads((tmp_path / "order.json").read_text())
    assert sum(row["allocated_images"] for row in content["classes"]) > 10_000
    assert content["allocation"]["images"] == int(order[1].replace(",", ""))
    assert content["required_images"][0]["target"] == 0.33


def test_flags_of_tables_and_of_chances_without_effect_are_noted(capsys):
    assert run(STUDY, "--where", "split=test") == 0
    assert capsys.readouterr().err == "note: --where has no effect on a metrics.json\n"
    order = ["--target", "0.1", "--order", "--miss-cost", "9000", "--miss-chance", "0.2"]
    assert run(POINTS, *order) == 0
    note = "note: --miss-chance has no effect without the default of --miss-cost\n"
    assert capsys.readouterr().err == note


def test_a_study_is_compared_with_a_file(capsys):
    assert run(STUDY, "--metric", "top_1_error", "--compare", POINTS) == 0
    output = capsys.readouterr().out
    assert "points.csv against tiny-imagenet-100: worth more than" in output
    assert "points.csv: its error is taken for the top-1 error." in output


def test_errors_of_one_kind_are_compared(tmp_path, capsys):
    assert run(POINTS, "--compare", STUDY) == 0
    output = capsys.readouterr().out
    assert "Worth in images, top-1 error" in output
    assert "points.csv: its error is taken for the top-1 error." in output
    table = tmp_path / "top1.csv"
    table.write_text("n,top-1 error,num_test\n703,0.9,5000\n2813,0.8,5000\n11250,0.6,5000\n")
    assert run(STUDY, "--compare", table) == 2  # the headline of the study is the top-5 error
    message = capsys.readouterr().err
    assert "holds the top-5 error, top1.csv holds the top-1 error; choose one by" in message
    assert run(STUDY, "--metric", "top_1_error", "--compare", table) == 0


def test_a_plan_is_simulated(capsys, monkeypatch):
    monkeypatch.setattr(experiment_design, "NUM_STUDIES", 5)
    assert run("--simulate", 1000, 2000, 4000) == 0
    output = capsys.readouterr().out
    assert "coverage: the forecast interval contained" in output
    assert "3 sizes up to 4,000 images, 1 seed, 5,000 test images" in output


def test_needs_no_torch():
    code = (
        "import sys; sys.argv = ['forecast.py', 'tests/data/points.csv']\n"
        "from dataworth.commands.forecast import forecast\n"
        "try: forecast()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("n,error\n1000,0.5\n2000,45\n", "row 3: error is 45, not a share between 0 and 1; "
         "if all values are in percent, say --as percent"),
        ("n,error\n0,0.5\n", "row 2: n is 0, not a number above 0"),
        ("n,error\n-5,0.5\n", "row 2: n is -5"),
        ("n,error\n1000,half\n", "row 2: error is 'half', not a number"),
        ("n,error\n1000,nan\n", "row 2: error is nan"),
        ("n,error\n1000\n", "row 2: error is '', not a number"),
        ("n,error\n1,0\n2,0.1\n3,0.1\n", "num_test"),
        ("n,error,num_test\n1,0.5,0\n", "row 2: num_test is 0"),
        ("n,error\n", "no points; 3 sizes are needed"),
        ("n,error\n1,000,0.5\n", "row 2: 3 cells, the header has 2; write numbers without commas"),
        ("n,error,error\n1,0.5,0.4\n", "several columns error; keep one"),
        ("n,error\n" + 200_000 * "9,0.5\n", "more than 200,000 rows: average the errors"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_line(tmp_path, capsys, text, line):
    path = tmp_path / "points.csv"
    path.write_text(text)
    assert run(path) == 2
    output = capsys.readouterr().err
    assert line in output
    assert str(path) in output
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nowhere.csv"], "nowhere.csv: No such file"),
        ([], "name a CSV file"),
        ([POINTS, "--metric", "top_1_error"], "--variant: a table has one error"),
        ([STUDY, "--metric", "accuracy"], "--metric is one of top_1_error, top_5_error"),
        ([POINTS, "--target", "1.5"], "target"),
        ([POINTS, "--at", "-3"], "--at"),
        ([POINTS, "--at", "1e19"], "below 1e18"),
        (["--simulate", "5", "6", "7", "--num-test", str(10**20)], "--num-test"),
        (["--simulate", "5", "5", "6"], "three or more different sizes"),
        (["--simulate", "5", "6", "7", "--expect", "0.9", "--chance", "0.8"], "--expect 0.9"),
    ],
)
def test_a_bad_question_is_one_line(capsys, words, line):
    assert run(*words) == 2
    assert line in capsys.readouterr().err


def test_what_is_not_identifiable_is_said(tmp_path, capsys):
    path = tmp_path / "points.csv"
    path.write_text("n,error\n1000,0.3\n2000,0.4\n4000,0.5\n")
    assert run(path, "--target", "0.2", "--plan") == 0
    output = capsys.readouterr().out
    assert "not identifiable): the error rises" in output
    assert "--plan, --order, --compare: no answer without a law" in output


def test_fewer_sizes_than_a_law_takes_are_refused_and_no_file_is_written(tmp_path, capsys):
    path, numbers = tmp_path / "points.csv", tmp_path / "law.json"
    path.write_text("n,error\n1000,0.4\n1000,0.41\n2000,0.3\n")
    assert run(path, "--target", "0.2", "--json", numbers) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"error: {path}: 2 training set sizes; a law takes 3 or more. ")
    assert not numbers.exists()


CELLS = {
    "n": st.floats(1, 1e9).map(str) | st.integers(1, 10**9).map(str),
    "error": st.floats(0, 1).map(str) | st.sampled_from(["0.25", " .5 ", "1e-3", "1"]),
    "num_test": st.integers(1, 10**6).map(str),
}
ANY_CELL = st.text(max_size=6) | st.floats().map(str) | st.integers().map(str)


@st.composite
def csv_files(draw):
    """A table that can be read, in half of the examples with something wrong in it."""
    header = draw(st.sampled_from(["n,error", "error,n", "error,n,num_test", "N, Error"]))
    columns = [name.strip().lower() for name in header.split(",")]
    rows = draw(st.lists(st.tuples(*(CELLS[name] for name in columns)), min_size=1, max_size=5))
    lines = [header, *map(",".join, rows)]
    if draw(st.booleans()):
        wrong = draw(
            st.lists(ANY_CELL, max_size=4).map(",".join)
            | st.text(max_size=20)
            | st.sampled_from(["", header, '"'])
        )
        lines[draw(st.integers(0, len(lines) - 1))] = wrong
    return "\n".join(lines)


def test_any_file_is_points_or_one_line(tmp_path):
    path, num_examples = tmp_path / "fuzz.csv", {"points": 0, "one line": 0}

    @given(csv_files())
    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    def check(text):
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        try:
            points = read_measurements(path, ReadFlags()).points
        except InputError as error:
            num_examples["one line"] += len(str(error).splitlines()) == 1
            return
        assert ((points.error >= 0) & (points.error <= 1)).all()
        assert (points.n > 0).all()
        num_examples["points"] += len(points.n) > 0

    check()
    assert min(num_examples.values()) > 50, num_examples


# The console script, and the forecaster without the packages that training needs.

TRAINING_PACKAGES = (
    "torch", "torchvision", "datasets", "sklearn", "tqdm", "safetensors", "jinja2", "PIL",
    "tensorboard", "captum",
)  # fmt: skip


def dataworth(*words, blocked=()):
    """Run ``python -m dataworth`` in a process that cannot import some packages."""
    code = (
        "import runpy, sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name.split('.')[0] in {blocked!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name}')\n"
        "sys.meta_path.insert(0, Blocker())\n"
        f"sys.argv = ['dataworth', *{[str(word) for word in words]!r}]\n"
        "runpy.run_module('dataworth', run_name='__main__')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_forecast_works_without_the_packages_of_training(tmp_path):
    words = ["forecast", POINTS, "--target", 0.1, "--json", tmp_path / "law.json", "--plan"]
    process = dataworth(*words, "--compare", STUDY, blocked=TRAINING_PACKAGES)
    assert (process.returncode, process.stderr) == (0, "")
    assert "Error 10.0 %: " in process.stdout
    assert json.loads((tmp_path / "law.json").read_text())["identifiable"] is True
    process = dataworth("forecast", tmp_path / "no.csv", blocked=TRAINING_PACKAGES)
    assert process.returncode == 2
    assert process.stderr == f"error: {tmp_path / 'no.csv'}: No such file or directory\n"


def test_the_console_script_lists_its_commands():
    process = dataworth("--help")
    assert (process.returncode, process.stderr) == (0, "")
    assert all(f"  {name} " in process.stdout for name in cli.COMMANDS)
    assert dataworth().stdout == process.stdout


@pytest.mark.parametrize(
    ("word", "hint"), [("nonsense", "see dataworth --help"), ("forcast", "did you mean forecast?")]
)
def test_an_unknown_command_is_one_line(word, hint):
    process = dataworth(word)
    assert process.returncode == 2
    assert process.stderr == f"error: no command {word!r}; {hint}\n"


def test_the_version_is_that_of_the_package():
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert dataworth("--version").stdout == f"dataworth {version}\n"


def test_every_command_is_a_function_of_its_module():
    for name, (function, _) in cli.COMMANDS.items():
        assert callable(getattr(import_module(f"dataworth.commands.{name}"), function))


# The estimator.


def measured():
    n, error, num_test, _ = np.loadtxt(POINTS, delimiter=",", skiprows=1).T
    return n, error, float(num_test[0])


def test_learning_curve_is_the_forecast():
    n, error, num_test = measured()
    at = np.array([1e5, 4e5])
    curve = LearningCurve(chance=0.95, num_test=num_test).fit(n, error)
    point, lower, upper = scaling_forecast(n, error, at, 0.95, 0.8, num_test)
    assert np.array_equal(curve.predict(at), point)
    assert np.array_equal(curve.predict_interval(at, level=0.8), (lower, upper))
    analysis = to_dict(analyse(Points(n, error, np.full(len(n), num_test)), 0.95))
    assert curve.exponent_ == analysis["exponent"]["median"]
    assert curve.floor_ == analysis["floor"]["median"]
    required = curve.required_n(0.1)
    assert required.lower < required.estimate < required.upper
    assert 0.5 < required.probability <= 1


def test_learning_curve_accepts_lists():
    n, error, _ = measured()
    curve = LearningCurve().fit(n.tolist(), error.tolist())
    assert np.array_equal(curve.predict([100_000]), LearningCurve().fit(n, error).predict([1e5]))


def test_an_unfitted_learning_curve_is_one_clear_error():
    curve = LearningCurve(chance=0.9)
    for use in (
        lambda: curve.predict([10]), lambda: curve.predict_interval([10]),
        lambda: curve.required_n(0.1),
    ):  # fmt: skip
        with pytest.raises(NotFittedError, match="not fitted yet: call fit"):
            use()
    assert not hasattr(curve, "exponent_")


def test_learning_curve_has_parameters_as_in_scikit_learn():
    sklearn_clone = pytest.importorskip("sklearn.base").clone
    curve = LearningCurve(chance=0.9)
    assert curve.get_params() == {"chance": 0.9, "num_test": None, "start": "unknown"}
    assert curve.set_params(num_test=500) is curve
    assert repr(sklearn_clone(curve)) == "LearningCurve(chance=0.9, num_test=500)"
    with pytest.raises(ValueError, match="no parameter 'level'"):
        curve.set_params(level=0.5)


@pytest.mark.parametrize(
    ("parameters", "n", "error", "message"),
    [
        ({}, [1, 2, 3], [0.5, 0.4], "of one length"),
        ({}, [[1, 2, 3]], [[0.5, 0.4, 0.3]], "one-dimensional"),
        ({}, [0, 2, 3], [0.5, 0.4, 0.3], "above 0"),
        ({}, [1, 2, 3], [50, 40, 30], "between 0 and 1"),
        ({"chance": 1.5}, [1, 2, 3], [0.5, 0.4, 0.3], "chance"),
        ({"num_test": 0}, [1, 2, 3], [0.5, 0.4, 0.3], "num_test"),
        ({}, [1, 2], [0.5, 0.4], "2 sizes were measured and 3 are needed"),
    ],
)
def test_learning_curve_refuses_invalid_input(parameters, n, error, message):
    with pytest.raises((ValueError, NotIdentifiableError), match=message):
        LearningCurve(**parameters).fit(n, error)


def _many_rows(path, num_rows, num_sizes):
    """Write ``num_rows`` measurements of ``num_sizes`` sizes, in random order."""
    rng = np.random.default_rng(0)
    n = rng.permutation(np.resize(np.arange(num_sizes) + 1000.0, num_rows))
    error = 0.5 * (n / 1000) ** -0.4 * np.exp(0.02 * rng.standard_normal(num_rows))
    rows = "".join(f"{a:.0f},{b:.6f},5000\n" for a, b in zip(n, error, strict=True))
    path.write_text("n,error,num_test\n" + rows)
    return path


LARGE = [
    pytest.param(num_rows, num_sizes, marks=pytest.mark.slow)
    for num_rows, num_sizes in [(5_000, 5_000), (40_000, 20_000)]
]


@pytest.mark.parametrize(("num_rows", "num_sizes"), [(1_000, 1_000), *LARGE])
def test_thousands_of_rows_are_answered_in_seconds(tmp_path, capsys, num_rows, num_sizes):
    path = _many_rows(tmp_path / "points.csv", num_rows, num_sizes)
    words = ["--plan", "--json", tmp_path / "law.json", "--plot", tmp_path / "law.png"]
    start = time.process_time()
    assert run(path, *words) == 0
    assert time.process_time() - start < 30
    law = json.loads((tmp_path / "law.json").read_text())
    assert len(law["points"]) == num_sizes
    assert len(law["gain_of_doubling"]) <= MAX_SIZES
    plan = capsys.readouterr().out.split("Expected reduction")[1]
    assert plan.count("another seed") <= MAX_SIZES
    assert f"{1000 + num_sizes - 1:,} images" in plan  # the largest size stays a candidate


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--simulate", 1000, 2000, 4000, "--seeds", 1_000_000],
         "--simulate: 3 sizes times --seeds 1,000,000 are 3,000,000 runs; at most 10,000"),
        ([POINTS, "--at", *range(1, 102)], "--at: 101 numbers of images; at most 100"),
    ],
)  # fmt: skip
def test_a_question_that_would_take_hours_is_one_line(capsys, words, line):
    start = time.process_time()
    assert run(*words) == 2
    assert time.process_time() - start < 10
    output = capsys.readouterr()
    assert line in output.err
    assert output.err.count("\n") == 1


def test_the_forecast_of_another_start_is_told_where_it_differs(tmp_path, capsys):
    """Steep curves of networks trained from scratch are forecast too high without their start."""
    file = tmp_path / "steep.csv"
    n = 1000 * 2 ** np.arange(5)
    rows = [f"{size},{0.75 / (1 + (size / 1500) ** 0.8):.4f},2000" for size in n]
    file.write_text("n,error,num_test\n" + "\n".join(rows) + "\n")
    words = [str(file), "--chance", "0.75"]
    said = {}
    for start in ([], ["--start", "scratch"], ["--start", "unknown"]):
        with pytest.raises(SystemExit):
            forecast_command.forecast([*words, *start])
        said[tuple(start)] = capsys.readouterr().out
    notes = ["(--start scratch)" in text for text in said.values()]
    assert notes == [True, False, False]


@pytest.mark.parametrize(
    ("study", "words", "is_noted"),
    [
        ("tiny-imagenet-100-steps", [], True),
        ("tiny-imagenet-100-steps", ["--start", "scratch"], False),
        ("tiny-imagenet-100", [], False),
        ("mini-imagenet-84-steps", ["--variant", "steps"], True),
        ("mini-imagenet-84-steps", ["--variant", "epochs"], False),
    ],
)
def test_a_study_of_equal_steps_says_that_its_start_is_not_used(study, words, is_noted, capsys):
    with pytest.raises(SystemExit):
        forecast_command.forecast([str(ROOT / "results" / study / "metrics.json"), *words])
    output = capsys.readouterr().out
    assert ("equal optimiser steps, so fitted with --start unknown" in output) == is_noted
    assert "It is not told" not in output


def test_no_line_breaks_between_a_number_and_its_percent_sign():
    text = " ".join(f"{share} % of the images" for share in range(80, 120))
    for width in range(20, 60):
        lines = sentences.fill(text, width).splitlines()
        assert " ".join(lines) == text
        assert max(map(len, lines)) <= width
        assert not any(line.startswith("%") for line in lines)
