"""Numbers that are no numbers, and data at the edge of what can be learned."""

import io

import datasets as hf
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save

from dataworth.commands.planning import plan_run
from dataworth.config import Machine, Recipe, Run
from dataworth.data.datasets import DATASETS
from dataworth.data.prepare import open_data
from dataworth.evaluation.results import read_results
from dataworth.storage.files import write_verified
from dataworth.storage.run_directory import RunDirectory
from dataworth.training import trainer
from dataworth.training.trainer import Trainer
from tests.conftest import evaluate, train
from tests.faults.conftest import FIRST, TINY

RECIPE = Recipe(
    dataset="digits", model="alexnet-small", image_size=32, epochs=3, batch_size=32,
    learning_rate=0.02,
)  # fmt: skip


@pytest.fixture
def bench(place):
    machine = Machine(checkpoint_seconds=0)
    return Trainer.build(RECIPE, machine, open_data(RECIPE, machine))


@pytest.mark.fault(28)
def test_a_diverged_run_keeps_its_last_finite_state_and_is_no_point(place, capsys):
    words = [*TINY, "--learning-rate", "1e9", "--checkpoint-seconds", "0"]
    assert train(*words) == 3
    assert "100/seed-1: diverged" in capsys.readouterr().err
    directory = RunDirectory(place / FIRST)
    assert directory.status == "diverged"
    weights, epoch = directory.load_best()
    assert epoch == 0
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert all(t.isfinite().all() for t in directory.load_last()["model"].values())
    assert evaluate() == 2
    assert "no finished run" in capsys.readouterr().err


@pytest.mark.fault(28)
@pytest.mark.parametrize("where", ["weight", "moment"])
def test_an_infinite_gradient_stops_the_run_at_its_best_epoch(place, bench, where):
    """One number of the state is made infinite after the first epoch, as such a gradient does."""
    run = Run(recipe=RECIPE, subset_size=100, seed=1)

    def poison(row):
        moments = iter(bench.state.optimizer.state.values())
        moment = next(iter(next(moments).values()))
        tensor = next(bench.state.model.parameters()).data if where == "weight" else moment
        tensor[(0,) * tensor.ndim] = torch.inf

    status = bench.train(plan_run(run, bench.data, place / "s"), poison)
    directory = RunDirectory(place / "s" / run.path)
    assert status == directory.status == "diverged"
    assert directory.load_best()[1] == 1
    assert all(t.isfinite().all() for t in directory.load_best()[0].values())
    assert pd.read_csv(directory.path / "metrics.csv").epoch.tolist() == [1]
    assert directory.load_last()["epoch"] <= 1


@pytest.mark.fault(29)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_answer_with_nan_are_an_error_and_never_a_point(finished, capsys, value):
    path = finished / FIRST / "best.safetensors"
    weights = load_file(path)
    weights[next(key for key in reversed(weights) if key.endswith("bias"))].fill_(value)
    write_verified(path, save(weights, {"epoch": "1"}))
    assert evaluate() == 3
    assert "100/seed-1: the weights give infinite or NaN logits" in capsys.readouterr().err
    results = read_results(finished / "results/s/metrics.json")
    assert [run.subset_size for run in results.runs] == [200]
    assert "100/seed-1" in results.missing


@pytest.mark.fault(31)
def test_three_classes_have_no_top_5_error_and_a_note(workplace, monkeypatch, capsys):
    """Classes told by colour; 33 training images and batch 32 leave one image over (fault 32)."""

    def coloured(n):
        def picture(i):
            file = io.BytesIO()
            colour = np.roll([200, 40, 10 + i % 40], i % 3)
            Image.new("RGB", (32, 32), tuple(int(c) for c in colour)).save(file, "png")
            return {"bytes": file.getvalue()}

        features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=list("abc"))})
        columns = {"image": [picture(i) for i in range(n)], "label": [i % 3 for i in range(n)]}
        return hf.Dataset.from_dict(columns, features=features)

    splits = {name: coloured(n) for name, n in (("train", 33), ("validation", 30), ("test", 60))}
    monkeypatch.setitem(DATASETS, "colours", lambda: splits)
    words = ["--dataset", "colours", "--model", "alexnet-small", "--image-size", "32"]
    assert train(*words, "--batch-size", "32", "--epochs", "5", "--subset-sizes", "1.0") == 0
    assert "note: 3 classes: there is no top-5 error" in capsys.readouterr().out
    assert evaluate() == 0
    (path,) = workplace.glob("results/*/metrics.json")
    results = read_results(path)
    assert results.runs[0].splits["test"].top_5_error is None
    assert any("no top-5 error" in note for note in results.data.notes)


@pytest.mark.fault(32)
def test_one_image_left_over_is_no_batch_of_its_own(place, bench):
    from dataworth.data.loaders import get_train_loader

    loader = get_train_loader(bench.pixels, np.arange(33), RECIPE)
    assert [len(labels) for _, labels in loader.epoch_images(1, 0)] == [16, 17]
    run = Run(recipe=RECIPE, subset_size=33, seed=1)
    assert bench.train(plan_run(run, bench.data, place / "s"), lambda row: None) == "complete"


@pytest.mark.fault(37)
def test_one_thread_and_two_agree_and_the_environment_says_which(place):
    bench = Trainer.build(RECIPE, Machine(), open_data(RECIPE, Machine()))
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            run = Run(recipe=RECIPE, subset_size=50, seed=1)
            bench.train(plan_run(run, bench.data, place / str(threads)), lambda row: None)
            path = place / str(threads) / run.path
            assert f'"threads": {threads}' in (path / "environment.json").read_text()
            found.append(pd.read_csv(path / "metrics.csv"))
    finally:
        torch.set_num_threads(before)
    first = found[0].train_loss[0]
    assert first == pytest.approx(found[1].train_loss[0], rel=0.01)
    assert found[0].validation_loss.tolist() == pytest.approx(
        found[1].validation_loss.tolist(), rel=0.15
    )


@pytest.mark.fault(1)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("stop_at", [1, 4, 6, 9, 11])
def test_a_snapshot_of_any_step_gives_the_same_bits(place, optimizer, stop_at):
    """Dropout, the running sums and the moments go on within the epoch."""
    recipe = RECIPE.replace(optimizer=optimizer, learning_rate=1e-3, dropout=0.5)
    bench = Trainer.build(recipe, Machine(), open_data(RECIPE, Machine()))
    run = Run(recipe=recipe, subset_size=100, seed=3)
    bench.train(plan_run(run, bench.data, place / "whole"), lambda row: None)
    steps = []

    class Cut(Exception):
        pass

    class Steps(trainer.Checkpointer):
        def at_boundary(self):
            steps.append(1)
            if len(steps) == stop_at:
                self.save()
                self.wait()
                raise Cut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "Checkpointer", Steps)
        with pytest.raises(Cut):
            bench.train(plan_run(run, bench.data, place / "cut"), lambda row: None)
    bench.train(plan_run(run, bench.data, place / "cut"), lambda row: None)
    whole, cut = (RunDirectory(place / name / run.path) for name in ("whole", "cut"))
    rows = [pd.read_csv(d.path / "metrics.csv").drop(columns=TIMES) for d in (whole, cut)]
    assert rows[0].equals(rows[1])
    files = [(d.path / "best.safetensors").read_bytes() for d in (whole, cut)]
    assert files[0] == files[1]


TIMES = ["seconds", "images_per_second"]
