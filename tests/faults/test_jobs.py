"""Runs that train side by side: the command or one of its processes is killed or interrupted."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from safetensors.torch import load_file

from dataworth.launching import local as local_launcher
from dataworth.storage.snapshots import load_snapshot
from tests.conftest import PATHS, ROOT, train
from tests.faults import actors
from tests.faults.conftest import FIRST, TINY, bits, finish
from tests.faults.victims import Victim

TWO = [*TINY, "--jobs", "2", "--checkpoint-seconds", "0"]


def processes(place):
    """The processes that hold the locks of runs."""
    texts = [path.read_text() for path in place.glob("checkpoints/s/*/*/lock")]
    return [int(text.split()[1]) for text in texts if text]


def is_alive(process):
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, seconds=120):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.01)


@pytest.mark.fault(1, 7)
def test_a_killed_command_ends_its_processes_and_the_same_bits_come_of_it(place, tiny):
    environment = {**os.environ, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, ROOT / "train.py", *TWO]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, env=environment) as process:
        wait_until(
            lambda: len(processes(place)) == 2 and len(list(place.rglob("previous.pt"))) == 2
        )
        children = processes(place)
        assert process.pid not in children
        process.kill()
    wait_until(lambda: not any(map(is_alive, children)), seconds=5)
    assert process.returncode == -signal.SIGKILL
    finish(place, tiny)


@pytest.mark.fault(3, 4, 50)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_saves_every_run_and_is_said_once(place, tiny, number):
    environment = {**os.environ, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}
    heeded = partial(signal.signal, number, signal.SIG_DFL)  # background jobs ignore SIGINT
    with subprocess.Popen(
        [sys.executable, ROOT / "train.py", *TWO], start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, preexec_fn=heeded,  # noqa: PLW1509
    ) as process:  # fmt: skip
        wait_until(lambda: len(list(place.rglob("previous.pt"))) == 2)
        os.killpg(process.pid, number)
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, text
    num_saved = 2 - len(list(place.rglob("done")))  # on a busy machine one may have ended before
    assert text.count("seed-1: interrupted") == num_saved > 0
    assert text.count(f"interrupted by {number.name}") == 1
    assert "Traceback" not in text
    assert "\r" not in text
    assert len(list(place.rglob("last.pt"))) == num_saved
    assert not list(place.rglob("lock"))
    finish(place, tiny)


@pytest.mark.fault(9)
def test_a_killed_process_is_reported_and_its_run_resumed(place, tiny):
    victim = Victim("dataworth.commands.train:train", TWO)
    wait_until(lambda: len(list(place.rglob("previous.pt"))) == 2)
    os.kill(processes(place)[0], signal.SIGKILL)
    assert victim.end() == 0, victim.text
    assert "seed-1: its process was killed by SIGKILL; too little memory?" in victim.text
    assert "2 of 2 runs complete" in victim.text
    assert bits(place) == bits(tiny)


@pytest.mark.fault(8, 9)
def test_a_run_whose_processes_are_killed_twice_fails_and_the_others_go_on(
    place, monkeypatch, capsys
):
    monkeypatch.setattr(local_launcher, "Training", actors.TrainingUnlessSmall)
    assert train(*TWO) == 3
    shown = capsys.readouterr()
    assert "1 of 2 runs complete" in shown.out
    reason = "failed: its process was killed by SIGKILL and killed by SIGKILL"
    assert f"100/seed-1: {reason}" in shown.err
    assert reason in (place / FIRST / "error.txt").read_text()


@pytest.mark.fault(14)
def test_a_disk_that_is_full_leaves_the_snapshots_before(place, tiny):
    victim = Victim("dataworth.commands.train:train", TWO, file_limit=6_000_000)
    assert victim.end() == 3, victim.text
    assert victim.text.count("last.pt: File too large (writing 7,") >= 2
    assert "Traceback" not in victim.text
    assert load_snapshot(place / FIRST)["epoch"] == 0
    finish(place, tiny)


@pytest.mark.fault(6, 28, 50)
def test_variants_of_which_one_diverges_are_trained_into_a_closed_pipe(place, tiny):
    (place / "three.yaml").write_text(
        "variants: {calm: {learning_rate: 0.02}, wild: {learning_rate: 1.0e+30}, "
        "third: {model: resnet18}}\n"
    )
    victim = Victim("dataworth.commands.train:train", [*TWO, "--config", "three.yaml"])
    assert victim.until("digits:")
    victim.lines.close()
    victim.pipe.close()
    victim.process.join(120)
    assert victim.process.exitcode == 3
    study = place / "checkpoints" / "s"
    done = {path.parts[-4]: path.read_text() for path in study.glob("*/100/*/done")}
    assert done == {"calm": "complete\n", "wild": "diverged\n", "third": "complete\n"}
    alone = load_file(tiny / FIRST / "best.safetensors")  # its metadata name another recipe
    weights = load_file(study / "calm/100/seed-1/best.safetensors")
    assert alone.keys() == weights.keys()
    assert all(alone[key].numpy().tobytes() == weights[key].numpy().tobytes() for key in alone)
