"""README.md and docs/: code blocks run, commands parse, links exist, numbers are current."""

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import tomllib

import datasets
import jsonschema
import numpy as np
import pytest
import yaml
from PIL import Image

import dataworth
from dataworth.commands import eval as eval_command
from dataworth.commands import export as export_command
from dataworth.commands import forecast as forecast_command
from dataworth.commands import predict as predict_command
from dataworth.commands import train as train_command
from dataworth.commands.cli import COMMANDS
from dataworth.commands.flags import (
    DataFlags,
    EvalFlags,
    ExportFlags,
    ForecastFlags,
    PredictFlags,
    TrackFlags,
)
from dataworth.commands.parsing import parse, parse_train, read_config
from dataworth.evaluation.results import read_results
from dataworth.explorer.flags import ExplorerFlags
from scripts import measured_numbers, reference
from tests.conftest import ROOT, command, evaluate, train

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in PAGES}
README = TEXTS["README.md"]
ALL = "\n".join(TEXTS.values())
BLOCK = re.compile(r"(?:<!-- (not run.*?) -->\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def code_of(blocks, i):
    """Return the code of a block; of Python, with the blocks above it on its page that are run."""
    language, code = blocks[i][1:]
    above = [b[2] for b in blocks[:i] if b[1] == language == "python" and not b[0]]
    return "\n".join([*above, code])


BLOCKS = [  # (page and number of the block, reason why it is not run or None, language, code)
    (f"{page}-{i + 1}", blocks[i][0] or None, blocks[i][1], code_of(blocks, i))
    for page, text in TEXTS.items()
    for blocks in [BLOCK.findall(text)]
    for i in range(len(blocks))
    if blocks[i][1] != "text"
]
RUNNABLE = [block for block in BLOCKS if block[1] is None]
BENCH = re.findall(r"^def (\w+)", (ROOT / "bench" / "__main__.py").read_text(), re.MULTILINE)
NAMES = "|".join(COMMANDS)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FLAGS = {
    "app.py": ExplorerFlags,
    "eval.py": EvalFlags,
    "forecast.py": ForecastFlags,
    "predict.py": PredictFlags,
}
MODULE_FLAGS = {
    "data": DataFlags,
    "explore": ExplorerFlags,
    "export": ExportFlags,
    "track": TrackFlags,
}
RUN = {
    "eval.py": eval_command.evaluate,
    "forecast.py": forecast_command.forecast,
    "predict.py": predict_command.predict,
    "train.py": train_command.train,
}


def command_lines(text):
    """Return the lines of a text that call a command, fenced or indented, without comments."""
    lines = text.replace("\\\n", " ").splitlines()
    matches = (
        re.fullmatch(rf"(?:    )?((?:python|dataworth (?:{NAMES})) .*?)( +#.*)?", line)
        for line in lines
    )
    return [match[1] for match in matches if match]


def script_and_words(line):
    """Return the script that a line calls, or -m, and its words; dataworth eval is eval.py."""
    program, name, *words = shlex.split(line)
    if program == "python":
        return name, words
    return (f"{name}.py", words) if f"{name}.py" in RUN else ("-m", ["dataworth", name, *words])


@pytest.mark.parametrize("line", sorted(set(command_lines(ALL))))
def test_every_command_parses(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    script, words = script_and_words(line)
    if script == "-m" and words[0] == "bench":
        assert words[1] in BENCH
    elif script == "-m":
        flags = MODULE_FLAGS[words[1]]
        parse(flags, words[2:], flags())
    elif script.startswith(("scripts/", "space/")):
        assert (ROOT / script).exists()
    elif script in FLAGS:
        parse(FLAGS[script], words, FLAGS[script]())
    elif script == "train.py":
        parse_train(words)
    else:
        assert script == "the_lines_above.py"


def test_every_block_that_is_not_run_says_why():
    assert len(RUNNABLE) >= 15, "code blocks without <!-- not run: reason -->"
    for name, reason, language, _ in BLOCKS:
        assert language in ("sh", "python", "yaml"), name
        assert reason is None or re.fullmatch(r"not run( here)?: \S.*", reason), name


@pytest.fixture(scope="module")
def clone(extended, tmp_path_factory):
    """A folder like a clone in which a study of the digits was trained and evaluated."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(extended, folder, dirs_exist_ok=True)
    for results in (ROOT / "results").glob("*/metrics.json"):
        shutil.copytree(results.parent, folder / "results" / results.parent.name)
    for name in ("configs", "tests"):
        (folder / name).symlink_to(ROOT / name)
    for split, number in (("train", 1), ("val", 100)):  # as docs/how-to/mini-imagenet-84.md has it
        (folder / "split_minidataset" / split / "n01532829").mkdir(parents=True)
        for i in range(number):
            (folder / "split_minidataset" / split / "n01532829" / f"{i}.jpg").touch()
    (folder / "photos").mkdir()
    for path in (folder / "cat.jpg", folder / "photos" / "dog.jpg"):
        Image.effect_noise((40, 40), 99).convert("RGB").save(path)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "code"), [block[2:] for block in RUNNABLE], ids=[block[0] for block in RUNNABLE]
)
def test_every_other_block_runs(language, code, clone, monkeypatch):
    monkeypatch.chdir(clone)
    if language == "python":
        exec(compile(code, "block", "exec"), {})  # with the blocks above it on its page
        return
    if language == "yaml":
        (clone / "study.yaml").write_text(code)
        read_config(clone / "study.yaml")
        return
    lines = code.replace("\\\n", " ").splitlines()
    assert len(command_lines(code)) == len(lines), (
        "runs other programs; mark it <!-- not run: ... -->"
    )
    for line in command_lines(code):
        script, words = script_and_words(line)
        if script == "-m":
            assert words[:2] == ["dataworth", "export"]
            assert command(export_command.export, *words[2:]) == 0, line
        else:
            assert command(RUN[script], *words) == 0, line


def test_the_answer_of_the_quick_start_is_that_of_the_committed_study(tmp_path, capsys):
    committed = ["git", "show", "HEAD:results/mini-imagenet-84/metrics.json"]
    process = subprocess.run(committed, cwd=ROOT, capture_output=True)
    if process.returncode:
        pytest.skip("not a git checkout")
    (tmp_path / "metrics.json").write_bytes(process.stdout)
    (line,) = (line for line in command_lines(README) if "forecast.py results" in line)
    words = shlex.split(line)[3:]
    assert command(forecast_command.forecast, tmp_path / "metrics.json", *words) == 0
    (answer,) = re.findall(r"Error 25.0 %: (.*)\.", capsys.readouterr().out)
    assert f"`{answer}`" in " ".join(README.split())


def test_every_subcommand_that_is_named_exists():
    named = set(re.findall(r"`dataworth (\w+)", ALL))
    assert named
    assert named <= COMMANDS.keys()


def test_make_targets_that_are_named_exist():
    targets = set(re.findall(r"`make (\w+)`", ALL))
    assert targets == {"study", "docs"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in targets)


def test_extras_that_are_named_exist():
    extras = {name for group in re.findall(r"\.\[([\w,]+)\]", ALL) for name in group.split(",")}
    assert extras >= {"explorer", "ray", "slurm", "heif", "onnx", "dev"}
    assert extras <= PROJECT["optional-dependencies"].keys()


def test_readme_is_short():
    assert len(README.splitlines()) <= 130


def test_measured_numbers_are_those_of_the_committed_results():
    for path, block in measured_numbers.blocks().items():
        text = path.read_text()
        assert text.count(measured_numbers.BEGIN) == text.count(measured_numbers.END) == 1
        assert block in text, "run `python scripts/measured_numbers.py`"


def test_generated_reference_is_current():
    for path, content in reference.generated().items():
        assert path.read_text() == content, "run `python scripts/reference.py`"


@pytest.mark.parametrize("name", reference.FLAGS)
def test_the_reference_has_the_flags_of_help(name):
    output = io.StringIO()
    with contextlib.redirect_stdout(output), pytest.raises(SystemExit, match="0"):
        parse(reference.FLAGS[name], ["--help"], reference.FLAGS[name]())
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+(?= |$)", output.getvalue(), re.MULTILINE))
    (section,) = re.findall(
        rf"^## {name}\n(.*?)(?=^## |\Z)", TEXTS["docs/reference/commands.md"], re.M | re.S
    )
    assert flags - {"--help"} == set(re.findall(r"^\| `(--[a-z-]+)`", section, re.MULTILINE))


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*/metrics.json")), ids=str)
def test_committed_results_agree_with_the_schema(path):
    schema = json.loads((ROOT / "docs" / "reference" / "metrics.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_text()))


@pytest.mark.parametrize("name", ["README.md", "eda.ipynb", "results.ipynb"])
def test_the_address_of_the_repository_is_that_of_pyproject(name):
    address = PROJECT["urls"]["Repository"]
    owner_and_name = address.removeprefix("https://github.com/")
    text = (ROOT / name).read_text()
    assert f"git clone {address}" in text.replace("--quiet ", "")
    for found in re.findall(r"github(?:\.com)?/([\w.-]+/[\w-]+)", text):
        assert found == owner_and_name
    assert text.count("OWNER") == text.count(owner_and_name) * owner_and_name.count("OWNER")


def anchors(path):
    """Return the anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", TEXTS)
def test_every_link_leads_to_a_file_and_its_heading(page):
    text = re.sub(r"^```.*?^```", "", TEXTS[page], flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in links:
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), link
        assert not anchor or re.sub("-+", "-", anchor) in {
            re.sub("-+", "-", name) for name in anchors(path)
        }, link


def test_every_file_of_the_layout_exists():
    text = TEXTS["docs/explanation/architecture.md"].split("## The repository")[1].split("##")[0]
    columns = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    names = [name for row in columns for name in row if re.fullmatch(r"[\w./]*[./][\w./]*", name)]
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


@pytest.mark.slow
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
