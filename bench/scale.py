"""How long a study takes on many workers (simulated) and on two processes (measured)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from dataworth.commands.planning import makespan
from dataworth.storage.study_directory import planned_runs

ROOT = Path(__file__).parents[1]
WORKERS = (1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000)
STUDY = ["--config", str(ROOT / "configs" / "digits.yaml"), "--experiment-id", "s"]
SMALL = ["--seeds", "1", "2", "--epochs", "4", "--cpus-per-run", "1"]  # ten runs
KINDS: dict[str, tuple[int, list[str]]] = {  # commands at a time, words
    "one process": (1, []),
    "two processes on one study": (2, []),
    "ray, two workers": (1, ["--launcher", "ray"]),
    "ray, two workers, largest first": (1, ["--launcher", "ray", "--order", "largest-first"]),
}


def run_seconds(study: Path) -> list[float]:
    """Read how long each run of a study took, smallest first.

    Of a folder in checkpoints/ all that a run does; of one in results/, where the checkpoints are
    gone, the training without validation.
    """
    if (study / "study.json").exists():
        runs = sorted(planned_runs(study), key=lambda run: (run.subset_size > 1, run.subset_size))
        folders = [study / run.path for run in runs if (study / run.path / "done").exists()]
        return [_modified(f / "done") - _modified(f / "environment.json") for f in folders]
    epochs = pd.read_csv(study / "epochs.csv")
    key = [name for name in ("num_train_images", "variant", "seed") if name in epochs]
    return [float(s) for s in epochs.groupby(key, dropna=False).seconds.sum()]


def simulate(seconds: Sequence[float], copies: int) -> list[dict[str, float]]:
    """Say what more workers would buy, each run being made ``copies`` times: seeds, models."""
    rows, smallest = [], [second for second in seconds for _ in range(copies)]
    orders = {"smallest_first": smallest, "largest_first": smallest[::-1]}
    for workers in WORKERS:
        row: dict[str, float] = {"workers": workers}
        for name, order in orders.items():
            row[f"{name}_seconds"] = makespan(order, workers)
            row[f"{name}_speed_up"] = sum(smallest) / row[f"{name}_seconds"]
        rows.append(row)
    return rows


def measure(rounds: int) -> list[dict[str, object]]:
    """Train ten small runs of the digits, one thread each, in one process and in two."""
    found: list[dict[str, object]] = []
    for kind, (commands, words) in KINDS.items():
        if not rounds or ("ray" in words and not find_spec("ray")):
            continue
        times = [_train(commands, words) for _ in range(rounds)]
        row = {"kind": kind, "seconds": min(t[0] for t in times), "runs": min(t[1] for t in times)}
        one = found[0] if found else row
        row["speed_up"] = float(str(one["seconds"])) / float(str(row["seconds"]))
        row["speed_up_of_runs"] = float(str(one["runs"])) / float(str(row["runs"]))
        found.append({**row, "load": os.getloadavg()[0]})
        print(found[-1], flush=True)
    return found


def _train(commands: int, words: Sequence[str]) -> tuple[float, float]:
    """Return seconds of the command, and from the start of the first run to the end of the last."""
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, str(ROOT / "train.py"), *STUDY, *SMALL]
        surroundings = os.environ | {"HF_HUB_OFFLINE": "1"}
        subprocess.run([*line, "--subset-sizes", "0.0625", "--seeds", "9", "--epochs", "1",
                        "--experiment-id", "cache"], cwd=folder, env=surroundings, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        began = time.perf_counter()
        processes = [
            subprocess.Popen([*line, *words], cwd=folder, env=surroundings,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(commands)
        ]  # fmt: skip
        codes = [process.wait() for process in processes]
        seconds, study = time.perf_counter() - began, Path(folder) / "checkpoints" / "s"
        ends = [_modified(path) for path in study.rglob("done")]
        assert len(ends) == 10, codes
        return seconds, max(ends) - min(map(_modified, study.rglob("environment.json")))


def _modified(path: Path) -> float:
    return path.stat().st_mtime
