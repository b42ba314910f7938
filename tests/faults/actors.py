"""Small programs for the processes of :mod:`tests.faults.victims`."""

import importlib
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

from dataworth.config import Machine, Recipe
from dataworth.data import decoding
from dataworth.data.prepare import open_data
from dataworth.distributed import process_group
from dataworth.launching.local import Training
from dataworth.storage.snapshots import save_snapshot
from tests.conftest import command

DIGITS = Recipe(dataset="digits", image_size=32)


class TrainingUnlessSmall(Training):
    """Trains a run, unless it has 100 images: then its process is killed."""

    def __call__(self, trainer, report):
        if self.planned.run.subset_size == 100:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(trainer, report)


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
    from dataworth.commands import train as train_command

    os.umask(0o077)
    train_command.train(words)


def train_on_a_disk_that_fills(words):
    """Mount a disk of 64 MB, train there and fill it before the third snapshot."""
    import subprocess

    from dataworth.commands import train as train_command
    from dataworth.storage import run_directory
    from dataworth.storage.disk_space import free_bytes

    disk = Path("disk")
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], check=True)
    save, saved = run_directory.save_snapshot, []

    def fills_up(folder, content):
        saved.append(1)
        if len(saved) == 3:
            (disk / "filler").write_bytes(bytes(free_bytes(disk) - 2_000_000))
        save(folder, content)

    run_directory.save_snapshot = fills_up
    code = command(train_command.train, *words, "--checkpoint-dir", disk, "--checkpoint-seconds", 0)
    print("exit", code, flush=True)
    print("left", *sorted(p.name for p in disk.rglob("*") if p.is_file()), flush=True)
    (disk / "filler").unlink()
    run_directory.save_snapshot = save
    print("again", command(train_command.train, *words, "--checkpoint-dir", disk), flush=True)


def be_one_of(words):
    """Be process ``rank`` of ``size``; give up the others after ``patience`` seconds."""
    rank, size, port, patience, function, *rest = words
    ours = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ.update(ours, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    process_group.TIMEOUT = float(patience)
    module, name = function.split(":")
    getattr(importlib.import_module(module), name)(rest)


def train_and_keep_steps(words):
    """Train; keep the pixels, labels and running loss of every step in a file of one's own."""
    import numpy as np

    from dataworth.commands import train as train_command
    from dataworth.training.trainer import Trainer

    kept, original = [], Trainer.train_step

    def step(self, inputs, labels, batch_size, rate):
        original(self, inputs, labels, batch_size, rate)
        kept.append((inputs[0].numpy(), labels.numpy(), self.state.sums.tolist(), batch_size))

    Trainer.train_step = step
    code = command(train_command.train, *words)
    names = [f"{kind}-{i}" for i in range(len(kept)) for kind in ("pixels", "labels", "sums", "n")]
    values = [value for step in kept for value in step]
    rank = os.environ.get("RANK", "alone")
    np.savez(f"steps-{rank}.npz", code=code, **dict(zip(names, values, strict=True)))


def keep_logits(words):
    """Run fixed weights over the validation split, 30 images at a time; keep what they answer."""
    import torch

    from dataworth.data.loaders import get_val_loader
    from dataworth.data.pixels import PixelStores
    from dataworth.evaluation.evaluator import predict
    from dataworth.training.state import TrainState

    recipe = DIGITS.replace(model="alexnet-small", batch_size=int(words[0]))
    with process_group.joined_process_group():
        state = TrainState.build(recipe, 10, torch.device("cpu"))
        state.restart(1)
        loader = get_val_loader(
            PixelStores(open_data(recipe, Machine()), torch.device("cpu")), recipe
        )
        answers = predict(state.model, loader)
    torch.save(answers, f"logits-{os.environ.get('RANK', 'alone')}.pt")


def time_steps(_):
    """Time steps, one rank a little later than the other; say so when all are done."""
    from dataworth.training.throughput import Probe

    with process_group.joined_process_group():
        probe = Probe(
            DIGITS.replace(model="alexnet-small", batch_size=8), Machine(device="cpu"), 10
        )
        probe.throughput(0.0)
        time.sleep(0.3 * process_group.rank())
        assert probe.throughput(0.1).training > 0
    print("timed", flush=True)


def keep_double(words):
    """Make three steps in float64 with shares of a batch of 33; keep losses and weights."""
    import torch
    from torch.nn.functional import cross_entropy

    from dataworth.distributed.batch_norm import synchronise_batch_norm
    from dataworth.distributed.collectives import all_reduce_sum
    from dataworth.models.registry import build_model

    torch.Tensor.float = torch.Tensor.double
    with process_group.joined_process_group():
        torch.manual_seed(1)
        model = build_model(words[0], 10, 32, dropout=0.0).double()
        images, labels = torch.randn(33, 3, 32, 32).double(), torch.randint(0, 10, (33,))
        own, several = process_group.shard(0, 33), process_group.world_size() > 1
        if several:
            synchronise_batch_norm(model)
        optimizer, losses = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9), []
        for _ in range(3):
            loss = cross_entropy(model(images[own]), labels[own], reduction="sum") / 33
            optimizer.zero_grad()
            loss.backward()
            losses.append(loss.detach())
            if several:
                all_reduce_sum([*losses[-1:], *(p.grad for p in model.parameters())])
            optimizer.step()
    kept = {**model.state_dict(), "losses": torch.stack(losses)}
    torch.save(kept, f"double-{os.environ.get('RANK', 'alone')}.pt")


if __name__ == "__main__":
    import sys

    train_on_a_disk_that_fills(sys.argv[1:])
