"""The scripts at the top run the code of their own clone, installed or not, from anywhere."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

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
