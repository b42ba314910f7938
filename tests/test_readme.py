"""README.md and docs: commands parse, files exist, measured numbers and addresses are current."""

import io
import re
import shlex
import tomllib

import datasets
import numpy as np
import pytest
import yaml
from PIL import Image

import dataworth
from dataworth.commands.cli import COMMANDS as SUBCOMMANDS
from dataworth.commands.flags import EvalFlags, ExportFlags, ForecastFlags, PredictFlags
from dataworth.commands.parsing import parse, parse_train
from dataworth.evaluation.results import read_results
from dataworth.explorer.flags import ExplorerFlags
from docs import readme_block
from tests.conftest import ROOT, evaluate, train

README = (ROOT / "README.md").read_text()
PAGES = README + (ROOT / "docs" / "clusters.md").read_text()
LINES = PAGES.replace("\\\n", " ").splitlines()
BENCH = re.findall(r"^def (\w+)", (ROOT / "bench" / "__main__.py").read_text(), re.MULTILINE)
COMMANDS = sorted({line.split(" #")[0].strip() for line in LINES if line.startswith("    python ")})
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FLAGS = {
    "app.py": ExplorerFlags,
    "eval.py": EvalFlags,
    "forecast.py": ForecastFlags,
    "predict.py": PredictFlags,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    _, script, *words = shlex.split(command)
    if words[:1] == ["bench"]:
        assert words[1] in BENCH
    elif words[:1] == ["dataworth"]:
        assert words[1] == "export"
        parse(ExportFlags, words[2:], ExportFlags())
    elif script.startswith("docs/"):
        assert (ROOT / script).exists()
    elif script != "train.py":
        parse(FLAGS[script], words, FLAGS[script]())
    elif "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            parse_train(words)
    else:
        parse_train(words)


def test_every_subcommand_that_is_named_exists():
    named = set(re.findall(r"`dataworth (\w+)", README))
    assert named
    assert named <= SUBCOMMANDS.keys()


def test_make_targets_that_are_named_exist():
    targets = set(re.findall(r"^    make (\w+)", README, re.MULTILINE))
    assert targets == {"study", "test"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in targets)


def test_extras_that_are_named_exist():
    extras = {name for group in re.findall(r"\.\[([\w,]+)\]", PAGES) for name in group.split(",")}
    assert extras >= {"explorer", "ray", "slurm", "dev"}
    assert extras <= PROJECT["optional-dependencies"].keys()


def test_measured_numbers_are_those_of_the_committed_results():
    assert README.count(readme_block.BEGIN) == README.count(readme_block.END) == 1
    assert readme_block.block() in README, "run `python docs/readme_block.py`"


@pytest.mark.parametrize("name", ["README.md", "eda.ipynb", "results.ipynb"])
def test_the_address_of_the_repository_is_that_of_pyproject(name):
    address = PROJECT["urls"]["Repository"]
    owner_and_name = address.removeprefix("https://github.com/")
    text = (ROOT / name).read_text()
    assert f"git clone {address}" in text.replace("--quiet ", "")
    for found in re.findall(r"github(?:\.com)?/([\w.-]+/[\w-]+)", text):
        assert found == owner_and_name
    assert text.count("OWNER") == text.count(owner_and_name) * owner_and_name.count("OWNER")


def test_every_file_and_picture_that_is_named_exists():
    tree = README.split("## Layout")[1].split("##")[0]
    columns = [re.split(r"\s{2,}", line.strip()) for line in tree.splitlines()]
    names = [name for row in columns for name in row if re.fullmatch(r"[\w./]*[./][\w./]*", name)]
    names += re.findall(r"\]\(([^)]+)\)", README)
    assert len(names) > 10
    for name in names:
        assert (ROOT / name).exists(), name


def test_citation_is_valid_and_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation.keys() >= {"message", "title", "authors"}
    assert citation["type"] == "software"
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert citation["authors"] == PROJECT["authors"]
    assert PROJECT["version"] == dataworth.__version__
    assert f"## {PROJECT['version']}\n" in (ROOT / "CHANGELOG.md").read_text()


@pytest.fixture
def mini_imagenet(workplace):
    """A data set with the schema of mini-ImageNet: parquet, 100 synsets, sides of 84 to 500."""
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


def test_the_mini_imagenet_commands_work_on_a_data_set_of_its_schema(mini_imagenet, capsys):
    cheap = ["--epochs", 1, "--image-size", 63, "--subset-sizes", 1.0, "--checkpoint-seconds", 999]
    assert train("--dataset", mini_imagenet, *cheap) == 0
    output = capsys.readouterr().out
    assert "200 train, 100 validation, 100 test images of 100 classes" in output
    assert evaluate() == 0
    (path,) = mini_imagenet.parent.glob("results/*/metrics.json")
    results = read_results(path)
    assert (results.model, results.num_classes) == ("alexnet", 100)
    assert results.runs[0].splits["test"].top_5_error is not None
