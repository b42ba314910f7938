"""forecast.py and dataworth forecast: measurements in, an answer or a one-line error out."""

import contextlib
import json
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataworth.commands import forecast as forecast_command
from dataworth.commands.forecast import read_points
from dataworth.errors import InputError
from dataworth.scaling import experiment_design
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
    shown = capsys.readouterr().out
    for part in (
        "Doubling the 50,000",
        "Error 10.0 %:",
        "400,000 images:",
        "unreliable",
        "another",
    ):
        assert part in shown
    law = json.loads((tmp_path / "law.json").read_text())
    assert [each["n"] for each in law["forecasts"]] == [100000, 400000]
    assert law["required_images"][0]["target"] == 0.1
    assert law["chance_error"] == 0.95
    assert (tmp_path / "law.png").stat().st_size > 10_000


def test_a_study_is_read_and_compared(capsys):
    assert run(STUDY, "--metric", "top_1_error", "--compare", STUDY) == 0
    shown = capsys.readouterr().out
    assert "top-1 error" in shown
    assert "this model needs" in shown


def test_a_study_is_asked_for_the_error_that_its_evaluation_reports(capsys):
    assert run(ROOT / "results" / "digits" / "metrics.json") == 0
    assert "would lower the top-1 error" in capsys.readouterr().out


def test_a_study_is_compared_with_a_file(capsys):
    assert run(STUDY, "--metric", "top_1_error", "--compare", POINTS) == 0
    assert "needs more than 1,024 times as many" in capsys.readouterr().out


def test_a_plan_is_simulated(capsys, monkeypatch):
    monkeypatch.setattr(experiment_design, "NUM_STUDIES", 5)
    assert run("--simulate", 1000, 2000, 4000) == 0
    assert "coverage: the forecast interval contained" in capsys.readouterr().out


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
        ("n,loss\n1,0.1\n", "no column error"),
        ("", "no column n and no column error"),
        ("n,error\n1000,0.5\n2000,45\n", "row 3: error is 45, not a share between 0 and 1; "
         "if it is in percent, write 0.45"),
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
    ],
)  # fmt: skip
def test_a_bad_file_is_one_line(tmp_path, capsys, text, line):
    path = tmp_path / "points.csv"
    path.write_text(text)
    assert run(path) == 2
    shown = capsys.readouterr().err
    assert line in shown
    assert str(path) in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nowhere.csv"], "nowhere.csv: No such file"),
        ([], "name a CSV file"),
        ([POINTS, "--metric", "top_1_error"], "--variant: a CSV file has one error"),
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
    shown = capsys.readouterr().out
    assert "not identifiable): the error rises" in shown
    assert "--plan, --compare: no answer without a law" in shown


CELL = st.one_of(st.text(max_size=6), st.floats().map(str), st.integers().map(str))
TABLE = st.lists(st.lists(CELL, max_size=4), max_size=5)


@given(st.sampled_from(["n,error", "error,n,num_test", ""]), TABLE, st.text(max_size=20))
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_file_is_points_or_one_line(tmp_path_factory, header, rows, rest):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    lines = [header, *(",".join(row) for row in rows), rest]
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    with contextlib.suppress(InputError):
        points = read_points(path)
        assert ((points.error >= 0) & (points.error <= 1)).all()
        assert (points.n > 0).all()
