"""Every stored file of a study harmed in 60 ways and more: each command ends in one clean line."""

import contextlib
import functools
import hashlib
import io
import os
import re
import shutil
import signal
import stat
from pathlib import Path

import datasets as hf
import pytest
import tyro
from torch import nn

from dataworth.commands import eval as eval_command
from dataworth.commands import export as export_command
from dataworth.commands import forecast as forecast_command
from dataworth.commands import predict as predict_command
from dataworth.commands import train as train_command
from dataworth.data import prepare
from dataworth.data.datasets import DATASETS
from dataworth.figures import conformal, evaluation, scaling
from dataworth.models.registry import MODELS
from dataworth.report import sections
from dataworth.report.drawings import Drawing
from dataworth.storage import environment
from dataworth.storage.files import write_digest
from dataworth.training.checkpointing import Checkpointer
from tests import made
from tests.conftest import built_once, evaluate, train
from tests.faults.mutations import harms, remove

CLASSES = [f"class {k}" for k in range(6)]
SECONDS = 30  # a command takes a tenth of one
RUNS = [
    "--dataset", "few", "--model", "tiny", "--image-size", "8", "--epochs", "2",
    "--batch-size", "12", "--learning-rate", "0.1", "--subset-sizes", "12", "24", "48",
    "--checkpoint-seconds", "0", "--device", "cpu", "--experiment-id", "s",
]  # fmt: skip
STUDY = ["--experiment-id", "s"]
COMMANDS = {
    "status": (train_command.train, ["--status", "--resume", "s"]),
    "resume": (train_command.train, ["--resume", "s"]),
    "eval": (eval_command.evaluate, STUDY),
    "extend": (eval_command.evaluate, [*STUDY, "--full", "--conformal"]),
    "report": (eval_command.evaluate, [*STUDY, "--report"]),
    "predict": (predict_command.predict, [*STUDY, "--image", "../a.png", "--conformal"]),
    "export": (export_command.export, [*STUDY, "--output", "results/exported"]),
    "forecast": (forecast_command.forecast, ["results/s/metrics.json"]),
}
COMPLETE, FAILED, RESULTS = "checkpoints/s/48/seed-42/", "checkpoints/s/12/seed-42/", "results/s/"
CACHE = "cache/few-*-9px-v1/train/"
READERS = {  # file -> commands that read or replace it; those after the bar take longest
    "checkpoints/s/study.json": "status predict export eval resume",
    f"{COMPLETE}config.json": "status predict export eval resume",
    f"{COMPLETE}environment.json": "eval | resume report",
    f"{COMPLETE}subset.npz": "predict export resume eval",
    f"{COMPLETE}metrics.csv": "status eval resume | report",
    f"{COMPLETE}best.safetensors": "predict eval export | resume",
    f"{COMPLETE}best.safetensors.sha256": "predict export eval",
    f"{COMPLETE}done": "status predict eval resume",
    f"{COMPLETE}conformal.json": "predict export | extend",
    f"{FAILED}config.json": "status eval resume",
    f"{FAILED}environment.json": "status resume | report",
    f"{FAILED}subset.npz": "status resume",
    f"{FAILED}metrics.csv": "status eval resume | report",
    f"{FAILED}last.pt": "resume",
    f"{FAILED}last.pt.sha256": "status resume",
    f"{FAILED}previous.pt": "status resume",
    f"{FAILED}error.txt": "status | resume report",
    f"{CACHE}manifest.json": "eval | resume",
    f"{CACHE}images.npy": "eval | resume",
    f"{CACHE}digests.npy": "eval | resume",
    f"{RESULTS}metrics.json": "forecast export | eval",
    f"{RESULTS}metrics.csv": "eval",
    f"{RESULTS}scaling_law.json": "eval",
    f"{RESULTS}epochs.csv": "eval",
    f"{RESULTS}conformal.csv": "report | extend",
    f"{RESULTS}per_class.csv": "report | extend",
    f"{RESULTS}predictions/48/seed-42.npz": "eval | extend report",
}
OUTPUT = [f"{RESULTS}{name}" for name in ("metrics.csv", "scaling_law.json", "epochs.csv")]
QUICK = [file for file in READERS if file not in OUTPUT and not READERS[file].startswith("report")]
FOLDERS = ("cache", "checkpoints/s", "results/s", "results/exported")  # that commands write to
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


def few():
    """48 training, 12 validation and 36 test images of six classes."""
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=CLASSES)})
    tables = {}
    for number, (split, count) in enumerate({"train": 48, "validation": 12, "test": 36}.items()):
        labels = [i % 6 for i in range(count)]
        images = [made.coloured(k, 6, [number, i], (8, 8)) for i, k in enumerate(labels)]
        cells = [{"bytes": made.encoded(image, "png"), "path": None} for image in images]
        tables[split] = hf.Dataset.from_dict({"image": cells, "label": labels}, features=features)
    return tables


def tiny(num_classes, dropout):
    layers = nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout)
    return nn.Sequential(*layers, nn.Linear(72, num_classes))


@pytest.fixture(scope="module", autouse=True)
def quick():
    """A data set and a model that take milliseconds; no figures, no waiting for the disk."""
    parsed = {}

    def parse(kind, *, args, default, **options):
        key = (kind, tuple(args), default)
        if key not in parsed:
            parsed[key] = cli(kind, args=args, default=default, **options)
        return parsed[key]

    cli = tyro.cli
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "few", few)
        patch.setitem(MODELS, "tiny", tiny)
        patch.setattr(tyro, "cli", parse)
        patch.setattr(os, "fsync", lambda descriptor: None)
        for name in ("_version", "_commit"):
            patch.setattr(environment, name, functools.cache(getattr(environment, name)))
        patch.setattr(scaling, "study_figures", lambda findings: {})
        patch.setattr(evaluation, "save_full_figures", lambda *arguments: None)
        patch.setattr(conformal, "save_conformal_figures", lambda *arguments: None)
        patch.setattr(sections, "inline", lambda *arguments: Drawing("", ""))
        yield


class Place:
    """A copy of a study in which one file at a time is harmed, and put back."""

    def __init__(self, whole, folder):
        self.whole, self.folder = whole, folder
        shutil.copytree(whole, folder)
        self.before = self.tree()

    def tree(self):
        """Path -> mode, and size, times, number or target, of everything."""
        entries = {}
        for path in sorted(self.folder.rglob("*")):
            info = path.lstat()
            details = (info.st_size, info.st_mtime_ns, info.st_ino)
            details = () if stat.S_ISDIR(info.st_mode) else details
            target = path.readlink() if path.is_symlink() else None
            entries[path.relative_to(self.folder)] = (info.st_mode, *details, target)
        return entries

    def restore(self):
        after = self.tree()
        for path in sorted(after.keys() - self.before.keys()):
            remove(self.folder / path)
        for path, entry in self.before.items():
            if after.get(path) != entry:
                remove(self.folder / path)
                if (self.whole / path).is_dir():
                    (self.folder / path).mkdir()
                else:
                    shutil.copy2(self.whole / path, self.folder / path)
        self.before = self.tree()


@pytest.fixture(scope="module")
def place(quick, tmp_path_factory):
    """A study of two complete runs and one that failed in its second epoch, evaluated."""
    at_boundary = Checkpointer.at_boundary

    def failing(self):
        at_boundary(self)
        if self.directory.path.parent.name == "12" and self.state.epoch == 1:
            raise RuntimeError("a fault")

    def build():
        Path("outside").mkdir()
        Path("outside/precious").write_text("precious\n")
        made.scene(8, 8).save("a.png")
        Path("work").mkdir()
        with contextlib.chdir("work"), pytest.MonkeyPatch.context() as patch:
            patch.setattr(Checkpointer, "at_boundary", failing)
            assert train(*RUNS) == 3
            assert evaluate("--full", "--conformal") == 3

    whole = built_once(tmp_path_factory, "whole", build)
    place = Place(whole, tmp_path_factory.mktemp("harmed") / "place")
    with contextlib.chdir(place.folder / "work"):
        yield place


def harm(path, change):
    """Harm a file; weights and snapshots of another content get its SHA-256."""
    if callable(change):
        change(path)
        return
    path.write_bytes(change)
    if path.suffix in (".pt", ".safetensors"):
        write_digest(path, hashlib.sha256(change).hexdigest())


def end(function, words):
    """Run a command; return its exit code, or what it raised, and what it printed."""

    def give_up(*_):
        raise SystemExit(f"no end within {SECONDS} seconds")

    prepare._open.cache_clear()
    out, err = io.StringIO(), io.StringIO()
    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            function(words)
    except SystemExit as stop:
        return stop.code, out.getvalue(), err.getvalue()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def faults(place, name):
    """Run a command on what was harmed; yield what it must not do."""
    before, errors = place.tree(), [Path(f"{run}error.txt") for run in (FAILED, COMPLETE)]
    code, out, err = end(*COMMANDS[name])
    after = place.tree()
    if code not in (0, 2, 3) or "Traceback" in out + err:
        yield f"exit {code}: {err[-600:]}"
    if code == 2 and not err.splitlines()[-1].startswith("error: "):
        yield f"no line that says why: {err[-300:]}"
    if UNPRINTABLE.search(out + err) or max(map(len, (out + err).splitlines()), default=0) > 2500:
        yield f"printed {err[:300]!r}"
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    allowed = [place.folder / "work" / folder for folder in FOLDERS]
    for path in changed:
        if not any((place.folder / path).is_relative_to(folder) for folder in allowed):
            yield f"wrote {path}"
    for path in errors:
        is_new = Path("work") / path in changed and path.is_file()
        if is_new and path.stat().st_size < 10**6 and "Traceback" in path.read_text():
            yield path.read_text()[-600:]


def check(place, pattern, names, all_commands=False):
    """Harm a file in every way; after each, run one of the commands that read it, or all."""
    (path,) = Path().glob(pattern)
    others = {"another run": FAILED if path.parent == Path(COMPLETE) else COMPLETE}
    others = {key: Path(folder) / path.name for key, folder in others.items()}
    others["another format"] = Path(COMPLETE, "config.json" if path.suffix != ".json" else "done")
    others = {key: other for key, other in others.items() if other.is_file() and other != path}
    found, changes = [], harms(path, others)
    assert len(changes) >= 60
    for i, (kind, change) in enumerate(changes.items()):
        for name in names if all_commands else [names[i % len(names)]]:
            harm(path, change)
            found += [f"{kind}: {name}: {fault}" for fault in faults(place, name)]
            place.restore()
    assert not found, "\n\n".join(found)


@pytest.mark.fault(11, 12, 20, 21, 24, 29, 44, 49, 51)
@pytest.mark.parametrize("file", QUICK)
def test_whatever_harms_a_stored_file_a_command_says_so(place, file):
    check(place, file, READERS[file].split(" | ")[0].split())


@pytest.mark.slow
@pytest.mark.parametrize("file", READERS)
def test_whatever_harms_a_stored_file_every_command_says_so(place, file):
    check(place, file, READERS[file].replace("|", "").split(), all_commands=True)
