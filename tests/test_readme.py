"""What README.md says can be typed, and what it names is there."""

import re
import shlex

import pytest

from src.flags import EvalFlags, parse, parse_train
from tests.conftest import ROOT

TEXT = (ROOT / "README.md").read_text()
LINES = TEXT.replace("\\\n", " ").splitlines()
COMMANDS = sorted({line.split(" #")[0].strip() for line in LINES if line.startswith("    python ")})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    _, script, *words = shlex.split(command)
    if "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            parse_train(words)
    elif script == "train.py":
        parse_train(words)
    else:
        assert script == "eval.py"
        parse(EvalFlags, words, EvalFlags())


def test_opens_with_the_two_commands_of_the_makefile():
    first = [line.split()[:2] for line in LINES if line.startswith("    ")][:2]
    assert first == [["make", "study"], ["make", "test"]]
    makefile = (ROOT / "Makefile").read_text()
    assert "\nstudy:" in makefile
    assert "\ntest:" in makefile


def test_every_file_and_picture_that_is_named_is_there():
    tree = TEXT.split("## Where everything lies")[1].split("##")[0]
    named = re.findall(r"(?<![\w/<>])[\w.]+(?:\.\w+|/(?![<\w]))", tree)
    named += re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(named) > 10
    for name in named:
        assert (ROOT / name).exists(), name
