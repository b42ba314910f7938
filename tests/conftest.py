"""One small study of the embedded digits, trained and evaluated once by the real commands."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

from hypothesis import settings

from dataworth.commands import eval as eval_command
from dataworth.commands import train as train_command

settings.register_profile("steady", deadline=None)  # a busy machine is no failure
settings.load_profile("steady")

ROOT = Path(__file__).parent.parent
PATHS = f"{ROOT / 'src'}{os.pathsep}{ROOT}"  # PYTHONPATH of processes that tests start
SHARED = ROOT.parent / "shared" / "data"
DIGITS = ["--dataset", "digits", "--model", "alexnet-small", "--image-size", "32"]
QUICK = [*DIGITS, "--epochs", "3", "--batch-size", "64", "--learning-rate", "0.02"]
STUDY = [*QUICK, "--subset-sizes", "1.0", "0.25", "0.5", "--seeds", "1", "2"]


@contextmanager
def inside(folder):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)


def command(function, *words):
    """Run a command in this process; return its exit code."""
    with pytest.raises(SystemExit) as stop:
        function([str(word) for word in words])
    return stop.value.code


def train(*words):
    return command(train_command.train, *words)


def evaluate(*words):
    return command(eval_command.evaluate, *words)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """The folder of a finished and evaluated study named ``s``: not to be written to."""
    with inside(tmp_path_factory.mktemp("study")) as folder:
        assert train(*STUDY, "--experiment-id", "s") == 0
        assert evaluate() == 0
    return folder


@pytest.fixture(scope="session")
def extended(study, tmp_path_factory):
    """A copy of the study after ``eval.py --full --conformal``: not to be written to."""
    folder = tmp_path_factory.mktemp("extended") / "copy"
    shutil.copytree(study, folder)
    with inside(folder):
        assert evaluate("--full", "--conformal", "--alpha", 0.1, 0.2) == 0
    return folder


def shared(name):
    """A folder of real images, or a skip where it is not at hand."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"{name} is not part of the project (its licence forbids copies)")
    return SHARED / name
