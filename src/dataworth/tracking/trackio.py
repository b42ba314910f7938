"""Trackio: one group per study, in a local SQLite file."""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import warnings
from typing import TYPE_CHECKING

from .replay import Replay, TrackedRun, TrackedStudy, failure, missing_package

if TYPE_CHECKING:
    import trackio

DIGEST = "dataworth_digest"  # in the configuration of a run
INCOMPLETE = " (incomplete)"  # end of the name of a run until all of it is written
REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


def replay_to_trackio(study: TrackedStudy, project: str, _offline: bool) -> Replay:
    """Write the runs that the local trackio project lacks; replace those that differ.

    It is always local: ``trackio sync`` publishes a project. A run has its name once it is whole.

    Parameters
    ----------
    study : TrackedStudy
    project : str
    _offline : bool
        It always is.

    Raises
    ------
    InputError
        If trackio is not installed, or its folder cannot be written.
    """
    for key in REMOTE:  # runs there can be neither compared nor replaced
        os.environ.pop(key, None)
    try:
        import trackio
    except ImportError:
        raise missing_package("trackio") from None
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # trackio warns of what it did not write
            num_written = sum(_replace(study, run, project) for run in study.runs)
    except (OSError, RuntimeError, ValueError, UserWarning, sqlite3.Error) as error:
        raise failure("trackio", error) from None
    location = f"{trackio.TRACKIO_DIR}; trackio show --project {project} shows it"
    return Replay(location, num_written, len(study.runs) - num_written)


def _replace(study: TrackedStudy, run: TrackedRun, project: str) -> bool:
    """Write a run unless it is there, equal and whole; return whether it was written."""
    import trackio

    temporary_name = run.name + INCOMPLETE
    for stored in _stored(project):
        if stored.name == run.name and (stored.config or {}).get(DIGEST) == run.digest:
            return False
        if stored.name in (run.name, temporary_name):
            stored.delete()
    writer = trackio.init(
        project=project,
        name=temporary_name,
        group=study.parent.name,
        config={**run.params, DIGEST: run.digest},
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    for step, row in run.rows.items():
        writer.log(dict(row), step=step)
    if run.figures:
        images = {name: trackio.Image(str(path)) for name, path in run.figures.items()}
        writer.log(images, step=max(run.rows, default=0))
    trackio.finish()
    (written,) = (stored for stored in _stored(project) if stored.name == temporary_name)
    written.rename(run.name)
    return True


def _stored(project: str) -> list[trackio.api.Run]:
    """Return the runs of a project; none if it is new."""
    import trackio

    try:
        return list(trackio.Api().runs(project))
    except ValueError:  # no such project
        return []
