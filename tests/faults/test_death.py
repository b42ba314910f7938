"""Processes that are killed, asked to stop, or left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataworth.storage import files
from dataworth.storage.epoch_log import EpochRow, append_epoch
from dataworth.storage.run_directory import RunDirectory
from dataworth.storage.snapshots import load_snapshot
from tests.conftest import ROOT
from tests.faults.conftest import TINY, bits, finish
from tests.faults.victims import STEP, Victim

EVERY_STEP = [*TINY, "--checkpoint-seconds", "0"]
SYNC, REPLACE = "dataworth.storage.files:os.fsync", "pathlib:Path.replace"


@pytest.mark.fault(1)
@pytest.mark.parametrize("step", [2, 7, 30])
def test_killed_at_any_step_the_same_command_finishes_with_the_same_bits(place, tiny, step):
    victim = Victim("dataworth.commands.train:train", EVERY_STEP, [STEP])
    assert victim.until("step", step)
    assert victim.strike() == -signal.SIGKILL
    finish(place, tiny)


@pytest.mark.fault(2)
@pytest.mark.parametrize(
    ("function", "call"), [(SYNC, 11 + i) for i in range(6)] + [(REPLACE, 7 + i) for i in range(4)]
)
def test_killed_while_a_snapshot_is_written_one_is_whole(workplace, capsys, function, call):
    """The first two saves make 10 syncs and 6 renames; the third is struck at each of its calls."""
    marks = [(function, "held", ("hold", call))]
    victim = Victim("tests.faults.actors:save_three_times", [workplace], marks)
    assert victim.until("held")
    assert victim.strike() == -signal.SIGKILL
    assert "saved" not in victim.text
    files.remove_temporary_files(workplace)
    assert load_snapshot(workplace)["epoch"] in (2, 3)
    assert not list(workplace.glob(".*"))
    assert not list(workplace.glob("*.bad")), capsys.readouterr().err


@pytest.mark.fault(3, 6)
@pytest.mark.parametrize(("number", "step"), [(signal.SIGTERM, 3), (signal.SIGHUP, 16)])
def test_terminated_it_stops_after_the_step_and_goes_on_with_the_same_bits(
    place, tiny, number, step
):
    victim = Victim("dataworth.commands.train:train", TINY, [STEP])
    assert victim.until("step", step)
    assert victim.strike(number) == 128 + number
    assert "seed-1: interrupted" in victim.text
    assert f"interrupted by {number.name}; python train.py --resume goes on" in victim.text
    assert "Traceback" not in victim.text
    assert list(place.rglob("last.pt"))
    assert not list(place.rglob("lock"))
    finish(place, tiny)


@pytest.mark.fault(4)
def test_interrupted_once_it_saves_and_exits_130(place, tiny):
    victim = Victim("dataworth.commands.train:train", TINY, [STEP])
    assert victim.until("step", 4)
    assert victim.strike(signal.SIGINT) == 130
    finish(place, tiny)


@pytest.mark.fault(4)
def test_interrupted_twice_it_stops_at_once_and_the_older_snapshot_is_whole(place, tiny):
    marks = [(STEP[0], "held", ("hold", 3))]
    victim = Victim("dataworth.commands.train:train", EVERY_STEP, marks)
    assert victim.until("held")
    os.kill(victim.pid, signal.SIGINT)
    time.sleep(0.2)  # two signals at the same moment are one
    assert victim.strike(signal.SIGINT) == 130
    assert "Traceback" not in victim.text
    (path,) = place.rglob("last.pt")
    assert load_snapshot(path.parent)["step"] in (2, 3)
    finish(place, tiny)


@pytest.mark.fault(5, 45)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_ended_while_the_cache_is_built_it_is_built_anew(workplace, tiny, number, code):
    marks = [("dataworth.data.decoding:decode_square", "held", ("hold", 300))]
    victim = Victim("dataworth.commands.train:train", TINY, marks)
    assert victim.until("held")
    assert victim.strike(number) == code
    assert "Traceback" not in victim.text
    assert not list(workplace.glob("cache/*/*/manifest.json"))
    finish(workplace, tiny)
    assert not list(workplace.glob("cache/*/.*"))


@pytest.mark.fault(5)
def test_terminated_during_validation_it_goes_on_with_the_same_bits(place, tiny):
    marks = [("dataworth.training.trainer:predict", "held", ("hold", 2))]
    victim = Victim("dataworth.commands.train:train", TINY, marks)
    assert victim.until("held")
    assert victim.strike(signal.SIGTERM) == 143
    finish(place, tiny)


@pytest.mark.fault(5)
def test_terminated_during_evaluation_it_leaves_no_results_and_a_rerun_works(place, tiny):
    (place / "checkpoints").symlink_to(tiny / "checkpoints")
    marks = [("dataworth.evaluation.evaluator:predict", "held", ("hold", 3))]
    victim = Victim("dataworth.commands.eval:evaluate", (), marks)
    assert victim.until("held")
    assert victim.strike(signal.SIGTERM) == 143
    assert "interrupted by SIGTERM; python eval.py begins again" in victim.text
    assert not list(place.rglob("metrics.json"))
    again = Victim("dataworth.commands.eval:evaluate")
    assert again.end() == 0, again.text


@pytest.mark.fault(19)
def test_other_machine_settings_give_the_same_bits(stopped, place, tiny):
    again = Victim(
        "dataworth.commands.train:train", [*TINY, "--workers", "1", "--cache-dir", "elsewhere"]
    )
    assert again.end() == 0, again.text
    assert bits(place) == bits(tiny)
    recorded = json.loads((place / "checkpoints" / "s" / "study.json").read_text())["machine"]
    assert (recorded["workers"], recorded["cache_dir"]) == (1, "elsewhere")


@pytest.mark.fault(19)
def test_a_run_begun_on_another_kind_of_device_goes_on(stopped):
    directory = RunDirectory(stopped)
    snapshot = directory.load_last()
    directory.save_last({**snapshot, "random": snapshot["random"][..., :16].clone()})  # as on CUDA
    again = Victim("dataworth.commands.train:train", TINY)
    assert again.end() == 0, again.text


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    ("number", "module"),
    [
        (signal.SIGINT, "dataworth.signals"),
        (signal.SIGINT, "pydantic"),
        (signal.SIGTERM, "torch._C"),
        (signal.SIGINT, "torch.nn"),
    ],
)
def test_a_signal_during_an_import_ends_it_in_one_line(workplace, number, module):
    code = (
        "import os, runpy, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def tell(event, arguments):\n"
        f"    if event == 'import' and arguments[0] == '{module}':\n"
        "        os.write(1, b'importing\\n')\n"
        "        time.sleep(5)\n"
        "sys.addaudithook(tell)\n"
        "sys.argv = sys.argv[1:]\n"
        "sys.path[0] = os.path.dirname(sys.argv[0])\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    words = [sys.executable, "-c", code, ROOT / "train.py", *TINY]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "importing\n", process.stderr.read()
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert errors == f"interrupted by {number.name}\n"
    assert list(workplace.iterdir()) == []


@pytest.mark.fault(6)
def test_a_closed_pipe_does_not_end_the_training(place, tiny):
    victim = Victim("dataworth.commands.train:train", TINY)
    assert victim.until("digits:")
    victim.lines.close()
    victim.pipe.close()
    victim.process.join(60)
    assert victim.process.exitcode == 0
    assert bits(place) == bits(tiny)


@pytest.mark.fault(10)
def test_a_file_is_on_the_disk_before_it_is_visible_and_its_folder_before_it_counts(
    workplace, monkeypatch
):
    calls = []
    sync, replace = os.fsync, Path.replace

    def fsync(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        calls.append(("fsync", path.name if path.is_dir() else path.suffix))
        sync(descriptor)

    def renamed(self, target):
        calls.append(("replace", target.name))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    files.write_whole(workplace / "file", b"content")
    folder = workplace.name
    assert calls == [("fsync", ".tmp"), ("replace", "file"), ("fsync", folder)]


@pytest.mark.fault(10)
def test_rows_of_metrics_csv_are_on_the_disk_before_a_snapshot_counts_on_them(
    workplace, monkeypatch
):
    append_epoch(workplace, EpochRow(1, 2.0, 0.5, None, 2.0, 0.5, None, 0.01, 1.0, 100.0))
    synced, sync = [], os.fsync

    def fsync(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    RunDirectory(workplace).save_last({"epoch": 1})
    assert synced[0] == "metrics.csv"
    assert (workplace / "last.pt").exists()
