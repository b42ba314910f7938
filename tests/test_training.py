"""The step: one way to write it, several to run it, the same weights."""

from functools import partial
from threading import Event
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from dataworth import devices
from dataworth.commands.planning import plan_run
from dataworth.config import Machine, Recipe, Run
from dataworth.data.loaders import get_train_loader
from dataworth.data.normalisation import IMAGENET, _scale_and_shift
from dataworth.data.pixels import DevicePixels, PixelStores
from dataworth.data.prepare import open_data
from dataworth.errors import InputError
from dataworth.launching.registry import local
from dataworth.models.registry import build_model
from dataworth.storage.files import write_json
from dataworth.storage.run_directory import RunDirectory
from dataworth.training import trainer as trainer_module
from dataworth.training.checkpointing import Checkpointer
from dataworth.training.cuda_graphs import GraphedStep
from dataworth.training.optimization import learning_rate
from dataworth.training.state import TrainState
from dataworth.training.throughput import fitting_batch_size
from dataworth.training.trainer import Trainer

RECIPE = Recipe(
    dataset="digits", model="alexnet-small", image_size=32, epochs=2, batch_size=60, dropout=0.3
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@pytest.fixture
def data(workplace):
    return open_data(RECIPE, Machine())


CPU = Machine(device="cpu", precision="fp32")


def weights_after(recipe, data, machine=CPU, step=None, seed=1):
    """Weights after two epochs on 130 images (three batches, two sizes)."""
    trainer = Trainer.build(recipe, machine, data)
    if step is not None:
        trainer.step = step(trainer.train_step, trainer.state, trainer.device)
    trainer.state.restart(seed)
    loader = get_train_loader(trainer.pixels, np.arange(130), recipe)
    run = Run(recipe=recipe, subset_size=130, seed=seed)
    scores = []
    for _ in range(2):
        scores.append(trainer.train_epoch(loader, run, lambda: None))
        trainer.state.end_epoch()
    return [t.cpu() for t in trainer.state.tensors()], scores


def assert_equal(a, b):
    assert all(torch.equal(x, y) for x, y in zip(a[0], b[0], strict=True))
    assert a[1] == b[1]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_recorded_buffers_give_the_same_bits(data, optimizer, capsys):
    recipe, step = RECIPE.replace(optimizer=optimizer), partial(GraphedStep, record=lambda c: c)
    assert_equal(weights_after(recipe, data, step=step), weights_after(recipe, data))
    assert not capsys.readouterr().err


def raises(call):
    raise RuntimeError("operation not permitted when stream is capturing\nCompile with ...")


def draws_other_dropout(call):
    def replay():
        torch.rand(1)
        call()

    return replay


BAD_REPLAYS = {  # part of the message -> recorder
    "not permitted when stream": raises,
    "changes the loss by 1 and": lambda call: lambda: None,
    "update of the weights by ": lambda call: lambda: (call(), call()),
    "failed: RecordingError: its": draws_other_dropout,
}


@pytest.mark.parametrize("reason", BAD_REPLAYS)
@pytest.mark.parametrize(("optimizer", "num_good"), [("sgd", 0), ("sgd", 1), ("adam", 0)])
def test_a_step_that_cannot_be_recorded_is_made_directly(data, reason, optimizer, num_good, capsys):
    recipe, recorded = RECIPE.replace(optimizer=optimizer), []

    def record(call):
        recorded.append(call)
        return call if len(recorded) <= num_good else BAD_REPLAYS[reason](call)

    step = partial(GraphedStep, record=record)
    assert_equal(weights_after(recipe, data, step=step), weights_after(recipe, data))
    assert len(recorded) == num_good + 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "training goes on without CUDA graphs" in line
    assert reason in line


def test_a_step_that_must_be_recorded_and_cannot_is_an_error(data):
    step = partial(GraphedStep, is_compiled=True, record=raises)
    with pytest.raises(InputError, match=r"--compile on: RuntimeError: operation not permitted"):
        weights_after(RECIPE, data, step=step)


def synchronises(logits, labels):
    return labels * (logits.sum().item() > 0)


def branches(logits, labels):
    return labels if (labels > 0).any() else labels + 1


def counts(logits, labels):
    return labels.nonzero()[:, 0]


def mixes_devices(logits, labels):
    return labels + torch.zeros(len(labels), dtype=torch.int64, device="cpu")


@pytest.mark.parametrize(
    ("model", "size"), [("alexnet", 96), ("alexnet-small", 32), ("resnet18", 64)]
)
@pytest.mark.parametrize("augment", ["paper", "random-resized-crop"])
def test_the_step_never_waits_for_the_gpu(model, size, augment, monkeypatch):
    step_on_fake_gpu(RECIPE.replace(model=model, image_size=size, augment=augment), monkeypatch)


@pytest.mark.parametrize("wrong", [synchronises, branches, counts, mixes_devices])
def test_a_step_that_waits_for_the_gpu_is_noticed(wrong, monkeypatch):
    monkeypatch.setattr(trainer_module, "label_ranks", wrong)
    with pytest.raises(Exception, match=r"_local_scalar_dense|nonzero|same device"):
        step_on_fake_gpu(RECIPE, monkeypatch)


def step_on_fake_gpu(recipe, monkeypatch):
    """Make a step on tensors of a GPU without data; without a GPU torch has no backward pass."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    _scale_and_shift.cache_clear()
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss: None)
    gpu, side, b = torch.device("cuda", 0), recipe.image_size + 4, recipe.batch_size
    try:
        with FakeTensorMode(allow_fallback_kernels=False), gpu:
            model = build_model(recipe.model, 10, recipe.image_size, recipe.dropout)
            optimizer = Mock(param_groups=[{"lr": torch.tensor(0.1)}])
            state = TrainState(recipe, 10, model, optimizer, torch.zeros(3, dtype=torch.float64))
            trainer = Trainer(recipe, Machine(precision="fp32"), None, gpu)
            trainer.state, trainer.channel_stats = state, IMAGENET
            trainer.train_pixels = object.__new__(DevicePixels)
            trainer.train_pixels.pixels = torch.empty((99, side, side, 3), dtype=torch.uint8)
            num_columns = 6 if recipe.augment == "random-resized-crop" else 4
            *inputs, labels = torch.zeros((num_columns + 1, b), dtype=torch.int64)
            trainer.train_step(tuple(inputs), labels, b, torch.tensor(0.1))
    finally:
        _scale_and_shift.cache_clear()


def test_resident_and_streamed_pixels_give_the_same_bits(data):
    streamed, resident = (
        weights_after(RECIPE, data, CPU.replace(residency=where)) for where in ("host", "device")
    )
    assert_equal(streamed, resident)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_restarted_state_is_a_fresh_one(data, optimizer):
    recipe = RECIPE.replace(optimizer=optimizer)
    used = Trainer.build(recipe, CPU, data)
    used.state.restart(99)
    loader = get_train_loader(used.pixels, np.arange(130), recipe)
    used.train_epoch(loader, Run(recipe=recipe, subset_size=130, seed=9), lambda: None)
    used.state.restart(1)
    fresh = TrainState.build(recipe, 10, used.device)
    fresh.restart(1)
    for a, b in zip(used.state.tensors(), fresh.tensors(), strict=True):
        assert torch.equal(a, b)
    assert used.state.sums.tolist() == [0, 0, 0]


def test_momentum_that_starts_at_zero_is_torchs_own(data):
    """Two epochs by hand with a new torch.optim.SGD end at the same weights."""
    from torch.nn.functional import cross_entropy

    from dataworth.devices import seed_torch

    stores = PixelStores(data, torch.device("cpu"))
    ours, _ = weights_after(RECIPE, data)
    state = TrainState.build(RECIPE, 10, stores.device)
    state.restart(1)
    model = state.model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    loader = get_train_loader(stores, np.arange(130), RECIPE)
    for epoch in range(2):
        seed_torch(1, epoch + 1)
        for i, (images, labels) in enumerate(loader.epoch_images(1, epoch)):
            optimizer.param_groups[0]["lr"] = learning_rate(RECIPE, (epoch + i / 3) / 2)
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
    for a, b in zip(ours, model.state_dict().values(), strict=False):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_running_scores_are_those_of_the_batches(data):
    _, (first, second) = weights_after(RECIPE, data)
    assert first.num_images == 130
    assert 0 <= first.top_5_error <= first.top_1_error <= 1
    assert second.loss < first.loss


def test_bf16_follows_fp32(data):
    exact, rounded = (
        weights_after(RECIPE, data, CPU.replace(precision=name))[1] for name in ("fp32", "auto")
    )
    assert rounded[-1].loss == pytest.approx(exact[-1].loss, rel=0.1)


def test_snapshots_are_written_beside_the_training(data, workplace, monkeypatch):
    saved = []
    original = RunDirectory.save_last
    monkeypatch.setattr(
        RunDirectory, "save_last",
        lambda self, state: (saved.append((state["epoch"], state["step"])), original(self, state)),
    )  # fmt: skip
    trainer = Trainer.build(RECIPE, Machine(checkpoint_seconds=0), data)
    run = Run(recipe=RECIPE, subset_size=100, seed=1)
    assert trainer.train(plan_run(run, data, workplace / "s"), lambda row: None) == "complete"
    assert saved == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]


def test_a_failed_snapshot_is_a_failed_run(data, workplace, monkeypatch):
    def full(self, state):
        raise OSError(28, "No space left on device", "last.pt")

    monkeypatch.setattr(RunDirectory, "save_last", full)
    run = Run(recipe=RECIPE, subset_size=0.25, seed=1)
    planned_run = plan_run(run, data, workplace / "s")
    failures = local([planned_run], Machine(checkpoint_seconds=0), data)
    assert "No space left on device" in failures["0.25/seed-1"]


def test_out_of_memory_names_a_batch_size_and_the_study_goes_on(data, workplace, monkeypatch):
    original = Trainer.train_epoch

    def hungry(self, loader, run, after_step):
        if run.subset_size == 0.25:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, loader, run, after_step)

    monkeypatch.setattr(Trainer, "train_epoch", hungry)
    runs = [Run(recipe=RECIPE, subset_size=size, seed=1) for size in (0.25, 0.5)]
    planned_runs = [plan_run(run, data, workplace / "s") for run in runs]
    failures = local(planned_runs, Machine(), data)
    assert list(failures) == ["0.25/seed-1"]
    assert "out of memory with --batch-size 60; try --batch-size 30" in failures["0.25/seed-1"]
    larger = [run.replace(recipe=RECIPE.replace(batch_size=10**5)) for run in runs]
    failures = local([plan_run(run, data, workplace / "t") for run in larger], Machine(), data)
    assert "with --batch-size 100000; try --batch-size 161" in failures["0.25/seed-1"]  # of 323


def test_what_fits_into_memory_is_estimated_from_two_small_batches():
    def peak(n, limit=10**12):
        if (needed := 500_000_000 + n * 20_000_000) > limit:
            raise torch.OutOfMemoryError
        return needed

    advice = fitting_batch_size(128, 2_000_000_000, peak)
    assert advice == "--batch-size 65: an image takes 20.0 MB beside 0.50 GB, of 2.00 GB"
    assert fitting_batch_size(64, 1e12, peak).startswith("--batch-size 63:")  # this one did not
    assert fitting_batch_size(1, 5e8, peak).startswith("a smaller --model or --image-size: an")
    tiny = fitting_batch_size(64, 5e8, partial(peak, limit=6e8))
    assert tiny == "a smaller --model or --image-size: not even 8 images fit"


@pytest.mark.slow
def test_compiled_model_agrees_with_eager(data):
    compiled, eager = (
        weights_after(RECIPE, data, CPU.replace(compile=c))[1] for c in ("on", "off")
    )
    assert compiled[-1].loss == pytest.approx(eager[-1].loss, rel=0.05)


@needs_cuda
@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("residency", ["host", "device"])
def test_cuda_graphs_give_what_eager_gives(data, residency, optimizer):
    recipe = RECIPE.replace(optimizer=optimizer)
    machine = Machine(device="cuda", precision="fp32", residency=residency)
    graphed = weights_after(recipe, data, machine)
    eager = weights_after(recipe, data, machine.replace(compile="off"))
    assert graphed[1][-1].loss == pytest.approx(eager[1][-1].loss, rel=1e-2)


@needs_cuda
@pytest.mark.gpu
def test_cuda_cuts_the_crops_that_the_cpu_cuts(data):
    batches = []
    for device, residency in (("cpu", "host"), ("cuda", "host"), ("cuda", "device")):
        stores = PixelStores(data, torch.device(device), residency)
        loader = get_train_loader(stores, np.arange(130), RECIPE)
        batches.append([images.cpu() for images, _ in loader.epoch_images(1, 0)])
    for a, b, c in zip(*batches, strict=True):
        torch.testing.assert_close(a, b)
        torch.testing.assert_close(b, c)


@needs_cuda
@pytest.mark.gpu
def test_cuda_study_resumes(data, workplace, monkeypatch):
    trainer = Trainer.build(RECIPE, Machine(device="cuda", checkpoint_seconds=0), data)
    run = Run(recipe=RECIPE, subset_size=0.25, seed=1)

    def dies(row):
        if row.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.train(plan_run(run, data, workplace / "s"), dies)
    assert trainer.train(plan_run(run, data, workplace / "s"), lambda row: None) == "complete"


def test_the_place_of_another_run_is_refused_though_it_ended(data, workplace):
    trainer = Trainer.build(RECIPE, Machine(device="cpu"), data)
    run = Run(recipe=RECIPE, subset_size=0.25, seed=1)
    folder = workplace / "s" / run.path
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"recipe": {"epochs": 9}, "seed": 1})
    (folder / "done").write_text("complete")
    with pytest.raises(InputError, match=r"belongs to another study: .*epochs: 9 stored"):
        trainer.train(plan_run(run, data, workplace / "s"), lambda row: None)


def test_a_gpu_that_is_named_is_the_current_one(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert devices._gpu_of_rank(torch.device("cuda:1"), 0, 1) == torch.device("cuda:1")
    assert chosen == [torch.device("cuda:1")]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU to seed")
def test_seeding_keeps_nothing_for_a_gpu_that_is_absent():
    queued = len(torch.cuda._queued_calls)
    devices.seed_torch(1, 2)
    state = torch.get_rng_state()
    assert len(torch.cuda._queued_calls) == queued
    torch.manual_seed(torch.initial_seed())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_snapshot_holds_the_sums_of_the_moment_it_was_asked_for(workplace):
    state = TrainState.build(RECIPE, 10, torch.device("cpu"))
    checkpointer = Checkpointer(RunDirectory(workplace), state, 0.0)
    late = Event()
    with checkpointer.writer:
        checkpointer.writer.submit(late.wait)  # the disk is slow
        checkpointer.save()
        state.sums += 1  # the next step
        late.set()
    assert checkpointer.directory.load_last()["tally"].tolist() == [0, 0, 0]
