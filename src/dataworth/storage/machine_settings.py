"""Machine settings of a stored study: which of them a command takes, which only flags choose.

A study may come from somebody else. Nothing in it starts a launcher, names a host, or leads to a
folder outside the working directory.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from ..config import Machine
from ..console import warn
from ..errors import InputError

LAUNCH = {"ray": ("ray_address",), "slurm": ("slurm",)}  # launcher -> its settings
FOLDERS = {"cache_dir": "cache", "results_dir": "results"}
NAMES = ("launcher", *chain(*LAUNCH.values()), *FOLDERS)


def settings_under(
    apply: Callable[[Machine], Machine],
    machine: Machine,
    file: Path,
    names: Sequence[str] = NAMES,
) -> Machine:
    """Return stored settings under those of a command.

    Parameters
    ----------
    apply : callable
        Returns given settings with those of the command over them.
    machine : Machine
        As stored.
    file : Path
        That holds them, for messages.
    names : sequence of str
        Settings that the command uses; a note names the flag of a folder that it does not take.

    Raises
    ------
    InputError
        If a launcher is stored, and the command does not name it and its settings.
    """
    stored, used = apply(machine), apply(_trusted(machine))
    dropped = [name for name in names if getattr(stored, name) != getattr(used, name)]
    launch = ("launcher", *LAUNCH.get(stored.launcher, ()))
    if stored.launcher != "local" and not set(dropped).isdisjoint(launch):
        raise InputError(
            f"{file} names a launcher, which can run any command: only flags choose one; check and "
            f"add {machine_flags(stored, *launch)}, or add --launcher local"
        )
    for name in (name for name in FOLDERS if name in dropped):
        warn(
            f"note: {file} names a {FOLDERS[name]} folder outside this one, which only a flag can "
            f"do: {getattr(used, name)} is used; for the other, pass {machine_flags(stored, name)}"
        )
    return used


def _trusted(machine: Machine) -> Machine:
    """Return stored settings without those that only a command may choose."""
    names = {"launcher", *chain(*LAUNCH.values()), *_outside(machine)}
    return machine.replace(**{name: Machine.model_fields[name].default for name in names})


def _outside(machine: Machine) -> list[str]:
    """Return the names of folders that, links followed, are not below the working directory."""
    return [name for name in FOLDERS if not _lies_below(name, getattr(machine, name))]


def _lies_below(name: str, path: Path) -> bool:
    if path == Machine.model_fields[name].default:  # a link there is the user's own
        return True
    return not path.is_absolute() and Path(os.path.realpath(path)).is_relative_to(Path.cwd())


def machine_flags(machine: Machine, *names: str) -> str:
    """Format settings as flags for a shell."""
    words = []
    for name in names:
        value = getattr(machine, name)
        if value not in (None, ()):
            words.append("--" + name.replace("_", "-"))
            words += map(str, value if isinstance(value, tuple) else (value,))
    return shlex.join(words)


def flags_to_repeat(machine: Machine) -> str:
    """Return the flags of folders that later commands do not take from the study."""
    return machine_flags(machine, *_outside(machine))
