"""What README.md says can be typed, and what it names is there."""

import json
import re
import shlex

import pytest

from src.evaluation.results import chance_errors, read_results, runs_table, sizes_table
from src.flags import EvalFlags, ForecastFlags, parse, parse_train
from src.prediction.flags import ExportFlags, PredictFlags
from src.scaling.findings import curves, describe, headline
from tests.conftest import ROOT

TEXT = (ROOT / "README.md").read_text()
LINES = TEXT.replace("\\\n", " ").splitlines()
BENCH = re.findall(r"^def (\w+)", (ROOT / "bench" / "__main__.py").read_text(), re.MULTILINE)
COMMANDS = sorted({line.split(" #")[0].strip() for line in LINES if line.startswith("    python ")})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    _, script, *words = shlex.split(command)
    if words[:1] == ["bench"]:
        assert words[1] in BENCH
    elif words[:1] == ["src.export"]:
        parse(ExportFlags, words[1:], ExportFlags())
    elif script == "predict.py":
        parse(PredictFlags, words, PredictFlags())
    elif script == "forecast.py":
        parse(ForecastFlags, words, ForecastFlags())
    elif "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            parse_train(words)
    elif script == "train.py":
        parse_train(words)
    else:
        assert script == "eval.py"
        parse(EvalFlags, words, EvalFlags())


def test_findings_are_those_of_the_committed_study():
    results = read_results(ROOT / "results" / "tiny-imagenet-100-small" / "metrics.json")
    found = curves(runs_table(results), chance_errors(results))
    text = describe(found, sizes_table(results))
    shown = " ".join(TEXT.split())
    assert text in shown
    (test,) = headline(found).analysis.backtests
    for share in (test.point, test.measured, test.lower, test.upper):
        assert f"{100 * share:.1f}" in shown.split("Without its largest size")[1][:200]


def test_opens_with_the_two_commands_of_the_makefile():
    first = [line.split()[:2] for line in LINES if line.startswith("    ")][:2]
    assert first == [["make", "study"], ["make", "test"]]
    makefile = (ROOT / "Makefile").read_text()
    assert "\nstudy:" in makefile
    assert "\ntest:" in makefile


def test_every_file_and_picture_that_is_named_is_there():
    tree = TEXT.split("## Where everything lies")[1].split("##")[0]
    columns = [re.split(r"\s{2,}", line.strip()) for line in tree.splitlines()]
    names = [name for row in columns for name in row if re.fullmatch(r"[\w./]*[./][\w./]*", name)]
    named = [name for name in names if name != "metrics.json"]
    named += re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(named) > 10
    for name in named:
        assert (ROOT / name).exists(), name


def test_speeds_are_those_of_the_committed_measurement():
    path = min((ROOT / "bench" / "results").glob("train-*.json"))  # later ones are the reader's
    measured = json.loads(path.read_text())
    table = TEXT.split("## Speed")[1].split("##")[0]
    for kind in ("training", "validation", "evaluation", "loading"):
        assert f"{measured[kind]['median_ratio']['torchvision recipe']:.3g}" in table
        for rate in (measured[kind]["median_rate"][n] for n in ("ours", "torchvision recipe")):
            assert f"{rate:,.0f}" in table or f"{float(f'{rate:.3g}'):g}" in table


def test_forecast_scores_are_those_of_the_committed_measurement():
    measured = json.loads((ROOT / "bench" / "results" / "forecast.json").read_text())
    table = TEXT.split("## Forecast")[1].split("## ")[0]
    for row in measured["suites"]:
        ours, best = row["mean_absolute_log_error"], row["best_baseline_error"]
        assert f"| {row['curves']} | {ours:.3f} | {best:.3f} ({row['best_baseline']})" in table
        assert f"| {row['ratio']:.2f} | {row['coverage_90']:.0%}".replace("%", " %") in table
