"""MLflow: child runs nested in a parent run, in a local SQLite file or on a tracking server."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from ..errors import InputError
from .replay import Replay, TrackedRun, TrackedStudy, failure, missing_package

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

LOCAL = "sqlite:///mlflow.db"  # MLflow's own default
LOCAL_SCHEMES = ("sqlite:", "file:", "/", ".")
NAME, DIGEST, PARENT = "dataworth.run", "dataworth.digest", "mlflow.parentRunId"  # tags
MAX_METRICS = 1000  # of one request; MLflow refuses more
MAX_TEXT = 500  # characters of a parameter, in MLflow's older versions
PATIENCE = {  # MLflow's defaults wait minutes for a server that is down
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def replay_to_mlflow(study: TrackedStudy, project: str, offline: bool) -> Replay:
    """Write the runs that the MLflow experiment ``project`` lacks; replace those that differ.

    A run is known by its name, in a tag, and counts as written once it has the status FINISHED.

    Parameters
    ----------
    study : TrackedStudy
    project : str
        Name of the MLflow experiment.
    offline : bool
        Write to a local file, whatever MLFLOW_TRACKING_URI names.

    Raises
    ------
    InputError
        If MLflow is not installed, or the server does not answer.
    """
    os.environ.update({key: os.environ.get(key, value) for key, value in PATIENCE.items()})
    try:
        from mlflow import MlflowClient, get_tracking_uri
        from mlflow.exceptions import MlflowException

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # not each table that it makes
        uri = get_tracking_uri()
        if offline and not uri.startswith(LOCAL_SCHEMES):
            uri = LOCAL
        client = MlflowClient(uri)
    except ImportError:  # also of sqlalchemy, with the first client of a local file
        raise missing_package("mlflow") from None
    try:
        num_written = _write_study(client, study, project)
    except (MlflowException, OSError) as error:
        raise failure("mlflow", error) from None
    location = f"{uri}, experiment {project!r}"
    return Replay(location, num_written, len(study.runs) - num_written)


def _write_study(client: MlflowClient, study: TrackedStudy, project: str) -> int:
    """Write parent and children; return how many were written."""
    experiment = client.get_experiment_by_name(project)
    if experiment is not None and experiment.lifecycle_stage != "active":
        raise InputError(f"--project {project}: MLflow has this experiment among the deleted ones")
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(project)
    parent_id, num_written = "", 0
    for run in study.runs:
        stored = _stored(client, experiment_id, run)
        if stored is None:
            stored = _write_run(client, experiment_id, study, run, parent_id)
            num_written += 1
        elif stored.data.tags.get(PARENT, "") != parent_id:  # the parent was replaced
            client.set_tag(stored.info.run_id, PARENT, parent_id)
        parent_id = parent_id or stored.info.run_id
    return num_written


def _stored(client: MlflowClient, experiment_id: str, run: TrackedRun) -> Run | None:
    """Return the run as it was written earlier; delete others of its name."""
    equal = None
    for stored in client.search_runs([experiment_id], f"tags.`{NAME}` = '{run.name}'"):
        is_whole = stored.info.status == "FINISHED"
        if equal is None and is_whole and stored.data.tags.get(DIGEST) == run.digest:
            equal = stored
        else:
            client.delete_run(stored.info.run_id)
    return equal


def _write_run(
    client: MlflowClient, experiment_id: str, study: TrackedStudy, run: TrackedRun, parent_id: str
) -> Run:
    from mlflow.entities import Param

    start = round(1000 * study.date.timestamp())
    tags = {NAME: run.name, DIGEST: run.digest, "study": study.parent.name}
    tags |= {PARENT: parent_id} if parent_id else {}
    stored = client.create_run(experiment_id, start_time=start, tags=tags, run_name=run.name)
    run_id = stored.info.run_id
    params = {key: str(value)[:MAX_TEXT] for key, value in run.params.items()}
    client.log_batch(
        run_id, params=[Param(*pair) for pair in params.items() if pair[1] not in ("", "None")]
    )
    metrics = _metrics(run, start)
    while batch := list(islice(metrics, MAX_METRICS)):
        client.log_batch(run_id, metrics=batch)
    for name, path in run.figures.items():
        client.log_artifact(run_id, str(path), name.rpartition("/")[0])
    end = start + round(1000 * max(run.seconds.values(), default=0))
    client.set_terminated(run_id, "FINISHED", end)
    return stored


def _metrics(run: TrackedRun, start: int) -> Iterator[Metric]:
    """Yield the metrics; times count the seconds of training from ``start``, in ms since 1970."""
    from mlflow.entities import Metric

    for step, row in run.rows.items():
        time = start + round(1000 * run.seconds.get(step, 0))
        for name, value in row.items():
            yield Metric(name, value, time, step)
