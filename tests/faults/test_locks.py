"""Two commands at once: the locks of runs, caches and studies."""

import json
import os
import socket

import pytest

from dataworth.data import prepare
from dataworth.errors import HeldError
from dataworth.storage.locks import lock_folder
from tests.conftest import train
from tests.faults.conftest import FIRST, TINY, finish
from tests.faults.victims import STEP, Victim


@pytest.mark.fault(25, 26)
def test_a_run_is_trained_by_one_command_and_the_second_names_its_process(place, tiny):
    first = Victim("dataworth.commands.train:train", TINY, [(STEP[0], "held", ("hold", 3))])
    assert first.until("held")
    second = Victim("dataworth.commands.train:train", TINY)
    assert second.end() == 3
    holder = f"100/seed-1 is held by process {first.pid} on {socket.gethostname()}"
    assert holder in second.text
    assert "1 of 2 runs complete" in second.text
    third = Victim("dataworth.commands.train:train", TINY)
    assert third.end() == 2
    assert "error: nothing left to do here: " in third.text
    assert holder in third.text
    first.strike()
    assert (place / FIRST / "lock").exists()
    finish(place, tiny)


@pytest.mark.fault(26)
@pytest.mark.parametrize("text", ["process 999999 on elsewhere\n", "", "process {pid}"])
def test_the_lock_of_a_dead_process_is_taken_over(workplace, text):
    (workplace / "lock").write_text(text.format(pid=os.getpid()))
    with lock_folder(workplace):
        assert f"process {os.getpid()} on" in (workplace / "lock").read_text()
        with (
            pytest.raises(HeldError, match=f"held by process {os.getpid()}"),
            lock_folder(workplace),
        ):
            pass
    assert not (workplace / "lock").exists()


@pytest.mark.fault(27)
def test_two_commands_build_a_cache_once(workplace, tiny):
    marks = [("dataworth.data.decoding:decode_square", "decoded", "after")]
    first, second = (
        Victim("dataworth.commands.train:train", [*TINY, "--experiment-id", name], marks)
        for name in "st"
    )
    assert [first.end(), second.end()] == [0, 0]
    assert first.text.count("decoded") + second.text.count("decoded") == 1797
    finish(workplace, tiny)


@pytest.mark.fault(27, 45)
def test_a_command_that_waits_for_a_cache_builds_it_when_the_builder_dies(workplace, tiny):
    marks = [("dataworth.data.decoding:decode_square", "held", ("hold", 300))]
    first = Victim("dataworth.commands.train:train", TINY, marks)
    assert first.until("held")
    second = Victim("dataworth.commands.train:train", TINY)
    assert second.until(f"waiting for process {first.pid}")
    first.strike()
    assert second.end() == 0, second.text
    finish(workplace, tiny)


@pytest.mark.fault(25)
def test_a_study_that_another_command_began_meanwhile_is_not_changed(
    place, tiny, monkeypatch, capsys
):
    real = prepare.open_data

    def overtaken(recipe, machine):
        monkeypatch.setattr(prepare, "open_data", real)
        quicker = Victim("dataworth.commands.train:train", TINY)
        assert quicker.end() == 0, quicker.text
        return real(recipe, machine)

    monkeypatch.setattr(prepare, "open_data", overtaken)
    assert train(*TINY, "--learning-rate", "0.03") == 2
    assert "belongs to another study: learning_rate: 0.02 stored" in capsys.readouterr().err
    finish(place, tiny)


@pytest.mark.fault(25)
def test_commands_that_extend_one_study_at_a_time_are_all_recorded(place):
    victims = [
        Victim("dataworth.commands.train:train", [*TINY, "--subset-sizes", n])
        for n in (100, 150, 200)
    ]
    assert [victim.end() for victim in victims] == [0, 0, 0]
    study = json.loads((place / "checkpoints/s/study.json").read_text())
    assert sorted(request["subset_sizes"] for request in study["asked"]) == [[100], [150], [200]]
