"""One study, killed again and again, its snapshots damaged in between: the same bits."""

import random
import signal
from pathlib import Path

import pytest

from tests.conftest import DIGITS, inside
from tests.faults.conftest import TINY, bits
from tests.faults.test_store import flip
from tests.faults.victims import STEP, Victim

LONG = [
    *DIGITS, "--epochs", "4", "--batch-size", "32", "--learning-rate", "0.02",
    "--subset-sizes", "1.0", "0.5", "0.25", "--seeds", "1", "2", "--experiment-id", "s",
]  # fmt: skip


def torment(words, kills, harms, rng, most_steps):
    """Kill or terminate a study ``kills`` times, flip a bit ``harms`` times, let it finish."""
    damaged = []
    for kill in range(kills):
        due = len(damaged) <= harms * kill // kills
        saved_every = "0" if due else "0.05"  # seconds; 0 is every step, so one can be damaged
        victim = Victim(
            "dataworth.commands.train:train", [*words, "--checkpoint-seconds", saved_every], [STEP]
        )
        number = (signal.SIGKILL, signal.SIGTERM)[kill % 2]
        assert victim.until("step", rng.randrange(2, most_steps)), "ended before it was struck"
        code = victim.strike(number)
        assert code == (143 if number == signal.SIGTERM else -signal.SIGKILL)
        if due and (found := newest_snapshot()):
            flip(found)
            damaged.append(found)
    last = Victim("dataworth.commands.train:train", words)
    assert last.end() == 0, last.text
    assert len(list(Path("checkpoints").rglob("last.pt.bad"))) == len(damaged) == harms


def newest_snapshot():
    found = Path("checkpoints").rglob("last.pt")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


@pytest.mark.fault(1, 11)
def test_killed_three_times_and_damaged_once_the_bits_are_the_same(place, tiny):
    torment(TINY, kills=3, harms=1, rng=random.Random(5), most_steps=9)
    assert bits(place) == bits(tiny)


@pytest.mark.slow
@pytest.mark.fault(1, 11)
def test_killed_twenty_four_times_and_damaged_twice_the_bits_are_the_same(tmp_path_factory):
    with inside(tmp_path_factory.mktemp("calm")) as calm:
        undisturbed = Victim("dataworth.commands.train:train", LONG)
        assert undisturbed.end() == 0, undisturbed.text
    with inside(tmp_path_factory.mktemp("tormented")) as tormented:
        torment(LONG, kills=24, harms=2, rng=random.Random(11), most_steps=40)
    assert len(bits(calm)) == 6
    assert bits(tormented) == bits(calm)
