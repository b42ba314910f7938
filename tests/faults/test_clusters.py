"""A real Ray cluster of two nodes on this machine, each with one CPU; nodes and workers die."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch

from tests.conftest import DIGITS, PATHS, ROOT, evaluate, inside, train
from tests.faults.conftest import TINY, bits
from tests.faults.victims import Victim

LONG = [
    *DIGITS, "--epochs", "30", "--batch-size", "32", "--learning-rate", "0.02", "--dropout", "0.2",
    "--subset-sizes", "200", "100", "--seeds", "1", "--experiment-id", "s",
    "--cpus-per-run", "1", "--checkpoint-seconds", "0",
]  # fmt: skip
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "t" * 64}
# Fixed ports: a raylet waits 15 s for its agents to find some, too short on a busy machine.
PORTS = [
    "--dashboard-agent-grpc-port", "--runtime-env-agent-port", "--metrics-export-port",
    "--dashboard-agent-listen-port",
]  # fmt: skip
SECONDS = 300  # for a node or a run to start on a busy machine


# Ctrl-C is heard whatever started the tests: `&` and nohup have it ignored.
HEARD = (
    "import runpy, signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def start_train(*words, **surroundings):
    words = [sys.executable, "-c", HEARD, str(ROOT / "train.py"), *map(str, words)]
    return subprocess.Popen(
        words, env=os.environ | quickly("/tmp/ray-quick") | surroundings, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def end(process, seconds=400):
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError("hangs") from None


def wait_for(condition, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def quickly(folder):
    """Surroundings without a grammar that jsonschema, if it is there, compiles in each process."""
    path = Path(folder, "quick")
    path.mkdir(parents=True, exist_ok=True)
    (path / "rfc3987_syntax.py").write_text("raise ImportError")
    return {
        "PYTHONPATH": f"{path}{os.pathsep}{PATHS}",
        "PYTHONDONTWRITEBYTECODE": "",
    }


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def node(temporary, *words, **surroundings):
    """A Ray node whose processes die with the one that is yielded."""
    words = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *words]
    words += ["--temp-dir", temporary, "--object-store-memory", "80000000"]
    words += [word for flag in PORTS for word in (flag, str(free_port()))]
    for _ in range(3):  # Ray gives itself 30 s to start, which a busy machine may miss
        process = subprocess.Popen(
            [*words, "--disable-usage-stats"], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=os.environ | TOKEN | quickly(temporary) | surroundings,
        )  # fmt: skip
        if any("Ray runtime started" in line for line in process.stdout):
            break
    family = psutil.Process(process.pid).children(recursive=True)
    try:
        yield process
    finally:
        process.kill()
        for child in family:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait()
        process.stdout.close()


def joined(address, count):
    """Whether the cluster at the address has so many living nodes."""
    code = (
        "import ray, sys; ray.init(address=sys.argv[1], logging_level='ERROR')\n"
        "sys.exit(sum(n['Alive'] for n in ray.nodes()) < int(sys.argv[2]))"
    )
    words = [sys.executable, "-c", code, address, str(count)]
    return not subprocess.run(
        words, env=os.environ | TOKEN | quickly("/tmp/ray-quick"), capture_output=True
    ).returncode


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Address, second node, and a function that adds a third."""
    temporary = f"/tmp/ray-{os.getpid()}"
    port = free_port()
    address = f"127.0.0.2:{port}"  # Ray takes 127.0.0.1 for the outer address
    head = ["--head", "--node-ip-address", "127.0.0.2", "--port", str(port), "--num-cpus", "1"]
    join = ["--address", address, "--num-cpus", "1"]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        stack.enter_context(node(temporary, *head, "--include-dashboard", "false"))
        wait_for(lambda: joined(address, 1))
        second = stack.enter_context(node(temporary, *join, "--node-ip-address", "127.0.0.3"))
        wait_for(lambda: joined(address, 2))
        more = ["--node-ip-address", "127.0.0.4", "--num-gpus", "1"]
        yield address, second, lambda: stack.enter_context(node(temporary, *join, *more))


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory):
    """The folder of the long study as the local launcher makes it."""
    with inside(tmp_path_factory.mktemp("long")) as folder:
        (folder / "cache").symlink_to(tiny / "cache")
        process = start_train(*LONG)
        assert "2 of 2 runs complete" in end(process)
    return folder


def trained_by(folder):
    """The process that holds a run."""
    with suppress(OSError, psutil.NoSuchProcess):
        if found := re.match(r"process (\d+) on", (folder / "lock").read_text()):
            return psutil.Process(int(found[1]))
    return None


def epochs_of(folder):
    path = folder / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


@pytest.mark.cluster
@pytest.mark.fault(60)
def test_a_study_loses_a_worker_and_a_node_and_ends_with_the_same_bits(cluster, place, undisturbed):
    address, second, _ = cluster
    study = place / "checkpoints" / "s"
    folders = [study / size / "seed-1" for size in ("100", "200")]
    process = start_train(*LONG, "--launcher", "ray", "--ray-address", address, **TOKEN)
    wait_for(lambda: all(epochs_of(folder) >= 2 and trained_by(folder) for folder in folders))
    holders = {folder: trained_by(folder) for folder in folders}
    on_second = [f for f, p in holders.items() if second.pid in {a.pid for a in p.parents()}]
    (away,) = on_second
    (here,) = set(folders) - set(on_second)
    shown = subprocess.run(
        [sys.executable, ROOT / "train.py", "--status"], capture_output=True, text=True
    ).stdout
    assert shown.count("running: process") == 2, shown
    before = pd.read_csv(away / "metrics.csv")
    holders[here].send_signal(signal.SIGKILL)
    second.kill()
    text = end(process)
    assert process.returncode == 0, text
    for folder in folders:
        assert f"{folder.relative_to(study)}: resumed elsewhere 1 times (" in text
    assert "2 of 2 runs complete" in text
    assert "Traceback" not in text
    after = pd.read_csv(away / "metrics.csv")
    kept = (after.seconds[: len(before)] == before.seconds).sum()
    assert kept >= len(before) - 1 >= 1, "it started over"
    assert bits(place) == bits(undisturbed)
    assert evaluate() == 0


@pytest.mark.cluster
@pytest.mark.fault(60)
def test_a_request_that_no_node_can_hold_ends_within_a_minute(cluster, place):
    began = time.monotonic()
    words = [*TINY, "--launcher", "ray", "--ray-address", cluster[0], "--gpus-per-run", "1"]
    process = start_train(*words, **TOKEN)
    text = end(process)
    assert process.returncode == 2
    assert "error: --gpus-per-run 1 --cpus-per-run 1: no node can hold a run; nodes have:" in text
    assert "Traceback" not in text
    assert time.monotonic() - began < 60


@pytest.mark.cluster
def test_shares_of_a_gpu_are_scheduled_and_a_device_that_is_not_there_is_said(cluster, place):
    """The third node claims a GPU that it has not; without CUDA each run says so and ends."""
    address, _, add = cluster
    add()
    wait_for(lambda: joined(address, 2))
    words = [*TINY, "--launcher", "ray", "--ray-address", address, "--gpus-per-run", "0.5"]
    process = start_train(*words, **TOKEN)
    text = end(process)
    if not torch.cuda.is_available():
        assert process.returncode == 3, text
        assert text.count("failed: --device cuda: not found on this machine") == 4
    else:
        assert process.returncode == 0, text


@pytest.mark.cluster
def test_started_here_ray_listens_on_the_loopback_only_and_ctrl_c_saves_the_runs(place, tiny):
    words = [*TINY, "--launcher", "ray", "--cpus-per-run", "1"]
    process = start_train(*words, "--epochs", "2000")
    folder = place / "checkpoints" / "s" / "100" / "seed-1"
    wait_for(lambda: epochs_of(folder) >= 2)
    family = psutil.Process(process.pid).children(recursive=True)
    addresses = set()
    for member in family:
        with suppress(psutil.NoSuchProcess):
            addresses |= {
                c.laddr.ip.removeprefix("::ffff:")
                for c in member.net_connections("tcp")
                if c.status == psutil.CONN_LISTEN
            }
    assert addresses == {"127.0.0.1"}
    process.send_signal(signal.SIGINT)
    text = end(process)
    assert process.returncode == 130, text
    assert "interrupted by SIGINT; python train.py --resume goes on" in text
    assert "Traceback" not in text
    assert (folder / "last.pt").exists()
    assert not (folder / "lock").exists()
    wait_for(lambda: not any(member.is_running() for member in family))


@pytest.mark.cluster
def test_ray_and_local_give_the_same_bits_and_the_same_metrics(place, tiny):
    process = start_train(*TINY, "--launcher", "ray", "--cpus-per-run", "1")
    text = end(process)
    assert process.returncode == 0, text
    assert bits(place) == bits(tiny)
    shown = [line for line in text.splitlines() if "epoch 3/3" in line]
    assert len(shown) == 2


@pytest.mark.fault(23)
def test_status_and_evaluation_work_while_the_study_trains(place, tiny, capsys):
    first = (
        "dataworth.training.epoch_records:append_epoch",
        "held",
        ("hold", 5),
    )  # in the second run
    victim = Victim("dataworth.commands.train:train", TINY, [first])
    assert victim.until("held")
    assert train("--status") == 0
    out = capsys.readouterr().out
    assert re.search(r"^100/seed-1 +complete +3/3 ", out, re.MULTILINE)
    assert re.search(rf"^200/seed-1 +running: process {victim.pid} .* 1/3 ", out, re.MULTILINE)
    assert evaluate() == 3
    assert "200/seed-1: not finished" in capsys.readouterr().err
    victim.strike()


@pytest.mark.cluster
def test_a_slurm_task_that_times_out_is_queued_again_and_resumes(place, undisturbed):
    """In submitit's local executor; the signal is the one that Slurm sends before the limit."""
    words = [*LONG, "--launcher", "slurm", "--slurm", "cluster=local", "timeout_min=20"]
    process = start_train(*words)
    folder = place / "checkpoints" / "s" / "200" / "seed-1"
    wait_for(lambda: epochs_of(folder) >= 2)
    task = trained_by(folder)
    task.send_signal(signal.SIGUSR2)
    text = end(process)
    assert process.returncode == 0, text
    files = place / "checkpoints/s/.slurm"
    logs = "".join(p.read_text() for p in (*files.rglob("*log.err"), *files.rglob("*log.out")))
    assert "Requeued job" in logs
    assert [path.is_dir() for path in files.iterdir()] == [True], "of a name that nobody knows"
    assert bits(place) == bits(undisturbed)
