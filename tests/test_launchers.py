"""Launchers: what each refuses, what the others see of its runs, in which order runs are made."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataworth.commands.cost import makespan
from dataworth.commands.planning import plan_run
from dataworth.config import Machine, Recipe, Study
from dataworth.data.prepare import open_data
from dataworth.errors import InputError
from dataworth.launching.ray_cluster import num_slots
from dataworth.launching.registry import CHECKS, LAUNCHERS, SLOTS
from dataworth.launching.remote import run_machine
from dataworth.storage.locks import lock_folder, lock_holder
from dataworth.storage.study_directory import StudyDirectory
from tests.conftest import PATHS, QUICK, ROOT, STUDY, train
from tests.test_study import digests

TWO = [*QUICK, "--subset-sizes", "0.25", "--seeds", "1", "2", "--experiment-id", "s"]


def run_train(*words, **more):
    words = [sys.executable, ROOT / "train.py", *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, **more)


def test_every_launcher_is_in_the_help_and_has_the_same_form(capsys):
    assert get_args(Machine.model_fields["launcher"].annotation) == tuple(LAUNCHERS)
    assert CHECKS.keys() | SLOTS.keys() <= LAUNCHERS.keys()
    assert train("--help") == 0
    shown = capsys.readouterr().out
    for name, launcher in LAUNCHERS.items():
        assert name in re.search(r"--launcher \{([\w,]+)\}", shown)[1].split(",")
        assert list(launcher.__annotations__) == ["planned_runs", "machine", "data", "return"]
        assert launcher.__doc__


def test_local_trains_what_it_is_given(workplace):
    recipe = Recipe(dataset="digits", model="alexnet-small", image_size=32, epochs=1)
    runs = Study(subset_sizes=(0.25,), seeds=(1, 2)).runs(recipe)
    data = open_data(recipe, Machine())
    planned_runs = [plan_run(run, data, workplace / "s") for run in runs]
    assert LAUNCHERS["local"](planned_runs, Machine(), data) == {}
    assert all((workplace / "s" / run.path / "done").exists() for run in runs)


@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_a_missing_package_is_one_line_that_says_what_to_install(
    workplace, monkeypatch, capsys, name
):
    monkeypatch.setattr(f"{CHECKS[name].__module__}.find_spec", {}.get)
    assert train(*TWO, "--launcher", name) == 2
    assert capsys.readouterr().err == (
        f"error: --launcher {name}: first pip install 'dataworth[{name}]'\n"
    )
    assert list(workplace.iterdir()) == []


@pytest.mark.cluster
@pytest.mark.parametrize("address", ["10.0.0.5:6379", "head:6379", "[2001:db8::1]:6379", "x"])
def test_a_head_that_others_reach_needs_a_token(monkeypatch, address):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(InputError, match="can run code on it; set RAY_AUTH_MODE=token"):
        CHECKS["ray"](Machine(ray_address=address))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    CHECKS["ray"](Machine(ray_address=address))
    monkeypatch.delenv("RAY_AUTH_MODE")
    for local in ("127.0.0.1:6379", "localhost:6379", "[::1]:6379"):
        CHECKS["ray"](Machine(ray_address=local))
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match="can run code"):
        CHECKS["ray"](Machine(ray_address="auto"))


@pytest.mark.parametrize(
    ("gpus", "cpus", "nodes", "slots"),
    [
        (0.25, 1, [{"CPU": 8, "GPU": 1}], 4),
        (0.25, 3, [{"CPU": 8, "GPU": 1}], 2),
        (0.1, 1, [{"CPU": 16, "GPU": 1}], 10),
        (1, 1, [{"CPU": 8, "GPU": 2}, {"CPU": 8}, {"CPU": 1, "GPU": 4}], 3),
        (0, 2, [{"CPU": 5}, {"CPU": 1}], 2),
        (2, 1, [{"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 3}], 2),
        (1, 1, [{"CPU": 8}], 0),
        (0, 9, [{"CPU": 8}], 0),
        (2, 1, [{"CPU": 8, "GPU": 1}], 0),
    ],
)
def test_shares_of_nodes_are_counted_and_what_never_fits_is_refused(gpus, cpus, nodes, slots):
    machine = Machine(gpus_per_run=gpus, cpus_per_run=cpus)
    if slots:
        assert num_slots(machine, nodes) == slots
    else:
        with pytest.raises(InputError, match="no node can hold a run; nodes have: 8 CPUs"):
            num_slots(machine, nodes)


def test_a_run_gets_by_default_what_the_local_launcher_would_use():
    on_cpus = run_machine(Machine(), has_gpus=False, num_threads=7)
    assert (on_cpus.device, on_cpus.gpus_per_run, on_cpus.cpus_per_run) == ("cpu", 0, 7)
    on_gpus = run_machine(Machine(), has_gpus=True, num_threads=7)
    assert (on_gpus.device, on_gpus.gpus_per_run, on_gpus.cpus_per_run) == ("cuda", 1, 1)
    assert run_machine(Machine(device="cpu"), True, 7).gpus_per_run == 0
    assert on_cpus.cache_dir.is_absolute()
    with pytest.raises(InputError, match=r"--gpus-per-run 1.5: above 1, use a whole number"):
        run_machine(Machine(gpus_per_run=1.5), True, 7)


def test_finished_runs_need_no_cluster_and_diverged_ones_are_named(study, workplace):
    shutil.copytree(study, workplace, dirs_exist_ok=True)
    folder = workplace / "checkpoints" / "s"
    runs = StudyDirectory.read(folder).planned_runs()
    data = open_data(runs[0].recipe, Machine())
    planned_runs = [plan_run(run, data, folder) for run in runs]
    (folder / "0.5/seed-1/done").write_text("diverged\n")
    for launcher in LAUNCHERS.values():
        assert launcher(planned_runs, Machine(), data) == {"0.5/seed-1": "diverged"}


def test_order_is_smallest_first_or_largest_first(workplace, capsys):
    words = [*QUICK, "--subset-sizes", "100", "0.5", "300", "--budget", "epochs", "steps"]
    for order, sizes in (("smallest-first", ["100", "300", "0.5"]), ("largest-first", ["0.5"])):
        assert train(*words, "--list", "--order", order) == 0
        rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        found = [row[:2] for row in rows if row and row[0] in ("epochs", "steps")]
        assert [size for _, size in found[: len(sizes)]] == sizes
    assert found[:2] == [["epochs", "0.5"], ["steps", "0.5"]]


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.integers(1, 40))
def test_makespan_lies_between_its_bounds(seconds, slots):
    found = makespan(seconds, slots)
    assert found >= max(*seconds, sum(seconds) / slots) * (1 - 1e-9)
    assert found <= sum(seconds) / slots + max(seconds) * (1 + 1e-9)
    if slots == 1:
        assert found == pytest.approx(sum(seconds))


def test_plan_says_the_wall_time_of_the_launcher(workplace, capsys):
    assert train(*TWO, "--plan") == 0
    assert re.search(r"local, one at a time: about \d+\.\d minutes", capsys.readouterr().out)
    assert list(workplace.iterdir()) == []


@pytest.mark.cluster
def test_plan_says_the_wall_time_on_slurm(workplace, capsys):
    words = ["--launcher", "slurm", "--slurm", "slurm_array_parallelism=2"]
    assert train(*TWO, "--plan", *words) == 0
    out = capsys.readouterr().out
    one, all_of_it = (float(t) for t in re.findall(r"about (\d+\.\d) minutes", out))
    assert "slurm, 2 at a time" in out
    assert all_of_it <= one
    assert list(workplace.iterdir()) == []


def test_status_names_every_planned_run_without_torch_in_a_second(study, workplace):
    words = ["--status", "--checkpoint-dir", study / "checkpoints"]
    code = (
        "import sys, time; from dataworth.commands.train import train\ntry: train(sys.argv[1:])\n"
        "finally: print({'torch', 'pandas'} & {*sys.modules}, time.process_time(), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0
    heavy, seconds = done.stderr.split()
    assert heavy == "set()"
    assert float(seconds) < 1  # of a processor: waiting for a busy machine does not count
    _, header, *rows = done.stdout.splitlines()
    assert header.split() == ["run", "status", "epoch", "top-1", "top-5", "images/s"]
    assert len(rows) == 6
    assert all(row.split()[1:3] == ["complete", "3/3"] for row in rows)


def test_status_tells_planned_failed_diverged_and_interrupted_runs(study, workplace, capsys):
    shutil.copytree(study / "checkpoints", workplace / "checkpoints")
    runs = workplace / "checkpoints" / "s"
    (runs / "0.25/seed-1/done").write_text("diverged\n")
    for seed in (1, 2):
        (runs / f"0.5/seed-{seed}/done").unlink()
    (runs / "0.5/seed-1/last.pt").write_bytes(b"")
    (runs / "0.5/seed-2/error.txt").write_text("Traceback ...\nRuntimeError: out of luck\n")
    shutil.rmtree(runs / "1.0/seed-1")
    (runs / "1.0/seed-2/done").unlink()
    with (runs / "1.0/seed-2/metrics.csv").open("a") as file:
        file.write("4,0.1,0.")  # being written
    with lock_folder(runs / "1.0/seed-2"):
        assert train("--status", "--experiment-id", "s") == 0
        assert lock_holder(runs / "1.0/seed-2").startswith("process ")
    out = capsys.readouterr().out
    expected = {
        "0.25/seed-1": "diverged ", "0.25/seed-2": "complete ", "0.5/seed-1": "interrupted ",
        "0.5/seed-2": "failed: RuntimeError: out of luck ", "1.0/seed-1": "planned ",
        "1.0/seed-2": "running: process ",
    }  # fmt: skip
    for path, status in expected.items():
        assert re.search(rf"^{path} +{status}", out, re.MULTILINE), out
    assert re.search(r"^1.0/seed-1 +planned +0/3$", out, re.MULTILINE)
    assert re.search(r"^1.0/seed-2 +running.* 3/3 ", out, re.MULTILINE)


def test_status_without_a_study_is_one_line(workplace, capsys):
    assert train("--status") == 2
    assert "no study in checkpoints" in capsys.readouterr().err
    assert train("--status", "--experiment-id", "x") == 2
    assert "no study 'x'" in capsys.readouterr().err


def test_asking_for_the_lock_holder_never_keeps_another_process_out(workplace):
    (workplace / "lock").write_text("process 1 on elsewhere\n")
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from dataworth.storage.locks import lock_holder\n"
        "print('asking', flush=True)\n"
        "while True: lock_holder(Path(sys.argv[1])); time.sleep(1e-4)"
    )
    words, environment = [sys.executable, "-c", code, workplace], os.environ | {"PYTHONPATH": PATHS}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "asking\n"
        began = time.monotonic()
        while time.monotonic() - began < 3:
            with lock_folder(workplace):
                pass
        assert process.poll() is None, "it must have asked until the end"
        process.send_signal(signal.SIGKILL)


@pytest.mark.cluster
def test_slurm_settings_that_mean_nothing_are_one_line(workplace, capsys):
    for word, message in (("x", "write key=value"), ("nonsense=1", "need to be prefixed")):
        assert train(*TWO, "--launcher", "slurm", "--slurm", "cluster=local", word) == 2
        captured = capsys.readouterr().err
        assert message in captured
        assert captured.count("\n") == 1


@pytest.mark.cluster
def test_slurm_writes_no_logs_through_a_link(workplace, capsys):
    logs = workplace / "checkpoints/s/.slurm"
    logs.parent.mkdir(parents=True)
    logs.symlink_to(workplace / "elsewhere")
    words = ["--launcher", "slurm", "--slurm", "cluster=local", "--experiment-id", "s"]
    assert train(*TWO, *words) == 2
    assert "checkpoints/s/.slurm is a symbolic link and is not followed" in capsys.readouterr().err
    assert not (workplace / "elsewhere").exists()


@pytest.mark.cluster
def test_slurm_trains_the_same_bits_through_submitits_local_executor(study, workplace):
    words = [*STUDY, "--subset-sizes", "0.25", "--experiment-id", "s", "--launcher", "slurm"]
    done = run_train(*words, "--slurm", "cluster=local", "timeout_min=10")
    assert done.returncode == 0, done.stderr
    assert "run 2/2  0.25/seed-2  epoch 3/3" in done.stdout
    assert "2 of 2 runs complete" in done.stdout
    found = digests(workplace / "checkpoints" / "s")
    assert len(found) == 4
    assert found.items() <= digests(study / "checkpoints" / "s").items()
