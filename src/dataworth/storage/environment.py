"""Environment of a result: versions, commit, hardware, date.

environment.json of a run is the environment that it was started in. Those in which it was resumed
are listed below it as ``resumed``, each with the epoch that was under way.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import warn
from ..errors import InputError, short_repr
from .files import read_json, write_json

if TYPE_CHECKING:
    import torch

FILE = "environment.json"
BIT_KEYS = ("torch", "device", "threads", "processes", "commit")  # with others, other rounding
PACKAGES = ("torch", "torchvision", "datasets", "pillow", "numpy", "scipy", "scikit-learn")


def describe_environment(device: torch.device, world_size: int = 1) -> dict[str, str | int]:
    """Return versions, commit, hardware and date of this process.

    Parameters
    ----------
    device : torch.device
    world_size : int
        World size: processes that train the run together.
    """
    import torch

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": encodable(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": _device_name(device),
        "threads": torch.get_num_threads(),
        "processes": world_size,
        **{package: _version(package) for package in PACKAGES},
    }


def encodable(text: str) -> str:
    """Replace what UTF-8 cannot encode: bytes of a file name, lone surrogates of a JSON file."""
    return text.encode(errors="replace").decode()


def read_environments(folder: Path) -> list[dict[str, Any]]:
    """Return the environments that a run was trained in, in order of time."""
    try:
        first = read_json(folder / FILE)
    except FileNotFoundError:
        return []
    except InputError:
        warn(f"warning: {folder / FILE} is damaged: where the run was trained so far is lost")
        return []
    resumed = first.pop("resumed", [])
    return [first, *(entry for entry in _listed(resumed) if isinstance(entry, dict))]


def training_environments(folders: Iterable[Path]) -> dict[str, list[str]]:
    """Return commands, commits, devices, versions of torch, first and last date of some runs."""
    environments = list(chain.from_iterable(map(read_environments, folders)))
    distinct = {
        key: list(
            dict.fromkeys(encodable(str(values[key])) for values in environments if key in values)
        )
        for key in ("command", "commit", "device", "torch")
    }
    dates = sorted(encodable(str(values["date"])) for values in environments if "date" in values)
    return {**distinct, "date": list(dict.fromkeys((*dates[:1], *dates[-1:])))}


def begun_threads(folder: Path) -> int | None:
    """Return the threads that a run was begun with: its bits depend on them."""
    value = next(iter(read_environments(folder)), {}).get("threads")
    return value if isinstance(value, int) and value > 0 else None


def add_environment(folder: Path, environment: Mapping[str, Any], epoch: int | None) -> None:
    """Write the environment that a run goes on in, and say if its bits may differ by that.

    Parameters
    ----------
    folder : Path
        Of the run.
    environment : dict
        From :func:`describe_environment`.
    epoch : int or None
        Epochs finished so far. None: the run starts, and no earlier environment matters.
    """
    earlier = [] if epoch is None else read_environments(folder)
    if not earlier:
        write_json(folder / FILE, environment)
        return
    first, *resumed = earlier
    added = {"epoch": epoch, **environment}
    write_json(folder / FILE, {**first, "resumed": [*resumed, added]})
    changes = [
        f"{key} {short_repr(earlier[-1][key])} before, {short_repr(environment[key])} now"
        for key in BIT_KEYS
        if key in earlier[-1] and earlier[-1][key] != environment[key]
    ]
    if changes:
        warn(f"note: {folder} is resumed with {'; '.join(changes)}: its bits may differ by that")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


@cache  # of the code that is loaded, whatever is changed in the meantime
def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    root, environment = Path(__file__).parent, {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:  # without a lock, which a killed command would leave in the repository
        return subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@cache  # each run asks
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _device_name(device: torch.device) -> str:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "cpu")
    return f"{device.type}: {model}, {os.cpu_count()} cores"
