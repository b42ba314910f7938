"""What a user can get wrong: one line, exit 2, nothing written, no traceback."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest
import torch

from dataworth import devices
from dataworth.commands.flags import TrainFlags
from dataworth.commands.parsing import parse_train
from dataworth.commands.planning import plan_run
from dataworth.config import Run
from dataworth.data.prepare import open_data
from dataworth.errors import InputError
from dataworth.launching.remote import Task
from dataworth.models import batch_memory
from dataworth.models.batch_memory import check_training_memory
from dataworth.storage.study_directory import StudyDirectory
from tests.conftest import DIGITS, QUICK, ROOT, evaluate, train


@pytest.mark.fault(33, 43, 48, 49)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "no/such"], "--dataset digits"),
        (["--dataset", "./nowhere"], "--dataset ./nowhere: no such folder"),
        ([*DIGITS, "--label-column", "x"], "no column 'x'; the columns are image, label"),
        ([*DIGITS, "--model", "alexnett"], "did you mean alexnet"),
        (["--dataset", "digits", "--image-size", "32"], "alexnet needs >= 63 pixels"),
        ([*DIGITS, "--subset-sizes", "0.0001"], "smallest valid size for seed 42 is"),
        ([*DIGITS, "--subset-sizes", "5000"], "5000 images requested"),
        ([*DIGITS, "--device", "cuda:77"], "--device cuda:77: not found"),
        ([*DIGITS, "--subset-sizes", "1.5"], "1.5 is neither"),
        ([*DIGITS, "--dataset-revision", "main"], "digits is not on the hub"),
        ([*DIGITS, "--label-column", "image"], "--label-column image holds no labels"),
        (["--resume"], "no study in checkpoints; run train.py first"),
        (["--resume", "gone"], "no study 'gone' in checkpoints"),
    ],
)
def test_train_refuses(workplace, capsys, words, message):
    assert train(*words) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert list(workplace.iterdir()) == []


def test_settings_without_effect_are_noted(workplace, capsys):
    words = [*DIGITS, "--list", "--slurm", "partition=gpu", "--gpus-per-run", "2"]
    assert train(*words, "--optimizer", "adam", "--momentum", "0.5", "--dropout", "0.1") == 0
    assert capsys.readouterr().err.splitlines() == [
        "note: --momentum has no effect without --optimizer sgd",
        "note: --slurm has no effect without --launcher slurm",
        "note: --gpus-per-run has no effect without --launcher ray or slurm",
    ]
    assert train(*words[:-4], "--model", "resnet18", "--dropout", "0.1") == 0
    assert "note: --dropout has no effect without an AlexNet or VGG" in capsys.readouterr().err
    assert evaluate("--alpha", "0.2", "--mistakes", "3") == 2
    notes = capsys.readouterr().err.splitlines()[:2]
    assert notes == [
        "note: --alpha has no effect without --conformal",
        "note: --mistakes has no effect without --report",
    ]


@pytest.mark.fault(32)
def test_batches_of_one_image_that_cannot_be_normalised_are_refused(workplace, capsys):
    """The last maps of resnet18 have one pixel at 32 pixels, those of alexnet-small have four."""
    words = ["--dataset", "digits", "--image-size", "32", "--list"]
    sizes = ["--subset-sizes", "51", "--batch-size", "50"]
    assert train(*words, *sizes, "--model", "resnet18") == 0
    sizes = ["--subset-sizes", "15", "--batch-size", "2"]
    assert train(*words, *sizes, "--model", "alexnet-small") == 0
    capsys.readouterr()
    assert train(*words, *sizes, "--model", "resnet18") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --batch-size 2: 15/seed-42 has batches of one image, and resnet")
    assert "use --batch-size 3 or" in line


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--image-size", "5000"], "--image-size"),
        (["--image-size", "1600", "--batch-size", "1"], "--image-size"),  # the validation
        (["--batch-size", "1000"], "--batch-size"),
    ],
)
def test_what_does_not_fit_into_memory_is_refused_before_it_is_taken(
    workplace, capsys, monkeypatch, words, hint
):
    monkeypatch.setattr(batch_memory, "available_memory", lambda _: 2 * 10**9)
    sizes = ["--image-size", "227", "--dataset", "digits", "--subset-sizes", "1.0"]
    assert train(*sizes, *words, "--plan") == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: alexnet at ")
    assert "2.0 GB are available on cpu; about " + hint in line
    assert list(workplace.iterdir()) == []
    fitting = int(line.split(f"{hint} ")[1].split()[0])
    for share, fits in ((0.97, True), (1.03, False)):
        recipe = parse_train([*sizes, *words, hint, str(int(share * fitting))]).recipe
        images = min(recipe.batch_size, 1293)
        with contextlib.nullcontext() if fits else pytest.raises(InputError, match="about"):
            check_training_memory(recipe, 10, images, 144, torch.device("cpu"), "auto")


@pytest.mark.slow
def test_batches_of_evaluation_that_do_not_fit_into_memory_are_refused(
    study, workplace, capsys, monkeypatch
):
    shutil.copytree(study, workplace, dirs_exist_ok=True)
    shutil.rmtree(workplace / "results")
    monkeypatch.setattr(batch_memory, "available_memory", lambda _: 3 * 10**6)
    assert evaluate() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: alexnet-small at 32 pixels needs more than 0.0 GB of memory")
    assert [path for path in workplace.rglob("results/*/*") if path.name != "lock"] == []
    fitting = int(line.split("about --batch-size ")[1].split()[0])
    assert evaluate("--batch-size", fitting) == 0
    assert evaluate("--batch-size", fitting + 1) == 2


def test_a_worker_refuses_what_does_not_fit_into_its_memory(workplace, monkeypatch):
    flags, directory = TrainFlags(), StudyDirectory(workplace / "s")
    recipe = flags.recipe.replace(dataset="digits", model="alexnet-small", image_size=32)
    data = open_data(recipe, flags.machine)
    planned = plan_run(Run(recipe=recipe, subset_size=100, seed=1), data, directory.path)
    monkeypatch.setattr(batch_memory, "available_memory", lambda _: 3 * 10**6)
    reason = Task.of(planned, flags.machine)(data)
    assert reason.startswith("failed: alexnet-small at 32 pixels needs more than 0.0 GB of memory")
    assert not planned.directory.path.exists()


def test_the_memory_of_a_container_bounds_what_is_available():
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < devices.available_memory(torch.device("cpu")) < 2 * total


@pytest.mark.parametrize("words", [[], ["--experiment-id", "gone"]])
def test_eval_without_a_study_says_what_to_run(workplace, capsys, words):
    assert evaluate(*words) == 2
    assert "run train.py first" in capsys.readouterr().err
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("content", ["{}", "[]", "", '{"created": "9999", "recipe": 3}'])
def test_one_damaged_study_does_not_stop_commands_that_name_none(study, workplace, capsys, content):
    shutil.copytree(study / "checkpoints", workplace / "checkpoints")
    shutil.copytree(study / "cache", workplace / "cache")
    (workplace / "checkpoints" / "bad").mkdir()
    (workplace / "checkpoints" / "bad" / "study.json").write_text(content)
    for command in (lambda: train("--resume"), lambda: train("--status")):
        assert command() == 0
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("warning: checkpoints/bad/study.json")
        assert line.endswith("; this study is left out")
    assert train("--resume", "bad") == 2
    assert capsys.readouterr().err.startswith("error: checkpoints/bad/study.json")
    (workplace / "checkpoints" / "s" / "study.json").write_text("{}")
    assert train("--status") == 2
    assert "no whole study in checkpoints" in capsys.readouterr().err


@pytest.mark.fault(18)
def test_a_directory_of_another_config_names_field_and_values(workplace, capsys):
    words = [*QUICK, "--epochs", "1", "--experiment-id", "s", "--subset-sizes", "0.25"]
    assert train(*words) == 0
    before = {p: p.read_bytes() for p in workplace.rglob("*") if p.is_file()}
    for name in ("--experiment-id", "--resume"):
        assert train(*QUICK, "--epochs", "2", name, "s", "--subset-sizes", "0.25") == 2
        assert "epochs: 1 stored, 2 requested" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in workplace.rglob("*") if p.is_file()} == before


def test_other_data_under_the_same_name_are_refused(workplace, capsys):
    words = [*QUICK, "--epochs", "1", "--experiment-id", "s", "--subset-sizes", "0.25"]
    assert train(*words) == 0
    path = workplace / "checkpoints" / "s" / "0.25" / "seed-42" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data_sha256": "other"}))
    assert evaluate() == 2
    assert "data_sha256: 'other' stored" in capsys.readouterr().err


@pytest.mark.fault(15)
def test_a_file_in_place_of_a_folder_is_named(workplace, capsys):
    (workplace / "file").write_text("")
    for flag in ("--checkpoint-dir", "--cache-dir", "--results-dir"):
        assert train(*DIGITS, "--subset-sizes", "0.25", flag, workplace / "file") == 2
        assert str(workplace / "file") in capsys.readouterr().err


@pytest.mark.fault(16)
def test_a_folder_of_studies_whose_name_is_not_utf_8_is_refused(workplace, capsys):
    folder = workplace / "c\udcff"
    assert train(*DIGITS, "--checkpoint-dir", folder) == 2
    assert evaluate("--checkpoint-dir", folder, "--experiment-id", "s") == 2
    assert capsys.readouterr().err.count("not a path in UTF-8; use another --checkpoint-dir\n") == 2
    assert list(workplace.iterdir()) == []


@pytest.mark.fault(16)
def test_an_output_path_with_spaces_and_accents_works(workplace):
    where = workplace / "mes résultats"
    words = [*QUICK, "--epochs", "1", "--subset-sizes", "0.25", "--checkpoint-dir", where]
    assert train(*words) == 0
    assert evaluate("--checkpoint-dir", where, "--results-dir", where) == 0


@pytest.mark.slow  # it waits for most of 30 seconds
@pytest.mark.fault(43)
def test_a_silent_hub_is_given_up(tmp_path):
    """A server that accepts and never answers: the command ends within 30 seconds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        environment = {
            "HF_ENDPOINT": f"http://127.0.0.1:{port}",
            "HF_HOME": str(tmp_path),
            "PATH": "/usr/bin",
        }
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, ROOT / "train.py", "--list"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 2
    assert time.monotonic() - started < 30
    assert "the hub does not answer" in done.stderr
    assert "--dataset digits" in done.stderr
    assert done.stderr.count("\n") == 1
