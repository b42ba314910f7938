"""What is seen while a study trains: curves for TensorBoard, networks that learn nothing."""

import io
import json
import math
import sys
from functools import cache

import pandas as pd
import pytest
import torch
from torch import nn

from dataworth.commands.planning import plan_run
from dataworth.commands.predict import predict
from dataworth.config import Machine, Recipe, Run
from dataworth.console import say, warn
from dataworth.data.prepare import open_data
from dataworth.evaluation.tables import csv_bytes
from dataworth.launching.progress import WITH_BATCH_NORM, hint_at_chance
from dataworth.models.registry import build_model
from dataworth.prediction.answers import encode_rows
from dataworth.training import epoch_records
from dataworth.training.trainer import Trainer
from tests import made
from tests.conftest import QUICK, command, train

RECIPE = Recipe(
    dataset="digits", model="alexnet-small", image_size=32, epochs=3, batch_size=64,
    learning_rate=0.02, augment="crop",
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


HOSTILE = "\x1b[31m\r\t\x9b2J\u202e"


def test_text_that_a_spreadsheet_would_run_is_quoted():
    names = ["=1+1", "+1", "-2", "@sum(a)", "\tx", "\r=x", "cat", "'=", ""]
    rows = [
        {"file": name, "top_1": name, "p": -0.5, "set": [name, "cat"], "set_size": 2}
        for name in names
    ]
    table = pd.read_csv(io.BytesIO(encode_rows(rows, ".csv")), keep_default_na=False)
    quoted = ["'" + name for name in names[:4]] + [r"\tx", r"\r=x", *names[6:]]
    assert table.file.tolist() == quoted
    assert table.top_1.tolist() == quoted
    assert table.p.tolist() == [-0.5] * len(names)
    assert table.set.tolist()[0] == "'=1+1|cat"
    assert json.loads(encode_rows(rows, ".json"))[0]["file"] == "=1+1"  # only spreadsheets run text
    per_class = csv_bytes(pd.DataFrame({"class": ["=a", "b"], "gain": [-0.25, 1.0]}))
    assert per_class.decode().splitlines() == ["class,gain", "'=a,-0.25", "b,1.0"]


def test_control_characters_of_names_never_reach_the_terminal(
    extended, monkeypatch, tmp_path, capsys
):  # fmt: skip
    monkeypatch.chdir(extended)
    folder = tmp_path / "hostile"
    folder.mkdir()
    image = made.encoded(made.scene(), "png")
    (folder / f"a{HOSTILE}\nerror: forged.png").write_bytes(image)
    (folder / f"b{HOSTILE}.png").write_text("no image")
    assert command(predict, "--image-dir", folder) == 3
    assert command(predict, "--image", folder / f"b{HOSTILE}.png") == 2
    output = capsys.readouterr()
    for text in (output.out, output.err):
        assert not set(HOSTILE.replace("[31m", "").replace("2J", "")) & set(text)
        assert r"\x1b[31m\r\t\x9b2J\u202e" in text
    assert not [line for line in output.out.splitlines() if line.startswith("error:")]


@pytest.mark.parametrize("write", [say, warn])
def test_a_line_keeps_its_own_newlines_and_no_other_control_character(capsys, write):
    write(f"two\nlines {HOSTILE} caf\u00e9")
    output = "".join(capsys.readouterr())
    assert output == "two\nlines \\x1b[31m\\r\\t\\x9b2J\\u202e caf\u00e9\n"


def test_the_hint_at_chance_fits_the_model_and_comes_once_per_study(workplace, capsys):
    words = [*QUICK, "--subset-sizes", "0.25", "0.5", "--epochs", "3"]
    assert train(*words, "--learning-rate", "1e-9") == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "at chance after" in line]
    assert len(said) == 2
    assert ["try another --learning-rate" in line for line in said].count(True) == 1
    assert not any("alexnet-bn" in line for line in said)  # alexnet-small has batch normalisation


def test_the_hint_for_alexnet_paper_is_the_one_that_worked():
    recipe = Recipe(model="alexnet-paper")
    assert "--optimizer adam --learning-rate 0.0001" in hint_at_chance(recipe)
    assert "adam" not in hint_at_chance(recipe.replace(optimizer="adam"))


@pytest.mark.parametrize("model", ["alexnet-small", "resnet18", "squeezenet1_0", *WITH_BATCH_NORM])
def test_batch_normalisation_is_suggested_only_to_models_without(model):
    def is_normalised(name):
        with torch.device("meta"):
            modules = build_model(name, 10, 224).modules()
        return any(isinstance(module, nn.BatchNorm2d) for module in modules)

    suggested = WITH_BATCH_NORM.get(model)
    hint = hint_at_chance(Recipe(model=model))
    assert (suggested or "--learning-rate") in hint
    if suggested is None:
        assert "--model" not in hint
    else:
        assert not is_normalised(model)
        assert is_normalised(suggested)
