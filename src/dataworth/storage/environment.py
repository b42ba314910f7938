"""Environment of a result: versions, commit, hardware, date."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

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


@cache  # of the code that is loaded, whatever is changed in the meantime
def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    root = Path(__file__).parent
    try:
        return subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


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
