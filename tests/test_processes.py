"""Several processes train what one would: the same images, losses and answers."""

import json
import os
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from bench.measure import alternate
from tests.conftest import DIGITS, inside
from tests.faults.victims import Victim, start_server, team

TINY = [
    *DIGITS, "--epochs", "2", "--batch-size", "100", "--learning-rate", "0.002", "--momentum", "0",
    "--subset-sizes", "399", "--seeds", "1", "--experiment-id", "s", "--precision", "fp32",
    "--dropout", "0",
]  # fmt: skip
RUN = "checkpoints/s/399/seed-1"
pytestmark = pytest.mark.slow


def ended(victims):
    codes = [victim.end() for victim in victims]
    assert set(codes) == {0}, "\n".join(victim.text for victim in victims)
    return victims


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process makes of a run of 8 steps; the cache to use again."""
    start_server()
    with inside(tmp_path_factory.mktemp("alone")) as folder:
        ended([Victim("tests.faults.actors:train_and_keep_steps", TINY)])
        ended([Victim("tests.faults.actors:keep_logits", [30])])
    return folder


@pytest.fixture(scope="module")
def together(alone, tmp_path_factory):
    """What two processes make of the same."""
    with inside(tmp_path_factory.mktemp("together")) as folder:
        (folder / "cache").symlink_to(alone / "cache")
        first, second = ended(team("tests.faults.actors:train_and_keep_steps", TINY))
        assert "1 of 1 runs complete" in first.text
        assert second.text == ""
    return folder


def steps(path, kind):
    with np.load(path) as file:
        return [file[name] for name in file.files if name.startswith(kind)]


@pytest.mark.fault(59)
def test_two_processes_see_the_same_images_in_the_same_order(alone, together):
    for kind in ("pixels", "labels"):
        whole = steps(alone / "steps-alone.npz", kind)
        shares = zip(*(steps(together / f"steps-{i}.npz", kind) for i in (0, 1)), strict=True)
        for batch, share in zip(whole, shares, strict=True):
            assert abs(len(share[0]) - len(share[1])) <= 1
            np.testing.assert_array_equal(batch, np.concatenate(share))
    assert len(whole) == 8


@pytest.mark.fault(59)
def test_the_loss_of_two_processes_is_that_of_one_at_every_step(alone, together):
    losses = []
    for path in (alone / "steps-alone.npz", *(together / f"steps-{i}.npz" for i in (0, 1))):
        sums = np.array(steps(path, "sums")).reshape(2, 4, 3)  # (epochs, steps, kinds)
        counts = np.array(steps(path, "n-")).reshape(2, 4)
        losses.append(np.diff(sums[..., 0], axis=1, prepend=0) / counts)
    np.testing.assert_array_equal(losses[1], losses[2])
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=1e-5)
    assert losses[0][1].mean() < losses[0][0].mean() - 0.02


def test_but_for_rounding_batch_normalisation_is_that_of_the_whole_batch(workplace):
    """In float64, three steps from random images; float32 amplifies its rounding (LOG.md)."""
    ended([Victim("tests.faults.actors:keep_double", ["alexnet-small"])])
    ended(team("tests.faults.actors:keep_double", ["alexnet-small"]))
    alone, first, second = (torch.load(f"double-{name}.pt") for name in ("alone", "0", "1"))
    for name, value in alone.items():
        torch.testing.assert_close(first[name], value, rtol=1e-9, atol=1e-12)
        assert torch.equal(first[name], second[name])


@pytest.mark.fault(59)
def test_two_processes_measure_what_one_does(alone, together):
    times = ["seconds", "images_per_second"]
    one, two = (pd.read_csv(f / RUN / "metrics.csv").drop(columns=times) for f in (alone, together))
    pd.testing.assert_frame_equal(one, two, rtol=0, atol=1e-5)
    one, two = (load_file(f / RUN / "best.safetensors") for f in (alone, together))
    for name, weight in one.items():
        torch.testing.assert_close(weight, two[name], rtol=1e-3, atol=1e-4)


def test_only_the_first_process_writes(alone, together):
    one, two = (
        sorted(p.name for p in (f / RUN).iterdir() if not p.name.startswith("events"))
        for f in (alone, together)
    )
    assert one == two
    assert len(list((together / RUN).glob("events*"))) == 1
    assert json.loads((together / RUN / "environment.json").read_text())["processes"] == 2


@pytest.mark.parametrize(("batch", "size"), [(30, 2), (30, 3), (1000, 2)])
def test_equal_weights_answer_with_equal_bits(alone, workplace, batch, size):
    """Five batches in turns, and one batch that leaves a process without any."""
    (workplace / "cache").symlink_to(alone / "cache")
    ended(team("tests.faults.actors:keep_logits", [batch], size))
    ended([Victim("tests.faults.actors:keep_logits", [batch])])
    logits, labels = torch.load("logits-alone.pt")
    for i in range(size):
        found = torch.load(f"logits-{i}.pt")
        assert torch.equal(found[0].view(torch.int32), logits.view(torch.int32))
        assert torch.equal(found[1], labels)


def test_processes_that_time_steps_make_the_same_number_of_them():
    """One that began later would go on alone, and wait for the other for ten minutes."""
    start_server()
    ended(team("tests.faults.actors:time_steps", patience=20))


def test_what_processes_cannot_share_is_refused(workplace, alone):
    (workplace / "cache").symlink_to(alone / "cache")
    for words in (["--batch-size", "1"], ["--batch-size", "1", "--plan"]):
        first, second = team("dataworth.commands.train:train", [*TINY, *words], patience=20)
        assert (first.end(), second.end()) == (2, 2)
        assert "error: 399/seed-1: 2 processes cannot share a batch of 1 images" in first.text
        assert "error:" not in second.text
    first, second = team("dataworth.commands.eval:evaluate")
    assert (first.end(), second.end()) == (2, 2)
    assert "eval.py works in one process; start it without torchrun" in first.text


def test_a_benchmark_ends_with_its_process():
    with pytest.raises(RuntimeError, match="one: its process has failed"):
        alternate({"one": partial(os._exit, 3)}, rounds=1, units=1)
