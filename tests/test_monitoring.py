"""What is seen while a study trains: curves for TensorBoard, networks that learn nothing."""

import math
import sys
from functools import cache

import pytest

from dataworth.commands.planning import plan_run
from dataworth.config import Machine, Recipe, Run
from dataworth.data.prepare import open_data
from dataworth.training import epoch_records
from dataworth.training.trainer import Trainer
from tests.conftest import QUICK, train

RECIPE = Recipe(
    dataset="digits", model="alexnet-small", image_size=32, epochs=3, batch_size=64,
    learning_rate=0.02,
)  # fmt: skip
RUN = Run(recipe=RECIPE, subset_size=0.25, seed=1)


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_points_of_an_epoch_that_is_trained_again_are_taken_back(workplace):
    bench = Trainer.build(RECIPE, Machine(checkpoint_seconds=3600), open_data(RECIPE, Machine()))

    def dies(row):
        if row.epoch == 2:
            raise KeyboardInterrupt

    for stop in (dies, dies):
        with pytest.raises(KeyboardInterrupt):
            bench.train(plan_run(RUN, bench.data, workplace), stop)
    assert bench.train(plan_run(RUN, bench.data, workplace), lambda _: None) == "complete"
    found = events(workplace / RUN.path)
    for name in ("train_loss", "validation_top_1_error", "learning_rate", "images_per_second"):
        assert [point.step for point in found.Scalars(name)] == [1, 2, 3]
    assert found.Tags()["histograms"] == []


def test_settings_and_histograms_are_shown(workplace):
    words = [*QUICK, "--epochs", "1", "--subset-sizes", "0.25", "--experiment-id", "s"]
    assert train(*words, "--tensorboard-histograms") == 0
    found = events(workplace / "checkpoints" / "s" / "0.25" / "seed-42")
    tags = found.Tags()["histograms"]
    assert {name.split("/")[0] for name in tags} == {"weights", "gradients"}
    settings = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    for name in (b"learning_rate", b"subset_size", b"seed", b"alexnet-small"):
        assert name in settings


def test_a_study_is_trained_without_tensorboard_and_says_so_once(workplace, monkeypatch, capsys):
    writer_class = epoch_records._writer_class.__wrapped__  # has not been asked yet
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setattr(epoch_records, "_writer_class", cache(writer_class))
    words = [*QUICK, "--epochs", "1", "--subset-sizes", "0.25", "0.1"]
    assert train(*words) == 0
    assert capsys.readouterr().err.count("pip install tensorboard") == 1
    assert not list(workplace.rglob("events.*"))


def test_a_network_at_chance_is_reported_once_while_it_trains(workplace, capsys):
    words = [*QUICK, "--subset-sizes", "0.25", "--epochs", "4"]
    assert train(*words, "--learning-rate", "1e-9") == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "at chance after" in line]
    assert len(said) == 1
    assert "0.25/seed-42: at chance after 3 epochs" in said[0]
    assert f"chance level {math.log(10):.2f}" in said[0]
    assert train(*words) == 0
    assert "at chance" not in capsys.readouterr().err
