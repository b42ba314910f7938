"""Duration of a study: many workers (simulated), two processes, several jobs, the first study."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from dataworth.data.decoding import num_cores
from dataworth.launching.split import makespan
from dataworth.storage.study_directory import StudyDirectory

from .measure import ROOT, Sample, report, timed

WORKERS = (1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000)
STUDY = ["--config", str(ROOT / "configs" / "digits.yaml"), "--experiment-id", "s"]
SMALL = ["--seeds", "1", "2", "--epochs", "4", "--cpus-per-run", "1"]  # ten runs
KINDS: dict[str, tuple[int, list[str]]] = {  # concurrent commands, further flags
    "one process": (1, ["--jobs", "1"]),
    "two processes on one study": (2, ["--jobs", "1"]),
    "one command, two jobs": (1, ["--jobs", "2"]),
    "ray, two workers": (1, ["--launcher", "ray"]),
    "ray, two workers, largest first": (1, ["--launcher", "ray", "--order", "largest-first"]),
}
JOBS = {
    "--jobs auto": ["--jobs", "auto"],
    "one after another": ["--jobs", "1"],
    "one thread": ["--jobs", "1", "--cpus-per-run", "1"],  # busy, auto may not fall below 0.8 of it
}
SIX_RUNS = ["--image-size", "64", "--subset-sizes", "1.0", "0.5", "0.25", "--seeds", "1", "2"]
NUM_DIGITS = 1293  # training images of the digits


def run_seconds(study: Path) -> list[float]:
    """Return the duration of each run of a study, smallest training set first.

    From a folder in checkpoints/ it is the whole run; from one in results/, without checkpoints,
    the training without validation.
    """
    if (study / "study.json").exists():
        runs = sorted(
            StudyDirectory.read(study).planned_runs(),
            key=lambda run: (run.subset_size > 1, run.subset_size),
        )
        folders = [study / run.path for run in runs if (study / run.path / "done").exists()]
        return [_modified(f / "done") - _modified(f / "environment.json") for f in folders]
    epochs = pd.read_csv(study / "epochs.csv")
    key = [name for name in ("num_train_images", "variant", "seed") if name in epochs]
    return [float(s) for s in epochs.groupby(key, dropna=False).seconds.sum()]


def simulate(seconds: Sequence[float], copies: int) -> list[dict[str, float]]:
    """Simulate the duration with 1 to 1,000 workers, each run being made ``copies`` times."""
    rows, ascending = [], [duration for duration in seconds for _ in range(copies)]
    orders = {"smallest_first": ascending, "largest_first": ascending[::-1]}
    for workers in WORKERS:
        row: dict[str, float] = {"workers": workers}
        for name, order in orders.items():
            row[f"{name}_seconds"] = makespan(order, workers)
            row[f"{name}_speed_up"] = sum(ascending) / row[f"{name}_seconds"]
        rows.append(row)
    return rows


def measure(rounds: int) -> list[dict[str, object]]:
    """Measure ten small runs on the digits, one thread each, in one process and in two."""
    rows: list[dict[str, object]] = []
    for kind, (commands, flags) in KINDS.items():
        if not rounds or ("ray" in flags and not find_spec("ray")):
            continue
        times = [_train(commands, flags) for _ in range(rounds)]
        row = {"kind": kind, "seconds": min(t[0] for t in times), "runs": min(t[1] for t in times)}
        first = rows[0] if rows else row
        row["speed_up"] = float(str(first["seconds"])) / float(str(row["seconds"]))
        row["speed_up_of_runs"] = float(str(first["runs"])) / float(str(row["runs"]))
        rows.append({**row, "load": os.getloadavg()[0]})
        print(rows[-1], flush=True)
    return rows


def _train(commands: int, flags: Sequence[str]) -> tuple[float, float]:
    """Return the seconds of the command, and those from the first run's start to the last's end."""
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, str(ROOT / "train.py"), *STUDY, *SMALL]
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        subprocess.run([*line, "--subset-sizes", "0.0625", "--seeds", "9", "--epochs", "1",
                        "--experiment-id", "cache"], cwd=folder, env=environment, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        start = time.perf_counter()
        processes = [
            subprocess.Popen([*line, *flags], cwd=folder, env=environment,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(commands)
        ]  # fmt: skip
        codes = [process.wait() for process in processes]
        seconds, study = time.perf_counter() - start, Path(folder) / "checkpoints" / "s"
        ends = [_modified(path) for path in study.rglob("done")]
        assert len(ends) == 10, codes
        return seconds, max(ends) - min(map(_modified, study.rglob("environment.json")))


def measure_jobs(rounds: int, epochs: int) -> dict[str, object]:
    """Measure six runs at 64 pixels side by side, one after another, and by one thread, in turn.

    The same is done while as many other processes as there are cores compute.
    """
    content: dict[str, object] = {}
    trained = round(epochs * 2 * NUM_DIGITS * (1.0 + 0.5 + 0.25))
    with tempfile.TemporaryDirectory() as folder:
        for machine, others in (("idle machine", 0), ("busy machine", num_cores())):
            busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"])
                    for _ in range(others)]  # fmt: skip
            samples: dict[str, list[Sample]] = {name: [] for name in JOBS}
            try:
                for index in range(rounds + 1):  # the first decodes the images
                    for number, (name, flags) in enumerate(JOBS.items()):
                        study = [*STUDY, *SIX_RUNS, "--epochs", str(epochs if index else 1)]
                        place = Path(folder) / f"{others}-{index}-{number}"
                        place.mkdir()
                        cache = ["--cache-dir", str(Path(folder) / "cache")]
                        line = [str(ROOT / "train.py"), *study, *flags, *cache]
                        samples[name].append(timed([line], place, trained))
            finally:
                for process in busy:
                    process.kill()
            kept = {name: rounds_[1:] for name, rounds_ in samples.items()}
            content[machine] = report(f"six runs at 64 pixels, {machine}", kept, "wall")
    return content


def measure_digits(rounds: int) -> dict[str, object]:
    """Measure the two commands of ``make study``, each round in an empty folder."""
    samples: dict[str, list[Sample]] = {"train.py": [], "eval.py": []}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(rounds):
            place = Path(folder) / str(index)
            place.mkdir()
            for name, kept in samples.items():
                words = STUDY if name == "train.py" else STUDY[2:]
                kept.append(timed([[str(ROOT / name), *words]], place, NUM_DIGITS))
                print(f"{name}: {kept[-1]}", flush=True)
    rows = {name: [asdict(sample) for sample in kept] for name, kept in samples.items()}
    seconds = {n: statistics.median(s.wall_seconds for s in kept) for n, kept in samples.items()}
    print(f"median seconds: {seconds}, together {sum(seconds.values()):.1f}")
    return {"samples": rows, "median_seconds": seconds, "load": os.getloadavg()[0]}


def _modified(path: Path) -> float:
    return path.stat().st_mtime
