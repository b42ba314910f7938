"""Disks that fill up, other file systems, odd names, and who may read the files."""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dataworth.commands.cost import disk_usage
from dataworth.commands.parsing import parse_train
from dataworth.commands.planning import plan_study, resolve_study
from dataworth.config import Machine, Recipe
from dataworth.data import prepare
from dataworth.data.prepare import open_data
from dataworth.storage import snapshots
from dataworth.storage.epoch_log import EpochRow, append_epoch, sync_epochs
from tests.conftest import PATHS, evaluate, train
from tests.faults.conftest import FIRST, TINY, finish
from tests.faults.victims import Victim

RECIPE = Recipe(dataset="digits", model="alexnet-small", image_size=32)
EVERY_STEP = [*TINY, "--checkpoint-seconds", "0"]


@pytest.mark.fault(14)
def test_a_failed_write_leaves_the_snapshot_before_and_names_path_and_bytes(place, tiny):
    """The limit lets the first epoch's snapshots pass and cuts the later, larger ones."""
    victim = Victim("dataworth.commands.train:train", EVERY_STEP, file_limit=6_000_000)
    assert victim.end() == 3, victim.text
    assert "last.pt: File too large (writing 7," in victim.text
    assert "Traceback" not in victim.text
    assert not list(place.rglob("*.tmp"))
    assert snapshots.load_snapshot(place / FIRST)["epoch"] == 0
    finish(place, tiny)


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("has_cache", "limit", "code", "message"),
    [
        (False, 1_000_000, 2, "images.npy: File too large"),
        (True, 4000, 3, "100/seed-1/best.safetensors: File too large"),
        (True, 20_000, 3, "100/seed-1/events.out.tfevents: File too large"),
        (True, 1, 2, "study.json: File too large"),
    ],
)
def test_a_limit_on_writes_is_one_line_with_file_and_bytes(
    workplace, tiny, has_cache, limit, code, message
):
    if has_cache:
        (workplace / "cache").symlink_to(tiny / "cache")
    words = [*TINY, "--subset-sizes", "100", "--epochs", "1"]
    words += ["--tensorboard-histograms"] if "events" in message else []
    victim = Victim("dataworth.commands.train:train", words, file_limit=limit)
    assert victim.end() == code, victim.text
    size = "" if "events" in message else r"writing [\d,]+ bytes, "  # TensorBoard writes them
    assert re.search(rf"{message} \({size}[\d,]+ free on the disk\)", victim.text), victim.text
    assert "Traceback" not in victim.text


@pytest.mark.fault(14)
def test_a_row_of_metrics_csv_that_does_not_reach_the_disk_is_an_error_of_the_file(
    tmp_path, monkeypatch
):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    sync_epochs(tmp_path)  # there is no row yet
    append_epoch(tmp_path, EpochRow(1, 2.0, 0.5, None, 2.0, 0.5, None, 0.01, 1.0, 100.0))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="free on the disk") as error:
        sync_epochs(tmp_path)
    assert error.value.filename == str(tmp_path / "metrics.csv")


@pytest.mark.fault(14)
def test_a_full_disk_leaves_the_snapshot_before(place):
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    with contextlib.suppress(OSError):
        if subprocess.run([*namespace, "true"], capture_output=True).returncode:
            pytest.skip("this machine allows no user namespaces")
    words = [sys.executable, "-m", "tests.faults.actors", *TINY, "--subset-sizes", "100"]
    surroundings = {
        **os.environ,
        "PYTHONPATH": PATHS,
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run([*namespace, *words], capture_output=True, text=True, env=surroundings)
    assert "last.pt: No space left on device (writing 4," in done.stderr
    assert "\nexit 3\n" in done.stdout
    assert "Traceback" not in done.stderr
    (left,) = (line.split()[1:] for line in done.stdout.splitlines() if line.startswith("left"))
    assert {"last.pt", "previous.pt"} <= set(left)
    assert not [name for name in left if name.endswith(".tmp")]
    assert "\nagain 0\n" in done.stdout


def charged():
    """Bytes of checkpoints that the command of the tiny study would still write."""
    flags, study = resolve_study(parse_train(TINY), TINY)
    usages = disk_usage(plan_study(flags, study), flags.machine)
    return next(usage.num_bytes for usage in usages if usage.what == "checkpoints")


@pytest.mark.fault(14)
def test_snapshots_and_leftovers_of_a_killed_command_are_not_charged_again(stopped, place):
    (stopped / ".last.pt.999999.tmp").write_bytes(bytes(10**6))
    names = ("last.pt", "previous.pt", ".last.pt.999999.tmp")
    present = sum((stopped / name).stat().st_size for name in names)
    remaining = charged()
    shutil.rmtree(place / "checkpoints")
    assert charged() - remaining == present


@pytest.mark.fault(14, 45)
def test_the_cache_of_a_killed_command_is_removed_before_space_is_checked(
    tiny, workplace, monkeypatch
):
    (folder,) = (tiny / "cache").glob("digits-*")
    leftover = workplace / "cache" / folder.name / ".train-999999"
    leftover.mkdir(parents=True)
    (leftover / "images.npy").write_bytes(b"x")
    free = lambda _: shutil._ntuple_diskusage(1, 1, 0 if leftover.exists() else 10**12)  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", free)
    assert train(*TINY, "--subset-sizes", "100", "--epochs", "1") == 0


@pytest.mark.fault(16)
def test_another_file_system_a_symlink_and_odd_names_work(place, tiny, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with contextlib.suppress(OSError):
        elsewhere = type(elsewhere)(f"/dev/shm/{elsewhere.parent.name} ünïcode 数")
        elsewhere.mkdir()
    (place / "checkpoints").symlink_to(elsewhere)
    try:
        finish(place, tiny)
        assert (
            Victim(
                "dataworth.commands.eval:evaluate", ["--results-dir", place / "my résultats"]
            ).end()
            == 0
        )
    finally:
        shutil.rmtree(elsewhere)


@pytest.mark.fault(17)
def test_files_follow_the_umask(place):
    victim = Victim("tests.faults.actors:train_with_umask", [*TINY, "--subset-sizes", "100"])
    assert victim.end() == 0, victim.text
    modes = {path.name: path.stat().st_mode & 0o777 for path in place.rglob("seed-1/*")}
    assert set(modes.values()) == {0o600}, modes


@pytest.mark.fault(15, 19)
def test_a_complete_cache_may_be_read_only(tiny, workplace, monkeypatch):
    shutil.copytree(tiny / "cache", workplace / "cache")
    (folder,) = (workplace / "cache").iterdir()
    (folder / ".DS_Store").touch()
    access, before = os.access, {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    before[folder] = folder.stat().st_mtime_ns

    def refused(path, mode):
        is_cached = Path(path).resolve().is_relative_to(workplace / "cache")
        return access(path, mode) and not (is_cached and mode & os.W_OK)

    monkeypatch.setattr(os, "access", refused)
    words = [*TINY, "--normalise", "dataset", "--subset-sizes", "100", "--epochs", "1"]
    assert train(*words, "--plan") == 0
    assert train(*words) == 0
    assert evaluate() == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert set(folder.rglob("*")) | {folder} == set(before)


@pytest.mark.fault(16)
def test_links_of_the_user_in_place_of_cache_folders_are_followed(workplace):
    open_data(RECIPE, Machine())
    (folder,) = (workplace / "cache").iterdir()
    split = folder / "train"
    shutil.rmtree(split)
    split.symlink_to(workplace)  # no split of a cache: replaced
    prepare._open.cache_clear()
    open_data(RECIPE, Machine())
    assert not split.is_symlink()
    for path in (folder, workplace / "cache"):
        shutil.rmtree(path)  # a link in it is removed as a link
        path.symlink_to(workplace / "elsewhere" / path.name)
        prepare._open.cache_clear()
        open_data(RECIPE, Machine())
        assert any((workplace / "elsewhere" / path.name).rglob("images.npy"))
