"""report.html: numbers, incomplete studies, safety, accessibility; in a real browser."""

import itertools
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataworth.errors import InputError
from dataworth.evaluation.results import read_results
from dataworth.figures.files import render, save
from dataworth.figures.style import new_axes
from dataworth.findings import sentences
from dataworth.findings.sentences import percent
from dataworth.findings.study import describe_data, read_epochs, read_findings
from dataworth.report.page import HERE
from dataworth.report.run_status import (
    AT_CHANCE,
    completeness,
    entries_of_results,
    run_entries,
    run_table,
)
from dataworth.report.sections import answer
from dataworth.report.tables import targets
from dataworth.storage.files import read_json, write_json
from dataworth.storage.locks import lock_folder, lock_holder
from dataworth.storage.predictions import read_predictions
from dataworth.storage.run_directory import RunDirectory
from tests.conftest import evaluate, inside, train

ROOT = Path(__file__).parents[1]
CHROMIUM = "/usr/bin/chromium"
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "$\\frac{",
    "a&amp;'\"b",
)


class Page(HTMLParser):
    """Tags with their attributes, and the text that a reader sees."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.hidden = [], "", ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.hidden = tag if tag in ("style", "script") else ""

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self.hidden = ""

    def handle_data(self, data):
        self.text += "" if self.hidden else f" {data}"

    def all(self, *tags):
        return [attrs for tag, attrs in self.tags if tag in tags]


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return np.dot(linear, (0.2126, 0.7152, 0.0722))


def contrast(*colours):
    """The contrast of two colours such as #0072b2: 1 to 21."""
    low, high = sorted(map(luminance, colours))
    return (high + 0.05) / (low + 0.05)


def page_of(folder, name="s"):
    return Page(folder / "results" / name / "report.html")


@pytest.fixture(scope="module")
def reported(extended, tmp_path_factory):
    """A copy of the fully evaluated study, after a plain ``eval.py --report``."""
    folder = tmp_path_factory.mktemp("reported") / "copy"
    shutil.copytree(extended, folder)
    with inside(folder):
        assert evaluate("--report") == 0
    return folder


def write_data(folder):
    """Squares of noise, each class a colour of its own."""
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as Picture

    rng, colours = np.random.default_rng(0), 190 * np.eye(4)[:, :3]
    for split, n in (("train", 96), ("validation", 32), ("test", 32)):
        labels = np.arange(n) % 4
        pixels = rng.integers(0, 60, (n, 32, 32, 3)) + colours[labels][:, None, None]
        if split == "test":
            labels[:6] = (labels[:6] + 1) % 4  # mistakes to be shown
        images = [Image.fromarray(square) for square in pixels.astype(np.uint8)]
        features = Features({"image": Picture(), "label": ClassLabel(names=list(HOSTILE))})
        table = Dataset.from_dict({"image": images, "label": labels.tolist()}, features)
        table.to_parquet(folder / f"{split}-00000-of-00001.parquet")


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A study of two variants on classes with hostile names, reported."""
    with inside(tmp_path_factory.mktemp("several")) as folder:
        write_data(folder / "d" / "data")
        words = ["--dataset", "d", "--model", "alexnet-small", "--image-size", "32"]
        words += ["--epochs", "3", "--batch-size", "8", "--budget", "epochs", "steps"]
        words += ["--subset-sizes", "1.0", "0.5", "0.25", "--experiment-id", "h"]
        assert train(*words) == 0
        assert evaluate("--full", "--conformal", "--alpha", 0.2, "--report") == 0
    return folder


def test_answers_with_the_numbers_of_metrics_json(reported):
    page, folder = page_of(reported), reported / "results" / "s"
    results, (variant,) = read_results(folder / "metrics.json"), read_findings(folder)
    assert answer(variant) in page.text
    assert "Study s: complete" in page.text
    for size in results.subset_sizes.values():
        for k in (1, 5):
            low, high = map(percent, size.interval(k))
            assert f"{percent(size.error(k))} [{low}, {high}]" in page.text
    for run in results.runs:
        error = percent(run.splits["test"].top_1_error)
        assert re.search(rf"{run.path} .*? {error}", page.text)
    for value in (results.environment.commit, results.environment.torch):
        assert value in page.text


def test_what_was_added_by_an_earlier_command_is_kept(reported, extended):
    ours, theirs = (
        read_json(f / "results" / "s" / "metrics.json")["runs"] for f in (reported, extended)
    )
    assert [run["full"] for run in ours] == [run["full"] for run in theirs]
    assert [run["conformal"] for run in ours] == [run["conformal"] for run in theirs]
    assert "eval.py --experiment-id s --full" not in page_of(reported).text


def test_what_an_earlier_command_said_of_other_scores_is_not_kept(reported, workplace):
    shutil.copytree(reported, workplace, dirs_exist_ok=True)
    path = workplace / "results" / "s" / "metrics.json"
    content = read_json(path)
    content["runs"][0]["splits"]["test"]["loss"] += 1
    write_json(path, content)
    assert evaluate("--report", "--mistakes", 0) == 0
    assert "full" not in read_json(path)["runs"][0]
    page = page_of(workplace)
    assert "python eval.py --experiment-id s --full --report" in page.text
    assert "python eval.py --experiment-id s --conformal --report" in page.text
    assert "--mistakes 0 left them out" in page.text
    assert not page.all("img")


@pytest.mark.parametrize("name", ["reported", "several"])
def test_is_one_small_file_that_asks_for_nothing(name, request):
    page = page_of(request.getfixturevalue(name), {"several": "h"}.get(name, "s"))
    assert len(page.source.encode()) < 3_000_000
    for _, attrs in page.tags:
        assert not {key for key in attrs if key.startswith("on")}
        for key in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert attrs.get(key, "#").startswith(("#", "data:"))
    assert not re.search(r"url\((?!#)|@import", page.source)
    assert len(page.all("script")) == 1
    (policy,) = (a["content"] for a in page.all("meta") if "http-equiv" in a)
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("name", ["reported", "several"])
def test_can_be_read_by_everybody(name, request):
    page = page_of(request.getfixturevalue(name), {"several": "h"}.get(name, "s"))
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert any(attrs.get("name") == "viewport" for attrs in page.all("meta"))
    assert page.all("svg")
    for attrs in page.all("svg"):
        assert attrs["role"] == "img"
        assert re.search(r"\d", attrs["aria-label"])
    assert all(attrs["alt"] for attrs in page.all("img"))
    assert {attrs.get("scope") for attrs in page.all("th")} == {"col", "row"}
    ids = Counter(attrs["id"] for _, attrs in page.tags if "id" in attrs)
    assert set(ids.values()) == {1}
    named = re.findall(r'(?:href="|url\()#([^")]+)', page.source)
    assert named
    assert set(named) <= set(ids)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


@pytest.mark.parametrize("name", ["reported", "several"])
def test_wide_tables_scroll_in_a_container_of_their_own(name, request):
    page = page_of(request.getfixturevalue(name), {"several": "h"}.get(name, "s"))
    parents = [before for before, (tag, _) in itertools.pairwise(page.tags) if tag == "table"]
    assert parents
    for tag, attrs in parents:
        assert (tag, attrs["class"], attrs["tabindex"]) == ("div", "scroll", "0")
    assert re.search(r"\.scroll \{[^}]*overflow-x: auto", page.source)
    assert re.search(r"\.figures > \* \{[^}]*min-width: 0", page.source)


def test_colours_of_text_stand_out():
    style = (HERE / "page.css").read_text()
    themes = [
        dict(re.findall(r"--([\w-]+): (#\w{6});", part)) for part in style.split("@media")[:2]
    ]
    assert len(themes) == 2
    for theme in themes:
        for name in ("ink", "pale", "blue"):
            for ground in ("ground", "code", "warning"):
                assert contrast(theme[name], theme[ground]) >= 4.5


def test_hostile_names_are_text(several):
    page = page_of(several, "h")
    assert "<script>alert" not in page.source
    assert "<img src=x" not in page.source
    for name in HOSTILE:
        assert name in page.text
    names = " ".join(attrs["alt"] for attrs in page.all("img"))
    assert all(name in names for name in HOSTILE)


def test_every_variant_has_its_part(several):
    page = page_of(several, "h")
    for variant in read_findings(several / "results" / "h"):
        assert answer(variant) in page.text
    names = [attrs["aria-label"] for attrs in page.all("svg")]
    assert len([name for name in names if "epochs: " in name and "steps: " in name]) == 1
    assert "All variants in one figure" in page.text


@pytest.mark.filterwarnings("default")  # the kernel client's own
@pytest.mark.slow
def test_results_notebook_shows_every_variant(several, workplace, execute_notebook):
    shutil.copytree(several / "results", workplace / "results")
    text = execute_notebook("results.ipynb", workplace)
    for name in ("epochs", "steps"):
        assert f"h, {name}." in text
        assert (workplace / "results" / "h" / "figures" / name / "plot_1_error.png").exists()
    assert (workplace / "results" / "h" / "figures" / "plot_1_top_1_error.png").exists()


def test_an_incomplete_study_says_what_is_missing_and_why(study, workplace):
    shutil.copytree(study, workplace, dirs_exist_ok=True)
    folder = workplace / "checkpoints" / "s"
    shutil.rmtree(folder / "1.0" / "seed-2")
    for seed in (1, 2):
        for name in ("done", "best.safetensors"):
            (folder / "0.25" / f"seed-{seed}" / name).unlink()
    (folder / "0.25" / "seed-2" / "error.txt").write_text("Traceback\nValueError: <b>broken</b>\n")
    with lock_folder(folder / "0.25" / "seed-1"):
        assert lock_holder(folder / "0.25" / "seed-1") is not None
        assert evaluate("--report") == 3
    assert lock_holder(folder / "0.25" / "seed-1") is None
    (folder / "0.25" / "seed-1" / "last.pt").touch()
    page = page_of(workplace)
    assert "This study is in progress. 3 of 6 runs are evaluated." in page.text
    assert "running (1): 0.25/seed-1, epoch 3 of 3" in page.text
    assert "failed (1): 0.25/seed-2 (ValueError: <b>broken</b>)" in page.text
    assert "planned (1): 1.0/seed-2" in page.text
    named = "--experiment-id s"
    finish = "To finish: python train.py --resume {0}, then python eval.py {0} --report"
    assert finish.format(named) in page.text
    assert "No law can be fitted to these points" in page.text
    (workplace / "checkpoints").rename("my studies")
    assert evaluate("--report", "--checkpoint-dir", "my studies") == 3
    page = page_of(workplace)
    assert finish.format(f"{named} --checkpoint-dir 'my studies'") in page.text
    assert "This study is incomplete." in page.text
    assert "interrupted (1): 0.25/seed-1, epoch 3 of 3" in page.text
    assert "planned (1): 1.0/seed-2" in page.text


def test_damaged_weights_are_told_from_a_run_that_has_ended_since(study, workplace):
    shutil.copytree(study, workplace, dirs_exist_ok=True)
    damaged, late = (workplace / "checkpoints" / "s" / "1.0" / f"seed-{k}" for k in (1, 2))
    (damaged / "best.safetensors").write_bytes(b"damaged")
    directories = {d.run(): d for d in map(RunDirectory, (damaged, late))}
    assert evaluate("--report") == 3
    assert "damaged (1): 1.0/seed-1 (" in page_of(workplace).text
    missing = {"1.0/seed-1": "is damaged", "1.0/seed-2": "interrupted"}
    entries = run_entries(directories, (), missing)
    assert [entry.state for entry in entries] == ["damaged", "finished"]
    assert completeness(entries[1:], "FLAGS")[1][-1] == "To finish: python eval.py FLAGS --report"


def test_a_study_without_a_complete_run_has_a_page(study, workplace):
    words = ["--dataset", "digits", "--model", "alexnet-small", "--image-size", "32"]
    words += ["--epochs", "1", "--subset-sizes", "0.25", "--learning-rate", "1e-9"]
    assert train(*words, "--experiment-id", "s") == 0
    assert evaluate("--report") == 0
    page = page_of(workplace)
    assert "there is no answer yet" in page.text
    assert "not better than chance" in page.text


def test_gains_of_classes_are_not_missed_where_one_size_is_complete(study, workplace):
    shutil.copytree(study / "checkpoints", workplace / "checkpoints")
    for size in ("0.25", "0.5"):
        shutil.rmtree(workplace / "checkpoints" / "s" / size)
    assert evaluate("--full", "--report") == 3
    assert "Gains of classes need two sizes" in page_of(workplace).text


def leaky_folder(root):
    """Two classes: of 40 test images 2 are in train and 1 is in validation; three bad files."""
    for split, n, first in (("train", 60, 0), ("validation", 8, 60), ("test", 20, 68)):
        for k, name in enumerate("ab"):
            (root / split / name).mkdir(parents=True)
            for i in range(first, first + n):
                picture = Image.new("RGB", (8, 8), (200 * (k == 0), 200 * (k == 1), i))
                picture.save(root / split / name / f"{i}.png")
    shutil.copy(root / "train/a/0.png", root / "test/a/68.png")
    shutil.copy(root / "train/b/1.png", root / "test/a/69.png")  # hardly predicted as a
    shutil.copy(root / "validation/b/60.png", root / "test/b/68.png")
    (root / "train/a/5.png").write_bytes(b"half")
    for path in ("train/a/x.avif", "test/b/y.avif"):
        (root / path).touch()
    return root


@pytest.mark.fault(38, 47)
def test_leaked_and_unused_images_are_in_the_results(workplace, capsys):
    words = ["--dataset", leaky_folder(workplace / "leaky"), "--model", "alexnet-small"]
    words += ["--image-size", "32", "--epochs", "4", "--batch-size", "8", "--experiment-id", "s"]
    words += ["--subset-sizes", "1.0", "0.5", "--learning-rate", "0.02", "--on-bad-image", "skip"]
    assert train(*words) == 0
    stored = json.loads((workplace / "checkpoints/s/study.json").read_text())
    of_an_older_version = {"revision", "splits", "notes", "classes"}
    stored["data"] = {key: stored["data"][key] for key in of_an_older_version}
    (workplace / "checkpoints/s/study.json").write_text(json.dumps(stored))
    capsys.readouterr()
    assert evaluate("--report") == 0
    printed, folder = " ".join(capsys.readouterr().out.split()), workplace / "results/s"
    results, content = (
        read_results(folder / "metrics.json"),
        json.loads((folder / "metrics.json").read_text()),
    )
    assert content["data"]["duplicates"] == [
        {"split": "validation", "also_in": "train", "num_images": 0},
        {"split": "test", "also_in": "train", "num_images": 2},
        {"split": "test", "also_in": "validation", "num_images": 1},
    ]
    assert content["data"]["unused_files"] == [
        {"reason": "no image file", "num_files": 2},
        {"reason": "bad image of train: not a whole image", "num_files": 1},
    ]
    for run in results.runs:
        logits, labels = read_predictions(folder, run.path, "test")
        wrong = np.delete(logits.argmax(axis=1) != labels, [0, 1, 20])  # a/68, a/69, b/68
        clean = run.splits["test_without_duplicates"]
        assert (clean.num_images, clean.top_1_error) == (37, pytest.approx(wrong.mean()))
        size = results.subset_sizes[repr(run.subset_size)]
        assert size.without_duplicates.num_test_images == 37
        assert size.without_duplicates.top_1_error == clean.top_1_error != size.top_1_error
    (variant,) = read_findings(folder)
    for text in describe_data(results):
        assert text in printed
        assert text in (folder / "report.html").read_text().replace("\u00a0", " ")
        assert text in variant.markdown
    assert "2 of 40 test images are also in train" in printed
    assert "1 of 40 test images is also in validation" in printed
    assert "3 files are not used: 2 (no image file), 1 (bad image of train: not a" in printed
    assert "top-1 error without duplicates" in (folder / "report.html").read_text()


def test_data_without_leaks_are_not_spoken_of(study):
    results = read_results(study / "results/s/metrics.json")
    assert [pair.num_images for pair in results.data.duplicates] == [0, 0, 0]
    assert results.data.unused_files == ()
    assert "test_without_duplicates" not in results.runs[0].splits
    assert describe_data(results) == []


def test_targets_are_those_of_forecast_py(reported):
    (variant,) = read_findings(reported / "results" / "s")
    analysis = variant.curves["top_1_error"].analysis
    table = targets(analysis, "top-1 error")
    assert 1 <= len(table.table.rows) <= 12
    assert not any("already reached" in text for _, text in table.table.rows)
    for target, text in [*table.table.rows, *table.answers[::10]]:
        share = float(target.rstrip(" %")) / 100
        assert f"Error {target}: {text}" == sentences.target(analysis, share)
    sliders = [
        json.loads(a["data-answers"]) for a in page_of(reported).all("div") if "data-answers" in a
    ]
    assert [list(pair) for pair in table.answers] in sliders


def test_runs_of_results_without_checkpoints_have_their_rows():
    folder = ROOT / "results" / "digits-training"
    results = read_results(folder / "metrics.json")
    entries = entries_of_results(results, read_epochs(folder))
    table = run_table(entries)
    assert [row[0] for row in table.rows] == [str(run.path) for run in results.runs]
    assert {row[3] for row in table.rows} == {f"{n} of {n}" for n in (4, 8, 16, 32)}
    assert completeness(entries, "") == ("complete", [])
    at_chance = [row[-1] for row in table.rows if row[2] == "untrained"]
    assert set(at_chance) == {AT_CHANCE}


@pytest.mark.slow
def test_results_without_checkpoints_have_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "results" / "digits", tmp_path / "results" / "digits")
    assert evaluate("--experiment-id", "digits", "--report") == 0
    assert "no checkpoints/digits" in capsys.readouterr().out
    source = (tmp_path / "results" / "digits" / "report.html").read_text()
    assert "Study digits: complete" in source
    assert "they need the checkpoints, which are not here" in source


def test_figures_have_the_same_bytes_each_time(tmp_path):
    def figure():
        ax = new_axes()
        ax.plot([1, 2], label="$x$")
        return ax

    for kind in ("png", "pdf", "svg"):
        save(figure(), tmp_path / f"a.{kind}")
        assert (tmp_path / f"a.{kind}").read_bytes() == render(figure(), kind)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.pdf", "a.png", "a.svg"]
    with pytest.raises(InputError, match=r"a.xyz: not a figure format"):
        save(figure(), tmp_path / "a.xyz")


@pytest.mark.browser
@pytest.mark.filterwarnings("default")  # the driver's own
@pytest.mark.parametrize("name", ["reported", "several"])
@pytest.mark.parametrize("width", [390, 1200])
def test_works_in_a_browser(name, width, request):
    from playwright import sync_api

    experiment = {"several": "h"}.get(name, "s")
    path = request.getfixturevalue(name) / "results" / experiment / "report.html"
    said, asked = [], []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda sent: asked.append(sent.url))
        page.goto(path.as_uri())
        for slider in page.locator("input[type=range]").all():
            slider.press("Home")
            first = slider.get_attribute("aria-valuetext")
            slider.press("End")
            assert slider.get_attribute("aria-valuetext") != first
        wide, seen = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert wide <= seen
