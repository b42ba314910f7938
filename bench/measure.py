"""Alternating throughput measurements of several workloads, each in its own process."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
LIMIT = 1800  # seconds of a round of a workload


@dataclass(frozen=True)
class Sample:
    """Measurement of one round of one workload."""

    images: int
    cpu_seconds: float  # of the process and all its children
    wall_seconds: float


MakeWork = Callable[[], Iterator[int]]  # yields the images of each unit of work, endlessly


def alternate(makes: Mapping[str, MakeWork], rounds: int, units: int) -> dict[str, list[Sample]]:
    """Measure all workloads in turn, after a warm-up round.

    Parameters
    ----------
    makes : mapping of str to callable
        Name -> function that returns the iterator over a workload; picklable.
    rounds : int
        Measurements of each workload.
    units : int
        Units of work (batches or images) per measurement.
    """
    context = get_context("spawn")
    samples: dict[str, list[Sample]] = {name: [] for name in makes}
    workers: dict[str, tuple[SpawnProcess, Connection]] = {}
    try:
        for name, make in makes.items():
            pipe, child_end = context.Pipe()
            process = context.Process(target=_serve, args=(make, child_end))
            process.start()
            child_end.close()  # else nobody notices that the process has ended
            workers[name] = process, pipe
        for round_index in range(rounds + 1):
            for name, (_, pipe) in workers.items():
                sample = _measure(name, pipe, units if round_index else 2)
                if round_index:  # the first round is the warm-up
                    samples[name].append(sample)
    finally:
        for process, pipe in workers.values():
            with suppress(OSError):  # the process has failed
                pipe.send(0)
            process.join(10)
            process.kill()
    return samples


def _measure(name: str, pipe: Connection, units: int) -> Sample:
    try:
        pipe.send(units)
        if not pipe.poll(LIMIT):
            raise RuntimeError(f"{name}: {units} units take longer than {LIMIT} seconds")
        return Sample(*pipe.recv())
    except (EOFError, OSError) as error:
        raise RuntimeError(f"{name}: its process has failed") from error


def timed(commands: Sequence[Sequence[str]], folder: Path, images: int) -> Sample:
    """Run Python commands one after another; measure them and all their processes.

    Parameters
    ----------
    commands : sequence of sequence of str
        Arguments of Python.
    folder : Path
        Where they run.
    images : int
        That they train on, in all epochs.
    """
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
    }
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for command in commands:
        subprocess.run([sys.executable, *command], cwd=folder, env=environment, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Sample(images, cpu, seconds)


def _serve(make: MakeWork, pipe: Connection) -> None:
    work, process = make(), psutil.Process()
    while units := pipe.recv():
        cpu, wall = _cpu_seconds(process), time.perf_counter()
        images = sum(next(work) for _ in range(units))
        pipe.send((images, _cpu_seconds(process) - cpu, time.perf_counter() - wall))
    del work
    for child in process.children(recursive=True):
        child.kill()


def _cpu_seconds(process: psutil.Process) -> float:
    seconds = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it has ended since it was listed
            seconds += sum(each.cpu_times()[:2])
    return seconds


def report(title: str, samples: Mapping[str, list[Sample]], unit: str = "cpu") -> dict[str, object]:
    """Print and return the rates, and the ratio of the first workload's rate to each other.

    Parameters
    ----------
    title : str
        Printed above the rates.
    samples : mapping of str to list of Sample
        As :func:`alternate` returns.
    unit : str
        cpu for images per CPU-second, or wall for images per second.
    """
    rates = {
        name: [s.images / (s.cpu_seconds if unit == "cpu" else s.wall_seconds) for s in rounds]
        for name, rounds in samples.items()
    }
    first, *others = rates
    ratios = {
        name: [a / b for a, b in zip(rates[first], rates[name], strict=True)] for name in others
    }
    print(f"\n{title} (images per {'CPU-' if unit == 'cpu' else ''}second; median, min to max)")
    for name, values in rates.items():
        print(f"  {name:<28} {_spread(values)}")
    for name, values in ratios.items():
        print(f"  {first} / {name:<21} {_spread(values)}")
    return {
        "samples": {name: [asdict(s) for s in rounds] for name, rounds in samples.items()},
        "median_rate": {name: statistics.median(values) for name, values in rates.items()},
        "median_ratio": {name: statistics.median(values) for name, values in ratios.items()},
    }


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):8.2f}   {min(values):8.2f} to {max(values):.2f}"


def write(name: str, content: Mapping[str, object]) -> None:
    """Write a measurement with hardware and versions to a new file in ``bench/results/``."""
    import torch

    from dataworth.devices import pick_device
    from dataworth.storage.environment import describe_environment

    environment = describe_environment(pick_device("auto"))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{platform.machine()}-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    capabilities = {k: v for k, v in torch.cpu.get_capabilities().items() if v is not False}
    path.write_text(
        json.dumps({"environment": environment, "cpu": capabilities, **content}, indent=1) + "\n"
    )
    print(f"\nwrote {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
