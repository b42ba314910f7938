"""Files that are damaged, hostile, of another study, or do not fit on the disk."""

import contextlib
import hashlib
import io
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from dataworth.commands.export import export
from dataworth.data.datasets import load
from dataworth.errors import DamagedError, InputError
from dataworth.evaluation.results import read_results
from dataworth.explorer.flags import ExplorerFlags
from dataworth.explorer.study import open_study
from dataworth.launching.registry import CHECKS, LAUNCHERS
from dataworth.prediction.classifier import read_weights
from dataworth.prediction.flags import ModelFlags
from dataworth.prediction.selection import choose
from dataworth.storage import snapshots
from dataworth.storage.environment import add_environment, read_environments
from dataworth.storage.epoch_log import EpochRow, append_epoch, read_epochs
from dataworth.storage.files import digest_path, write_verified, write_whole
from dataworth.storage.locks import lock_folder
from dataworth.storage.run_directory import RunDirectory
from dataworth.training.checkpointing import Checkpointer
from tests import made
from tests.conftest import ROOT, command, evaluate, train
from tests.faults.actors import DIGITS
from tests.faults.conftest import FIRST, TINY, bits, finish


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def place_of(snapshot):
    return 5 * snapshot["epoch"] + snapshot["step"]  # four steps, then the end of the epoch


HARMS = {
    "flip": flip,
    "truncate": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "digest": lambda path: digest_path(path).unlink(),
}


@pytest.mark.fault(11, 12)
@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_snapshot_is_set_aside_and_the_one_before_is_used(stopped, capsys, harm):
    newest = snapshots.load_snapshot(stopped)
    HARMS[harm](stopped / "last.pt")
    older = snapshots.load_snapshot(stopped)
    assert 1 <= place_of(newest) - place_of(older) <= 2
    assert (stopped / "last.pt.bad").exists()
    assert "set aside as last.pt.bad" in capsys.readouterr().err


def test_a_second_damaged_file_leaves_the_first_to_be_inspected(tmp_path):
    for content, name in (b"1", "last.pt.bad"), (b"2", "last.pt.2.bad"), (b"3", "last.pt.3.bad"):
        (tmp_path / "last.pt").write_bytes(content)
        assert snapshots.set_aside(tmp_path / "last.pt") == name
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"2", b"3", b"1"]


@pytest.mark.fault(11)
def test_after_a_flipped_bit_the_run_ends_with_the_same_bits(stopped, place, tiny):
    flip(stopped / "last.pt")
    assert "last.pt is damaged: its SHA-256 is not the one beside it" in finish(place, tiny)
    assert (stopped / "last.pt.bad").exists()


@pytest.mark.fault(11, 12)
@pytest.mark.parametrize("harm", HARMS)
def test_damaged_weights_are_no_point_and_are_trained_again(finished, tiny, capsys, harm):
    HARMS[harm](finished / FIRST / "best.safetensors")
    assert evaluate() == 3
    assert "best.safetensors" in capsys.readouterr().err
    assert list(read_results(finished / "results/s/metrics.json").subset_sizes) == ["200"]
    if harm == "flip":
        finish(finished, tiny)


@pytest.mark.fault(13)
def test_without_a_whole_snapshot_the_run_starts_over_and_says_so(stopped, place, tiny):
    for name in snapshots.SNAPSHOTS:
        flip(stopped / name)
    assert "THE RUN STARTS OVER" in finish(place, tiny)


@pytest.mark.fault(21)
@pytest.mark.parametrize("name", ["evil_pickle", "evil_torch_zip", "ok_torch_zip", "zero_byte"])
def test_hostile_checkpoints_are_never_executed(stopped, capsys, name):
    """Their digests agree: only the restricted loader stands between them and the program."""
    content = made.checkpoint(name)
    before = place_of(snapshots.load_snapshot(stopped))
    write_verified(stopped / "last.pt", content)
    assert place_of(RunDirectory(stopped).load_last()) < before
    assert "last.pt is no snapshot" in capsys.readouterr().err
    assert not list(stopped.parents[3].rglob("PWNED"))
    if name.startswith("evil"):  # an unrestricted loader runs it
        with contextlib.suppress(RuntimeError):  # "Invalid magic number", after it was run
            torch.load(io.BytesIO(content), weights_only=False)
        assert Path("PWNED").exists()


@pytest.mark.fault(18)
@pytest.mark.parametrize("field", ["data_sha256", "subset_sha256"])
def test_other_data_are_refused_before_training(finished, capsys, field):
    path = finished / FIRST / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: "other"}))
    assert train(*TINY) == 2
    assert f"{field}: 'other' stored, '" in capsys.readouterr().err


@pytest.mark.fault(18)
def test_another_class_list_is_another_data_set():
    import dataclasses

    data = load(DIGITS)
    renamed = dataclasses.replace(data, classes=("0", "one", *data.classes[2:]))
    assert renamed.labels_digest != data.labels_digest


@pytest.mark.fault(20)
def test_a_checkpoint_of_another_schema_is_refused(stopped, capsys):
    path = stopped / "config.json"
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "schema_version": 99}))
    assert train(*TINY) == 2
    assert "schema_version: 99 stored, 1 requested" in capsys.readouterr().err
    path.write_text(before)
    file = io.BytesIO()
    torch.save({**snapshots.load_snapshot(stopped), "schema_version": 99}, file)
    write_verified(stopped / "last.pt", file.getvalue())
    with pytest.raises(InputError, match="its snapshot has schema_version 99; this program reads"):
        RunDirectory(stopped).load_last()


@pytest.mark.fault(12)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\x00", b"[" * 100_000])
@pytest.mark.parametrize("name", ["study.json", "100/seed-1/config.json"])
def test_a_damaged_description_is_named_in_one_line(finished, capsys, name, content):
    path = finished / "checkpoints" / "s" / name
    path.write_bytes(content)
    assert train(*TINY) == 2
    assert evaluate("--experiment-id", "s") == (2 if name == "study.json" else 3)
    errors = capsys.readouterr().err.splitlines()
    assert [line for line in errors if f"{name} is damaged: no JSON object" in line] == errors


@pytest.mark.fault(12)
@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "column"])
def test_a_damaged_subset_is_no_point(finished, capsys, harm):
    path = finished / FIRST / "subset.npz"
    whole = path.read_bytes()
    if harm == "column":  # of the same bytes
        np.savez(path, indices=np.load(path)["indices"][:, None])
    else:
        HARMS[harm](path)
    assert evaluate() == 3
    assert "subset.npz is damaged" in capsys.readouterr().err
    assert train("--resume", "s") == 0
    assert path.read_bytes() == whole
    assert evaluate() == 0


@pytest.mark.fault(11)
def test_whatever_byte_of_a_subset_is_harmed_it_is_damaged(finished):
    directory = RunDirectory(finished / FIRST)
    path = directory.path / "subset.npz"
    whole, expected = path.read_bytes(), directory.subset().tolist()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(DamagedError):
            assert directory.subset().tolist() == expected  # a date or a name in the archive


def children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.fault(22)
def test_a_complete_study_is_skipped_in_seconds_and_nothing_is_rewritten(finished):
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in finished.rglob("seed-1/*")}
    words, used = [sys.executable, ROOT / "train.py", *TINY], children_seconds()
    done = subprocess.run(words, capture_output=True, text=True)
    assert "2 of 2 runs complete" in done.stdout
    assert children_seconds() - used < 7  # 5 s on an idle machine; neighbours make it more
    assert {
        p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in finished.rglob("seed-1/*")
    } == before


@pytest.mark.fault(24)
def test_a_torn_line_of_metrics_is_dropped(stopped, place, tiny):
    content = (place / FIRST / "metrics.csv").read_text()
    assert content.count("\n") == 2
    (place / FIRST / "metrics.csv").write_text(content + "2,0.1,0.")
    finish(place, tiny)


def test_a_digest_is_what_sha256sum_checks(finished):
    path = finished / FIRST / "best.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest_path(path).read_text() == f"{digest}  best.safetensors\n"
    assert bits(finished)


def edited(path, **changes):
    """Change the top-level values of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def machine_of_study(folder, **changes):
    """Change machine settings in study.json; return the changed values."""
    path = folder / "checkpoints/s/study.json"
    edited(path, machine={**json.loads(path.read_text())["machine"], **changes})


@pytest.mark.fault(15)
@pytest.mark.parametrize("stored", ["{elsewhere}", "../{elsewhere.name}", "link"])
def test_a_study_cannot_send_its_results_outside(finished, capsys, stored):
    elsewhere = finished.parent / f"elsewhere-{finished.name}"
    stored = stored.format(elsewhere=elsewhere)
    (finished / "link").symlink_to(elsewhere)
    machine_of_study(finished, results_dir=stored)
    assert evaluate() == 0
    assert not elsewhere.exists()
    assert (finished / "results/s/metrics.json").exists()
    assert f"pass --results-dir {stored}" in capsys.readouterr().err
    words = ["--output", "model"]
    assert command(export, *words) == 0
    assert "top-1 " in (finished / "model/README.md").read_text()
    assert open_study(ExplorerFlags(experiment_id="s")).findings
    (finished / "results").rename(finished / "mine")
    assert command(export, *words, "--results-dir", "mine") == 0
    assert "top-1 " in (finished / "model/README.md").read_text()
    capsys.readouterr()
    elsewhere.mkdir()
    assert evaluate("--results-dir", stored) == 0
    assert (elsewhere / "s/metrics.json").exists()
    assert capsys.readouterr().err == ""


@pytest.mark.fault(15, 19)
def test_a_study_cannot_send_its_cache_outside(finished, capsys):
    elsewhere = finished.parent / f"cache-{finished.name}"
    machine_of_study(finished, cache_dir=str(elsewhere))
    note = f"cache is used; for the other, pass --cache-dir {elsewhere}\n"
    assert evaluate() == 0
    assert note in capsys.readouterr().err
    assert train("--resume") == 0
    assert note in capsys.readouterr().err
    assert not elsewhere.exists()
    assert train("--resume", "--cache-dir", elsewhere) == 0
    assert elsewhere.exists()
    assert f"eval.py --cache-dir {elsewhere}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stored", "flags"),
    [
        ({"launcher": "ray"}, "--launcher ray"),
        (
            {"launcher": "ray", "ray_address": "evil.example:6379"},
            "--launcher ray --ray-address evil.example:6379",
        ),
        (
            {"launcher": "slurm", "slurm": ["cluster=local", "slurm_setup=[touch hacked]"]},
            "--launcher slurm --slurm cluster=local 'slurm_setup=[touch hacked]'",
        ),
    ],
)
def test_a_study_cannot_choose_a_launcher(finished, capsys, monkeypatch, stored, flags):
    started = []
    for name in ("ray", "slurm"):
        monkeypatch.setitem(CHECKS, name, started.append)
        monkeypatch.setitem(LAUNCHERS, name, lambda runs, machine, data: {})
    machine_of_study(finished, **stored)
    for words in ([], ["--plan"], ["--launcher", stored["launcher"]]):
        if " ".join(words) != flags:
            assert train("--resume", "s", *words) == 2
            assert f"check and add {flags}, or add --launcher local" in capsys.readouterr().err
    assert not started
    assert train("--resume", "s", *shlex.split(flags)) == 0
    (machine,) = started
    for name, value in stored.items():
        assert getattr(machine, name) == (tuple(value) if isinstance(value, list) else value)
    assert train("--resume", "s", "--launcher", "local") == 0
    assert len(started) == 1


@pytest.mark.fault(15)
def test_train_names_the_results_folder_that_evaluation_needs(finished, capsys):
    assert train(*TINY, "--results-dir", finished / "my results") == 0
    command = f"eval.py --results-dir '{finished}/my results' --experiment-id s"
    assert command in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../../../x", "{folder}/x", "a/b", "0.5"])
@pytest.mark.parametrize("file", ["study.json", "100/seed-1/config.json"])
def test_variant_names_of_stored_files_are_checked(finished, capsys, file, name):
    name, path = name.format(folder=finished), finished / "checkpoints/s" / file
    study = {"subset_sizes": [100], "seeds": [1], "variants": {name: {"epochs": 2}}}
    edited(path, **({"asked": [study]} if file == "study.json" else {"variant": name}))
    before = set(finished.rglob("*"))
    assert evaluate("--experiment-id", "s") == (2 if file == "study.json" else 3)
    (line,) = capsys.readouterr().err.splitlines()
    assert file in line
    assert "is no name for a variant" in line
    new = {path for path in set(finished.rglob("*")) - before if path.is_file()}
    assert all(path.is_relative_to(finished / "results" / "s") for path in new)
    assert not new or file != "study.json"


@pytest.mark.parametrize("name", ["../../x", "/x", "0.5"])
def test_variant_names_of_results_are_checked(tiny, tmp_path, name):
    content = json.loads((tiny / "results/s/metrics.json").read_text())
    content["runs"][0]["variant"] = name
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="is no name for a variant"):
        read_results(tmp_path / "metrics.json")


@pytest.mark.parametrize("name", ["lock", "metrics.csv", ".done.{pid}.tmp"])
def test_files_are_not_written_through_symbolic_links(tmp_path, name):
    (tmp_path / "mine").write_text("precious\n")
    (tmp_path / name.format(pid=os.getpid())).symlink_to("mine")
    row = EpochRow(1, 2.0, 0.5, None, 2.0, 0.5, None, 0.01, 1.0, 100.0)
    with contextlib.suppress(InputError, OSError), lock_folder(tmp_path):
        write_whole(tmp_path / "done", b"complete\n")
        append_epoch(tmp_path, row)
    assert (tmp_path / "mine").read_text() == "precious\n"


def test_a_lock_that_is_a_symbolic_link_is_refused_in_one_line(finished, capsys):
    (finished / "mine").write_text("precious\n")
    (finished / "checkpoints/s/lock").symlink_to(finished / "mine")
    assert train(*TINY) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "checkpoints/s/lock is a symbolic link" in line
    assert (finished / "mine").read_text() == "precious\n"


def choose_first(**selection):
    return choose(ModelFlags(experiment_id="s", subset_size=100, **selection))


def left_out(capsys):
    """Evaluate the study without its first run; return the reason."""
    assert evaluate("--experiment-id", "s") == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert list(read_results(Path("results/s/metrics.json")).subset_sizes) == ["200"]
    return line


@pytest.mark.fault(18)
def test_a_run_that_was_copied_over_another_counts_once(finished, capsys):
    shutil.rmtree(finished / FIRST)
    shutil.copytree(finished / "checkpoints/s/200/seed-1", finished / FIRST)
    line = left_out(capsys)
    assert "100/seed-1/config.json belongs to another run: subset_size: 200 stored, 100 ex" in line
    edited(finished / FIRST / "config.json", subset_size=100)
    assert "subset_sha256: " in left_out(capsys)
    with pytest.raises(InputError, match=r"best\.safetensors belongs to another run: subset_size"):
        choose_first()


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    "changes", [{"seed": 2}, {"subset_size": 0.5}, {"variant": "other"}, {"recipe": {"epochs": 9}}]
)
def test_an_edited_description_is_not_believed(finished, capsys, changes):
    path = finished / FIRST / "config.json"
    config = json.loads(path.read_text())
    ((field, value),) = changes.items()
    edited(path, **{field: {**config["recipe"], **value} if field == "recipe" else value})
    reason = f"100/seed-1/config.json belongs to another run: {'epochs' if value else field}"
    reason = reason if field == "recipe" else reason.replace("epochs", field)
    assert reason in left_out(capsys)
    with pytest.raises(InputError, match=r"(belongs to|describes) another run"):
        choose_first()
    assert train("--resume", "s") == 2


@pytest.mark.fault(18)
def test_weights_of_another_run_are_no_point_and_are_trained_again(finished, tiny, capsys):
    for name in ("best.safetensors", "best.safetensors.sha256"):
        shutil.copy(finished / "checkpoints/s/200/seed-1" / name, finished / FIRST)
    line = left_out(capsys)
    assert "best.safetensors belongs to another run: subset_size: 200 stored, 100 ex" in line
    with pytest.raises(InputError, match="belongs to another run"):
        choose_first()
    assert line.endswith("; train.py --resume sets it aside and trains the run again")
    weights = finished / FIRST / "best.safetensors"
    foreign = weights.read_bytes()
    assert train("--resume", "s") == 0
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "warning" in line)
    assert line.endswith("expected; set aside as best.safetensors.bad: THE RUN STARTS OVER")
    assert weights.with_name("best.safetensors.bad").read_bytes() == foreign
    assert bits(finished) == bits(tiny)
    assert evaluate("--experiment-id", "s") == 0


@pytest.mark.fault(11, 12)
@pytest.mark.parametrize("content", [b"", b"x" * 300, None, os.mkfifo])
def test_a_finished_run_without_weights_is_trained_again(finished, tiny, capsys, content):
    weights = finished / FIRST / "best.safetensors"
    weights.unlink()
    if content is os.mkfifo:
        os.mkfifo(weights)
    elif content is not None:
        write_verified(weights, content)
        assert left_out(capsys).endswith("sets it aside and trains the run again")
    assert train("--resume", "s") == 0
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "warning" in line)
    assert line.endswith("THE RUN STARTS OVER")
    assert bits(finished) == bits(tiny)
    assert weights.with_name("best.safetensors.bad").exists() == (content is not None)


@pytest.mark.fault(18)
def test_snapshots_of_another_run_are_set_aside(stopped, place, tiny):
    newest = snapshots.load_snapshot(stopped)
    for run, reason in (
        ({**newest["run"], "seed": 9}, "belongs to another run: seed: 9 stored, 1 expected"),
        ({"recipe": 3}, "has a damaged identity: recipe"),
        (None, "has a damaged identity: no identity"),
    ):
        with pytest.raises(DamagedError, match=reason):
            Checkpointer(RunDirectory(stopped), None, 0.0, newest["run"]).check({"run": run})
    file = io.BytesIO()
    torch.save({**newest, "run": {**newest["run"], "seed": 9}}, file)
    write_verified(stopped / "last.pt", file.getvalue())
    assert "seed: 9 stored, 1 expected; set aside as last.pt.bad" in finish(place, tiny)


@pytest.mark.fault(18)
def test_files_of_the_version_before_say_less_and_are_accepted(stopped, place, tiny, workplace):
    """In a study that was renamed, too."""
    file, snapshot = io.BytesIO(), snapshots.load_snapshot(stopped)
    torch.save({key: value for key, value in snapshot.items() if key != "run"}, file)
    write_verified(stopped / "last.pt", file.getvalue())
    assert "set aside" not in finish(place, tiny)
    shutil.rmtree(workplace / "checkpoints")
    shutil.copytree(tiny / "checkpoints/s", workplace / "checkpoints/renamed")
    for path in workplace.glob("checkpoints/renamed/*/*/best.safetensors"):
        weights, metadata, _ = read_weights(path)
        run = json.loads(metadata["run"])
        kept = {key: run[key] for key in ("epoch", "classes", "recipe", "pixel_moments")}
        early = {"run": json.dumps(kept)} if "/200/" in str(path) else {"epoch": str(run["epoch"])}
        write_verified(path, safetensors.torch.save(weights, early))
    assert train("--resume") == 0
    assert evaluate() == 0
    assert (
        read_results(workplace / "results/renamed/metrics.json").runs
        == read_results(tiny / "results/s/metrics.json").runs
    )


@pytest.mark.fault(19)
def test_environments_of_a_resumed_run_are_all_kept_and_differences_are_said(stopped, place, tiny):
    path = stopped / "environment.json"
    edited(path, torch="1.0", commit="another")
    before = json.loads(path.read_text())
    text = finish(place, tiny)
    assert "100/seed-1 is resumed with torch '1.0' before, '" in text
    assert text.count("its bits may differ by that") == 1
    after = json.loads(path.read_text())
    (resumed,) = after.pop("resumed")
    assert after == before
    assert resumed["epoch"] == 1
    assert resumed["date"] >= before["date"]
    assert resumed["torch"] == version("torch")
    other = place / "checkpoints/s/200/seed-1" / path.name
    assert "resumed" not in json.loads(other.read_text())
    edited(other, torch="1.0", commit="another")
    assert evaluate() == 0
    training = read_results(place / "results/s/metrics.json").training
    assert training["torch"] == ("1.0", version("torch"))
    assert training["commit"] == ("another", resumed["commit"])


@pytest.mark.fault(12, 19)
@pytest.mark.parametrize("content", ["[]", "{", '{"resumed": 3}', '{"resumed": [3, {"torch": 2}]}'])
def test_a_damaged_environment_is_no_reason_to_stop(tmp_path, content):
    (tmp_path / "environment.json").write_text(content)
    environment = {"torch": "2", "device": "cpu", "threads": 1, "processes": 1, "commit": "x"}
    add_environment(tmp_path, environment, 2)
    assert read_environments(tmp_path)[-1].items() >= environment.items()
    add_environment(tmp_path, environment, None)
    assert read_environments(tmp_path) == [environment]


def changed(row, column, value):
    """Replace a value of a row of metrics.csv."""
    values = row.split(",")
    return ",".join([*values[:column], value, *values[column + 1 :]])


@pytest.mark.parametrize("name", ["100", "100/seed-1"])
def test_folders_of_runs_that_are_symbolic_links_are_not_followed(finished, capsys, name):
    folder = finished / "checkpoints/s" / name
    folder.rename(finished / "mine")
    folder.symlink_to(finished / "mine")
    before = {path: path.stat().st_mtime_ns for path in (finished / "mine").rglob("*")}
    for run in (train, evaluate):
        assert run(*(TINY if run is train else ())) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"checkpoints/s/{name} is a symbolic link and is not followed" in line
    assert {path: path.stat().st_mtime_ns for path in (finished / "mine").rglob("*")} == before


MIXED_LOGS = {
    "twice": lambda head, rows: [head, *(row for row in rows for _ in range(2))],
    "out of order": lambda head, rows: [head, rows[1], rows[0], *rows[2:]],
    "lacks an epoch": lambda head, rows: [head, rows[0], *rows[2:]],
    "lacks a column": lambda head, rows: [head, *rows[:2], "3,0.1\n"],
    "words": lambda head, rows: [head, *rows[:2], "x," * 9 + "x\n"],
    "not a number": lambda head, rows: [head, *rows[:2], changed(rows[2], 1, "nan")],
    "infinite": lambda head, rows: [head, *rows[:2], changed(rows[2], 4, "inf")],
    "share above 1": lambda head, rows: [head, *rows[:2], changed(rows[2], 5, "1.5")],
    "negative share": lambda head, rows: [head, *rows[:2], changed(rows[2], 3, "-0.1")],
    "other header": lambda head, rows: ["a,b\n", *rows],
    "header twice": lambda head, rows: [head, head, *rows],
    "huge": lambda head, rows: [head, *rows, "9" * 200_000 + "\n"],
    "empty": lambda head, rows: [],
}


@pytest.mark.fault(24)
@pytest.mark.parametrize("kind", MIXED_LOGS)
def test_a_log_that_is_not_whole_is_named_and_repaired_by_resume(finished, tiny, capsys, kind):
    path = finished / FIRST / "metrics.csv"
    head, *rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(MIXED_LOGS[kind](head, rows)))
    assert train("--status") == 0
    assert evaluate() == 3
    assert "100/seed-1/metrics.csv does not have one row for each" in capsys.readouterr().err
    assert list(read_results(finished / "results/s/metrics.json").subset_sizes) == ["200"]
    assert train("--resume") == 0
    assert "100/seed-1/metrics.csv" in capsys.readouterr().err
    assert [row.epoch for row in read_epochs(path.parent)] == [1, 2, 3]
    if kind == "twice":
        finish(finished, tiny)


@pytest.mark.fault(24)
def test_mixed_rows_of_an_unfinished_run_are_repaired_by_resume(stopped, place, tiny):
    path = stopped / "metrics.csv"
    head, *rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([head, *rows, *rows]))
    finish(place, tiny)


DAMAGED = {
    "empty": lambda values: b"",
    "not utf-8": lambda values: b"\xff\xfe\x00",
    "list": lambda values: b"[1]",
    "number": lambda values: b"3",
    "huge number": lambda values: b"9" * 5000,
    "deep": lambda values: b"[" * 100_000,
    "no keys": lambda values: b"{}",
    "strings for all": lambda values: json.dumps(dict.fromkeys(values, "x")).encode(),
    "null for all": lambda values: json.dumps(dict.fromkeys(values)).encode(),
    "lists for all": lambda values: json.dumps({key: [] for key in values}).encode(),
    "true for all": lambda values: json.dumps(dict.fromkeys(values, True)).encode(),
    "nan for all": lambda values: json.dumps(dict.fromkeys(values, float("nan"))).encode(),
    "huge for all": lambda values: json.dumps(dict.fromkeys(values, 10**400)).encode(),
}


FILES_OF_A_RUN = [
    "config.json", "subset.npz", "metrics.csv", "best.safetensors", "best.safetensors.sha256",
]  # fmt: skip


@pytest.mark.fault(12, 23)
@pytest.mark.parametrize("name", FILES_OF_A_RUN)
def test_a_run_with_a_bad_file_is_left_out_and_the_others_are_scored(finished, capsys, name):
    path = finished / FIRST / name
    for harm in (path.unlink, lambda: path.write_bytes(b"\xff[1]")):
        harm()
        code = evaluate("--report")
        error = capsys.readouterr().err
        assert (code, error.count("\n")) == (3, 1)
        assert error.startswith(f"  100/seed-1: {FIRST}/{name}".removesuffix(".sha256"))
        results = read_results(finished / "results/s/metrics.json")
        assert list(results.subset_sizes) == ["200"]
        assert (finished / "results/s/scaling_law.json").exists()
        if name.startswith("best"):
            return  # it counts as unfinished from now on


@pytest.mark.fault(12)
@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize(
    "name", ["study.json", "100/seed-1/config.json", "100/seed-1/metrics.csv", "100/seed-1/done"]
)
def test_a_damaged_file_of_a_study_is_no_traceback(finished, capsys, name, kind):
    path = finished / "checkpoints/s" / name
    whole = path.read_bytes()
    content = DAMAGED[kind](json.loads(whole) if name.endswith("json") else {"a": 1})
    path.write_bytes(content)
    codes = [train("--status", "--resume", "s"), evaluate("--experiment-id", "s")]
    assert codes == {"study.json": [2, 2]}.get(name, [0, 3])
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    assert errors.count("\n") == (2 if name == "study.json" else 1)
    assert path.read_bytes() == content
    is_json = name.endswith("json")
    assert train("--resume", "s") == (2 if is_json else 0)
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    assert errors.count("\n") == 1 or not is_json
    assert not is_json or name in errors


@pytest.mark.fault(12)
@pytest.mark.parametrize(
    "value",
    [None, True, [], {}, "x", float("nan"), 10**400, -1],
    ids=["null", "true", "list", "object", "string", "nan", "huge", "negative"],
)
@pytest.mark.parametrize("name", ["study.json", "100/seed-1/config.json"])
def test_one_damaged_value_of_a_study_is_one_line(finished, capsys, name, value):
    path = finished / "checkpoints/s" / name
    whole = json.loads(path.read_text())
    for key in set(whole) - {"machine", "pixel_moments", "created", "schema_version"}:
        for changed in ({**whole, key: value}, {k: v for k, v in whole.items() if k != key}):
            path.write_text(json.dumps(changed))
            assert train("--resume", "s") == 2, (key, value)
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith("error: ")
            assert len(line) < 2000
