"""dataworth track: the study in the stores of real trackers, once, whatever happens in between.

The slow tests run where the packages are: pip install '.[mlflow,trackio,wandb]' pytest hypothesis
filelock.
"""

import json
import re
import shutil
import sqlite3
import struct
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from dataworth.commands import track as track_command
from dataworth.tracking import wandb as wandb_runs
from dataworth.tracking.registry import TRACKERS
from dataworth.tracking.replay import read_study
from tests.conftest import ROOT, command

RUNS = ["0.0625/seed-1", "1.0/seed-2"]
STEPS = ("epoch", "num_train_images")
NO_SERVER = "http://127.0.0.1:9"  # the discard port: connections are refused


def track(*words):
    return command(track_command.track, *words)


def write_results(folder):
    """Write the committed study of the digits, without most of its runs."""
    shutil.copytree(ROOT / "results" / "digits", folder)
    change(folder, lambda results: results.update(runs=[
        run for run in results["runs"] if f"{run['subset_size']}/seed-{run['seed']}" in RUNS
    ]))  # fmt: skip
    return folder


def change(folder, edit):
    path = folder / "metrics.json"
    results = json.loads(path.read_text())
    edit(results)
    path.write_text(json.dumps(results))


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path / "digits")


def files(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_study_is_one_parent_and_a_child_per_run(results):
    study = read_study(results)
    assert [run.name for run in study.runs] == ["digits", *(f"digits/{run}" for run in RUNS)]
    content = json.loads((results / "metrics.json").read_text())
    errors = {s["num_images"]: s["top_1_error"] for s in content["subset_sizes"].values()}
    assert {n: row["test_top_1_error"] for n, row in study.parent.rows.items()} == errors
    table = pd.read_csv(results / "epochs.csv").query("subset_size == 1 and seed == 2")
    child = study.children[-1]
    for row in table.to_dict("records"):
        logged = child.rows[row["epoch"]]
        assert {k: row[k] for k in row if k in logged} == {
            k: v for k, v in logged.items() if not k.startswith("test")
        }
        assert {"train_loss", "validation_top_5_error", "learning_rate"} <= logged.keys()
    (last,) = content["runs"][-1:]
    scores = child.rows[last["best_epoch"]]
    assert scores["test_top_1_error"] == last["splits"]["test"]["top_1_error"]


def test_variants_are_told_apart():
    study = read_study(ROOT / "results" / "mini-imagenet-84")
    names = {name for row in study.parent.rows.values() for name in row}
    assert {"resnet18/test_top_5_error", "alexnet-small/test_top_5_error"} <= names
    assert len({run.name for run in study.runs}) == len(study.runs)
    assert len({run.digest for run in study.runs}) == len(study.runs)
    assert {child.params["variant"] for child in study.children} == {"alexnet-small", "resnet18"}


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_missing_package_is_one_line_that_names_the_extra(results, capsys, monkeypatch, tracker):
    monkeypatch.setitem(sys.modules, tracker, None)
    assert track(results, "--to", tracker) == 2
    expected = f"error: --to {tracker}: first pip install 'dataworth[{tracker}]'\n"
    assert capsys.readouterr().err == expected
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert tracker in tomllib.load(file)["project"]["optional-dependencies"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a folder and a tracker"),
        (["--to", "mlflow"], "name a folder and a tracker"),
        (["gone", "--to", "mlflow"], "no results at gone/metrics.json"),
        (["gone", "--to", "mlflaw"], "invalid choice 'mlflaw'"),
    ],
)
def test_track_refuses(workplace, capsys, words, message):
    assert track(*words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda text: None, "eval.py writes it"),
        (lambda text: "", "is no CSV file"),
        (lambda text: text.replace("train_loss", "loss", 1), "no column train_loss"),
        (
            lambda text: re.sub(r"\n1,[^,]+", r"\n1,a", text, count=1),
            "no column train_loss of finite numbers",
        ),
        (lambda text: re.sub(r"\n1,[^,]+", r"\n1,inf", text, count=1), "no column train_loss of"),
        (lambda text: text.replace(",0.0625,81,1,", ",0.0625,81,9,"), "no epochs of 0.0625/seed-1"),
    ],
)
def test_a_damaged_log_of_epochs_is_named(results, capsys, harm, message):
    path = results / "epochs.csv"
    text = harm(path.read_text())
    path.write_text(text) if text is not None else path.unlink()
    assert track(results, "--to", "mlflow") == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(path) in error
    assert error.count("\n") == 1


def test_a_study_whose_name_is_a_path_is_refused(results, capsys):
    change(results, lambda content: content.update(experiment_id="../../x"))
    assert track(results, "--to", "trackio") == 2
    assert "'../../x' is not a name" in capsys.readouterr().err


# The stores of real trackers.


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A folder in which all trackers write, with their environment; they read it once."""
    folder = tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("TRACKIO_DIR", str(folder / "trackio"))
        patch.setenv("WANDB_DIR", str(folder))
        patch.setenv("WANDB_BASE_URL", NO_SERVER)  # read once, by the first test that needs it
        patch.setenv("WANDB_API_KEY", "0" * 40)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        yield folder


def read_mlflow(folder):
    """Return name -> (names of the parent, step -> metric -> value, figures)."""
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("dataworth").experiment_id
    runs = {run.info.run_id: run for run in client.search_runs([experiment])}
    stored = {}
    for key, run in runs.items():
        rows = {}
        for name in run.data.metrics:
            for metric in client.get_metric_history(key, name):
                rows.setdefault(metric.step, {})[name] = metric.value
        parent = runs.get(run.data.tags.get("mlflow.parentRunId"))
        assert run.info.run_name not in stored
        assert run.info.status == "FINISHED"
        figures = {Path(f.path).stem for f in client.list_artifacts(key, "figures")}
        stored[run.info.run_name] = (parent and parent.info.run_name, rows, figures)
    return stored


def read_trackio(folder):
    stored = {}
    with sqlite3.connect(folder / "trackio" / "dataworth.db") as connection:
        groups = dict(connection.execute("SELECT run_name, config FROM configs"))
        for name, step, content in connection.execute(
            "SELECT run_name, step, metrics FROM metrics"
        ):
            group = json.loads(groups[name])["_Group"]
            _, rows, figures = stored.setdefault(
                name, (None if name == group else group, {}, set())
            )
            for key, value in json.loads(content).items():
                if isinstance(value, dict):
                    assert (folder / "trackio" / "media" / value["file_path"]).exists()
                    figures.add(key.removeprefix("figures/"))
                else:
                    assert key not in rows.setdefault(step, {})
                    rows[step][key] = value
    return stored


def read_wandb(folder):
    stored = {}
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        run, rows, figures = None, {}, set()
        for record in wandb_records(path.read_bytes()):
            run = record.run if record.HasField("run") else run
            items = {
                i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item
            }
            step = items.get("epoch", items.get("num_train_images"))
            figures |= {key.removeprefix("figures/") for key in items if key.startswith("figures")}
            for key, value in items.items():
                if not key.startswith(("_", "figures/", *STEPS)):
                    assert key not in rows.setdefault(step, {})
                    rows[step][key] = value
        images = list((path.parent / "files" / "media" / "images" / "figures").glob("*.png"))
        assert len(images) == len(figures)
        parent = None if run.job_type == "study" else run.run_group
        assert run.display_name not in stored
        stored[run.display_name] = (parent, rows, figures)
    return stored


def wandb_records(content):
    """Yield the records of a W&B file: protocol buffers in a LevelDB log after 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    position, parts = 7, b""
    while position + 7 <= len(content):
        if (left := 2**15 - position % 2**15) < 7:  # no header fits into the rest of the block
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, last part
            yield Record.FromString(parts)
            parts = b""


READERS = {"mlflow": read_mlflow, "trackio": read_trackio, "wandb": read_wandb}


def tear(tracker, folder):
    """Leave the run 1.0/seed-2 as a killed command does."""
    name = f"digits/{RUNS[1]}"
    if tracker == "mlflow":
        from mlflow import MlflowClient

        (run,) = MlflowClient().search_runs(["1"], f"attributes.run_name = '{name}'")
        MlflowClient().update_run(run.info.run_id, "RUNNING")
    elif tracker == "trackio":
        import trackio

        (run,) = (run for run in trackio.Api().runs("dataworth") if run.name == name)
        run.rename(f"{name} (incomplete)")
    else:
        (marker,) = folder.glob("wandb/offline-run-*1-0-seed-2*/dataworth.complete")
        shutil.rmtree(marker.parent)


@pytest.mark.slow
@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_has_every_epoch_score_and_figure_once(stores, tmp_path, capsys, tracker):
    pytest.importorskip(tracker)
    results = write_results(tmp_path / "digits")
    before, study = files(results), read_study(results)
    expected = {
        run.name: (
            None if run is study.parent else "digits",
            {step: dict(row) for step, row in run.rows.items()},
            {name.removeprefix("figures/") for name in run.figures},
        )
        for run in study.runs
    }
    assert len(expected["digits"][2]) == 3
    for outcome in ("3 runs written, 0 there already", "0 runs written, 3 there already"):
        assert track(results, "--to", tracker, "--offline") == 0
        captured = capsys.readouterr()
        assert outcome in captured.out
        assert captured.out.count("\n") == 1
        assert captured.err == ""
        assert READERS[tracker](stores) == expected
    tear(tracker, stores)
    assert track(results, "--to", tracker, "--offline") == 0
    assert "1 runs written, 2 there already" in capsys.readouterr().out
    assert READERS[tracker](stores) == expected
    assert files(results) == before


@pytest.mark.slow
@pytest.mark.parametrize("tracker", ["mlflow", "trackio"])
def test_what_changed_is_replaced(stores, tmp_path, capsys, tracker):
    pytest.importorskip(tracker)
    results = write_results(tmp_path / "digits")

    def edit(content):
        content["runs"][0]["splits"]["test"]["loss"] = 9.0
        content["num_classes"] = 11

    change(results, edit)
    assert track(results, "--to", tracker) == 0
    assert "2 runs written, 1 there already" in capsys.readouterr().out
    stored = READERS[tracker](stores)
    assert len(stored) == 3
    assert {parent for parent, _, _ in stored.values()} == {None, "digits"}
    assert 9.0 in {row.get("test_loss") for row in stored[f"digits/{RUNS[0]}"][1].values()}


@pytest.mark.slow
@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_dead_server_is_one_line(stores, tmp_path, capsys, monkeypatch, tracker):
    pytest.importorskip(tracker)
    results = write_results(tmp_path / "digits")
    before = files(results)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NO_SERVER)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(wandb_runs, "SECONDS", 2)
    assert track(results, "--to", tracker) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: --to {tracker}: ")
    assert "127.0.0.1:9" in captured.err.replace("', port=", ":")
    assert captured.err.endswith("the study is unchanged; the same command tries again\n")
    assert captured.err.count("\n") == 1
    assert files(results) == before
