"""What README.md says can be typed, and what it names is there."""

import io
import json
import re
import shlex

import datasets
import numpy as np
import pytest
import yaml
from PIL import Image

from dataworth.commands.flags import EvalFlags, ExportFlags, ForecastFlags, PredictFlags
from dataworth.commands.parsing import parse, parse_train
from dataworth.evaluation.results import chance_errors, read_results
from dataworth.evaluation.tables import runs_table, sizes_table
from dataworth.explorer.flags import ExplorerFlags
from dataworth.findings.curves import curves, headline
from dataworth.findings.study import describe
from tests.conftest import ROOT, evaluate, train

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
    elif words[:1] == ["dataworth"]:
        parse(ExportFlags, words[2:], ExportFlags())
    elif script == "predict.py":
        parse(PredictFlags, words, PredictFlags())
    elif script == "forecast.py":
        parse(ForecastFlags, words, ForecastFlags())
    elif script == "app.py":
        parse(ExplorerFlags, words, ExplorerFlags())
    elif "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            parse_train(words)
    elif script == "train.py":
        parse_train(words)
    else:
        assert script == "eval.py"
        parse(EvalFlags, words, EvalFlags())


def test_findings_are_those_of_the_committed_study():
    results = read_results(ROOT / "results" / "tiny-imagenet-100" / "metrics.json")
    found = curves(runs_table(results), chance_errors(results))
    shown = " ".join(TEXT.split())
    assert describe(found, sizes_table(results)) in shown
    for words, test in zip(
        ("its largest", "the two"), headline(found).analysis.backtests, strict=True
    ):
        said = shown.split(f"Without {words}")[1][:200]
        for share in (test.point, test.measured, test.lower, test.upper):
            assert f"{100 * share:.1f}" in said
        held = test.lower <= test.measured <= test.upper
        assert ("inside the 90 %" in said.split(").")[0]) is held


def test_the_arm_of_equal_steps_is_the_committed_one():
    names = ("tiny-imagenet-100", "tiny-imagenet-100-steps")
    files = (read_results(ROOT / "results" / name / "metrics.json") for name in names)
    epochs, steps = (file["subset_sizes"] for file in files)
    for size, row in steps.items():
        errors = [100 * each["top_5_error"] for each in (epochs[size], row)]
        assert f"| {row['num_images']:,} | {errors[0]:.1f} % | {errors[1]:.1f} % |" in TEXT
    here, there, whole = (
        each["top_5_error"] for each in (epochs["0.25"], steps["0.25"], epochs["1.0"])
    )
    shown = " ".join(TEXT.split())
    assert f"four times the steps gain {100 * (here - there):.1f} points" in shown
    assert f"then gain only {100 * (there - whole):.1f}" in shown


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
    found = (ROOT / "bench" / "results").glob("forecast-x86_64-*.json")
    path = min(found)  # later ones are the reader's
    *_, top_5, every = json.loads(path.read_text())["kinds"]
    told = " ".join(table.split())
    assert f"({100 * top_5['coverage_90']:.0f} % held)" in told
    assert f"holds {100 * every['coverage_90']:.0f} % of {every['forecasts']} forecasts" in told
    assert f"On {every['curves']} curves of ours" in told
    assert f"{every['mean_absolute_log_error']:.3f} against its {every['line_error']:.3f}" in told


def test_citation_is_what_its_schema_asks_for():
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert found["cff-version"] == "1.2.0"
    assert found.keys() >= {"message", "title", "authors"}
    assert found["type"] == "software"
    assert all("name" in author for author in found["authors"])


@pytest.fixture
def mini_imagenet(workplace):
    """A stand-in of mini-ImageNet's schema: parquet, 100 names of synsets, sides of 84 to 500."""
    rng = np.random.default_rng(0)
    names = [f"n{10_000_000 + k}" for k in range(100)]
    schema = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
    )
    folder = workplace / "mini-imagenet" / "data"
    folder.mkdir(parents=True)
    for split, per_class in (("train", 2), ("validation", 1), ("test", 1)):
        rows = []
        for label in np.repeat(np.arange(100), per_class):
            size, file = rng.choice([84, 120, 333, 500], 2, p=[0.5, 0.3, 0.1, 0.1]), io.BytesIO()
            noise = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
            noise.resize(tuple(map(int, size))).save(file, "jpeg")
            rows.append({"image": {"bytes": file.getvalue(), "path": None}, "label": int(label)})
        table = datasets.Dataset.from_list(rows, features=schema)
        table.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return workplace / "mini-imagenet"


def test_mini_imagenets_commands_work_on_a_stand_in_of_its_schema(mini_imagenet, capsys):
    cheap = ["--epochs", 1, "--image-size", 63, "--subset-sizes", 1.0, "--checkpoint-seconds", 999]
    assert train("--dataset", mini_imagenet, *cheap) == 0
    said = capsys.readouterr().out
    assert "200 train, 100 validation, 100 test images of 100 classes" in said
    assert "the two errors are not comparable" in said
    assert evaluate() == 0
    (path,) = mini_imagenet.parent.glob("results/*/metrics.json")
    results = read_results(path)
    assert (results["model"], results["num_classes"]) == ("alexnet", 100)
    assert results["runs"][0]["splits"]["test"]["top_5_error"] is not None
