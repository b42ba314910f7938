"""Processes that train together: one dies, falls silent, is asked to stop, or all end well."""

import os
import signal
import subprocess
import sys
import time

import pytest

from dataworth.storage.snapshots import load_snapshot
from tests.conftest import ROOT, inside
from tests.faults.conftest import FIRST, TINY, bits
from tests.faults.victims import STEP, team

EVERY_STEP = [*TINY, "--checkpoint-seconds", "0"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def pair(tiny, tmp_path_factory):
    """The study of two processes that nothing disturbs: not to be written to."""
    with inside(tmp_path_factory.mktemp("pair")) as folder:
        (folder / "cache").symlink_to(tiny / "cache")
        ended(team("dataworth.commands.train:train", TINY))
    return folder


def ended(victims):
    codes = [victim.end() for victim in victims]
    assert set(codes) == {0}, "\n".join(victim.text for victim in victims)
    return victims


@pytest.mark.fault(57)
@pytest.mark.parametrize("dies", [0, 1])
def test_a_killed_process_ends_the_others_and_the_same_bits_come_of_it(place, pair, dies):
    victims = team("dataworth.commands.train:train", EVERY_STEP, marks=[STEP])
    assert victims[dies].until("step", 7)
    assert victims[dies].strike() == -signal.SIGKILL
    began = time.monotonic()
    assert victims[1 - dies].end() == 2
    assert time.monotonic() - began < 60
    if dies == 1:
        assert "error: another process of this run ended" in victims[0].text
        assert "Traceback" not in victims[0].text
    assert load_snapshot(place / FIRST)["step"] + 4 * load_snapshot(place / FIRST)["epoch"] >= 5
    ended(team("dataworth.commands.train:train", TINY))
    assert bits(place) == bits(pair)


@pytest.mark.slow
@pytest.mark.fault(57)
def test_a_silent_process_is_given_up_after_the_time_out(place):
    first, second = team("dataworth.commands.train:train", TINY, marks=[STEP], patience=15)
    assert second.until("step", 7)
    os.kill(second.pid, signal.SIGSTOP)
    assert first.end() == 2
    assert "error: another process of this run ended, or was silent for 15 s" in first.text
    assert second.strike() == -signal.SIGKILL


@pytest.mark.fault(3, 57)
def test_processes_agree_on_the_step_at_which_they_stop(place, pair):
    victims = team("dataworth.commands.train:train", TINY, marks=[STEP])
    assert victims[1].until("step", 6)
    os.kill(victims[1].pid, signal.SIGTERM)  # torchrun sends it to all, at different moments
    assert [victim.end() for victim in victims] == [143, 143]
    assert "interrupted by SIGTERM; python train.py --resume goes on" in victims[0].text
    assert "Traceback" not in victims[0].text + victims[1].text
    assert not list(place.rglob("lock"))
    ended(team("dataworth.commands.train:train", TINY))
    assert bits(place) == bits(pair)


@pytest.mark.fault(57)
def test_another_number_of_processes_goes_on_with_the_same_run(place, stopped):
    before = load_snapshot(stopped)
    victims = ended(team("dataworth.commands.train:train", TINY))
    assert "2 of 2 runs complete" in victims[0].text
    assert before["epoch"] == 1
    assert (stopped / "metrics.csv").read_text().count("\n") == 4


@pytest.mark.fault(28)
def test_processes_agree_that_a_run_diverged(place):
    victims = team("dataworth.commands.train:train", [*TINY, "--learning-rate", "1e30"])
    assert [victim.end() for victim in victims] == [3, 3]
    assert "100/seed-1: diverged" in victims[0].text
    assert "200/seed-1: diverged" in victims[0].text


@pytest.mark.slow
@pytest.mark.fault(58)
def test_twenty_of_twenty_ends_are_clean(place):
    for i in range(20):
        words = [*TINY, "--epochs", "1", "--subset-sizes", "100", "--experiment-id", f"s{i}"]
        done = subprocess.run(
            [*TORCHRUN, ROOT / "train.py", *words], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "1 of 1 runs complete" in done.stdout


@pytest.mark.slow
@pytest.mark.fault(57)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_torchrun_hands_on_a_signal_and_the_run_is_saved(place, pair, number):
    words = [*TORCHRUN, ROOT / "train.py", *TINY]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("run 1/2"):
                process.send_signal(number)
    assert process.returncode != 0
    assert list(place.rglob("last.pt"))
    ended(team("dataworth.commands.train:train", TINY))
    assert bits(place) == bits(pair)
