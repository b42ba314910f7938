"""Processes that decode for a command: they end with it, and it hears when they are killed."""

import multiprocessing
import signal
import threading
import time

import datasets as hf
import psutil
import pytest

from dataworth.config import Machine
from dataworth.data import decoding, prepare
from dataworth.data.datasets import digits
from dataworth.errors import InputError
from tests.faults.actors import DIGITS
from tests.faults.victims import Victim


@pytest.fixture
def folder_of_digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    hf.disable_progress_bars()
    digits()["train"].to_dataset().to_parquet(folder / "train.parquet")
    return folder


@pytest.mark.fault(7)
def test_workers_end_with_their_parent(workplace, folder_of_digits):
    victim = Victim("tests.faults.actors:decode_in_processes", [folder_of_digits])
    _, *workers = victim.until("workers").split()
    assert victim.strike() == -signal.SIGKILL
    for worker in workers:
        if psutil.pid_exists(int(worker)):
            psutil.Process(int(worker)).wait(30)
    assert not list(workplace.glob("cache/*/*/manifest.json"))


@pytest.mark.fault(9)
def test_a_killed_worker_is_named_with_a_hint(workplace, folder_of_digits, monkeypatch):
    monkeypatch.setattr(decoding, "MIN_PER_WORKER", 100)

    def spawned():
        return [p for p in multiprocessing.active_children() if p.name.startswith("Spawn")]

    def kill():
        while len(spawned()) < 2 and not ended.is_set():  # Python's pool trips over one that grows
            time.sleep(0.1)
        time.sleep(0.1)
        while not ended.is_set():  # one worker alone might have had no work yet
            for worker in spawned():
                worker.kill()
            time.sleep(0.01)

    ended, killer = threading.Event(), threading.Thread(target=kill)
    killer.start()
    with pytest.raises(InputError, match="a decoding process was killed, most often for lack of"):
        prepare.open_data(DIGITS.replace(dataset=str(folder_of_digits)), Machine(workers=2))
    ended.set()
    killer.join()
