"""Launchers: what each refuses, what the others see of its runs, in which order runs are made."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dataworth.commands import train as train_command
from dataworth.commands.parsing import parse_train
from dataworth.commands.planning import plan_run, plan_study
from dataworth.config import Machine, Recipe, Study
from dataworth.data.decoding import num_cores
from dataworth.data.prepare import load_dataset, open_data
from dataworth.errors import InputError
from dataworth.launching import split as split_module
from dataworth.launching.local import run_threads
from dataworth.launching.ray_cluster import num_slots
from dataworth.launching.registry import CHECKS, LAUNCHERS, SLOTS
from dataworth.launching.remote import run_machine
from dataworth.launching.slurm import _settings, slurm_slots
from dataworth.launching.split import Estimate, Split, choose_split, keep_split, makespan
from dataworth.storage import locks
from dataworth.storage.locks import lock_folder, lock_holder
from dataworth.storage.study_directory import StudyDirectory
from dataworth.training.throughput import Throughput
from dataworth.variants import combinations
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


def test_status_names_every_planned_run_without_torch(study, workplace):
    words = ["--status", "--checkpoint-dir", study / "checkpoints"]
    code = (
        "import sys; from dataworth.commands.train import train\ntry: train(sys.argv[1:])\n"
        "finally: print({'torch', 'pandas', 'scipy'} & {*sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr == "set()\n"  # each of these takes as long to import as all the rest
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
        while time.monotonic() - began < 1:
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


def test_a_lock_that_its_holder_removes_meanwhile_is_taken_anew(workplace, monkeypatch):
    lock, removed = locks._lock, []

    def lock_late(descriptor, path, wait):
        lock(descriptor, path, wait)
        if not removed:
            removed.append(path.unlink())

    monkeypatch.setattr(locks, "_lock", lock_late)
    monkeypatch.setattr(Path, "exists", lambda _: True)  # it still was, a moment ago
    with lock_folder(workplace):
        assert removed
        assert (workplace / "lock").is_file()


def test_slurm_settings_are_what_was_typed():
    """A YAML parser makes 5,400 minutes of 1:30:00, account 83 of 0123, and false of no."""
    texts = {
        "slurm_time": "1:30:00", "slurm_account": "0123", "slurm_qos": "no", "slurm_mem": "1_0",
        "slurm_constraint": "[a|b]", "slurm_nodelist": "n[1-3]", "slurm_comment": "a: b: c",
        "slurm_exclude": "%x", "name": "2024-01-01",
    }  # fmt: skip
    words = tuple(f"{key}={value}" for key, value in texts.items())
    assert _settings(Machine(slurm=words)) == texts
    words = (
        "timeout_min=90", "mem_gb=1.5", "slurm_use_srun=false", "slurm_gpus_per_node=null",
        "slurm_qos=", "slurm_setup=[module load cuda, hostname]",
        "slurm_additional_parameters={gres: a, n: 1}",
    )  # fmt: skip
    assert _settings(Machine(slurm=words)) == {
        "timeout_min": 90,
        "mem_gb": 1.5,
        "slurm_use_srun": False,
        "slurm_gpus_per_node": None,
        "slurm_qos": None,
        "slurm_setup": ["module load cuda", "hostname"],
        "slurm_additional_parameters": {"gres": "a", "n": 1},
    }
    with pytest.raises(InputError, match=r"--slurm slurm_setup: .* is no list or mapping"):
        _settings(Machine(slurm=("slurm_setup=[a",)))
    with pytest.raises(InputError, match="slurm_array_parallelism=many: not a number of tasks"):
        slurm_slots(Machine(slurm=("slurm_array_parallelism=many",)))


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


class MadeUp(Estimate):
    """An estimate whose runs train with made-up images per second."""

    def of_run(self, run, split):
        rate = self.pool(split)
        return Throughput(rate, 1e9)


def split_of(rate, sizes, folder, measuring=0.0, **more):
    """The split that is chosen for runs of these sizes where ``rate`` is measured, on 8 cores."""
    machine = Machine(device="cpu", **more)
    recipe = Recipe(dataset="digits", model="alexnet-small", image_size=32, epochs=10**4)
    runs = Study(subset_sizes=sizes).runs(recipe)
    data = load_dataset(recipe)
    return choose_split(MadeUp(runs, machine, data, rate, cores=8, measuring=measuring), folder)


IDLE = lambda split: 1000 * split.threads**0.7  # noqa: E731
BUSY = lambda split: 1000 / split.threads / split.jobs**0.5  # noqa: E731


@pytest.mark.parametrize(
    ("rate", "sizes", "split"),
    [
        (IDLE, (100, 101, 102, 103, 104, 105, 106, 107), (8, 1)),
        (IDLE, (1.0, 0.5, 0.25, 0.125, 0.0625), (2, 4)),  # the largest run takes half of all
        (IDLE, (1.0,), (1, 8)),
        (BUSY, (1.0,), (1, 1)),
        (BUSY, (100, 101, 102), (3, 1)),
        (lambda split: 1000 if split.jobs == 1 else 1000 / split.jobs, (100, 101), (1, 8)),
    ],
)
def test_the_split_is_that_with_which_the_study_ends_soonest(
    workplace, monkeypatch, rate, sizes, split
):
    monkeypatch.setattr(split_module, "available_bytes", lambda: 10**15)
    assert split_of(rate, sizes, workplace) == Split(*split)


def test_no_more_runs_at_a_time_than_memory_allows(workplace, monkeypatch):
    monkeypatch.setattr(split_module, "private_bytes", lambda: 10**9)
    monkeypatch.setattr(split_module, "available_bytes", lambda: 3 * 10**9)
    sizes = (100, 101, 102, 103, 104, 105, 106, 107)
    assert split_of(IDLE, sizes, workplace).jobs <= 3
    assert split_of(IDLE, sizes, workplace, cpus_per_run=2) == Split(3, 2)


def test_given_jobs_share_the_threads_and_are_not_measured(workplace):
    sizes, never = (100, 101, 102), None
    assert split_of(never, sizes, workplace, jobs=2) == Split(2, 4)
    assert split_of(never, sizes, workplace, jobs=8) == Split(3, 1)
    assert split_of(never, sizes, workplace, jobs=16) == Split(3, 1)
    assert split_of(never, sizes, workplace, jobs=2, cpus_per_run=3) == Split(2, 3)
    assert split_of(never, sizes, workplace, jobs=1) == Split(1, 8)


def test_a_short_study_is_trained_one_run_after_another(workplace):
    for rate in (1.2e5, 1e6):  # 17 and 2 seconds
        assert split_of(lambda split, rate=rate: rate * split.jobs, (100, 101), workplace) == Split(
            1, 8
        )
    busy = lambda split: 1.2e5 / split.threads  # noqa: E731
    assert split_of(busy, (100, 101), workplace) == Split(2, 1)  # no longer short
    assert split_of(lambda split: 8 * busy(split), (100, 101), workplace) == Split(1, 1)


def test_a_measurement_that_takes_a_tenth_of_the_study_is_not_made(workplace):
    """Eight runs take 102 s, or 10 s side by side; three other splits would be measured."""
    sizes = (100, 101, 102, 103, 104, 105, 106, 107)
    rate = lambda split: 8e4 * split.jobs**0.1  # noqa: E731
    assert split_of(rate, sizes, workplace, measuring=0.1).jobs == 8
    assert split_of(rate, sizes, workplace, measuring=10.0) == Split(1, 8)


def test_a_measured_split_is_kept_unless_the_file_is_damaged(workplace):
    stored = {"jobs": 2, "threads": 3, "cores": 8, "recipes": ["alexnet-small, 32 px, batch 128"]}
    sizes, measured = (100, 101, 102, 103), Split(4, 2)
    file = workplace / "jobs.json"
    file.write_text(json.dumps(stored))
    assert split_of(None, sizes, workplace) == Split(2, 3)
    assert split_of(None, (100,), workplace) == Split(1, 3)
    assert split_of(IDLE, sizes, workplace, cpus_per_run=3) == Split(2, 3)
    assert split_of(IDLE, sizes, workplace, cpus_per_run=4) == Split(2, 4)  # measured anew
    for damage in ({"jobs": 10**9}, {"threads": 0}, {"jobs": "2"}, {"cores": 4}, {"recipes": []}):
        file.write_text(json.dumps({**stored, **damage}))
        assert split_of(IDLE, sizes, workplace) == measured
    file.write_text("[")
    assert split_of(IDLE, sizes, workplace) == measured


class Hungry(Estimate):
    """An estimate of two recipes, one of which fits into memory once only."""

    def _measure(self, split, recipe, seconds):
        if split.jobs > 1 and recipe.model == "resnet18":
            raise InputError("--jobs: a process that measures its speed was killed by SIGKILL")
        return Throughput(IDLE(split), 1e9)


def test_a_split_that_one_of_two_recipes_does_not_fit_is_not_estimated(workplace):
    recipe = Recipe(dataset="digits", model="alexnet-small", image_size=32, epochs=10**4)
    variants = combinations({"model": ["alexnet-small", "resnet18"]})
    runs = Study(subset_sizes=(100, 101), variants=variants).runs(recipe)
    estimate = Hungry(runs, Machine(device="cpu"), load_dataset(recipe), None, cores=8)
    split = choose_split(estimate, workplace)
    assert split == Split(1, 8)
    keep_split(split, estimate, workplace)
    assert estimate.measured() == [Split(1, 8)]


def test_a_run_in_progress_keeps_its_number_of_threads(workplace):
    recipe = Recipe(dataset="digits", model="alexnet-small", image_size=32)
    (run,) = Study(subset_sizes=(0.25,)).runs(recipe)
    planned = plan_run(run, open_data(recipe, Machine()), workplace / "s")
    folder, threads = planned.directory.path, num_cores() + 1
    folder.mkdir(parents=True)
    assert run_threads(planned, Machine(), threads) == threads
    (folder / "environment.json").write_text('{"threads": 1}')
    assert run_threads(planned, Machine(), threads) == threads  # not begun: no snapshot
    (folder / "last.pt").write_bytes(b"")
    assert run_threads(planned, Machine(device="cpu"), threads) == 1
    assert run_threads(planned, Machine(device="cpu", cpus_per_run=2), 2) == 2
    for damage in (f'{{"threads": {num_cores() + 1}}}', '{"threads": "1"}', "[]", "{"):
        (folder / "environment.json").write_text(damage)
        assert run_threads(planned, Machine(device="cpu"), threads) == threads


def test_jobs_are_for_one_process_on_this_machine(workplace, capsys, monkeypatch):
    for launcher in ("ray", "slurm"):
        assert train(*TWO, "--jobs", 2, "--launcher", launcher, "--plan") == 2
        assert f"error: --jobs 2 --launcher {launcher}: only the local" in capsys.readouterr().err
    assert train(*TWO, "--jobs", 0) == 2
    assert "error: --jobs: 0 is not a number of runs" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    flags = parse_train([*map(str, TWO), "--jobs", "2"])
    with pytest.raises(InputError, match="--jobs 2 works in one process; start it without torchr"):
        plan_study(flags, StudyDirectory(workplace / "s"))


def test_a_server_for_workers_is_started_only_where_they_may_train(study, monkeypatch):
    monkeypatch.setattr("dataworth.data.decoding.num_cores", lambda: 4)
    monkeypatch.setattr(train_command, "GPU_FILES", ())

    def may_use_workers(name, *words):
        flags = parse_train([*STUDY, *words])
        directory = StudyDirectory.read(study / "checkpoints" / name)
        return train_command._may_use_workers(flags, directory)

    assert may_use_workers("new")
    assert not may_use_workers("s"), "all its runs are complete"
    assert not may_use_workers("new", "--jobs", "1")
    assert not may_use_workers("new", "--launcher", "slurm")
    assert not may_use_workers("new", "--subset-sizes", "1.0", "--seeds", "1")
    monkeypatch.setattr(train_command, "GPU_FILES", (__file__,))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not may_use_workers("new")
    assert may_use_workers("new", "--jobs", "2")
    assert may_use_workers("new", "--device", "cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert may_use_workers("new")


@pytest.mark.slow
def test_runs_side_by_side_have_the_bits_of_runs_alone_and_the_hint_is_said_once(workplace, capsys):
    slow = [*TWO, "--learning-rate", "1e-9"]
    assert train(*slow, "--jobs", 1) == 0
    alone = digests(workplace / "checkpoints" / "s")
    shutil.rmtree(workplace / "checkpoints")
    capsys.readouterr()
    assert train(*slow, "--jobs", 2) == 0
    assert digests(workplace / "checkpoints" / "s") == alone
    shown = capsys.readouterr()
    assert "runs: 2 at a time, 1 thread each\n" in shown.out
    assert all(f"run {i}/2  0.25/seed-{i}  epoch 3/3" in shown.out for i in (1, 2))
    assert shown.err.count("at chance after 3 epochs") == 2
    assert shown.err.count("if that lasts, try") == 1


def test_workers_are_forks_that_import_nothing_from_the_working_directory(workplace):
    (workplace / "wave.py").write_text("raise RuntimeError")
    (workplace / "lib").mkdir()
    (workplace / "lib/loaded.py").write_text(
        "import sys\n"
        "def loaded(_context, _report):\n"
        "    return {'wave', 'dataworth.config'} <= sys.modules.keys()\n"
    )
    (workplace / "lib/check.py").write_text(
        "from dataworth.launching.side_by_side import WorkerPool, start_server\n"
        "from loaded import loaded\n"
        "if __name__ == '__main__':\n"
        "    start_server('wave', 'dataworth.config')\n"
        "    pool = WorkerPool(None)\n"
        "    pool.start(2, num_threads=1)\n"
        "    print(pool.answers([loaded, loaded]))\n"
        "    pool.stop()\n"
    )
    environment = os.environ | {"PYTHONPATH": PATHS}
    done = subprocess.run(
        [sys.executable, "lib/check.py"], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "[True, True]\n", done.stderr


@pytest.mark.slow
def test_auto_measures_real_processes_and_a_second_command_keeps_the_split(
    workplace, capsys, monkeypatch
):
    for name in ("REPAYS", "SECONDS"):
        monkeypatch.setattr(split_module, name, 0.0)
    torch.set_num_threads(2)
    try:
        assert train(*TWO, "--plan") == 0
        assert re.search(r"local, (one|2) at a time.*: about", capsys.readouterr().out)
        assert train(*TWO) == 0
        assert torch.get_num_threads() == 2
        shown = capsys.readouterr().out
        stored = json.loads((workplace / "checkpoints/s/jobs.json").read_text())
        assert "(estimated minutes, runs x threads: 1 x 2 " in shown
        assert stored["estimated_minutes"].keys() == {"1 x 2", "2 x 1"}
        for path in workplace.glob("checkpoints/s/*/*/environment.json"):
            assert json.loads(path.read_text())["threads"] == stored["threads"]
        assert train(*TWO, "--seeds", "3", "4") == 0
        assert "estimated minutes" not in capsys.readouterr().out
    finally:
        torch.set_num_threads(1)
