"""Small programs for the processes of :mod:`tests.faults.victims`."""

import multiprocessing
import os
import threading
import time
from pathlib import Path

from src.config import Machine, Recipe
from src.data import decoding
from src.data.prepare import open_data
from src.snapshots import save_snapshot
from tests.conftest import command

DIGITS = Recipe(dataset="digits", image_size=32)


def save_three_times(words):
    """Save snapshots 1, 2 and 3 into the folder."""
    import io

    import torch

    for epoch in (1, 2, 3):
        file = io.BytesIO()
        torch.save({"schema_version": 1, "model": {}, "epoch": epoch}, file)
        save_snapshot(Path(words[0]), file.getbuffer())
    print("saved", flush=True)


def decode_in_processes(words):
    """Decode a folder with two workers; print their process ids."""
    decoding.MIN_PER_WORKER = 100

    def tell():
        while len(found := multiprocessing.active_children()) < 2:
            time.sleep(0.01)
        print("workers", *(child.pid for child in found), flush=True)

    threading.Thread(target=tell, daemon=True).start()
    open_data(DIGITS.replace(dataset=words[0]), Machine(workers=2))


def train_with_umask(words):
    """Train with files that nobody else may read."""
    from src import cli

    os.umask(0o077)
    cli.train(words)


def train_on_a_disk_that_fills(words):
    """Mount a disk of 64 MB, train there and fill it before the third snapshot."""
    import subprocess

    from src import cli, runs
    from src.disk import free_bytes

    disk = Path("disk")
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], check=True)
    save, saved = runs.save_snapshot, []

    def fills_up(folder, content):
        saved.append(1)
        if len(saved) == 3:
            (disk / "filler").write_bytes(bytes(free_bytes(disk) - 2_000_000))
        save(folder, content)

    runs.save_snapshot = fills_up
    code = command(cli.train, *words, "--checkpoint-dir", disk, "--checkpoint-seconds", 0)
    print("exit", code, flush=True)
    print("left", *sorted(p.name for p in disk.rglob("*") if p.is_file()), flush=True)
    (disk / "filler").unlink()
    runs.save_snapshot = save
    print("again", command(cli.train, *words, "--checkpoint-dir", disk), flush=True)


if __name__ == "__main__":
    import sys

    train_on_a_disk_that_fills(sys.argv[1:])
