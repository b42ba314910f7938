"""The scripts at the top run the code of their own clone, installed or not, from anywhere."""

import os
import subprocess
import sys

import pytest

from dataworth import console
from tests.conftest import PATHS, ROOT

SCRIPTS = ["train.py", "eval.py", "predict.py", "forecast.py", "app.py"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_clone_runs_its_own_code_from_any_directory(script, tmp_path):
    installed = tmp_path / "site" / "dataworth"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("raise ImportError('not the code of this clone')")
    environment = {**os.environ, "PYTHONPATH": str(installed.parent)}
    done = subprocess.run(
        [sys.executable, ROOT / script, "--help"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


BUFFERED = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
POINTS = "n,error\n100,0.9\n200,0.8\n400,0.7\n800,0.6\n"
FULL = "error: standard output: No space left on device"


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("words", "streams", "code", "message"),
    [
        ("forecast.py --help", "> /dev/full", 2, FULL),
        ("forecast.py points.csv", "> /dev/full", 2, FULL),
        ("forecast.py points.csv", ">&- 2>&- <&-", 0, ""),
        ("forecast.py no\udcff.csv", "2>&1 > out", 2, r"error: no\udcff.csv: No such file"),
        ("forecast.py no.csv", "2> /dev/full", 2, ""),
        ("train.py --print-config", "> /dev/full", 2, FULL),
    ],
)
def test_closed_and_full_streams_make_one_line_at_most(workplace, words, streams, code, message):
    (workplace / "points.csv").write_text(POINTS)
    done = subprocess.run(
        f"{sys.executable} {ROOT}/{words} {streams}",
        shell=True, capture_output=True, text=True, env=BUFFERED,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    lines = (done.stderr or done.stdout).splitlines()
    assert len(lines) == bool(message), lines
    assert "".join(lines).startswith(message)


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("streams", "code", "out", "err"),
    [("", 0, "caf\\udce9\n", ""), ("> /dev/full", 2, "", f"{FULL}; what follows is not shown\n")],
)
def test_what_libraries_print_is_escaped_and_not_lost_in_silence(streams, code, out, err):
    words = "from dataworth.commands.exit_codes import run_command as run"
    words += "; run(lambda: print('caf\\udce9') or 0, '')"
    done = subprocess.run(
        f'{sys.executable} -c "{words}" {streams}',
        shell=True, capture_output=True, text=True, env={**BUFFERED, "PYTHONPATH": PATHS},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)


def test_a_home_that_cannot_be_written_is_no_reason_for_words(workplace):
    (workplace / "points.csv").write_text(POINTS)
    environment = {**os.environ, "HOME": "/proc/nowhere"}
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, ROOT / "forecast.py", "points.csv", "--plot", "a.png"],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (workplace / "a.png").exists()


def test_a_reader_that_has_ended_is_noticed_with_nothing_left_to_flush(monkeypatch):
    """A print of a library that failed half-way: ``train.py --help | head``."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(console._State, "lost", None)
        assert console.flush_output() is None
        os.close(reader)
        assert isinstance(console.flush_output(), BrokenPipeError)
