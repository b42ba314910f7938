"""predict.py and export.py: the logits of the evaluation, on image files."""

import hashlib
import json
import os
import re
import resource
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub import constants as hub_constants
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from dataworth.commands import export as export_command
from dataworth.commands import predict as predict_command
from dataworth.commands.flags import PredictFlags
from dataworth.config import Recipe
from dataworth.conformal.scores import prediction_sets
from dataworth.conformal.thresholds import read_thresholds
from dataworth.data.prepare import load_dataset
from dataworth.errors import InputError
from dataworth.evaluation.calibration import probabilities
from dataworth.models import batch_memory
from dataworth.models.registry import build_model
from dataworth.prediction.classifier import Classifier, from_file
from dataworth.prediction.explain import grad_cam, last_convolution
from dataworth.prediction.model_card import data_name
from dataworth.prediction.pictures import read_picture
from dataworth.storage.study_directory import study_flags
from tests import made
from tests.conftest import command


def predict(*words):
    return command(predict_command.predict, *words)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve test images of the digits as files, in the order of the test split."""
    folder = tmp_path_factory.mktemp("photos")
    dataset = load_dataset(Recipe(dataset="digits", model="alexnet-small", image_size=32))
    test = dataset.splits["test"]
    for i, row in enumerate(test.rows[:12]):
        (folder / f"{i:02}.png").write_bytes(dataset.encoded(test.source, int(row)))
    return folder


@pytest.fixture
def at_study(extended, monkeypatch, tmp_path):
    """Stand in the folder of the evaluated study; what is written goes to ``tmp_path``."""
    monkeypatch.chdir(extended)
    return tmp_path


def weights_of(folder, size="1.0", seed=1):
    return folder / "checkpoints" / "s" / size / f"seed-{seed}" / "best.safetensors"


def test_probabilities_are_those_of_the_evaluation(at_study, extended, photos):
    out = at_study / "a.json"
    assert predict("--image-dir", photos, "--show-all-probs", "--output", out) == 0
    with np.load(extended / "results" / "s" / "predictions" / "1.0" / "seed-1.npz") as arrays:
        expected = probabilities(arrays["test_logits"][:12])
    rows = json.loads(out.read_text())
    probs = np.array([[row[f"p({name})"] for name in "0123456789"] for row in rows])
    assert probs == pytest.approx(expected, abs=1e-5)
    for row, shares in zip(rows, expected, strict=True):
        assert (row["run"], row["num_train_images"]) == ("1.0/seed-1", 1293)
        assert row["top_1"] == str(shares.argmax())


def test_sets_follow_the_stored_thresholds(at_study, extended, photos, capsys):
    out = at_study / "a.json"
    words = ["--image-dir", photos, "--show-all-probs", "--output", out, "--conformal"]
    assert predict(*words, "--alpha", 0.2) == 0
    stored = json.loads(weights_of(extended).with_name("conformal.json").read_text())
    thresholds = np.array(stored["alphas"]["0.2"]["lac"]["marginal"])
    for row in json.loads(out.read_text()):
        scores = 1 - np.array([[row[f"p({name})"] for name in "0123456789"]])
        members = prediction_sets(scores, thresholds)[0]
        assert set(row["set"]) == {str(k) for k in np.flatnonzero(members)}
        assert row["set_size"] == len(row["set"])
    assert predict(*words, "--alpha", 0.3) == 2
    assert "holds alpha 0.1, 0.2, not 0.3" in capsys.readouterr().err


def test_a_set_of_one_class_is_one_class():
    row = {"top_1": "7", "top_1_probability": 1.0, "set": ["7"], "set_size": 1}
    classifier = Classifier("", None, None, ("7",), torch.device("cpu"), Path(), {})
    *_, line = predict_command._lines(row, classifier, PredictFlags())
    assert line == "  prediction set of 1 class, 90 % coverage: 7"


def test_thresholds_of_other_weights_are_refused(at_study, extended, photos, capsys):
    swapped = at_study / "best.safetensors"
    shutil.copy(weights_of(extended, "0.5"), swapped)
    shutil.copy(weights_of(extended).with_name("conformal.json"), at_study)
    assert predict("--weights", swapped, "--image", photos / "00.png", "--conformal") == 2
    assert "made for another weights_sha256" in capsys.readouterr().err


def test_what_to_run_next_names_the_study_and_its_folder(study, tmp_path):
    folder = tmp_path / "my studies"
    folder.mkdir()
    (folder / "s").symlink_to(study / "checkpoints" / "s")
    command = (
        f"python eval.py --experiment-id s --checkpoint-dir '{folder}' --conformal --alpha 0.1"
    )
    with pytest.raises(InputError, match=f"{re.escape(command)} writes it"):
        read_thresholds(folder / "s" / "1.0" / "seed-1", {}, 0.1, "lac")
    assert study_flags(Path("nowhere")) == ""


def test_the_same_picture_gets_the_same_random_set(photos):
    draws = [read_picture(photos / "00.png", 36).draw for _ in range(2)]
    assert draws[0] == draws[1] != read_picture(photos / "01.png", 36).draw


@pytest.mark.fault(53)
def test_one_bad_file_never_aborts_a_folder(at_study, photos, capsys):
    folder = at_study / "mixed" / "deep"
    shutil.copytree(photos, folder)
    (folder / "05.png").write_text("<html>no image</html>")
    (folder / "notes.txt").write_text("not meant as an image")
    words = ["--image-dir", folder.parent, "--recursive", "--batch-size", 5]
    tables = {}
    for suffix in ("csv", "json", "parquet"):
        out = at_study / f"a.{suffix}"
        assert predict(*words, "--output", out) == 3
        tables[suffix] = getattr(pd, f"read_{suffix}")(out)
        captured = capsys.readouterr()
        assert "1 of 12 pictures failed" in captured.err
        assert "files without an image suffix: 1" in captured.out
    for table in tables.values():
        assert len(table) == 12
        assert table.status.str.startswith("failed: not a whole image").sum() == 1
        assert table.file[5].endswith("05.png")
        assert table.top_1_probability.notna().sum() == 11
    difference = tables["csv"].top_1_probability - tables["parquet"].top_1_probability
    assert difference.abs().max() < 1e-12


def test_batches_that_do_not_fit_into_memory_are_refused(at_study, photos, capsys, monkeypatch):
    monkeypatch.setattr(batch_memory, "available_memory", lambda _: 2_860_000)
    words = ["--image-dir", photos, "--output", at_study / "a.csv"]
    assert predict(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: alexnet-small at 32 pixels needs more than 0.0 GB of memory")
    assert not (at_study / "a.csv").exists()
    fitting = int(line.split("about --batch-size ")[1].split()[0])
    assert predict(*words, "--batch-size", fitting) == 0
    assert predict(*words, "--batch-size", fitting + 1) == 2
    monkeypatch.setattr(batch_memory, "available_memory", lambda _: 10**5)
    assert predict(*words, "--batch-size", 1) == 2
    assert capsys.readouterr().err.endswith("; give another --device\n")


def test_undecodable_file_names_are_escaped(at_study, photos, capsys):
    folder = at_study / "old"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes((photos / "00.png").read_bytes())
    (folder / os.fsdecode(b"th\xe9.png")).write_text("no image")
    for suffix in ("csv", "json", "parquet"):
        out = at_study / f"a.{suffix}"
        assert predict("--image-dir", folder, "--output", out) == 3
        assert getattr(pd, f"read_{suffix}")(out).file[0].endswith("caf\\xe9.png")
    assert predict("--image-dir", folder) == 3
    assert "caf\\xe9.png" in capsys.readouterr().out
    assert predict("--image", folder / os.fsdecode(b"absent\xe9.png")) == 2


@pytest.mark.fault(53)
def test_folders_without_a_usable_image_are_input_errors(at_study, capsys):
    empty = at_study / "empty"
    empty.mkdir()
    assert predict("--image-dir", empty) == 2
    (empty / "notes.txt").write_text("text")
    assert predict("--image-dir", empty) == 2
    assert "none of its 1 files is an image; --recursive" in capsys.readouterr().err
    (empty / "bad.jpg").write_text("text")
    assert predict("--image-dir", empty) == 2
    assert "1 of 1 pictures failed" in capsys.readouterr().err
    assert predict("--image", empty / "absent.jpg") == 2


@pytest.mark.fault(53)
def test_each_malformed_image_has_a_status(at_study):
    out = at_study / "a.csv"
    images = made.write_images(at_study / "images")
    assert predict("--image-dir", images, "--output", out) == 3
    table = pd.read_csv(out).assign(name=lambda t: t.file.str.split("/").str[-1]).set_index("name")
    assert table.status["ok.jpg"] == "ok"
    assert "exceed 40,000,000" in table.status["bomb_30000x30000_1bit.png"]
    assert table.status["text.jpg"].startswith("failed: not a whole image")


def test_all_sizes_predict_smallest_first(at_study, photos, capsys):
    out = at_study / "a.csv"
    picture = photos / "00.png"
    assert predict("--image", picture, "--all-sizes", "--top-k", 2, "--output", out) == 0
    assert pd.read_csv(out).num_train_images.tolist() == [323, 647, 1293]
    assert "1.0/seed-1, 1,293 training images" in capsys.readouterr().out
    assert predict("--image", picture, "--subset-size", 0.5, "--seed", 2, "--output", out) == 0
    assert pd.read_csv(out)["run"].tolist() == ["0.5/seed-2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --image FILE"),
        (["--image", "a.jpg", "--image-dir", "b"], "not both"),
        (["--image-dir", "gone"], "no such folder"),
        (["--image", "a.jpg", "--output", "a.xlsx"], ".csv, .json, .parquet"),
        (["--image-dir", "results", "--explain", "a.png"], "give --image"),
        (["--image", "a.jpg", "--subset-size", "0.3"], "no finished run of this variant, size"),
        (
            ["--image", "a.jpg", "--weights", "w", "--seed", "1"],
            "--weights selects a model by itself",
        ),
        (["--image", "a.jpg", "--weights", "gone.safetensors"], "No such file"),
        (["--image", "a.jpg", "--alpha", "1"], "alpha"),
        (["--image", "a.jpg", "--experiment-id", "gone"], "run train.py first"),
    ],
)
def test_contradictory_flags_are_refused_in_one_line(at_study, capsys, words, message):
    assert predict(*words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.fault(51)
def test_weights_that_do_not_fit_are_refused_by_name(at_study, extended, photos, capsys):
    recipe = {"dataset": "digits", "model": "alexnet-small", "image_size": 32}
    metadata = {"run": json.dumps({"recipe": recipe, "classes": ["a", "b", "c"]})}
    picture, path = photos / "00.png", at_study / "w.safetensors"
    save_file(load_file(weights_of(extended)), path, metadata)
    assert predict("--weights", path, "--image", picture) == 2
    error = capsys.readouterr().err
    assert "alexnet-small with 3 classes" in error
    assert "is (10,) in the file, (3,) in the model" in error
    save_file(load_file(weights_of(extended)), path)
    assert predict("--weights", path, "--image", picture) == 2
    assert "does not name its recipe and classes" in capsys.readouterr().err
    path.write_bytes(b"no tensors")
    assert predict("--weights", path, "--image", picture) == 2
    assert "is no safetensors file" in capsys.readouterr().err


SMALL = {"dataset": "digits", "model": "alexnet-small", "image_size": 32}
TEN = list("0123456789")


@pytest.fixture
def little_memory():
    """Allow this process 1 GB more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 10**9, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.fault(51)
@pytest.mark.parametrize(
    ("details", "message"),
    [
        ({"classes": [""] * 2_000_000}, "alexnet-small with 2000000 classes"),
        ({"classes": ["name"] * 3_000_000}, "bytes exceeds 16,777,216"),
        ({"classes": []}, "does not name its recipe and classes"),
        ({"classes": 10}, "does not name its recipe and classes"),
        ({"recipe": [[1, 2]]}, "does not name its recipe and classes"),
        ({"recipe": SMALL | {"model": "vit_h_14", "image_size": 224}}, "does not fit vit_h_14"),
        ({"recipe": SMALL | {"model": "vit_b_16", "image_size": 33}}, "no vit_b_16 for images of"),
        ({"recipe": SMALL | {"model": "x" * 999}}, "no model 'xxx"),
        ({"recipe": SMALL | {"image_size": 20_000}}, "image_size 20000 is above 4096 pixels"),
        ({"recipe": SMALL | {"image_size": 10**30}}, "is above 4096 pixels"),
        ({"recipe": SMALL | {"image_size": 0}}, "image-size: input should be greater than 0"),
        ({"pixel_moments": {"mean": [0.5, 0.5], "std": [1, 1]}}, "of three finite numbers"),
        ({"pixel_moments": {"mean": [0, 0, 0], "std": [1, 0, 1]}}, "of three finite numbers"),
        ({"pixel_moments": {"mean": [0, 0, 1e999], "std": [1, 1, 1]}}, "of three finite numbers"),
        ({"pixel_moments": [1]}, "of three finite numbers"),
    ],
)
def test_files_that_describe_another_model_are_refused_before_it_is_built(
    at_study, extended, photos, capsys, little_memory, details, message
):
    path = at_study / "w.safetensors"
    run = {"recipe": SMALL, "classes": TEN} | details
    save_file(load_file(weights_of(extended)), path, {"run": json.dumps(run)})
    assert predict("--weights", path, "--image", photos / "00.png") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert len(error) < 1000


@pytest.mark.fault(51)
def test_tensors_of_another_kind_are_refused(at_study, extended, photos, capsys):
    path = at_study / "w.safetensors"
    metadata = {"run": json.dumps({"recipe": SMALL, "classes": TEN})}
    for kind, words in ((torch.complex64, "of complex numbers"), (torch.int32, "of integers")):
        tensors = load_file(weights_of(extended))
        first = sorted(tensors)[0]
        save_file(tensors | {first: tensors[first].to(kind)}, path, metadata)
        assert predict("--weights", path, "--image", photos / "00.png") == 2
        assert f"{words} in the file" in capsys.readouterr().err


@pytest.mark.fault(51)
def test_a_model_that_cannot_process_its_image_size_is_refused(at_study, photos, capsys):
    path = at_study / "w.safetensors"
    recipe = SMALL | {"model": "squeezenet1_1", "image_size": 8}
    metadata = {"run": json.dumps({"recipe": recipe, "classes": TEN})}
    save_file(build_model("squeezenet1_1", 10, 32).state_dict(), path, metadata)
    assert predict("--weights", path, "--image", photos / "00.png") == 2
    assert "squeezenet1_1 does not accept images of 8 pixels" in capsys.readouterr().err


@pytest.mark.fault(11)
def test_damaged_weights_are_refused(at_study, extended, photos, capsys):
    folder = at_study / "checkpoints"
    shutil.copytree(extended / "checkpoints", folder)
    path = folder / "s" / "1.0" / "seed-1" / "best.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    assert predict("--checkpoint-dir", folder, "--image", photos / "00.png") == 2
    assert "is damaged: its SHA-256 is not" in capsys.readouterr().err


@pytest.mark.fault(51)
def test_a_run_with_the_weights_of_another_is_refused(at_study, extended, photos, capsys):
    folder = at_study / "checkpoints"
    shutil.copytree(extended / "checkpoints", folder)
    path = folder / "s" / "1.0" / "seed-1" / "best.safetensors"
    model = build_model("resnet18", 3, 32)
    recipe = {"dataset": "other", "model": "resnet18"}
    metadata = {"run": json.dumps({"recipe": recipe, "classes": ["a", "b", "c"]})}
    save_file(model.state_dict(), path, metadata)
    assert predict("--checkpoint-dir", folder, "--image", photos / "00.png") == 2
    assert "resnet18 for 3 classes, its run is alexnet-small for 10" in capsys.readouterr().err


def test_grad_cam_is_the_map_that_theory_gives(photos):
    """With one average and one linear layer it is the class activation map (Zhou et al. 2016)."""
    torch.manual_seed(0)
    conv, linear = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 2)
    model = nn.Sequential(
        conv,
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        linear,
    ).eval()
    recipe = Recipe(dataset="digits", model="alexnet-small", image_size=32)
    device = torch.device("cpu")
    classifier = Classifier("m", model, recipe, ("a", "b"), device, photos, {})
    pixels = read_picture(photos / "00.png", 36).pixels
    heatmaps = grad_cam(classifier, pixels, [0, 1])
    with torch.no_grad():
        features = model[:3](classifier.inputs(pixels[None]))[0]  # (6, 32, 32)
        maps = torch.einsum("kc,chw->khw", linear.weight, features).clamp(min=0)
    for cam, expected in zip(heatmaps, maps.numpy(), strict=True):
        assert cam == pytest.approx(expected / max(expected.max(), 1e-12), abs=1e-4)


@pytest.mark.fault(55)
def test_models_without_a_convolution_map_are_refused_with_the_reason():
    with torch.device("meta"):
        for name in ("alexnet", "resnet18", "alexnet-small"):
            assert isinstance(last_convolution(build_model(name, 10, 64), name), nn.Conv2d)
        with pytest.raises(InputError, match="vit_b_16 mixes image positions by attention"):
            last_convolution(build_model("vit_b_16", 10, 224), "vit_b_16")
    with pytest.raises(InputError, match="linear has no convolution"):
        last_convolution(nn.Linear(2, 2), "linear")


def test_figures_are_drawn(at_study, photos):
    cam, filters = at_study / "cam.png", at_study / "filters.png"
    words = ["--image", photos / "00.png", "--explain", cam, "--filters", filters]
    assert predict(*words) == 0
    for path in (cam, filters):
        with Image.open(path) as image:
            assert min(image.size) > 200


def test_an_exported_model_predicts_like_its_run(at_study, extended, photos):
    folder = at_study / "model"
    assert command(export_command.export, "--output", folder) == 0
    card = (folder / "README.md").read_text()
    assert "top-1 " in card
    for title in ("Intended use", "Data and licence", "Input and output", "Limits", "Classes"):
        assert f"## {title}" in card
    assert "{" not in card
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() in card
    answers = []
    for words in ([], ["--weights", folder / "model.safetensors"]):
        out = at_study / "a.json"
        asked = ["--image", photos / "03.png", "--conformal", "--output", out]
        assert predict(*asked, *words) == 0
        (row,) = json.loads(out.read_text())
        answers.append({k: v for k, v in row.items() if k.startswith(("top", "set"))})
    assert answers[0] == answers[1]


def export(*words):
    return command(export_command.export, *words)


def test_a_dry_run_writes_what_the_hub_would_get(at_study, extended, capsys):
    folder = at_study / "model"
    words = ["--output", folder, "--push-to", "someone/digits-1293", "--subset-size", 0.5]
    assert export(*words, "--seed", 2, "--dry-run", "--license", "mit") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "README.md", "config.json", "conformal.json", "learning_curve.png", "model.safetensors",
    }  # fmt: skip
    (line,) = [line for line in captured.out.splitlines() if line.startswith("dry run")]
    assert set(line.split(" would get ")[1].split(";")[0].split(", ")) == names
    text = (folder / "README.md").read_text()
    card = ModelCard(text).data
    assert (card.license, card.pipeline_tag) == ("mit", "image-classification")
    results = json.loads((extended / "results" / "s" / "metrics.json").read_text())
    (run,) = (r for r in results["runs"] if (r["subset_size"], r["seed"]) == (0.5, 2))
    accuracies = {result.metric_name: result.metric_value for result in card.eval_results}
    assert accuracies == {
        f"top-{k} accuracy": 1 - run["splits"]["test"][f"top_{k}_error"] for k in (1, 5)
    }
    assert {result.dataset_split for result in card.eval_results} == {"test"}
    assert "(learning_curve.png)" in text
    assert re.search(r"^ +1\.0 +1,293 +2 ", text, re.MULTILINE)  # a row of the table
    with Image.open(folder / "learning_curve.png") as image:
        assert min(image.size) > 300


def test_config_and_weights_alone_make_the_model(at_study, extended):
    folder = at_study / "model"
    assert export("--output", folder) == 0
    config = json.loads((folder / "config.json").read_text())
    size = config["image_size"]
    model = build_model(config["architecture"], config["num_classes"], size).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 36, 36, 3), dtype=np.uint8)
    classifier = from_file(weights_of(extended), torch.device("cpu"))
    start = (config["resize"] - size) // 2
    crops = pixels[:, start : start + size, start : start + size] / 255
    inputs = torch.tensor((crops - config["mean"]) / config["std"]).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        assert model(inputs).numpy() == pytest.approx(classifier.logits(pixels), abs=1e-4)


def test_a_local_data_set_is_named_without_its_path():
    assert data_name("/home/me/birds") == data_name("./birds") == "birds"
    assert data_name("timm/mini-imagenet") == "timm/mini-imagenet"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--push-to", "a/b"], "HF_HUB_OFFLINE is set; unset it, or write the folder alone by"),
        (["--push-to", "name", "--dry-run"], "--push-to name: give OWNER/NAME"),
        (["--push-to", "a/b c", "--dry-run"], "--push-to a/b c: Repo id must"),
    ],
)
def test_a_push_that_cannot_be_is_refused_before_the_export(at_study, capsys, words, message):
    assert export("--output", at_study / "model", *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (at_study / "model").exists()


def test_a_hub_that_does_not_answer_is_one_line_and_loses_nothing(at_study, capsys, monkeypatch):
    folder = at_study / "model"
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_constants, "ENDPOINT", "http://127.0.0.1:9")
    for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub_constants, "HF_TOKEN_PATH", str(at_study / "token"))
    assert export("--output", folder, "--push-to", "a/b") == 2
    assert "no token; hf auth login, or set HF_TOKEN" in capsys.readouterr().err
    assert not folder.exists()
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    assert export("--output", folder, "--push-to", "a/b") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --push-to a/b: ")
    assert line.endswith("model is whole: the same command pushes it")
    assert (folder / "model.safetensors").read_bytes() == weights_of(Path()).read_bytes()


def test_onnx_gives_the_same_logits(at_study, extended, photos):
    from onnx import reference

    folder = at_study / "model"
    assert command(export_command.export, "--output", folder, "--format", "onnx") == 0
    assert "model.onnx" in (folder / "README.md").read_text()
    classifier = from_file(weights_of(extended), torch.device("cpu"))
    pixels = np.stack([read_picture(photos / f"{i:02}.png", 36).pixels for i in range(3)])
    session = reference.ReferenceEvaluator(str(folder / "model.onnx"))
    (logits,) = session.run(None, {"images": classifier.inputs(pixels).contiguous().numpy()})
    assert logits == pytest.approx(classifier.logits(pixels), abs=1e-4)
