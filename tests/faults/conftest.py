"""One tiny undisturbed study; the tests disturb others like it and compare."""

import hashlib
import re
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import DIGITS, built_once
from tests.faults.victims import STEP, Victim, start_server

TINY = [
    *DIGITS, "--epochs", "3", "--batch-size", "32", "--learning-rate", "0.02",
    "--subset-sizes", "200", "100", "--seeds", "1", "--experiment-id", "s",
]  # fmt: skip
FIRST = "checkpoints/s/100/seed-1"  # the run that is trained first, in 12 steps


@pytest.fixture(scope="session", autouse=True)
def server():
    start_server()


@pytest.fixture(scope="session")
def tiny(server, tmp_path_factory):
    """The folder of an undisturbed study, trained and evaluated: not to be written to."""

    def build():
        trained = Victim("dataworth.commands.train:train", TINY)
        assert trained.end() == 0, trained.text
        evaluated = Victim("dataworth.commands.eval:evaluate")
        assert evaluated.end() == 0, evaluated.text

    return built_once(tmp_path_factory, "tiny", build)


@pytest.fixture(scope="session")
def halted(tiny, tmp_path_factory):
    """A study stopped at step 7 of its first run, saved at every step: not to be written to."""

    def build():
        Path("cache").symlink_to(tiny / "cache")
        victim = Victim(
            "dataworth.commands.train:train", [*TINY, "--checkpoint-seconds", "0"], [STEP]
        )
        assert victim.until("step", 7)
        assert victim.strike(signal.SIGTERM) == 143

    return built_once(tmp_path_factory, "halted", build)


@pytest.fixture
def place(tiny, workplace):
    """An empty folder with the undisturbed study's cache at hand."""
    (workplace / "cache").symlink_to(tiny / "cache")
    return workplace


@pytest.fixture
def stopped(halted, place):
    """A copy of the study that was stopped; the directory of its first run."""
    shutil.copytree(halted / "checkpoints", place / "checkpoints")
    return place / FIRST


@pytest.fixture
def finished(tiny, place):
    """A copy of the undisturbed study, checkpoints only."""
    shutil.copytree(tiny / "checkpoints", place / "checkpoints", copy_function=shutil.copy2)
    return place


def bits(folder):
    """What must not change: weights, and metrics but for the times."""
    found = {}
    for path in sorted((folder / "checkpoints" / "s").rglob("best.safetensors")):
        rows = pd.read_csv(path.with_name("metrics.csv"))
        found[path.parent.relative_to(folder)] = (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            rows.drop(columns=["seconds", "images_per_second"]).to_csv(),
        )
    return found


def finish(place, tiny):
    """The same command ends the study with the same bits; return what it printed."""
    again = Victim("dataworth.commands.train:train", TINY)
    assert again.end() == 0, again.text
    assert "Traceback" not in again.text
    assert bits(place) == bits(tiny)
    left, whole = (
        {path.name for path in (folder / "checkpoints").rglob("*") if path.is_file()}
        for folder in (place, tiny)
    )
    assert {name for name in left ^ whole if not re.search(r"^events\.|\.bad$", name)} == set()
    return again.text
