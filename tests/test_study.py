"""The two commands on real images, and what they leave on disk."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dataworth.commands.flags import EvalFlags
from dataworth.commands.output_processes import Output, OutputProcesses
from dataworth.commands.planning import plan_run
from dataworth.config import Machine, Recipe, Run
from dataworth.data.prepare import open_data
from dataworth.evaluation import evaluator
from dataworth.evaluation.metrics import compute_top_k_error
from dataworth.evaluation.results import newest_results, read_results
from dataworth.evaluation.tables import runs_table, sizes_table
from dataworth.signals import handle_signals, received_signal
from dataworth.storage.run_directory import RunDirectory
from dataworth.storage.study_directory import StudyDirectory
from dataworth.training.trainer import Trainer
from tests import made
from tests.conftest import QUICK, ROOT, STUDY, evaluate, train


def digests(folder):
    """SHA-256 of every weight file and of the reproducible columns of every metrics.csv."""
    found = {}
    for path in sorted(folder.rglob("best.safetensors")):
        found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.rglob("metrics.csv")):
        rows = pd.read_csv(path).drop(columns=["seconds", "images_per_second"])
        found[str(path.relative_to(folder))] = rows.to_csv()
    return found


def test_two_studies_begun_in_one_second_are_two(workplace, monkeypatch):
    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 11, 20, 10, 15, tzinfo=tz)

    monkeypatch.setattr("dataworth.commands.planning.datetime", Stopped)
    for epochs in "12":
        assert train(*QUICK, "--epochs", epochs, "--subset-sizes", "0.25") == 0
    names = {path.name for path in (workplace / "checkpoints").iterdir()}
    assert names == {"20261120-101500", "20261120-101500-2"}
    first = json.loads((workplace / "checkpoints/20261120-101500/study.json").read_text())
    assert first["recipe"]["epochs"] == 1


def test_run_directory_holds_what_is_promised(study):
    folder = study / "checkpoints" / "s" / "0.5" / "seed-2"
    names = {path.name for path in folder.iterdir()}
    assert {name for name in names if not name.startswith("events.out.tfevents")} == {
        "config.json",
        "environment.json",
        "subset.npz",
        "metrics.csv",
        "best.safetensors",
        "best.safetensors.sha256",
        "done",
    }
    assert (folder / "done").read_text() == "complete\n"
    config = json.loads((folder / "config.json").read_text())
    assert config["recipe"]["dataset"] == "digits"
    indices = np.load(folder / "subset.npz")["indices"]
    assert hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest() == config["subset_sha256"]
    assert pd.read_csv(folder / "metrics.csv").epoch.tolist() == [1, 2, 3]
    assert {"commit", "torch", "device", "date"} <= set(
        json.loads((folder / "environment.json").read_text())
    )


def test_subsets_on_disk_are_nested_and_differ_between_seeds(study):
    def subset(size, seed):
        path = study / "checkpoints" / "s" / size / f"seed-{seed}" / "subset.npz"
        return set(np.load(path)["indices"].tolist())

    assert subset("0.25", 1) < subset("0.5", 1) < subset("1.0", 1)
    assert len(subset("0.25", 1)) == 323
    assert subset("0.25", 1) != subset("0.25", 2)


def test_results_hold_the_promised_schema(study):
    results = read_results(study / "results" / "s" / "metrics.json")
    assert results.schema_version == 1
    assert (results.experiment_id, results.dataset) == ("s", "digits")
    assert (results.model, results.num_classes) == ("alexnet-small", 10)
    assert len(results.runs) == 6
    assert set(results.training) == {"command", "commit", "device", "torch", "date"}
    for run in results.runs:
        assert run.status == "complete"
        assert set(run.splits) == {"test", "validation", "train"}
        for scores in run.splits.values():
            for k in (1, 5):
                low, high = scores.interval(k)
                assert 0 <= low <= scores.error(k) <= high <= 1
                accuracy = scores.top_1_accuracy if k == 1 else scores.top_5_accuracy
                assert scores.error(k) + accuracy == pytest.approx(1)
        assert run.splits["test"].num_images == 360
        assert run.splits["train"].num_images == run.num_images
    assert list(results.subset_sizes) == ["0.25", "0.5", "1.0"]
    assert results.subset_sizes["0.5"].num_runs == 2


def test_stored_predictions_give_the_stored_errors(study):
    for run in read_results(study / "results" / "s" / "metrics.json").runs:
        name = f"{run.subset_size}/seed-{run.seed}.npz"
        arrays = np.load(study / "results" / "s" / "predictions" / name)
        assert arrays["test_logits"].dtype == np.float32
        for split in ("test", "validation"):
            logits, labels = (
                torch.from_numpy(arrays[f"{split}_{k}"]) for k in ("logits", "labels")
            )
            found = compute_top_k_error(logits, labels)
            assert found["top-1-error"] == run.splits[split].top_1_error
            assert found["top-5-error"] == run.splits[split].top_5_error


def test_runs_scored_side_by_side_have_the_scores_of_runs_alone(study, workplace):
    words = ["--checkpoint-dir", study / "checkpoints", "--cache-dir", study / "cache"]
    assert evaluate(*words, "--results-dir", "r", "--jobs", 3) == 0
    alone = study / "results"  # with one thread of torch, one run at a time
    runs, same = (read_results(folder / "s/metrics.json").runs for folder in (Path("r"), alone))
    assert runs == same
    files = [file for file in Path("r").rglob("*") if file.suffix in (".npz", ".csv")]
    assert len(files) == 6 + 2
    for file in files:
        assert file.read_bytes() == (alone / file.relative_to("r")).read_bytes()


@pytest.mark.parametrize(
    ("code", "line"), [(2, "No space left on device"), (143, "interrupted by SIGTERM")]
)
def test_a_full_disk_or_a_signal_ends_what_is_scored_side_by_side(
    study, workplace, monkeypatch, capsys, code, line
):
    begun, written, stops = threading.Barrier(2), [], []

    def event():
        stops.append(threading.Event())
        return stops[-1]

    def write(results_dir, run, splits):
        written.append(run)
        if len(written) == 1:  # of the run that is scored alone
            return
        if begun.wait(60) == 0:
            if code == 2:
                raise OSError(errno.ENOSPC, line, "logits")
            os.kill(os.getpid(), signal.SIGTERM)
        assert stops[-1].wait(60)  # the main thread needs a moment to take notice

    monkeypatch.setattr(evaluator, "Event", event)
    monkeypatch.setattr(evaluator, "write_predictions", write)
    words = ["--checkpoint-dir", study / "checkpoints", "--cache-dir", study / "cache"]
    assert evaluate(*words, "--results-dir", "r", "--jobs", 2) == code
    assert line in capsys.readouterr().err
    assert len(written) == 3
    assert received_signal() is None  # a run that this process trains next is not stopped


def test_jobs_are_as_many_as_cores_and_memory_allow(monkeypatch):
    monkeypatch.setattr(evaluator, "available_bytes", lambda: 5 * 10**9)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    torch.set_num_threads(4)
    try:
        assert evaluator.num_jobs("auto", cpu, 10**8) == 4
        assert evaluator.num_jobs("auto", cpu, 2 * 10**9) == 3
        assert evaluator.num_jobs("auto", cpu, 10**10) == 1
        assert evaluator.num_jobs("auto", cpu, -1) == 4
        assert evaluator.num_jobs("auto", gpu, 10**8) == 1
        assert evaluator.num_jobs(2, gpu, 10**10) == 2
    finally:
        torch.set_num_threads(1)


def test_best_epoch_is_that_of_the_lowest_validation_loss(study):
    for run in read_results(study / "results" / "s" / "metrics.json").runs:
        path = study / "checkpoints" / "s" / str(run.subset_size) / f"seed-{run.seed}"
        rows = pd.read_csv(path / "metrics.csv")
        best = rows.loc[rows.validation_loss.idxmin()]
        assert best.epoch == run.best_epoch
        # bf16 in training, fp32 in evaluation: equal within rounding
        assert best.validation_loss == pytest.approx(run.splits["validation"].loss, rel=0.05)


def test_errors_fall_with_size(study):
    table = sizes_table(read_results(study / "results" / "s" / "metrics.json"))
    assert table.top_1_error.is_monotonic_decreasing


def test_tables_and_figures_are_written(study):
    folder = study / "results" / "s"
    assert len(pd.read_csv(folder / "metrics.csv")) == 6 * 3
    assert len(pd.read_csv(folder / "epochs.csv")) == 6 * 3
    assert len(runs_table(read_results(folder / "metrics.json"))) == 6 * 3
    assert "exponent" in json.dumps(json.loads((folder / "scaling_law.json").read_text()))
    figures = {path.name for path in (folder / "figures").iterdir()}
    names = ("top_1_error", "top_5_error", "learning_curves")
    assert figures == {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}
    assert newest_results(study / "results") == folder / "metrics.json"


@pytest.mark.fault(22)
def test_the_same_command_skips_what_is_complete(study, workplace, capsys):
    shutil.copytree(study, workplace, dirs_exist_ok=True, copy_function=shutil.copy2)
    before = {p: p.stat().st_mtime_ns for p in workplace.glob("checkpoints/s/*/*/*")}
    assert train(*STUDY, "--experiment-id", "s") == 0
    assert {p: p.stat().st_mtime_ns for p in workplace.glob("checkpoints/s/*/*/*")} == before
    assert "6 of 6 runs complete" in capsys.readouterr().out


def test_the_same_command_gives_the_same_bits(study, workplace):
    assert train(*STUDY, "--experiment-id", "again", "--subset-sizes", "0.25") == 0
    found = digests(workplace / "checkpoints" / "again")
    assert len(found) == 4
    expected = digests(study / "checkpoints" / "s")
    assert found.items() <= expected.items()


@pytest.mark.fault(50)
@pytest.mark.slow
def test_a_run_alone_in_a_narrow_terminal_ends_as_in_its_study_under_bars(study, workplace):
    """A fresh process in a terminal of 40 columns; with NO_COLOR its bars have no colours."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    words = [*STUDY, "--experiment-id", "one", "--subset-sizes", "0.5", "--seeds", "2"]
    words = [sys.executable, ROOT / "train.py", *words]
    environment, output = {**os.environ, "NO_COLOR": "1"}, b""
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # raised when the other end closes
            while data := os.read(ours, 1024):
                output += data
    os.close(ours)
    assert process.returncode == 0
    assert b"study:" in output
    assert b"run 1/1" in output
    assert not re.search(rb"\x1b\[[0-9;]*m", output)
    weights = digests(workplace / "checkpoints" / "one")
    assert len(weights) == 2
    assert weights.items() <= digests(study / "checkpoints" / "s").items()


@pytest.mark.fault(1, 24)
@pytest.mark.parametrize("epochs_done", [1, 2])
def test_an_interrupted_run_ends_with_the_same_bits(study, workplace, monkeypatch, epochs_done):
    recipe = Recipe(
        dataset="digits", model="alexnet-small", image_size=32, epochs=3, batch_size=64,
        learning_rate=0.02, augment="crop",
    )  # fmt: skip
    run, folder = Run(recipe=recipe, subset_size=0.5, seed=1), workplace / "cut"
    bench = Trainer.build(recipe, Machine(checkpoint_seconds=0), open_data(recipe, Machine()))

    def dies(row):
        if row.epoch == epochs_done + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.train(plan_run(run, bench.data, folder), dies)
    assert RunDirectory(folder / run.path).load_last()["epoch"] == epochs_done
    with (folder / run.path / "metrics.csv").open("a") as file:
        file.write("3,0.1,0.")  # a torn line
    seen = []
    status = bench.train(plan_run(run, bench.data, folder), lambda row: seen.append(row.epoch))
    assert status == "complete"
    assert seen == list(range(epochs_done + 1, 4))
    assert not (folder / run.path / "last.pt").exists()
    assert digests(folder).items() <= digests(study / "checkpoints" / "s").items()


@pytest.mark.fault(1, 23)
def test_a_killed_study_is_finished_by_resume(study, workplace):
    words = [sys.executable, ROOT / "train.py", *STUDY, "--experiment-id", "s"]
    words += ["--subset-sizes", "0.25"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("run 2/2"):
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert train("--resume") == 0
    weights = digests(workplace / "checkpoints" / "s")
    assert len(weights) == 4
    assert weights.items() <= digests(study / "checkpoints" / "s").items()
    assert evaluate() == 0
    ours, theirs = (
        [run.splits for run in read_results(f / "results" / "s" / "metrics.json").runs]
        for f in (workplace, study)
    )
    assert ours == theirs[:2]


@pytest.fixture
def opened(monkeypatch):
    """Count how often each path is opened."""
    counts, system_open = Counter(), os.open

    def counting(path, *args, **kwargs):
        counts[str(path)] += 1
        return system_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", counting)
    return counts


def test_a_study_can_be_extended(study, workplace, opened):
    """Its evaluation reads config.json of each run once."""
    shutil.copytree(study, workplace, dirs_exist_ok=True)
    assert train(*QUICK, "--experiment-id", "s", "--subset-sizes", "100", "--seeds", "3") == 0
    opened.clear()
    assert evaluate("--experiment-id", "s") == 0
    assert [n for path, n in opened.items() if path.endswith("/config.json")] == 7 * [1]
    results = read_results(workplace / "results" / "s" / "metrics.json")
    assert [run.num_images for run in results.runs] == [100, 323, 323, 647, 647, 1293, 1293]


def test_sizes_and_seeds_requested_before_are_not_forgotten(study, workplace, capsys):
    shutil.copytree(study, workplace, dirs_exist_ok=True)
    shutil.rmtree(workplace / "checkpoints" / "s" / "0.25" / "seed-2")
    assert train(*QUICK, "--experiment-id", "s", "--subset-sizes", "100", "--seeds", "3") == 0
    assert evaluate("--experiment-id", "s") == 3
    assert "0.25/seed-2: not finished" in capsys.readouterr().err
    assert train("--resume", "s") == 0
    assert "7 of 7 runs complete" in capsys.readouterr().out


@pytest.mark.fault(1)
def test_a_run_killed_while_it_was_claimed_is_claimed_whole(study, workplace):
    shutil.copytree(study, workplace, dirs_exist_ok=True)
    folder = workplace / "checkpoints" / "s" / "0.25" / "seed-1"
    for name in ("done", "subset.npz", "best.safetensors", "metrics.csv"):
        (folder / name).unlink()
    assert train("--resume", "s") == 0
    assert digests(workplace / "checkpoints" / "s") == digests(study / "checkpoints" / "s")


@pytest.mark.parametrize("is_finished", [True, False])
def test_study_json_is_parsed_once_per_command(study, workplace, monkeypatch, is_finished):
    shutil.copytree(study, workplace, dirs_exist_ok=True, copy_function=shutil.copy2)
    path = workplace / "checkpoints" / "s" / "study.json"
    if not is_finished:
        (path.parent / "0.25" / "seed-1" / "done").unlink()
    content, parsed, loads = path.read_bytes(), [], json.loads

    def counted(text, **options):
        parsed.append(text in (content, content.decode()))
        return loads(text, **options)

    monkeypatch.setattr(json, "loads", counted)
    modified = path.stat().st_mtime_ns
    assert train("--resume") == 0
    assert sum(parsed) == 1
    assert path.stat().st_mtime_ns == modified, "nothing was added"


def test_resume_takes_the_study_that_is_named(study, workplace, capsys):
    shutil.copytree(study, workplace, dirs_exist_ok=True)
    shutil.copytree(workplace / "checkpoints" / "s", workplace / "checkpoints" / "newer")
    assert train("--resume", "--experiment-id", "s") == 0
    assert "complete in checkpoints/s\n" in capsys.readouterr().out


def test_status_shows_the_study_that_is_named(study, workplace, capsys):
    shutil.copytree(study, workplace, dirs_exist_ok=True)
    shutil.copytree(workplace / "checkpoints" / "s", workplace / "checkpoints" / "a")
    changed = json.loads((workplace / "checkpoints/s/study.json").read_text())
    newer = {**changed, "created": "9999"}
    (workplace / "checkpoints/s/study.json").write_text(json.dumps(newer))
    for words in (
        ["--resume", "a"],
        ["--experiment-id", "a"],
        ["--resume", "--experiment-id", "a"],
    ):
        assert train("--status", *words) == 0
        assert capsys.readouterr().out.startswith("checkpoints/a\n")


def test_two_names_for_one_study_are_refused(study, workplace, capsys):
    shutil.copytree(study, workplace, dirs_exist_ok=True)
    for words in ([], ["--status"], ["--list"]):
        assert train("--resume", "s", "--experiment-id", "t", *words) == 2
        expected = "error: --resume s and --experiment-id t name two studies; give one name\n"
        assert capsys.readouterr().err == expected
    assert train("--resume", "s", "--experiment-id", "s", "--list") == 0


def test_a_moved_study_is_resumed_where_it_lies(study, workplace):
    shutil.copytree(study, workplace, dirs_exist_ok=True)
    (workplace / "checkpoints").rename(workplace / "elsewhere")
    shutil.rmtree(workplace / "elsewhere" / "s" / "0.25")
    assert train("--resume", "--checkpoint-dir", "elsewhere") == 0
    assert not (workplace / "checkpoints").exists()
    assert (workplace / "elsewhere" / "s" / "0.25" / "seed-1" / "done").exists()


@pytest.mark.fault(8, 23)
def test_one_failed_run_does_not_stop_the_others(workplace, monkeypatch, capsys):
    original = Trainer.train_epoch

    def fails_at_half(self, loader, run, after_step):
        if run.subset_size == 0.5:
            raise RuntimeError("out of luck")
        return original(self, loader, run, after_step)

    monkeypatch.setattr(Trainer, "train_epoch", fails_at_half)
    words = [*QUICK, "--experiment-id", "s", "--subset-sizes", "1.0", "0.5", "0.25"]
    assert train(*words, "--epochs", "1") == 3
    assert "0.5/seed-42: failed: RuntimeError: out of luck" in capsys.readouterr().err
    assert evaluate() == 3
    captured = capsys.readouterr()
    assert "0.5/seed-42: not finished" in captured.err
    assert "Traceback" not in captured.err
    monkeypatch.setattr(Trainer, "train_epoch", original)
    assert train(*words, "--epochs", "1") == 0


@pytest.mark.fault(28)
def test_a_diverged_run_is_named_and_is_no_point_of_the_curve(workplace, capsys):
    words = [*QUICK, "--experiment-id", "s", "--subset-sizes", "0.25", "--learning-rate", "1e30"]
    assert train(*words) == 3
    assert "diverged" in capsys.readouterr().err
    assert evaluate() == 2
    assert "no finished run" in capsys.readouterr().err


def test_a_size_at_chance_is_untrained_and_stays_out_of_every_mean(workplace, capsys):
    words = [*QUICK, "--experiment-id", "s", "--subset-sizes", "0.25", "--learning-rate", "1e-9"]
    assert train(*words) == 0
    assert evaluate() == 0
    results = read_results(workplace / "results" / "s" / "metrics.json")
    assert results.runs[0].status == "untrained"
    assert results.subset_sizes == {}
    output = " ".join(capsys.readouterr().out.split())
    assert "1 (at chance)" in output
    assert "At chance level, and in no mean and no fit: a top-1 error of" in output


def test_list_prints_the_runs_and_writes_nothing(workplace, capsys):
    assert train(*STUDY, "--list") == 0
    out = capsys.readouterr().out
    assert "1,293 train, 144 validation, 360 test" in out
    assert " 323" in out
    assert list(workplace.iterdir()) == []


def test_print_config_is_a_config(workplace, capsys):
    assert train(*STUDY, "--print-config") == 0
    (workplace / "c.yaml").write_text(capsys.readouterr().out)
    assert train("--config", "c.yaml", "--print-config") == 0
    assert (workplace / "c.yaml").read_text() == capsys.readouterr().out


@pytest.mark.fault(50)
def test_a_pipe_shows_plain_lines(study, workplace, capfd):
    assert train(*STUDY, "--subset-sizes", "0.25", "--seeds", "1") == 0
    output, errors = capfd.readouterr()  # what tells a terminal is the file descriptor
    assert "\r" not in output + errors
    assert "\x1b" not in output + errors
    assert "run 1/1  0.25/seed-1  epoch 3/3" in output


@pytest.mark.slow
def test_a_folder_of_colour_images_is_learned(workplace):
    folder = made.write_coloured("colours", 12, train=960, validation=48, test=240)
    words = ["--dataset", folder, "--model", "alexnet-small", "--image-size", "32"]
    words += ["--subset-sizes", "0.5", "0.1", "0.05", "--epochs", "2", "--batch-size", "16"]
    assert train(*words, "--experiment-id", "c") == 0
    assert evaluate() == 0
    results = read_results(workplace / "results" / "c" / "metrics.json")
    assert results.num_classes == 12
    assert [run.num_images for run in results.runs] == [48, 96, 480]
    errors = [run.splits["test"].top_1_error for run in results.runs]
    assert errors[-1] < min(errors[0], 0.7)


@pytest.mark.slow
@pytest.mark.parametrize("dies", [False, True])
def test_processes_of_their_own_make_the_same_output_or_this_one_does(study, tmp_path, dies):
    results = read_results(study / "results/s/metrics.json")
    directories = list(StudyDirectory.find(study / "checkpoints", "s").run_directories().values())
    outputs = [
        Output(results, directories, EvalFlags(), ["note"], tmp_path / name)
        for name in ("apart", "here")
    ]
    with handle_signals():  # forgets those of other tests
        apart = OutputProcesses(is_apart=True)
        if dies:
            apart.pool.start(1, num_threads=1)
            apart.pool.workers[0].process.kill()
        texts = [apart.make(outputs[0]).text, OutputProcesses(False).make(outputs[1]).text]
        apart.stop()
    assert texts[0] == texts[1]
    assert "From " in texts[0]
    made_here = sorted(path for path in (tmp_path / "here").rglob("*") if path.suffix != ".pdf")
    assert len([path for path in made_here if path.is_file()]) == 4 + 3
    for path in filter(Path.is_file, made_here):
        twin = tmp_path / "apart" / path.relative_to(tmp_path / "here")
        assert path.read_bytes() == twin.read_bytes()
